"""Choosing a strength inside the training rows: group-disjoint inner folds, never the held-out rows.

For each draw of labels the rows it sees are dealt into folds by group; every strength is fitted on
all folds but one and scored on that one; the strength with the lowest mean loss is refitted on all
rows the draw sees. Centring and scaling are part of each fit. The classes weigh equally.
`LinearEstimator` does so for every estimator of classes. The checks of options stand here as well.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache, partial
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from probes.blocks import Values
from probes.estimators.base import Solution
from probes.splits import UNSEEN, group_folds

#: The loss of one row per class scores (or predictions) and label (or quantity).
Loss = Callable[[Float[Tensor, "row class"], Shaped[Tensor, " row"]], Float[Tensor, " row"]]

#: Fits draws at one strength each: (values, draws, strengths) -> weights and biases.
Fit = Callable[[Any, Tensor, Tensor], Solution]


def log_loss(scores: Float[Tensor, "row class"], labels: Int[Tensor, " row"]) -> Float[Tensor, " row"]:
    """−log softmax(scores) at the label, at most 20: a class unseen in training is no infinity."""
    log_probability = scores.log_softmax(1).gather(1, labels[:, None])[:, 0]
    return -log_probability.clamp(min=-20)


def brier_like(
    scores: Float[Tensor, "row class"], labels: Int[Tensor, " row"]
) -> Float[Tensor, " row"]:
    """Squared distance of the scores from ±1, summed over the classes."""
    sign = 2.0 * torch.nn.functional.one_hot(labels.long(), scores.shape[1]) - 1
    return (scores.clamp(min=-20) - sign).square().sum(1)


def squared(scores: Float[Tensor, "row 1"], targets: Float[Tensor, " row"]) -> Float[Tensor, " row"]:
    """Squared error of a quantity."""
    return (scores[:, 0] - targets).square()


def choose(
    fit: Fit,
    loss: Loss,
    values: Values,
    draws: Shaped[Tensor, "draw example"],
    path: tuple[float, ...],
    groups: np.ndarray | None,
    *,
    folds: int = 5,
    seed: int = 0,
) -> Float[Tensor, " draw"]:
    """The strength of the lowest held-out loss for each draw, classes weighing equally.

    Draws are labels (−1: unseen) or quantities (NaN: unseen). Ties take the first strength, and so
    does a draw of one group, in which nothing can be held out. There are at most as many folds as
    the rarest class has groups.

    Raises:
        ValueError: if there are no groups to keep apart, or a strength is not positive.
    """
    if groups is None:
        raise ValueError("choosing a strength needs groups, got none; give one strength, or groups")
    if not path or min(path) <= 0:
        raise ValueError(f"strengths must be positive, got {list(path)}; try (0.001, 0.01, 0.1)")
    strengths = torch.tensor(path, dtype=torch.float64)

    def best(draw: Tensor) -> Tensor:
        training = (draw.isfinite() if draw.is_floating_point() else draw >= 0).cpu().numpy()
        if len(np.unique(groups[training])) < 2:
            return strengths[0]
        losses = _losses(fit, loss, values, draw, strengths, groups, folds, seed)
        return strengths[int(losses.argmin())]

    return torch.stack([best(draw) for draw in draws])


def _losses(
    fit: Fit,
    loss: Loss,
    values: Values,
    draw: Tensor,
    strengths: Tensor,
    groups: np.ndarray,
    folds: int,
    seed: int,
) -> Float[Tensor, " strength"]:
    quantity = draw.is_floating_point()
    blank = torch.nan if quantity else UNSEEN
    code = torch.where(draw.isfinite(), 0, UNSEEN) if quantity else draw
    fold = torch.from_numpy(_inner_folds(code.cpu().numpy(), groups, folds, seed)).to(draw.device)
    parts = [int(k) for k in torch.unique(fold[fold >= 0])]
    train = torch.stack([draw.masked_fill(fold == k, blank) for k in parts])
    n = len(strengths)
    weight, bias = fit(values, train.repeat_interleave(n, 0), strengths.repeat(len(parts)))
    losses = torch.zeros((n, len(draw)), dtype=torch.float64, device=values.device)
    for i, k in enumerate(parts):
        held = fold == k
        rows = values[held].double()
        for j in range(n):
            number = i * n + j
            losses[j, held] = loss(rows @ weight[number].T + bias[number], draw[held])
    classes = torch.unique(code[code >= 0])
    return torch.stack([losses[:, code == c].mean(1) for c in classes]).mean(0)


def _inner_folds(labels: np.ndarray, groups: np.ndarray, folds: int, seed: int) -> np.ndarray:
    labels, groups = labels.astype(np.int64), groups.astype(np.int64)
    return _dealt(labels.tobytes(), groups.tobytes(), folds, seed).copy()


@lru_cache(maxsize=512)
def _dealt(labels: bytes, groups: bytes, folds: int, seed: int) -> np.ndarray:
    """Folds of the training rows and −1 elsewhere; kept, since all sites share their labels."""
    label, group = np.frombuffer(labels, np.int64), np.frombuffer(groups, np.int64)
    training = label >= 0
    label, group = label[training], group[training]
    spread = min(len(np.unique(group[label == c])) for c in np.unique(label))
    fold = np.full(len(training), UNSEEN, dtype=np.int64)
    # Where there are folds enough for every class, each fold holds all of them.
    folds = min(folds, len(np.unique(group)) if spread < 2 else max(2, spread))
    fold[training] = group_folds(group, folds, seed=seed, labels=label if spread > 1 else None)
    return fold


#: One strength of regularisation, or several of which each draw takes the best.
Strengths = float | Sequence[float] | np.ndarray | Tensor


def normalised(strengths: object, name: str) -> float | tuple[float, ...]:
    """A float, or a tuple of floats for a flat sequence or array; all finite and positive.

    Args:
        strengths: what the user gave.
        name: of the argument, for the error.

    Raises:
        ValueError: if it is neither, calling the argument by its name.
    """
    array = isinstance(strengths, np.ndarray | np.generic | Tensor)
    plain: Any = strengths.tolist() if array else strengths
    several = isinstance(plain, list | tuple | range)
    numbers = list(plain) if several else [plain]
    if not numbers or not all(isinstance(x, Real) and not isinstance(x, bool) for x in numbers):
        wanted = "numbers, one or a flat sequence"
    elif not all(math.isfinite(x) for x in numbers):
        wanted = "finite"
    elif min(numbers) <= 0:
        wanted = "positive"
    else:
        return tuple(float(x) for x in numbers) if several else float(numbers[0])
    raise ValueError(
        f"{name}: strengths must be {wanted}, got {numbers if several else repr(plain)}; "
        "give a number above 0, or several to choose from"
    )


def strength_of_each(
    strengths: Strengths,
    fit: Fit,
    loss: Loss,
    values: Values,
    draws: Shaped[Tensor, "draw example"],
    groups: np.ndarray | None,
    *,
    folds: int,
) -> Float[Tensor, " draw"]:
    """The strength of each draw: the only one, or the best of several inside its training rows.

    Raises:
        ValueError: if there are several and no groups to keep apart in choosing (see `choose`).
    """
    if isinstance(strengths, tuple):
        return choose(fit, loss, values, draws, strengths, groups, folds=folds)
    assert isinstance(strengths, float)  # held by `normalised`
    return torch.full((len(draws),), strengths, dtype=torch.float64)


class LinearEstimator(ABC):
    """What the estimators of classes share: `solve`, which gives each draw its strength and fits all.

    A subclass says how draws are fitted at one strength each (`fit_at`) and, where it has a strength,
    which (`strengths`), by which loss the best of several is chosen, and in how many folds.
    """

    folds: int = 5

    @staticmethod
    def loss(scores: Float[Tensor, "row class"], labels: Int[Tensor, " row"]) -> Float[Tensor, " row"]:
        """The loss of one row that a strength is chosen by."""
        return log_loss(scores, labels)

    @property
    def strengths(self) -> Strengths:
        """The strength of regularisation, or several; an estimator without one ignores it."""
        return 1.0

    @property
    def by_blocks(self) -> bool:
        """Whether rows may stay on disk, read block by block."""
        return False

    def solve(
        self,
        values: Values,
        labels: Int[Tensor, "draw example"],
        n_classes: int,
        groups: np.ndarray | None = None,
    ) -> Solution:
        """Weights and biases, in raw activation coordinates, of all draws at their strengths.

        Args:
            values: the activations.
            labels: per draw the class 0..n_classes − 1 of each example; −1 for rows it must not see.
            n_classes: number of classes.
            groups: the group of each example, kept apart where a strength is chosen.

        Raises:
            ValueError: if a strength is to be chosen and there are no groups.
        """
        labels = labels.to(values.device)
        fit = partial(self.fit_at, n_classes=n_classes)
        strengths = strength_of_each(
            self.strengths, fit, self.loss, values, labels, groups, folds=self.folds
        )
        return fit(values, labels, strengths)

    @abstractmethod
    def fit_at(
        self,
        values: Any,
        labels: Int[Tensor, "draw example"],
        strengths: Float[Tensor, " draw"],
        n_classes: int,
    ) -> Solution:
        """Weights and biases of draws at one strength each; rows are a tensor, or go by blocks."""


def check_count(count: object, name: str) -> None:
    """Refuse what is not a whole number of at least one.

    Raises:
        ValueError: calling the argument by its name.
    """
    if not isinstance(count, Integral) or isinstance(count, bool) or count < 1:
        raise ValueError(f"{name} must be at least 1, got {count}; give a whole number, such as 1")


def check_choice(word: object, name: str, choices: Collection[str]) -> None:
    """Refuse a word that is none of the choices.

    Raises:
        ValueError: calling the argument by its name.
    """
    if word not in choices:
        raise ValueError(f"{name} must be one of {sorted(choices)}, got {word!r}; give one of them")
