"""Which figures a comparison gets: evidence to summaries, summaries to figures, with captions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from interp.evidence import Evidence
from interp.figures import (
    comparison as figures,
    patching as patch_figures,
    probes as probe_figures,
    tables as summaries,
    text as figure_text,
)
from interp.verdict.outcomes import Outcomes
from interp.verdict.thresholds import Thresholds

#: Pairs of the patch grid that are drawn; the rest are in the evidence.
GRID_FIGURES = 3

WHERE, WHAT = "Where the change is made", "What changed"

READ, USED, BOTH = "What can be read", "Where the fact travels", "Read and used"

CAPTIONS = {
    "stitch": (
        "U runs the base below the boundary and the tuned model above it, V the reverse. Where U "
        "leaves the tuned model's value and V reaches it, the change is made. Dotted: the cut "
        "between lower and upper, and the handover κ."
    ),
    "responsibility": (
        "Share of the change in output that each block causes, averaged over the two orders of "
        "stitching; embedding and unembedding (with the final norm) are separate terms. All bars "
        "sum to one."
    ),
    "cross_patch": (
        "One span of the other model's state is written in at one boundary. Only the all-position "
        "curve locates a change; single spans show by which position it travels."
    ),
    "shared_shift": (
        "Sufficiency: the base, given the shift predicted from its own state, says the tuned "
        "model's token. Retention: the base's upper blocks, reading the tuned state without the "
        "mean shift, give the right answer (read just below κ). Persistence: the tuned model "
        "without the shift still says its token. Sufficiency and persistence are read at k*. "
        "Changed groups only; the dotted lines bound low and high."
    ),
    "handover": (
        "The base runs a corrupted prompt; one span of the clean run's state is restored at one "
        "boundary. κ: the last position recovers half from here on."
    ),
    "handover_pairs": (
        "The same, pair by pair (clean ← corrupted), for the pairs with the largest difference."
    ),
    "patch": (
        "The clean run's state is written into the corrupted run of the base at one layer and one "
        "token: 0 corrupted, 1 clean; blue means away from the clean answer."
    ),
    "probes": (
        "Balanced accuracy on held-out groups. A probe that does not beat its controls reads "
        "nothing; one that does shows what can be read, not what is used. Controls are trained on the "
        "base's states."
    ),
    "transfer": (
        "A probe trained on the base, read on the tuned model as it is, after correcting the mean, "
        "and refitted (the ceiling). Cosines compare the two models' directions."
    ),
    "claims": (
        "Each claim with 95% intervals; orange: the range of the control-task directions. Supported "
        "needs both: read above the control task, and used beyond the control-task directions. "
        "Dotted: the margin within which an effect is none. Without a dot: not measured there."
    ),
}


@dataclass(frozen=True)
class Drawn:
    """One figure, the table it shows, and what a reader needs to know beside it."""

    name: str
    caption: str
    figure: Any
    data: pd.DataFrame
    section: str


def gallery(
    verdict: Mapping[str, Any], outcomes: Outcomes, evidence: Evidence, *, seed: int = 0
) -> list[Drawn]:
    """Every figure for which there is evidence, in reading order.

    `verdict` has the keys of verdict.json; its thresholds give the margins that are drawn.
    """
    kappa = _estimate(verdict.get("handover_layer"))
    shift = verdict.get("shared_shift") or {}
    limits = {**Thresholds().to_dict(), **(verdict.get("thresholds") or {})}
    smallest = float(limits["smallest_effect"])
    drawn: list[Drawn] = []

    def add(
        kind: str, section: str, data: pd.DataFrame, draw: Callable[..., Any], part: str = "",
        **more: Any,
    ) -> None:  # fmt: skip
        if data.empty:
            return
        name = f"{kind}_{part}" if part else kind
        taken = {d.name for d in drawn}
        while name in taken:
            name += "_again"
        drawn.append(Drawn(name, CAPTIONS[kind], draw(data, **more), data, section))

    held = set(evidence.table["method"].dropna())

    def read(
        method: str, reader: Callable[..., pd.DataFrame], *given: Any, **more: Any
    ) -> pd.DataFrame:
        empty = pd.DataFrame(columns=["example", "metric", "layer"])
        return reader(evidence, *given, **more) if method in held else empty

    curves = read("stitch", summaries.stitch_curves, outcomes, seed=seed)
    add("stitch", WHERE, curves, figures.stitch_curves, cut=_cut(verdict, curves), handover=kappa)
    add("responsibility", WHERE, responsibility(verdict), figures.responsibility_bars,
        span=verdict.get("block_span"), handover=kappa)  # fmt: skip
    crossed = read(
        "cross_patch", summaries.cross_patch_curves, form=outcomes.estimating_form, seed=seed
    )
    add("cross_patch", WHERE, crossed, figures.cross_patch_curves, handover=kappa)
    shares = read("shift", summaries.shift_curves, outcomes.changed_groups)
    add("shared_shift", WHAT, shares, figures.shared_shift_curves, boundary=shift.get("boundary"),
        handover=kappa, low=limits["low"], high=limits["high"])  # fmt: skip
    add("handover", USED, read("handover", summaries.handover_curves, seed=seed),
        patch_figures.handover_curves,
        handover=kappa)  # fmt: skip
    add("handover_pairs", USED, read("handover", summaries.handover_pairs, smallest=smallest),
        patch_figures.handover_heatmap, handover=kappa)  # fmt: skip
    grid = read("patch", summaries.patch_grid, smallest=smallest)
    for example in list(dict.fromkeys(grid["example"]))[:GRID_FIGURES]:
        rows = grid[grid["example"] == example]
        pair = str(rows["pair"].iloc[0])
        add("patch", USED, rows, patch_figures.patch_heatmap, str(example), pair=pair)
    for kind, table, draw in (
        ("probes", read("probe", summaries.probe_curves, seed=seed), probe_figures.probe_curves),
        (
            "transfer",
            read("transfer", summaries.transfer_curves, seed=seed),
            probe_figures.transfer_curves,
        ),
    ):
        for attribute in dict.fromkeys(table["metric"]):
            rows = table[table["metric"] == attribute]
            add(kind, READ, rows, draw, _slug(attribute), attribute=str(attribute))
    add("claims", BOTH, claims(verdict), figures.claim_dots, margin=limits["used_effect"])
    return drawn


def responsibility(verdict: Mapping[str, Any]) -> pd.DataFrame:
    """Share of the change by part: embedding, blocks, unembedding.

    Columns: part, share, low, high.
    """
    given = verdict.get("responsibility") or {}
    parts = [(str(n), cell) for n, cell in enumerate(given.get("blocks", []))]
    if parts:
        ends = (("embedding", given.get("embedding")), ("unembedding", given.get("unembedding")))
        parts = [ends[0], *parts, ends[1]]
    rows = [
        {"part": part, "share": cell["estimate"], "low": cell["low"], "high": cell["high"]}
        for part, cell in parts
        if cell is not None and cell["estimate"] is not None
    ]
    table = pd.DataFrame(rows, columns=["part", "share", "low", "high"])
    return table.astype(dict.fromkeys(("share", "low", "high"), float))


def claims(verdict: Mapping[str, Any]) -> pd.DataFrame:
    """The graded claims, one row each, ordered by grade and then by effect.

    Columns: claim, grade, selectivity, effect, control (each with _low and _high), p_adjusted.
    The bounds of `control` are the extremes of the control-task directions.
    """
    rows = []
    for claim in verdict.get("claims") or []:
        place = figure_text.place(claim["position"])
        row: dict[str, Any] = {"claim": f"{claim['attribute']} · {claim['site']} · {place}"}
        row |= {"grade": claim["grade"], "p_adjusted": claim["p_adjusted"]}
        cells = {"selectivity": claim["selectivity"], "effect": claim["effect"],
                 "control": (claim["controls"] or {}).get("control_task")}  # fmt: skip
        for name, cell in cells.items():
            cell = cell or {}
            row[name] = cell.get("estimate")
            row |= {f"{name}_{end}": cell.get(end) for end in ("low", "high")}
        rows.append(row)
    numbers = [f"{n}{e}" for n in ("selectivity", "effect", "control") for e in ("", "_low", "_high")]
    table = pd.DataFrame(rows, columns=["claim", "grade", *numbers, "p_adjusted"])
    table = table.astype(dict.fromkeys([*numbers, "p_adjusted"], float))
    order = ["supported", "decodable-inert", "causal-uncharacterised", "null", "undetermined",
             "not measured"]  # fmt: skip
    rank = table["grade"].map({grade: i for i, grade in enumerate(order)}).fillna(len(order))
    keys = pd.DataFrame({"rank": rank, "effect": -table["effect"].fillna(0.0)})
    return table.loc[keys.sort_values(["rank", "effect"], kind="stable").index].reset_index(drop=True)


def _cut(verdict: Mapping[str, Any], curves: pd.DataFrame) -> int | float | None:
    cut = (verdict.get("output_contrast") or {}).get("cut")
    if cut is not None or curves.empty:
        return cut
    return float(int(curves["layer"].max()) // 2)


def _estimate(value: Any) -> float | None:
    value = value.get("estimate") if isinstance(value, Mapping) else value
    return None if value is None or pd.isna(value) else float(value)


def _slug(text: object) -> str:
    return re.sub(r"[^a-z0-9]+", "_", str(text).lower()).strip("_") or "attribute"
