"""Path patching: the effect of one component on the output through chosen others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from interp._aliases import formerly
from interp.activations import collect
from interp.arguments import sites_of
from interp.contrasts import Contrast
from interp.evidence import Evidence
from interp.examples import Examples
from interp.metrics import Metric, named_metrics
from interp.models.model import Model
from interp.sites import Kind, Site, every_layer
from patching.engine import rows as tables
from patching.engine.schedule import MAX_BYTES
from patching.engine.sweeping import record, sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Replace
from patching.places import Sides, named, positions_of

#: Kinds that write to the residual stream.
SENDERS = (Kind.EMBED, Kind.RESID_PRE, Kind.Z, Kind.ATTN_OUT, Kind.MLP_OUT)

#: Kinds that read from it.
RECEIVERS = (Kind.Q, Kind.K, Kind.V, Kind.MLP_OUT, Kind.RESID_POST)


@formerly(span="positions")
def path_patch(
    model: Model,
    contrast: Contrast,
    senders: Site | Sequence[Site],
    receivers: Site | Sequence[Site],
    metric: Metric | Callable[..., Any] | Mapping[str, Any] | Sequence[Any],
    *,
    positions: str | int | Sequence[str | int] = "all",
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

    Args:
        model: the model that runs.
        contrast: aligned pairs; "noise" writes the corrupted activation into the clean run.
        senders: components that write to the residual stream, each patched alone.
        receivers: Q, K or V of heads (a key-value head where they are grouped), MLP_OUT for an MLP's
            input, or RESID_POST of the last block for the logits.
        metric: one or several, read on every run.
        positions: where the sender is patched and the receivers are written: names of spans and
            positions, numbers, or "each"; a list makes a cell of each.
        free: what between them may respond: "none"; "mlps" lets MLPs recompute, attention held (the
            source's choice); "all" holds nothing, so that all paths into the receiver count.
        jointly: all receivers at once; False measures each sender → receiver edge by itself.
        direction: which run is patched.
        max_bytes: memory in bytes for activations beside the model; changes no number.

    Returns:
        Evidence of method "path_patch": condition "patched", and the baselines "clean" and
        "corrupted"; the raw metric in its unit. Columns that vary: kind, layer and head (the
        sender's), receivers (joined by "+"), direction, span or position, example.

    Raises:
        ValueError: for kinds that cannot send or receive, a receiver below every sender, or words
            that are not offered.

    Note:
        What a path carries is measured with everything else held; paths that act only together are
        not seen one by one.

    Example:
        >>> import interp, patching
        >>> model = interp.load_model("organism-base")
        >>> pairs = interp.Contrast.from_text(
        ...     model, "The home of Farid Jansen is", "The home of Pavel Grimm is", "Norvik", "Quarno"
        ... )
        >>> heads, last = interp.every_head(interp.Kind.Z, 2, 4), interp.Site(interp.Kind.RESID_POST, 5)
        >>> direct = patching.path_patch(model, pairs, heads, last, interp.logit_difference(pairs))
        >>> rows = direct.where(condition="patched")
        >>> len(rows), set(rows["receivers"])
        (8, {'resid_post.5'})
    """
    senders, receivers = sites_of(senders), sites_of(receivers)
    _check(model, senders, receivers, free)
    metrics, sides = named_metrics(metric, contrast.clean), Sides.of(contrast, direction)
    sending = _sending(model, sides, senders, receivers, free, positions)
    written = record(
        model,
        sides.patched,
        [cell for _, _, cell in sending],
        receivers,
        max_bytes=max_bytes,
        progress="senders",
    )
    everywhere = sides.patched.span_mask("all")
    groups = [tuple(receivers)] if jointly else [(receiver,) for receiver in receivers]
    cells, columns = [], []
    for i, (about, where, _) in enumerate(sending):
        for group in groups:
            edits = [
                Edit(r, everywhere if r.kind is Kind.RESID_POST else where, Replace(written[r][i]))
                for r in group
            ]
            cells.append(Cell(tuple(edits)))
            columns.append(
                {**about, "direction": sides.direction, "receivers": "+".join(map(str, group))}
            )
    swept = sweep(model, sides.patched, cells, metrics, max_bytes=max_bytes, progress="receivers")
    firsts = [cell for _, _, cell in sending for _ in groups]
    swept = tables.with_present(swept, [Cell(cell.edits[:1]) for cell in firsts], sides.patched)
    same: dict[str, Any] = {"model": model, "method": "path_patch"}
    ends = [{"condition": name} for name in (sides.patched_name, sides.source_name)]
    patched = tables.evidence(swept, sides.patched, metrics, columns, baseline=ends[0], **same)
    unedited = sweep(model, sides.source, [], metrics)
    others = tables.evidence(unedited, sides.source, metrics, [], baseline=ends[1], **same)
    return Evidence.concat([patched, others])


def _sending(
    model: Model,
    sides: Sides,
    senders: Sequence[Site],
    receivers: Sequence[Site],
    free: str,
    positions: str | int | Sequence[str | int],
) -> list[tuple[dict[str, Any], Tensor, Cell]]:
    """For each sender and place its columns, the positions, and the cell that sends.

    A cell writes the sender first, and then holds everything between it and the last receiver.
    """
    source = collect(model, sides.source, senders, positions="all")
    held = _held(model, sides.patched, free)
    everywhere = sides.patched.span_mask("all")
    top = max(site.layer for site in receivers)
    sending = []
    for sender in senders:
        freeze = [
            Edit(site, everywhere, Replace(values))
            for site, values in held.items()
            if _between(sender, site, top)
        ]
        for about, where in positions_of(sides.patched, positions):
            patch = Edit(sender, where, Replace(source[sender].values))
            columns = {**named((sender,)), "condition": "patched", **about}
            sending.append((columns, where, Cell((patch, *freeze))))
    return sending


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


def _check(model: Model, senders: Sequence[Site], receivers: Sequence[Site], free: str) -> None:
    """Refuse what cannot send or receive.

    Raises:
        ValueError: naming the site, and what is offered.
    """
    if free not in ("none", "mlps", "all"):
        raise ValueError(f"free must be 'none', 'mlps' or 'all', got {free!r}")
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
    """Whether a sender's output enters the receiver."""
    if receiver.kind is Kind.RESID_POST:
        return True
    if sender.kind in (Kind.EMBED, Kind.RESID_PRE):
        return sender.layer <= receiver.layer
    if sender.kind in (Kind.Z, Kind.ATTN_OUT) and receiver.kind is Kind.MLP_OUT:
        return sender.layer <= receiver.layer
    return sender.layer < receiver.layer
