"""Many L2-penalised logistic regressions over the same rows, solved together.

Problem p minimises, over a weight row w_k and an intercept b_k per class (one row where there are
two classes),

    f_p = ½ Σ_k ‖w_k‖² + Σ_i s_pi · loss(z_pi, y_pi),    z_pik = (r_p ∘ x_i) · w_k + b_k.

A row that problem p must not see has s_pi = 0, a feature scale of its own is r_p, a strength C is a
factor of s_p: folds, strengths, label draws and scalings of one set of activations are all problems
over the same x, and a step of all of them is one matrix product with it. Intercepts are free.

Newton's method with conjugate gradients, where products with the Hessian are in single precision and
the gradient, the scores and the step length in double, so that the optimum is that of double
precision. The conjugate gradients are preconditioned by (I + κ_p XᵀX)⁻¹, κ_p the mean curvature of
the problem, whose eigenvectors are computed once for all problems. Problems leave the batch as they
converge; what single precision cannot bring there is finished in double.

Source: Dembo, Eisenstat & Steihaug 1982 (inexact Newton); scikit-learn's LogisticRegression is the
same optimum.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import softplus

#: Numbers per array of a chunk of problems; larger batches are cut into chunks.
CHUNK = 2_000_000
_NEWTON_STEPS, _CG_STEPS, _HALVINGS = 60, 300, 30
#: The inner solve may leave these shares of the slope, far from and near the optimum; single
#: precision that leaves more than the last has reached its limit.
_LOOSE, _TIGHT, _COARSE = 0.3, 0.1, 0.7


@dataclass
class Problems:
    """What differs between problems that share their rows; the first axis is always the problem.

    `target` is 1 in the row of the right class (of two classes: 1 for the second), `weight` the s_pi,
    `scale` the r_p with a last 1 for the intercept, `shut` is −inf at classes that are absent.
    """

    target: Float[Tensor, "problem row example"]
    weight: Float[Tensor, "problem 1 example"]
    scale: Float[Tensor, "problem 1 feature"]
    shut: Float[Tensor, "problem row 1"]

    def __getitem__(self, index: Tensor | slice) -> Problems:
        """Some of the problems."""
        return Problems(*(getattr(self, f.name)[index] for f in fields(self)))

    def __len__(self) -> int:
        """How many problems."""
        return len(self.target)

    def losses(self, scores: Float[Tensor, "problem row example"]) -> Float[Tensor, " problem"]:
        """The weighted log-loss of each problem, without the penalty."""
        if scores.shape[1] == 1:
            each = softplus(scores) - self.target * scores
        else:
            each = (scores + self.shut).logsumexp(1, keepdim=True)
            each = each - (self.target * scores).sum(1, keepdim=True)
        return (self.weight * each).sum((1, 2))

    def curved(self, chance: Tensor, change: Tensor) -> Tensor:
        """The Hessian of the loss in the scores, at these probabilities, times a change of scores."""
        bent = chance * change
        return self.weight * (bent - chance * bent.sum(1, keepdim=True))

    def to(self, dtype: torch.dtype) -> Problems:
        """In another precision."""
        return Problems(*(getattr(self, f.name).to(dtype) for f in fields(self)))

    def chances(self, scores: Float[Tensor, "problem row example"]) -> Tensor:
        """The probability of each row's class."""
        return scores.sigmoid() if scores.shape[1] == 1 else (scores + self.shut).softmax(1)


class Design:
    """The rows shared by all problems, with a last column of ones, and their spectrum."""

    def __init__(self, features: Float[Tensor, "example d"]) -> None:
        """Features (centred, or nearly) in the precision to compute in."""
        n, d = features.shape
        self.features = features
        self.rows = torch.cat([features, features.new_ones(n, 1)], dim=1)
        self.columns = self.rows.T.contiguous()
        self.penalty = features.new_ones(d + 1)
        self.penalty[-1] = 0

    @cached_property
    def spectrum(self) -> tuple[Tensor, Tensor, Tensor]:
        """Eigenvectors of XᵀX, [feature, rank] and transposed, the last the intercept's, and values."""
        features = self.features
        n, d = features.shape
        if n < d:
            # In double: columns longer than one would make the preconditioner indefinite.
            exact = features.double()
            energy, left = torch.linalg.eigh(exact @ exact.T)
            held = energy > 1e-8 * energy[-1].clamp(min=1e-30)
            energy = energy[held]
            basis = (exact.T @ (left[:, held] / energy.sqrt())).to(features.dtype)
            energy = energy.to(features.dtype)
        else:
            energy, basis = torch.linalg.eigh(features.T @ features)
        basis = torch.block_diag(basis, features.new_ones(1, 1))
        energy = torch.cat([energy.clamp(min=0), energy.new_full((1,), float(n))])
        return basis, basis.T.contiguous(), energy


