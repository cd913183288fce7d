"""Edge attribution: which component's output matters through which component's input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.arguments import at_least_one
from interp.contrasts import Contrast
from interp.evidence import Evidence
from interp.metrics import Metric, named_metrics
from interp.models.loading import PARITY
from interp.models.model import Model
from interp.sites import Kind, Site
from patching.attribution.gradients import INPUT, Batch, along_path, batches, run_with_gradients
from patching.attribution.nodes import BATCH


@dataclass(frozen=True)
class Edge:
    """A sender's output read at a receiver's input.

    Attributes:
        sender: `resid_pre.0` for the embedding, `z.l.hN` for a head's output, `mlp_out.l`.
        receiver: `q`, `k` or `v` of a head (keys and values of grouped queries count their own
            heads), `mlp_out.l` for the MLP that reads, `resid_post` of the last block for the end.
    """

    sender: Site
    receiver: Site


def attribute_edges(
    model: Model,
    contrast: Contrast,
    metric: Metric | Callable[..., Any] | Mapping[str, Any] | Sequence[Any],
    *,
    steps: int = 1,
    top: int = 1000,
    batch_size: int = BATCH,
) -> Evidence:
    """Estimated effect of every edge: (sender's clean - corrupted output) · ∂m/∂(receiver's input).

    Summed over positions, for every pair. With one step the gradient is the corrupted run's (edge
    attribution patching, 2310.10348); with more it is averaged over that many inputs between the
    corrupted and the clean embedding (EAP-IG, 2403.17806). A head's input through Q, K or V is the
    residual stream before the norm; the norm's derivative is included. The edges of one sender add
    up to its node's attribution.

    Args:
        model: the model that runs.
        contrast: aligned pairs.
        metric: one or several, each with a gradient.
        steps: inputs that the gradient is averaged over.
        top: edges that are kept of each metric, by mean |value| over pairs.
        batch_size: rows differentiated together; changes memory, never numbers.

    Returns:
        Evidence of method "attribute_edges": condition "edge", an estimated change of the metric in
        its unit. Columns that vary: sender (`resid_pre.0`, `z.l.hN` or `mlp_out.l`), and of the
        receiver kind ("q", "k", "v", "mlp_out", "resid_post"), layer and head; example.

    Raises:
        ValueError: for a model whose residual stream is not the plain sum of what its heads and MLPs
            write (a norm after attention, a scaled residual), fewer than one step, or a metric
            without a gradient.

    Note:
        A linear estimate of a single edge; verify what matters with `path_patch`.

    Example:
        >>> import interp, patching
        >>> model = interp.load_model("organism-base")
        >>> pairs = interp.Contrast.from_text(
        ...     model, "The home of Farid Jansen is", "The home of Pavel Grimm is", "Norvik", "Quarno"
        ... )
        >>> edges = patching.attribute_edges(model, pairs, interp.logit_difference(pairs), top=10)
        >>> len(edges), int(edges.table["sender"].isna().sum())
        (10, 0)
    """
    top = at_least_one("top", top)
    return Evidence.concat(
        _top_edges(model, contrast, name, chosen, steps, top, batch_size)
        for name, chosen in named_metrics(metric, contrast.clean).items()
    )


def _top_edges(
    model: Model,
    contrast: Contrast,
    name: str,
    metric: Metric,
    steps: int,
    top: int,
    batch_size: int,
) -> Evidence:
    """The edges with the largest mean |value| under one metric."""
    edges, values = edge_attributions(model, contrast, metric, steps=steps, batch_size=batch_size)
    best = values.abs().mean(1).topk(min(top, len(edges))).indices.tolist()
    n = len(contrast)
    receivers = [edges[i].receiver for i in best]
    return Evidence.build(
        values[best].double().cpu().numpy().reshape(-1),
        sender=np.repeat(np.array([str(edges[i].sender) for i in best], dtype=object), n),
        kind=np.repeat(np.array([str(r.kind) for r in receivers], dtype=object), n),
        layer=np.repeat([r.layer for r in receivers], n),
        head=np.repeat(np.array([r.head for r in receivers], dtype=object), n),
        example=np.tile(np.arange(n), len(best)),
        group=np.tile(np.array(contrast.corrupted.groups, dtype=object), len(best)),
        template=np.tile(np.array(contrast.corrupted.templates, dtype=object), len(best)),
        condition="edge",
        metric=name,
        unit=metric.unit,
        model=model.role,
        method="attribute_edges",
        provenance={"steps": steps, "edges": len(edges), "kept": len(best)},
    )


def edge_attributions(
    model: Model, contrast: Contrast, metric: Metric, *, steps: int = 1, batch_size: int = BATCH
) -> tuple[list[Edge], Float[Tensor, "edge example"]]:
    """Every edge and its estimate per pair; see `attribute_edges`."""
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}; 1 is the corrupted run's gradient")
    edges: list[Edge] = []
    values: Tensor | None = None
    for batch in batches(contrast, max(1, batch_size // steps), "edges"):
        senders = _senders(model, batch, metric)
        effects: list[Tensor] = []
        edges = []
        for receiver, slope, earlier in _receivers(model, batch, metric, steps):
            names = [site for site in senders if earlier(site)]
            stacked = torch.stack([senders[site] for site in names])
            effects.append(torch.einsum("erpd,rpd->er", stacked, slope.to(stacked)))
            edges += [Edge(site, receiver) for site in names]
        scores = torch.cat(effects)
        if values is None:
            values = scores.new_empty(len(edges), len(contrast))
        values[:, batch.rows] = scores
    assert values is not None
    return edges, values


def _senders(model: Model, batch: Batch, metric: Metric) -> dict[Site, Float[Tensor, "row position d"]]:
    """Clean - corrupted of what each component writes into the residual stream.

    Raises:
        ValueError: if these do not add up to the change of the last residual.
    """
    layers, last = range(model.n_layers), Site(Kind.RESID_POST, model.n_layers - 1)
    sites = [INPUT, *(Site(kind, layer) for layer in layers for kind in (Kind.Z, Kind.MLP_OUT)), last]
    clean, corrupted = (
        run_with_gradients(model, ids, sites, metric, batch.rows, batch.columns, gradients=False).values
        for ids in (batch.clean, batch.corrupted)
    )
    wide = model.metric_dtype
    change = {site: clean[site].to(wide) - corrupted[site].to(wide) for site in sites}
    expected = change.pop(last)
    senders: dict[Site, Tensor] = {}
    for site, value in change.items():
        if site.kind is not Kind.Z:
            senders[site] = value
            continue
        rows = _by_head(model.bridge.blocks[site.layer].attn.o, value.shape[2], reads=True)
        for head, weight in enumerate(rows.to(value)):
            senders[Site(Kind.Z, site.layer, head)] = value[:, :, head] @ weight
    gap = float((torch.stack(list(senders.values())).sum(0) - expected).abs().max())
    scale = max(float(part.abs().max()) for part in [*senders.values(), expected])
    if gap > PARITY.get(model.dtype, 0.05) * max(1.0, scale):
        raise ValueError(
            f"the heads and MLPs of {model.name} do not add up to its residual stream (off by "
            f"{gap:.2g}, as with a norm after attention); edges need a plain sum; attribute nodes"
        )
    return senders


def _receivers(
    model: Model, batch: Batch, metric: Metric, steps: int
) -> Iterator[tuple[Site, Float[Tensor, "row position d"], Callable[[Site], bool]]]:
    """(receiver, ∂m/∂its input to the norm, which senders come before it)."""
    layers, last = range(model.n_layers), Site(Kind.RESID_POST, model.n_layers - 1)
    kinds = (Kind.RESID_PRE, Kind.ATTN_OUT, Kind.Q, Kind.K, Kind.V)
    sites = [*(Site(kind, layer) for layer in layers for kind in kinds), last]
    # Under the MLP's own name: what enters it, after its norm.
    entries = {Site(Kind.MLP_OUT, layer): model.bridge.blocks[layer].mlp for layer in layers}
    if steps == 1:
        where = (batch.rows, batch.columns)
        done = run_with_gradients(model, batch.corrupted, sites, metric, *where, modules=entries)
    else:
        done = along_path(model, batch, sites, metric, steps, modules=entries)
    parallel = bool(getattr(model.bridge.cfg, "parallel_attn_mlp", False))

    def mean(slope: Tensor) -> Tensor:
        return slope.unflatten(-3, (-1, steps)).mean(-3)

    for layer, block in enumerate(model.bridge.blocks):
        before = done.values[Site(Kind.RESID_PRE, layer)]
        for kind in (Kind.Q, Kind.K, Kind.V):
            slope = done.gradients[Site(kind, layer)]
            rows = _by_head(getattr(block.attn, str(kind)), slope.shape[2], reads=False)
            inner = torch.einsum("rphw,hwd->hrpd", slope, rows.to(slope))
            outer = mean(_through(block.ln1, before, inner))
            for head, part in enumerate(outer):
                yield Site(kind, layer, head), part, partial(_before, layer, set())
        entry = Site(Kind.MLP_OUT, layer)
        if entry not in done.gradients:
            raise ValueError(
                f"the MLP of {model.name} is not one module, so nothing enters it as such; "
                "edges need one; attribute nodes"
            )
        reads = before if parallel else before + done.values[Site(Kind.ATTN_OUT, layer)]
        norm = block.ln2 if hasattr(block, "ln2") else block.ln1
        slope = mean(_through(norm, reads, done.gradients[entry][None])[0])
        heads = () if parallel else range(model.bridge.cfg.n_heads)
        beside = {Site(Kind.Z, layer, head) for head in heads}
        yield entry, slope, partial(_before, layer, beside)
    yield last, mean(done.gradients[last]), lambda s: True


def _before(layer: int, beside: set[Site], sender: Site) -> bool:
    """Whether a sender comes before a receiver of this layer; `beside` are its own block's."""
    return sender == INPUT or sender.layer < layer or sender in beside


def _through(
    norm: Any, value: Float[Tensor, "row position d"], slope: Float[Tensor, "path row position d"]
) -> Float[Tensor, "path row position d"]:
    """Pull gradients at a norm's output back to its input, each path on its own."""
    module = norm.original_component
    device = next((p.device for p in module.parameters()), value.device)
    with torch.enable_grad():
        wide = value.expand_as(slope).detach().to(device, copy=True).requires_grad_()
        output = module(wide)
    return torch.autograd.grad(output, wide, slope.to(output))[0].to(value.device)


def _by_head(linear: Any, heads: int, *, reads: bool) -> Float[Tensor, "head width d"]:
    """A projection's weight by head; `reads` for the output projection, whose inputs are heads."""
    module = linear.original_component
    # Linear holds [out, in], GPT-2's Conv1D [in, out].
    weight = module.weight if isinstance(module, nn.Linear) else module.weight.T
    return (weight.T if reads else weight).unflatten(0, (heads, -1))
