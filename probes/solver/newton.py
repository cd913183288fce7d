"""Many L2-penalised logistic regressions over the same rows, solved together.

Problem p minimises, over a weight row w_k and an intercept b_k per class (one row where there are
two classes),

    f_p = ½ Σ_k ‖w_k‖² + Σ_i s_pi · loss(z_pi, y_pi),    z_pik = (r_p ∘ x_i) · w_k + b_k.

A row that problem p must not see has s_pi = 0, a feature scale of its own is r_p, a strength C is a
factor of s_p: folds, strengths, label draws and scalings of one set of activations are all problems
over the same x, and a step of all of them is one matrix product with it. Intercepts are free.

Newton's method with conjugate gradients. All products with the rows are in single precision first;
then the gradient and the scores are taken in double, where most problems are found to be at the
optimum and the others take more steps; what single precision in the Hessian cannot bring there is
finished in double altogether. So the optimum is that of double precision. The conjugate gradients are
preconditioned by (I + κ_p XᵀX)⁻¹, κ_p half the mean curvature of the problem. The eigenvectors of XᵀX
are computed once for all problems, and where the r_p are near one the conjugate gradients run in
their coordinates. Problems leave the batch as they converge.

Source: Dembo, Eisenstat & Steihaug 1982 (inexact Newton); scikit-learn's LogisticRegression is the
same optimum.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from probes.solver.batch import Design, Problems, products
from probes.solver.conjugate_gradients import Plain, Turned, curvature

#: Numbers per array of a chunk of problems; larger batches are cut into chunks.
CHUNK = 2_000_000

_NEWTON_STEPS, _HALVINGS = 60, 30

#: The inner solve may leave these shares of the slope, far from and near the optimum; single
#: precision that leaves more than the last has reached its limit.
_LOOSE, _TIGHT, _COARSE = 0.3, 0.1, 0.7

#: Left to gain, as a share of the objective, where a slope that does not fall is a limit of precision.
_NEAR = 1e-2

#: The distance to the optimum allowed as a share of the weights, and, as a share of the objective,
#: where the optimum is zero weights.
_DIRECTION, _ZERO = 0.001, 1e-12


def minimise(
    features: Float[Tensor, "example d"], problems: Problems, *, tolerance: float = 3e-8
) -> Float[Tensor, "problem row feature"]:
    """The optimum of each problem, intercept last, in float64.

    A problem has converged where the objective is estimated to be within `tolerance` (relative) of
    its minimum, and within ½ (ε‖w‖)², ε = .001: since the penalty makes f strongly convex, f − f* ≥
    ½‖w − w*‖², so that flat problems too have their direction. The estimate is the size of the slope
    there, in the norm of the preconditioner, times what the last Newton step gained per size of its
    slope; it can be off by a factor of ten: 3e-8 leaves at most 1e-7 on the activations of a language
    model, and .001 a cosine of .99999.

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
        promise = features.new_full((len(part),), torch.inf)
        _newton(fast, fast, part, at, promise, tolerance)
        left = torch.arange(len(part), device=features.device)
        for inner in (fast, exact):
            weight, promised = at[left], promise[left]
            done = _newton(exact, inner, part[left], weight, promised, tolerance)
            at[left], promise[left] = weight, promised
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
    outer: Design, inner: Design, problems: Problems, found: Tensor, promised: Tensor, tolerance: float
) -> Bool[Tensor, " problem"]:
    """Improve the weights `found` in place; which of them converged.

    Scores and slopes are products with the rows of `outer`, the Hessian's with those of `inner`; all
    else is in double. `promised` is the most that a slope of this size in the norm of the
    preconditioner promised, decrement over energy, its largest so far: what is left of a slope lies
    along the directions that gain most. It is updated in place too.
    """
    weight, promise = found.clone(), promised.clone()
    rough = inner.rows.dtype != found.dtype
    penalty = outer.penalty.double()
    scores = _product(weight * problems.scale, outer.rows.T)
    value = problems.losses(scores) + 0.5 * (weight.square() * penalty).sum((1, 2))
    converged = torch.zeros(len(problems), dtype=torch.bool, device=found.device)
    live = torch.arange(len(problems), device=found.device)
    kind = Turned if rough and Turned.fits(problems.scale) else Plain
    before = torch.full_like(value, torch.inf)
    length = torch.ones_like(value)
    for turn in range(_NEWTON_STEPS + 1):
        chance = problems.chances(scores)
        slope = _product(problems.weight * (chance - problems.target), outer.rows)
        slope = (slope * problems.scale).addcmul_(penalty, weight)
        system = kind(inner, problems, chance, slope)
        energy = system.energy.double()
        # What is left of the last slope: the residual of the inner solve and Newton's remainder.
        full = length == 1
        norm = (weight.square() * penalty).sum((1, 2))
        allowed = torch.minimum(tolerance * value, 0.5 * _DIRECTION**2 * norm + (_ZERO * value) ** 2)
        done = ((promise * energy <= allowed) | (energy == 0)) & full
        blunt = (energy > _COARSE**2 * before) & (promise * energy < _NEAR * value) & full
        out = done | (length == 0)
        if rough:
            # Where rounding of the largest eigenvalue exceeds the penalty, the norm cannot be trusted.
            out = out | blunt
            done = done & (curvature(problems, chance) * inner.noise * inner.largest < 1)
        if bool(out.any()) or turn == _NEWTON_STEPS:
            found[live], promised[live] = weight, promise
            converged[live[done]] = True
            if bool(out.all()):
                break
            keep = ~out
            live, problems, system = live[keep], problems[keep], system[keep]
            weight, scores, value, slope, energy, promise = (
                x[keep] for x in (weight, scores, value, slope, energy, promise)
            )
        forcing = (energy / value).clamp(min=0).sqrt().clamp(min=_TIGHT, max=_LOOSE)
        step = system.step(forcing.square())
        change = _product(step * problems.scale, outer.rows.T)
        gain = -(slope * step).sum((1, 2))
        search = Line(weight, step, penalty, scores, change, value, gain)
        length, scores, after = search.halved(problems)
        weight = weight + length[:, None, None] * step
        latest = 0.5 * gain / energy
        promise = torch.where(promise.isinf(), latest, torch.maximum(promise, latest))
        before, value = energy, after
    return converged


def _product(left: Float[Tensor, "problem row a"], right: Float[Tensor, "a b"]) -> Tensor:
    """A product in the precision of `right`, given back in double."""
    return products(left.to(right.dtype), right).double()


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
