"""What a job would cost on models of a given size and a given card, from declared tables.

Nothing is loaded. The same entries are scheduled that the job would run, on made-up prompts of one
length, all of them known and all changed: the most that so many prompts can cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import Any, Literal

import torch

from interp.contrasts import Contrast
from interp.display.html import Shown
from interp.examples import Examples
from interp.models.alike import Alike
from interp.sites import boundaries
from interp.verdict.thresholds import Thresholds
from patching.engine.reuse import Reuse
from patching.engine.schedule import MAX_BYTES
from patching.methods.pushes import FOLDS
from studies.comparison.causal import CARRIED, CROSS_PATCHED, HANDOVER_PAIRS, RowPlan
from studies.comparison.prompts.rendering import TOKENS as GENERATED
from studies.comparison.representational import CLAIM_PAIRS
from studies.planning import work
from studies.planning.costs import Rates
from studies.planning.hardware import (
    BANDWIDTH_SHARE,
    BYTES,
    CARDS,
    LAUNCH,
    SHARE,
    USABLE,
    Shape,
    nearest,
    parameters_of,
)
from studies.planning.open.sizing import open_costs, talk_on
from studies.planning.plans import in_bytes, in_time

#: Tokens of a prompt, and those of its subject, about as in the facts that come with the package.
TOKENS, SUBJECT = 12, (4, 7)

#: Attributes whose use is tested, as the capitals have.
ATTRIBUTES = 2

#: Wordings in which every fact is asked.
WORDINGS = 2


@dataclass(frozen=True, repr=False)
class SizePlan(Shown):
    """What a comparison or a scan would cost on models of a size.

    Attributes:
        parameters: of one model.
        shape: of which real model the depth and the widths are, and whose config.json tells them.
        layers: number of blocks.
        d_model: width of the residual stream.
        card: the accelerator.
        dtype: of the weights.
        prompts: how many facts, each a prompt, or how many prompts.
        weights_bytes: of both models.
        activation_bytes: at most beside them.
        stages: stage -> layer-tokens.
        layer_tokens: in all.
        forwards: whole forward passes that a loop over edits would take.
        gpu_hours: of all cards together.
        gpus: cards that hold both models and the activations: the least for one shard.
        shards: how many shards of so many cards are done within an hour.
        assumed: what every number rests on, a sentence each.
    """

    parameters: float
    shape: str
    layers: int
    d_model: int
    card: str
    dtype: str
    prompts: int
    weights_bytes: int
    activation_bytes: int
    stages: dict[str, int]
    layer_tokens: int
    forwards: int
    gpu_hours: float
    gpus: int
    shards: int
    assumed: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything as data, for JSON."""
        return asdict(self)

    def __repr__(self) -> str:
        """The size, the card and the hours, on one line."""
        return (
            f"SizePlan({_billions(self.parameters)} on {self.card}: {self.gpus} "
            f"card{'s' * (self.gpus > 1)} a shard, {self.gpu_hours:,.2f} GPU-hours)"
        )

    def __str__(self) -> str:
        """A few lines for a person, with what they rest on."""
        seconds, apiece = self.gpu_hours * 3600, f"{self.gpus} × {self.card}"
        shards = f"{self.shards} shards end" if self.shards > 1 else "1 shard ends"
        return "\n".join(
            [
                f"{_billions(self.parameters)} parameters, {self.layers} blocks of width "
                f"{self.d_model:,} (the shape of {self.shape}), {self.dtype}",
                f"both models {in_bytes(self.weights_bytes)}, activations at most "
                f"{in_bytes(self.activation_bytes)}: at least {apiece} for a shard",
                f"{self.prompts:,} prompts: {self.layer_tokens:,} layer-tokens (a loop: "
                f"{self.forwards:,} forwards), about {self.gpu_hours:,.2f} GPU-hours, "
                f"{in_time(seconds / self.gpus)} in one shard; {shards} within an hour",
                *(f"assumed: {sentence}" for sentence in self.assumed),
            ]
        )

    def _rows_shown(self) -> tuple[Sequence[str], Iterable[Sequence[Any]], int]:
        return ("stage", "layer-tokens"), self.stages.items(), len(self.stages)


