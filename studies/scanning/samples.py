"""What the change says when it is amplified: in the logits, and in the weights."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product

import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor
from transformers import DynamicCache

from interp.examples import Examples
from interp.generation import ends_of
from interp.models.pair import ModelPair
from interp.progress import tracked
from interp.runs.run import series
from patching.engine.schedule import MAX_BYTES
from patching.weights.parameters import Parameters
from studies.comparison.next_tokens import contrast_at

#: The sources that determine what is sampled.
CODE = (
    "interp.generation",
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
    said: dict[tuple[int, float], list[int]] = {}
    inputs = (examples.tokens, examples.mask, tokens, list(alphas))
    kept = series("amplified samples", CODE, pair.base, pair.tuned, *inputs)
    for number, rows in enumerate(tracked(examples.by_length(), "amplified samples")):
        prompts = examples.tokens[rows].gather(1, examples.columns(rows))
        made = kept.unit(number, partial(_amplified, pair, prompts, alphas, tokens), dealt=False)
        assert made is not None  # every shard samples
        said |= zip(product(rows.tolist(), alphas), made, strict=True)
    decode = pair.tuned.tokenizer.decode
    lines = [
        (examples.texts[i], alpha, str(decode(said[i, alpha], skip_special_tokens=True)))
        for i in range(len(examples))
        for alpha in alphas
    ]
    return pd.DataFrame(lines, columns=["prompt", "alpha", "text"])


def _amplified(
    pair: ModelPair, prompts: Int[Tensor, "row position"], alphas: Sequence[float], tokens: int
) -> list[list[int]]:
    """Greedy tokens after prompts of one length, for each by every α, up to one that ends the text."""
    caches = {model.role: DynamicCache() for model in (pair.base, pair.tuned)}
    vocabulary, ends = min(pair.base.vocabulary, pair.tuned.vocabulary), ends_of(pair.tuned)
    unread = prompts.repeat_interleave(len(alphas), 0)
    alpha = torch.tensor(alphas, device=prompts.device).repeat(len(prompts))[:, None]
    said: list[list[int]] = [[] for _ in unread]
    open_rows = set(range(len(unread)))
    for _ in range(tokens):
        base, tuned = (
            model.bridge(unread, use_cache=True, past_key_values=caches[model.role], logits_to_keep=1)[
                :, -1, :vocabulary
            ].float()
            for model in (pair.base, pair.tuned)
        )
        unread = (tuned + alpha * (tuned - base)).argmax(1, keepdim=True)
        chosen = unread[:, 0].tolist()
        open_rows -= {row for row in open_rows if chosen[row] in ends}
        if not open_rows:
            break
        for row in open_rows:
            said[row].append(chosen[row])
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
