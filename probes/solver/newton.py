"""Many L2-penalised logistic regressions over the same rows, solved together.

Problem p minimises, over a weight row w_k and an intercept b_k per class (one row where there are
two classes),

    f_p = ½ Σ_k ‖w_k‖² + Σ_i s_pi · loss(z_pi, y_pi),    z_pik = (r_p ∘ x_i) · w_k + b_k.

A row that problem p must not see has s_pi = 0, a feature scale of its own is r_p, a strength C is a
factor of s_p: folds, strengths, label draws and scalings of one set of activations are all problems
over the same x, and a step of all of them is one matrix product with it. Intercepts are free.

Newton's method with conjugate gradients. All products with the rows are in single precision first;
then the gradient and the scores are taken in double, where most problems prove to be at the
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

from probes.blocks import Blocks
from probes.solver.batch import Design, LogisticBatch, design
from probes.solver.conjugate_gradients import FeatureSystem, SpectralSystem, curvature

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
    features: Float[Tensor, "example d"] | Blocks, batch: LogisticBatch, *, tolerance: float = 3e-8
) -> Float[Tensor, "problem row feature"]:
    """The optimum of each problem, intercept last, in float64.

    A problem has converged where the objective is estimated to be within `tolerance` (relative) of
    its minimum, and within ½ (ε‖w‖)², ε = .001: since the penalty makes f strongly convex, f − f* ≥
    ½‖w − w*‖², so that flat problems too have their direction. The estimate is the size of the slope
    there, in the norm of the preconditioner, times what the last Newton step gained per size of its
    slope; it can be off by a factor of ten: 3e-8 leaves at most 1e-7 on the activations of a language
    model, and .001 a cosine of .99999.

    Args:
        features: the rows that the problems share.
        batch: the problems.
        tolerance: distance to the minimum, as a share of the objective.

    Warns:
        RuntimeWarning: if a problem did not converge.
    """
    rows = features if isinstance(features, Blocks) else Blocks(features)
    exact, fast = design(rows, torch.float64), design(rows, torch.float32)
    width = rows.shape[1] + 1
    size = batch.target.shape[1] * max(rows.shape[0], width)
    step = max(1, CHUNK // size)
    optima, missed = [], 0
    for start in range(0, len(batch), step):
        part = batch[slice(start, start + step)]
        weight = exact.penalty.new_zeros(*part.target.shape[:2], width)
        gain_per_energy = exact.penalty.new_full((len(part),), torch.inf)
        _newton(fast, fast, part, weight, gain_per_energy, tolerance)
        left = torch.arange(len(part), device=weight.device)
        for inner in (fast, exact):
            weight_left, gain_left = weight[left], gain_per_energy[left]
            done = _newton(exact, inner, part[left], weight_left, gain_left, tolerance)
            weight[left], gain_per_energy[left] = weight_left, gain_left
            left = left[~done]
            if not len(left):
                break
        missed += len(left)
        optima.append(weight)
    if missed:
        warnings.warn(
            f"{missed} of {len(batch)} logistic fits did not converge; lower C or raise tolerance",
            RuntimeWarning,
            stacklevel=2,
        )
    optimum = torch.cat(optima)
    # A common shift of all classes changes no score and only adds to the penalty.
    return optimum if optimum.shape[1] == 1 else _centred(optimum, torch.isfinite(batch.class_mask))


def _centred(weight: Tensor, present: Bool[Tensor, "problem row 1"]) -> Tensor:
    return (weight - weight.sum(1, keepdim=True) / present.sum(1, keepdim=True)) * present


def _newton(
    outer: Design,
    inner: Design,
    batch: LogisticBatch,
    start: Tensor,
    start_gain: Tensor,
    tolerance: float,
) -> Bool[Tensor, " problem"]:
    """Improve the weights `start` in place; say which problems converged.

    Scores and slopes are products with the rows of `outer`, the Hessian's with those of `inner`; all
    else is in double. `start_gain` is the most that a slope of this size in the norm of the
    preconditioner gained, decrement over energy, its largest so far: what is left of a slope lies
    along the directions that gain most. It is updated in place too.
    """
    weight, gain_per_energy = start.clone(), start_gain.clone()
    rough = inner.dtype != start.dtype
    penalty = outer.penalty.double()
    scores = outer.scores(weight * batch.scale)
    value = batch.losses(scores) + 0.5 * (weight.square() * penalty).sum((1, 2))
    converged = torch.zeros(len(batch), dtype=torch.bool, device=start.device)
    live = torch.arange(len(batch), device=start.device)
    system_of = SpectralSystem if rough and SpectralSystem.fits(inner, batch.scale) else FeatureSystem
    energy_before = torch.full_like(value, torch.inf)
    length = torch.ones_like(value)
    for turn in range(_NEWTON_STEPS + 1):
        probabilities = batch.probabilities(scores)
        slope = outer.slopes(batch.weight * (probabilities - batch.target))
        slope = (slope * batch.scale).addcmul_(penalty, weight)
        system = system_of(inner, batch, probabilities, slope)
        energy = system.energy.double()
        # What is left of the last slope: the residual of the inner solve and Newton's remainder.
        full_step = length == 1
        norm = (weight.square() * penalty).sum((1, 2))
        allowed = torch.minimum(tolerance * value, 0.5 * _DIRECTION**2 * norm + (_ZERO * value) ** 2)
        to_gain = gain_per_energy * energy
        done = ((to_gain <= allowed) | (energy == 0)) & full_step
        stalled = (energy > _COARSE**2 * energy_before) & (to_gain < _NEAR * value) & full_step
        leaving = done | (length == 0)
        if rough:
            # Where rounding of the largest eigenvalue exceeds the penalty, the norm cannot be trusted.
            leaving = leaving | stalled
            done = done & (curvature(batch, probabilities) * inner.noise * inner.largest < 1)
        if bool(leaving.any()) or turn == _NEWTON_STEPS:
            start[live], start_gain[live] = weight, gain_per_energy
            converged[live[done]] = True
            if bool(leaving.all()):
                break
            keep = ~leaving
            live, batch, system = live[keep], batch[keep], system[keep]
            weight, scores, value, slope, energy, gain_per_energy = (
                x[keep] for x in (weight, scores, value, slope, energy, gain_per_energy)
            )
        forcing = (energy / value).clamp(min=0).sqrt().clamp(min=_TIGHT, max=_LOOSE)
        step = system.step(forcing.square())
        change = outer.scores(step * batch.scale)
        gain = -(slope * step).sum((1, 2))
        search = LineSearch(weight, step, penalty, scores, change, value, gain)
        length, scores, value = search.halved(batch)
        weight = weight + length[:, None, None] * step
        latest = 0.5 * gain / energy
        largest = torch.maximum(gain_per_energy, latest)
        gain_per_energy = torch.where(gain_per_energy.isinf(), latest, largest)
        energy_before = energy
    return converged


@dataclass
class LineSearch:
    """The objective along a step: scores are linear in its length, so no matrix product is needed.

    Attributes:
        weight: where the step starts.
        step: the step in the weights.
        penalty: 1 for penalised features, 0 for the intercept.
        scores: at the start.
        change: of the scores along the whole step.
        value: the objective at the start.
        gain: minus the slope along the step.
    """

    weight: Float[Tensor, "problem row feature"]
    step: Float[Tensor, "problem row feature"]
    penalty: Float[Tensor, " feature"]
    scores: Float[Tensor, "problem row example"]
    change: Float[Tensor, "problem row example"]
    value: Float[Tensor, " problem"]
    gain: Float[Tensor, " problem"]

    def halved(self, batch: LogisticBatch) -> tuple[Tensor, Tensor, Tensor]:
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
            after = batch.losses(moved) + ridge
            enough = self.value - 1e-4 * length * self.gain + 1e-12 * self.value.abs()
            too_long = ~(after <= enough)
            if not bool(too_long.any()):
                break
            length = torch.where(too_long, length / 2 if halving < _HALVINGS - 1 else 0.0, length)
        return length, moved, after
