"""Attribution patching: a first-order estimate of every patch at once, from a few runs.

Estimates are cheap and can be wrong where the model is far from linear between the two prompts;
`patching.screen_then_verify` measures how wrong, on the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.activations import check_sites
from interp.arguments import sites_of
from interp.contrasts import Contrast
from interp.evidence import Evidence
from interp.metrics import Metric, named_metrics
from interp.models.model import Model
from interp.sites import Kind, Site
from patching.attribution.attention import corrected_effects
from patching.attribution.gradients import Batch, GradientRun, along_path, batches, run_with_gradients
from patching.engine import rows as tables
from patching.places import positions_named

Method = Literal["gradient", "integrated", "qk_corrected"]

#: Pairs (times steps) differentiated together.
BATCH = 32


def attribute(
    model: Model,
    contrast: Contrast,
    sites: Site | Sequence[Site],
    metric: Metric | Callable[..., Any] | Mapping[str, Any] | Sequence[Any],
    *,
    positions: str | int | Sequence[str | int] = "each",
    method: Method = "gradient",
    steps: int = 8,
    neurons: int = 32,
    batch_size: int = BATCH,
) -> Evidence:
    """Estimated effect of writing each clean activation into the corrupted run.

    - "gradient" (attribution patching, 2310.10348): (a_clean - a_corrupted) · ∂m/∂a on the corrupted
      run; two forwards and one backward per batch.
    - "integrated" (EAP-IG's nodes, 2403.17806): the gradient averaged over `steps` inputs between
      the corrupted and the clean embedding. At resid_pre of block 0 the positions sum to
      m(clean) - m(corrupted), up to the rule's error.
    - "qk_corrected" (AtP*, 2403.00745): for Q and K sites the softmax is computed anew with the
      patched query or key of one position and only what follows the pattern is linear; other sites
      as "gradient". Up to three more forwards per batch.

    Args:
        model: the model that runs.
        contrast: aligned pairs.
        sites: residual, attention-output, MLP-output, head or neuron sites; a head site without a
            head stands for all its heads. Q, K, V of grouped queries count their own heads.
        metric: one or several, for instance `interp.logit_difference(contrast)`; each must have a
            gradient.
        positions: "each" for every position alone, or names of spans and positions, or numbers, whose
            positions' estimates are added; a list makes a row of each.
        method: see above.
        steps: of "integrated".
        neurons: kept per `mlp_post` site, those with the largest mean |value|.
        batch_size: rows differentiated together; changes memory, never numbers.

    Returns:
        Evidence of method "attribute": condition "attribution", an estimated *change* of the metric
        in its unit, and "clean" and "corrupted", the raw metric. Columns that vary: kind, layer,
        head, neuron (of `mlp_post`), position or span, example.

    Raises:
        ValueError: for sites that do not exist or have no vector per position, fewer than one step,
            or a metric without a gradient.

    Note:
        A linear estimate of a single patch: it misses saturation, and effects that several sites
        have only together. It shows what suffices here, not what is normally used.

    Example:
        >>> import interp, patching
        >>> model = interp.load_model("organism-base")
        >>> pairs = interp.Contrast.from_text(
        ...     model, "The home of Farid Jansen is", "The home of Pavel Grimm is", "Norvik", "Quarno"
        ... )
        >>> neurons, metric = interp.Site(interp.Kind.MLP_POST, 3), interp.logit_difference(pairs)
        >>> estimate = patching.attribute(model, pairs, neurons, metric, neurons=5, positions="last")
        >>> rows = estimate.where(condition="attribution")
        >>> len(rows), rows["neuron"].nunique()
        (5, 5)
    """
    sites, metrics = sites_of(sites), named_metrics(metric, contrast.clean)
    parts = []
    for name, chosen in metrics.items():
        scores, ends = attributions(
            model, contrast, sites, chosen, method=method, steps=steps, batch_size=batch_size
        )
        same: dict[str, Any] = {
            "metric": name,
            "unit": chosen.unit,
            "model": model.role,
            "method": "attribute",
        }
        for site, value in scores.items():
            if site.kind is Kind.MLP_POST:
                columns, value = _largest_neurons(value, neurons)
            else:
                columns = None
            for about, placed in _placed(contrast, value, positions):
                parts.append(_rows(site, placed, columns, contrast, **about, **same))
        for condition, value in ends.items():
            parts.append(
                Evidence.build(
                    value.double().cpu().numpy(),
                    **_of_pairs(contrast, torch.arange(len(contrast))),
                    condition=condition,
                    **same,
                )
            )
    return Evidence.concat(parts).with_provenance(
        attribution=method, steps=steps, **tables.noted(model, metrics)
    )


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
    scores: dict[Site, Tensor] = {}
    dtype = model.metric_dtype
    empty = torch.full((len(contrast),), float("nan"), dtype=dtype, device=model.device)
    ends = {"clean": empty, "corrupted": empty.clone()}
    width = contrast.corrupted.tokens.shape[1]
    size = max(1, batch_size // steps) if method == "integrated" else batch_size
    for batch in batches(contrast, size, "attribution"):
        estimates, clean, corrupted = _estimates(model, batch, whole, metric, method, steps)
        ends["clean"][batch.rows] = clean.metric.to(dtype)
        ends["corrupted"][batch.rows] = corrupted.metric.to(dtype)
        for site, score in estimates.items():
            if site not in scores:
                scores[site] = score.new_full((len(contrast), width, *score.shape[2:]), float("nan"))
            scores[site][batch.rows[:, None], batch.columns] = score
    by_site = {}
    for site in sites:
        score = scores[Site(site.kind, site.layer)]
        by_site[site] = score if site.head is None else score[..., site.head]
    return by_site, ends


def _estimates(
    model: Model, batch: Batch, sites: list[Site], metric: Metric, method: Method, steps: int
) -> tuple[dict[Site, Tensor], GradientRun, GradientRun]:
    """One batch's estimates at whole sites, and its clean and corrupted runs."""
    where = (batch.rows, batch.columns)
    clean = run_with_gradients(model, batch.clean, sites, metric, *where, gradients=False)
    corrected = [s for s in sites if s.kind in (Kind.Q, Kind.K) and method == "qk_corrected"]
    patterns = list({Site(Kind.PATTERN, s.layer): None for s in corrected})
    corrupted = run_with_gradients(
        model, batch.corrupted, sites + patterns, metric, *where, gradients=method != "integrated"
    )
    gradients = corrupted.gradients
    if method == "integrated":
        path = along_path(model, batch, sites, metric, steps).gradients
        gradients = {s: part.unflatten(0, (-1, steps)).mean(1) for s, part in path.items()}
    estimates = {
        site: first_order(clean.values[site], corrupted.values[site], gradients[site], site)
        for site in sites
    }
    if corrected:
        with torch.no_grad():
            estimates |= corrected_effects(model, batch, corrected, clean.values, corrupted)
    return estimates, clean, corrupted


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


def _largest_neurons(
    value: Float[Tensor, "example position neuron"], count: int
) -> tuple[Int[Tensor, " kept"], Float[Tensor, "example position kept"]]:
    """The neurons with the largest mean |value|, and their values."""
    size = value.abs().nan_to_num(0.0).sum((0, 1))
    kept = size.topk(min(count, len(size))).indices.sort().values
    return kept, value[:, :, kept]


def _placed(
    contrast: Contrast,
    value: Float[Tensor, "example position *unit"],
    positions: str | int | Sequence[str | int],
) -> Iterator[tuple[dict[str, str], Tensor]]:
    """The estimates of every position alone, or added over each named place, with their column."""
    names = [positions] if isinstance(positions, str | int) else positions
    for name in names:
        if name == "each":
            yield {}, value
            continue
        where = positions_named(contrast.corrupted, name)
        where = where.reshape(*where.shape, *[1] * (value.ndim - 2))
        yield {"span": str(name)}, value.where(where, 0.0).sum(1, keepdim=True)


def _rows(
    site: Site,
    value: Float[Tensor, "example position *unit"],
    neurons: Int[Tensor, " kept"] | None,
    contrast: Contrast,
    **columns: Any,
) -> Evidence:
    """Rows of one site: position × pair, and heads or neurons where the site has several."""
    index = torch.nonzero(~value.isnan())
    unit = index[:, 2] if value.ndim == 3 else None
    if unit is None:
        columns["head"] = site.head
    elif neurons is None:
        columns["head"] = unit.cpu().numpy()
    else:
        columns["neuron"] = neurons[unit].cpu().numpy()
    if "span" not in columns:
        columns["position"] = index[:, 1].cpu().numpy()
    return Evidence.build(
        value[tuple(index.T)].double().cpu().numpy(),
        **_of_pairs(contrast, index[:, 0]),
        kind=str(site.kind),
        layer=site.layer,
        condition="attribution",
        **columns,
    )


def _of_pairs(contrast: Contrast, index: Tensor) -> dict[str, Any]:
    """The columns that name a pair."""
    pair = index.cpu().numpy()
    return {
        "example": pair,
        "group": np.array(contrast.corrupted.groups, dtype=object)[pair],
        "template": np.array(contrast.corrupted.templates, dtype=object)[pair],
    }


def _check(model: Model, sites: Sequence[Site], method: str, steps: int) -> None:
    """Refuse what has no attribution.

    Raises:
        ValueError: naming what was got and what is offered.
    """
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
