"""The strength is chosen inside the training rows, and no row or entity leaks into the choice."""

import numpy as np
import pytest
import torch

import probes
from interp.activations import Activations
from interp.sites import Kind, Site
from probes.estimators.base import Estimator, Solution
from probes.estimators.choosing import LinearEstimator, choose, log_loss
from probes.estimators.logistic import Logistic, solve_logistic
from probes.estimators.ridge import Ridge, RidgeClassifier

SITE = Site(Kind.RESID_PRE, 0)
PATH = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


def fit(values: torch.Tensor, labels: torch.Tensor, strengths: torch.Tensor) -> Solution:
    """Two-class logistic."""
    return solve_logistic(values, labels, strengths, 2)


def entities(signal: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """40 entities of 5 rows: a loud vector of their own, one label each, and a weak common signal."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (40,), generator=generator).repeat_interleave(5)
    own = torch.randn(40, 60, generator=generator).repeat_interleave(5, 0)
    values = own + 0.1 * torch.randn(200, 60, generator=generator)
    values[:, 0] += signal * labels
    return values, labels, np.repeat(np.arange(40), 5)


def test_the_choice_minimises_the_held_out_loss_found_by_hand() -> None:
    values, labels, groups = entities(signal=2.0)
    chosen = choose(fit, log_loss, values, labels[None], PATH, groups, folds=4, seed=1)
    from probes.splits import group_folds

    fold = group_folds(groups, 4, seed=1, labels=labels.numpy())
    losses = []
    for c in PATH:
        each = torch.zeros(200, dtype=torch.float64)
        for k in range(4):
            held = torch.from_numpy(fold == k)
            weight, bias = fit(values[~held], labels[None, ~held], torch.tensor([c]).double())
            scores = values[held].double() @ weight[0].T + bias[0]
            each[held] = torch.nn.functional.cross_entropy(scores, labels[held], reduction="none")
        losses.append(0.5 * float(each[labels == 0].mean() + each[labels == 1].mean()))
    assert chosen.tolist() == [PATH[int(np.argmin(losses))]]


def test_entities_split_across_inner_folds_would_choose_memory() -> None:
    values, labels, groups = entities(signal=0.0)
    ours = choose(fit, log_loss, values, labels[None], PATH, groups)
    leaky = choose(fit, log_loss, values, labels[None], PATH, np.arange(200))
    assert ours[0] == PATH[0] and leaky[0] >= 0.1


def test_nested_selection_stays_at_chance_where_the_leaky_way_does_not() -> None:
    values, labels, groups = entities(signal=0.0)
    names = tuple(f"e{g}" for g in groups)
    for estimator in (Logistic(c=PATH), RidgeClassifier(alpha=(1.0, 100.0, 10_000.0))):
        score = probes.fit(Activations(SITE, values, names, labels), estimator=estimator).score
        assert score is not None and 0.25 < score < 0.7
        rows = tuple(f"row{i}" for i in range(200))
        leaky = probes.fit(Activations(SITE, values, rows, labels), estimator=estimator).score
        assert leaky is not None and leaky > 0.9


def test_centring_an_entity_by_its_own_rows_before_the_split_is_a_leak() -> None:
    # Each entity is shifted far along the label's direction: the level of a held-out entity is
    # unknown, so its rows cannot be told apart. Centred by all of its rows, true is always above.
    generator = torch.Generator().manual_seed(0)
    groups, labels = np.repeat(np.arange(60), 2), torch.arange(120) % 2
    shift = 50 * torch.randn(60, generator=generator).repeat_interleave(2)
    noise = torch.randn(60, 20, generator=generator).repeat_interleave(2, 0)
    values = noise + 0.05 * torch.randn(120, 20, generator=generator)
    values[:, 0] = shift + labels + 0.1 * torch.randn(120, generator=generator)
    names = tuple(f"e{g}" for g in groups)
    for estimator in ("logistic", "mass_mean", "ridge", "lda", Logistic(c=(1e-3, 1e-2, 1e-1))):
        score = probes.fit(Activations(SITE, values, names, labels), estimator=estimator).score
        assert score is not None and 0.3 < score < 0.7
        means = torch.stack([values[groups == g].mean(0) for g in range(60)])
        leaky = Activations(SITE, values - means[groups], names, labels)
        trap = probes.fit(leaky, estimator=estimator).score
        assert trap is not None and trap > 0.9


def test_held_out_rows_do_not_move_the_choice() -> None:
    values, labels, groups = entities(signal=2.0)
    part = torch.where(torch.arange(200) < 150, labels, -1)
    far = values.clone()
    far[150:] = 1e3 * torch.randn(50, 60, generator=torch.Generator().manual_seed(1))
    for rows in (values, far):
        weight, bias = Logistic(c=PATH).solve(rows, part[None], 2, groups)
        alone, cut = Logistic(c=PATH).solve(values[:150], labels[None, :150], 2, groups[:150])
        assert torch.allclose(weight, alone, atol=1e-4) and torch.allclose(bias, cut, atol=1e-3)


def test_a_quantity_chooses_its_penalty_too() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(80, 100, generator=generator, dtype=torch.float64)
    target = (values[:, 0] + 0.1 * torch.randn(80, generator=generator))[None]
    noise = torch.randn(1, 80, generator=generator, dtype=torch.float64)
    path, groups = (1e-2, 1.0, 100.0, 1e6), np.arange(80)
    real, _ = Ridge(alpha=path).solve_quantity(values, target, groups)
    none, _ = Ridge(alpha=path).solve_quantity(values, noise, groups)
    assert real.norm() > 0.3 and none.norm() < 0.01


def test_choosing_without_groups_or_strengths_is_one_line() -> None:
    values, labels, groups = entities(signal=0.0)
    with pytest.raises(ValueError, match="choosing a strength needs groups, got none"):
        Logistic(c=PATH).solve(values, labels[None], 2)
    with pytest.raises(ValueError, match=r"strengths must be positive, got \[0.1, -1.0\]"):
        Logistic(c=(0.1, -1.0)).solve(values, labels[None], 2, groups)


def test_where_nothing_can_be_held_out_the_first_strength_is_taken() -> None:
    values, labels, groups = entities(signal=2.0)
    first = Logistic(c=PATH[0]).solve(values, labels[None], 2)
    chosen = Logistic(c=PATH).solve(values, labels[None], 2, np.zeros(200, dtype=int))
    assert torch.allclose(chosen[0], first[0], atol=1e-5)
    few = torch.where(torch.from_numpy(groups < 4), labels, -1)  # four groups: fewer than folds
    weight, _ = Logistic(c=PATH).solve(values, few[None], 2, groups)
    single = [Logistic(c=c).solve(values, few[None], 2)[0] for c in PATH]
    assert [torch.allclose(weight, one, atol=1e-5) for one in single].count(True) == 1


class Mine(LinearEstimator):
    """A reader that only says how draws are fitted, and which strengths there are."""

    name = "mine"
    strengths = PATH

    def fit_at(
        self, values: torch.Tensor, labels: torch.Tensor, strengths: torch.Tensor, n_classes: int
    ) -> Solution:
        self.fitted = strengths
        return solve_logistic(values, labels, strengths, n_classes)


def test_an_estimator_of_ones_own_has_its_strength_chosen_for_it() -> None:
    values, labels, groups = entities(signal=2.0)
    mine = Mine()
    assert isinstance(mine, Estimator)
    mine.solve(values, labels[None], 2, groups)
    best = choose(fit, log_loss, values, labels[None], PATH, groups)
    assert torch.equal(mine.fitted, best) and best[0] != PATH[0], "the first would be no choice"
    names = tuple(f"e{g}" for g in groups)
    assert probes.fit(Activations(SITE, values, names, labels), estimator=mine).estimator == "mine"
