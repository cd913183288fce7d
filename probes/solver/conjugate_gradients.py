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

from probes.solver.batch import Design, Problems, products

_CG_STEPS = 300


class Plain:
    """The system H step = −slope of each problem, its preconditioner being (I + κ XᵀX)⁻¹."""

    def __init__(self, design: Design, problems: Problems, chance: Tensor, slope: Tensor) -> None:
        """In the precision of the design."""
        dtype = design.rows.dtype
        self.design, self.problems = design, problems.to(dtype)
        self.chance = chance.to(dtype)
        self.shrink = _shrunk(design, problems, chance) - 1
        self.residual = -slope.to(dtype)
        self.ahead = self.preconditioned(self.residual)
        self.energy = (self.residual * self.ahead).sum((1, 2))

    def __getitem__(self, index: Tensor) -> Plain:
        """Some of the problems."""
        return _indexed(self, index)

    def image(self, change: Tensor) -> Tensor:
        """The Hessian times a change of weights."""
        along = products(change * self.problems.scale, self.design.columns)
        curved = self.problems.curved(self.chance, along)
        image = products(curved, self.design.rows) * self.problems.scale
        return image.addcmul_(self.design.penalty, change)

    def preconditioned(self, residual: Tensor) -> Tensor:
        """(I + κ XᵀX)⁻¹ residual, in the span of the rows and outside it."""
        basis, transposed, _ = self.design.spectrum
        return residual + products(products(residual, basis) * self.shrink, transposed)

    def step(self, share: Tensor) -> Tensor:
        """The step, leaving this share of the slope's squared norm."""
        return _usable(_conjugate_gradients(self, share), self.residual, self.ahead).double()


class Turned:
    """The same in coordinates where XᵀX is diagonal: preconditioning costs no product there.

    The unknown is r ∘ w and its penalty is taken for that of w, which hardly changes the step where
    all scales are near one. The slope is exact, so the optimum is too.
    """

    @staticmethod
    def fits(scale: Tensor) -> bool:
        """Whether all scales are near one."""
        return bool(((scale > 0.75) & (scale < 1.4)).all())

    def __init__(self, design: Design, problems: Problems, chance: Tensor, slope: Tensor) -> None:
        """In the precision of the design."""
        dtype = design.features.dtype
        self.design = design
        self.scale = problems.scale
        self.binary = problems.target.shape[1] == 1
        bend = problems.weight * chance
        self.bend = (bend * (1 - chance) if self.binary else bend).to(dtype)
        self.chance = chance.to(dtype)
        self.shrink = _shrunk(design, problems, chance)
        self.whole = -(slope / self.scale).to(dtype)
        self.residual = products(self.whole, design.spectrum[0])
        self.ahead = self.preconditioned(self.residual)
        self.energy = (self.residual * self.ahead).sum((1, 2))
        if self.residual.shape[2] < self.whole.shape[2]:
            outside = self.whole.square().sum((1, 2)) - self.residual.square().sum((1, 2))
            self.energy = self.energy + outside.clamp(min=0)

    def __getitem__(self, index: Tensor) -> Turned:
        """Some of the problems."""
        return _indexed(self, index)

    def image(self, change: Tensor) -> Tensor:
        """The Hessian times a change of coordinates."""
        rows, columns, penalty = self.design.turned
        along = products(change, columns)
        bent = along.mul_(self.bend)
        if not self.binary:
            # s (p ∘ z − p (p · z)), where bent is s p ∘ z
            bent = bent - self.chance * bent.sum(1, keepdim=True)
        return products(bent, rows).addcmul_(penalty, change)

    def preconditioned(self, residual: Tensor) -> Tensor:
        """(I + κ XᵀX)⁻¹ residual."""
        return residual * self.shrink

    def step(self, share: Tensor) -> Tensor:
        """The step, leaving this share of the slope's squared norm."""
        inside = _usable(_conjugate_gradients(self, share), self.residual, self.ahead)
        _, transposed, _ = self.design.spectrum
        if inside.shape[2] == self.whole.shape[2]:
            step = products(inside, transposed)
        else:
            step = self.whole + products(inside - self.residual, transposed)
        return step.double() / self.scale


System = TypeVar("System", Plain, Turned)


def _indexed(system: System, index: Tensor) -> System:
    out = copy.copy(system)
    for name, value in vars(system).items():
        if isinstance(value, (Tensor, Problems)):
            setattr(out, name, value[index])
    return out


def curvature(problems: Problems, chance: Tensor) -> Float[Tensor, " problem"]:
    """κ: half of the mean curvature, which is the sum of few rows: most have less."""
    return 0.5 * (problems.weight * chance * (1 - chance)).mean((1, 2)).clamp(min=1e-20)


def _shrunk(design: Design, problems: Problems, chance: Tensor) -> Tensor:
    """1 / (1 + κ λ) of each problem and eigenvalue λ; the intercept has no 1."""
    kappa = curvature(problems, chance)
    eigenvalues = design.spectrum[2]
    ridge = torch.ones_like(eigenvalues)
    ridge[-1] = 0
    return (1 / (ridge + kappa[:, None, None] * eigenvalues)).to(eigenvalues)


def _usable(step: Tensor, residual: Tensor, first: Tensor) -> Tensor:
    """The step, or where it is not finite or does not descend the first preconditioned residual."""
    usable = torch.isfinite(step).all(2).all(1) & ((residual * step).sum((1, 2)) > 0)
    return torch.where(usable[:, None, None], step, first)


def _conjugate_gradients(system: System, share: Tensor) -> Tensor:
    """H⁻¹ residual up to a share of its squared norm; solved problems leave the batch."""
    residual, conjugate = system.residual.clone(), system.ahead
    step, part = torch.zeros_like(residual), torch.zeros_like(residual)
    energy = (residual * conjugate).sum((1, 2))
    goal = share.to(energy) * energy
    live = torch.arange(len(residual), device=residual.device)
    for _ in range(_CG_STEPS):
        image = system.image(conjugate)
        rate = (energy / (conjugate * image).sum((1, 2)))[:, None, None]
        part.addcmul_(rate, conjugate)
        residual.addcmul_(rate, image, value=-1)
        ahead = system.preconditioned(residual)
        fresh = (residual * ahead).sum((1, 2))
        more = fresh > goal  # False for NaN: a breakdown stops here
        left = int(more.sum())
        if not left:
            break
        conjugate = ahead.addcmul_((fresh / energy)[:, None, None], conjugate)
        energy = fresh
        if left * 4 <= len(more) * 3:
            step[live] = part
            live, system = live[more], system[more]
            part, residual, conjugate, energy, goal = (
                x[more] for x in (part, residual, conjugate, energy, goal)
            )
    step[live] = part
    return step
