"""LinearProbe: a fitted linear reader, frozen, in raw activation coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp._doors import checked
from interp.activations import Activations
from interp.activations.rows import Rows
from interp.directions import Direction, Subspace
from interp.display.html import Shown
from interp.sites import Site
from probes.blocks import Values, block_rows
from probes.data import Label, LabelledSites, labelled_sites
from probes.estimators.base import Estimator, Solution, solved
from probes.estimators.named import named
from probes.splits import Split, balance, group_folds, held_out, masked, splits_of


@dataclass(frozen=True)
class LinearProbe(Shown):
    """Scores = values @ weight.T + bias, one column per class; the largest wins.

    It says what can be read here, not what the model uses.

    Attributes:
        site: where it reads.
        weight: one row per class in raw activation coordinates, in the type and on the device of the
            activations (integers: in float).
        bias: one per class.
        estimator: name of the estimator.
        classes: the label of each class.
        score: balanced accuracy on held-out groups within the training data, or None where there were
            too few groups to hold any out.
        position: name of the position that it reads.
    """

    site: Site
    weight: Float[Tensor, "class d"]
    bias: Float[Tensor, " class"]
    estimator: str
    classes: tuple[Label, ...]
    score: float | None = None
    position: str = "last"

    def __repr__(self) -> str:
        """What it reads where, and how well on held-out groups, on one line."""
        told = f"{len(self.classes)} classes by {self.estimator}"
        told += "" if self.score is None else f", held-out balanced accuracy {self.score:.2f}"
        return f"LinearProbe({self.site} at {self.position!r}: {told})"

    @classmethod
    @checked
    def of(
        cls,
        activations: Activations,
        solution: Solution,
        *,
        estimator: str,
        classes: tuple[Label, ...],
        score: float | None = None,
    ) -> LinearProbe:
        """The first draw of a solution as a probe of these activations, in their type and place.

        Args:
            activations: what it was fitted on.
            solution: weights [draw, class, d] and biases [draw, class].
            estimator: name of the estimator.
            classes: the label of each class.
            score: balanced accuracy on held-out groups.
        """
        dtype, device = weight_dtype(activations.rows), activations.rows.device
        weight, bias = (part[0].to(device, dtype) for part in solution)
        site, position = activations.site, activations.position
        return cls(site, weight, bias, estimator, classes, score, position)

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

    def direction(self, label: Label | None = None) -> Direction:
        """The direction that raises this label's score against the mean of the others.

        With two classes the label may be left out: the direction points to the second.

        Raises:
            ValueError: if the label is unknown, or left out with more than two classes.
        """
        if label is None and len(self.classes) == 2:
            label = self.classes[1]
        if label not in self.classes:
            raise ValueError(f"label must be one of {list(self.classes)}, got {label}")
        number = self.classes.index(label)
        others = [i for i in range(len(self.classes)) if i != number]
        vector = self.weight[number] - self.weight[others].mean(0)
        return Direction(self.site, vector, self.position, self.estimator, self.score)

    def subspace(self) -> Subspace:
        """The span of all differences between class weights (rank: classes − 1)."""
        basis = (self.weight[1:] - self.weight[:1]).T
        return Subspace(self.site, basis, self.position, self.estimator, self.score)


def fit(
    train: Activations, *, estimator: str | Estimator = "logistic", seed: int = 0, folds: int = 5
) -> LinearProbe:
    """Fit one probe on all the training examples; its score comes from held-out groups among them.

    Args:
        train: labelled activations [example, d]; labels may be numbers or bools.
        estimator: a name in `ESTIMATORS`, or an estimator.
        seed: of the folds that the score is held out on.
        folds: number of these folds.

    Returns:
        A probe in raw activation coordinates. What it reads the model need not use.

    Raises:
        ValueError: on malformed activations or labels, or an unknown estimator.

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> south = [region == "south" for region in facts.attribute("region")]
        >>> examples = interp.Examples.from_text(
        ...     model, facts.prompts(0), groups=facts.groups, labels=south
        ... )
        >>> site = interp.boundary(6, 6)
        >>> states = interp.collect(model, examples, site)[site]
        >>> probe = probes.fit(states, estimator="mass_mean")
        >>> probe.classes, tuple(probe.weight.shape), probe.predict(states.values).shape[0]
        ((0.0, 1.0), (2, 64), 128)
    """
    data, solver = labelled_sites(train), named(estimator)
    splits = _scoring_splits(data, folds, seed)
    drawn = np.stack([data.labels, *(masked(data.labels, rows) for rows, _ in splits)])
    rows = train.rows
    weight, bias = solved(
        solver, rows, torch.from_numpy(drawn).to(rows.device), data.n_classes, data.groups
    )
    score = None
    if splits:
        guess = predicted_classes(held_out_scores((weight[1:], bias[1:]), rows, splits))
        correct = guess == data.labels
        score = float((correct * balance(data.labels, data.n_classes)).mean())
    return LinearProbe.of(
        train, (weight, bias), estimator=solver.name, classes=data.classes, score=score
    )


def _scoring_splits(data: LabelledSites, folds: int, seed: int) -> list[Split]:
    """Group-disjoint folds to score a probe on; none where a class is too small to hold any out."""
    spread = min(len(np.unique(data.groups[data.labels == c])) for c in range(data.n_classes))
    enough = min(len(data.group_names), int(np.bincount(data.labels).max())) >= folds
    if not enough or spread < 2:
        return []
    return splits_of(group_folds(data.groups, folds, seed=seed, labels=data.labels))


def weight_dtype(values: Rows) -> torch.dtype:
    """The type of weights read from these values: their own, or float where they are integers."""
    return values.dtype if values.dtype.is_floating_point else torch.get_default_dtype()


def signed_margins(
    solver: Estimator, values: Float[Tensor, "example d"], drawn: np.ndarray, groups: np.ndarray
) -> Float[np.ndarray, "draw example"]:
    """Score of the second class minus that of the first, by the probe fitted on each draw of labels.

    Args:
        solver: the estimator.
        values: the activations of every example, also of those that a draw must not see.
        drawn: labels 0 and 1 of each draw; −1 for rows that it must not see.
        groups: the group of each example.
    """
    labels = torch.from_numpy(drawn).to(values.device)
    weight, bias = solver.solve(values, labels, 2, groups)
    margin = values.double() @ (weight[:, 1] - weight[:, 0]).T + (bias[:, 1] - bias[:, 0])
    return margin.T.cpu().numpy()


def predicted_classes(
    scores: Float[np.ndarray, "*task example class"],
) -> Int[np.ndarray, "*task example"]:
    """The number of the class with the largest score; −1 where there is none.

    A class that a draw has not seen has the score −inf and is never predicted.
    """
    scored = ~np.asarray(np.isnan(scores).any(-1))
    return np.where(scored, np.where(scored[..., None], scores, 0.0).argmax(-1), -1)


def held_out_scores(
    solution: Solution, values: Values, splits: Sequence[Split]
) -> Float[np.ndarray, "example class"]:
    """Each example's scores by the split that held it out; NaN where none did.

    Args:
        solution: weights and biases, one draw per split.
        values: the activations.
        splits: training and held-out rows.
    """
    weight, bias = solution

    size = block_rows(len(values), values.shape[1])

    def read(k: int, rows: np.ndarray) -> np.ndarray:
        parts = torch.from_numpy(rows).split(size)
        scores = [values[part.to(weight.device)].to(weight) @ weight[k].T + bias[k] for part in parts]
        return torch.cat(scores).cpu().numpy()

    return held_out(splits, len(values), read)


def decisions(
    solver: Estimator,
    values: Values,
    labels: Int[np.ndarray, "task split example"],
    splits: Sequence[Split],
    n_classes: int,
    groups: np.ndarray | None = None,
) -> Float[np.ndarray, "task example class"]:
    """Held-out scores of several tasks over the same splits, all fitted in one call.

    Args:
        solver: the estimator.
        values: the activations.
        labels: those to train on, −1 outside a split's training rows.
        splits: training and held-out rows.
        n_classes: number of classes.
        groups: the group of each example.

    Returns:
        The scores, NaN where no split held an example out.
    """
    drawn = torch.from_numpy(labels.reshape(-1, labels.shape[-1])).to(values.device)
    weight, bias = solved(solver, values, drawn, n_classes, groups)
    n = len(splits)
    tasks = (slice(start, start + n) for start in range(0, len(weight), n))
    return np.stack([held_out_scores((weight[t], bias[t]), values, splits) for t in tasks])


def predictions(
    solver: Estimator,
    values: Values,
    labels: Int[np.ndarray, "task split example"],
    splits: Sequence[Split],
    n_classes: int,
    groups: np.ndarray | None = None,
) -> Int[np.ndarray, "task example"]:
    """Held-out class numbers behind the scores that `decisions` gives, from the same arguments."""
    return predicted_classes(decisions(solver, values, labels, splits, n_classes, groups))
