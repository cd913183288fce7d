"""Transfer base → tuned: does the base's probe still read the tuned model?

Accuracies on the tuned model:

    frozen        the base's probe as it is
    mean_shifted  the same after the difference of the two training means is subtracted
    aligned       the same after the rotation that brings the tuned model's training activations
                  closest to the base's (orthogonal Procrustes); it finds any rotation where there are
                  more examples than dimensions, and overfits where there are fewer
    refit         a fresh probe on the tuned model, the ceiling

Cosines between the base's weights and others, in raw coordinates, class mean removed:

    cosine          the refit weights
    cosine_random   Gaussian directions
    cosine_control  probes refitted on control-task labels: in activations that vary in few directions
                    any two probes are alike, and only this baseline shows it
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp._aliases import formerly
from interp.evidence import Evidence
from interp.runs.run import series
from probes.controls import permute_over_groups
from probes.data import LabelledSites, Sites, labelled_sites
from probes.estimators.base import Estimator
from probes.estimators.named import named
from probes.measures.accuracy import PLACE, balanced_accuracy, by_place
from probes.parallel import there
from probes.rows import Rows, provenance
from probes.splits import check_disjoint, check_sample


@formerly(draws="repeats")
def transfer(
    base_train: Sites,
    tuned_train: Sites,
    tuned_test: Sites,
    *,
    estimator: str | Estimator = "logistic",
    repeats: int = 9,
    attribute: str = "label",
    seed: int = 0,
) -> Evidence:
    """Held-out correctness on the tuned model of frozen, shifted, aligned and refit probes, per site.

    A high cosine says that the readers agree, not that the model uses them. `read_transfer` reads the
    rows.

    Args:
        base_train: labelled activations [example, d] of the base, of one site or several.
        tuned_train: those of the tuned model, of the same examples.
        tuned_test: those of the tuned model, of other groups.
        estimator: a name in `ESTIMATORS`, or an estimator.
        repeats: number of control tasks and of random directions.
        attribute: name of what the labels say, the metric of the rows.
        seed: of the controls.

    Returns:
        Evidence of method ``transfer``, model the tuned one and donor the base. Conditions ``frozen``,
        ``mean_shifted``, ``aligned`` and ``refit`` hold one row per test example (1 or 0, unit
        accuracy); ``cosine``, ``cosine_random`` and, of method ``transfer_control``,
        ``cosine_control`` hold no example (unit cosine). Columns that vary: method, condition, unit,
        kind, layer, head, span, example, group, label (class number), draw (of a control).

    Raises:
        ValueError: if train and test share groups, the two training sets differ in examples or
            sites, or the activations are malformed.

    Warns:
        SmallSample: if a class has few training groups or a small share of the training examples.

    Source: Schönemann 1966 (the rotation of ``aligned``).

    Example:
        >>> import interp, probes
        >>> facts, sites = interp.load_facts("world"), interp.boundaries(6)[::6]
        >>> south = [region == "south" for region in facts.attribute("region")]
        >>> states = []
        >>> for name in ("organism-base", "organism-edited-high"):
        ...     model = interp.load_model(name)
        ...     examples = interp.Examples.from_text(
        ...         model, facts.prompts(0), groups=facts.groups, labels=south
        ...     )
        ...     states.append(interp.collect(model, examples, sites).values())
        >>> base, tuned = states
        >>> read = probes.transfer(
        ...     [s.subset(range(64)) for s in base],
        ...     [s.subset(range(64)) for s in tuned],
        ...     [s.subset(range(64, 128)) for s in tuned],
        ...     repeats=2,
        ... )
        >>> read.table.groupby("condition", observed=True).size()[["frozen", "cosine"]].tolist()
        [128, 2]
    """
    base, tuned, test = _checked(base_train, tuned_train, tuned_test)
    check_sample(base)
    solver, generator = named(estimator), np.random.default_rng(seed)
    control = permute_over_groups(tuned.labels, tuned.groups, repeats, generator)
    drawn = torch.from_numpy(np.concatenate([tuned.labels[None], control]))
    rows = Rows(test.example_groups, method="transfer", metric=attribute, unit="accuracy")
    cosines = Rows(test.example_groups, method="transfer", metric=attribute, unit="cosine")
    conditions = ["cosine"] + ["cosine_control"] * repeats + ["cosine_random"] * repeats
    methods = ["transfer"] + ["transfer_control"] * repeats + ["transfer"] * repeats
    draws = [None, *range(repeats), *range(repeats)]
    shapes = [(repeats, base.n_classes, site.values.shape[1]) for site in base.sites]
    noise = [torch.from_numpy(generator.standard_normal(shape)) for shape in shapes]

    def read(number: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        before, after = base.sites[number], tuned.sites[number]
        labels = base.tensor()[None].to(before.values.device)
        weight, bias = solver.solve(before.values, labels, base.n_classes, base.groups)
        refit = solver.solve(after.values, drawn.to(weight.device), base.n_classes, base.groups)
        values = test.sites[number].values.double()
        shift = after.values.double().mean(0) - before.values.double().mean(0)
        scores = {
            "frozen": values @ weight[0].T + bias[0],
            "mean_shifted": (values - shift) @ weight[0].T + bias[0],
            "aligned": aligned(before.values, after.values, values) @ weight[0].T + bias[0],
            "refit": values @ refit[0][0].T + refit[1][0],
        }
        guesses = {name: score.argmax(1).cpu().numpy() for name, score in scores.items()}
        random = _cosine(noise[number].to(weight), weight[0])
        return guesses, torch.cat([_cosine(refit[0], weight[0]), random]).cpu().numpy()

    everyone = np.arange(len(test))
    kept = series("transfer", ("probes",), read)
    reads = [kept.unit(number, partial(read, number)) for number in range(len(base.sites))]
    for held, (guesses, alike) in there(test.sites, reads):
        where = {**held.columns(), "donor": base.sites[0].model}
        for condition, guess in guesses.items():
            rows.add_correct(guess, test.labels, where, condition, examples=everyone)
        cosines.add(alike, where, conditions, draw=draws, method=methods)
    notes = {"seed": seed, "estimator": solver.name, "draws": repeats}
    origin = provenance(f"transfer.{attribute}", notes, (attribute, base.classes))
    return Evidence.concat([rows.evidence(origin), cosines.evidence()])


def _checked(
    base_train: Sites, tuned_train: Sites, tuned_test: Sites
) -> tuple[LabelledSites, LabelledSites, LabelledSites]:
    """The three sets, which share sites, and of which the first two share examples."""
    base = labelled_sites(base_train)
    tuned = labelled_sites(tuned_train, classes=base.classes)
    test = labelled_sites(tuned_test, classes=base.classes)
    check_disjoint(base.group_names, test.group_names)
    if base.places != tuned.places or tuned.places != test.places:
        raise ValueError(
            "base_train, tuned_train and tuned_test must hold the same sites in one order; got "
            f"{[len(data.places) for data in (base, tuned, test)]} sites; collect them with the same "
            "call"
        )
    if base.sites[0].groups != tuned.sites[0].groups or (base.labels != tuned.labels).any():
        raise ValueError(
            "base_train and tuned_train must hold the same examples in one order, got different "
            "groups or labels; collect both models on the same Examples"
        )
    return base, tuned, test


def aligned(
    base: Float[Tensor, "example d"],
    tuned: Float[Tensor, "example d"],
    values: Float[Tensor, "held d"],
) -> Float[Tensor, "held d"]:
    """Tuned activations in the base's coordinates: μ_b + (h − μ_t) R, R the closest rotation.

    R = U Vᵀ minimises ‖(T − μ_t) R − (B − μ_b)‖ over paired training rows, with U S Vᵀ the singular
    value decomposition of (T − μ_t)ᵀ (B − μ_b) (Schönemann 1966), taken within the spans of the rows:
    what lies outside the span of the tuned rows is dropped.
    """
    base, tuned, values = base.double(), tuned.double(), values.double()
    here, there = base - base.mean(0), tuned - tuned.mean(0)
    spans = [_span(there), _span(here)]
    cross = (there @ spans[0].T).T @ (here @ spans[1].T)
    left, _, right = torch.linalg.svd(cross, full_matrices=False)
    rotated = (values - tuned.mean(0)) @ spans[0].T @ left @ right @ spans[1]
    return base.mean(0) + rotated


def _span(rows: Float[Tensor, "example d"]) -> Float[Tensor, "rank d"]:
    """An orthonormal basis of the rows' span; of all dimensions where there are rows enough."""
    if len(rows) > rows.shape[1]:
        return torch.eye(rows.shape[1]).to(rows)
    _, size, span = torch.linalg.svd(rows, full_matrices=False)
    return span[size > 1e-9 * size[0].clamp(min=1e-30)]


