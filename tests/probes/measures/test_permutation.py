"""The closed form equals the loop, null p-values are uniform, plants are calibrated."""

from statistics import NormalDist

import numpy as np
import torch
from probe_toys import planted

import probes
from interp.activations import Activations
from interp.sites import Kind, Site
from probes.estimators.class_means import MassMean
from probes.measures.permutation import balanced_accuracies, planted_gram
from probes.splits import group_folds

SITE = Site(Kind.RESID_PRE, 1)


def test_gram_form_equals_fitting_each_draw() -> None:
    toy, _ = planted(n_groups=30, strength=1.0)
    x = toy[SITE].values.double()
    generator = torch.Generator().manual_seed(0)
    for classes in (2, 4):
        labels = torch.randint(classes, (7, 60), generator=generator)
        groups = np.repeat(np.arange(30), 2)
        fold = group_folds(groups, 5, seed=0)
        centred = x - x.mean(0)
        fast = balanced_accuracies(centred @ centred.T, labels, fold, classes)
        for draw, got in zip(labels, fast, strict=True):
            right = torch.zeros(60)
            for k in range(5):
                train, test = torch.from_numpy(fold != k), torch.from_numpy(fold == k)
                weight, bias = MassMean().solve(x[train], draw[train][None], classes)
                guess = (x[test] @ weight[0].T + bias[0]).argmax(1)
                right[test] = (guess == draw[test]).float()
            slow = torch.stack([right[draw == c].mean() for c in draw.unique()]).mean()
            assert abs(slow.item() - got.item()) < 1e-6


def test_planted_gram_equals_planting() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 9, generator=generator, dtype=torch.float64)
    u = torch.nn.functional.normalize(torch.randn(9, generator=generator, dtype=torch.float64), dim=0)
    y = torch.arange(2000) % 2
    along = x @ u
    step = 2 * NormalDist().inv_cdf(0.75) * along.std(correction=0)
    moved = x + step * y[:, None] * u
    assert torch.allclose(planted_gram(x @ x.T, along, y), moved @ moved.T)
    feature = moved @ u
    cut = (feature[y == 0].mean() + feature[y == 1].mean()) / 2
    assert abs(((feature > cut) == (y == 1)).double().mean().item() - 0.75) < 0.03


def test_p_values_of_a_null_attribute_are_uniform() -> None:
    ps = []
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(40, 12, generator=generator)
        y = torch.randint(2, (20,), generator=generator).repeat_interleave(2)
        a = Activations(SITE, x, tuple(f"g{i // 2}" for i in range(40)), y)
        table = probes.permutation_null(a, permutations=99, planted=1, seed=seed).table
        null = table[table.condition == "permutation"]["value"].to_numpy()
        seen = table[table.condition == "observed"]["value"].to_numpy()[0]
        ps.append((1 + (null >= seen - 1e-6).sum()) / 100)
    ps = np.array(ps)
    assert 0.38 < ps.mean() < 0.62
    assert (ps <= 0.1).mean() < 0.22 and (ps >= 0.9).mean() < 0.25


def test_signal_beats_every_permutation_and_the_plant_is_recovered() -> None:
    toy, _ = planted(n_groups=150, d=8, layers=3)
    evidence = probes.permutation_null(toy, permutations=199, planted=10, seed=0, attribute="truth")
    assert set(evidence.table["method"]) == {"readable"}
    null = evidence.where(condition="permutation").pivot_table(
        index="draw", columns="layer", values="value"
    )
    seen = evidence.where(condition="observed").set_index("layer")["value"]
    assert null.shape == (199, 3)
    assert seen[1] > null.max().max() and seen[0] < null.max().max()
    plants = evidence.where(condition="planted", layer=0)["value"]
    assert 0.15 < plants.mean() < 0.3  # .75 less what estimating the direction costs
