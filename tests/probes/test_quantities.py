"""Quantities: a planted number is predicted on held-out groups, a permuted one is not."""

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score

import probes
from interp.activations import Activations
from interp.sites import Kind, Site
from probes.estimators.ridge import Ridge
from probes.multi_label import fit_labels
from probes.quantities import (
    cross_validate_quantity,
    fit_quantity,
    r_squared,
    r_squared_gain,
)

SITE = Site(Kind.RESID_PRE, 2)


def population(n: int = 200, d: int = 24, noise: float = 0.3) -> tuple[Activations, torch.Tensor]:
    """A number per entity written along one direction; two rows per entity."""
    generator = torch.Generator().manual_seed(0)
    number = torch.randn(n, generator=generator).repeat_interleave(2)
    u = torch.nn.functional.normalize(torch.randn(d, generator=generator), dim=0)
    values = noise * torch.randn(2 * n, d, generator=generator) + 3 + number[:, None] * u
    return Activations(SITE, values, tuple(f"e{i // 2}" for i in range(2 * n)), 50 + 10 * number), u


def test_a_planted_number_is_predicted_and_its_direction_found() -> None:
    at, u = population()
    probe = fit_quantity(at, estimator=Ridge(alpha=1.0))
    assert probe.direction().vector @ u > 0.95
    with pytest.raises(ValueError, match="24 features, got 3"):
        probe.predict(torch.zeros(1, 3))
    evidence = cross_validate_quantity([at], repeats=4, seed=0, attribute="population")
    table = r_squared(evidence, resamples=300).set_index("condition")
    assert table.loc["probe", "low"] > 0.8 and table.loc["probe", "correlation"] > 0.9
    assert table.loc["control_task", "high"] < 0.1
    rows = evidence.where(condition="probe")
    by_hand = r2_score(rows["label"].to_numpy(dtype=float), rows["value"])
    assert table.loc["probe", "estimate"] == pytest.approx(by_hand, abs=1e-4)
    assert table.loc["probe", "groups"] == 200


def test_trivial_readers_of_a_number_are_compared_by_name() -> None:
    at, _ = population()
    assert at.labels is not None
    noise = torch.randn(len(at), 1, generator=torch.Generator().manual_seed(1))
    surface = {"answer": at.labels[:, None] + 0.1 * noise, "length": noise}
    ridge = Ridge(alpha=1.0)
    evidence = cross_validate_quantity(at, estimator=ridge, repeats=1, surface=surface, seed=0)
    table = r_squared(evidence, resamples=200).set_index("condition")["estimate"]
    assert table["surface_answer"] > 0.98 and abs(table["surface_length"]) < 0.05
    for against, won in (("surface_length", True), ("surface_answer", False)):
        gap = r_squared_gain(evidence, against=against, resamples=200).iloc[0]
        assert gap["estimate"] == pytest.approx(table["probe"] - table[against], abs=1e-9)
        assert (gap["low"] > 0) == won and (gap["high"] < 0) != won
    with pytest.raises(ValueError, match="no 'surface' rows to compare with"):
        r_squared_gain(evidence)
    with pytest.raises(ValueError, match="surface_a must be a matrix of one row per example, 400"):
        cross_validate_quantity(at, surface={"a": noise[:3]}, seed=0)


def test_a_number_remembered_per_entity_does_not_count() -> None:
    generator = torch.Generator().manual_seed(1)
    number = torch.randn(40, generator=generator).repeat_interleave(5)
    values = torch.randn(40, 60, generator=generator).repeat_interleave(5, 0)
    values = values + 0.05 * torch.randn(200, 60, generator=generator)
    for names, low, high in (
        (tuple(f"e{i // 5}" for i in range(200)), -np.inf, 0.2),
        (tuple(f"row{i}" for i in range(200)), 0.9, 1.0),  # entities split across folds
    ):
        at = Activations(SITE, values, names, number)
        evidence = cross_validate_quantity(at, estimator=Ridge(alpha=1.0), repeats=0, seed=0)
        assert low < r_squared(evidence, resamples=50)["estimate"].iloc[0] < high


def test_several_labels_of_the_same_examples() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 10, generator=generator)
    a, b = (x[:, 0] > 0).long(), (x[:, 1] + x[:, 0] > 0).long()
    at = Activations(SITE, x, tuple(f"e{i}" for i in range(200)), a)
    found = fit_labels(at, {"a": a, "b": b.tolist()})
    alone = probes.fit(at, seed=0)
    assert torch.allclose(found["a"].weight, alone.weight, atol=1e-5)
    assert found["b"].direction().vector[1] > 0.5 > abs(found["a"].direction().vector[1])
    evidence = probes.cross_validate_labels({SITE: at}, {"a": a, "b": b}, repeats=1, seed=0)
    table = probes.balanced_accuracy(evidence, resamples=50).set_index(["metric", "condition"])[
        "estimate"
    ]
    one = probes.balanced_accuracy(probes.cross_validate(at, repeats=1, seed=0), resamples=50)
    alone = one.set_index("condition")["estimate"]
    assert table["a", "probe"] == pytest.approx(alone["probe"], abs=0.01)
    assert alone["probe"] > 0.9 > 0.6 > table["b", "control_task"]
    with pytest.raises(ValueError, match=r"label 'a' must have one entry per example, \(200,\)"):
        fit_labels(at, {"a": a[:5]})


class OfCounts(Ridge):
    """A ridge that reads whole numbers as what they are."""

    def solve_quantity(self, values, targets, groups=None):
        return super().solve_quantity(values.float(), targets, groups)


def test_whole_numbered_activations_keep_weights_that_are_no_whole_numbers() -> None:
    at, _ = population()
    whole = (8 * at.values).round()
    same = Activations(SITE, whole, at.groups, at.labels)
    expected = fit_quantity(same, estimator=Ridge(alpha=1.0))
    counts = Activations(SITE, whole, at.groups, at.labels)
    object.__setattr__(counts, "values", whole.long())  # as a user's own counts come, unchecked
    probe = fit_quantity(counts, estimator=OfCounts(alpha=1.0))
    torch.testing.assert_close(probe.weight, expected.weight)
    torch.testing.assert_close(probe.predict(whole), expected.predict(whole))
    cut = whole @ (probe.weight.trunc() - probe.weight)
    assert cut.abs().max() > 1  # control: truncated weights would predict something else
