"""Transfer: what a shift, a rotation and an erasure of the tuned model must read as."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from probe_toys import Toy, halves, planted

import probes
from interp.activations import Activations
from interp.evidence import Evidence
from interp.sites import Kind, Site
from probes.comparisons.transfer import aligned

SITE = Site(Kind.RESID_PRE, 1)


def tuned(toy: Toy, change: Callable[[torch.Tensor], torch.Tensor]) -> Toy:
    """The same examples in a model whose activations are changed by a map."""
    return {
        s: Activations(s, change(a.values), a.groups, a.labels, a.position, "tuned")
        for s, a in toy.items()
    }


def run(
    change: Callable[[torch.Tensor], torch.Tensor], estimator: str = "logistic"
) -> tuple[Evidence, dict[Any, Any]]:
    """Transfer evidence and the reading at the planted layer."""
    toy, _ = planted(n_groups=200, strength=5.0, seed=2)
    train, test = halves(toy)
    evidence = probes.transfer(
        train, tuned(train, change), tuned(test, change), estimator=estimator, seed=0
    )
    table = probes.read_transfer(evidence)
    return evidence, table[table.layer == 1].iloc[0].to_dict()


@pytest.mark.parametrize("estimator", ["logistic", "mass_mean"])
def test_an_unchanged_model_is_intact(estimator: str) -> None:
    evidence, row = run(lambda x: x, estimator)
    assert row["reading"] == "intact" and row["frozen"] == row["refit"] == row["mean_shifted"]
    assert row["cosine"] == pytest.approx(1.0, abs=1e-5)
    assert row["cosine_random"] < 0.5 and not row["shift_repairs"]
    assert set(evidence.table["model"]) == {"tuned"} and set(evidence.table["donor"]) == {"base"}
    assert set(evidence.where(condition="frozen")["value"]) <= {0.0, 1.0}


@pytest.mark.parametrize("estimator", ["logistic", "mass_mean"])
def test_a_shift_is_undone_exactly_by_the_means(estimator: str) -> None:
    push = 40 * torch.nn.functional.normalize(planted(seed=2)[1], dim=0)
    evidence, row = run(lambda x: x + push, estimator)
    plain, _ = run(lambda x: x, estimator)
    shifted = evidence.where(condition="mean_shifted")["value"].to_numpy()
    assert (shifted == plain.where(condition="frozen")["value"].to_numpy()).all()
    assert row["reading"] == "moved" and row["shift_repairs"]
    assert row["frozen"] == 0.5  # every example falls on one side of the cut


def test_a_rotation_reads_as_moved_and_the_shift_does_not_repair_it() -> None:
    turn = torch.linalg.qr(torch.randn(32, 32, generator=torch.Generator().manual_seed(0)))[0]
    _, row = run(lambda x: x @ turn)
    assert row["reading"] == "moved" and not row["shift_repairs"]
    assert abs(row["cosine"]) < 0.5
    assert row["rotation_repairs"] and row["aligned"] > 0.9 and row["frozen"] < 0.7


def test_alignment_undoes_a_rotation_and_a_shift_exactly_and_no_more() -> None:
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(60, 12, generator=generator, dtype=torch.float64) + 5
    turn = torch.linalg.qr(torch.randn(12, 12, generator=generator, dtype=torch.float64))[0]
    moved = base @ turn + 3
    assert torch.allclose(aligned(base[:40], moved[:40], moved), base)
    stretched = moved * torch.linspace(0.2, 5, 12, dtype=torch.float64)
    assert (aligned(base[:40], stretched[:40], stretched) - base).abs().max() > 0.5
    # With fewer examples than dimensions any training rows can be matched; held-out rows are not.
    few = aligned(base[:6], moved[:6], moved)
    assert torch.allclose(few[:6], base[:6]) and (few[6:] - base[6:]).abs().max() > 0.5


def test_noise_is_not_linearly_decodable() -> None:
    toy, _ = planted(n_groups=600, strength=5.0, seed=2)
    train, test = halves(toy)
    generator = torch.Generator().manual_seed(0)
    noise = lambda x: torch.randn(x.shape, generator=generator)  # noqa: E731
    evidence = probes.transfer(train, tuned(train, noise), tuned(test, noise), seed=0)
    table = probes.read_transfer(evidence, margin=0.1)
    assert set(table.reading) == {"not linearly decodable"}


def test_splits_and_pairs_are_checked() -> None:
    toy, _ = planted()
    train, test = halves(toy)
    with pytest.raises(ValueError, match="share no group"):
        probes.transfer(train, train, train, seed=0)
    with pytest.raises(ValueError, match="same examples in one order"):
        probes.transfer(train, test, test, seed=0)
    with pytest.raises(ValueError, match="same sites"):
        probes.transfer(train[SITE], train, test, seed=0)


def test_the_package_is_light_and_lazy() -> None:
    import subprocess
    import sys

    code = "import sys, probes; print('torch' in sys.modules, sorted(dir(probes))[:2])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("False")
    assert all(callable(getattr(probes, n)) or n == "ESTIMATORS" for n in probes.__all__)
    with pytest.raises(AttributeError):
        _ = probes.nothing
    assert np.isfinite(len(probes.__all__))
