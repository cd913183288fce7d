"""The figure that suits some evidence: what `Evidence.plot` draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from interp.evidence import Evidence
from interp.figures import comparison, patching, probes, ranking, tables
from interp.figures.captions import about_measurement
from interp.figures.figure import Figure
from interp.figures.grid import patch_grid
from interp.verdict.thresholds import Thresholds


def plot(evidence: Evidence, **options: Any) -> Figure:
    """Draw evidence of one method as that method is drawn.

    Patched places become a grid, the handover its curves, attribution and ablation of heads a
    ranking; probes, their transfer, stitching, cross-patching and the shared shift their curves.

    Args:
        evidence: of one method, and, of probes, about one attribute.
        **options: of the figure: seed; resamples of a grid; most, the number of heads of a ranking.

    Returns:
        The figure.

    Raises:
        ValueError: for evidence of several methods or attributes, or of a method without a figure.

    Example:
        >>> import interp, patching
        >>> model = interp.load_model("organism-base")
        >>> facts = interp.load_facts("world").subset([1, 2])
        >>> pairs = interp.Contrast.from_text(
        ...     model, facts.prompts(0)[:1], facts.prompts(0)[1:], facts.answers[:1], facts.answers[1:])
        >>> sites = interp.every_layer(interp.Kind.RESID_PRE, model.n_layers)
        >>> grid = patching.patch_sites(model, pairs, sites, interp.logit_difference(pairs))
        >>> interp.figures.plot(grid).source.function
        'patch_grid'
    """
    held = [str(name) for name in evidence.table["method"].dropna().unique()]
    methods = {name.removesuffix("_control") for name in held}
    if len(methods) != 1 or not methods <= set(_FIGURES):
        raise ValueError(
            f"evidence of one of the methods {', '.join(_FIGURES)} has a figure; got "
            f"{', '.join(sorted(methods)) or 'no method'}; choose, as in "
            f'evidence.select(method="{next(iter(methods & set(_FIGURES)), "patch")}")'
        )
    figure = _FIGURES[methods.pop()](evidence, **options)
    return figure.measured_as(about_measurement(evidence))


def _handover(evidence: Evidence, *, seed: int = 0) -> Figure:
    return patching.handover_curves(tables.handover_curves(evidence, seed=seed), handover=None)


def _heads(evidence: Evidence, *, most: int = 15) -> Figure:
    return ranking.head_ranking(tables.head_effects(evidence), most=most)


def _probes(evidence: Evidence, *, seed: int = 0) -> Figure:
    table = tables.probe_curves(evidence, seed=seed)
    return probes.probe_curves(table, attribute=_attribute(table))


def _transfer(evidence: Evidence, *, seed: int = 0) -> Figure:
    table = tables.transfer_curves(evidence, seed=seed)
    return probes.transfer_curves(table, attribute=_attribute(table))


def _stitch(evidence: Evidence, *, seed: int = 0) -> Figure:
    return comparison.stitch_curves(tables.stitch_curves(evidence, seed=seed), cut=None, handover=None)


def _cross_patch(evidence: Evidence, *, seed: int = 0) -> Figure:
    return comparison.cross_patch_curves(tables.cross_patch_curves(evidence, seed=seed), handover=None)


def _shift(evidence: Evidence) -> Figure:
    groups = [str(group) for group in evidence.table["group"].dropna().unique()]
    low, high = Thresholds().low, Thresholds().high
    table = tables.shift_curves(evidence, groups)
    return comparison.shared_shift_curves(table, boundary=None, handover=None, low=low, high=high)


def _attribute(table: pd.DataFrame) -> str:
    """The one attribute that a table of probes is about.

    Raises:
        ValueError: for several.
    """
    names = [str(name) for name in table["metric"].dropna().unique()]
    if len(names) > 1:
        raise ValueError(
            f"a figure of probes shows one attribute, got {', '.join(names)}; choose one, as in "
            f"evidence.select(metric={names[0]!r})"
        )
    return names[0]


#: How the evidence of a method is drawn.
_FIGURES: dict[str, Callable[..., Figure]] = {
    "patch": patch_grid,
    "handover": _handover,
    "attribute": _heads,
    "ablate": _heads,
    "probe": _probes,
    "transfer": _transfer,
    "stitch": _stitch,
    "cross_patch": _cross_patch,
    "shift": _shift,
}
