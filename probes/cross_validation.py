"""Held-out correctness of a probe and of its controls at many sites, one row per example.

Rows have method ``probe``; condition ``probe``, ``shuffled``, ``control_task``,
``random_features`` or ``surface``; metric the attribute's name; value 1 where the held-out example was
classified correctly, else 0; draw the number of the control's draw; and label the number of the class
that the row is scored against (for a control task its random label), so that a balanced accuracy can
be taken from the rows alone. The surface baseline is the same at every site and repeated there, for
comparison row by row.

Of two classes the held-out margins of the probe and of its control tasks are kept in the evidence's
`beside`, rows of method ``margin`` that `probes.score_table` reads (AUROC, calibration).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from interp._aliases import alias, formerly
from interp.activations import Activations
from interp.evidence import Evidence
from probes.blocks import Values
from probes.controls import (
    CONTROLS,
    Surface,
    permute_over_groups,
    random_features,
    trivial_readers,
)
from probes.data import LabelledSites, Sites, joined, labelled_sites
from probes.estimators.base import Estimator
from probes.estimators.named import named
from probes.linear import decisions, predicted_classes
from probes.parallel import there, units
from probes.rows import Rows, provenance
from probes.splits import (
    UNSEEN,
    Split,
    check_disjoint,
    check_sample,
    group_folds,
    held_out_rows,
    masked,
    splits_of,
)


@formerly(draws="repeats")
def cross_validate(
    activations: Sites,
    *,
    estimator: str | Estimator = "logistic",
    folds: int = 5,
    controls: Sequence[str] = CONTROLS,
    repeats: int = 3,
    surface: Surface | None = None,
    attribute: str = "label",
    seed: int = 0,
) -> Evidence:
    """Held-out correctness at every site by cross-validation over group-disjoint, stratified folds.

    All sites share folds and control labels. What a probe reads the model need not use: that is for
    interventions. `balanced_accuracy`, `selectivity` and `score_table` read the rows.

    Args:
        activations: labelled activations [example, d] of one site or several.
        estimator: a name in `ESTIMATORS`, or an estimator.
        folds: number of folds; a group is never split between them.
        controls: any of "shuffled", "control_task" and "random_features".
        repeats: number of draws of each control.
        surface: features [example, feature] of a trivial reader (see `bag_of_tokens`; the random
            features then belong to tokens), or of several by name (see `surface_features`).
        attribute: name of what the labels say, the metric of the rows.
        seed: of the folds and of the controls.

    Returns:
        Evidence of method ``probe``, unit accuracy (1 or 0). Conditions ``probe``, the controls, and
        ``surface`` or ``surface_NAME``. Columns that vary: condition, model, kind, layer, head, span,
        example, group, label (class number), draw (of a control). Of two classes, rows of method
        ``margin`` beside.

    Raises:
        ValueError: on malformed activations, fewer groups than folds, a class in one group only,
            or an unknown control or estimator.

    Warns:
        SmallSample: if a class has few groups or a small share of the examples.

    Source: Hewitt & Liang, 1909.03368 (control tasks).

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> south = [region == "south" for region in facts.attribute("region")]
        >>> examples = interp.Examples.from_text(
        ...     model, facts.prompts(0), groups=facts.groups, labels=south
        ... )
        >>> states = interp.collect(model, examples, interp.boundaries(6)[::6])
        >>> read = probes.cross_validate(states, controls=["shuffled"], repeats=1)
        >>> read.table.groupby(["layer", "condition"], observed=True).size().to_dict()
        {(0, 'probe'): 128, (0, 'shuffled'): 128, (5, 'probe'): 128, (5, 'shuffled'): 128}
    """
    data = labelled_sites(activations)
    fold = group_folds(data.groups, folds, seed=seed, labels=data.labels)
    check_sample(data)
    return _measure(
        data, splits_of(fold), named(estimator), controls, repeats, surface, attribute, seed
    )


@formerly(draws="repeats")
def train_test(
    train: Sites,
    test: Sites,
    *,
    estimator: str | Estimator = "logistic",
    controls: Sequence[str] = CONTROLS,
    repeats: int = 5,
    surface: Surface | None = None,
    attribute: str = "label",
    seed: int = 0,
) -> Evidence:
    """Correctness on the test examples of probes fitted on the training examples, at every site.

    Args:
        train: labelled activations [example, d] of one site or several.
        test: the same sites of other groups.
        estimator: a name in `ESTIMATORS`, or an estimator.
        controls: any of "shuffled", "control_task" and "random_features".
        repeats: number of draws of each control.
        surface: as for `cross_validate`, with the rows of the training examples and then those of the
            test examples, made by one call: features of two calls (token counts, say) number their
            columns differently.
        attribute: name of what the labels say, the metric of the rows.
        seed: of the controls.

    Returns:
        Evidence as `cross_validate` gives it, with rows of the test examples only; `example` counts on
        from the training examples.

    Raises:
        ValueError: if train and test share a group or differ in sites, test holds a label unseen in
            training, the activations are malformed, or a control or the estimator is unknown.

    Warns:
        SmallSample: if a class has few training groups or a small share of the training examples.

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> south = [region == "south" for region in facts.attribute("region")]
        >>> examples = interp.Examples.from_text(
        ...     model, facts.prompts(0), groups=facts.groups, labels=south
        ... )
        >>> states = interp.collect(model, examples, interp.boundary(6, 6))
        >>> halves = [[s.subset(range(i, i + 64)) for s in states.values()] for i in (0, 64)]
        >>> read = probes.train_test(*halves, controls=[])
        >>> len(read), int(read.table["example"].min())
        (64, 64)
    """
    fitted = labelled_sites(train)
    scored = labelled_sites(test, classes=fitted.classes)
    check_disjoint(fitted.group_names, scored.group_names)
    check_sample(fitted)
    both = labelled_sites(joined(fitted, scored))
    split = (np.arange(len(fitted)), np.arange(len(fitted), len(both)))
    return _measure(both, [split], named(estimator), controls, repeats, surface, attribute, seed)


sweep = alias(train_test, "sweep")


@dataclass(frozen=True)
class _Task:
    """Labels to fit on and to be scored against.

    Attributes:
        condition: the measured case or the control.
        draw: number of the control's draw; None for the measured case.
        target: class number that each example is scored against.
        trained: labels of each split [split, example], −1 outside its training rows.
    """

    condition: str
    draw: int | None
    target: np.ndarray
    trained: np.ndarray


class _Read(NamedTuple):
    """What one site gave.

    Attributes:
        activations: the site's.
        scores: of each task's examples, by the split that held them out.
        noise: class numbers predicted from each draw of random features.
    """

    activations: Activations
    scores: Float[np.ndarray, "task example class"]
    noise: list[np.ndarray]


def _measure(
    data: LabelledSites,
    splits: list[Split],
    solver: Estimator,
    controls: Sequence[str],
    repeats: int,
    surface: Surface | None,
    attribute: str,
    seed: int,
) -> Evidence:
    """The rows of all sites, controls and trivial readers over these splits."""
    unknown = sorted(set(controls) - set(CONTROLS))
    if unknown:
        raise ValueError(f"controls must be among {list(CONTROLS)}, got {unknown}")
    trivial = trivial_readers(surface, len(data))
    tokens = trivial.get("surface", trivial.get("surface_tokens"))
    generator = np.random.default_rng(seed)
    tasks = _tasks(data, splits, controls, repeats, generator)
    trained = np.stack([task.trained for task in tasks])
    noisy = repeats if "random_features" in controls else 0
    generators = [generator.spawn(noisy) for _ in data.sites]

    def scores(values: Values, labels: np.ndarray) -> np.ndarray:
        return decisions(solver, values, labels, splits, data.n_classes, data.groups)

    def guesses(values: Values) -> np.ndarray:
        return predicted_classes(scores(values, trained[:1]))[0]

    def read(number: int) -> tuple[np.ndarray, list[np.ndarray]]:
        values, n = data.sites[number].rows, len(data)
        drawn = (random_features(n, values.shape[1], g, tokens) for g in generators[number])
        noise = [guesses(features) for features in drawn]
        return scores(values, trained), noise

    surface_guesses = {name: guesses(features) for name, features in trivial.items()}
    read_sites = there(data.sites, units("probe", read, range(len(data.sites))))
    reads = [_Read(site, *scored) for site, scored in read_sites]
    notes = {"seed": seed, "estimator": solver.name, "folds": len(splits), "draws": repeats}
    origin = provenance(f"probe.{attribute}", notes, (attribute, data.classes))
    examples = held_out_rows(splits)
    rows = _correctness(data, tasks, reads, surface_guesses, examples, attribute)
    margins = _margins(data, tasks, reads, examples, attribute)
    return replace(rows.evidence(origin), beside=margins.evidence() if len(margins) else None)


def _tasks(
    data: LabelledSites,
    splits: list[Split],
    controls: Sequence[str],
    repeats: int,
    generator: np.random.Generator,
) -> list[_Task]:
    """The real labels, then the shuffled ones and the control tasks."""
    labels, groups = data.labels, data.groups
    real = np.stack([masked(labels, train) for train, _ in splits])
    tasks = [_Task("probe", None, labels, real)]
    if "shuffled" in controls:
        shuffles = np.full((repeats, *real.shape), UNSEEN)
        for k, (train, _) in enumerate(splits):
            shuffles[:, k, train] = permute_over_groups(
                labels[train], groups[train], repeats, generator
            )
        tasks += [_Task("shuffled", i, labels, trained) for i, trained in enumerate(shuffles)]
    if "control_task" in controls:
        for i, task in enumerate(permute_over_groups(labels, groups, repeats, generator)):
            trained = np.stack([masked(task, train) for train, _ in splits])
            tasks.append(_Task("control_task", i, task, trained))
    return tasks


def _correctness(
    data: LabelledSites,
    tasks: list[_Task],
    reads: list[_Read],
    surface: Mapping[str, np.ndarray],
    examples: np.ndarray,
    attribute: str,
) -> Rows:
    """Rows of held-out correctness, site by site."""
    rows = Rows(data.example_groups, method="probe", metric=attribute, unit="accuracy")
    for read in reads:
        where = read.activations.columns()
        for task, scores in zip(tasks, read.scores, strict=True):
            rows.add_correct(
                predicted_classes(scores), task.target, where, task.condition,
                examples=examples, draw=task.draw,
            )  # fmt: skip
        for draw, guess in enumerate(read.noise):
            rows.add_correct(guess, data.labels, where, "random_features", examples=examples, draw=draw)
        for name, guess in surface.items():
            rows.add_correct(guess, data.labels, where, name, examples=examples)
    return rows


def _margins(
    data: LabelledSites,
    tasks: list[_Task],
    reads: list[_Read],
    examples: np.ndarray,
    attribute: str,
) -> Rows:
    """Rows of held-out margins of two classes; none of more."""
    rows = Rows(data.example_groups, method="margin", metric=attribute, unit="margin")
    if data.n_classes != 2:
        return rows
    for read in reads:
        for task, scores in zip(tasks, read.scores, strict=True):
            if task.condition != "shuffled":
                margin = (scores[:, 1] - scores[:, 0])[examples]
                rows.add(
                    margin, read.activations.columns(), task.condition,
                    examples=examples, label=task.target[examples], draw=task.draw,
                )  # fmt: skip
    return rows
