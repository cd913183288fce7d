"""Activation patching: grids of sites and positions, within one model and between two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from jaxtyping import Bool
from torch import Tensor

from interp.activations import collect
from interp.evidence import Evidence
from interp.metrics import Metric
from interp.models import Model, ModelPair
from interp.sites import Site, boundaries
from interp.tasks import Contrast, Examples
from patching import tables
from patching.engine import sweep
from patching.interventions import Cell, Edit, Replace
from patching.schedule import MAX_BYTES


def patch_sites(
    model: Model,
    contrast: Contrast,
    sites: Sequence[Site],
    metric: Metric,
    *,
    positions: str | Sequence[str] = "each",
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """Denoising: write the clean run's activation into the corrupted run, one place at a time.

    Rows are site × position × pair with condition "patched" and the raw metric; the baselines are
    the rows "clean" and "corrupted". Recovery is (patched - corrupted) / (clean - corrupted),
    undefined where the two baselines agree, and is left to the reader of the table.

    Args:
        model: the model that runs.
        contrast: aligned pairs.
        sites: residual, attention-output, MLP-output or head sites.
        metric: for instance `interp.logit_difference(contrast)`.
        positions: "each" for every position alone, or span names such as ("subject", "last", "all").
        max_bytes: memory for activations beside the model; changes no number.

    Raises:
        ValueError: for sites or spans that do not exist.

    Note:
        Restoring an activation shows that it suffices here, not that it is normally used.
    """
    clean = collect(model, contrast.clean, sites, positions="all")
    places = _places(contrast.corrupted, positions)
    cells, columns = [], []
    for site in sites:
        source = Replace(clean[site].values)
        for place, where in places:
            cells.append(Cell((Edit(site, where, source),)))
            columns.append({"kind": site.kind, "layer": site.layer, "head": site.head, **place})
    metrics = {"pair": metric}
    swept = sweep(model, contrast.corrupted, cells, metrics, max_bytes=max_bytes, progress="patching")
    same = {"model": "base", "method": "patch"}
    patched = tables.evidence(
        swept,
        contrast.corrupted,
        metrics,
        [{**c, "condition": "patched"} for c in columns],
        baseline={"condition": "corrupted"},
        **same,
    )
    unedited = sweep(model, contrast.clean, [], metrics)
    clean_rows = tables.evidence(
        unedited, contrast.clean, metrics, [], baseline={"condition": "clean"}, **same
    )
    return Evidence.concat([patched, clean_rows])


def handover(
    model: Model, contrast: Contrast, metric: Metric, *, max_bytes: int = MAX_BYTES
) -> Evidence:
    """Restore the last position, or the subject, at every boundary 0..L of aligned pairs.

    The handover is the first boundary from which restoring the last position alone recovers the
    clean answer: where what was looked up at the subject has been moved. Groups are named
    "clean -> corrupted". Source: the position switch of causal tracing (2202.05262), on aligned
    pairs instead of noise.
    """
    sites = boundaries(model.n_layers)
    grid = patch_sites(
        model, contrast, sites, metric, positions=("last", "subject"), max_bytes=max_bytes
    )
    table = grid.by_boundary(model.n_layers).table.astype(object)
    table["method"] = "handover"
    pairs = [
        f"{a} -> {b}" for a, b in zip(contrast.clean.groups, contrast.corrupted.groups, strict=True)
    ]
    table["group"] = [pairs[i] for i in table["example"]]
    # The unedited runs belong to both spans.
    ends = table["span"].isna()
    both = [table[~ends], *(table[ends].assign(span=span) for span in ("last", "subject"))]
    return Evidence(pd.concat(both, ignore_index=True), grid.provenance)


def cross_patch(
    pair: ModelPair,
    examples: Examples,
    metrics: Mapping[str, Metric],
    *,
    spans: Sequence[str] = ("subject", "last", "all"),
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """Cross-model activation patching (CMAP, 2402.14811) by position group, both directions.

    At every boundary, the donor's residual is written into the other model at the span's positions:
    ρ = (m[B ← h_T] - m[B]) / (m[T] - m[B]) and the reverse. With "all" it is stitching.

    Note:
        Only all-position operators locate a change: patching one position misplaces changes that
        act through others.
    """
    parts = []
    sites = boundaries(pair.base.n_layers)
    for role, runs, donor_role, donor in (
        ("base", pair.base, "tuned", pair.tuned),
        ("tuned", pair.tuned, "base", pair.base),
    ):
        source = collect(donor, examples, sites, positions="all")
        cells, columns = [], []
        for k, site in enumerate(sites):
            for span in spans:
                edit = Edit(site, examples.span_mask(span), Replace(source[site].values))
                cells.append(Cell((edit,)))
                columns.append({"condition": "patched", "layer": k, "span": span})
        swept = sweep(
            runs, examples, cells, metrics, max_bytes=max_bytes, progress=f"{donor_role} → {role}"
        )
        parts.append(
            tables.evidence(
                swept,
                examples,
                metrics,
                [{**c, "donor": donor_role} for c in columns],
                baseline={"condition": "baseline"},
                model=role,
                method="cross_patch",
            )
        )
    return Evidence.concat(parts)


def _places(
    examples: Examples, positions: str | Sequence[str]
) -> list[tuple[dict[str, object], Bool[Tensor, "example position"]]]:
    if positions == "each":
        found = []
        for p in range(examples.tokens.shape[1]):
            where = torch.zeros_like(examples.mask)
            where[:, p] = examples.mask[:, p]
            found.append(({"position": p}, where))
        return found
    names = [positions] if isinstance(positions, str) else positions
    return [({"span": name}, examples.span_mask(name)) for name in names]
