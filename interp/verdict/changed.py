"""Whether tuning changed what the model says on known facts: f, g, and the word."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from interp import stats
from interp.stats.intervals import Interval
from interp.verdict.outcomes import Outcomes
from interp.verdict.thresholds import Thresholds


@dataclass(frozen=True)
class Change:
    """Whether the answers changed, with both ways to have changed.

    Attributes:
        label: one of changed, unchanged, undetermined.
        sharpened: whether the right answers gained more than the margin.
        share: share f of the known groups that differ, each bound one-sided at 1 - alpha.
        gain: mean gain g of log p(answer) in nats, likewise.
        p_share: p that f exceeds its margin, Holm-adjusted over the two ways to have changed.
        p_loss: p that g lies below its margin, likewise.
        reasons: why it is undetermined.
    """

    label: str
    sharpened: bool
    share: Interval | None
    gain: Interval | None
    p_share: float | None
    p_loss: float | None
    reasons: tuple[str, ...] = ()


def judge_change(outcomes: Outcomes, thresholds: Thresholds, seed: int) -> Change:
    """Change of the answers on the known groups: changed, unchanged or undetermined.

    ``changed``: f exceeds `change_share` (exact binomial) or g lies below -`change_logp` nats (t test
    on group means), Holm over the two. ``unchanged``: the exact upper bound of f lies below
    `change_share`, for which `unchanged_facts` groups are needed even without one difference, and the
    bootstrap lower bound of g above -`change_logp`; or the logits are identical. A gain is
    `sharpened`, not a change. Prompts of any kind have no right answer and so no g: f of their units
    alone decides, a unit differing where half of its prompts do.

    Args:
        outcomes: what both models said.
        thresholds: the declared margins.
        seed: of the bootstrap.
    """
    if outcomes.open:
        return _judge_open(outcomes, thresholds)
    known = outcomes.known_groups
    if not known:
        word = "unchanged" if outcomes.identical else "undetermined"
        why = () if outcomes.identical else ("the base knows none of the facts; ask facts it knows",)
        return Change(word, False, None, None, None, None, why)
    flips = outcomes.differing(known)
    gains = outcomes.logp_change(known)
    share = stats.clopper_pearson(flips, len(known), level=1 - thresholds.alpha)
    gain = stats.group_bootstrap(
        gains, known, draws=thresholds.draws, level=1 - 2 * thresholds.alpha, seed=seed
    )
    raw = [
        stats.share_p(flips, len(known), null=thresholds.change_share),
        stats.mean_p(gains, known, null=-thresholds.change_logp, side="less"),
    ]
    p_share, p_loss = (float(p) for p in stats.holm(np.array(raw)))
    sharpened = bool(gain.low > thresholds.change_logp) and not outcomes.identical
    kept = share.high < thresholds.change_share and gain.low > -thresholds.change_logp
    reasons: list[str] = []
    if outcomes.identical:
        word = "unchanged"
    elif min(p_share, p_loss) < thresholds.alpha:
        word = "changed"
    elif kept:
        word = "unchanged"
    else:
        word = "undetermined"
        reasons.append(
            f"{flips} of {len(known)} known facts differ, so f lies between {share.low:.3f} and "
            f"{share.high:.3f} (margin {thresholds.change_share:g}), and log p(answer) moved by "
            f"{gain.estimate:.2f} nats, bounds [{gain.low:.2f}, {gain.high:.2f}] "
            f"(margin -{thresholds.change_logp:g}); more known facts narrow both"
        )
        if flips == 0 and share.high >= thresholds.change_share:
            reasons.append(
                f"none of {len(known)} known facts differs, and `unchanged` needs "
                f"{thresholds.unchanged_facts}; ask that many"
            )
    return Change(word, sharpened, share, gain, p_share, p_loss, tuple(reasons))


def _judge_open(outcomes: Outcomes, thresholds: Thresholds) -> Change:
    """Change of what is said to prompts of any kind."""
    changed, unit_of = set(outcomes.changed_groups), outcomes.unit_of
    members: dict[str, list[bool]] = {}
    for group in outcomes.known_groups:
        members.setdefault(unit_of[group], []).append(group in changed)
    n, flips = len(members), sum(2 * sum(differs) >= len(differs) for differs in members.values())
    share = stats.clopper_pearson(flips, n, level=1 - thresholds.alpha)
    p = float(stats.share_p(flips, n, null=thresholds.change_share))
    if outcomes.identical or share.high < thresholds.change_share:
        return Change("unchanged", False, share, None, p, None)
    if p < thresholds.alpha:
        return Change("changed", False, share, None, p, None)
    counted = "facts" if n == len(outcomes.known_groups) else "groups of prompts"
    why = (
        f"{flips} of {n} {counted} differ, so f lies between {share.low:.3f} and {share.high:.3f} "
        f"(margin {thresholds.change_share:g}); `unchanged` needs {thresholds.unchanged_facts} without "
        "a difference; ask more"
    )
    return Change("undetermined", False, share, None, p, None, (why,))
