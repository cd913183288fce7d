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
    "steer": "patching.steering",
    "knock_out": "patching.knockout",
    "trace": "patching.tracing",
    "embedding_noise": "patching.tracing",
    "path_patch": "patching.paths",
    "plan": "patching.planning",
    "plan_sweep": "patching.planning",
    "Plan": "patching.planning",
    "intervened": "patching.context",
    "Claim": "patching.subspaces",
    "measure_use": "patching.subspaces",
    "sweep": "patching.engine",
    "record": "patching.engine",
    "Swept": "patching.engine",
    "Cell": "patching.interventions",
    "Edit": "patching.interventions",
    "Replace": "patching.interventions",
    "Zero": "patching.interventions",
    "Mean": "patching.interventions",
    "Add": "patching.interventions",
    "ProjectOut": "patching.interventions",
    "SwapSubspace": "patching.interventions",
    "Resample": "patching.interventions",
    "Scale": "patching.interventions",
    "Features": "patching.interventions",
    "Knockout": "patching.interventions",
    "Erase": "patching.interventions",
}

__getattr__, __dir__ = attach(__name__, _WHERE)
__all__ = list(_WHERE)  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from patching.ablation import ablate
    from patching.context import intervened
    from patching.engine import Swept, record, sweep
    from patching.grids import cross_patch, handover, patch_sites
    from patching.interventions import (
        Add,
        Cell,
        Edit,
        Erase,
        Features,
        Knockout,
        Mean,
        ProjectOut,
        Replace,
        Resample,
        Scale,
        SwapSubspace,
        Zero,
    )
    from patching.knockout import knock_out
    from patching.paths import path_patch
    from patching.planning import Plan, plan, plan_sweep
    from patching.shifting import shared_shift
    from patching.steering import steer
    from patching.stitching import stitch
    from patching.subspaces import Claim, measure_use
    from patching.tracing import embedding_noise, trace