def minimise(
    features: Float[Tensor, "example d"], problems: Problems, *, tolerance: float = 1e-8
) -> Float[Tensor, "problem row feature"]:
    """The optimum of each problem, intercept last, in float64.

    A problem has converged where the objective is estimated to be within `tolerance` (relative) of
    its minimum. The estimate comes from the last Newton decrement ½ gᵀH⁻¹g and can be off by a factor
    of ten: 1e-8 leaves at most 1e-7 on the activations of a language model.

    Warns:
        RuntimeWarning: if a problem did not converge.
    """
    features = features.double()
    exact, fast = Design(features), Design(features.float())
    size = problems.target.shape[1] * max(exact.rows.shape)
    step = max(1, CHUNK // size)
    found, missed = [], 0
    for start in range(0, len(problems), step):
        part = problems[slice(start, start + step)]
        at = features.new_zeros(*part.target.shape[:2], exact.rows.shape[1])
        left = torch.arange(len(part), device=features.device)
        for inner in (fast, exact):
            done = _newton(exact, inner, part[left], at, left, tolerance)
            left = left[~done]
            if not len(left):
                break
        missed += len(left)
        found.append(at)
    if missed:
        warnings.warn(
            f"{missed} of {len(problems)} logistic fits did not converge; lower C or raise tolerance",
            RuntimeWarning,
            stacklevel=2,
        )
    out = torch.cat(found)
    # A common shift of all classes changes no score and only adds to the penalty.
    return out if out.shape[1] == 1 else _centred(out, torch.isfinite(problems.shut))


def _centred(weight: Tensor, present: Bool[Tensor, "problem row 1"]) -> Tensor:
    return (weight - weight.sum(1, keepdim=True) / present.sum(1, keepdim=True)) * present


def _newton(
    exact: Design, inner: Design, problems: Problems, found: Tensor, where: Tensor, tolerance: float
) -> Bool[Tensor, " problem"]:
    """Improve found[where] in place; which of them converged."""
    weight = found[where]
    scores = _products(weight * problems.scale, exact.columns)
    value = problems.losses(scores) + 0.5 * (weight.square() * exact.penalty).sum((1, 2))
    converged = torch.zeros(len(problems), dtype=torch.bool, device=found.device)
    live = torch.arange(len(problems), device=found.device)
    for _ in range(_NEWTON_STEPS):
        chance = problems.chances(scores)
        slope = _products(problems.weight * (chance - problems.target), exact.rows)
        slope = slope * problems.scale + exact.penalty * weight
        step, change, forcing = _direction(exact, inner, problems, chance, slope, value)
        gain = -(slope * step).sum((1, 2))
        search = Line(weight, step, exact.penalty, scores, change, value, gain)
        length, scores, after = search.halved(problems)
        weight = weight + length[:, None, None] * step
        decrement = gain / (2 * value)
        value = after
        # After a full step: the residual of the inner solve, and Newton's quadratic remainder.
        ahead = torch.maximum(decrement * forcing.square(), decrement**1.5)
        done = (ahead <= tolerance) & (length == 1)
        stuck = (length == 0) | ((forcing > _COARSE) & (inner is not exact))
        out = done | stuck
        if bool(out.any()):
            found[where[live[out]]] = weight[out]
            converged[live[done]] = True
            live, problems = live[~out], problems[~out]
            weight, scores, value = weight[~out], scores[~out], value[~out]
            if not len(live):
                return converged
    found[where[live]] = weight
    return converged


@dataclass
class Line:
    """The objective along a step: scores are linear in its length, so no matrix product is needed."""

    weight: Float[Tensor, "problem row feature"]
    step: Float[Tensor, "problem row feature"]
    penalty: Float[Tensor, " feature"]
    scores: Float[Tensor, "problem row example"]
    change: Float[Tensor, "problem row example"]
    value: Float[Tensor, " problem"]
    gain: Float[Tensor, " problem"]

    def halved(self, problems: Problems) -> tuple[Tensor, Tensor, Tensor]:
        """Lengths (0: stuck), scores and objectives after halving until the objective falls."""
        linear, square, start = (
            (a * b * self.penalty).sum((1, 2))
            for a, b in (
                (self.weight, self.step),
                (self.step, self.step),
                (self.weight, self.weight),
            )
        )
        length = torch.ones_like(self.value)
        moved, after = self.scores, self.value
        for halving in range(_HALVINGS + 1):
            moved = self.scores + length[:, None, None] * self.change
            ridge = 0.5 * (start + 2 * length * linear + length.square() * square)
            after = problems.losses(moved) + ridge
            enough = self.value - 1e-4 * length * self.gain + 1e-12 * self.value.abs()
            bad = ~(after <= enough)
            if not bool(bad.any()):
                break
            length = torch.where(bad, length / 2 if halving < _HALVINGS - 1 else 0.0, length)
        return length, moved, after


def _direction(
    exact: Design, inner: Design, problems: Problems, chance: Tensor, slope: Tensor, value: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The Newton step −H⁻¹ slope, its change of scores, and the share of the slope that it leaves.

    Solved by preconditioned conjugate gradients in the inner precision; the share left over (in the
    norm of the preconditioner) is measured in the exact one.
    """
    dtype = inner.rows.dtype
    curvature = (problems.weight * chance * (1 - chance)).mean((1, 2)).clamp(min=1e-20)
    eigenvalues = inner.spectrum[2]
    ridge = torch.ones_like(eigenvalues)
    ridge[-1] = 0
    shrink = (1 / (ridge + curvature[:, None, None] * eigenvalues) - 1).to(dtype)
    residual = -slope.to(dtype)
    first = _preconditioned(inner, residual, shrink)
    start = (residual * first).sum((1, 2))
    forcing = (start / value.to(dtype)).clamp(min=0).sqrt().clamp(min=_TIGHT, max=_LOOSE)
    step = _conjugate_gradients(
        inner, problems.to(dtype), chance.to(dtype), residual, first, shrink, forcing.square()
    )
    usable = torch.isfinite(step).all(2).all(1) & ((residual * step).sum((1, 2)) > 0)
    step = torch.where(usable[:, None, None], step, first).double()
    change = _products(step * problems.scale, exact.columns)
    image = _products(problems.curved(chance, change), exact.rows) * problems.scale
    missing = (slope + image + exact.penalty * step).to(dtype)
    left = (missing * _preconditioned(inner, missing, shrink)).sum((1, 2)) / start
    return step, change, left.clamp(min=0).sqrt().double()


def _conjugate_gradients(
    design: Design,
    problems: Problems,
    chance: Tensor,
    residual: Tensor,
    conjugate: Tensor,
    shrink: Tensor,
    share: Tensor,
) -> Tensor:
    """H⁻¹ residual up to a share of its squared norm; solved problems leave the batch."""
    step, part = torch.zeros_like(residual), torch.zeros_like(residual)
    energy = (residual * conjugate).sum((1, 2))
    goal = share * energy
    live = torch.arange(len(problems), device=residual.device)
    for _ in range(_CG_STEPS):
        along = _products(conjugate * problems.scale, design.columns)
        image = _products(problems.curved(chance, along), design.rows) * problems.scale
        image = image + design.penalty * conjugate
        rate = (energy / (conjugate * image).sum((1, 2)))[:, None, None]
        part = part.addcmul(rate, conjugate)
        residual = residual.addcmul(rate, image, value=-1)
        ahead = _preconditioned(design, residual, shrink)
        fresh = (residual * ahead).sum((1, 2))
        more = fresh > goal  # False for NaN: a breakdown stops here
        if not bool(more.any()):
            break
        conjugate = ahead.addcmul((fresh / energy)[:, None, None], conjugate)
        energy = fresh
        if int((~more).sum()) * 4 >= len(more):
            step[live] = part
            live, problems = live[more], problems[more]
            part, residual, conjugate, energy, goal, chance, shrink = (
                x[more] for x in (part, residual, conjugate, energy, goal, chance, shrink)
            )
    step[live] = part
    return step


def _preconditioned(design: Design, residual: Tensor, shrink: Tensor) -> Tensor:
    """(I + κ XᵀX)⁻¹ residual, in the span of the rows and outside it."""
    basis, transposed, _ = design.spectrum
    return residual + _products(_products(residual, basis) * shrink, transposed)


def _products(left: Float[Tensor, "problem row a"], right: Float[Tensor, "a b"]) -> Tensor:
    """One matrix product for all problems and classes."""
    return (left.flatten(0, 1) @ right).unflatten(0, left.shape[:2])
