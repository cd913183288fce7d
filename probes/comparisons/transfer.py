"""Transfer base → tuned: does the base's probe still read the tuned model?

frozen: the base's probe on the tuned model's activations. mean_shifted: the same after the
difference of the two training means is subtracted. aligned: the same after the rotation that brings
the tuned model's training activations closest to the base's (orthogonal Procrustes); it finds any
rotation where there are more examples than dimensions, and overfits where there are fewer. refit: a
fresh probe on the tuned model, the ceiling. cosine: between the base's and the refit weights in raw
coordinates, class mean removed.
``cosine_random`` compares with Gaussian directions and ``cosine_control`` with probes refitted on
control-task labels: in activations that vary in few directions, any two probes are alike, and only
the second baseline shows it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.evidence import Evidence
from probes.controls import permute_over_groups
from probes.data import Sites, problem
from probes.estimators.base import Estimator
from probes.estimators.named import named
from probes.measures.accuracy import PLACE, accuracy
from probes.rows import Rows
from probes.splits import check_disjoint, check_sample


def transfer(
    base_train: Sites,
    tuned_train: Sites,
    tuned_test: Sites,
    *,
    estimator: str | Estimator = "logistic",
    draws: int = 9,
    attribute: str = "label",
    seed: int,
) -> Evidence:
    """Held-out correctness on the tuned model of frozen, shifted, aligned and refit probes, per site.

    Rows have method ``transfer``, model the tuned one and donor the base. Conditions frozen,
    mean_shifted, aligned and refit hold one row per test example (value 1 or 0, strength the number of
    its class, unit accuracy); cosine, cosine_random and cosine_control (the last with method
    ``transfer_control``) hold no group (unit cosine, seed = the draw). A high cosine says that
    the readers agree, not that the model uses them.

    Raises:
        ValueError: if train and test share groups, the two training sets differ in examples or
            sites, or the activations are malformed.

    Warns:
        SmallSample: if a class has few training groups or a small share of the training examples.
    """
    base = problem(base_train)
    check_sample(base)
    tuned = problem(tuned_train, classes=base.classes)
    held = problem(tuned_test, classes=base.classes)
    check_disjoint(base.names, held.names)
    places = [[(a.site, a.position) for a in p.sites] for p in (base, tuned, held)]
    if places[0] != places[1] or places[1] != places[2]:
        raise ValueError(
            "base_train, tuned_train and tuned_test must hold the same sites in one order; got "
            f"{[len(p) for p in places]} sites; collect them with the same call"
        )
    if base.sites[0].groups != tuned.sites[0].groups or (base.labels != tuned.labels).any():
        raise ValueError(
            "base_train and tuned_train must hold the same examples in one order, got different "
            "groups or labels; collect both models on the same Examples"
        )
    solver, generator = named(estimator), np.random.default_rng(seed)
    control = permute_over_groups(tuned.labels, tuned.groups, draws, generator)
    drawn = torch.from_numpy(np.concatenate([tuned.labels[None], control]))
    split = [(np.arange(len(tuned.labels)), np.arange(len(held.labels)))]
    rows = Rows(held, attribute, "transfer")
    cosines: list[Evidence] = []
    for before, after, test in zip(base.sites, tuned.sites, held.sites, strict=True):
        known = base.tensor()[None].to(before.values.device)
        first = solver.solve(before.values, known, base.n_classes, base.groups)
        w0, b0 = (x[0] for x in first)
        w1, b1 = solver.solve(after.values, drawn.to(w0.device), base.n_classes, base.groups)
        values = test.values.double()
        shift = after.values.double().mean(0) - before.values.double().mean(0)
        guesses = {
            "frozen": values @ w0.T + b0,
            "mean_shifted": (values - shift) @ w0.T + b0,
            "aligned": aligned(before.values, after.values, values) @ w0.T + b0,
            "refit": values @ w1[0].T + b1[0],
        }
        for condition, scores in guesses.items():
            guess = scores.argmax(1).cpu().numpy()
            rows.add(split, guess, held.labels, test, condition, 0, donor=before.model)
        noise = torch.from_numpy(generator.standard_normal((draws, *w0.shape))).to(w0)
        alike = torch.cat([_cosine(w1, w0), _cosine(noise, w0)]).cpu().numpy()
        conditions = ["cosine"] + ["cosine_control"] * draws + ["cosine_random"] * draws
        methods = ["transfer"] + ["transfer_control"] * draws + ["transfer"] * draws
        cosines.append(
            Evidence.build(
                alike, method=methods, metric=attribute, unit="cosine", condition=conditions,
                seed=[0, *range(draws), *range(draws)], model=test.model, donor=before.model,
                kind=str(test.site.kind), layer=test.site.layer, head=test.site.head,
                span=test.position,
            )
        )  # fmt: skip
    notes = {"seed": seed, "estimator": solver.name, "draws": draws}
    facts = {f"transfer.{attribute}": notes, f"classes.{attribute}": list(base.classes)}
    return Evidence.concat([rows.evidence(facts), *cosines])


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
    turned = (values - tuned.mean(0)) @ spans[0].T @ left @ right @ spans[1]
    return base.mean(0) + turned


def _span(rows: Float[Tensor, "example d"]) -> Float[Tensor, "rank d"]:
    if len(rows) > rows.shape[1]:
        return torch.eye(rows.shape[1]).to(rows)
    _, size, span = torch.linalg.svd(rows, full_matrices=False)
    return span[size > 1e-9 * size[0].clamp(min=1e-30)]


def _cosine(
    weights: Float[Tensor, "draw class d"], reference: Float[Tensor, "class d"]
) -> Float[Tensor, " draw"]:
    a = (weights - weights.mean(1, keepdim=True)).flatten(1)
    b = (reference - reference.mean(0)).flatten()
    return torch.nn.functional.cosine_similarity(a, b[None], dim=1)


def read_transfer(
    evidence: Evidence, *, margin: float = 0.05, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """One row per place: frozen, shifted, aligned and refit with intervals, cosines, and the reading.

    The baselines of the cosine are means of absolute values.

    A probe *works* where the lower bound of its balanced accuracy exceeds chance (1 / classes) by
    the margin, and *fails* where the upper bound stays below the same line. intact: frozen works.
    moved: refit works and frozen fails (`shift_repairs`: the mean shift
    alone brings it to within the margin of refit; `rotation_repairs`: the alignment does).
    not linearly decodable: refit and frozen fail, which does not mean gone. Else undetermined.
    """
    transfers = evidence.needed("probes.transfer", method=["transfer", "transfer_control"])
    rows = Evidence(transfers, evidence.provenance)
    table = accuracy(rows, level=level, seed=seed)
    cosine = rows.where(unit="cosine")
    real = (cosine["condition"] == "cosine").to_numpy(dtype=bool)
    cosine = cosine.assign(value=np.where(real, cosine["value"], cosine["value"].abs()))
    alike = cosine.groupby([*PLACE, "condition"], dropna=False, observed=True)["value"].mean()
    alike = alike.unstack("condition").reset_index()
    out = []
    for key, part in table.groupby(list(PLACE), dropna=False, observed=True, sort=False):
        numbers = part.set_index("condition")[["estimate", "low", "high"]].astype(float)
        seen = {str(c): (e, low, high) for c, e, low, high in numbers.itertuples()}
        row: dict[str, object] = dict(zip(PLACE, key, strict=True))
        line = 1 / len(rows.provenance.get(f"classes.{row['metric']}", (0, 1))) + margin
        works = {c: low > line for c, (_, low, _) in seen.items()}
        fails = {c: high < line for c, (_, _, high) in seen.items()}
        for c, (estimate, low, high) in seen.items():
            row |= {c: estimate, f"{c}_low": low, f"{c}_high": high}
        row["reading"] = _reading(works, fails)
        for repair, condition in (("shift", "mean_shifted"), ("rotation", "aligned")):
            near = seen[condition][0] >= seen["refit"][0] - margin
            row[f"{repair}_repairs"] = works[condition] and not works["frozen"] and near
        out.append(row)
    result = pd.DataFrame(out)
    return result.merge(alike, on=list(PLACE), how="left") if len(alike) else result


def _reading(works: dict[str, bool], fails: dict[str, bool]) -> str:
    if works["frozen"]:
        return "intact"
    if works["refit"] and fails["frozen"]:
        return "moved"
    if fails["refit"] and fails["frozen"]:
        return "not linearly decodable"
    return "undetermined"
