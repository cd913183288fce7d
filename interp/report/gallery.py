"""Which figures a comparison gets: evidence to tables, tables to figures, with captions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from interp.evidence import Evidence
from interp.figures import (
    comparison as figures,
    patching as patch_figures,
    probes as probe_figures,
    tables,
    text as figure_text,
)
from interp.figures.captions import models_of, reading_of
from interp.report.figure_words import figure_words
from interp.verdict.claims import NOT_MEASURED
from interp.verdict.outcomes import Outcomes
from interp.verdict.thresholds import Thresholds

#: Pairs of the patch grid that are drawn; the rest are in the evidence.
GRID_FIGURES = 3

#: Headings of the report's sections, in its order.
WHERE, WHAT = "Where the change is made", "What kind of change it is"
READ, USED, BOTH = "What can be read", "Where the fact travels", "What is read and used"

#: Marks of the solid curves of a figure, in their order.
SYMBOLS = ("circle", "square-open", "triangle-up", "diamond-open", "cross", "x-open")

#: Grades of claims in the order in which they are listed.
GRADES = (
    "supported",
    "decodable-inert",
    "causal-uncharacterised",
    "null",
    "undetermined",
    NOT_MEASURED,
)


@dataclass(frozen=True)
class Drawn:
    """One figure with all that stands beside it.

    Attributes:
        name: of its files.
        title: what is seen.
        caption: how it is read.
        interval: which intervals are drawn.
        n: how many units are behind it.
        figure: the plotly figure.
        data: the table that it shows.
        section: heading under which it stands.
    """

    name: str
    title: str
    caption: str
    interval: str
    n: str
    figure: Any
    data: pd.DataFrame
    section: str


@dataclass
class _Gallery:
    """Figures as they are drawn, one after the other.

    Attributes:
        evidence: from which tables are read.
        verdict: has the keys of verdict.json.
        drawn: the figures so far.
    """

    evidence: Evidence
    verdict: Mapping[str, Any]
    drawn: list[Drawn] = field(default_factory=list)

    def table(self, method: str, reader: Callable[..., pd.DataFrame], *args: Any, **more: Any) -> Any:
        """Table of a reader; an empty one where the evidence has no rows of the method."""
        if not (self.evidence.table["method"] == method).any():
            return pd.DataFrame(columns=["example", "metric", "layer"])
        return reader(self.evidence, *args, **more)

    def add(
        self,
        kind: str,
        section: str,
        data: pd.DataFrame,
        draw: Callable[..., Any],
        part: str = "",
        **more: Any,
    ) -> None:
        """Draw a table beside the kind's words, unless it is empty."""
        if data.empty:
            return
        name = f"{kind}_{part}" if part else kind
        while name in {figure.name for figure in self.drawn}:
            name += "_again"
        words = figure_words(kind, data, self.verdict)
        figure = draw(data, **more).measured_as(models_of(self.evidence))
        self.drawn.append(
            Drawn(
                name,
                **vars(words),
                caption=reading_of(figure.source).how,
                figure=told_apart(figure),
                data=data,
                section=section,
            )
        )


def gallery(
    verdict: Mapping[str, Any], outcomes: Outcomes, evidence: Evidence, *, seed: int = 0
) -> list[Drawn]:
    """Every figure for which there is evidence, in reading order.

    Args:
        verdict: has the keys of verdict.json; its thresholds give the margins that are drawn.
        outcomes: which groups changed.
        evidence: all that was measured.
        seed: of the bootstraps.
    """
    kappa = _estimate(verdict.get("handover_layer"))
    limits = {**Thresholds().to_dict(), **(verdict.get("thresholds") or {})}
    shown = _Gallery(evidence, verdict)
    _draw_place(shown, verdict, outcomes, kappa, seed)
    shares = shown.table("shift", tables.shift_curves, outcomes.changed_groups)
    boundary = (verdict.get("shared_shift") or {}).get("boundary")
    bounds = {"low": limits["low"], "high": limits["high"]}
    draw = figures.shared_shift_curves
    shown.add("shared_shift", WHAT, shares, draw, boundary=boundary, handover=kappa, **bounds)
    _draw_travel(shown, kappa, float(limits["smallest_effect"]), seed)
    _draw_probes(shown, seed)
    graded = claims(verdict)
    graded = graded[graded["grade"] != NOT_MEASURED].reset_index(drop=True)
    shown.add("claims", BOTH, graded, figures.claim_dots, margin=limits["used_effect"])
    return shown.drawn


def _draw_place(
    shown: _Gallery,
    verdict: Mapping[str, Any],
    outcomes: Outcomes,
    kappa: float | None,
    seed: int,
) -> None:
    """Figures of where the change was installed."""
    curves = shown.table("stitch", tables.stitch_curves, outcomes, seed=seed)
    cut = _cut(verdict, curves)
    shown.add("stitch", WHERE, curves, figures.stitch_curves, cut=cut, handover=kappa)
    bars, span = responsibility(verdict), verdict.get("block_span")
    draw = figures.responsibility_bars
    shown.add("responsibility", WHERE, bars, draw, span=span, handover=kappa)
    form = outcomes.estimating_form
    crossed = shown.table("cross_patch", tables.cross_patch_curves, form=form, seed=seed)
    shown.add("cross_patch", WHERE, crossed, figures.cross_patch_curves, handover=kappa)


