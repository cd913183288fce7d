"""The inner step of Newton's method: H step = −slope of many problems, by conjugate gradients.

Preconditioned by (I + κ_p XᵀX)⁻¹, κ_p half the mean curvature of the problem. Where the scales r_p are
near one, the whole iteration runs in the coordinates of the spectrum of XᵀX.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from probes.solver.batch import BlockDesign, Design, LogisticBatch, products

_CG_STEPS = 300


class FeatureSystem:
    """The system H step = −slope of each problem, its preconditioner being (I + κ XᵀX)⁻¹."""

    def __init__(
        self, design: Design, batch: LogisticBatch, probabilities: Tensor, slope: Tensor
    ) -> None:
        """Set the system up in the precision of the design."""
        dtype = design.dtype
        self.design, self.batch = design, batch.to(dtype)
        self.probabilities = probabilities.to(dtype)
        self.shrink = _shrunk(design, batch, probabilities) - 1
        self.residual = -slope.to(dtype)
        self.preconditioned_residual = self.preconditioned(self.residual)
        self.energy = (self.residual * self.preconditioned_residual).sum((1, 2))

    def __getitem__(self, index: Tensor) -> FeatureSystem:
        """The same system of the chosen problems."""
        return _indexed(self, index)

    def image(self, change: Tensor) -> Tensor:
        """The Hessian times a change of weights."""
        along = self.design.along(change * self.batch.scale)
        curved = self.batch.hessian_times(self.probabilities, along)
        image = self.design.back(curved) * self.batch.scale
        return image.addcmul_(self.design.penalty, change)

    def preconditioned(self, residual: Tensor) -> Tensor:
        """(I + κ XᵀX)⁻¹ residual, in the span of the rows and outside it."""
        basis, transposed, _ = self.design.spectrum
        return residual + products(products(residual, basis) * self.shrink, transposed)

    def step(self, forcing: Tensor) -> Tensor:
        """The step, leaving the share `forcing` of the slope's squared norm."""
        return _usable(
            _conjugate_gradients(self, forcing), self.residual, self.preconditioned_residual
        ).double()


class SpectralSystem:
    """The same system in the coordinates where XᵀX is diagonal: preconditioning costs no product.

    The unknown is r ∘ w and its penalty is taken for that of w, which hardly changes the step where
    all scales are near one. The slope is exact, so the optimum is too.
    """

    @staticmethod
    def fits(design: Design, scale: Tensor) -> bool:
        """Whether all scales are near one, and the rows are held as one matrix."""
        return not isinstance(design, BlockDesign) and bool(((scale > 0.75) & (scale < 1.4)).all())

    def __init__(
        self, design: Design, batch: LogisticBatch, probabilities: Tensor, slope: Tensor
    ) -> None:
        """Set the system up in the precision of the design."""
        dtype = design.dtype
        self.design = design
        self.scale = batch.scale
        self.binary = batch.target.shape[1] == 1
        weight = batch.weight * probabilities
        weight = weight * (1 - probabilities) if self.binary else weight
        self.curvature_weight = weight.to(dtype)
        self.probabilities = probabilities.to(dtype)
        self.shrink = _shrunk(design, batch, probabilities)
        self.full_residual = -(slope / self.scale).to(dtype)
        self.residual = products(self.full_residual, design.spectrum[0])
        self.preconditioned_residual = self.preconditioned(self.residual)
        self.energy = (self.residual * self.preconditioned_residual).sum((1, 2))
        if self.residual.shape[2] < self.full_residual.shape[2]:
            outside = self.full_residual.square().sum((1, 2)) - self.residual.square().sum((1, 2))
            self.energy = self.energy + outside.clamp(min=0)

    def __getitem__(self, index: Tensor) -> SpectralSystem:
        """The same system of the chosen problems."""
        return _indexed(self, index)

    def image(self, change: Tensor) -> Tensor:
        """The Hessian times a change of coordinates."""
        rows, columns, penalty = self.design.spectral_rows
        along = products(change, columns)
        weighted = along.mul_(self.curvature_weight)
        if not self.binary:
            # s (p ∘ z − p (p · z)), where the weighted change is s p ∘ z
            weighted = weighted - self.probabilities * weighted.sum(1, keepdim=True)
        return products(weighted, rows).addcmul_(penalty, change)

    def preconditioned(self, residual: Tensor) -> Tensor:
        """(I + κ XᵀX)⁻¹ residual."""
        return residual * self.shrink

    def step(self, forcing: Tensor) -> Tensor:
        """The step, leaving the share `forcing` of the slope's squared norm."""
        inside = _usable(
            _conjugate_gradients(self, forcing), self.residual, self.preconditioned_residual
        )
        _, transposed, _ = self.design.spectrum
        if inside.shape[2] == self.full_residual.shape[2]:
            step = products(inside, transposed)
        else:
            step = self.full_residual + products(inside - self.residual, transposed)
        return step.double() / self.scale


