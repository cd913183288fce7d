"""From evidence to the tables that figures draw: means over groups with 95% intervals.

Groups (entities) are the unit: rows of a group are averaged first, groups are resampled. The tables
are context for the reader; the labels of the verdict rest on `interp.verdict` alone. Those of patched
pairs stand in `interp.figures.patch_tables`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from interp import stats
from interp.evidence import Evidence
from interp.evidence.boundaries import behind_block, boundary_numbers, last_boundary
from interp.evidence.recovery import recovery_table
from interp.figures.patch_tables import (
    handover_curves as handover_curves,
    handover_pairs as handover_pairs,
    patch_grid as patch_grid,
)
from interp.verdict.outcomes import Outcomes
from interp.verdict.thresholds import Thresholds

#: What the intervals are where groups are resampled.
BOOTSTRAP = "95%, BCa bootstrap over groups"

#: A table of groups by cells, or of draws by cells.
Array = np.ndarray

#: Conditions of the shared-shift test that have a curve, in the order of the legend.
SHIFT_CURVES = ("sufficiency", "sufficiency_mean", "retention", "retention_control", "persistence")


def probe_curves(evidence: Evidence, *, seed: int = 0) -> pd.DataFrame:
    """Label-balanced held-out accuracy per attribute, place, model, condition and layer.

    accuracy = mean over classes of mean(correct | class); the class stands in `label`, and without
    it all rows are one class. Draws of a control are averaged per group.

    Args:
        evidence: with the rows method ``probe``.
        seed: of the bootstrap.

    Returns:
        Columns metric, kind, span, model, condition, layer (boundary), estimate, low, high, n
        (groups). Unit: accuracy.

    Raises:
        ValueError: without such rows.
    """
    rows = evidence.needed("probes.cross_validate or probes.train_test", method="probe")
    keys = ["metric", "kind", "span", "model", "condition"]
    return noted(_by_series(_at_boundaries(rows, evidence), keys, seed), BOOTSTRAP, seed)


def transfer_curves(evidence: Evidence, *, seed: int = 0) -> pd.DataFrame:
    """Accuracy of frozen, mean-shifted and refitted probes on the tuned model, and cosines.

    Args:
        evidence: with the rows methods ``transfer`` and ``transfer_control``.
        seed: of the bootstrap.

    Returns:
        Columns metric, span, condition, layer, estimate, low, high, n. A cosine is one number; of
        random and control directions the interval is the range of the draws' central 95%.

    Raises:
        ValueError: without such rows.
    """
    measured = evidence.needed("probes.transfer", method=["transfer", "transfer_control"])
    rows = _at_boundaries(measured, evidence)
    cosine = rows["condition"].astype("string").str.startswith("cosine").to_numpy(dtype=bool)
    keys = ["metric", "span", "condition"]
    tables = [_by_series(rows[~cosine], keys, seed), _drawn_range(rows[cosine], [*keys, "layer"])]
    table = pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)
    return noted(table, f"{BOOTSTRAP}; of controls' cosines the central 95% of the draws", seed)


def _drawn_range(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Mean of the draws and the range of their central 95%, for each combination of the keys."""
    summaries = []
    for names, draws in rows.groupby(keys, observed=True):
        values = draws["value"].to_numpy(dtype=float)
        low, high = np.quantile(values, [0.025, 0.975]) if len(values) > 1 else (np.nan, np.nan)
        columns = dict(zip(keys, names, strict=True))  # type: ignore[call-overload]
        summaries.append(
            {**columns, "estimate": values.mean(), "low": low, "high": high, "n": len(values)}
        )
    return pd.DataFrame(summaries)


