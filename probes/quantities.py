"""Quantities: ridge probes for numbers (populations, atomic numbers)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp._aliases import alias, formerly
from interp.activations import Activations
from interp.directions import Direction
from interp.display.html import Shown
from interp.evidence import Evidence
from interp.sites import Site
from probes.controls import Surface, permute_over_groups, trivial_readers
from probes.data import Sites, labelled_sites
from probes.estimators.ridge import Ridge
from probes.linear import weight_dtype
from probes.measures.accuracy import PLACE, by_place, paired, resampled
from probes.parallel import there, units
from probes.rows import Rows, provenance
from probes.splits import group_folds, held_out, splits_of


@dataclass(frozen=True)
class QuantityProbe(Shown):
    """Prediction = values · weight + bias, in the unit of the labels.

    Attributes:
        site: where it reads.
        weight: in raw activation coordinates, in the type of the activations (integers: in float).
        bias: in the unit of the labels.
        estimator: name of the estimator.
        position: name of the position that it reads.
    """

    site: Site
    weight: Float[Tensor, " d"]
    bias: float
    estimator: str
    position: str = "last"

    def __repr__(self) -> str:
        """What it reads where, on one line."""
        place = f"{self.site} at {self.position!r}"
        return f"QuantityProbe({place}: width {len(self.weight)}, by {self.estimator})"

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
    """Fit a ridge regression of a quantity on all the training examples.

    That it predicts its own training rows says little: `cross_validate_quantity` holds groups out.

    Args:
        train: activations [example, d] whose labels are the numbers.
        estimator: a `Ridge`; by default of strength 100.

    Returns:
        A probe in raw activation coordinates.

    Raises:
        ValueError: on malformed activations or labels, or labels that are all the same.

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> letters = [len(subject) for subject in facts.subjects]
        >>> examples = interp.Examples.from_text(
        ...     model, facts.prompts(0), groups=facts.groups, labels=letters
        ... )
        >>> site = interp.boundary(3, 6)
        >>> probe = probes.fit_quantity(interp.collect(model, examples, site)[site])
        >>> tuple(probe.weight.shape), probe.position
        ((64,), 'last')
    """
    data, solver = labelled_sites(train), estimator or Ridge()
    targets = torch.tensor(data.classes, dtype=torch.float64)[data.tensor()]
    rows = train.rows
    weight, bias = solver.solve_quantity(rows, targets[None].to(rows.device), data.groups)
    direction = weight[0, 0].to(weight_dtype(rows))
    return QuantityProbe(train.site, direction, float(bias[0, 0]), solver.name, train.position)


@formerly(draws="repeats")
def cross_validate_quantity(
    activations: Sites,
    *,
    estimator: Ridge | None = None,
    folds: int = 5,
    repeats: int = 3,
    surface: Surface | None = None,
    attribute: str = "quantity",
    seed: int = 0,
) -> Evidence:
    """Held-out predictions of a quantity at every site, over group-disjoint folds.

    `r_squared` and `r_squared_gain` read the rows.

    Args:
        activations: activations [example, d] of one site or several, whose labels are the numbers.
        estimator: a `Ridge`; by default of strength 100.
        folds: number of folds; a group is never split between them.
        repeats: number of control tasks, quantities permuted over groups.
        surface: features of a trivial reader, or of several by name, as in `cross_validate`.
        attribute: name of the quantity, the metric of the rows.
        seed: of the folds and of the permutations.

    Returns:
        Evidence of method ``quantity``, in the labels' unit (unit quantity): value the prediction,
        label the number it is scored against. Conditions ``probe``, ``control_task``, and ``surface``
        or ``surface_NAME``. Columns that vary: condition, model, kind, layer, head, span, example,
        group, label, draw (of a control).

    Raises:
        ValueError: on malformed activations, or fewer groups than folds.

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> letters = [len(subject) for subject in facts.subjects]
        >>> examples = interp.Examples.from_text(
        ...     model, facts.prompts(0), groups=facts.groups, labels=letters
        ... )
        >>> states = interp.collect(model, examples, interp.boundaries(6)[::3])
        >>> read = probes.cross_validate_quantity(states, repeats=1)
        >>> read.table.groupby("condition", observed=True).size().to_dict()
        {'control_task': 384, 'probe': 384}
    """
    data, solver = labelled_sites(activations), estimator or Ridge()
    truth = np.array(data.classes, dtype=float)[data.labels]
    generator = np.random.default_rng(seed)
    tasks = np.concatenate([truth[None], permute_over_groups(truth, data.groups, repeats, generator)])
    splits = splits_of(group_folds(data.groups, folds, seed=seed))
    trained = np.full((len(tasks), len(splits), len(truth)), np.nan)
    for k, (train, _) in enumerate(splits):
        trained[:, k, train] = tasks[:, train]

    def predicted(values: Tensor, drawn: np.ndarray) -> np.ndarray:
        targets = torch.from_numpy(drawn.reshape(-1, len(truth))).to(values.device)
        weight, bias = solver.solve_quantity(values, targets, data.groups)
        scores = values.double() @ weight[:, 0].T + bias[:, 0]
        scores = scores.T.reshape(drawn.shape).cpu().numpy()
        return held_out(splits, len(truth), lambda k, rows: scores[:, k, rows].T).T

    def read(site: Activations) -> np.ndarray:
        return predicted(site.values, trained)

    trivial = {
        condition: predicted(features, trained[:1])[0]
        for condition, features in trivial_readers(surface, len(truth)).items()
    }
    conditions = [("probe", None), *(("control_task", draw) for draw in range(repeats))]
    rows = Rows(data.example_groups, method="quantity", metric=attribute, unit="quantity")
    everyone = np.arange(len(truth))
    for site, predictions in there(data.sites, units("quantity", read, data.sites)):
        where = site.columns()
        for (condition, draw), task, values in zip(conditions, tasks, predictions, strict=True):
            rows.add(values, where, condition, examples=everyone, label=task, draw=draw)
        for condition, values in trivial.items():
            rows.add(values, where, condition, examples=everyone, label=truth)
    notes = {"seed": seed, "estimator": solver.name, "folds": folds, "draws": repeats}
    return rows.evidence(provenance(f"quantity.{attribute}", notes))


@formerly(draws="resamples")
def r_squared(
    evidence: Evidence, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """R² = 1 − Σ(t − p)² / Σ(t − t̄)² per place and condition.

    0 for the constant answer, negative for worse. The interval is the BCa bootstrap over groups, which
    holds the fitted probes fixed: it covers new entities, not new training sets.

    Args:
        evidence: made by `cross_validate_quantity`.
        level: of the interval.
        resamples: number of bootstrap draws.
        seed: of the bootstrap.

    Returns:
        A table with columns model, donor, metric, kind, layer, head, span, condition, estimate, low,
        high, correlation (which does not punish a wrong scale) and groups.

    Raises:
        ValueError: if there are no rows of method ``quantity``.

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> letters = [len(subject) for subject in facts.subjects]
        >>> examples = interp.Examples.from_text(
        ...     model, facts.prompts(0), groups=facts.groups, labels=letters
        ... )
        >>> states = interp.collect(model, examples, interp.boundary(3, 6))
        >>> read = probes.cross_validate_quantity(states, repeats=1)
        >>> probes.r_squared(read, resamples=50)[["condition", "groups"]].to_dict("list")
        {'condition': ['probe', 'control_task'], 'groups': [128, 128]}
    """
    rows = evidence.needed("probes.cross_validate_quantity", method="quantity")
    table = []
    for key, part in by_place(rows, "condition"):
        truth, predicted = part["label"].to_numpy(dtype=float), part["value"].to_numpy(dtype=float)
        sums = _moments(part, np.unique(part["group"].astype(str)))
        interval = resampled(partial(_explained, sums), len(sums), level, resamples, seed)
        correlation = np.corrcoef(truth, predicted)[0, 1] if predicted.std() > 0 else 0.0
        bounds = interval.estimate, interval.low, interval.high
        table.append([*key, *bounds, correlation, interval.n])
    columns = [*PLACE, "condition", "estimate", "low", "high", "correlation", "groups"]
    return pd.DataFrame(table, columns=pd.Index(columns))


explained = alias(r_squared, "explained")


@formerly(draws="resamples")
def r_squared_gain(
    evidence: Evidence,
    *,
    against: str = "surface",
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """R² of the probe minus that of another condition, per place, paired by group.

    A gain over a trivial reader says that more can be read than it sees, not that the model uses it.

    Args:
        evidence: made by `cross_validate_quantity`.
        against: the other condition: control_task, surface or surface_NAME.
        level: of the interval.
        resamples: number of bootstrap draws.
        seed: of the bootstrap.

    Returns:
        A table with columns model, donor, metric, kind, layer, head, span, estimate, low, high and
        groups; BCa bootstrap over groups.

    Raises:
        ValueError: if the evidence holds no rows of that condition.

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> letters = [len(subject) for subject in facts.subjects]
        >>> examples = interp.Examples.from_text(
        ...     model, facts.prompts(0), groups=facts.groups, labels=letters
        ... )
        >>> states = interp.collect(model, examples, interp.boundary(3, 6))
        >>> read = probes.cross_validate_quantity(states, repeats=1)
        >>> gain = probes.r_squared_gain(read, against="control_task", resamples=50)
        >>> len(gain), list(gain.columns)[-4:]
        (1, ['estimate', 'low', 'high', 'groups'])
    """
    rows = evidence.needed("probes.cross_validate_quantity", method="quantity")
    table = []
    for key, probe, other in paired(rows, against):
        names = np.unique(probe["group"].astype(str))
        gain = partial(_gain, _moments(probe, names), _moments(other, names))
        interval = resampled(gain, len(names), level, resamples, seed)
        table.append([*key, interval.estimate, interval.low, interval.high, interval.n])
    return pd.DataFrame(table, columns=pd.Index([*PLACE, "estimate", "low", "high", "groups"]))


explained_beyond = alias(r_squared_gain, "explained_beyond")


def _moments(rows: pd.DataFrame, names: np.ndarray) -> Float[np.ndarray, "group 6"]:
    """Per group: count and sums of t, p, t², p² and tp."""
    t, p = rows["label"].to_numpy(dtype=float), rows["value"].to_numpy(dtype=float)
    sums = np.zeros((len(names), 6))
    terms = np.stack([np.ones_like(t), t, p, t * t, p * p, t * p], 1)
    np.add.at(sums, np.searchsorted(names, rows["group"].astype(str).to_numpy(dtype=str)), terms)
    return sums


def _explained(sums: Float[np.ndarray, "group 6"], drawn: np.ndarray) -> np.ndarray:
    """R² of drawn group numbers [..., group]."""
    n, st, _, stt, spp, stp = np.moveaxis(sums[drawn].sum(-2), -1, 0)
    spread = stt - st**2 / n
    return np.asarray(1 - (stt - 2 * stp + spp) / np.where(spread > 0, spread, np.nan))


def _gain(probe: np.ndarray, other: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    return _explained(probe, drawn) - _explained(other, drawn)
