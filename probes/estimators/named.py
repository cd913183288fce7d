"""The estimators by name."""

from __future__ import annotations

from collections.abc import Mapping

from probes.estimators.base import Estimator
from probes.estimators.class_means import LDA, MassMean, PCAMeans
from probes.estimators.logistic import Logistic
from probes.estimators.ridge import RidgeClassifier
from probes.estimators.sparse import KSparse

ESTIMATORS: Mapping[str, Estimator] = {
    estimator.name: estimator
    for estimator in (
        Logistic(),
        MassMean(),
        MassMean(covariance=True, name="mass_mean_iid"),
        LDA(),
        RidgeClassifier(),
        PCAMeans(),
        KSparse(),
    )
}


def named(estimator: str | Estimator) -> Estimator:
    """The estimator of this name, or the one given.

    Raises:
        ValueError: if no estimator has this name.
    """
    if not isinstance(estimator, str):
        return estimator
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator must be one of {sorted(ESTIMATORS)}, got {estimator!r}")
    return ESTIMATORS[estimator]
