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
    "steering_unit": "patching.steering",
    "generations": "patching.steering",
    "knock_out": "patching.knockout",
    "trace": "patching.tracing",
    "embedding_noise": "patching.tracing",
    "path_patch": "patching.paths",
    "plan": "patching.planning",
    "plan_sweep": "patching.planning",
    "Plan": "patching.planning",
    "attribute": "patching.attribution",
    "attribute_edges": "patching.edges",
    "screen_then_verify": "patching.screening",
    "graft": "patching.grafting",
    "component_responsibility": "patching.grafting",
    "Parameters": "patching.parameters",
    "Blocks": "patching.parameter_sets",
    "Heads": "patching.parameter_sets",
    "TopChange": "patching.parameter_sets",
    "Named": "patching.parameter_sets",
    "Adapter": "patching.parameter_sets",
    "Ends": "patching.parameter_sets",
    "Joint": "patching.parameter_sets",
    "RandomLike": "patching.parameter_sets",
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
    from patching.attribution import attribute
    from patching.context import intervened
    from patching.edges import attribute_edges
    from patching.engine import Swept, record, sweep
    from patching.grafting import component_responsibility, graft
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
    from patching.parameter_sets import (
        Adapter,
        Blocks,
        Ends,
        Heads,
        Joint,
        Named,
        RandomLike,
        TopChange,
    )
    from patching.parameters import Parameters
    from patching.paths import path_patch
    from patching.planning import Plan, plan, plan_sweep
    from patching.screening import screen_then_verify
    from patching.shifting import shared_shift
    from patching.steering import generations, steer, steering_unit
    from patching.stitching import stitch
    from patching.subspaces import Claim, measure_use
    from patching.tracing import embedding_noise, trace