def plan_size(
    size: str,
    card: str,
    prompts: int,
    *,
    what: Literal["compare", "scan"] = "compare",
    tokens: int | None = None,
    dtype: str = "bfloat16",
    budget: int = MAX_BYTES,
    thresholds: Thresholds | None = None,
) -> SizePlan:
    """What a comparison or a scan would cost on a pair of models of this size, which need not exist.

    Args:
        size: parameters of one model, such as "7b", "1.7b" or "135m".
        card: a name in the declared table, such as "h100" or "a100".
        prompts: how many facts, each a prompt, or how many prompts.
        what: "compare" or "scan".
        tokens: how many are generated behind every prompt of a scan, by default 32. A comparison for
            which it is given is one of prompts of any kind, and of facts without it.
        dtype: of the weights: float32, bfloat16 or float16.
        budget: bytes of memory for activations beside the models.
        thresholds: declared cut-offs, which decide how much must be measured.

    Returns:
        A `SizePlan`; printed, it is a few lines with the assumptions beside the numbers.

    Raises:
        ValueError: for a size, a card or a dtype that is not declared, or fewer than 5 prompts.

    Example:
        >>> import studies
        >>> cost = studies.plan_size("7b", "h100", 100)
        >>> cost.layers, cost.d_model, cost.gpus, round(cost.weights_bytes / 1e9)
        (32, 4096, 1, 28)
        >>> list(studies.plan_size("7b", "h100", 400, what="scan").stages)
        ['asking', 'samples']
    """
    parameters = parameters_of(size)
    for name, got, known in (("gpu", card, CARDS), ("dtype", dtype, BYTES)):
        if got not in known:
            raise ValueError(f"--{name} must be one of {', '.join(known)}; got {got!r}")
    if prompts < FOLDS:
        raise ValueError(f"--prompts must be at least {FOLDS}, got {prompts}; give more facts")
    shape, chosen, item = nearest(parameters), CARDS[card], BYTES[dtype]
    scale = parameters / shape.parameters
    cost = shape.cost(scale, item)
    reading = 2.0 * shape.vocabulary * shape.d_model / (chosen.flops(dtype) * SHARE)
    rates = Rates(
        cost,
        Reuse(prefix=True, packed=True, last=True),
        chosen.takes(cost, dtype),
        per_sweep=0.0,
        per_cell=0.0,
        per_run=reading,
        state_bytes=item * shape.d_model,
        max_bytes=budget,
    )
    if what == "scan" and tokens is None:
        tokens = GENERATED
    cuts = thresholds or Thresholds()
    if tokens is None:
        costs = {name: rates.of(part) for name, part in _work(prompts, shape, cuts).items()}
    else:
        talk = talk_on(chosen, rates, shape.vocabulary)
        costs = open_costs(what, [TOKENS] * prompts, tokens, shape.heads, rates, talk, cuts)
    weights = round(2 * parameters * item)
    alive = max(cost.peak_bytes for cost in costs.values())
    gpus = ceil((weights + alive) / (chosen.memory * USABLE))
    hours = gpus * sum(cost.seconds for cost in costs.values()) / 3600
    return SizePlan(
        parameters=parameters,
        shape=f"{shape.name}, {shape.source}",
        layers=shape.layers,
        d_model=shape.d_model,
        card=chosen.name,
        dtype=dtype,
        prompts=prompts,
        weights_bytes=weights,
        activation_bytes=alive,
        stages={name: cost.layer_tokens for name, cost in costs.items()},
        layer_tokens=sum(cost.layer_tokens for cost in costs.values()),
        forwards=sum(cost.forwards for cost in costs.values()),
        gpu_hours=hours,
        gpus=gpus,
        shards=max(1, ceil(hours / gpus)),
        assumed=(
            f"{chosen.name} at {SHARE:.0%} of its {chosen.flops(dtype) / 1e12:,.0f} TFLOP/s in "
            f"{dtype}, {BANDWIDTH_SHARE:.0%} of {chosen.bandwidth / 1e12:.2f} TB/s, {USABLE:.0%} of "
            f"{chosen.memory / 1e9:.0f} GB ({chosen.source}), {LAUNCH * 1e3:.0f} ms a call of a block",
            _taken_for_granted(tokens),
        ),
    )


def _taken_for_granted(tokens: int | None) -> str:
    """What is assumed of the prompts."""
    if tokens is None:
        return (
            f"prompts of {TOKENS} tokens, every one known and changed, {ATTRIBUTES} attributes tested; "
            "probes, loading and the report are not in it"
        )
    return (
        f"prompts of {TOKENS} tokens, {tokens} generated behind each, every one changed at the last of "
        "them: the most that so many can cost; spectra of weights, loading and the report are not in it"
    )


def _work(prompts: int, shape: Shape, thresholds: Thresholds) -> dict[str, work.Work]:
    """What the stages run on so many prompts, by name."""
    examples, layers = _prompts(prompts), shape.layers
    all_rows = torch.ones(prompts, dtype=torch.bool)
    shifted = torch.arange(min(prompts, thresholds.shifted_groups))
    rows = RowPlan(
        dict.fromkeys(("output", "fact", "said"), all_rows),
        _pairs(min(prompts, HANDOVER_PAIRS)),
        torch.arange(min(prompts, CROSS_PATCHED)),
        shifted[:CARRIED],
        shifted,
        torch.ones_like(shifted, dtype=torch.bool),
    )
    asking, changed = work.Work(), examples.subset(shifted)
    for _ in range(2 * WORDINGS):
        asking.read(examples, boundaries(layers), kept=False)
    middle, different = layers // 2, Alike.nothing(layers)
    shift = work.ShiftRows(
        changed,
        changed,
        [dict(enumerate(boundaries(layers)))],
        {middle: len(changed)},
        frozenset({middle}),
        null=False,
    )
    claims = [_pairs(min(prompts, CLAIM_PAIRS))] * ATTRIBUTES
    return {
        "asking": asking,
        "stitching": work.stitching(examples, rows, different),
        "patching": work.patching(examples, rows, different, shape.heads),
        "shared shift": work.shared_shift(shift, different, thresholds),
        "probing": work.probing(examples, None, claims, different, thresholds),
    }


def _prompts(count: int) -> Examples:
    """Made-up prompts of one length, of which no two begin alike: the most that so many can cost."""
    names = tuple(map(str, range(count)))
    spans = {"all": (0, TOKENS), "last": (TOKENS - 1, TOKENS), "subject": SUBJECT}
    return Examples(
        2 * torch.arange(count)[:, None].expand(-1, TOKENS),
        torch.ones(count, TOKENS, dtype=torch.bool),
        names,
        names,
        {name: torch.tensor([span] * count) for name, span in spans.items()},
        ("B",) * count,
    )


def _pairs(count: int) -> Contrast:
    """Made-up pairs."""
    prompts, answers = _prompts(count), torch.zeros(count, dtype=torch.long)
    other = replace(prompts, tokens=prompts.tokens + 1)  # from the first token on: the most it can cost
    return Contrast(prompts, other, answers, answers + 1)


def _billions(parameters: float) -> str:
    """A number of parameters in words."""
    return f"{parameters / 1e9:g}B" if parameters >= 1e9 else f"{parameters / 1e6:g}M"