def _cosine(
    weights: Float[Tensor, "draw class d"], reference: Float[Tensor, "class d"]
) -> Float[Tensor, " draw"]:
    """Cosine of each draw's weights with the reference, the mean over classes taken away from both."""
    a = (weights - weights.mean(1, keepdim=True)).flatten(1)
    b = (reference - reference.mean(0)).flatten()
    return torch.nn.functional.cosine_similarity(a, b[None], dim=1)


def read_transfer(
    evidence: Evidence, *, margin: float = 0.05, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """One row per place: accuracies with intervals, cosines, and what they say together.

    A probe *works* where the lower bound of its balanced accuracy exceeds chance (1 / classes) by
    the margin, and *fails* where the upper bound stays below the same line. intact: frozen works.
    moved: refit works and frozen fails. not linearly decodable: refit and frozen fail, which does not
    mean gone. Else undetermined.

    Args:
        evidence: made by `transfer`.
        margin: distance above chance, and within which two accuracies count as alike.
        level: of the intervals.
        seed: of the bootstrap over groups.

    Returns:
        A table with columns model, donor, metric, kind, layer, head, span; frozen, mean_shifted,
        aligned and refit, each also with _low and _high; reading; shift_repairs and rotation_repairs
        (whether the mean shift alone, or the alignment, brings a frozen probe that does not work to
        within the margin of refit); cosine, cosine_control and cosine_random (the baselines as means
        of absolute values).

    Raises:
        ValueError: if there are no rows of method ``transfer``.

    Example:
        >>> import interp, probes
        >>> facts, sites = interp.load_facts("world"), interp.boundaries(6)[::6]
        >>> south = [region == "south" for region in facts.attribute("region")]
        >>> states = []
        >>> for name in ("organism-base", "organism-edited-high"):
        ...     model = interp.load_model(name)
        ...     examples = interp.Examples.from_text(
        ...         model, facts.prompts(0), groups=facts.groups, labels=south
        ...     )
        ...     states.append(interp.collect(model, examples, sites).values())
        >>> base, tuned = states
        >>> read = probes.transfer(
        ...     [s.subset(range(64)) for s in base],
        ...     [s.subset(range(64)) for s in tuned],
        ...     [s.subset(range(64, 128)) for s in tuned],
        ...     repeats=2,
        ... )
        >>> table = probes.read_transfer(read)
        >>> table["layer"].tolist(), "reading" in table, "cosine_control" in table
        ([0, 5], True, True)
    """
    transfers = evidence.needed("probes.transfer", method=["transfer", "transfer_control"])
    rows = Evidence(transfers, evidence.provenance)
    table = balanced_accuracy(rows, level=level, seed=seed)
    cosine = rows.rows(unit="cosine")
    real = (cosine["condition"] == "cosine").to_numpy(dtype=bool)
    cosine = cosine.assign(value=np.where(real, cosine["value"], cosine["value"].abs()))
    alike = cosine.groupby([*PLACE, "condition"], dropna=False, observed=True)["value"].mean()
    alike = alike.unstack("condition").reset_index()
    places = []
    for key, part in by_place(table):
        place = dict(zip(PLACE, key, strict=True))
        n_classes = len(rows.provenance.get(f"classes.{place['metric']}", (0, 1)))
        places.append({**place, **_read_place(part, 1 / n_classes + margin, margin)})
    result = pd.DataFrame(places)
    return result.merge(alike, on=list(PLACE), how="left") if len(alike) else result


def _read_place(table: pd.DataFrame, line: float, margin: float) -> dict[str, object]:
    """The accuracies of one place, and what they say where a probe works above this line."""
    numbers = table.set_index("condition")[["estimate", "low", "high"]].astype(float)
    intervals = {str(c): (estimate, low, high) for c, estimate, low, high in numbers.itertuples()}
    works = {c: low > line for c, (_, low, _) in intervals.items()}
    fails = {c: high < line for c, (_, _, high) in intervals.items()}
    columns: dict[str, object] = {}
    for c, (estimate, low, high) in intervals.items():
        columns |= {c: estimate, f"{c}_low": low, f"{c}_high": high}
    columns["reading"] = _reading(works, fails)
    for repair, condition in (("shift", "mean_shifted"), ("rotation", "aligned")):
        near = intervals[condition][0] >= intervals["refit"][0] - margin
        columns[f"{repair}_repairs"] = works[condition] and not works["frozen"] and near
    return columns


def _reading(works: dict[str, bool], fails: dict[str, bool]) -> str:
    """What the probes that work and those that fail say together."""
    if works["frozen"]:
        return "intact"
    if works["refit"] and fails["frozen"]:
        return "moved"
    if fails["refit"] and fails["frozen"]:
        return "not linearly decodable"
    return "undetermined"
