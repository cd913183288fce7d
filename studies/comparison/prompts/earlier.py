"""One position before the site, where both models still say the same: what each makes of tokens there.

The contrast of the site's two tokens is read there by `stitched_metrics`, in logits. But nothing holds
the logit of a token that nobody says: a tune may raise it long before its turn and change no output.
Here the same two tokens are read as probabilities, on which a change of what is said would show, and
a random pair of the tokens that compete at that position as logits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from interp.evidence import Evidence
from interp.metrics import logits_of
from interp.models.pair import ModelPair
from interp.verdict.prompts.controls import EARLIER, OTHER_BEFORE, SAID_AT, SAID_BEFORE
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
        Method ``earlier``, condition "baseline": of either model `SAID_BEFORE` and `SAID_AT`,
        p(base's token) − p(tuned token), unit share; and `OTHER_BEFORE`, the contrast of a random pair
        of the base's first tokens one position before, logits.
    """
    questions = changed.questions
    rows = questions.output_rows.nonzero()[:, 0]
    asked = questions.subset(rows)
    examples, said = asked.examples, torch.stack([asked.plus, asked.minus], 1)
    logits = {
        (model.role, back): last_logits(model, examples, max_bytes, back=back)
        for model in (pair.base, pair.tuned)
        for back in (0, 1)
    }
    others = other_pairs(logits["base", 1], asked.plus, asked.minus, seed)
    parts = []
    for role in ("base", "tuned"):
        for metric, unit, values in (
            (SAID_AT, "share", _apart(logits[role, 0].softmax(1), said)),
            (SAID_BEFORE, "share", _apart(logits[role, 1].softmax(1), said)),
            (OTHER_BEFORE, "logits", _apart(logits[role, 1], others)),
        ):
            parts.append(
                Evidence.build(
                    values.double().cpu().numpy(),
                    method=EARLIER,
                    condition="baseline",
                    metric=metric,
                    unit=unit,
                    model=role,
                    example=list(range(len(examples))),
                    group=list(examples.groups),
                    template=list(examples.templates),
                )
            )
    return Evidence.concat(parts)


def _apart(values: Tensor, tokens: Tensor) -> Tensor:
    """The first token's value less the second's."""
    chosen = logits_of(values, tokens)
    return chosen[:, 0] - chosen[:, 1]
