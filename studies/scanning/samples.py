"""What the change says when it is amplified: in the logits, and in the weights."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd
import torch
from transformers import DynamicCache

from interp.examples import Examples
from interp.models.pair import ModelPair
from interp.progress import tracked
from interp.runs.run import series
from patching.engine.schedule import MAX_BYTES
from patching.weights.parameters import Parameters
from studies.comparison.next_tokens import contrast_at

#: The sources that determine what is sampled.
CODE = (
    "interp.models",
    "patching.weights",
    "studies.comparison.next_tokens",
    "studies.scanning.samples",
)

#: How far the tuned model's logits are pushed away from the base's.
ALPHAS = (1.0, 2.0, 4.0)

#: Shares of the change of the weights that are added to the base.
SCALES = (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0)


@torch.no_grad()
def amplified(
    pair: ModelPair, examples: Examples, *, tokens: int, alphas: Sequence[float] = ALPHAS
) -> pd.DataFrame:
    """Continue prompts greedily by ℓ_T + α (ℓ_T − ℓ_B); α = 0 is the tuned model.

    Args:
        pair: base and tuned.
        examples: the prompts.
        tokens: how many are generated.
        alphas: how far the difference of the logits is carried on.

    Returns:
        Columns prompt, alpha, text.
    """
    rows = []
    lines = [(i, alpha) for i in range(len(examples)) for alpha in alphas]
    inputs = (examples.tokens, examples.mask, tokens, list(alphas))
    kept = series("amplified samples", CODE, pair.base, pair.tuned, *inputs)
    for number, (i, alpha) in enumerate(tracked(lines, "amplified samples")):
        prompt = examples.tokens[i][examples.mask[i]][None]
        ids = kept.unit(number, partial(_amplified, pair, prompt, alpha, tokens), dealt=False)
        text = str(pair.tuned.tokenizer.decode(ids, skip_special_tokens=True))
        rows.append({"prompt": examples.texts[i], "alpha": alpha, "text": text})
    return pd.DataFrame(rows, columns=["prompt", "alpha", "text"])


def _amplified(pair: ModelPair, prompt: torch.Tensor, alpha: float, tokens: int) -> list[int]:
    """Greedy tokens after one prompt, up to one that ends the text."""
    caches = {model.role: DynamicCache() for model in (pair.base, pair.tuned)}
    vocabulary = min(pair.base.vocabulary, pair.tuned.vocabulary)
    unread, said = prompt, []
    for _ in range(tokens):
        base, tuned = (
            model.bridge(unread, use_cache=True, past_key_values=caches[model.role], logits_to_keep=1)[
                0, -1, :vocabulary
            ].float()
            for model in (pair.base, pair.tuned)
        )
        token = int((tuned + alpha * (tuned - base)).argmax())
        if token == pair.tuned.tokenizer.eos_token_id:
            break
        said.append(token)
        unread = torch.tensor([[token]], device=prompt.device)
    return said


def scale_sweep(
    pair: ModelPair,
    examples: Examples,
    plus: Sequence[int],
    minus: Sequence[int],
    *,
    scales: Sequence[float] = SCALES,
    max_bytes: int = MAX_BYTES,
) -> pd.DataFrame:
    """The contrast of two tokens under a share of the change of the weights, θ_B + s (θ_T − θ_B).

    Args:
        pair: base and tuned.
        examples: the prompts.
        plus: a token for each.
        minus: the token that it is compared with.
        scales: shares s; 0 is the base and 1 the tuned model.
        max_bytes: memory for activations beside the models.

    Returns:
        Columns scale, example, value (logits).
    """
    parameters, rows = Parameters(pair), []
    inputs = (examples.tokens, examples.mask, list(plus), list(minus), list(scales), max_bytes)
    kept = series("scale sweep", CODE, pair.base, pair.tuned, *inputs)

    def swept(scale: float) -> list[float]:
        with parameters.scaled(scale) as model:
            return contrast_at(model, examples, plus, minus, max_bytes)

    for number, scale in enumerate(tracked(list(scales), "scale sweep")):
        values = kept.unit(number, partial(swept, scale), dealt=False) or []
        rows += [{"scale": scale, "example": i, "value": value} for i, value in enumerate(values)]
    return pd.DataFrame(rows, columns=["scale", "example", "value"])
