"""What can be read from activations: linear probes, their controls, and transfer base → tuned."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probes.controls import bag_of_tokens, control_directions, control_subspaces
    from probes.estimators import ESTIMATORS, Estimator, Logistic, MassMean
    from probes.linear import LinearProbe, fit
    from probes.permutation import permutation_null
    from probes.summaries import accuracy, selectivity
    from probes.sweeping import cross_validate, sweep
    from probes.transferring import read_transfer, transfer

_HOMES = {
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

__all__ = [
    "ESTIMATORS",
    "Estimator",
    "LinearProbe",
    "Logistic",
    "MassMean",
    "accuracy",
    "bag_of_tokens",
    "control_directions",
    "control_subspaces",
    "cross_validate",
    "fit",
    "permutation_null",
    "read_transfer",
    "selectivity",
    "sweep",
    "transfer",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its home on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'probes' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