def stitch_curves(
    evidence: Evidence, outcomes: Outcomes | None = None, *, seed: int = 0
) -> pd.DataFrame:
    """Mean contrast of U_k and V_k by boundary, beside both models' own.

    Changed and unchanged groups are separate panels, never pooled; the output contrast is read on
    the estimating form.

    Args:
        evidence: with the rows method ``stitch``.
        outcomes: which groups changed; without them there is one panel for each metric, of all groups
            and forms.
        seed: of the bootstrap.

    Returns:
        Columns panel, series (base, tuned, U, V), layer (null for base and tuned), estimate, low,
        high, n. Unit: logits.

    Raises:
        ValueError: without such rows, or, without outcomes, where no metric has two groups.
    """
    rows = evidence.needed("patching.stitch", method="stitch")
    if outcomes is None:
        _check_groups(rows)
    tables = []
    for panel, part in _stitch_panels(rows, outcomes):
        part = part.assign(series=_stitched_series(part)).dropna(subset=["series"])
        if part["group"].nunique() < 2:
            continue
        whole = part["layer"].isna()
        for chosen in (part[whole].assign(layer=-1), part[~whole]):
            table = _by_series(chosen, ["series"], seed)
            tables.append(table.assign(panel=panel, layer=table["layer"].where(table["layer"] >= 0)))
    columns = ["panel", "series", "layer", "estimate", "low", "high", "n"]
    if not tables:
        return pd.DataFrame(columns=columns)
    return noted(pd.concat(tables, ignore_index=True)[columns], BOOTSTRAP, seed)


def _stitch_panels(rows: pd.DataFrame, outcomes: Outcomes | None) -> Iterator[tuple[str, pd.DataFrame]]:
    """Title and rows of every panel."""
    if outcomes is None:
        for metric, part in rows.groupby("metric", observed=True):
            yield str(metric), part
        return
    for panel, metric, groups in (
        ("output contrast, changed groups", "output", outcomes.changed_groups),
        ("fact contrast, changed groups", "fact", outcomes.changed_groups),
        ("fact contrast, unchanged groups", "fact", outcomes.unchanged_groups),
    ):
        part = rows[(rows["metric"] == metric) & rows["group"].isin(groups)]
        if metric == "output":
            part = part[part["template"] == outcomes.estimating_form]
        yield panel, part


def shift_curves(evidence: Evidence, groups: Sequence[str]) -> pd.DataFrame:
    """Sufficiency, retention and persistence of some groups by boundary, with Wilson intervals.

    Args:
        evidence: with the rows method ``shift``.
        groups: those whose shares are wanted.

    Returns:
        Columns condition, layer, estimate, low, high, n. Unit: share of groups.

    Raises:
        ValueError: without such rows.
    """
    shifted = evidence.needed("patching.shared_shift", method="shift")
    rows = shifted[(shifted["metric"] == "said") & shifted["condition"].isin(SHIFT_CURVES)]
    rows = rows[rows["group"].isin(list(groups)) & rows["layer"].notna()]
    by_group = rows.groupby(["condition", "layer", "group"], observed=True)["value"].mean()
    shares = []
    for key, part in by_group.groupby(["condition", "layer"], observed=True):
        condition, layer = tuple(key)  # type: ignore[arg-type]
        share = stats.wilson(int((part >= 0.5).sum()), len(part))
        shares.append({"condition": str(condition), "layer": layer, **share.as_dict()})
    table = pd.DataFrame(shares) if shares else _empty(["condition"])
    return noted(table, "95%, Wilson's interval of a share of groups")


