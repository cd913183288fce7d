"""Gradients of a metric at sites, per pair: what every attribution is made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.contrasts import Contrast
from interp.examples import Examples
from interp.metrics import Metric
from interp.models.model import Model
from interp.progress import tracked
from interp.sites import Kind, Site

#: What enters block 0: the path of integrated gradients is a straight line here.
INPUT = Site(Kind.RESID_PRE, 0)


@dataclass(frozen=True, eq=False)
class Batch:
    """Pairs of one length: which, their real columns, and both prompts' ids without padding."""

    rows: Int[Tensor, " row"]
    columns: Int[Tensor, "row position"]
    clean: Int[Tensor, "row position"]
    corrupted: Int[Tensor, "row position"]


def batches(contrast: Contrast, batch_size: int, what: str) -> Iterator[Batch]:
    """The pairs, in batches that need no padding."""
    lengths = contrast.clean.by_length()
    parts = [part for same in lengths for part in same.split(max(1, batch_size))]
    for rows in tracked(parts, what):
        ids = []
        for examples in (contrast.clean, contrast.corrupted):
            columns = _columns(examples, rows)
            ids.append(examples.tokens[rows].gather(1, columns))
        yield Batch(rows, _columns(contrast.corrupted, rows), *ids)


@dataclass(frozen=True, eq=False)
class Ran:
    """One run's activations and ∂m/∂activation per site, and the metric of each row."""

    values: dict[Site, Tensor]
    gradients: dict[Site, Tensor]
    metric: Float[Tensor, " row"]


def run(
    model: Model,
    tokens: Int[Tensor, "row position"],
    sites: Sequence[Site],
    metric: Metric,
    rows: Int[Tensor, " row"],
    columns: Int[Tensor, "row position"],
    *,
    modules: Mapping[Site, nn.Module] | None = None,
    inputs: Float[Tensor, "row position d"] | None = None,
    gradients: bool = True,
) -> Ran:
    """Run prompts and differentiate each row's metric with respect to whole sites (no head).

    A zero that requires a gradient is added at each site, so the derivative is that of an edit made
    there, whatever the wrapper does around its hooks. Parameters stay frozen.

    Args:
        model: the model that runs.
        tokens: ids without padding.
        sites: places to differentiate at, without a head.
        metric: read at its own positions, as everywhere.
        rows: the example of each row.
        columns: each row's columns in the examples.
        modules: further places, the inputs of modules, under names of the caller's choice.
        inputs: written in before block 0 instead of the embedding.
        gradients: False for the values alone.

    Raises:
        ValueError: for a metric without a gradient.
    """
    values: dict[Site, Tensor] = {}
    leaves: dict[Site, Tensor] = {}
    final: list[Tensor] = []

    def mark(site: Site, value: Tensor) -> Tensor:
        values[site] = value.detach().clone()
        if not gradients:
            return value
        leaves[site] = torch.zeros_like(value).requires_grad_()
        return value + leaves[site]

    def at(site: Site):
        return lambda value, hook: mark(site, value)

    def entering(site: Site):
        def before(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
            # Blocks pass the hidden state first or by name.
            if args:
                return (mark(site, args[0]), *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": mark(site, kwargs["hidden_states"])}

        return before

    def keep(value: Tensor, hook: object) -> None:
        final.append(value)

    def start(value: Tensor, hook: object) -> Tensor:
        return value if inputs is None else inputs.to(value)

    hooks: list[tuple[str, Any]] = [(INPUT.hook_name, start)] if inputs is not None else []
    hooks += [(site.hook_name, at(site)) for site in dict.fromkeys(sites)]
    hooks.append((Site(Kind.RESID_POST, model.n_layers - 1).hook_name, keep))
    handles = [
        module.register_forward_pre_hook(entering(site), with_kwargs=True)
        for site, module in (modules or {}).items()
    ]
    try:
        with torch.set_grad_enabled(gradients), model.bridge.hooks(fwd_hooks=hooks):
            model.bridge(tokens, use_cache=False, logits_to_keep=1)
            read = metric.positions[rows] - columns[:, 0]
            states = final[0][torch.arange(len(rows), device=read.device), read]
            measured = metric(model.readout(states, metric.tokens), rows)
    finally:
        for handle in handles:
            handle.remove()
    found: dict[Site, Tensor] = {}
    if gradients:
        if not measured.requires_grad:
            raise ValueError(
                f"attribution needs a metric with a gradient; got one in {metric.unit} that has none; "
                "use a difference of logits or log-probabilities"
            )
        parts = torch.autograd.grad(measured.sum(), list(leaves.values()), allow_unused=True)
        for (site, leaf), part in zip(leaves.items(), parts, strict=True):
            found[site] = torch.zeros_like(leaf) if part is None else part
    return Ran(values, found, measured.detach())


def along_path(
    model: Model,
    batch: Batch,
    sites: Sequence[Site],
    metric: Metric,
    steps: int,
    *,
    modules: Mapping[Site, nn.Module] | None = None,
) -> Ran:
    """Runs of `steps` inputs between the corrupted and the clean embedding, a pair's in a row.

    Inputs are x + α (x' - x) before block 0 at the midpoints α = (i + ½) / steps, in one batch; the
    midpoint rule's error falls with steps⁻² where the end-point rule's falls with steps⁻¹.
    """
    ends = [
        run(model, ids, [INPUT], metric, batch.rows, batch.columns, gradients=False).values[INPUT]
        for ids in (batch.corrupted, batch.clean)
    ]
    alpha = (torch.arange(steps, device=ends[0].device, dtype=ends[0].dtype) + 0.5) / steps
    start, stop = (end.repeat_interleave(steps, 0) for end in ends)
    weight = alpha.repeat(len(batch.rows))[:, None, None]
    return run(
        model,
        batch.corrupted.repeat_interleave(steps, 0),
        sites,
        metric,
        batch.rows.repeat_interleave(steps),
        batch.columns.repeat_interleave(steps, 0),
        modules=modules,
        inputs=start + weight * (stop - start),
    )


def _columns(examples: Examples, rows: Int[Tensor, " row"]) -> Int[Tensor, "row position"]:
    start = examples.mask[rows].int().argmax(1)
    width = int(examples.lengths[rows[0]])
    return start[:, None] + torch.arange(width, device=start.device)
