"""What a model uses: interventions, the sweep engine, stitching, ablation and steering."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interp._lazy import attach

_WHERE = {
    "patch_sites": "patching.grids",
    "handover": "patching.grids",
    "cross_patch": "patching.grids",
    "stitch": "patching.stitching",
    "shared_shift": "patching.shifting",
    "ablate": "patching.ablation",
    "steer": "patching.ablation",
    "intervened": "patching.context",
    "Claim": "patching.subspaces",
    "measure_use": "patching.subspaces",
    "sweep": "patching.engine",
    "Swept": "patching.engine",
    "Cell": "patching.interventions",
    "Edit": "patching.interventions",
    "Replace": "patching.interventions",
    "Zero": "patching.interventions",
    "Mean": "patching.interventions",
    "Add": "patching.interventions",
    "ProjectOut": "patching.interventions",
    "SwapSubspace": "patching.interventions",
}

__getattr__, __dir__ = attach(__name__, _WHERE)
__all__ = list(_WHERE)  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from patching.ablation import ablate, steer
    from patching.context import intervened
    from patching.engine import Swept, sweep
    from patching.grids import cross_patch, handover, patch_sites
    from patching.interventions import (
        Add,
        Cell,
        Edit,
        Mean,
        ProjectOut,
        Replace,
        SwapSubspace,
        Zero,
    )
    from patching.shifting import shared_shift
    from patching.stitching import stitch
    from patching.subspaces import Claim, measure_use
