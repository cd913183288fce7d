"""The grid of patched places, drawn straight from the evidence of `patching.patch_sites`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from interp.evidence import Evidence
from interp.evidence.boundaries import behind_block, boundary_numbers, last_boundary
from interp.evidence.recovery import recovery_table
from interp.figures.captions import about_measurement
from interp.figures.figure import Figure
from interp.figures.patch_tables import ARROW, position_labels, tokens_of, with_tokens
from interp.figures.patching import ROW_HEIGHT
from interp.figures.style import BOUNDARY, heat, panels
from interp.figures.text import labelled, order, place, plain, room, shorten

#: The direction of patching that writes corrupted states into the clean run.
NOISE = "noise"

#: Most panels of one grid.
MOST_PANELS = 8

#: The columns by which panels are told apart, and how their values are said.
_PANELS = {"model": str, "metric": str, "kind": str, "position": "position {}".format, "span": place}

#: Name of the site that boundaries of the residual stream are drawn under.
_STREAM = "boundary"


def patch_grid(evidence: Evidence, *, resamples: int = 2_000, seed: int = 0) -> Figure:
    """Recovery of every patched place: layers by positions, by heads, or by spans.

    0 is the corrupted run and 1 the clean one; several pairs are pooled, sums before the division
    (`patching.recovery`). There is one panel per kind of site and model, and, where heads were patched,
    per position. The colours reach to 1, or, where everything is below one half, to the largest value.

    Evidence that was made with direction="noise", where corrupted states are written into the clean
    run, is drawn as the effect that is lost, 1 − recovery: 0 is the clean run and 1 the corrupted one,
    so that a place which does not matter is white in both.

    Args:
        evidence: of any kinds of sites and any number of pairs; also of `patching.handover`.
        resamples: bootstrap draws behind the intervals that a cell shows when it is pointed at.
        seed: of these draws.

    Returns:
        The figure. The axis of positions bears the tokens, clean | corrupted, where the evidence notes
        them: those of the first pair, with "…" where another pair has another token. Pairs of several
        lengths have numbers. The data have the same tokens in the columns clean and corrupted.

    Raises:
        ValueError: without such rows, or if they need more than eight panels, or mix heads with other
            sites.

    Example:
        >>> import interp, patching
        >>> from interp import figures
        >>> model = interp.load_model("organism-base")
        >>> facts = interp.load_facts("world").subset([1, 2])
        >>> pairs = interp.Contrast.from_text(
        ...     model, facts.prompts(0)[:1], facts.prompts(0)[1:], facts.answers[:1], facts.answers[1:])
        >>> sites = interp.every_layer(interp.Kind.RESID_PRE, model.n_layers)
        >>> grid = patching.patch_sites(model, pairs, sites, interp.logit_difference(pairs))
        >>> figure = figures.patch_grid(grid)
        >>> len(figure.data[0].z[0]) == model.n_layers, list(figure.layout.yaxis.ticktext)[:3]
        (True, ['The', 'home', 'of'])
    """
    if not isinstance(evidence, Evidence):
        raise ValueError(
            f"a grid is drawn from Evidence, as patching.patch_sites gives it; got a "
            f"{type(evidence).__name__}; give the evidence itself"
        )
    rows = evidence.needed("patching.patch_sites", method=["patch", "handover"])
    evidence = Evidence(rows, evidence.provenance)
    table = recovery_table(evidence, resamples=resamples, seed=seed)
    table = table.reindex(columns=table.columns.union(["condition", "layer"], sort=False))
    patched = (table["condition"].astype(str) == "patched") & table["layer"].notna()
    table = table[patched]
    if "kind" not in table or not len(table):
        raise ValueError(
            "a grid needs patched rows with a kind and a layer; got a table without; expected one made "
            "by patching.patch_sites"
        )
    table = _at_boundaries(table, evidence)
    noise = _is_noise(table)
    if noise:
        ends = {"estimate": 1 - table["estimate"], "low": 1 - table["high"], "high": 1 - table["low"]}
        table = table.assign(**ends)
    down = _row_column(table)
    about = about_measurement(evidence)
    examples = list(rows["example"].unique())
    tokens = [tokens_of(evidence, example) for example in examples]
    if down == "position":
        table = with_tokens(table, evidence)
    labels = _row_labels(table, down)
    parts = _panels(table, down)
    figure = panels(
        [list(parts)],
        title=_title(about, tokens, noise=noise),
        x=_layer_title(table),
        y=["token, clean | corrupted" if "clean" in table else down.replace("span", "")],
        row_height=max(90, ROW_HEIGHT * len(labels)),
        left=room(list(labels.values())) + 14,
    )
    limit, layers = _limit(table["estimate"]), sorted(int(k) for k in table["layer"].unique())
    for j, part in enumerate(parts.values(), start=1):
        grid = part.set_index([down, "layer"])
        values = grid["estimate"].unstack("layer").reindex(list(labels), columns=layers)
        hover = [[_cell_text(grid, row, k, labels[row]) for k in layers] for row in labels]
        last = j == len(parts)
        heat(
            figure,
            values,
            unit="effect lost" if noise else "recovery",
            hover=hover,
            limit=limit,
            at=(1, j),
            bar=last,
        )
        figure.update_xaxes(labelled([str(k) for k in layers], most=18), row=1, col=j)
        figure.update_yaxes(labelled(list(labels.values())), row=1, col=j)
    figure.update_yaxes(autorange="reversed", title_standoff=8)
    figure.update_layout(margin_r=58)
    told = {"resamples": resamples, "seed": seed, "direction": NOISE if noise else "denoise"}
    table.attrs = {"intervals": "95%, BCa bootstrap over entities", "seed": seed}
    return figure.drawn_from("patch_grid", table, about=about, **told)


def _is_noise(table: pd.DataFrame) -> bool:
    """Whether the clean run was patched, in every row.

    Raises:
        ValueError: if it was in some.
    """
    noise = table["direction"].astype(str) == NOISE if "direction" in table else pd.Series([False])
    if noise.any() and not noise.all():
        raise ValueError(
            "what is restored and what is lost are drawn apart, got both directions; expected one, as "
            'in evidence.select(direction=["denoise", None]), which keeps the unedited runs'
        )
    return bool(noise.all())


def _at_boundaries(table: pd.DataFrame, evidence: Evidence) -> pd.DataFrame:
    """One map of the residual stream where its places are boundaries; else the table as it is."""
    behind = behind_block(table)
    if not table["kind"].isin(["resid_pre", "resid_post"]).all() or behind.all() or not behind.any():
        return table
    numbers = boundary_numbers(table, counted=last_boundary(table, evidence.provenance))
    joined = table.assign(layer=numbers, kind=_STREAM)
    cell = [name for name in joined if name not in ("estimate", "low", "high", "n")]
    return table if joined.duplicated(cell).any() else joined


def _row_column(table: pd.DataFrame) -> str:
    """Name of the column that is drawn downwards: head, position or span."""
    heads = table["head"].notna() if "head" in table else pd.Series(False, index=table.index)
    if heads.any() and not heads.all():
        kinds = ", ".join(sorted(table["kind"].astype(str).unique()))
        raise ValueError(
            f"heads and whole sites are drawn apart, got both among {kinds}; expected one sort, as in "
            'evidence.select(kind=["z", None]), which keeps the unedited runs'
        )
    if heads.any():
        return "head"
    alone = table["position"].notna() if "position" in table else pd.Series(False, index=table.index)
    if alone.any() and not alone.all():
        raise ValueError(
            "single positions and named ones are drawn apart, got both; expected one sort, as in "
            'evidence.select(method="patch") or patch_sites(…, positions="each")'
        )
    return "position" if alone.all() else "span"


def _row_labels(table: pd.DataFrame, down: str) -> dict[Any, str]:
    """Label of every row of the grid, in order."""
    if down == "span":
        return {span: place(span) for span in order(table["span"])}
    if down == "position":
        return {number: shorten(label, 30) for number, label in position_labels(table).items()}
    return {number: str(number) for number in sorted(int(n) for n in table[down].dropna().unique())}


def _panels(table: pd.DataFrame, down: str) -> dict[str, pd.DataFrame]:
    """Rows of every panel by its title; of heads the position is always said."""
    said = ("position", "span") if down == "head" else ()
    columns = [
        name
        for name in _PANELS
        if name in table
        and name != down
        and (table[name].nunique() > 1 or (name in said and table[name].notna().any()))
    ]
    if not columns:
        return {"": table}
    usual = {name: order(table[name]) for name in columns}
    if "kind" in usual:  # the residual stream first, then its parts as they are written
        usual["kind"] = sorted(usual["kind"], key=lambda kind: (not kind.startswith("resid"), kind))
    parts = {
        names: part for names, part in table.groupby(columns, dropna=False, observed=True, sort=False)
    }
    if len(parts) > MOST_PANELS:
        raise ValueError(
            f"a grid has at most {MOST_PANELS} panels, got {len(parts)} by {' and '.join(columns)}; "
            f"choose some, as in evidence.select({columns[-1]}=[..., None]), which keeps the unedited "
            "runs"
        )

    def rank(values: tuple[object, ...]) -> list[int]:
        named = dict(zip(columns, values, strict=True))
        return [[*usual[name], str(value)].index(str(value)) for name, value in named.items()]

    return {_panel_title(columns, values): parts[values] for values in sorted(parts, key=rank)}


def _panel_title(columns: Sequence[str], values: Sequence[Any]) -> str:
    """What tells a panel from the others, in words."""
    told = {name: value for name, value in zip(columns, values, strict=True) if not pd.isna(value)}
    return ", ".join(_PANELS[name](value) for name, value in told.items())


def _title(about: Mapping[str, Any], tokens: Sequence[Mapping[str, Any]], *, noise: bool) -> str:
    """What was done to the model, and the pair or how many pairs there are."""
    done = "Corrupting" if noise else "Patching"
    patched = f"{done} {about['model']}" if "model" in about else done
    if len(tokens) > 1:
        return f"{patched}: {len(tokens)} pairs"
    differing = tokens[0].get("differs")
    return f"{patched}: {ARROW.join(differing)}" if differing else patched


def _layer_title(table: pd.DataFrame) -> str:
    kinds = list(table["kind"].astype(str).unique())
    usual = {_STREAM: BOUNDARY, "resid_pre": "layer (block input)"}
    return "layer" if len(kinds) > 1 else usual.get(kinds[0], f"layer ({kinds[0]})")


def _limit(values: pd.Series) -> float:
    """Value at which the colours end: 1, or the largest one where all are below one half."""
    largest = float(values.abs().max())
    return math.ceil(20 * largest - 1e-6) / 20 if 0 < largest < 0.5 else 1.0


def _cell_text(grid: pd.DataFrame, row: Any, layer: int, label: str) -> str:
    """What a cell says when it is pointed at: its place, its pairs and its interval."""
    text = f"{plain(label)}, layer {layer}"
    if (row, layer) not in grid.index:
        return f"{text}, not patched"
    cell = grid.loc[(row, layer)]
    if pd.isna(cell["low"]):
        return text
    return f"{text}, {int(cell['n'])} pairs, 95% [{cell['low']:.2f}, {cell['high']:.2f}]"
