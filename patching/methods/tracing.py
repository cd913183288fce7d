"""Causal tracing: corrupt the subject's embedding with noise, restore one place at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp._aliases import alias, formerly
from interp.activations import collect
from interp.evidence import Evidence
from interp.examples import Examples
from interp.metrics import Metric, named_metrics
from interp.models.model import Model
from interp.sites import Kind, Site
from patching.engine import rows as tables
from patching.engine.schedule import MAX_BYTES
from patching.engine.sweeping import sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Add, Replace
from patching.places import named, positions_named, positions_of, window_around

#: How noise is drawn, see `embedding_noise`.
RULES = ("gaussian", "multivariate", "student_t", "uniform")

#: Degrees of freedom of the multivariate t rule.
FREEDOM = 3.0


@formerly(span="corrupt", draws="repeats")
def causal_trace(
    model: Model,
    examples: Examples,
    kind: Kind,
    metric: Metric | Callable[..., Any] | Mapping[str, Any] | Sequence[Any],
    *,
    window: int = 1,
    positions: str | int | Sequence[str | int] = "each",
    corrupt: str | int = "subject",
    rule: str = "gaussian",
    scale: float = 3.0,
    repeats: int = 10,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """Restore clean activations into runs whose subject embedding is corrupted (2202.05262).

    For each draw, noise is added to the token embeddings at `corrupt`; then, at each layer and
    position, the clean activations of a window of consecutive blocks are written back together. The
    indirect effect is restored − corrupted, the total effect clean − corrupted. A noise draw is
    shared by all cells.

    Args:
        model: the model that runs.
        examples: prompts with the span that is corrupted.
        kind: what is restored, for instance RESID_POST, MLP_OUT or ATTN_OUT.
        metric: one or several, read on every run.
        window: blocks restored together (the source used 10 for MLPs and attention).
        positions: where activations are restored: "each" for every position alone, names of spans
            and positions, or numbers; a list makes a cell of each.
        corrupt: the span or position whose embedding is corrupted.
        rule: how noise is drawn, see `embedding_noise`.
        scale: its size in standard deviations of the corrupted tokens' embeddings.
        repeats: independent noises.
        seed: of the noise; draw i uses seed + i.
        max_bytes: memory in bytes for activations beside the model; changes no number.

    Returns:
        Evidence of method "trace": conditions "restored", "corrupted" and "clean"; the raw metric in
        its unit. Columns that vary: layer (the window's centre), window, position or span, draw,
        example.

    Raises:
        ValueError: for an unknown rule, span or site, or a window outside 1..L.

    Note:
        Noise drives the model off its distribution; what restoring brings back depends on it
        (2309.16042). Pairs of prompts (`patch_sites`) are the gentler corruption.

    Example:
        >>> import interp, patching
        >>> model = interp.load_model("organism-base")
        >>> prompts = interp.Examples.from_text(
        ...     model, "The home of Farid Jansen is", subjects=["Farid Jansen"]
        ... )
        >>> metric = interp.token_contrast(prompts, prompts.tokens[:, 0], prompts.tokens[:, 1])
        >>> traced = patching.causal_trace(
        ...     model, prompts, interp.Kind.MLP_OUT, metric, window=3, positions="subject", repeats=2
        ... )
        >>> sorted(traced.table["condition"].value_counts().items())
        [('clean', 1), ('corrupted', 2), ('restored', 12)]
    """
    metrics = named_metrics(metric, examples)
    windows = [window_around(centre, window, model.n_layers) for centre in range(model.n_layers)]
    sites = [Site(kind, layer) for layer in range(model.n_layers)]
    clean = collect(model, examples, sites, positions="all")
    cells, columns = [], []
    for centre, inside in enumerate(windows):
        for about, where in positions_of(examples, positions):
            edits = [Edit(sites[k], where, Replace(clean[sites[k]].values)) for k in inside]
            cells.append(Cell(tuple(edits)))
            columns.append({**named((sites[centre],)), **about, "window": window})
    corrupted = positions_named(examples, corrupt)
    same: dict[str, Any] = {"model": model, "method": "trace"}
    parts = []
    for draw in range(repeats):
        noise = embedding_noise(
            model, examples, rule=rule, scale=scale, corrupt=corrupt, seed=seed + draw
        )
        swept = sweep(
            model,
            examples,
            cells,
            metrics,
            corruption=Edit(Site(Kind.EMBED, 0), corrupted, Add(noise)),
            max_bytes=max_bytes,
            progress=f"tracing, noise {draw + 1} of {repeats}",
        )
        swept = tables.with_present(swept, cells, examples)
        rows = [{**about, "condition": "restored", "draw": draw} for about in columns]
        ends = {"condition": "corrupted", "draw": draw, "kind": kind}
        parts.append(tables.evidence(swept, examples, metrics, rows, baseline=ends, **same))
    ends = {"condition": "clean", "kind": kind}
    unedited = sweep(model, examples, [], metrics)
    parts.append(tables.evidence(unedited, examples, metrics, [], baseline=ends, **same))
    return Evidence.concat(parts)


trace = alias(causal_trace, "trace")


@formerly(span="corrupt")
def embedding_noise(
    model: Model,
    examples: Examples,
    *,
    rule: str = "gaussian",
    scale: float = 3.0,
    corrupt: str | int = "subject",
    seed: int = 0,
) -> Float[Tensor, "example position d"]:
    """Noise for token embeddings, sized by the spread of the corrupted tokens' own embeddings.

    With E the embeddings at the corrupted tokens, σ the standard deviation over all their entries and
    Σ their covariance matrix, ν = `scale`:

    - "gaussian": N(0, (νσ)²I), the rule of causal tracing (2202.05262, ν = 3);
    - "uniform": U(−νσ, νσ) per entry;
    - "multivariate": N(0, ν²Σ), the directions embeddings vary in;
    - "student_t": multivariate t with covariance shape ν²Σ and 3 degrees of freedom.

    Args:
        model: the model whose embeddings are read.
        examples: prompts.
        rule: one of the words above.
        scale: ν, in standard deviations.
        corrupt: the span or position whose embeddings give the size.
        seed: of the noise.

    Returns:
        Noise for every position, [example, position, d]; add it where it is wanted.

    Raises:
        ValueError: for an unknown rule or span, or covariance from fewer than two tokens.

    Example:
        >>> import interp, patching
        >>> model = interp.load_model("organism-base")
        >>> prompts = interp.Examples.from_text(
        ...     model, "The home of Farid Jansen is", subjects=["Farid Jansen"]
        ... )
        >>> tuple(patching.embedding_noise(model, prompts, rule="uniform").shape)
        (1, 6, 64)
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {list(RULES)}, got {rule!r}")
    site = Site(Kind.EMBED, 0)
    embeddings = collect(model, examples, [site], positions="all")[site].values
    tokens = embeddings[positions_named(examples, corrupt)].float()
    shape, width = tuple(examples.tokens.shape), tokens.shape[-1]
    generator = torch.Generator().manual_seed(seed)
    if rule in ("gaussian", "uniform"):
        size = scale * tokens.std()
        if rule == "gaussian":
            noise = torch.randn(*shape, width, generator=generator)
        else:
            noise = 2 * torch.rand(*shape, width, generator=generator) - 1
        return (noise.to(tokens) * size).to(embeddings.dtype)
    if len(tokens) < 2:
        raise ValueError(
            f"rule {rule!r} needs the embeddings of two or more tokens of {corrupt!r}, got "
            f"{len(tokens)}; add prompts or use 'gaussian'"
        )
    # x = Zᵀ(E − mean)/√(m − 1) with Z standard normal has the sample covariance, of any rank.
    centred = (tokens - tokens.mean(0)) / (len(tokens) - 1) ** 0.5
    noise = torch.randn(*shape, len(tokens), generator=generator).to(tokens) @ centred
    if rule == "student_t":
        # χ² with ν degrees of freedom is a gamma of shape ν/2 and scale 2, one for each vector.
        normal = torch.randn(*shape, int(FREEDOM), generator=generator).to(tokens)
        noise = noise / (normal.square().sum(-1, keepdim=True) / FREEDOM).sqrt()
    return (scale * noise).to(embeddings.dtype)
