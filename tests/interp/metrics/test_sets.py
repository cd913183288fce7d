"""The probability of any of several answers."""

import pytest
import tiny
import torch

from interp.metrics import probability_difference

EXAMPLES = tiny.examples(tiny.token_rows(4, 5))
ROWS = torch.tensor([0, 1, 1])


def test_it_is_the_sum_of_the_answers_less_that_of_the_foils():
    logits = torch.randn(3, 9, generator=torch.Generator().manual_seed(0))
    metric = probability_difference(EXAMPLES, [[1, 2, 3], [4]], [[5], [6, 7]])
    p = logits.softmax(1)
    plain = [
        p[0, [1, 2, 3]].sum() - p[0, 5],
        p[1, 4] - p[1, [6, 7]].sum(),
        p[2, 4] - p[2, [6, 7]].sum(),
    ]
    assert torch.allclose(metric(logits, ROWS), torch.stack(plain), atol=1e-6)
    assert metric.unit == "share" and metric.tokens is None


def test_tokens_that_a_model_lacks_have_no_probability():
    metric = probability_difference(EXAMPLES, [[1, 99], [99]], [[2], [3]])
    values = metric(torch.zeros(3, 4), ROWS)
    assert values.tolist() == pytest.approx([0.0, -0.25, -0.25])


def test_it_has_a_gradient_and_double_precision_stays():
    logits = torch.zeros(3, 9, dtype=torch.float64, requires_grad=True)
    values = probability_difference(EXAMPLES, [[1], [4]], [[5], [6]])(logits, ROWS)
    values.sum().backward()
    assert values.dtype == torch.float64 and logits.grad is not None
    assert logits.grad[0, 1] == pytest.approx(1 / 9) and logits.grad[0, 5] == pytest.approx(-1 / 9)


@pytest.mark.parametrize(
    ("answers", "foils", "told"),
    [([[1]], [[2], [3]], "got 1 lists"), ([[1], []], [[2], [3]], "1 of them empty"),
     ([[1], [3]], [[2], [3]], "token 3 is answer and foil of example 1")],
)  # fmt: skip
def test_wrong_lists_are_one_line(answers, foils, told: str):
    with pytest.raises(ValueError, match=told):
        probability_difference(EXAMPLES, answers, foils)
