"""Which figures a comparison gets: evidence goes to summaries, summaries to figures, with captions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from interp import figures, summaries
from interp.evidence import Evidence
from interp.outcomes import Outcomes

#: Pairs of the patch grid that are drawn; the rest are in the evidence.
GRID_FIGURES = 3


@dataclass(frozen=True)
class Drawn:
    """One figure, the table it shows, and what a reader needs to know beside it."""

    name: str
    caption: str
    figure: Any
    data: pd.DataFrame
    section: str


def gallery(
    verdict: Mapping[str, Any],
    outcomes: Outcomes,
    evidence: Evidence,
    *,
    smallest: float = 0.5,
    seed: int = 0,
) -> list[Drawn]:
    """Every figure for which there is evidence, in reading order.

    `verdict` has the keys of verdict.json. `smallest` (logits): pairs whose clean and corrupted
    runs differ by less have no recovery.
    """
    handover = _estimate(verdict.get("handover_layer"))
    drawn: list[Drawn] = []

    def add(name: str, section: str, caption: str, data: pd.DataFrame, draw: Any) -> None:
        if len(data):
            drawn.append(Drawn(name, caption, draw(data), data, section))

    where, what = "Where the change is made", "What changed"
    read, used = "What can be read", "Where the fact travels"
    add("stitch", where,
        "U runs the base below the boundary and the tuned model above it, V the reverse. Where U "
        "leaves the tuned model's value and V reaches it, the change is made. Dotted: the cut that "
        "separates lower from upper, and the handover κ.",
        summaries.stitch_curves(evidence, outcomes, seed=seed),
        lambda t: figures.stitch_curves(t, cut=_cut(evidence, t), handover=handover))
    add("responsibility", where,
        "Share of the change in output that each block causes, averaged over the two orders of "
        "stitching; embedding and unembedding (with the final norm) are separate terms. All bars "
        "sum to one.",
        responsibility(verdict),
        lambda t: figures.responsibility_bars(t, span=verdict.get("block_span"), handover=handover))
    add("cross_patch", where,
        "One span of the other model's state is written in at one boundary. Only the all-position "
        "curve locates a change; single spans show by which position it travels.",
        summaries.cross_patch_curves(evidence, form=outcomes.estimating_form, seed=seed),
        lambda t: figures.cross_patch_curves(t, handover=handover))
    shift = verdict.get("shared_shift") or {}
    add("shared_shift", what,
        "Sufficiency: the base, given the shift predicted from its own state, says the tuned model's "
        "token. Retention: the base's upper blocks, reading the tuned state without the mean shift, "
        "give the right answer. Persistence: the tuned model without the shift still says its token. "
        "Changed groups only; dotted lines at .3 and .5 bound low and high.",
        _shift_panels(summaries.shift_curves(evidence, seed=seed)),
        lambda t: figures.shared_shift_curves(t, boundary=shift.get("boundary"), handover=handover))
    add("handover", used,
        "The base runs a corrupted prompt; one span of the clean run's state is restored at one "
        "boundary. κ: the last position recovers half from here on.",
        summaries.handover_curves(evidence, seed=seed),
        lambda t: figures.handover_curves(t, handover=handover))
    add("handover_pairs", used,
        "The same, pair by pair (clean ← corrupted), for the pairs with the largest difference.",
        summaries.handover_pairs(evidence, smallest=smallest),
        lambda t: figures.handover_heatmap(t, handover=handover))
    grid = summaries.patch_grid(evidence, smallest=smallest)
    for n, ((_, pair), part) in enumerate(grid.groupby(["example", "pair"]), start=1):
        if n <= GRID_FIGURES:
            add(f"patch_{n}", used,
                "The clean run's state is written into the corrupted run of the base at one layer and "
                "one token: 0 corrupted, 1 clean; blue means away from the clean answer.",
                part, lambda t, pair=pair: figures.patch_heatmap(t, pair=str(pair)))
    for name, table, draw, caption in (
        ("probes", summaries.probe_curves(evidence, seed=seed), figures.probe_curves,
         "Balanced accuracy on held-out groups. A probe that does not beat its controls reads "
         "nothing; one that does shows what can be read, not what is used."),
        ("transfer", summaries.transfer_curves(evidence, seed=seed), figures.transfer_curves,
         "A probe trained on the base, read on the tuned model as it is, after correcting the mean, "
         "and refitted (the ceiling)."),
    ):
        for attribute in dict.fromkeys(table["metric"]) if len(table) else ():
            add(f"{name}_{_slug(attribute)}", read, caption, table[table["metric"] == attribute],
                lambda t, d=draw, a=attribute: d(t, attribute=str(a)))
    add("claims", "Read and used",
        "Each claim with 95% intervals. Supported needs both: read above the control task, and used "
        "beyond the control-task directions. Dotted: the margin within which an effect is none.",
        claims(verdict), lambda t: figures.claim_dots(t, margin=0.05))
    return drawn  # fmt: skip


def responsibility(verdict: Mapping[str, Any]) -> pd.DataFrame:
    """Share of the change by part: embedding, blocks, unembedding. Columns: part, share, low, high."""
    given = verdict.get("responsibility") or {}
    blocks = given.get("blocks", given.get("block", [])) if isinstance(given, Mapping) else given
    parts: list[tuple[str, Any]] = list(
        blocks.items() if isinstance(blocks, Mapping) else enumerate(blocks)
    )
    if isinstance(given, Mapping) and "embedding" in given:
        parts = [("embedding", given["embedding"]), *parts, ("unembedding", given.get("unembedding"))]
    rows = []
    for part, value in parts:
        cell = value if isinstance(value, Mapping) else {"estimate": value}
        rows.append((str(part), cell.get("estimate"), cell.get("low"), cell.get("high")))
    table = pd.DataFrame(rows, columns=["part", "share", "low", "high"])
    numeric = ["share", "low", "high"]
    table[numeric] = table[numeric].astype(float)
    return table.dropna(subset=["share"])


def claims(verdict: Mapping[str, Any]) -> pd.DataFrame:
    """The graded claims as a table, one row each, ordered by grade and then by effect."""
    rows = []
    for claim in verdict.get("claims") or []:
        site, control = claim.get("site"), claim.get("controls")
        control = control.get("control_task") if isinstance(control, Mapping) else control
        row = {
            "claim": ", ".join(
                str(v) for v in (claim.get("attribute"), site, claim.get("position")) if v is not None
            ),
            "grade": claim.get("grade"), "p_adjusted": claim.get("p_adjusted"),
            "control": _estimate(control),
        }  # fmt: skip
        for name in ("selectivity", "effect"):
            value = claim.get(name)
            value = value if isinstance(value, Mapping) else {"estimate": value}
            row |= {name: value.get("estimate")}
            row |= {f"{name}_{end}": value.get(end) for end in ("low", "high")}
        rows.append(row)
    columns = ["claim", "grade", "selectivity", "selectivity_low", "selectivity_high", "effect",
               "effect_low", "effect_high", "control", "p_adjusted"]  # fmt: skip
    table = pd.DataFrame(rows, columns=columns)
    table[columns[2:]] = table[columns[2:]].astype(float)
    order = {"supported": 0, "decodable-inert": 1, "causal-uncharacterised": 2, "null": 3}
    rank = table["grade"].map(order).fillna(4)
    keys = table.assign(rank=rank, size=-table["effect"].fillna(0))
    return table.loc[keys.sort_values(["rank", "size"], kind="stable").index].reset_index(drop=True)


def _shift_panels(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["panel"] == "share"] if len(table) else table


def _cut(evidence: Evidence, table: pd.DataFrame) -> float | None:
    layers = evidence.provenance.get("n_layers") or table["layer"].max()
    return None if pd.isna(layers) else float(int(layers) // 2)


def _estimate(value: Any) -> float | None:
    value = value.get("estimate") if isinstance(value, Mapping) else value
    return None if value is None or pd.isna(value) else float(value)


def _slug(text: object) -> str:
    return re.sub(r"[^a-z0-9]+", "_", str(text).lower()).strip("_") or "attribute"
