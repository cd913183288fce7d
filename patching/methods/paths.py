"""Path patching: the effect of one component on the output through chosen others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from interp.activations import collect
from interp.arguments import sites_of
from interp.contrasts import Contrast
from interp.evidence import Evidence
from interp.examples import Examples
from interp.metrics import Metric, as_metric
from interp.models.model import Model
from interp.sites import Kind, Site, every_layer
from patching.engine import rows as tables
from patching.engine.schedule import MAX_BYTES
from patching.engine.sweeping import record, sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Replace
from patching.places import named

#: Kinds that write to the residual stream, and kinds that read from it.
SENDERS = (Kind.EMBED, Kind.RESID_PRE, Kind.Z, Kind.ATTN_OUT, Kind.MLP_OUT)

RECEIVERS = (Kind.Q, Kind.K, Kind.V, Kind.MLP_OUT, Kind.RESID_POST)


def path_patch(
    model: Model,
    contrast: Contrast,
    senders: Site | Sequence[Site],
    receivers: Site | Sequence[Site],
    metric: Metric | Callable[..., Any],
    *,
    span: str = "all",
    free: str = "none",
    jointly: bool = True,
    direction: str = "noise",
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """How each sender acts on the output through the receivers, and no other way (2211.00593).

    First the sender's activation is written from the other run while everything between it and the
    receivers is held: attention and MLP outputs keep the unedited run's values, so that the change
    reaches a receiver through the residual stream alone. What the receiver then computes (its
    queries, keys or values, or its MLP's output) is written into an otherwise unedited run, and the
    metric read. Receiving at the residual after the last block is the direct path to the logits.
    Exact on any architecture, grouped-query attention and normalised outputs included: nothing is
    split into linear parts.

    Rows: sender × pair in kind, layer, head; `span` names the receivers; condition "patched"; the
    baselines "clean" and "corrupted".

    Args:
        model: the model that runs.
        contrast: aligned pairs; "noise" writes the corrupted activation into the clean run.
        senders: components that write to the residual stream, each patched alone.
        receivers: Q, K or V of heads (a key-value head where they are grouped), MLP_OUT for an MLP's
            input, or RESID_POST of the last block for the logits.
        metric: read on every run.
        span: positions at which the sender is patched and the receivers are written.
        free: what between them may respond: "none"; "mlps" lets MLPs recompute, attention held (the
            source's choice); "all" holds nothing, so that all paths into the receiver count.
        jointly: all receivers at once; False measures each sender → receiver edge by itself.
        direction: which run is patched.
        max_bytes: memory for activations beside the model; changes no number.

    Raises:
        ValueError: for kinds that cannot send or receive, a receiver below every sender, or words
            that are not offered.
    """
    senders, receivers = sites_of(senders), sites_of(receivers)
    _check(model, senders, receivers, free, direction)
    metric = as_metric(metric, contrast.clean)
    runs, other = contrast.clean, contrast.corrupted
    if direction == "denoise":
        runs, other = other, runs
    source = collect(model, other, senders, positions="all")
    held = _held(model, runs, free)
    where, everywhere = runs.span_mask(span), runs.span_mask("all")
    last = Site(Kind.RESID_POST, model.n_layers - 1)
    top = max(site.layer for site in receivers)
    groups = [tuple(receivers)] if jointly else [(r,) for r in receivers]
    firsts = []
    for sender in senders:
        patch = Edit(sender, where, Replace(source[sender].values))
        freeze = [
            Edit(site, everywhere, Replace(values))
            for site, values in held.items()
            if _between(sender, site, top)
        ]
        firsts.append(Cell((patch, *freeze)))
    metrics = {"pair": metric}
    seen = record(model, runs, firsts, list(receivers), max_bytes=max_bytes, progress="senders")
    cells, columns = [], []
    for at, sender in enumerate(senders):
        for group in groups:
            edits = [Edit(r, where if r != last else everywhere, Replace(seen[r][at])) for r in group]
            cells.append(Cell(tuple(edits)))
            columns.append(
                {**named((sender,)), "condition": "patched", "span": "+".join(map(str, group))}
            )
    swept = sweep(model, runs, cells, metrics, max_bytes=max_bytes, progress="receivers")
    ends = ("clean", "corrupted") if direction == "noise" else ("corrupted", "clean")
    same = {"model": model.role, "method": "path_patch"}
    patched = tables.evidence(swept, runs, metrics, columns, baseline={"condition": ends[0]}, **same)
    unedited = sweep(model, other, [], metrics)
    others = tables.evidence(unedited, other, metrics, [], baseline={"condition": ends[1]}, **same)
    return Evidence.concat([patched, others])


def _held(model: Model, runs: Examples, free: str) -> dict[Site, Tensor]:
    """The unedited run's outputs that stay as they are."""
    kinds = {"none": (Kind.ATTN_OUT, Kind.MLP_OUT), "mlps": (Kind.ATTN_OUT,), "all": ()}[free]
    sites = [site for kind in kinds for site in every_layer(kind, model.n_layers)]
    if not sites:
        return {}
    return {site: a.values for site, a in collect(model, runs, sites, positions="all").items()}


def _between(sender: Site, site: Site, top: int) -> bool:
    """Whether an output lies after the sender, and not above the last receiver.

    A receiving MLP is held too: what it would have written is read before it is held.
    """
    mlp = site.kind is Kind.MLP_OUT
    if site.layer > top:
        return False
    if sender.kind in (Kind.Z, Kind.ATTN_OUT):
        # In the sender's own block only the MLP comes after it.
        return site.layer > sender.layer or (site.layer == sender.layer and mlp)
    if sender.kind is Kind.MLP_OUT:
        return site.layer > sender.layer
    return site.layer >= sender.layer


def _check(
    model: Model, senders: Sequence[Site], receivers: Sequence[Site], free: str, direction: str
) -> None:
    if free not in ("none", "mlps", "all"):
        raise ValueError(f"free must be 'none', 'mlps' or 'all', got {free!r}")
    if direction not in ("denoise", "noise"):
        raise ValueError(f"direction must be 'denoise' or 'noise', got {direction!r}")
    if not senders or not receivers:
        raise ValueError("path patching needs at least one sender and one receiver, got none")
    for name, sites, kinds in (("sender", senders, SENDERS), ("receiver", receivers, RECEIVERS)):
        for site in sites:
            if site.kind not in kinds:
                allowed = ", ".join(map(str, kinds))
                raise ValueError(f"a {name} must be one of {allowed}; got {site}")
    for site in receivers:
        if site.kind is Kind.RESID_POST and site.layer != model.n_layers - 1:
            raise ValueError(
                f"the residual receives after the last block, resid_post.{model.n_layers - 1}; "
                f"got {site}"
            )
        for sender in senders:
            if not _reaches(sender, site):
                raise ValueError(f"{sender} comes after {site}; give senders below every receiver")


def _reaches(sender: Site, receiver: Site) -> bool:
    if receiver.kind is Kind.RESID_POST:
        return True
    if sender.kind in (Kind.EMBED, Kind.RESID_PRE):
        return sender.layer <= receiver.layer
    if sender.kind in (Kind.Z, Kind.ATTN_OUT) and receiver.kind is Kind.MLP_OUT:
        return sender.layer <= receiver.layer
    return sender.layer < receiver.layer
