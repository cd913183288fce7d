"""LinearProbe: a fitted linear reader, frozen, in raw activation coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.activations import Activations
from interp.directions import Direction, Subspace
from interp.sites import Site
from probes.data import problem
from probes.estimators.base import Estimator
from probes.estimators.named import named
from probes.splits import Split, balance, group_folds, masked, splits_of


@dataclass(frozen=True)
class LinearProbe:
    """Scores = values @ weight.T + bias, one column per class; the largest wins.

    `weight` is in raw activation coordinates, in the type and on the device of the activations
    (integers: in float). `score` is the balanced accuracy on held-out groups within the training
    data, or None where there were too few groups to hold any out. It says what can be read here, not
    what the model uses.
    """

    site: Site
    weight: Float[Tensor, "class d"]
    bias: Float[Tensor, " class"]
    estimator: str
    classes: tuple[int | float | bool, ...]
    score: float | None = None
    position: str = "last"

    def decision(self, values: Float[Tensor, "example d"]) -> Float[Tensor, "example class"]:
        """The score of each class; of two, column 1 minus column 0 is the signed margin."""
        if values.shape[-1] != self.weight.shape[1]:
            raise ValueError(
                f"values must have {self.weight.shape[1]} features, got {values.shape[-1]}; "
                f"this probe was fitted at {self.site}"
            )
        return values.double() @ self.weight.double().to(values.device).T + self.bias.double().to(
            values.device
        )

    def predict(self, values: Float[Tensor, "example d"]) -> Tensor:
        """The predicted label of each example, among `classes`, on the values' device."""
        return torch.tensor(self.classes, device=values.device)[self.decision(values).argmax(1)]

    def direction(self, label: int | float | bool | None = None) -> Direction:
        """The direction that raises this label's score against the mean of the others.

        With two classes the label may be left out: the direction points to the second.

        Raises:
            ValueError: if the label is unknown, or left out with more than two classes.
        """
        if label is None and len(self.classes) == 2:
            label = self.classes[1]
        if label not in self.classes:
            raise ValueError(f"label must be one of {list(self.classes)}, got {label}")
        chosen = self.classes.index(label)
        others = [i for i in range(len(self.classes)) if i != chosen]
        vector = self.weight[chosen] - self.weight[others].mean(0)
        return Direction(self.site, vector, self.position, self.estimator, self.score)

    def subspace(self) -> Subspace:
        """The span of all differences between class weights (rank: classes − 1)."""
        basis = (self.weight[1:] - self.weight[:1]).T
        return Subspace(self.site, basis, self.position, self.estimator, self.score)


def fit(
    train: Activations, *, estimator: str | Estimator = "logistic", seed: int = 0, folds: int = 5
) -> LinearProbe:
    """Fit one probe on all the training examples; its score comes from held-out groups among them.

    Raises:
        ValueError: on malformed activations or labels, or an unknown estimator.
    """
    known, solver = problem(train), named(estimator)
    labels, groups = known.labels, known.groups
    spread = min(len(np.unique(groups[labels == c])) for c in range(known.n_classes))
    drawn, splits = labels[None], []
    enough = min(len(known.names), int(np.bincount(labels).max())) >= folds
    if enough and spread >= 2:
        splits = splits_of(group_folds(groups, folds, seed=seed, labels=labels))
        drawn = np.stack([labels, *(masked(labels, rows) for rows, _ in splits)])
    weight, bias = solver.solve(
        train.values, torch.from_numpy(drawn).to(train.values.device), known.n_classes, groups
    )
    score = None
    if splits:
        guess = held_out(weight[1:], bias[1:], train.values, splits)
        score = float(((guess == labels) * balance(labels, known.n_classes)).mean())
    dtype = weight_dtype(train.values)
    return LinearProbe(
        site=train.site,
        weight=weight[0].to(dtype),
        bias=bias[0].to(dtype),
        estimator=solver.name,
        classes=known.classes,
        score=score,
        position=train.position,
    )


def weight_dtype(values: Tensor) -> torch.dtype:
    """The type of weights read from these values: their own, or float where they are integers."""
    return values.dtype if values.is_floating_point() else torch.get_default_dtype()


def signed_margins(
    solver: Estimator, values: Float[Tensor, "example d"], drawn: np.ndarray, groups: np.ndarray
) -> Float[np.ndarray, "draw example"]:
    """Second class minus first, of every example, by the probe fitted on each draw of two classes."""
    labels = torch.from_numpy(drawn).to(values.device)
    weight, bias = solver.solve(values, labels, 2, groups)
    gap = values.double() @ (weight[:, 1] - weight[:, 0]).T + (bias[:, 1] - bias[:, 0])
    return gap.T.cpu().numpy()


def held_out(
    weight: Float[Tensor, "split class d"],
    bias: Float[Tensor, "split class"],
    values: Float[Tensor, "example d"],
    splits: Sequence[Split],
) -> np.ndarray:
    """The class number predicted for each example by the split that held it out; −1 if none did."""
    return chosen(_held_out_scores(weight, bias, values, splits))


def chosen(scores: Float[np.ndarray, "*task example class"]) -> Int[np.ndarray, "*task example"]:
    """The class of the largest score; −1 where there is none."""
    known = np.asarray(np.isfinite(scores).all(-1))
    return np.where(known, np.where(known[..., None], scores, 0.0).argmax(-1), -1)


def _held_out_scores(
    weight: Float[Tensor, "split class d"],
    bias: Float[Tensor, "split class"],
    values: Float[Tensor, "example d"],
    splits: Sequence[Split],
) -> Float[np.ndarray, "example class"]:
    """Each example's scores by the split that held it out; NaN if none did."""
    out = np.full((len(values), weight.shape[1]), np.nan)
    for w, b, (_, test) in zip(weight, bias, splits, strict=True):
        out[test] = (values[test].to(w) @ w.T + b).cpu().numpy()
    return out


def predictions(
    solver: Estimator,
    values: Float[Tensor, "example d"],
    labels: Int[np.ndarray, "task split example"],
    splits: Sequence[Split],
    n_classes: int,
    groups: np.ndarray | None = None,
) -> Int[np.ndarray, "task example"]:
    """Held-out class numbers of several tasks over the same splits, all fitted in one call.

    `labels` are those to train on, −1 outside a split's training rows.
    """
    return chosen(decisions(solver, values, labels, splits, n_classes, groups))


def decisions(
    solver: Estimator,
    values: Float[Tensor, "example d"],
    labels: Int[np.ndarray, "task split example"],
    splits: Sequence[Split],
    n_classes: int,
    groups: np.ndarray | None = None,
) -> Float[np.ndarray, "task example class"]:
    """The scores behind `predictions`, NaN where no split held an example out."""
    drawn = torch.from_numpy(labels.reshape(-1, labels.shape[-1])).to(values.device)
    weight, bias = solver.solve(values, drawn, n_classes, groups)
    k = len(splits)
    parts = range(0, len(weight), k)
    found = [_held_out_scores(weight[i : i + k], bias[i : i + k], values, splits) for i in parts]
    return np.stack(found)
