"""Metrics give one number per row, in their unit, for rows that are not examples."""

import pytest
import tiny
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

import interp
from interp import metrics
from interp.metrics import Metric

PROMPTS = tiny.examples(tiny.token_rows(4, 4, 4))
ANSWERS = torch.tensor([10, 30, 20])
FOILS = torch.tensor([20, 10, 40])
LOGITS = torch.randn(3, tiny.VOCABULARY, generator=torch.Generator().manual_seed(0))
#: A sweep multiplies the batch: rows of several examples, in any order.
ROWS = torch.tensor([2, 0, 0, 1, 2])


def read(metric: Metric, logits: Tensor = LOGITS, rows: Tensor = ROWS) -> Tensor:
    """The metric on whole-vocabulary logits, given the columns it asks for."""
    grown = logits[rows]
    return metric(grown if metric.tokens is None else grown[:, metric.tokens], rows)


def test_a_token_contrast_is_the_difference_of_two_logits():
    metric = metrics.token_contrast(PROMPTS, ANSWERS, FOILS)
    expected = LOGITS[ROWS, ANSWERS[ROWS]] - LOGITS[ROWS, FOILS[ROWS]]
    assert torch.equal(read(metric), expected) and metric.unit == "logits"
    assert metric.tokens is not None and metric.tokens.tolist() == [10, 20, 30, 40]
    assert metric.positions.tolist() == [3, 3, 3]


def test_a_logit_difference_is_the_contrast_of_the_clean_prompts():
    pairs = tiny.contrast(4, 5)
    metric = metrics.logit_difference(pairs)
    rows = torch.tensor([1, 0])
    expected = LOGITS[rows, pairs.answers[rows]] - LOGITS[rows, pairs.foils[rows]]
    assert torch.equal(read(metric, rows=rows), expected)
    assert torch.equal(metric.positions, pairs.clean.position("last"))


def test_a_fact_contrast_is_the_answer_less_the_mean_of_the_others():
    expected = LOGITS[0, 10] - (LOGITS[0, 20] + LOGITS[0, 30]) / 2
    found = read(metrics.fact_contrast(PROMPTS, ANSWERS), rows=torch.tensor([0]))
    torch.testing.assert_close(found, expected[None])


@settings(max_examples=25, deadline=None)
@given(st.floats(-50, 50))
def test_an_evasion_that_lowers_every_answer_alike_does_not_move_the_fact_contrast(push: float):
    fact = metrics.fact_contrast(PROMPTS, ANSWERS)
    pushed = LOGITS.clone()
    pushed[:, ANSWERS] += push
    torch.testing.assert_close(read(fact, pushed), read(fact), rtol=1e-3, atol=1e-3)
    output = metrics.token_contrast(PROMPTS, ANSWERS, torch.full((3,), 50))
    torch.testing.assert_close(
        read(output, pushed) - read(output), torch.full((5,), push), rtol=1e-3, atol=1e-3
    )


def test_the_closed_set_is_right_where_the_answer_wins_among_the_answers():
    logits = LOGITS.clone()
    logits[:, 90] = 100.0  # outside the set
    logits[0, 10], logits[1, 30], logits[2, 10] = 50.0, 50.0, 50.0
    assert read(metrics.closed_set_correct(PROMPTS, ANSWERS), logits).tolist() == [0, 1, 1, 1, 0]
    wider = metrics.closed_set_correct(PROMPTS, ANSWERS, torch.tensor([30, 90, 10, 20]))
    assert read(wider, logits).tolist() == [0.0] * 5
    assert read(metrics.says(PROMPTS, torch.full((3,), 90)), logits).tolist() == [1.0] * 5


def test_the_former_name_of_the_first_choice_is_understood():
    assert metrics.says.__doc__ and metrics.says.__doc__.startswith("Alias of `top1_is`")
    tokens = LOGITS.argmax(1)
    formerly = interp.says(PROMPTS, said=tokens)
    for first in (metrics.top1_is(PROMPTS, tokens), metrics.says(PROMPTS, tokens), formerly):
        assert read(first).tolist() == [1.0] * 5 and first.unit == "share"
    assert read(metrics.top1_is(PROMPTS, tokens + 1)).tolist() == [0.0] * 5


