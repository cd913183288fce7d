"""A function of one's own is a metric: read prompt by prompt, or row by row with its example."""

from dataclasses import replace

import pytest
import tiny
import torch

from interp.metrics import as_metric, fact_contrast, metric, named_metrics, token_contrast

PROMPTS = tiny.examples(tiny.token_rows(4, 5, 4), subject=[(1, 3)] * 3)
ANSWERS = torch.tensor([10, 30, 20])
LOGITS = torch.randn(3, tiny.VOCABULARY, generator=torch.Generator().manual_seed(0))
#: A sweep multiplies the batch: rows of several examples, in any order.
ROWS = torch.tensor([2, 0, 0, 1, 2])


def margin(logits):
    """Logit of one token less that of another."""
    return logits[..., 7] - logits[..., 9]


def test_a_function_of_one_prompts_logits_is_read_prompt_by_prompt():
    read = metric(margin, PROMPTS, unit="logits", name="mine")(LOGITS[ROWS], ROWS)
    torch.testing.assert_close(read, LOGITS[ROWS, 7] - LOGITS[ROWS, 9])
    # A function that compares a prompt with the others has no others to compare it with.
    centred = metric(lambda logits: (logits[..., 7] - logits[..., 7].mean()).sum(), PROMPTS)
    assert centred(LOGITS[ROWS], ROWS).tolist() == [0.0] * 5


def test_a_function_of_rows_is_told_whose_each_row_is():
    by_row = metric(lambda logits, example: logits.gather(1, ANSWERS[example][:, None])[:, 0], PROMPTS)
    assert torch.equal(by_row(LOGITS[ROWS], ROWS), LOGITS[ROWS, ANSWERS[ROWS]])
    # The control: answers looked up as if rows were examples are refused.
    wrong = metric(lambda logits, example: logits[torch.arange(3), ANSWERS], PROMPTS)
    with pytest.raises(ValueError, match=r"one value per row, shape \(5,\); got \(3,\)"):
        wrong(LOGITS[ROWS], ROWS)
    averaged = metric(lambda logits, example: logits.mean(), PROMPTS)
    with pytest.raises(ValueError, match="do not average inside a metric"):
        averaged(LOGITS[ROWS], ROWS)


def test_an_optional_argument_of_a_function_is_its_own():
    scaled = metric(lambda logits, factor=2.0: factor * logits[..., 7], PROMPTS)
    torch.testing.assert_close(scaled(LOGITS, torch.arange(3)), 2.0 * LOGITS[:, 7])


def test_a_function_without_one_number_is_told_what_it_gave():
    with pytest.raises(ValueError, match=r"expected one number \(it gave shape \[1, 2\]\)"):
        metric(lambda logits: logits.reshape(1, -1)[:, :2], PROMPTS)(LOGITS, torch.arange(3))


@pytest.mark.parametrize(
    "wrong", [lambda x: x[..., 99_999], lambda x: x[0, 99_999], lambda x: x[0, -1, 99_999]]
)  # fmt: skip
def test_a_function_that_raises_is_told_what_it_raised(wrong):
    size = LOGITS.shape[-1]
    told = f"raised IndexError .*have {size} tokens: index 99999 is out of bounds .*size {size}; mend"
    with pytest.raises(ValueError, match=told) as caught:
        metric(wrong, PROMPTS)(LOGITS, torch.arange(3))
    assert "shape" not in str(caught.value) and isinstance(caught.value.__cause__, IndexError)
    answers = {"Paris": 7}
    with pytest.raises(ValueError, match="raised KeyError .*: 'Rome'"):
        metric(lambda x: x[..., answers["Rome"]], PROMPTS)(LOGITS, torch.arange(3))


def test_the_token_that_is_read_can_be_chosen():
    assert metric(margin, PROMPTS).positions.tolist() == [3, 4, 3]
    assert metric(margin, PROMPTS, positions="subject_last").positions.tolist() == [2, 2, 2]
    assert metric(margin, PROMPTS, positions=0).positions.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="no position 'object'"):
        metric(margin, PROMPTS, positions="object")


def test_one_metric_alone_is_called_metric_unless_it_has_a_name():
    assert list(named_metrics(margin, PROMPTS)) == ["metric"]
    assert list(named_metrics(fact_contrast(PROMPTS, ANSWERS), PROMPTS)) == ["metric"]
    assert list(named_metrics(metric(margin, PROMPTS, name="mine"), PROMPTS)) == ["mine"]


def test_several_metrics_are_called_by_their_names_or_by_what_they_measure():
    fact = fact_contrast(PROMPTS, ANSWERS)
    several = named_metrics([fact, margin, metric(margin, PROMPTS, name="mine")], PROMPTS)
    assert list(several) == ["fact_contrast", "margin", "mine"]
    assert several["fact_contrast"] is fact
    assert list(named_metrics({"a": fact, "b": margin}, PROMPTS)) == ["a", "b"]
    twice = [fact, fact_contrast(PROMPTS, ANSWERS + 1)]
    with pytest.raises(ValueError, match="metrics must differ in name, got .'fact_contrast', 'fact_c"):
        named_metrics(twice, PROMPTS)
    assert len(named_metrics([fact, replace(fact, name="again")], PROMPTS)) == 2
    for nothing in ([], {}):
        with pytest.raises(ValueError, match="metrics got none; expected at least one"):
            named_metrics(nothing, PROMPTS)


def test_a_metric_stays_what_it_is_and_other_things_are_refused():
    made = token_contrast(PROMPTS, ANSWERS, ANSWERS + 1)
    assert as_metric(made, PROMPTS) is made
    with pytest.raises(ValueError, match="a metric got str 'nats'; expected a Metric"):
        as_metric("nats", PROMPTS)
