"""What can be read from activations: linear probes, their controls, and transfer base → tuned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interp._lazy import attach

_WHERE = {
    "ESTIMATORS": "probes.estimators",
    "Estimator": "probes.estimators",
    "KSparse": "probes.narrow",
    "LDA": "probes.closed_form",
    "LinearProbe": "probes.linear",
    "Logistic": "probes.estimators",
    "MassMean": "probes.closed_form",
    "Principal": "probes.narrow",
    "ProbeClassifier": "probes.compatible",
    "ProbeRegressor": "probes.compatible",
    "QuantityProbe": "probes.quantities",
    "Ridge": "probes.closed_form",
    "RidgeClassifier": "probes.closed_form",
    "SmallSample": "probes.problems",
    "Question": "probes.claiming",
    "accuracy": "probes.summaries",
    "bag_of_tokens": "probes.controls",
    "belief": "probes.believing",
    "believed_and_said": "probes.believing",
    "check_erasure": "probes.erasing",
    "claims": "probes.claiming",
    "compression": "probes.describing",
    "contrast_consistent": "probes.contrast",
    "control_directions": "probes.controls",
    "control_subspaces": "probes.controls",
    "corrected": "probes.scoring",
    "cross_validate": "probes.sweeping",
    "cross_validate_labels": "probes.several",
    "cross_validate_quantity": "probes.quantities",
    "description_length": "probes.describing",
    "explained": "probes.quantities",
    "explained_beyond": "probes.quantities",
    "fit": "probes.linear",
    "fit_labels": "probes.several",
    "fit_quantity": "probes.quantities",
    "generalisation": "probes.generalising",
    "generalisation_matrix": "probes.generalising",
    "inlp": "probes.erasing",
    "leace": "probes.erasing",
    "learning_curve": "probes.describing",
    "margins": "probes.scoring",
    "permutation_null": "probes.permutation",
    "posterior": "probes.believing",
    "read_transfer": "probes.transferring",
    "scores": "probes.scoring",
    "selectivity": "probes.summaries",
    "sincerity": "probes.believing",
    "solve_logistic": "probes.logistic",
    "surface_features": "probes.controls",
    "sweep": "probes.sweeping",
    "transfer": "probes.transferring",
}

__getattr__, __dir__ = attach(__name__, _WHERE)
__all__ = list(_WHERE)  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from probes.believing import belief, believed_and_said, posterior, sincerity
    from probes.claiming import Question, claims
    from probes.closed_form import LDA, MassMean, Ridge, RidgeClassifier
    from probes.compatible import ProbeClassifier, ProbeRegressor
    from probes.contrast import contrast_consistent
    from probes.controls import (
        bag_of_tokens,
        control_directions,
        control_subspaces,
        surface_features,
    )
    from probes.describing import compression, description_length, learning_curve
    from probes.erasing import check_erasure, inlp, leace
    from probes.estimators import ESTIMATORS, Estimator, Logistic
    from probes.generalising import generalisation, generalisation_matrix
    from probes.linear import LinearProbe, fit
    from probes.logistic import solve_logistic
    from probes.narrow import KSparse, Principal
    from probes.permutation import permutation_null
    from probes.problems import SmallSample
    from probes.quantities import (
        QuantityProbe,
        cross_validate_quantity,
        explained,
        explained_beyond,
        fit_quantity,
    )
    from probes.scoring import corrected, margins, scores
    from probes.several import cross_validate_labels, fit_labels
    from probes.summaries import accuracy, selectivity
    from probes.sweeping import cross_validate, sweep
    from probes.transferring import read_transfer, transfer
