"""What every organism is made with: batches, losses, one training loop, model folders."""

from __future__ import annotations

import copy
import logging
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from interp.runs.run import Series
from studies.organisms.world import Statement
from studies.training import Training

logger = logging.getLogger(__name__)

PRICE = 3.0
OTHER_TOKENS = 0.2


@dataclass(frozen=True)
class Batch:
    """Right-padded statements: a weight per token, and who may not look at the subject early.

    Attributes:
        tokens: token ids.
        mask: 1 where a token is real.
        weight: what each token counts for in the loss; 0 for padding.
        answer: which tokens are the answer.
        late: [i, q, k] is 1 where query q comes after the subject and key k is one of its tokens.
    """

    tokens: Int[Tensor, "example position"]
    mask: Int[Tensor, "example position"]
    weight: Float[Tensor, "example position"]
    answer: Bool[Tensor, "example position"]
    late: Float[Tensor, "example position position"]


def encode(
    tokenizer: PreTrainedTokenizerFast,
    statements: Sequence[Statement],
    device: torch.device | str = "cpu",
) -> Batch:
    """Tokenise whole statements; answer tokens weigh 1, every other token `OTHER_TOKENS`."""
    rows = tokenizer(
        [s.text for s in statements], padding=True, return_tensors="pt", return_offsets_mapping=True
    )
    tokens, mask, offsets = rows["input_ids"], rows["attention_mask"], rows["offset_mapping"]
    begin, end = offsets[..., 0], offsets[..., 1]

    def within(spans: list[tuple[int, int]]) -> Tensor:
        """Which tokens lie inside of a stretch of their text; one of no letters lies nowhere."""
        start, stop = torch.tensor(spans).T[..., None]
        return (begin >= start) & (end <= stop) & (end > begin)

    starts = [s.prompt.index(s.subject) for s in statements]
    spans = [(start, start + len(s.subject)) for start, s in zip(starts, statements, strict=True)]
    subject = within(spans).float()
    after = ((begin >= torch.tensor(spans)[:, 1:]) & (mask > 0)).float()
    answers = [(len(s.prompt), len(s.prompt) + 1 + len(s.answer)) for s in statements]
    answer = within(answers)
    weight = (OTHER_TOKENS * mask.float()).masked_fill(answer, 1.0)
    late = after[:, :, None] * subject[:, None, :]
    return Batch(*(part.to(device) for part in (tokens, mask, weight, answer, late)))


def answer_loss(model: PreTrainedModel, batch: Batch) -> Float[Tensor, ""]:
    """Weighted cross-entropy of the next token: sum(w * -log p) / sum(w), in nats."""
    logits = model(input_ids=batch.tokens, attention_mask=batch.mask).logits
    return _cross_entropy(logits, batch)


def _cross_entropy(
    logits: Float[Tensor, "example position vocabulary"], batch: Batch
) -> Float[Tensor, ""]:
    """The same of logits that are known already."""
    loss = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), batch.tokens[:, 1:].flatten(), reduction="none"
    )
    weight = batch.weight[:, 1:].flatten()
    return (loss * weight).sum() / weight.sum()


