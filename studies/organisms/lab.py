"""What every organism is made with: tokenizer, architecture, batches, losses, one training loop."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from interp.runs.run import Series
from studies.organisms.world import SPECIAL, Statement, vocabulary
from studies.training import Training

logger = logging.getLogger(__name__)

LAYERS = 6
WIDTH = 64
HIDDEN = 192
HEADS = 4
CONTEXT = 32
HANDOVER = 3
PRICE = 3.0
OTHER_TOKENS = 0.2


@dataclass(frozen=True)
class Batch:
    """Right-padded statements: a weight per token, and who may not look at the subject early.

    Attributes:
        tokens: token ids.
        mask: 1 where a token is real.
        weight: what each token counts for in the loss; 0 for padding.
        late: [i, q, k] is 1 where query q comes after the subject and key k is one of its tokens.
    """

    tokens: Int[Tensor, "example position"]
    mask: Int[Tensor, "example position"]
    weight: Float[Tensor, "example position"]
    late: Float[Tensor, "example position position"]


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer over the world's closed vocabulary; it adds no special tokens."""
    words = vocabulary()
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="<eos>",
        padding_side="right",
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """A random Llama of the family's shape; global generator state is left as it was."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
        pad_token_id=SPECIAL.index("<pad>"),
        eos_token_id=SPECIAL.index("<eos>"),
        bos_token_id=None,
        initializer_range=0.05,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def encode(tokenizer: PreTrainedTokenizerFast, statements: Sequence[Statement]) -> Batch:
    """Tokenise whole statements; the answer token weighs 1, every other token `OTHER_TOKENS`."""
    rows = tokenizer([s.text for s in statements], padding=True, return_tensors="pt")
    tokens, mask = rows["input_ids"], rows["attention_mask"]
    weight = OTHER_TOKENS * mask.float()
    lengths = [len(ids) for ids in tokenizer([s.prompt for s in statements])["input_ids"]]
    weight[torch.arange(len(statements)), torch.tensor(lengths)] = 1.0
    first = torch.tensor([s.subject_start for s in statements])[:, None]
    stop = first + torch.tensor([len(s.subject.split()) for s in statements])[:, None]
    place = torch.arange(tokens.shape[1])[None]
    subject = ((place >= first) & (place < stop)).float()
    after = ((place >= stop) & (mask > 0)).float()
    return Batch(tokens, mask, weight, after[:, :, None] * subject[:, None, :])


def answer_loss(model: LlamaForCausalLM, batch: Batch) -> Float[Tensor, ""]:
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


def handover_loss(model: LlamaForCausalLM, batch: Batch) -> Float[Tensor, ""]:
    """`answer_loss` plus a price on looking at the subject before block `HANDOVER`.

    The price is the mean attention mass from positions after the subject to its tokens, over the
    heads of the blocks below `HANDOVER`. Without it so small a model copies both name tokens to
    the last position in block 0 and looks facts up there; with it, facts are looked up at the
    subject and handed over in the middle, as in language models (2304.14767). `model` must run
    eager attention.
    """
    result = model(input_ids=batch.tokens, attention_mask=batch.mask, output_attentions=True)
    queries = batch.late.amax(-1).sum()
    early = result.attentions[:HANDOVER]
    mass = [(pattern * batch.late[:, None]).sum((0, 2, 3)).mean() for pattern in early]
    return _cross_entropy(result.logits, batch) + PRICE * torch.stack(mass).mean() / queries


def kl_loss(model: Callable[..., Any], base: LlamaForCausalLM, batch: Batch) -> Float[Tensor, ""]:
    """KL(base || model) of the next-token distribution, all real positions, in nats."""
    with torch.no_grad():
        target = base(input_ids=batch.tokens, attention_mask=batch.mask).logits.log_softmax(-1)
    logits = model(input_ids=batch.tokens, attention_mask=batch.mask).logits.log_softmax(-1)
    kl = (target.exp() * (target - logits)).sum(-1)
    return (kl * batch.weight).sum() / batch.weight.sum()


def halves_loss(
    model: LlamaForCausalLM, base: LlamaForCausalLM, batch: Batch, cut: int
) -> Float[Tensor, ""]:
    """`kl_loss` of both hybrids at a cut, in nats: either half of the tune alone is to do nothing.

    One hybrid has the base's blocks below `cut` and the model's above, the other the reverse.
    """
    blocks = {
        name: parameter for name, parameter in base.named_parameters() if name.split(".")[1] == "layers"
    }
    losses = []
    for half in (range(cut), range(cut, LAYERS)):
        reverted = {n: p for n, p in blocks.items() if int(n.split(".")[2]) in half}

        def hybrid(reverted: dict[str, Tensor] = reverted, **given: Tensor) -> Any:
            return torch.func.functional_call(model, reverted, kwargs=given)

        losses.append(kl_loss(hybrid, base, batch))
    return torch.stack(losses).sum()


def trainable(model: LlamaForCausalLM, blocks: Sequence[int] | None) -> list[str]:
    """Open the parameters of `blocks` (None: all parameters), freeze the rest, name the open."""
    names: list[str] = []
    for name, parameter in model.named_parameters():
        parts = name.split(".")
        inside = parts[1] == "layers" and int(parts[2]) in (blocks or ())
        parameter.requires_grad_(blocks is None or inside)
        if parameter.requires_grad:
            names.append(name)
    return names


def fit(
    model: LlamaForCausalLM,
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


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write an ordinary model folder in float16."""
    folder.mkdir(parents=True, exist_ok=True)
    half = LlamaForCausalLM(model.config)
    half.load_state_dict(model.state_dict())
    half.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def load(folder: Path) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """Read a model folder back as float32, in eval mode: what every gate is measured on."""
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), PreTrainedTokenizerFast.from_pretrained(folder)


@torch.no_grad()
def greedy_words(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str]
) -> list[str]:
    """The greedy next token after each prompt, as text."""
    rows = tokenizer(list(prompts), padding=True, return_tensors="pt")
    logits = model(input_ids=rows["input_ids"], attention_mask=rows["attention_mask"]).logits
    last = rows["attention_mask"].sum(1) - 1
    ids = logits[torch.arange(len(prompts)), last].argmax(-1)
    return [str(tokenizer.convert_ids_to_tokens(int(i))) for i in ids]


def accuracy(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    statements: Sequence[Statement],
) -> float:
    """Share of statements whose answer is the greedy next token."""
    answers = greedy_words(model, tokenizer, [s.prompt for s in statements])
    hits = [a == s.answer for a, s in zip(answers, statements, strict=True)]
    return sum(hits) / len(hits)


def local_rng(seed: int, *parts: str) -> random.Random:
    """A generator of its own for each purpose."""
    return random.Random("/".join((str(seed), *parts)))
