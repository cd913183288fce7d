"""Slots on a hand-made layout, and the cross-fitted ridge against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from sklearn.linear_model import Ridge

from patching.methods.slots import Layout, ridge_cross_fitted


def hand_made():
    """ "a S S S x y" and "a S x y", right-padded: subjects of three and one tokens."""
    rows = [[3, 4, 5, 6, 7, 8], [3, 9, 7, 8]]
    return tiny.examples(rows, subject=[(1, 4), (1, 2)])


def test_slots_align_outside_the_subject_and_from_its_last_token():
    layout = Layout.of(hand_made())
    assert layout.position.tolist() == [[0, 1, 2, 3, 4, 5], [0, 0, 0, 1, 2, 3]]
    assert layout.present.int().tolist() == [[1, 1, 1, 1, 1, 1], [1, 0, 0, 1, 1, 1]]
    values = torch.arange(12.0).reshape(2, 6, 1) + 1
    slots = layout.gather(values)
    assert slots[..., 0].tolist() == [[1, 2, 3, 4, 5, 6], [7, 0, 0, 8, 9, 10]]
    back = layout.scatter(slots)[..., 0]
    assert back.tolist() == [[1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 0, 0]]


def test_left_padding_moves_positions_and_no_slot():
    rows = [[3, 4, 5, 6, 7, 8], [3, 9, 7, 8]]
    layout = Layout.of(tiny.examples(rows, subject=[(1, 4), (1, 2)], pad="left"))
    assert layout.position[1].tolist() == [2, 0, 0, 3, 4, 5]
    assert layout.present.tolist() == Layout.of(hand_made()).present.tolist()


def test_a_subject_that_stands_twice_may_take_any_number_of_tokens():
    """ "a b S S c S S x" and "a b S c S x": aligned from the start, then backwards from the subject."""
    twice = [[3, 4, 5, 6, 7, 5, 6, 8], [3, 4, 9, 7, 9, 8]]
    layout = Layout.of(tiny.examples(twice, subject=[(5, 7), (4, 5)]))
    values = torch.arange(16.0).reshape(2, 8, 1) + 1
    slots = layout.gather(values)
    assert slots[..., 0].tolist() == [[1, 2, 3, 4, 5, 6, 7, 8], [9, 10, 0, 11, 12, 0, 13, 14]]
    assert layout.scatter(slots)[1, :6].equal(values[1, :6])
    # Another word between the two is another form.
    with pytest.raises(ValueError, match="one form at a time"):
        Layout.of(tiny.examples([*twice, [3, 4, 9, 7, 7, 9, 8]], subject=[(5, 7), (4, 5), (5, 6)]))


def test_prompts_of_two_forms_are_refused():
    with pytest.raises(ValueError, match="one form at a time"):
        Layout.of(tiny.examples([[3, 4, 5], [3, 6, 4, 5]], subject=[(1, 2), (2, 3)]))


def test_the_mean_of_the_others_in_closed_form():
    rows = [[3, 4, 5, 6]] * 3 + [[3, 5, 6]] * 2
    layout = Layout.of(tiny.examples(rows, subject=[(1, 3)] * 3 + [(1, 2)] * 2))
    slots = layout.gather(torch.randn(5, 4, 2, generator=torch.Generator().manual_seed(0)))
    classes = torch.tensor([7, 7, -1, 7, -1])
    out = layout.others_mean(slots, classes)
    # Slot 1 exists in prompts 0..2 only; every other slot in all of them.
    assert torch.allclose(out[0, 0], (slots[1, 0] + slots[3, 0]) / 2)
    assert torch.allclose(out[0, 1], slots[1, 1])
    assert torch.allclose(out[3, 2], (slots[0, 2] + slots[1, 2]) / 2)
    assert torch.allclose(out[2, 3], slots[4, 3])
    # No other prompt of the class has it: zero, not the prompt's own value.
    assert torch.equal(out[2, 1], torch.zeros(2))


def chosen_ridge(x, y, test):
    """scikit-learn's ridge at the strength with the smallest refitted leave-one-out error."""
    x, y, test = (t.double().numpy() for t in (x, y, test))
    mean, level = x.mean(0), y.mean(0)
    centred, target = x - mean, y - level
    scale = np.linalg.eigvalsh(centred @ centred.T).clip(0).mean()
    errors = []
    for power in range(-4, 5):
        left = []
        for i in range(len(x)):
            keep = np.arange(len(x)) != i
            fitted = Ridge(scale * 10.0**power, fit_intercept=False)
            fitted.fit(centred[keep], target[keep])
            left.append(target[i] - fitted.predict(centred[i : i + 1])[0])
        errors.append(np.square(left).mean())
    best = scale * 10.0 ** (int(np.argmin(errors)) - 4)
    return Ridge(best).fit(x, y).predict(test), int(np.argmin(errors))


@pytest.mark.parametrize("noise", [0.0, 1.0, 30.0])
def test_ridge_equals_scikit_learn_at_the_chosen_strength(noise):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(20, 6, generator=generator).double()
    weights = torch.randn(6, 3, generator=generator).double()
    y = x @ weights + 4 + noise * torch.randn(20, 3, generator=generator)
    folds = torch.arange(20) % 4
    ours = ridge_cross_fitted(x, y, folds)
    strengths = set()
    for fold in range(4):
        test, train = folds == fold, folds != fold
        theirs, strength = chosen_ridge(x[train], y[train], x[test])
        strengths.add(strength)
        assert np.abs(ours[test].numpy() - theirs).max() <= 1e-8
    # The strength is a choice: none without noise, much under noise alone.
    assert min(strengths) == 0 if noise == 0 else max(strengths) > 3


def test_ridge_of_a_prompt_never_sees_its_own_target():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(30, 8, generator=generator), torch.randn(30, 2, generator=generator)
    folds = torch.arange(30) % 5
    first = ridge_cross_fitted(x, y, folds)
    moved = y.clone()
    moved[folds == 2] += 1000.0
    second = ridge_cross_fitted(x, moved, folds)
    assert torch.allclose(first[folds == 2], second[folds == 2], atol=1e-4)
    assert not torch.allclose(first[folds == 1], second[folds == 1])


def test_ridge_of_shuffled_targets_predicts_nothing():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(60, 10, generator=generator)
    y = x @ torch.randn(10, 4, generator=generator)
    folds = torch.arange(60) % 5

    def explained(target):
        residual = target - ridge_cross_fitted(x, target, folds)
        return 1 - float(residual.square().sum() / (target - target.mean(0)).square().sum())

    assert explained(y) > 0.99
    assert explained(y[torch.randperm(60, generator=generator)]) < 0.1


def test_identities_unseen_in_training_give_the_mean():
    y = torch.randn(15, 3, generator=torch.Generator().manual_seed(2))
    folds = torch.arange(15) % 5
    out = ridge_cross_fitted(torch.eye(15), y, folds)
    for fold in range(5):
        assert torch.allclose(out[folds == fold], y[folds != fold].mean(0), atol=1e-5)


def test_one_fold_is_refused():
    with pytest.raises(ValueError, match="two folds"):
        ridge_cross_fitted(torch.eye(3), torch.eye(3), torch.zeros(3, dtype=torch.long))
