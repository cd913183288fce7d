"""Effects of queries and keys with the softmax computed anew (AtP*, 2403.00745)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from interp.models.model import Model
from interp.sites import Kind, Site
from patching.attribution.gradients import Batch, GradientRun


def corrected_effects(
    model: Model, batch: Batch, sites: Sequence[Site], clean: dict[Site, Tensor], corrupted: GradientRun
) -> dict[Site, Tensor]:
    """Q and K effects with the softmax computed anew, [row, position, head].

    One corrupted run carries the clean queries (another the clean keys) of every layer at once:
    scores are recorded and the pattern is put back to the corrupted one, so each layer still reads
    corrupted inputs. A query's patch changes its own row of scores. A key's changes one column j of
    them: with Z = 1 - p_j + p_j exp(change), p_j becomes p_j exp(change) / Z and the others p / Z.
    """
    before_patch = _scores(model, batch, sites, corrupted.values, {})
    effects = {}
    for kind in dict.fromkeys(site.kind for site in sites):
        chosen = [site for site in sites if site.kind is kind]
        patched = _scores(model, batch, chosen, corrupted.values, clean)
        for site in chosen:
            pattern = Site(Kind.PATTERN, site.layer)
            before, slope = corrupted.values[pattern], corrupted.gradients[pattern]
            wide = model.metric_dtype
            before, slope = before.to(wide), slope.to(wide)
            scores, new = (part[site.layer].to(wide) for part in (before_patch, patched))
            change = _query_change if kind is Kind.Q else _key_change
            effect = change(before, slope, scores, new)
            heads = clean[site].shape[2]
            effects[site] = effect.transpose(1, 2).unflatten(2, (heads, -1)).sum(-1)
    return effects


def _normaliser(before: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Log Z of each row of scores, and the part of it that attention sinks take (or -inf)."""
    kept = before.sum(-1, keepdim=True).clamp(max=1.0)
    total = scores.logsumexp(-1, keepdim=True)
    # Rounding leaves sums a little below one; only real sinks take more.
    taken = torch.where(kept < 0.999, torch.log((1 - kept) / kept), -torch.inf)
    return torch.logaddexp(total, total + taken), total + taken


def _query_change(before: Tensor, slope: Tensor, scores: Tensor, new: Tensor) -> Tensor:
    """Σ_j (p'_ij - p_ij) ∂m/∂p_ij with the scores of row i replaced: [row, head, query]."""
    _, sink = _normaliser(before, scores)
    after = torch.exp(new - torch.logaddexp(new.logsumexp(-1, keepdim=True), sink))
    return ((after - before) * slope).sum(-1)


def _key_change(before: Tensor, slope: Tensor, scores: Tensor, new: Tensor) -> Tensor:
    """Σ_i,l (p'_il - p_il) ∂m/∂p_il with the scores of column j replaced: [row, head, key]."""
    total, _ = _normaliser(before, scores)
    raised = torch.exp(new - total)
    ratio = (raised - torch.expm1(scores - total)).clamp(min=torch.finfo(before.dtype).tiny)
    weighted = slope * before
    others = (weighted.sum(-1, keepdim=True) - weighted) * (1 / ratio - 1)
    return (slope * (raised / ratio - before) + others).sum(-2)


def _scores(
    model: Model,
    batch: Batch,
    sites: Sequence[Site],
    corrupted: dict[Site, Tensor],
    source: dict[Site, Tensor],
) -> dict[int, Tensor]:
    """Attention scores by layer of the corrupted run, with clean values at the sites given."""
    scores: dict[int, Tensor] = {}
    handles, hooks = [], []

    def write(site: Site, values: dict[Site, Tensor]):
        return site.hook_name, lambda value, hook: values[site].to(value)

    def record(layer: int):
        def hook(module: object, args: object, output: Tensor) -> None:
            scores[layer] = output.detach().to(model.device, copy=True)

        return hook

    for site in sites:
        point = model.bridge.blocks[site.layer].attn.hook_attn_scores
        handles.append(point.register_forward_hook(record(site.layer)))
        if site in source:
            hooks.append(write(site, source))
            hooks.append(write(Site(Kind.PATTERN, site.layer), corrupted))
    try:
        with model.bridge.hooks(fwd_hooks=hooks):
            model.bridge(batch.corrupted, use_cache=False, logits_to_keep=1)
    finally:
        for handle in handles:
            handle.remove()
    return scores