def cross_patch_curves(evidence: Evidence, *, form: str | None = None, seed: int = 0) -> pd.DataFrame:
    """Share of the change that crosses with one span of the other model's state.

    rho = (m[patched] − m[own]) / (m[other] − m[own]), means over groups before dividing.

    Args:
        evidence: with the rows method ``cross_patch``, of the output contrast or of one metric.
        form: the query form that is read; None reads all.
        seed: of the bootstrap.

    Returns:
        Columns model (the one that runs), span, layer, estimate, low, high, n.

    Raises:
        ValueError: without such rows; with several metrics none of which is the output contrast;
            without a form, where there are fewer than two groups.
    """
    crossed = evidence.needed("patching.cross_patch", method="cross_patch")
    metrics = [str(name) for name in crossed["metric"].dropna().unique()]
    if "output" not in metrics and len(metrics) > 1:
        raise ValueError(
            f"the curves show one metric, got {', '.join(metrics)}; choose one, as in "
            f"evidence.select(metric={metrics[0]!r})"
        )
    rows = crossed[crossed["metric"] == ("output" if "output" in metrics else metrics[0])]
    if form is None:
        _check_groups(rows)
    if form is not None:
        rows = rows[rows["template"] == form]
    unpatched = rows[rows["condition"] == "baseline"]
    ends = unpatched.groupby(["model", "group"], observed=True)["value"].mean().unstack("model")
    tables = []
    for key, part in rows[rows["condition"] == "patched"].groupby(["model", "span"], observed=True):
        model, span = tuple(key)  # type: ignore[arg-type]
        other = "tuned" if model == "base" else "base"
        if model not in ends or other not in ends:
            continue
        table = part.groupby(["group", "layer"], observed=True)["value"].mean().unstack("layer")
        start, stop = (ends[m].reindex(table.index).to_numpy(float)[:, None] for m in (model, other))
        statistic = partial(_share_crossed, values=table.to_numpy(float), start=start, stop=stop)
        bounds = intervals(statistic, len(table), seed)
        tables.append(_rows(bounds, list(table.columns), len(table), model=model, span=span))
    joined = pd.concat(tables, ignore_index=True) if tables else _empty(["model", "span"])
    return noted(joined, BOOTSTRAP, seed)


def head_effects(evidence: Evidence) -> pd.DataFrame:
    """Effect of every head, one row each, from attribution, ablation or patching of heads.

    Attribution: the estimated change of the metric, summed over positions. Ablation: the metric with
    the head taken away minus the metric without. Patching: recovery. Of the first two the interval is
    Student's over groups.

    Args:
        evidence: of `patching.attribute`, `patching.ablate` or `patching.patch_sites`, of heads.

    Returns:
        Columns layer, head, estimate, low, high, n, unit, and those of model, metric, kind and span
        that are known.

    Raises:
        ValueError: without rows of heads.
    """
    made_by = "patching.attribute, patching.ablate or patching.patch_sites, with interp.every_head(…)"
    rows = evidence.needed(made_by, method=["attribute", "ablate", "patch"])
    heads = rows[rows["head"].notna()]
    if not len(heads):
        raise ValueError(
            f"no rows of single heads: got whole sites only; expected some made by {made_by}"
        )
    if (rows["method"] == "patch").any():
        table = recovery_table(Evidence(rows, evidence.provenance))
        return table[table["head"].notna()].assign(unit="recovery").reset_index(drop=True)
    effects = heads[heads["condition"].isin(["attribution", "ablated"])]
    known = [name for name in ("model", "metric", "kind", "span") if effects[name].notna().any()]
    keys = [*known, "layer", "head", "unit"]
    single = ["example", "group", "metric"]
    start = rows[rows["condition"] == "baseline"].groupby(single, observed=True)["value"].mean()
    summed = effects.groupby([*keys, *[k for k in single if k not in keys]], observed=True)["value"]
    values = (summed.sum() if start.empty else summed.mean()).rename("effect").reset_index()
    if len(start):
        before = start.reindex(pd.MultiIndex.from_frame(values[single])).to_numpy(float)
        values["effect"] -= before
    summaries = []
    for key, part in values.groupby(keys, observed=True):
        bounds = stats.mean_interval(part["effect"].to_numpy(float), list(part["group"]))
        summaries.append({**dict(zip(keys, key, strict=True)), **bounds.as_dict()})  # type: ignore[call-overload]
    return noted(pd.DataFrame(summaries), "95%, Student's t over groups")


def noted(table: pd.DataFrame, intervals: str, seed: int | None = None) -> pd.DataFrame:
    """The table, which bears what its intervals are and the seed of the resampling behind them."""
    table.attrs = {"intervals": intervals, "seed": seed}
    return table


def intervals(
    statistic: Callable[[Array], Array], n: int, seed: int, *, draws: int = Thresholds.draws
) -> tuple[Array, Array, Array]:
    """Estimate and BCa 95% interval of many statistics of the same n resampled units.

    `statistic` maps weights "draw unit" to values "draw cell": the number of times that each unit
    was drawn (`interp.stats.bootstrap`). One multiplication of matrices serves every cell of a sweep.
    """
    return stats.bootstrap(lambda counts: statistic(counts.astype(float)), n, draws=draws, seed=seed)