def _draw_travel(shown: _Gallery, kappa: float | None, smallest: float, seed: int) -> None:
    """Figures of where the fact travels in the base."""
    curves = shown.table("handover", tables.handover_curves, seed=seed)
    shown.add("handover", USED, curves, patch_figures.handover_curves, handover=kappa)
    pairs = shown.table("handover", tables.handover_pairs, smallest=smallest)
    shown.add("handover_pairs", USED, pairs, patch_figures.handover_heatmap, handover=kappa)
    grid = shown.table("patch", tables.patch_grid, smallest=smallest)
    for example in list(dict.fromkeys(grid["example"]))[:GRID_FIGURES]:
        rows = grid[grid["example"] == example]
        pair = str(rows["pair"].iloc[0])
        shown.add("patch", USED, rows, patch_figures.patch_heatmap, str(example), pair=pair)


def _draw_probes(shown: _Gallery, seed: int) -> None:
    """Figures of what probes read, one for each attribute."""
    for kind, method, reader, draw in (
        ("probes", "probe", tables.probe_curves, probe_figures.probe_curves),
        ("transfer", "transfer", tables.transfer_curves, probe_figures.transfer_curves),
    ):
        table = shown.table(method, reader, seed=seed)
        for attribute in dict.fromkeys(table["metric"]):
            rows = table[table["metric"] == attribute]
            shown.add(kind, READ, rows, draw, _slug(attribute), attribute=str(attribute))


def told_apart(figure: Any) -> Any:
    """The figure with a symbol of its own on every solid curve, so that grey print tells them apart.

    Args:
        figure: a plotly figure; it is changed.
    """
    curves = [
        trace
        for trace in figure.data
        if trace.type == "scatter" and trace.mode == "lines" and trace.hoverinfo != "skip"
    ]
    solid = list(dict.fromkeys(t.name for t in curves if t.line.dash in (None, "solid")))
    for trace in curves:
        if trace.name in solid:
            symbol = SYMBOLS[solid.index(trace.name) % len(SYMBOLS)]
            trace.update(mode="lines+markers", marker={"symbol": symbol, "maxdisplayed": 10})
    return figure


def responsibility(verdict: Mapping[str, Any]) -> pd.DataFrame:
    """Share of the change by part: embedding, blocks, unembedding.

    Args:
        verdict: has the keys of verdict.json.

    Returns:
        Columns part, share, low, high, n (groups).
    """
    shares = verdict.get("responsibility") or {}
    parts = [(str(n), cell) for n, cell in enumerate(shares.get("blocks", []))]
    if parts:
        ends = [(name, shares.get(name)) for name in ("embedding", "unembedding")]
        parts = [ends[0], *parts, ends[1]]
    rows = [
        {"part": part, "share": cell["estimate"], **{k: cell.get(k) for k in ("low", "high", "n")}}
        for part, cell in parts
        if cell is not None and cell["estimate"] is not None
    ]
    table = pd.DataFrame(rows, columns=["part", "share", "low", "high", "n"])
    table = table.astype({**dict.fromkeys(("share", "low", "high"), float), "n": "Int64"})
    return tables.noted(table, "95%, Fieller's interval over groups")


def claims(verdict: Mapping[str, Any]) -> pd.DataFrame:
    """Graded claims, one row each, ordered by grade and then by effect.

    Args:
        verdict: has the keys of verdict.json.

    Returns:
        Columns claim, grade, selectivity, effect (each with _n, groups) and control (each with _low and
        _high), p_adjusted. The bounds of `control` are the extremes of the control-task directions.
    """
    rows = []
    for claim in verdict.get("claims") or []:
        place = figure_text.place(claim["position"])
        row: dict[str, Any] = {"claim": f"{claim['attribute']} · {claim['site']} · {place}"}
        row |= {"grade": claim["grade"], "p_adjusted": claim["p_adjusted"]}
        cells = {
            "selectivity": claim["selectivity"],
            "effect": claim["effect"],
            "control": (claim["controls"] or {}).get("control_task"),
        }
        for name, cell in cells.items():
            cell = cell or {}
            row[name] = cell.get("estimate")
            row |= {f"{name}_{end}": cell.get(end) for end in ("low", "high", "n")}
        rows.append(row)
    numbers = [f"{n}{e}" for n in ("selectivity", "effect", "control") for e in ("", "_low", "_high")]
    counts = ["selectivity_n", "effect_n"]
    table = pd.DataFrame(rows, columns=["claim", "grade", *numbers, *counts, "p_adjusted"])
    table = table.astype(
        {**dict.fromkeys([*numbers, "p_adjusted"], float), **dict.fromkeys(counts, "Int64")}
    )
    told = "95%, bootstrap over groups; of controls the range of the control-task directions"
    table = tables.noted(table, told)
    rank = table["grade"].map({grade: i for i, grade in enumerate(GRADES)}).fillna(len(GRADES))
    keys = pd.DataFrame({"rank": rank, "effect": -table["effect"].fillna(0.0)})
    return table.loc[keys.sort_values(["rank", "effect"], kind="stable").index].reset_index(drop=True)


def _cut(verdict: Mapping[str, Any], curves: pd.DataFrame) -> int | float | None:
    """Boundary at which the verdict cut, or the middle of the curves."""
    cut = (verdict.get("output_contrast") or {}).get("cut")
    if cut is not None or curves.empty:
        return cut
    return float(int(curves["layer"].max()) // 2)


def _estimate(value: Any) -> float | None:
    value = value.get("estimate") if isinstance(value, Mapping) else value
    return None if value is None or pd.isna(value) else float(value)


def _slug(text: object) -> str:
    return re.sub(r"[^a-z0-9]+", "_", str(text).lower()).strip("_") or "attribute"
