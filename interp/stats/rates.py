"""Balanced accuracy and the area under the ROC curve."""

from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Bool, Float
from sklearn.metrics import roc_auc_score

from interp.stats.intervals import Array, checked_values, group_means


def balanced_accuracy(
    correct: Float[Array, " row"] | Bool[Array, " row"], labels: Sequence[Hashable] | Array
) -> float:
    """Mean over classes of the share of right answers (chance: 1 / classes).

    Args:
        correct: whether each row was answered right.
        labels: class of each row.

    Raises:
        ValueError: differing lengths or no rows.
    """
    means, _ = group_means(np.asarray(correct, float), labels)
    return float(means.mean())


def auroc(scores: Float[Array, " row"], labels: Bool[Array, " row"]) -> float:
    """Area under the ROC curve: P(score of a True row > of a False row), ties half; .5 is chance.

    Args:
        scores: one number per row; larger speaks for True.
        labels: what each row is.

    Raises:
        ValueError: labels hold one class only, or differing lengths.
    """
    labels = np.asarray(labels).astype(bool)
    scores = checked_values(scores, len(labels))
    if labels.all() or not labels.any():
        raise ValueError(
            f"auroc needs True and False labels; got {int(labels.sum())} True of {len(labels)}: "
            "leave the gate out"
        )
    return float(roc_auc_score(labels, scores))