System = TypeVar("System", FeatureSystem, SpectralSystem)


def _indexed(system: System, index: Tensor) -> System:
    chosen = copy.copy(system)
    for name, value in vars(system).items():
        if isinstance(value, (Tensor, LogisticBatch)):
            setattr(chosen, name, value[index])
    return chosen


def curvature(batch: LogisticBatch, probabilities: Tensor) -> Float[Tensor, " problem"]:
    """κ: half of the mean curvature, which is the sum of few rows: most have less."""
    variance = batch.weight * probabilities * (1 - probabilities)
    return 0.5 * variance.mean((1, 2)).clamp(min=1e-20)


def _shrunk(design: Design, batch: LogisticBatch, probabilities: Tensor) -> Tensor:
    """The factor 1 / (1 + κ λ) of each problem and eigenvalue λ; 1 / (κ λ) for the intercept."""
    kappa = curvature(batch, probabilities)
    eigenvalues = design.spectrum[2]
    ridge = torch.ones_like(eigenvalues)
    ridge[-1] = 0
    return (1 / (ridge + kappa[:, None, None] * eigenvalues)).to(eigenvalues)


def _usable(step: Tensor, residual: Tensor, first: Tensor) -> Tensor:
    """The step; the first preconditioned residual where it is not finite or does not descend."""
    usable = torch.isfinite(step).all(2).all(1) & ((residual * step).sum((1, 2)) > 0)
    return torch.where(usable[:, None, None], step, first)


def _conjugate_gradients(system: System, forcing: Tensor) -> Tensor:
    """H⁻¹ residual up to the share `forcing` of its squared norm; solved problems leave the batch."""
    residual, conjugate = system.residual.clone(), system.preconditioned_residual
    step, part = torch.zeros_like(residual), torch.zeros_like(residual)
    energy = (residual * conjugate).sum((1, 2))
    goal = forcing.to(energy) * energy
    live = torch.arange(len(residual), device=residual.device)
    for _ in range(_CG_STEPS):
        image = system.image(conjugate)
        rate = (energy / (conjugate * image).sum((1, 2)))[:, None, None]
        part.addcmul_(rate, conjugate)
        residual.addcmul_(rate, image, value=-1)
        preconditioned = system.preconditioned(residual)
        new_energy = (residual * preconditioned).sum((1, 2))
        unsolved = new_energy > goal  # False for NaN: a breakdown stops here
        n_unsolved = int(unsolved.sum())
        if not n_unsolved:
            break
        conjugate = preconditioned.addcmul_((new_energy / energy)[:, None, None], conjugate)
        energy = new_energy
        if n_unsolved * 4 <= len(unsolved) * 3:
            step[live] = part
            live, system = live[unsolved], system[unsolved]
            part, residual, conjugate, energy, goal = (
                x[unsolved] for x in (part, residual, conjugate, energy, goal)
            )
    step[live] = part
    return step
