"""Quantities: ridge probes for numbers (populations, atomic numbers)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.activations import Activations
from interp.directions import Direction
from interp.evidence import Evidence
from interp.sites import Site
from probes.controls import permute_over_groups
from probes.cross_validation import Surface, readers
from probes.data import Sites, problem
from probes.estimators.ridge import Ridge
from probes.linear import weight_dtype
from probes.measures.accuracy import PLACE, paired, resampled
from probes.parallel import each
from probes.splits import group_folds, splits_of


@dataclass(frozen=True)
class QuantityProbe:
    """Prediction = values · weight + bias, in the unit of the labels and raw activation coordinates."""

    site: Site
    weight: Float[Tensor, " d"]
    bias: float
    estimator: str
    position: str = "last"

    def predict(self, values: Float[Tensor, "example d"]) -> Float[Tensor, " example"]:
        """The predicted quantity of each example."""
        if values.shape[-1] != len(self.weight):
            raise ValueError(
                f"values must have {len(self.weight)} features, got {values.shape[-1]}; "
                f"this probe was fitted at {self.site}"
            )
        return values.double() @ self.weight.double().to(values.device) + self.bias

    def direction(self) -> Direction:
        """The direction in which the predicted quantity grows."""
        return Direction(self.site, self.weight, self.position, self.estimator)


def fit_quantity(train: Activations, *, estimator: Ridge | None = None) -> QuantityProbe:
    """Fit a quantity on all the training examples; labels are the numbers.

    Raises:
        ValueError: on malformed activations or labels, or labels that are all the same.
    """
    known, solver = problem(train), estimator or Ridge()
    targets = torch.tensor(known.classes, dtype=torch.float64)[known.tensor()]
    targets = targets.to(train.values.device)
    weight, bias = solver.solve_quantity(train.values, targets[None], known.groups)
    own = weight[0, 0].to(weight_dtype(train.values))
    return QuantityProbe(train.site, own, float(bias[0, 0]), solver.name, train.position)


def cross_validate_quantity(
    activations: Sites,
    *,
    estimator: Ridge | None = None,
    folds: int = 5,
    draws: int = 3,
    surface: Surface | None = None,
    attribute: str = "quantity",
    seed: int,
) -> Evidence:
    """Held-out predictions of a quantity at every site, over group-disjoint folds.

    Method ``quantity``; condition ``probe``, ``control_task`` for quantities permuted over groups
    (`draws` of them), or ``surface`` and ``surface_NAME`` as in `cross_validate`; value the prediction
    and strength the number it is scored against, both in the labels' unit. Read with `explained`.

    Raises:
        ValueError: on malformed activations, or fewer groups than folds.
    """
    known, solver = problem(activations), estimator or Ridge()
    truth = np.array(known.classes, dtype=float)[known.labels]
    generator = np.random.default_rng(seed)
    tasks = np.concatenate([truth[None], permute_over_groups(truth, known.groups, draws, generator)])
    splits = splits_of(group_folds(known.groups, folds, seed=seed))
    drawn = np.full((len(tasks), len(splits), len(truth)), np.nan)
    for k, (train, _) in enumerate(splits):
        drawn[:, k, train] = tasks[:, train]

    def predicted(values: Tensor, drawn: np.ndarray) -> np.ndarray:
        targets = torch.from_numpy(drawn.reshape(-1, len(truth))).to(values.device)
        weight, bias = solver.solve_quantity(values, targets, known.groups)
        scores = values.double() @ weight[:, 0].T + bias[:, 0]
        scores = scores.T.reshape(drawn.shape).cpu().numpy()
        out = np.empty(drawn[:, 0].shape)
        for k, (_, test) in enumerate(splits):
            out[:, test] = scores[:, k, test]
        return out

    trivial = {
        condition: predicted(features, drawn[:1])[0]
        for condition, features in readers(surface, len(truth)).items()
    }
    tried = [("probe", 0), *(("control_task", i) for i in range(draws))]
    names, parts = np.array(known.names, dtype=object)[known.groups], []
    found = each(lambda one: predicted(one.values, drawn), known.sites)
    for one, guess in zip(known.sites, found, strict=True):
        rows = [(*key, *both) for key, *both in zip(tried, tasks, guess, strict=True)]
        rows += [(condition, 0, truth, values) for condition, values in trivial.items()]
        for condition, draw, task, values in rows:
            parts.append(
                Evidence.build(
                    values, method="quantity", condition=condition,
                    metric=attribute, unit="quantity", strength=task, example=np.arange(len(truth)),
                    group=names, seed=draw, model=one.model, kind=str(one.site.kind),
                    layer=one.site.layer, head=one.site.head, span=one.position,
                )
            )  # fmt: skip
    notes = {"seed": seed, "estimator": solver.name, "folds": folds, "draws": draws}
    return Evidence.concat(parts).with_provenance(**{f"quantity.{attribute}": notes})


def explained(
    evidence: Evidence, *, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """R² = 1 − Σ(t − p)² / Σ(t − t̄)² per place and condition: columns estimate, low, high, groups.

    Also `correlation`, which does not punish a wrong scale. BCa bootstrap over groups; the fitted
    probes are held fixed. R² is 0 for the constant answer and negative for worse.
    """
    rows = evidence.needed("probes.cross_validate_quantity", method="quantity")
    out = []
    for key, part in rows.groupby([*PLACE, "condition"], dropna=False, observed=True, sort=False):
        t, p = part["strength"].to_numpy(dtype=float), part["value"].to_numpy(dtype=float)
        sums = _moments(part, np.unique(part["group"].astype(str)))
        got = resampled(lambda at, sums=sums: _r_squared(sums[at]), len(sums), level, draws, seed)
        related = np.corrcoef(t, p)[0, 1] if p.std() > 0 else 0.0
        out.append([*key, got.estimate, got.low, got.high, related, got.n])
    columns = [*PLACE, "condition", "estimate", "low", "high", "correlation", "groups"]
    return pd.DataFrame(out, columns=pd.Index(columns))


def explained_beyond(
    evidence: Evidence,
    *,
    against: str = "surface",
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """R² of the probe minus that of another condition, per place, paired by group.

    Columns estimate, low, high, groups.

    Raises:
        ValueError: if the evidence holds no rows of that condition.
    """
    out = []
    for key, probe, other in paired(
        evidence.needed("probes.cross_validate_quantity", method="quantity"), against
    ):
        names = np.unique(probe["group"].astype(str))
        a, b = _moments(probe, names), _moments(other, names)
        got = resampled(
            lambda at, a=a, b=b: _r_squared(a[at]) - _r_squared(b[at]), len(names), level, draws, seed
        )
        out.append([*key, got.estimate, got.low, got.high, got.n])
    return pd.DataFrame(out, columns=pd.Index([*PLACE, "estimate", "low", "high", "groups"]))


def _moments(rows: pd.DataFrame, names: np.ndarray) -> Float[np.ndarray, "group 6"]:
    """Per group: count and sums of t, p, t², p² and tp."""
    t, p = rows["strength"].to_numpy(dtype=float), rows["value"].to_numpy(dtype=float)
    sums = np.zeros((len(names), 6))
    each_row = np.stack([np.ones_like(t), t, p, t * t, p * p, t * p], 1)
    np.add.at(sums, np.searchsorted(names, rows["group"].astype(str).to_numpy(dtype=str)), each_row)
    return sums


def _r_squared(sums: Float[np.ndarray, "*draw group 6"]) -> np.ndarray:
    n, st, _, stt, spp, stp = np.moveaxis(sums.sum(-2), -1, 0)
    spread = stt - st**2 / n
    return np.asarray(1 - (stt - 2 * stp + spp) / np.where(spread > 0, spread, np.nan))
