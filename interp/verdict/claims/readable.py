"""Whether an attribute can be read at a site: probes against their controls, site by site.

Readable: balanced accuracy on held-out groups exceeds the control task's by more than `readable_gap`
(lower bound), p over all sites of the attribute is below `claim_p`, and it exceeds every surface
baseline (lower bound above zero). Unreadable: the upper bound lies below `readable_gap` *and* planted
directions of accuracy three quarters are recovered at this n. A site can be neither. Readable is not
used.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from interp import stats
from interp.evidence import Evidence
from interp.stats.intervals import Interval
from interp.verdict.thresholds import Thresholds

#: Columns that name a claim: the attribute and its site.
PLACE = ("metric", "model", "kind", "layer", "head", "span")

Key = tuple[str, str, str, int, int | None, str]


@dataclass(frozen=True)
class Reading:
    """What the probes say at one site. None: not measured.

    Attributes:
        selectivity: balanced accuracy above that of the control task.
        above_surface: balanced accuracy above that of the best trivial reader.
        p: family-wise p of the accuracy over the attribute's sites, against permuted labels.
        planted: share of planted directions that were recovered.
        readable: whether the attribute can be read here.
        unreadable: whether it cannot; a site can be neither.
        missing: names of the evidence that was not given.
    """

    selectivity: Interval | None = None
    above_surface: Interval | None = None
    p: float | None = None
    planted: float | None = None
    readable: bool | None = None
    unreadable: bool | None = None
    missing: tuple[str, ...] = ("no probe rows",)


def best_read(evidence: Evidence, *, skip: Collection[str]) -> list[Key]:
    """Site with the most right answers, for each attribute and model.

    Args:
        evidence: with the rows method ``probe``.
        skip: attributes that are left out.
    """
    rows = evidence.rows(method="probe", condition="probe")
    rows = rows[~rows["metric"].isin(list(skip))]
    if rows.empty:
        return []
    rows = rows.astype({name: object for name in PLACE})
    right = rows.groupby(list(PLACE), dropna=False)["value"].mean()
    best: dict[tuple[str, str], tuple[float, Key]] = {}
    for name, share in right.items():
        key = as_key(name)
        if share > best.get(key[:2], (-1.0, key))[0]:
            best[key[:2]] = (float(share), key)
    return [best[name][1] for name in sorted(best)]


def readings(
    evidence: Evidence, keys: Collection[Key], thresholds: Thresholds, seed: int = 0
) -> dict[Key, Reading]:
    """Reading of each wanted (attribute, site) that has probe rows.

    Args:
        evidence: with the rows methods ``probe`` and ``readable``.
        keys: the attributes and sites that are wanted.
        thresholds: the declared margins.
        seed: of the bootstrap.
    """
    rows = evidence.rows(method="probe")
    trivial = rows["condition"].astype(str).str.startswith("surface")
    rows = rows[trivial | rows["condition"].isin(["probe", "control_task"])]
    rows = rows[rows["layer"].isin([key[3] for key in keys])]
    if rows.empty:
        return {}
    rows = rows.astype({name: object for name in (*PLACE, "condition", "group")})
    p, planted = _permuted(evidence, thresholds)
    by_site: dict[Key, Reading] = {}
    for name, part in rows.groupby(list(PLACE), dropna=False):
        key = as_key(name)
        by_condition = {str(condition): site for condition, site in part.groupby("condition")}
        if key not in keys or "probe" not in by_condition:
            continue
        probe, control = by_condition["probe"], by_condition.get("control_task", part[:0])
        above_surfaces = [
            gap
            for condition, surface in by_condition.items()
            if condition.startswith("surface")
            if (gap := difference(probe, surface, thresholds, seed)) is not None
        ]
        by_site[key] = _reading(
            difference(probe, control, thresholds, seed),
            min(above_surfaces, key=lambda gap: gap.low, default=None),
            p.get(key),
            planted.get(key),
            thresholds,
        )
    return by_site


def difference(
    probe: pd.DataFrame, control: pd.DataFrame, thresholds: Thresholds, seed: int
) -> Interval | None:
    """Balanced accuracy of the probe minus that of a control, groups resampled; None without rows.

    Balanced accuracy is the mean over classes (`label`: the class a row is scored against, one
    class where absent) of the share right, averaged over a control's draws. Each group enters with
    its influence on that mean, so the interval also carries the random size of the classes.

    Args:
        probe: rows of the probe at one site.
        control: rows of a control there.
        thresholds: for the confidence and the draws.
        seed: of the bootstrap.
    """
    if probe.empty or control.empty:
        return None
    a, b = _influence(probe), _influence(control)
    groups = sorted(set(a.index) & set(b.index))
    if not groups:
        return None
    values = (a.loc[groups] - b.loc[groups]).to_numpy(float)
    return stats.group_bootstrap(
        values, groups, draws=thresholds.draws, level=1 - thresholds.alpha, seed=seed
    )


def balanced_accuracy(rows: pd.DataFrame, thresholds: Thresholds, seed: int) -> Interval | None:
    """Balanced accuracy of one condition's rows, groups resampled; None without rows.

    Args:
        rows: of one condition at one site.
        thresholds: for the confidence and the draws.
        seed: of the bootstrap.
    """
    if rows.empty:
        return None
    values = _influence(rows)
    return stats.group_bootstrap(
        values.to_numpy(float),
        list(values.index),
        draws=thresholds.draws,
        level=1 - thresholds.alpha,
        seed=seed,
    )


def as_key(name: object) -> Key:
    """Group-by key over `PLACE` as a `Key`: -1 for no layer, "" for no text, None for no head."""
    assert isinstance(name, tuple)
    metric, model, kind, layer, head, span = name
    model, kind, span = ("" if pd.isna(text) else str(text) for text in (model, kind, span))
    layer = -1 if pd.isna(layer) else int(layer)
    return str(metric), model, kind, layer, None if pd.isna(head) else int(head), span


def _reading(
    gap: Interval | None,
    above: Interval | None,
    p: float | None,
    planted: float | None,
    thresholds: Thresholds,
) -> Reading:
    margin = thresholds.readable_gap
    lacking = {"control task": gap, "surface baseline": above, "label permutations": p}
    readable = None
    if gap is not None and above is not None and p is not None:
        readable = bool(gap.low > margin and p < thresholds.claim_p and above.low > 0)
    unreadable = None
    if gap is not None and planted is not None:
        unreadable = bool(gap.high < margin and planted >= thresholds.planted_power)
    missing = [f"no {name}" for name, value in lacking.items() if value is None]
    if planted is None:
        missing.append("no planted direction")
    return Reading(gap, above, p, planted, readable, unreadable, tuple(missing))


def _permuted(evidence: Evidence, thresholds: Thresholds) -> tuple[dict[Key, float], dict[Key, float]]:
    """Family-wise p and recovered share of plants at each site, from the rows method ``readable``.

    The p compares with the largest balanced accuracy over the attribute's sites in each label draw.
    A plant is recovered when its gain over one half exceeds both the readable margin and what the
    largest of the permuted accuracies gains over chance in 95% of the draws.
    """
    rows = evidence.rows(method="readable").astype({name: object for name in (*PLACE, "condition")})
    p: dict[Key, float] = {}
    planted: dict[Key, float] = {}
    for _, part in rows.groupby(["metric", "model"], dropna=False):
        observed = _by_site(part, "observed")
        drawn = _by_site(part, "permutation")
        plants = _by_site(part, "planted")
        sites = [k for k in observed if len(drawn.get(k, ())) >= thresholds.label_draws]
        if not sites:
            continue
        shortest = min(len(drawn[k]) for k in sites)
        null = np.column_stack([drawn[k][:shortest] for k in sites])
        values = stats.max_statistic_p(np.array([observed[k][0] for k in sites]), null)
        p |= {k: float(v) for k, v in zip(sites, values, strict=True)}
        beyond = np.quantile(null.max(axis=1), 1 - thresholds.alpha) - null.mean()
        bar = max(thresholds.readable_gap, float(beyond))
        planted |= {k: float((v > bar).mean()) for k, v in plants.items() if len(v)}
    return p, planted


def _by_site(rows: pd.DataFrame, condition: str) -> Mapping[Key, np.ndarray]:
    part = rows[rows["condition"] == condition]
    return {
        as_key(name): site.sort_values("draw")["value"].to_numpy(dtype=float)
        for name, site in part.groupby(list(PLACE), dropna=False)
    }


def _influence(rows: pd.DataFrame) -> pd.Series:
    """Per group, a value whose mean over groups is the balanced accuracy, averaged over draws."""
    scored = pd.DataFrame(
        {
            "group": rows["group"].astype(str).to_numpy(),
            "draw": rows["draw"].astype("Int64").fillna(0).to_numpy(),
            "label": rows["label"].astype("Float64").fillna(0.0).to_numpy(dtype=float),
            "value": rows["value"].to_numpy(dtype=float),
        }
    )
    per_class = scored.groupby(["draw", "label"])["value"]
    mean, size = per_class.transform("mean"), per_class.transform("size")
    classes = scored.groupby("draw")["label"].transform("nunique")
    draws = scored["draw"].nunique()
    accuracy = float((scored["value"] / size / classes).sum() / draws)
    scored["moved"] = (scored["value"] - mean) / size / classes / draws
    moved = scored.groupby("group")["moved"].sum()
    return accuracy + moved * len(moved)
