"""Estimators that compare with class means: nearest mean, discriminants, principal components."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from probes.blocks import Values, blocks, is_large, total, whole
from probes.estimators.base import Solution, draw_by_draw, one_by_one
from probes.estimators.choosing import LinearEstimator, check_count
from probes.estimators.discriminants import discriminants


@dataclass(frozen=True)
class MassMean(LinearEstimator):
    """Nearest class mean: w_c = μ_c, b_c = −½‖μ_c‖² (Marks & Tegmark, 2310.06824).

    With two classes the decision is the projection on μ₁ − μ₀, cut halfway between the means; class
    sizes do not move the cut. Weights are relative to the grand mean of the training split, which
    changes no decision. No scaling: features of large variance speak loudest.

    Attributes:
        covariance: take the source's variant for identically distributed data, w_c = Σ⁺ μ_c and
            b_c = −½ μ_cᵀ Σ⁺ μ_c with Σ the covariance within classes; directions without variance
            are dropped. With fewer examples than dimensions prefer `LDA`, which shrinks Σ.
        name: how it is named in tables.
    """

    covariance: bool = False
    name: str = "mass_mean"

    @property
    def by_blocks(self) -> bool:
        """Whether rows need not be in memory: without a covariance two passes over them are enough."""
        return not self.covariance

    def fit_at(
        self,
        values: Values,
        labels: Int[Tensor, "draw example"],
        strengths: Float[Tensor, " draw"],
        n_classes: int,
    ) -> Solution:
        """Class means of every draw in one matrix product for each block of rows."""
        labels = labels.long()
        used = (labels >= 0).any(0)
        count = torch.stack([(labels == k).sum(1) for k in range(n_classes)], 1).double()
        shift = total(part.double().sum(0) for _, part in blocks(values, used)) / used.sum()
        d = values.shape[1]
        centre = shift.new_zeros(len(labels), d)
        mean = shift.new_zeros(len(labels), n_classes, d)
        for examples, part in blocks(values, used):
            rows, drawn = part.double() - shift, labels[:, examples]
            centre += (drawn >= 0).to(rows) @ rows
            member = torch.nn.functional.one_hot(drawn + 1, n_classes + 1)[..., 1:].to(rows)
            share = member / count.clamp(min=1)[:, None]
            mean += torch.einsum("nec,ed->ncd", share, rows)
        centre = centre / count.sum(1, keepdim=True)
        mean = (mean - centre[:, None]) * (count > 0)[..., None]
        weight = mean
        if self.covariance:
            rows = whole(values)[used].double() - shift
            inverses = [self._inverse(rows, draw, n_classes) for draw in labels[:, used]]
            weight = torch.stack([m @ inverse for m, inverse in zip(mean, inverses, strict=True)])
        bias = -0.5 * (weight * mean).sum(-1) - torch.einsum("ncd,nd->nc", weight, centre + shift)
        return weight, bias.masked_fill(count == 0, -torch.inf)

    @staticmethod
    def _inverse(values: Tensor, labels: Tensor, n_classes: int) -> Tensor:
        within = torch.cat([_centred(values[labels == k]) for k in range(n_classes)])
        return torch.linalg.pinv(within.T @ within / len(within), hermitian=True, rtol=1e-6)


@dataclass(frozen=True)
class LDA(LinearEstimator):
    """Linear discriminant analysis with Ledoit–Wolf shrinkage (scikit-learn), classes equally likely.

    w_c = Σ⁻¹ μ_c with Σ the shrunk covariance within classes: the direction that separates the
    means best relative to the spread, also with fewer examples than dimensions.

    Attributes:
        name: how it is named in tables.
    """

    name: str = "lda"

    @property
    def by_blocks(self) -> bool:
        """Whether rows need not be in memory: moments of each class are enough."""
        return True

    def fit_at(
        self,
        values: Values,
        labels: Int[Tensor, "draw example"],
        strengths: Float[Tensor, " draw"],
        n_classes: int,
    ) -> Solution:
        """One fit per draw, by scikit-learn where the rows are one block."""
        if is_large(values):
            fit_draw = partial(discriminants, values)
            weight, bias = draw_by_draw(
                fit_draw, values.shape[1], labels.cpu().numpy(), n_classes, strengths
            )
            return weight.to(values.device), bias.to(values.device)
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        def fit(rows: np.ndarray, draw: np.ndarray, _: float) -> tuple[np.ndarray, np.ndarray]:
            k = len(np.unique(draw))
            model = LinearDiscriminantAnalysis(
                solver="lsqr", shrinkage="auto", priors=np.full(k, 1 / k)
            ).fit(rows, draw)
            return model.coef_, model.intercept_

        return one_by_one(fit, whole(values), labels, n_classes, strengths)


def _centred(rows: Tensor) -> Tensor:
    return rows - rows.mean(0) if len(rows) else rows


@dataclass(frozen=True)
class PCAMeans(LinearEstimator):
    """Nearest class mean within the first principal components of the training rows.

    Formerly `Principal`, which it is still called too.

    The components are found without labels; with one component the direction is the first principal
    component itself, and labels only orient and cut it. What it reads is what the activations vary
    in most. Features are centred and not scaled.

    Attributes:
        components: number of principal components.
        name: how it is named in tables.

    Raises:
        ValueError: on construction, without at least one component.
    """

    components: int = 1
    name: str = "pca"

    def __post_init__(self) -> None:
        """Check the number of components."""
        check_count(self.components, "components")

    def fit_at(
        self,
        values: Float[Tensor, "example d"],
        labels: Int[Tensor, "draw example"],
        strengths: Float[Tensor, " draw"],
        n_classes: int,
    ) -> Solution:
        """Components of each draw's rows, then class means among them."""
        from sklearn.decomposition import PCA

        weights, biases = [], []
        for draw in labels:
            training = draw >= 0
            rows = values[training].double()
            rank = min(self.components, *rows.shape)
            components = PCA(rank, svd_solver="full").fit(rows.cpu().numpy()).components_
            basis = torch.from_numpy(components).to(rows)
            weight, bias = MassMean().solve(rows @ basis.T, draw[training][None], n_classes)
            weights.append(weight[0] @ basis)
            biases.append(bias[0])
        return torch.stack(weights), torch.stack(biases)


#: The former name.
Principal = PCAMeans
