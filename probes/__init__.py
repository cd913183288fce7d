"""What can be read from activations: linear probes, their controls, and transfer base → tuned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interp._lazy import attach

_WHERE = {
    "ESTIMATORS": "probes.estimators",
    "Estimator": "probes.estimators",
    "LinearProbe": "probes.linear",
    "Logistic": "probes.estimators",
    "MassMean": "probes.estimators",
    "accuracy": "probes.summaries",
    "bag_of_tokens": "probes.controls",
    "control_directions": "probes.controls",
    "control_subspaces": "probes.controls",
    "cross_validate": "probes.sweeping",
    "fit": "probes.linear",
    "permutation_null": "probes.permutation",
    "read_transfer": "probes.transferring",
    "selectivity": "probes.summaries",
    "sweep": "probes.sweeping",
    "transfer": "probes.transferring",
}

__getattr__, __dir__ = attach(__name__, _WHERE)
__all__ = list(_WHERE)  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from probes.controls import bag_of_tokens, control_directions, control_subspaces
    from probes.estimators import ESTIMATORS, Estimator, Logistic, MassMean
    from probes.linear import LinearProbe, fit
    from probes.permutation import permutation_null
    from probes.summaries import accuracy, selectivity
    from probes.sweeping import cross_validate, sweep
    from probes.transferring import read_transfer, transfer
