"""Attribution patching: a first-order estimate of every patch at once, from a few runs.

Estimates are cheap and can be wrong where the model is far from linear between the two prompts;
`patching.screen_then_verify` measures how wrong, on the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.activations import check_sites
from interp.arguments import sites_of
from interp.contrasts import Contrast
from interp.evidence import Evidence
from interp.metrics import Metric, as_metric
from interp.models.model import Model
from interp.sites import Kind, Site
from patching.attribution.gradients import Batch, Ran, along_path, batches, run

Method = Literal["gradient", "integrated", "qk_corrected"]

#: Pairs (times steps) differentiated together.
BATCH = 32


def attribute(
    model: Model,
    contrast: Contrast,
    sites: Site | Sequence[Site],
    metric: Metric | Callable[..., Any],
    *,
    method: Method = "gradient",
    steps: int = 8,
    neurons: int = 32,
    batch_size: int = BATCH,
) -> Evidence:
    """Estimated effect of writing each clean activation into the corrupted run, per position.

    - "gradient" (attribution patching, 2310.10348): (a_clean - a_corrupted) · ∂m/∂a on the corrupted
      run; two forwards and one backward per batch.
    - "integrated" (EAP-IG's nodes, 2403.17806): the gradient averaged over `steps` inputs between
      the corrupted and the clean embedding. At resid_pre of block 0 the positions sum to
      m(clean) - m(corrupted), up to the rule's error.
    - "qk_corrected" (AtP*, 2403.00745): for Q and K sites the softmax is computed anew with the
      patched query or key of one position and only what follows the pattern is linear; other sites
      as "gradient". Up to three more forwards per batch.

    Rows: site × unit × position × pair with condition "attribution" and the estimated *change* of
    the metric in its unit, beside "clean" and "corrupted" (raw metric). A head or, for `mlp_post`,
    a neuron stands in `head`; of each layer the `neurons` with the largest mean |value| are kept.

    Args:
        model: the model that runs.
        contrast: aligned pairs.
        sites: residual, attention-output, MLP-output, head or neuron sites; a head site without a
            head stands for all its heads. Q, K, V of grouped queries count their own heads.
        metric: for instance `interp.logit_difference(contrast)`; it must have a gradient.
        method: see above.
        steps: of "integrated".
        neurons: kept per `mlp_post` site.
        batch_size: rows differentiated together; changes memory, never numbers.

    Raises:
        ValueError: for sites that do not exist or have no vector per position, fewer than one step,
            or a metric without a gradient.

    Note:
        A linear estimate of a single patch: it misses saturation, and effects that several sites
        have only together. It shows what suffices here, not what is normally used.
    """
    sites, metric = sites_of(sites), as_metric(metric, contrast.clean)
    scores, ends = attributions(
        model, contrast, sites, metric, method=method, steps=steps, batch_size=batch_size
    )
    parts = [
        _rows(site, value, contrast, metric, neurons, model.role) for site, value in scores.items()
    ]
    for name in ("clean", "corrupted"):
        parts.append(
            Evidence.build(
                ends[name].double().cpu().numpy(),
                **_of_pairs(contrast, torch.arange(len(contrast))),
                condition=name,
                metric="pair",
                unit=metric.unit,
                model=model.role,
                method="attribute",
            )
        )
    return Evidence.concat(parts).with_provenance(attribution=method, steps=steps)


def attributions(
    model: Model,
    contrast: Contrast,
    sites: Sequence[Site],
    metric: Metric,
    *,
    method: Method = "gradient",
    steps: int = 8,
    batch_size: int = BATCH,
) -> tuple[dict[Site, Float[Tensor, "example position *unit"]], dict[str, Float[Tensor, " example"]]]:
    """The numbers behind `attribute`: per site [example, position] or [..., head or neuron].

    Padding holds NaN. The second part is the metric of the "clean" and "corrupted" runs.
    """
    _check(model, sites, method, steps)
    whole = list(dict.fromkeys(Site(site.kind, site.layer) for site in sites))
    found: dict[Site, Tensor] = {}
    wide = model.metric_dtype
    empty = torch.full((len(contrast),), float("nan"), dtype=wide, device=model.device)
    ends = {"clean": empty, "corrupted": empty.clone()}
    width = contrast.corrupted.tokens.shape[1]
    size = max(1, batch_size // steps) if method == "integrated" else batch_size
    for batch in batches(contrast, size, "attribution"):
        at = (batch.rows, batch.columns)
        clean = run(model, batch.clean, whole, metric, *at, gradients=False)
        corrected = [s for s in whole if s.kind in (Kind.Q, Kind.K) and method == "qk_corrected"]
        patterns = list({Site(Kind.PATTERN, s.layer): None for s in corrected})
        slopes = method != "integrated"
        corrupted = run(model, batch.corrupted, whole + patterns, metric, *at, gradients=slopes)
        ends["clean"][batch.rows] = clean.metric.to(wide)
        ends["corrupted"][batch.rows] = corrupted.metric.to(wide)
        gradients = corrupted.gradients
        if method == "integrated":
            path = along_path(model, batch, whole, metric, steps).gradients
            gradients = {s: part.unflatten(0, (-1, steps)).mean(1) for s, part in path.items()}
        scores = {
            site: first_order(clean.values[site], corrupted.values[site], gradients[site], site)
            for site in whole
        }
        if corrected:
            with torch.no_grad():
                scores |= _corrected(model, batch, corrected, clean.values, corrupted)
        for site, score in scores.items():
            if site not in found:
                found[site] = score.new_full((len(contrast), width, *score.shape[2:]), float("nan"))
            found[site][batch.rows[:, None], batch.columns] = score
    return {
        s: found[Site(s.kind, s.layer)] if s.head is None else found[Site(s.kind, s.layer)][..., s.head]
        for s in sites
    }, ends


def first_order(
    clean: Float[Tensor, "row position *unit"],
    corrupted: Float[Tensor, "row position *unit"],
    gradient: Float[Tensor, "row position *unit"],
    site: Site,
) -> Float[Tensor, "row position *part"]:
    """(clean - corrupted) · gradient, summed over what is patched as one (neurons are kept)."""
    wide = torch.float64 if clean.dtype == torch.float64 else torch.float32
    value = (clean.to(wide) - corrupted.to(wide)) * gradient.to(wide)
    return value if site.kind is Kind.MLP_POST else value.sum(-1)


def _corrected(
    model: Model, batch: Batch, sites: list[Site], clean: dict[Site, Tensor], corrupted: Ran
) -> dict[Site, Tensor]:
    """Q and K effects with the softmax computed anew, [row, position, head].

    One corrupted run carries the clean queries (another the clean keys) of every layer at once:
    scores are recorded and the pattern is put back to the corrupted one, so each layer still reads
    corrupted inputs. A query's patch changes its own row of scores. A key's changes one column j of
    them: with Z = 1 - p_j + p_j exp(change), p_j becomes p_j exp(change) / Z and the others p / Z.
    """
    own = _scores(model, batch, sites, corrupted.values, {})
    found = {}
    for kind in dict.fromkeys(site.kind for site in sites):
        chosen = [site for site in sites if site.kind is kind]
        new = _scores(model, batch, chosen, corrupted.values, clean)
        for site in chosen:
            pattern = Site(Kind.PATTERN, site.layer)
            before, slope = corrupted.values[pattern], corrupted.gradients[pattern]
            wide = torch.float64 if before.dtype == torch.float64 else torch.float32
            before, slope = before.to(wide), slope.to(wide)
            change = _query_change if kind is Kind.Q else _key_change
            effect = change(before, slope, own[site.layer].to(wide), new[site.layer].to(wide))
            heads = clean[site].shape[2]
            found[site] = effect.transpose(1, 2).unflatten(2, (heads, -1)).sum(-1)
    return found


def _normaliser(before: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """Log Z of each row of scores, and the part of it that attention sinks take (or -inf)."""
    kept = before.sum(-1, keepdim=True).clamp(max=1.0)
    scores = own.logsumexp(-1, keepdim=True)
    # Rounding leaves sums a little below one; only real sinks take more.
    taken = torch.where(kept < 0.999, torch.log((1 - kept) / kept), -torch.inf)
    return torch.logaddexp(scores, scores + taken), scores + taken


def _query_change(before: Tensor, slope: Tensor, own: Tensor, new: Tensor) -> Tensor:
    """Σ_j (p'_ij - p_ij) ∂m/∂p_ij with the scores of row i replaced: [row, head, query]."""
    _, sink = _normaliser(before, own)
    after = torch.exp(new - torch.logaddexp(new.logsumexp(-1, keepdim=True), sink))
    return ((after - before) * slope).sum(-1)


def _key_change(before: Tensor, slope: Tensor, own: Tensor, new: Tensor) -> Tensor:
    """Σ_i,l (p'_il - p_il) ∂m/∂p_il with the scores of column j replaced: [row, head, key]."""
    total, _ = _normaliser(before, own)
    raised = torch.exp(new - total)
    ratio = (raised - torch.expm1(own - total)).clamp(min=torch.finfo(before.dtype).tiny)
    weighted = slope * before
    others = (weighted.sum(-1, keepdim=True) - weighted) * (1 / ratio - 1)
    return (slope * (raised / ratio - before) + others).sum(-2)


def _scores(
    model: Model,
    batch: Batch,
    sites: list[Site],
    corrupted: dict[Site, Tensor],
    source: dict[Site, Tensor],
) -> dict[int, Tensor]:
    """Attention scores by layer of the corrupted run, with clean values at the sites given."""
    seen: dict[int, Tensor] = {}
    handles, hooks = [], []

    def write(site: Site, values: dict[Site, Tensor]):
        return site.hook_name, lambda value, hook: values[site].to(value)

    def record(layer: int):
        def hook(module: object, args: object, out: Tensor) -> None:
            seen[layer] = out.detach().clone()

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
    return seen


def _rows(
    site: Site,
    value: Float[Tensor, "example position *unit"],
    contrast: Contrast,
    metric: Metric,
    neurons: int,
    role: str,
) -> Evidence:
    """Rows of one site: position × pair, and units where the site has several."""
    units: Tensor | None = None
    if value.ndim == 3:
        units = torch.arange(value.shape[2], device=value.device)
        if site.kind is Kind.MLP_POST:
            size = value.abs().nan_to_num(0.0).sum((0, 1))
            units = size.topk(min(neurons, len(units))).indices.sort().values
            value = value[:, :, units]
    at = torch.nonzero(~value.isnan())
    head = site.head if units is None else units[at[:, 2]].cpu().numpy()
    return Evidence.build(
        value[tuple(at.T)].double().cpu().numpy(),
        **_of_pairs(contrast, at[:, 0]),
        position=at[:, 1].cpu().numpy(),
        head=head,
        kind=str(site.kind),
        layer=site.layer,
        condition="attribution",
        metric="pair",
        unit=metric.unit,
        model=role,
        method="attribute",
    )


def _of_pairs(contrast: Contrast, index: Tensor) -> dict[str, Any]:
    """The columns that name a pair."""
    at = index.cpu().numpy()
    return {
        "example": at,
        "group": np.array(contrast.corrupted.groups, dtype=object)[at],
        "template": np.array(contrast.corrupted.templates, dtype=object)[at],
    }


def _check(model: Model, sites: Sequence[Site], method: str, steps: int) -> None:
    check_sites(model, sites)
    methods = ("gradient", "integrated", "qk_corrected")
    if method not in methods:
        raise ValueError(f"method must be one of {', '.join(methods)}; got {method!r}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}; 8 is usual")
    for site in sites:
        if site.kind is Kind.PATTERN:
            raise ValueError(
                f"{site} has a row of keys per query, not a vector per position; attribute q and k "
                "with method='qk_corrected' instead"
            )