def _share_crossed(
    weights: Float[Array, "draw group"],
    *,
    values: Float[Array, "group cell"],
    start: Float[Array, "group 1"],
    stop: Float[Array, "group 1"],
) -> Float[Array, "draw cell"]:
    """Share of the way from start to stop, weighted means before dividing."""
    return (weights @ values - weights @ start) / (weights @ stop - weights @ start)


def _by_series(rows: pd.DataFrame, keys: Sequence[str], seed: int) -> pd.DataFrame:
    """Class-balanced mean over groups for each series (keys) and layer, with intervals."""
    rows = rows.dropna(subset=["value", "group"])
    tables = []
    for key, part in rows.groupby(list(keys), observed=True, dropna=False):
        label, labels = pd.factorize(part["label"].astype(float).fillna(0.0))
        group, groups = pd.factorize(part["group"])
        layer, layers = pd.factorize(part["layer"], sort=True)
        shape = (len(labels), len(groups), len(layers))
        sums, counts = np.zeros(shape), np.zeros(shape)
        np.add.at(sums, (label, group, layer), part["value"].to_numpy(float))
        np.add.at(counts, (label, group, layer), 1.0)
        statistic = partial(
            _class_balanced, means=sums / np.maximum(counts, 1.0), measured=(counts > 0).astype(float)
        )
        bounds = intervals(statistic, len(groups), seed)
        names = dict(zip(keys, key if isinstance(key, tuple) else (key,), strict=True))
        tables.append(_rows(bounds, list(layers), len(groups), **names))
    return pd.concat(tables, ignore_index=True) if tables else _empty(keys)


def _class_balanced(
    weights: Float[Array, "draw group"],
    *,
    means: Float[Array, "class group layer"],
    measured: Int[Array, "class group layer"] | Float[Array, "class group layer"],
) -> Float[Array, "draw layer"]:
    """Mean over classes of the weighted mean over groups, of the classes that were drawn."""
    weight = weights @ measured
    by_class = np.where(weight > 0, (weights @ means) / np.where(weight > 0, weight, 1.0), np.nan)
    drawn = np.maximum(np.isfinite(by_class).sum(axis=0), 1)
    return np.nansum(by_class, axis=0) / drawn


def _check_groups(rows: pd.DataFrame) -> None:
    """Raise where no interval over groups can be drawn.

    Raises:
        ValueError: for a single group.
    """
    most = rows.groupby("metric", observed=True)["group"].nunique().max()
    if most < 2:
        raise ValueError(
            f"the curves show means and intervals over groups of prompts, got {most} group; give "
            "prompts of two groups or more (groups= of the examples), or read evidence.table itself"
        )


def _rows(
    bounds: tuple[Array, Array, Array], layers: Sequence[Any], n: int, **key: object
) -> pd.DataFrame:
    """One row per layer, with the columns of the key before it."""
    estimate, low, high = bounds
    table = pd.DataFrame({"layer": layers, "estimate": estimate, "low": low, "high": high, "n": n})
    for place, (name, value) in enumerate(key.items()):
        table.insert(place, name, str(value))
    return table


def _at_boundaries(rows: pd.DataFrame, evidence: Evidence) -> pd.DataFrame:
    """Rows at a block's output as rows at the boundary after it, unless they are counted so already."""
    counted = last_boundary(rows, evidence.provenance)
    kind = rows["kind"].astype("string").mask(behind_block(rows), "resid_pre")
    return rows.assign(layer=boundary_numbers(rows, counted=counted), kind=kind)


def _stitched_series(part: pd.DataFrame) -> pd.Series:
    """Name of the curve of every row: U, V, or the model itself; null for other conditions."""
    stitched = (part["condition"] == "stitched").to_numpy()
    model = part["model"].astype("string")
    whole = model.where(part["condition"].astype("string") == "baseline")
    names = model.map({"tuned": "U", "base": "V"}).astype("string")
    return whole.mask(pd.Series(stitched, index=part.index), names)


def _empty(keys: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(columns=[*keys, "layer", "estimate", "low", "high", "n"])
