"""Slots on a hand-made layout, and the cross-fitted ridge against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings, strategies as st
from sklearn.linear_model import Ridge

from patching.methods.slots import Layout, predict_by_slot, ridge_cross_fitted


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


@pytest.mark.parametrize("pad", ["right", "left"])
def test_prefixes_are_numbered_alike_where_all_up_to_there_is_alike(pad):
    """ "a S S x", "a S T x", "b S S x" and the shorter "a S x", padded on either side."""
    rows = [[3, 5, 6, 9], [3, 5, 7, 9], [4, 5, 6, 9], [3, 5, 9]]
    layout = Layout.of(tiny.examples(rows, subject=[(1, 3)] * 3 + [(1, 2)], pad=pad))
    same = [
        (layout.prefix[:, slot, None] == layout.prefix[None, :, slot]).int().tolist()
        for slot in range(4)
    ]
    assert same[0] == [[1, 1, 0, 1], [1, 1, 0, 1], [0, 0, 1, 0], [1, 1, 0, 1]]
    assert [row[:3] for row in same[1][:3]] == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert [row[:3] for row in same[2][:3]] == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    # The same token behind another beginning is another state.
    assert same[3] == torch.eye(4, dtype=torch.int).tolist()
    part = layout.subset(torch.tensor([2, 0]))
    assert part.prefix.tolist() == layout.prefix[[2, 0]].tolist() and part.width == layout.width


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


def others(folds):
    """From which prompts each is predicted: those of other folds."""
    return folds[:, None] != folds


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
    ours = ridge_cross_fitted(x, y, others(folds))
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
    first = ridge_cross_fitted(x, y, others(folds))
    moved = y.clone()
    moved[folds == 2] += 1000.0
    second = ridge_cross_fitted(x, moved, others(folds))
    assert torch.allclose(first[folds == 2], second[folds == 2], atol=1e-4)
    assert not torch.allclose(first[folds == 1], second[folds == 1])


def test_ridge_of_shuffled_targets_predicts_nothing():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(60, 10, generator=generator)
    y = x @ torch.randn(10, 4, generator=generator)
    folds = torch.arange(60) % 5

    def explained(target):
        residual = target - ridge_cross_fitted(x, target, others(folds))
        return 1 - float(residual.square().sum() / (target - target.mean(0)).square().sum())

    assert explained(y) > 0.99
    assert explained(y[torch.randperm(60, generator=generator)]) < 0.1


def test_identities_unseen_in_training_give_the_mean():
    y = torch.randn(15, 3, generator=torch.Generator().manual_seed(2))
    folds = torch.arange(15) % 5
    out = ridge_cross_fitted(torch.eye(15), y, others(folds))
    for fold in range(5):
        assert torch.allclose(out[folds == fold], y[folds != fold].mean(0), atol=1e-5)


def test_what_has_nothing_to_be_learnt_from_is_predicted_as_zero():
    x, y = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0))
    learnt_from = others(torch.arange(6) % 3)
    learnt_from[4] = False
    ours = ridge_cross_fitted(x, y, learnt_from)
    assert not ours[4].any() and ours[[0, 1, 2, 3, 5]].abs().min() > 0


def named(first, last):
    """Prompts "a First Last x" and the layout of their slots."""
    rows = [[3, 10 + int(i), 40 + int(j), 4] for i, j in zip(first, last, strict=True)]
    return Layout.of(tiny.examples(rows, subject=[(1, 3)] * len(rows)))


def explained(predicted, real):
    return 1 - (predicted - real).square().sum() / (real - real.mean(0)).square().sum()


def planted(said, least=8, rows=slice(None)):
    """How well a first name's own push, drawn at random, and what follows from it are predicted."""
    generator = torch.Generator().manual_seed(0)
    first, last = torch.arange(64) % 16, torch.arange(64) // 4
    names = torch.randn(16, 24, generator=generator)
    targets = torch.zeros(64, 4, 6)
    targets[:, 1] = torch.randn(16, 6, generator=generator)[first]
    targets[:, 3] = (names @ torch.randn(24, 6, generator=generator))[first]
    folds = torch.arange(64) // 16
    predicted = predict_by_slot(names[first], targets, named(first, last), folds, said, least)
    return [float(explained(predicted[rows, slot], targets[rows, slot])) for slot in (1, 3)]


def test_a_state_that_prompts_share_is_learnt_from_where_it_tells_no_single_one():
    first = torch.arange(64) % 16
    # Behind the name no state is shared: what follows from the name is predicted whatever is said.
    at_the_name, behind = planted(first)
    assert at_the_name > 0.99 and behind > 0.99, "all of one first name say one token"
    at_the_name, behind = planted(torch.arange(64) % 21)
    assert at_the_name < 0.1 and behind > 0.99, "each says a token of their own"
    # One of four says something else: the token of the three is a part, or it is not.
    odd = first + 100 * (torch.arange(64) < 16)
    assert planted(odd, least=4, rows=slice(16, None))[0] < 0.1
    assert planted(odd, least=3, rows=slice(16, None))[0] > 0.99
    assert planted(odd, least=3, rows=slice(16))[0] < 0.1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 6), st.integers(2, 20))
def test_no_prediction_hangs_on_a_target_with_the_same_state(seed, first_names, tokens):
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(first_names, (24,), generator=generator)
    layout = named(first, torch.arange(24))
    said = torch.randint(tokens, (24,), generator=generator)
    features = torch.randn(24, 5, generator=generator).double()
    targets = torch.randn(24, 4, 2, generator=generator).double()
    folds = torch.arange(24) % 5
    before = predict_by_slot(features, targets, layout, folds, said, 25)
    for name in first.unique():
        members = first == name
        if len(said[members].unique()) == 1:
            continue
        moved = targets.clone()
        moved[members, 1] += 1000.0
        after = predict_by_slot(features, moved, layout, folds, said, 25)
        torch.testing.assert_close(after[members], before[members])


def test_a_slot_that_one_prompt_alone_has_is_not_predicted_from_itself():
    rows = [[3, 9, 5 + i, 4] for i in range(10)] + [[3, 7, 8, 30, 4]]
    layout = Layout.of(tiny.examples(rows, subject=[(1, 3)] * 10 + [(1, 4)]))
    generator = torch.Generator().manual_seed(0)
    features, targets = (torch.randn(11, *shape, generator=generator) for shape in ((4,), (5, 2)))
    folds = torch.arange(11) % 5
    predicted = predict_by_slot(features, targets, layout, folds, torch.arange(11), 8)
    assert layout.present.sum(0).tolist() == [11, 1, 11, 11, 11]
    assert not predicted[:, 1].any() and predicted[10, 2:].abs().min() > 0
    # Nor does what it has alone move the others.
    targets[10, 1] += 1000.0
    assert predicted.equal(predict_by_slot(features, targets, layout, folds, torch.arange(11), 8))
