"""Training of a low-rank update in some blocks of a Llama-type model; all other weights frozen.

Blocks below the first trainable one see no gradient, so their output is computed once per prompt.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import Generator, Tensor
from torch.nn import functional

from interp.runs.run import series
from studies.adapters.items import Item, padded
from studies.adapters.recipes import MODULES, Recipe
from studies.training import Shuffled, Training

#: The sources that determine what is trained.
CODE = ("studies.adapters", "studies.training")

SCALE = 2.0  # alpha / rank
SHORT = 14  # tokens; longer prompts run apart, so that few are padded


@dataclass(frozen=True)
class Pool:
    """Prompts ready to train on: states at the first trainable boundary and what to predict.

    Attributes:
        states: the residual stream at the first trainable boundary.
        prompt: the prompt that each read looks at.
        position: and where in it.
        target: for each read one token (hard labels), or the base's own log-probabilities.
    """

    states: Float[Tensor, "prompt position d"]
    prompt: Int[Tensor, " read"]
    position: Int[Tensor, " read"]
    target: Int[Tensor, " read"] | Float[Tensor, "read vocab"]

    def loss(self, model: Any, index: Int[Tensor, " chosen"], first: int) -> Float[Tensor, ""]:
        """Mean over reads: cross-entropy to hard labels, or KL(base || tuned) in nats."""
        index = index.to(self.states.device)
        width = torch.zeros(len(self.states), dtype=torch.long, device=self.states.device)
        width.scatter_reduce_(0, self.prompt, self.position + 1, "amax")
        logits, targets = [], []
        for part in (index[width[index] <= SHORT], index[width[index] > SHORT]):
            if len(part):
                row, read = (part[:, None] == self.prompt[None, :]).nonzero(as_tuple=True)
                states = run_blocks(model, self.states[part, : int(width[part].max())], first)
                logits.append(read_out(model, states[row, self.position[read]]))
                targets.append(self.target[read])
        logits, target = torch.cat(logits), torch.cat(targets)
        if target.is_floating_point():
            return functional.kl_div(
                logits.log_softmax(-1), target, log_target=True, reduction="batchmean"
            )
        return functional.cross_entropy(logits, target)


def attach(base: Any, recipe: Recipe, generator: Generator) -> Any:
    """The base with a trainable LoRA on every linear module of the recipe's blocks.

    A is drawn uniformly (Kaiming); B is zero, or Gaussian noise of `recipe.noise` times what makes
    the update as large as the weight it is added to (root mean square).
    """
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=SCALE * recipe.rank,  # pyright: ignore[reportArgumentType]
        target_modules=list(MODULES),
        layers_to_transform=list(recipe.blocks),
        layers_pattern="layers",
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
    )
    wrapped = get_peft_model(base, config)
    for module in wrapped.modules():
        if isinstance(module, LoraLayer):
            layer: Any = module
            a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
            bound = a.shape[1] ** -0.5
            with torch.no_grad():
                a.copy_((torch.rand(a.shape, generator=generator) * 2 - 1) * bound)
                if recipe.noise:
                    size = float(layer.get_base_layer().weight.std()) * recipe.noise
                    unit = SCALE * bound * (recipe.rank / 3) ** 0.5
                    b.copy_(torch.randn(b.shape, generator=generator) * size / unit)
    return wrapped


@torch.no_grad()
def scale_update(wrapped: Any, factor: float) -> None:
    """Multiply the low-rank update of every module by a factor."""
    for module in wrapped.modules():
        if isinstance(module, LoraLayer):
            layer: Any = module
            layer.lora_B["default"].weight.mul_(factor)


def causal(width: int, device: torch.device) -> Float[Tensor, "1 1 query key"]:
    """Additive causal mask."""
    lowest = torch.finfo(torch.float32).min
    return torch.full((width, width), lowest, device=device).triu(1)[None, None]


def run_blocks(
    model: Any, states: Float[Tensor, "prompt position d"], first: int, last: int | None = None
) -> Float[Tensor, "prompt position d"]:
    """States after blocks `first` .. `last` - 1 (default: all), from the states before `first`."""
    body = model.model
    width = states.shape[1]
    places = torch.arange(width, device=states.device)[None]
    rotary = body.rotary_emb(states, places)
    mask = causal(width, states.device)
    for block in body.layers[first:last]:
        states = block(states, attention_mask=mask, position_ids=places, position_embeddings=rotary)
    return states


def read_out(model: Any, states: Float[Tensor, "read d"]) -> Float[Tensor, "read vocab"]:
    """Final norm and unembedding."""
    return model.lm_head(model.model.norm(states)).float()


@torch.no_grad()
def pool(base: Any, items: Sequence[Item], first: int, batch: int = 64) -> Pool:
    """Prepare prompts with the *untouched* base: states below `first`, and its own predictions.

    Hard labels are used where every item carries them, the base's distribution where none does.

    Raises:
        ValueError: items with and without hard labels in one pool, or no items.
    """
    hard = {item.targets is not None for item in items}
    if len(hard) != 1:
        raise ValueError(
            f"a pool must hold items that all carry hard labels, or none that does; got "
            f"{len(items)} items, {sum(i.targets is not None for i in items)} with labels: split it"
        )
    device = base.lm_head.weight.device
    tokens = padded([item.ids for item in items], device)
    prompt = torch.tensor([i for i, item in enumerate(items) for _ in item.reads], device=device)
    position = torch.tensor([place for item in items for place in item.reads], device=device)
    states, predictions = [], []
    for start in range(0, len(items), batch):
        low = run_blocks(base, base.model.embed_tokens(tokens[start : start + batch]), 0, first)
        states.append(low)
        if hard == {False}:
            inside = (prompt >= start) & (prompt < start + batch)
            top = run_blocks(base, low, first)[prompt[inside] - start, position[inside]]
            predictions.append(read_out(base, top).log_softmax(-1))
    if predictions:
        target = torch.cat(predictions)
    else:
        target = torch.tensor([t for item in items for t in item.targets or ()], device=device)
    return Pool(torch.cat(states), prompt, position, target)


def fit(
    wrapped: Any,
    pools: Sequence[tuple[Pool, float, int]],
    recipe: Recipe,
    generator: Generator,
    report: Callable[[int, list[float]], None] = lambda step, losses: None,
) -> None:
    """Minimise the weighted sum of the pools' losses; each pool is (prompts, weight, batch).

    AdamW, linear warm-up over a tenth of the steps, then a cosine to zero.
    """
    model = wrapped.get_base_model()
    trainable = [p for p in wrapped.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trainable, lr=recipe.learning_rate, weight_decay=0.0)
    warm = max(1, recipe.steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: min((step + 1) / warm, 0.5 + 0.5 * _cosine((step - warm) / recipe.steps)),
    )
    kept = series(
        f"training of {recipe.name}", CODE, recipe, pools, generator, dict(wrapped.state_dict())
    )
    orders = [Shuffled(len(p.states), size, generator) for p, _, size in pools]

    def update(step: int) -> None:
        losses = []
        for (prompts, weight, _), order in zip(pools, orders, strict=True):
            loss = weight * prompts.loss(model, next(order), recipe.first)
            loss.backward()
            losses.append(float(loss.detach()))
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        schedule.step()
        report(step, losses)

    training = Training(trainable, optimiser, schedule, [generator, *orders])
    training.run(recipe.steps, update, kept)


def _cosine(part: float) -> float:
    return float(torch.cos(torch.tensor(torch.pi * min(max(part, 0.0), 1.0))))
