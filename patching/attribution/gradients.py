"""Gradients of a metric at sites, per pair: what every attribution is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
    """Pairs of one length, without padding.

    Attributes:
        rows: which pairs.
        columns: their real columns in the examples.
        clean: ids of the clean prompts.
        corrupted: ids of the corrupted prompts.
    """

    rows: Int[Tensor, " row"]
    columns: Int[Tensor, "row position"]
    clean: Int[Tensor, "row position"]
    corrupted: Int[Tensor, "row position"]


def batches(contrast: Contrast, batch_size: int, what: str | None) -> Iterator[Batch]:
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
class GradientRun:
    """One run's activations and ∂m/∂activation per site, and the metric of each row.

    Attributes:
        values: activations by site, [row, position, *d].
        gradients: of the metric by site, in the shape of the activations; empty where none were asked.
        metric: of each row.
    """

    values: dict[Site, Tensor]
    gradients: dict[Site, Tensor]
    metric: Float[Tensor, " row"]


def run_with_gradients(
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
) -> GradientRun:
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
    recorder = _Recorder(gradients, inputs, model.device)
    hooks: list[tuple[str, Any]] = [(INPUT.hook_name, recorder.start)] if inputs is not None else []
    hooks += [(site.hook_name, recorder.at(site)) for site in dict.fromkeys(sites)]
    hooks.append((Site(Kind.RESID_POST, model.n_layers - 1).hook_name, recorder.finish))
    handles = [
        module.register_forward_pre_hook(recorder.entering(site), with_kwargs=True)
        for site, module in (modules or {}).items()
    ]
    try:
        with torch.set_grad_enabled(gradients), model.bridge.hooks(fwd_hooks=hooks):
            model.bridge(tokens, use_cache=False, logits_to_keep=1)
            read = (metric.positions[rows] - columns[:, 0]).to(recorder.final.device)
            states = recorder.final[torch.arange(len(rows), device=read.device), read]
            measured = metric((metric.reader or model).readout(states, metric.tokens), rows)
    finally:
        for handle in handles:
            handle.remove()
    slopes = recorder.differentiate(measured, metric.unit) if gradients else {}
    return GradientRun(recorder.values, slopes, measured.detach())


class _Recorder:
    """Hooks that note activations at home, and add a zero to each that a gradient can be taken at."""

    def __init__(self, gradients: bool, inputs: Tensor | None, home: torch.device) -> None:
        self.gradients, self.inputs, self.home = gradients, inputs, home
        self.values: dict[Site, Tensor] = {}
        self.zeros: dict[Site, Tensor] = {}
        self.final = torch.empty(0)

    def mark(self, site: Site, value: Tensor) -> Tensor:
        """Note a value; the same value, with the zero added where gradients are wanted."""
        self.values[site] = value.detach().to(self.home, copy=True)
        if not self.gradients:
            return value
        self.zeros[site] = torch.zeros_like(value).requires_grad_()
        return value + self.zeros[site]

    def at(self, site: Site) -> Callable[[Tensor, object], Tensor]:
        """A hook for a site."""
        return lambda value, hook: self.mark(site, value)

    def entering(self, site: Site) -> Callable[[nn.Module, tuple, dict], tuple[tuple, dict]]:
        """A hook for what enters a module, under the name of a site."""

        def before(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
            # Blocks pass the hidden state first or by name.
            if args:
                return (self.mark(site, args[0]), *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": self.mark(site, kwargs["hidden_states"])}

        return before

    def start(self, value: Tensor, hook: object) -> Tensor:
        """A hook that writes the given inputs before block 0."""
        return value if self.inputs is None else self.inputs.to(value)

    def finish(self, value: Tensor, hook: object) -> None:
        """A hook that notes the residual after the last block, still in the graph."""
        self.final = value

    def differentiate(self, measured: Float[Tensor, " row"], unit: str) -> dict[Site, Tensor]:
        """The gradient of each row's metric at every marked place.

        Raises:
            ValueError: for a metric without a gradient.
        """
        if not measured.requires_grad:
            raise ValueError(
                f"attribution needs a metric with a gradient; got one in {unit} that has none; "
                "use a difference of logits or log-probabilities"
            )
        zeros = list(self.zeros.values())
        slopes = torch.autograd.grad(measured.sum(), zeros, allow_unused=True)
        return {
            site: (torch.zeros_like(zero) if slope is None else slope).to(self.home)
            for (site, zero), slope in zip(self.zeros.items(), slopes, strict=True)
        }


def along_path(
    model: Model,
    batch: Batch,
    sites: Sequence[Site],
    metric: Metric,
    steps: int,
    *,
    modules: Mapping[Site, nn.Module] | None = None,
) -> GradientRun:
    """Runs of `steps` inputs between the corrupted and the clean embedding, a pair's in a row.

    Inputs are x + α (x' - x) before block 0 at the midpoints α = (i + ½) / steps, in one batch; the
    midpoint rule's error falls with steps⁻² where the end-point rule's falls with steps⁻¹.
    """
    where = (batch.rows, batch.columns)
    start, stop = (
        run_with_gradients(model, ids, [INPUT], metric, *where, gradients=False)
        .values[INPUT]
        .repeat_interleave(steps, 0)
        for ids in (batch.corrupted, batch.clean)
    )
    alpha = (torch.arange(steps, device=start.device, dtype=start.dtype) + 0.5) / steps
    weight = alpha.repeat(len(batch.rows))[:, None, None]
    return run_with_gradients(
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
    """The columns of the rows' real tokens."""
    start = examples.mask[rows].int().argmax(1)
    width = int(examples.lengths[rows[0]])
    return start[:, None] + torch.arange(width, device=start.device)
