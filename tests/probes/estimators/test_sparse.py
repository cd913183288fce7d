"""A probe of few neurons finds them, and chooses them inside the folds."""

import numpy as np
import pytest
import torch

import probes
from interp.activations import Activations
from interp.sites import Kind, Site
from probes.estimators.sparse import KSparse

SITE = Site(Kind.RESID_PRE, 1)


def test_k_sparse_finds_the_neurons_and_uses_no_other() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(240) % 3
    x = torch.randn(240, 50, generator=generator)
    x[:, 11] += 5.0 * (y == 1)
    x[:, 30] += 5.0 * (y == 2)
    x[:, 5] = 1.0
    weight, bias = KSparse(k=2).solve(x, y[None], 3)
    assert set(torch.nonzero(weight[0].abs().sum(0))[:, 0].tolist()) == {11, 30}
    assert ((x.double() @ weight[0].T + bias[0]).argmax(1) == y).double().mean() > 0.95
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        KSparse(k=0).solve(x, y[None], 3)


def test_features_are_chosen_inside_the_folds() -> None:
    # 60 rows of pure noise in 2,000 features: chosen on all rows, forty of them give > .9.
    generator = torch.Generator().manual_seed(3)
    x, y = torch.randn(60, 2000, generator=generator), torch.arange(60) % 2
    groups = tuple(f"e{i}" for i in range(60))
    inside = [
        probes.fit(Activations(SITE, x, groups, y), estimator=KSparse(k=40), seed=s).score
        for s in range(5)
    ]
    assert 0.35 < np.mean([s for s in inside if s is not None]) < 0.65
    weight, _ = KSparse(k=40).solve(x, y[None], 2)
    chosen = weight[0].abs().sum(0) > 0
    leaky = probes.fit(Activations(SITE, x[:, chosen], groups, y), seed=0).score
    assert leaky is not None and leaky > 0.9


def test_a_path_of_k_sparse_chooses_inside_the_folds() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(120) % 2
    x = torch.randn(120, 300, generator=generator)
    noise, groups = x.clone(), np.arange(120)
    x[:, 7] += 4.0 * y
    path = KSparse(k=3, c=[1e-4, 1e-2, 1.0])
    both, _ = path.solve(torch.cat([x, noise], 1), torch.stack([y, y.flip(0)]), 2, groups)
    assert both[0, :, 7].abs().amax() > 0.1
    alone = [KSparse(k=3, c=c).solve(x, y[None], 2, groups)[0] for c in (1e-4, 1e-2, 1.0)]
    chosen, _ = path.solve(x, y[None], 2, groups)
    assert [torch.allclose(chosen, one, atol=1e-4) for one in alone].count(True) == 1
    nothing, _ = path.solve(noise, y[None], 2, groups)
    assert nothing.norm() < 0.1 * chosen.norm()
    with pytest.raises(ValueError, match="choosing a strength needs groups, got none"):
        path.solve(x, y[None], 2)
