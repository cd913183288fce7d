"""What the numbers are held against: controls, and what was left out with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from interp.verdict.outcomes import Outcomes
from interp.verdict.prompts.asked import told_of
from interp.verdict.summary import number, share


@dataclass(frozen=True)
class Control:
    """One control.

    Attributes:
        name: what is controlled.
        value: what was measured.
        beside: what it is held against.
        reads: how the two are read.
    """

    name: str
    value: str
    beside: str
    reads: str


@dataclass(frozen=True)
class LeftOut:
    """Facts or prompts that do not count, for one reason.

    Attributes:
        title: how many, and of what.
        why: the reason, and what to do.
        rows: what was left out, each with a word about it.
    """

    title: str
    why: str
    rows: tuple[tuple[str, str], ...]


def controls(verdict: Mapping[str, Any]) -> list[Control]:
    """Controls of which something was measured.

    Args:
        verdict: has the keys of verdict.json.
    """
    limits = verdict.get("thresholds") or {}
    asked = verdict.get("asked")
    rows = [*_shift_controls(verdict.get("shared_shift") or {})]
    rows += _open_controls(verdict.get("open_controls") or {})
    where = verdict.get("output_contrast") or {}
    rows.append(
        Control(
            "two orders of stitching",
            number(where.get("max_order_gap")),
            "0",
            "largest gap between the two orders at any boundary, logits: near 0, either order tells "
            "the same place",
        )
    )
    rows.append(
        Control(
            "blocks that cancel",
            number(where.get("cancellation")),
            f"at most {limits.get('cancellation')}",
            "sizes of the blocks' effects over their sum: 1 where no block works against another; "
            "above the bound no place is named",
        )
    )
    planted = [(claim.get("controls") or {}).get("planted_recovered") for claim in verdict["claims"]]
    planted = [value for value in planted if value is not None]
    if planted:
        rows.append(
            Control(
                "planted directions",
                f"{number(min(planted))} to {number(max(planted))}",
                f"at least {limits.get('planted_power')}",
                "share of directions put in by hand that the probes find: below the bound, not "
                "reading an attribute says nothing",
            )
        )
    accuracy = verdict.get("closed_set_accuracy") or {}
    rows.append(
        Control(
            "right answer wins among all known answers, tuned",
            number(accuracy.get("tuned")),
            f"base {number(accuracy.get('base'))}",
            "whether the tuned model still ranks the right answer first when only known answers count",
        )
    )
    rows = [row for row in rows if row.value not in ("", "–")]
    return [Control(told_of(r.name, asked), r.value, r.beside, told_of(r.reads, asked)) for r in rows]


def _open_controls(controls: Mapping[str, Any]) -> list[Control]:
    """Controls of a change of prompts of any kind, as shares of the effect of its contrast."""
    return [
        Control(
            "tokens of the two models exchanged at random",
            share(controls.get("label_swap")),
            "the effect 1",
            "mean effect over random exchanges: centred at 0, it shows what prompts that disagree give",
        ),
        Control(
            "the same two tokens, one position before the site",
            share(controls.get("before")),
            "the effect 1",
            "in logits, which a tune may move before their turn comes: near 0 where the change is of "
            "this place alone",
        ),
        Control(
            "divergence of the two models, one position before the site",
            share(controls.get("before_kl")),
            "at the site 1",
            "KL of the whole distributions: near 0 where both models still say the same there",
        ),
        Control(
            "a random pair of the base's first tokens, one position before the site",
            share(controls.get("before_other")),
            "the effect 1",
            "size of the effect on tokens that compete there: how far any two logits move apart",
        ),
        Control(
            "a random pair of the base's first tokens",
            share(controls.get("other_pair")),
            "the effect 1",
            "read in the same cells: near 0 where the change is of these two tokens",
        ),
        Control(
            "the push with random signs",
            share(controls.get("signs")),
            "sufficiency",
            "outputs that the push brings about with the signs of its coordinates drawn at random",
        ),
        Control(
            "share lower, read by the base's final norm and unembedding",
            share(controls.get("other_readout")),
            "share lower",
            "the same cells under the other readout: alike where the place does not rest on it",
        ),
    ]


def _shift_controls(shift: Mapping[str, Any]) -> list[Control]:
    """Controls of the shared-shift test."""
    placebo = shift.get("placebo") or {}
    return [
        Control(
            f"largest of {placebo.get('draws')} random shifts",
            number(placebo.get("largest")),
            f"the push {number(placebo.get('sufficiency'))}",
            "outputs that a random shift of the same size moves: a push counts only above it",
        ),
        Control(
            "one mean shift for all",
            share(shift.get("sufficiency_mean")),
            f"sufficiency {share(shift.get('sufficiency'))}",
            "the same push without a prediction from the fact's own state",
        ),
        Control(
            "retention without the fact",
            share(shift.get("retention_control")),
            f"chance {number(shift.get('retention_chance'))}",
            "the state replaced by its mean, which knows no fact: above chance, retention has no level",
        ),
        Control(
            "null tune's shift",
            number(shift.get("null_shift")),
            f"sufficiency {share(shift.get('sufficiency'))}",
            "outputs that the shift of an unrelated tune moves: a push counts only above it",
        ),
        Control(
            "facts never tuned on",
            share(shift.get("elsewhere")),
            "0",
            "share of other facts that the change reaches as well",
        ),
        Control(
            "which facts change, read from the base (AUROC)",
            number(shift.get("gate")),
            "chance 0.50",
            "near chance, the base's own state does not tell which facts the tuning reached",
        ),
    ]


def left_out(verdict: Mapping[str, Any], outcomes: Outcomes) -> list[LeftOut]:
    """What does not count, by reason; empty where everything that was asked counts.

    Args:
        verdict: has the keys of verdict.json.
        outcomes: what both models said.
    """
    reasons = []
    unknown = {
        str(item["group"]): f"right: {item['answer']}; the base says: {item['said_base']}"
        for item in reversed(verdict.get("unknown_items") or [])
    }
    if unknown:
        reasons.append(
            LeftOut(
                f"{_facts(len(unknown))} the base does not know",
                "Shown among the outputs and never pooled: what a base does not know, tuning cannot "
                "change. A wording right behind which the answer comes may make more of them known.",
                tuple(sorted(unknown.items())),
            )
        )
    excluded = tuple((str(e["text"]), str(e["reason"])) for e in verdict.get("excluded") or ())
    if excluded:
        reasons.append(
            LeftOut(
                f"{len(excluded)} prompt{'s' * (len(excluded) != 1)} with a reason of their own",
                "Mend the facts or their wordings where the reason can be mended.",
                excluded,
            )
        )
    once = [g for g in outcomes.changed_groups if g not in set(outcomes.confirmed_groups)]
    if once:
        reasons.append(
            LeftOut(
                f"{_facts(len(once))} changed on the first wording only",
                "Counted as changed; what kind of change it is rests on the others.",
                tuple((group, "the second wording is answered alike") for group in once),
            )
        )
    asked = verdict.get("asked")
    return [
        LeftOut(
            told_of(reason.title, asked),
            told_of(reason.why, asked),
            tuple((what, told_of(why, asked)) for what, why in reason.rows),
        )
        for reason in reasons
    ]


def _facts(n: int) -> str:
    return f"{n} fact{'s' * (n != 1)}"
