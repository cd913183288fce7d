"""From Evidence to the tables that figures draw: means over groups with 95% intervals.

Groups (entities) are the unit: rows of a group are averaged first, groups are resampled. The tables
are context for the reader; the labels of the verdict rest on `interp.verdict` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from interp import stats
from interp.evidence import Evidence
from interp.verdict.outcomes import Outcomes
from interp.verdict.thresholds import Thresholds

#: A table of groups by cells, or of draws by cells.
Array = np.ndarray

SEPARATOR = " -> "


def probe_curves(evidence: Evidence, *, seed: int = 0) -> pd.DataFrame:
    """Label-balanced held-out accuracy per attribute, place, model, condition and layer.

    acc = mean over classes of mean(correct | class); the class stands in `strength` where the
    producer wrote it, otherwise all rows are one class. Draws of a control are averaged per group.
    Columns: metric, kind, span, model, condition, layer, estimate, low, high, n. Unit: accuracy.
    """
    keys = ["metric", "kind", "span", "model", "condition"]
    return _by_series(
        _boundaries(evidence.needed("probes.cross_validate or probes.sweep", method="probe"), evidence),
        keys,
        seed,
    )


def transfer_curves(evidence: Evidence, *, seed: int = 0) -> pd.DataFrame:
    """Accuracy of frozen, mean-shifted and refitted probes on the tuned model, and cosines.

    Columns: metric, span, condition, layer, estimate, low, high, n. A cosine is one number; of
    random and control directions the interval is the range of the draws' central 95%.
    """
    given = evidence.needed("probes.transfer", method=["transfer", "transfer_control"])
    rows = _boundaries(given, evidence)
    cosine = rows["condition"].astype("string").str.startswith("cosine").to_numpy(dtype=bool)
    keys = ["metric", "span", "condition"]
    table = _by_series(rows[~cosine], keys, seed)
    out = []
    for key, part in rows[cosine].groupby([*keys, "layer"], observed=True):
        values = part["value"].to_numpy(dtype=float)
        ends = np.quantile(values, [0.025, 0.975]) if len(values) > 1 else (np.nan, np.nan)
        named = dict(zip([*keys, "layer"], key, strict=True))  # type: ignore[call-overload]
        out.append({**named, "estimate": values.mean(), "low": ends[0], "high": ends[1],
                    "n": len(values)})  # fmt: skip
    if not out:
        return table
    return pd.concat([t for t in (table, pd.DataFrame(out)) if len(t)], ignore_index=True)


def handover_curves(evidence: Evidence, *, seed: int = 0) -> pd.DataFrame:
    """Recovery (m[patched] − m[corrupted]) / (m[clean] − m[corrupted]) by span and boundary.

    Means over pairs are taken before dividing. Entities are resampled, a pair weighs the product of
    its two entities' counts. Columns: span, layer, estimate, low, high, n (pairs).
    """
    rows = evidence.needed("patching.handover", method="handover")
    out = []
    for span in _present(rows["span"]):
        part = rows[rows["span"] == span]
        patched, clean, corrupted = _pair_table(part)
        clean, corrupted = clean.to_numpy(float)[:, None], corrupted.to_numpy(float)[:, None]
        names = part.drop_duplicates("example").set_index("example")["group"].reindex(patched.index)
        first, last = zip(*(str(g).split(SEPARATOR, 1) for g in names), strict=True)
        entities = sorted({*first, *last})
        one, two = (np.array([entities.index(e) for e in side]) for side in (first, last))
        values = patched.to_numpy(float)

        def recovery(w: Array, v: Array = values, c: Array = clean, z: Array = corrupted,
                     a: Array = one, b: Array = two) -> Array:  # fmt: skip
            weight = w[:, a] * w[:, b]
            return (weight @ v - weight @ z) / (weight @ c - weight @ z)

        bounds = intervals(recovery, len(entities), seed)
        out.append(_rows(bounds, list(patched.columns), len(values), span=span))
    return pd.concat(out, ignore_index=True)


def handover_pairs(evidence: Evidence, *, smallest: float, most: int = 24) -> pd.DataFrame:
    """Recovery of single pairs, without intervals; null where clean − corrupted is under `smallest`.

    The `most` pairs with the largest difference are kept. Columns: span, pair, layer, value.
    """
    rows = evidence.needed("patching.handover", method="handover")
    out = []
    for span in _present(rows["span"]):
        part = rows[rows["span"] == span]
        patched, clean, corrupted = _pair_table(part)
        size = clean - corrupted
        recovery = patched.sub(corrupted, axis=0).div(size.where(size.abs() >= smallest), axis=0)
        recovery = recovery.loc[size.sort_values(ascending=False).index[:most]]
        names = part.drop_duplicates("example").set_index("example")["group"]
        long = recovery.reset_index().melt("example", var_name="layer", value_name="value")
        label = [str(names[e]).replace(SEPARATOR, " ← ") for e in long["example"]]
        out.append(long.assign(span=span, pair=label)[["span", "pair", "layer", "value"]])
    return pd.concat(out, ignore_index=True) if out else pd.DataFrame(
        columns=["span", "pair", "layer", "value"]
    )  # fmt: skip


def patch_grid(evidence: Evidence, *, smallest: float) -> pd.DataFrame:
    """Recovery of every pair on the layer × position grid, with the tokens at each position.

    The grid is of one kind of site: the residual stream's where there is one, else the first kind.
    Columns: example, pair, model, kind, layer, position, clean, corrupted (tokens), value.
    """
    rows = evidence.needed('patching.patch_sites with positions="each"', method="patch")
    unpatched = rows["condition"].isin(["clean", "corrupted"])
    cells = rows[~unpatched & rows["position"].notna()]
    kinds = [str(kind) for kind in cells["kind"].dropna().unique()]
    kind = "resid_pre" if "resid_pre" in kinds or not kinds else kinds[0]
    rows = pd.concat([rows[unpatched], cells[cells["kind"] == kind]])
    tokens = evidence.provenance.get("grid_tokens", {})
    out = []
    for example, part in rows.groupby("example"):
        ends = {c: part.loc[part["condition"] == c, "value"].mean() for c in ("clean", "corrupted")}
        size = ends["clean"] - ends["corrupted"]
        grid = part.loc[part["condition"] == "patched", ["layer", "position", "value"]].copy()
        if not len(grid) or not abs(size) >= smallest:
            continue
        grid["value"] = (grid["value"].astype(float) - ends["corrupted"]) / size
        said = tokens.get(str(example)) or tokens.get(int(example)) or {}  # type: ignore[call-overload]
        for side in ("clean", "corrupted"):
            words = dict(enumerate(said.get(side, [])))
            grid[side] = [words.get(int(p), str(p)) for p in grid["position"]]
        differing = grid[grid["clean"] != grid["corrupted"]].drop_duplicates("position")
        sides = said.get("differs") or [
            _joined(differing.sort_values("position")[s]) for s in ("clean", "corrupted")
        ]
        pair = " ← ".join(sides) if all(sides) else str(part["group"].iloc[0])
        model = str(part["model"].iloc[0])
        out.append(grid.assign(example=example, pair=pair, model=model, kind=kind))
    order = ["example", "pair", "model", "kind", "layer", "position", "clean", "corrupted", "value"]
    return pd.concat(out, ignore_index=True)[order] if out else pd.DataFrame(columns=order)


def stitch_curves(evidence: Evidence, outcomes: Outcomes, *, seed: int = 0) -> pd.DataFrame:
    """Mean contrast of U_k and V_k by boundary, beside both models' own. Unit: logits.

    Changed and unchanged groups are separate panels, never pooled; the output contrast is read on
    the estimating form. Columns: panel, series (base, tuned, U, V), layer, estimate, low, high, n.
    """
    rows = evidence.needed("patching.stitch", method="stitch")
    panels = (
        ("output contrast, changed groups", "output", outcomes.changed_groups),
        ("fact contrast, changed groups", "fact", outcomes.changed_groups),
        ("fact contrast, unchanged groups", "fact", outcomes.unchanged_groups),
    )
    out = []
    for panel, metric, groups in panels:
        part = rows[(rows["metric"] == metric) & rows["group"].isin(groups)]
        if metric == "output":
            part = part[part["template"] == outcomes.estimating_form]
        part = part.assign(series=_series(part)).dropna(subset=["series"])
        if part["group"].nunique() < 2:
            continue
        own = part["layer"].isna()
        for chosen in (part[own].assign(layer=-1), part[~own]):
            table = _by_series(chosen, ["series"], seed)
            out.append(table.assign(panel=panel, layer=table["layer"].where(table["layer"] >= 0)))
    columns = ["panel", "series", "layer", "estimate", "low", "high", "n"]
    return pd.concat(out, ignore_index=True)[columns] if out else pd.DataFrame(columns=columns)


def shift_curves(evidence: Evidence, groups: Sequence[str]) -> pd.DataFrame:
    """Sufficiency, retention and persistence of some groups by boundary, with Wilson intervals.

    Columns: condition, layer, estimate, low, high, n. Unit: share of groups.
    """
    curves = ("sufficiency", "sufficiency_mean", "retention", "retention_control", "persistence")
    shifts = Evidence(evidence.needed("patching.shared_shift", method="shift"))
    rows = shifts.where(metric="said", condition=list(curves))
    rows = rows[rows["group"].isin(list(groups)) & rows["layer"].notna()]
    each = rows.groupby(["condition", "layer", "group"], observed=True)["value"].mean()
    out = []
    for key, part in each.groupby(["condition", "layer"], observed=True):
        condition, layer = tuple(key)  # type: ignore[arg-type]
        share = stats.wilson(int((part >= 0.5).sum()), len(part))
        out.append({"condition": str(condition), "layer": layer, "estimate": share.estimate,
                    "low": share.low, "high": share.high, "n": len(part)})  # fmt: skip
    return pd.DataFrame(out) if out else _empty(["condition"])


def cross_patch_curves(evidence: Evidence, *, form: str | None = None, seed: int = 0) -> pd.DataFrame:
    """ρ = (m[patched] − m[own]) / (m[other] − m[own]) by model, span and boundary.

    Means over groups are taken before dividing. Columns: model, span, layer, estimate, low, high, n.
    """
    crossed = Evidence(evidence.needed("patching.cross_patch", method="cross_patch"))
    rows = crossed.where(metric="output")
    if form is not None:
        rows = rows[rows["template"] == form]
    own = rows[rows["condition"] == "baseline"]
    ends = own.groupby(["model", "group"], observed=True)["value"].mean().unstack("model")
    out = []
    for (model, span), part in rows[rows["condition"] == "patched"].groupby(
        ["model", "span"], observed=True
    ):
        other = "tuned" if model == "base" else "base"
        if model not in ends or other not in ends:
            continue
        table = part.groupby(["group", "layer"], observed=True)["value"].mean().unstack("layer")
        start, stop = (ends[m].reindex(table.index).to_numpy(float)[:, None] for m in (model, other))
        values = table.to_numpy(float)

        def share(w: Array, v: Array = values, a: Array = start, b: Array = stop) -> Array:
            return (w @ v - w @ a) / (w @ b - w @ a)

        bounds = intervals(share, len(values), seed)
        out.append(_rows(bounds, list(table.columns), len(values), model=model, span=span))
    return pd.concat(out, ignore_index=True) if out else _empty(["model", "span"])


def intervals(
    statistic: Callable[[Array], Array], n: int, seed: int, *, draws: int = Thresholds.draws
) -> tuple[Array, Array, Array]:
    """Estimate and BCa 95% interval of many statistics of the same n resampled units.

    `statistic` maps weights "draw unit" to values "draw cell": the number of times that each unit
    was drawn (`interp.stats.bootstrap`). One multiplication of matrices serves every cell of a sweep.
    """
    return stats.bootstrap(lambda counts: statistic(counts.astype(float)), n, draws=draws, seed=seed)


def _by_series(rows: pd.DataFrame, keys: Sequence[str], seed: int) -> pd.DataFrame:
    """Class-balanced mean over groups for each series (keys) and layer, with intervals."""
    keys = list(keys)
    rows = rows.dropna(subset=["value", "group"])
    out = []
    for key, part in rows.groupby(keys, observed=True, dropna=False):
        label, labels = pd.factorize(part["strength"].astype(float).fillna(0.0))
        group, groups = pd.factorize(part["group"])
        layer, layers = pd.factorize(part["layer"], sort=True)
        shape = (len(labels), len(groups), len(layers))
        sums, counts = np.zeros(shape), np.zeros(shape)
        np.add.at(sums, (label, group, layer), part["value"].to_numpy(float))
        np.add.at(counts, (label, group, layer), 1.0)
        have = (counts > 0).astype(float)
        means = sums / np.maximum(counts, 1.0)

        def balanced(w: Array, m: Array = means, h: Array = have) -> Array:
            weight = w @ h
            present = np.where(weight > 0, (w @ m) / np.where(weight > 0, weight, 1.0), np.nan)
            seen = np.maximum(np.isfinite(present).sum(axis=0), 1)
            return np.nansum(present, axis=0) / seen

        bounds = intervals(balanced, len(groups), seed)
        names = dict(zip(keys, key if isinstance(key, tuple) else (key,), strict=True))
        out.append(_rows(bounds, list(layers), len(groups), **names))
    return pd.concat(out, ignore_index=True) if out else _empty(keys)


def _rows(
    bounds: tuple[Array, Array, Array], layers: Sequence[Any], n: int, **key: object
) -> pd.DataFrame:
    estimate, low, high = bounds
    table = pd.DataFrame({"layer": layers, "estimate": estimate, "low": low, "high": high, "n": n})
    for place, (name, value) in enumerate(key.items()):
        table.insert(place, name, str(value))
    return table


def _boundaries(rows: pd.DataFrame, evidence: Evidence) -> pd.DataFrame:
    """Rows at a block's output as rows at the boundary after it, unless they are counted so already.

    `Evidence.by_boundary` notes the number that the last boundary has; where no note says so, rows are
    counted already if they go on in the steps of the boundaries before.
    """
    kind, top = rows["kind"].astype("string"), evidence.provenance.get("boundaries")
    after = (kind == "resid_post").to_numpy(dtype=bool, na_value=False)
    if top is None:
        before = rows.loc[(kind == "resid_pre").to_numpy(dtype=bool, na_value=False), "layer"]
        last = sorted(int(layer) for layer in before.dropna().unique())[-2:]
        top = last[-1] + (last[1] - last[0] if len(last) > 1 else 1) if last else None
    counted = (rows["layer"] == top).to_numpy(dtype=bool, na_value=False)
    more = (after & ~counted).astype(int)
    return rows.assign(layer=rows["layer"] + more, kind=kind.mask(after, "resid_pre"))


def _pair_table(part: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series, pd.Series]:
    patched = part[part["condition"] == "patched"]
    grid = patched.groupby(["example", "layer"])["value"].mean().unstack("layer").dropna()
    ends = [
        part[part["condition"] == c].groupby("example")["value"].mean().reindex(grid.index)
        for c in ("clean", "corrupted")
    ]
    return grid, ends[0], ends[1]


def _series(part: pd.DataFrame) -> pd.Series:
    stitched = (part["condition"] == "stitched").to_numpy()
    model = part["model"].astype("string")
    own = model.where(part["condition"].astype("string") == "baseline")
    names = model.map({"tuned": "U", "base": "V"}).astype("string")
    return own.mask(pd.Series(stitched, index=part.index), names)


def _joined(tokens: pd.Series) -> str:
    """Tokens as text: joined as they are where some carry their own spaces, else by spaces."""
    words = [str(t) for t in tokens]
    spaced = any(w[:1].isspace() for w in words)
    return ("" if spaced else " ").join(words).strip()


def _present(column: pd.Series) -> list[str]:
    return sorted(str(v) for v in column.dropna().unique())


def _empty(keys: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(columns=[*keys, "layer", "estimate", "low", "high", "n"])