def test_the_log_probability_of_an_answer_is_that_of_the_softmax():
    metric = metrics.answer_log_prob(PROMPTS, ANSWERS)
    expected = LOGITS.softmax(1).log()[ROWS, ANSWERS[ROWS]]
    torch.testing.assert_close(read(metric), expected)
    assert metric.unit == "nats" and metric.tokens is None
    # An evasion that lowers every answer alike moves it, unlike the fact contrast.
    lowered = LOGITS.clone()
    lowered[:, ANSWERS] -= 5.0
    assert bool((read(metric, lowered) < read(metric) - 1.0).all())
    wide = read(metric, LOGITS.double())
    assert wide.dtype == torch.float64 and torch.allclose(wide.float(), read(metric))
    assert read(metrics.answer_log_prob(PROMPTS, torch.full((3,), 96))).isnan().all()


def test_a_closed_set_without_an_answer_is_refused():
    with pytest.raises(ValueError, match="closed set"):
        metrics.closed_set_correct(PROMPTS, ANSWERS, torch.tensor([10, 20]))


def test_a_token_logit_is_taken_from_the_vocabularys_mean():
    metric = metrics.token_logit(PROMPTS, ANSWERS)
    found = read(metric)
    torch.testing.assert_close(found, (LOGITS[ROWS, ANSWERS[ROWS]] - LOGITS[ROWS].mean(1)))
    torch.testing.assert_close(read(metric, LOGITS + 7.0), found)


def test_one_answer_makes_no_fact_contrast():
    with pytest.raises(ValueError, match="needs two different answers, got one"):
        metrics.fact_contrast(PROMPTS, torch.tensor([5, 5, 5]))


def test_a_metric_that_averages_is_refused():
    averaging = Metric(lambda logits, example: logits.mean(), "logits", PROMPTS.position("last"))
    with pytest.raises(ValueError, match=r"one value per row, shape \(5,\); got \(\)"):
        read(averaging)


def test_a_token_that_the_model_lacks_has_no_difference_and_is_never_first():
    logits = LOGITS.clone()
    logits[:, 30] = -torch.inf  # as a readout gives it
    contrast = read(metrics.token_contrast(PROMPTS, ANSWERS, FOILS), logits)
    assert contrast.isnan().tolist() == [row == 1 for row in ROWS.tolist()]
    fact = read(metrics.fact_contrast(PROMPTS, ANSWERS), logits)
    assert fact.isnan().tolist() == [row == 1 for row in ROWS.tolist()]
    torch.testing.assert_close(fact[0], logits[2, 20] - logits[2, 10])
    nothing = torch.full_like(LOGITS, -torch.inf)
    assert read(metrics.closed_set_correct(PROMPTS, ANSWERS), nothing).tolist() == [0.0] * 5


def test_columns_beyond_the_vocabulary_are_never_said():
    tokens = torch.tensor([[3, 96], [200, 5], [0, 95]])
    found = metrics.logits_of(LOGITS, tokens)
    assert found.isinf().tolist() == [[False, True], [True, False], [False, False]]
    assert found[0, 0] == LOGITS[0, 3] and found[1, 1] == LOGITS[1, 5]
    assert read(metrics.token_logit(PROMPTS, torch.tensor([96, 5, 5]))).isnan().sum() == 2


@pytest.mark.parametrize(
    "make",
    [
        metrics.fact_contrast,
        metrics.answer_log_prob,
        metrics.closed_set_correct,
        metrics.top1_is,
        lambda examples, ids: metrics.token_contrast(examples, ids, FOILS[: len(ids)]),
    ],
)
def test_token_ids_may_be_a_list_and_there_is_one_for_each_example(make):
    assert torch.equal(read(make(PROMPTS, ANSWERS.tolist())), read(make(PROMPTS, ANSWERS)))
    with pytest.raises(ValueError, match=r"3 examples needs a token id for each, got shape \(2,\)"):
        make(PROMPTS, ANSWERS[:2])
