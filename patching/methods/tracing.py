"""Causal tracing: corrupt the subject's embedding with noise, restore one place at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.activations import collect
from interp.evidence import Evidence
from interp.examples import Examples
from interp.metrics import Metric, as_metric
from interp.models.model import Model
from interp.sites import Kind, Site
from patching.engine import rows as tables
from patching.engine.schedule import MAX_BYTES
from patching.engine.sweeping import sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Add, Replace
from patching.places import named, positions_of

#: How noise is drawn, see `embedding_noise`.
RULES = ("gaussian", "multivariate", "student_t", "uniform")

#: Degrees of freedom of the multivariate t rule.
FREEDOM = 3.0


def trace(
    model: Model,
    examples: Examples,
    kind: Kind,
    metric: Metric | Callable[..., Any],
    *,
    window: int = 1,
    positions: str | int | Sequence[str | int] = "each",
    span: str = "subject",
    rule: str = "gaussian",
    scale: float = 3.0,
    draws: int = 10,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """Restore clean activations into runs whose subject embedding is corrupted (2202.05262).

    For each draw, noise is added to the token embeddings of `span`; then, at each layer and
    position, the clean activations of a window of `window` consecutive blocks are written back
    together. Rows: "restored" (layer the window's centre, strength the window, seed = draw),
    "corrupted" (per draw) and "clean"; value is the raw metric. The indirect effect is restored −
    corrupted, the total effect clean − corrupted. A noise draw is shared by all cells.

    Args:
        model: the model that runs.
        examples: prompts with the span.
        kind: what is restored, for instance RESID_POST, MLP_OUT or ATTN_OUT.
        metric: read on every run.
        window: blocks restored together (the source used 10 for MLPs and attention).
        positions: "each" or span names.
        span: where the embedding is corrupted.
        rule: how noise is drawn, see `embedding_noise`.
        scale: its size in standard deviations of the subject tokens' embeddings.
        draws: independent noises.
        seed: of the noise.
        max_bytes: memory for activations beside the model; changes no number.

    Raises:
        ValueError: for an unknown rule, span or site, or a window outside 1..L.

    Note:
        Noise drives the model off its distribution; what restoring brings back depends on it
        (2309.16042). Pairs of prompts (`patch_sites`) are the gentler corruption.
    """
    if not 1 <= window <= model.n_layers:
        raise ValueError(f"window must be 1..{model.n_layers} blocks, got {window}")
    metric = as_metric(metric, examples)
    sites = [Site(kind, layer) for layer in range(model.n_layers)]
    clean = collect(model, examples, sites, positions="all")
    cells, columns = [], []
    for centre in range(model.n_layers):
        low = max(0, centre - (window - 1) // 2)
        inside = sites[low : min(model.n_layers, centre + window // 2 + 1)]
        for about, where in positions_of(examples, positions):
            cells.append(Cell(tuple(Edit(s, where, Replace(clean[s].values)) for s in inside)))
            columns.append({**named((sites[centre],)), **about, "strength": float(window)})
    metrics = {"metric": metric}
    same = {"model": model.role, "method": "trace"}
    parts = []
    for draw in range(draws):
        noise = embedding_noise(model, examples, rule=rule, scale=scale, span=span, seed=seed + draw)
        corruption = Edit(Site(Kind.EMBED, 0), examples.span_mask(span), Add(noise))
        swept = sweep(
            model,
            examples,
            cells,
            metrics,
            corruption=corruption,
            max_bytes=max_bytes,
            progress=f"tracing, noise {draw + 1} of {draws}",
        )
        swept = replace(
            swept, values={"metric": tables.present(swept.values["metric"], cells, examples)}
        )
        rows = [{**c, "condition": "restored", "seed": draw} for c in columns]
        ends = {"condition": "corrupted", "seed": draw, "kind": kind}
        parts.append(tables.evidence(swept, examples, metrics, rows, baseline=ends, **same))
    ends = {"condition": "clean", "kind": kind}
    unedited = sweep(model, examples, [], metrics)
    parts.append(tables.evidence(unedited, examples, metrics, [], baseline=ends, **same))
    return Evidence.concat(parts)


def embedding_noise(
    model: Model,
    examples: Examples,
    *,
    rule: str = "gaussian",
    scale: float = 3.0,
    span: str = "subject",
    seed: int = 0,
) -> Float[Tensor, "example position d"]:
    """Noise for token embeddings, sized by the spread of the span's own embeddings.

    With E the embeddings at the span's tokens, σ the standard deviation over all their entries and
    Σ their covariance matrix, ν = `scale`:

    - "gaussian": N(0, (νσ)²I), the rule of causal tracing (ν = 3);
    - "uniform": U(−νσ, νσ) per entry;
    - "multivariate": N(0, ν²Σ), the directions embeddings vary in;
    - "student_t": multivariate t with covariance shape ν²Σ and 3 degrees of freedom.

    Raises:
        ValueError: for an unknown rule or span, or covariance from fewer than two tokens.
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {list(RULES)}, got {rule!r}")
    site = Site(Kind.EMBED, 0)
    held = collect(model, examples, [site], positions="all")[site].values
    seen = held[examples.span_mask(span)].float()
    shape, width = tuple(examples.tokens.shape), seen.shape[-1]
    generator = torch.Generator().manual_seed(seed)
    if rule in ("gaussian", "uniform"):
        size = scale * seen.std()
        if rule == "gaussian":
            drawn = torch.randn(*shape, width, generator=generator)
        else:
            drawn = 2 * torch.rand(*shape, width, generator=generator) - 1
        return (drawn.to(seen) * size).to(held.dtype)
    if len(seen) < 2:
        raise ValueError(
            f"rule {rule!r} needs the embeddings of two or more tokens of {span!r}, got {len(seen)}; "
            "add prompts or use 'gaussian'"
        )
    # x = Zᵀ(E − mean)/√(m − 1) with Z standard normal has the sample covariance, of any rank.
    centred = (seen - seen.mean(0)) / (len(seen) - 1) ** 0.5
    drawn = torch.randn(*shape, len(seen), generator=generator).to(seen) @ centred
    if rule == "student_t":
        # χ² with ν degrees of freedom is a gamma of shape ν/2 and scale 2, one for each vector.
        normal = torch.randn(*shape, int(FREEDOM), generator=generator).to(seen)
        drawn = drawn / (normal.square().sum(-1, keepdim=True) / FREEDOM).sqrt()
    return (scale * drawn).to(held.dtype)