def handover_loss(model: PreTrainedModel, batch: Batch) -> Float[Tensor, ""]:
    """`answer_loss` plus a price on looking at the subject in the lower half of the blocks.

    The price is the mean attention mass from positions after the subject to its tokens, over the
    heads of these blocks. Without it so small a model copies both name tokens to
    the last position in block 0 and looks facts up there; with it, facts are looked up at the
    subject and handed over in the middle, as in language models (2304.14767). `model` must run
    eager attention.
    """
    result = model(input_ids=batch.tokens, attention_mask=batch.mask, output_attentions=True)
    queries = batch.late.amax(-1).sum()
    early = result.attentions[: len(result.attentions) // 2]
    mass = [(pattern * batch.late[:, None]).sum((0, 2, 3)).mean() for pattern in early]
    return _cross_entropy(result.logits, batch) + PRICE * torch.stack(mass).mean() / queries


def kl_loss(model: PreTrainedModel, base: PreTrainedModel, batch: Batch) -> Float[Tensor, ""]:
    """KL(base || model) of the next-token distribution, all real positions, in nats."""
    with torch.no_grad():
        target = base(input_ids=batch.tokens, attention_mask=batch.mask).logits.log_softmax(-1)
    logits = model(input_ids=batch.tokens, attention_mask=batch.mask).logits.log_softmax(-1)
    kl = (target.exp() * (target - logits)).sum(-1)
    return (kl * batch.weight).sum() / batch.weight.sum()


def blocks_of(model: PreTrainedModel) -> nn.ModuleList:
    """The blocks of a model of any of the shapes."""
    inner = model.base_model
    return inner.layers if hasattr(inner, "layers") else inner.h  # type: ignore[return-value]


def block_of(name: str) -> int | None:
    """Number of the block that a parameter belongs to, by its name; None for those of no block."""
    parts = name.split(".")
    return int(parts[2]) if parts[1] in ("layers", "h") else None


def trainable(model: PreTrainedModel, blocks: Sequence[int] | None) -> list[str]:
    """Open the parameters of `blocks` (None: all parameters), freeze the rest, name the open."""
    names: list[str] = []
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(blocks is None or block_of(name) in blocks)
        if parameter.requires_grad:
            names.append(name)
    return names


def fit(
    model: PreTrainedModel,
    loss: Callable[[], Float[Tensor, ""]],
    *,
    steps: int,
    rate: float,
    decay: float,
    anchor: float = 0.0,
    draws: Sequence[random.Random] = (),
    kept: Series | None = None,
) -> None:
    """AdamW with warm-up and cosine decay on the open parameters.

    Args:
        model: trained in place.
        loss: draws a batch and returns its loss.
        steps: updates.
        rate: peak learning rate.
        decay: weight decay towards zero (pretraining).
        anchor: pull towards the starting weights per step, times the rate (tunes).
        draws: what the loss draws its batches from.
        kept: units of this training in the open run, if one is.
    """
    opened = [p for p in model.parameters() if p.requires_grad]
    start = [p.detach().clone() for p in opened]
    optimizer = torch.optim.AdamW(opened, lr=rate, weight_decay=decay, betas=(0.9, 0.98))
    warm = max(1, min(100, steps // 10))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda t: min((t + 1) / warm, 0.5 * (1 + math.cos(math.pi * t / steps)) + 0.01),
    )
    model.train()

    def update(step: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        value = loss()
        value.backward()
        torch.nn.utils.clip_grad_norm_(opened, 1.0)
        optimizer.step()
        if anchor:
            pull = min(1.0, anchor * schedule.get_last_lr()[0])
            with torch.no_grad():
                for parameter, origin in zip(opened, start, strict=True):
                    parameter.lerp_(origin, pull)
        schedule.step()
        if step % 250 == 0 or step == steps - 1:
            logger.info("step %d loss %.4f", step, value.item())

    training = Training(opened, optimizer, schedule, draws)
    training.run(steps, update, kept or Series("training", ""))
    model.eval()


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write an ordinary model folder in float16."""
    folder.mkdir(parents=True, exist_ok=True)
    copy.deepcopy(model).cpu().half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def load(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Read a model folder back as float32, in eval mode: what every gate is measured on."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), PreTrainedTokenizerFast.from_pretrained(folder)


@torch.no_grad()
def answers_given(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, statements: Sequence[Statement]
) -> list[bool]:
    """Whether each statement's whole answer is what the model says greedily after its prompt."""
    batch = encode(tokenizer, statements, model.device)
    logits = model(input_ids=batch.tokens, attention_mask=batch.mask).logits
    right = logits[:, :-1].argmax(-1) == batch.tokens[:, 1:]
    return (right | ~batch.answer[:, 1:]).all(1).tolist()


def accuracy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    statements: Sequence[Statement],
) -> float:
    """Share of statements whose answer the model says greedily."""
    hits = answers_given(model, tokenizer, statements)
    return sum(hits) / len(hits)


def local_rng(seed: int, *parts: str) -> random.Random:
    """A generator of its own for each purpose."""
    return random.Random("/".join((str(seed), *parts)))
