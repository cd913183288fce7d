"""One position before the site, where both models still say the same: how far they part there.

The contrast of the site's two tokens is read there by `stitched_metrics`, in logits. But nothing holds
the logit of a token that nobody says: a tune may move it long before its turn and change no output.
Here the whole distributions are compared, at that position and at the site; and a random pair of the
tokens that compete at that position tells how far any two logits move apart there.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from interp.evidence import Evidence
from interp.metrics import logits_of
from interp.models.pair import ModelPair
from interp.verdict.prompts.controls import EARLIER, KL_AT, KL_BEFORE, OTHER_BEFORE
from studies.comparison.next_tokens import last_logits
from studies.comparison.prompts.outputs import Changed, other_pairs


def earlier_evidence(pair: ModelPair, changed: Changed, *, seed: int, max_bytes: int) -> Evidence:
    """Both models one position before the site, and at it.

    Args:
        pair: base and tuned.
        changed: the changed prompts at their sites.
        seed: of the random pair.
        max_bytes: memory for activations beside the models.

    Returns:
        Method ``earlier``, condition "baseline": `KL_AT` and `KL_BEFORE`, KL(T‖B) at the site and one
        position before, nats, model "tuned"; and `OTHER_BEFORE`, of either model, the contrast of a
        random pair of the base's first tokens one position before, logits.
    """
    questions = changed.questions
    asked = questions.subset(questions.output_rows.nonzero()[:, 0])
    at, before = (
        [last_logits(m, asked.examples, max_bytes, back=back) for m in (pair.base, pair.tuned)]
        for back in (0, 1)
    )
    others = other_pairs(before[0], asked.plus, asked.minus, seed)
    contrasts = [logits_of(logits, others) for logits in before]
    rows = [
        (KL_AT, "nats", "tuned", divergence(*at)),
        (KL_BEFORE, "nats", "tuned", divergence(*before)),
        *(
            (OTHER_BEFORE, "logits", role, values[:, 0] - values[:, 1])
            for role, values in zip(("base", "tuned"), contrasts, strict=True)
        ),
    ]
    return Evidence.concat(
        [
            Evidence.build(
                values.double().cpu().numpy(),
                method=EARLIER,
                condition="baseline",
                metric=metric,
                unit=unit,
                model=role,
                example=list(range(len(asked.examples))),
                group=list(asked.examples.groups),
                template=list(asked.examples.templates),
            )
            for metric, unit, role, values in rows
        ]
    )


def divergence(
    base: Float[Tensor, "example token"], tuned: Float[Tensor, "example other"]
) -> Float[Tensor, " example"]:
    """KL(T‖B) = Σ p_T (log p_T − log p_B), nats, over the tokens that both models have."""
    shared = min(base.shape[1], tuned.shape[1])
    log_b, log_t = (logits[:, :shared].double().log_softmax(1) for logits in (base, tuned))
    return torch.sum(log_t.exp() * (log_t - log_b), 1)
