"""Linear discriminants with Ledoit–Wolf shrinkage from the moments of each class, block by block.

What scikit-learn's LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto") with equal priors gives,
for more rows than should be held in double precision: of each class the mean and the deviations, and of
its standardised rows z the matrix Σ z zᵀ and the number Σ ‖z‖⁴, are enough.

Source: Ledoit & Wolf 2004 (the shrinkage).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from probes.blocks import Blocks, Values, total


class Spread(NamedTuple):
    """Mean and shrunk covariance of one class."""

    mean: Float[Tensor, " d"]
    covariance: Float[Tensor, "d d"]


def discriminants(
    values: Values, draw: np.ndarray, _: float = 1.0
) -> tuple[Float[np.ndarray, "row d"], Float[np.ndarray, " row"]]:
    """Coefficients and intercepts of the classes of a draw; of two, of the second against the first.

    Args:
        values: the rows.
        draw: the class of each; −1 for rows that it must not see.
    """
    labels = torch.from_numpy(draw).to(values.device)
    present = [int(k) for k in labels.unique() if k >= 0]
    classes = [shrunk(Blocks(values, labels == k)) for k in present]
    covariance = torch.stack([one.covariance for one in classes]).mean(0)
    means = torch.stack([one.mean for one in classes]).cpu().numpy()
    coef = np.linalg.lstsq(covariance.cpu().numpy(), means.T, rcond=None)[0].T
    intercept = -0.5 * (means * coef).sum(1) - np.log(len(present))
    if len(present) == 2:
        return coef[1:] - coef[:1], intercept[1:] - intercept[:1]
    return coef, intercept


def shrunk(rows: Blocks) -> Spread:
    """Mean of some rows, and their covariance shrunk towards a multiple of the identity.

    Shrinking happens in standardised coordinates, in which features of every scale count alike.
    """
    n, d = rows.shape
    mean = total(part.sum(0) for part in rows) / n
    variance = total((part - mean).square().sum(0) for part in rows) / n
    eps = torch.finfo(mean.dtype).eps
    constant = variance <= n * eps * variance + (n * mean * eps).square()
    scale = torch.where(constant, torch.ones_like(variance), variance.sqrt())
    gram, fourth = torch.zeros(d, d, dtype=mean.dtype, device=mean.device), 0.0
    for part in rows.standardised(mean, scale):
        gram += part.T @ part
        fourth += float(part.square().sum(1).square().sum())
    covariance = gram / n
    size = covariance.trace() / d
    # How far the covariance is from the identity, and how much of that its sampling explains.
    distance = (covariance.square().sum() - d * size.square()) / d
    noise = (fourth / n - covariance.square().sum()) / (d * n)
    share = torch.minimum(noise, distance) / distance if bool(noise != 0) else noise
    covariance = (1 - share) * covariance + share * size * torch.eye(d).to(covariance)
    return Spread(mean, scale[:, None] * covariance * scale)
