"""Lining up positions of prompts whose subjects differ in length.

Prompts of one query form share their words outside the subject. A slot is a position named by that
layout: in what all prompts begin with by offset from the start, from there to the subject by offset
from its first token, as it may stand there once before, inside it by offset from its last token, after
it by offset from the end. Prompts without a subject are lined up at their ends. Averages over
prompts are taken slot by slot.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.examples import Examples
from patching.engine.beginnings import common_to_all


@dataclass(frozen=True, eq=False)
class Layout:
    """Where each slot stands in each prompt.

    Attributes:
        position: the position of each slot, [example, slot]; 0 where absent.
        present: whether the prompt has the slot (short subjects lack the early ones).
        width: number of padded positions of the prompts.
    """

    position: Int[Tensor, "example slot"]
    present: Bool[Tensor, "example slot"]
    width: int

    @classmethod
    def of(cls, examples: Examples) -> Layout:
        """The layout of prompts of one query form.

        Raises:
            ValueError: if the prompts differ outside their subjects in token count.
        """
        whole = examples.spans["all"]
        subject = examples.spans.get("subject", whole)
        before = subject[:, 0] - whole[:, 0]
        after = whole[:, 1] - subject[:, 1]
        again = before - (subject[:, 1] - subject[:, 0])  # where the subject stood once before
        if min(len(before.unique()), len(again.unique())) > 1 or len(after.unique()) > 1:
            raise ValueError(
                "prompts of one query form must have the same tokens outside the subject; got "
                f"{before.unique().tolist()} before and {after.unique().tolist()} after it; "
                "give one form at a time"
            )
        # Behind what all begin with, places before the subject are counted backwards from it.
        alike = min(int(common_to_all(examples).sum(1).min()), int(before.min()))
        rest, inside = int(before.max()) - alike, int((subject[:, 1] - subject[:, 0]).max())
        steps = torch.arange
        device = subject.device
        columns = [
            whole[:, :1] + steps(alike, device=device),
            subject[:, :1] - rest + steps(rest, device=device),
            subject[:, 1:] - inside + steps(inside, device=device),
            subject[:, 1:] + steps(int(after[0]), device=device),
        ]
        position = torch.cat(columns, 1)
        present = torch.ones_like(position, dtype=torch.bool)
        present[:, alike : alike + rest] = columns[1] >= whole[:, :1] + alike
        body = slice(alike + rest, alike + rest + inside)
        present[:, body] = columns[2] >= subject[:, :1]
        return cls(position.where(present, 0), present, examples.tokens.shape[1])

    def gather(self, values: Float[Tensor, "example position d"]) -> Float[Tensor, "example slot d"]:
        """Values by slot, zero where the slot is absent."""
        column = self.position[..., None].expand(-1, -1, values.shape[-1])
        return values.gather(1, column).where(self.present[..., None], 0.0)

    def scatter(self, slots: Float[Tensor, "example slot d"]) -> Float[Tensor, "example position d"]:
        """Values back at their positions, zero at padding."""
        values = slots.new_zeros(len(slots), self.width, slots.shape[-1])
        row = torch.arange(len(slots), device=slots.device)[:, None].expand_as(self.position)
        values[row[self.present], self.position[self.present]] = slots[self.present]
        return values

    def others_mean(
        self,
        slots: Float[Tensor, "example slot d"],
        classes: Int[Tensor, " example"],
    ) -> Float[Tensor, "example slot d"]:
        """Leave-one-out mean of each slot over the other prompts of the same class.

        Zero where no other prompt of the class has the slot: nothing is assumed there.
        """
        means = torch.zeros_like(slots)
        weight = self.present[..., None].to(slots.dtype)
        for label in classes.unique():
            members = classes == label
            values = (slots * weight)[members]
            total, count = values.sum(0), weight[members].sum(0)
            others = count - weight[members]
            means[members] = torch.where(others > 0, (total - values) / others.clamp(min=1), 0.0)
        return means


def ridge_cross_fitted(
    features: Float[Tensor, "example f"],
    targets: Float[Tensor, "example t"],
    folds: Int[Tensor, " example"],
) -> Float[Tensor, "example t"]:
    """Ridge predictions of each example from the other folds only.

    Dual ridge, Ŷ = K(K + λI)⁻¹Y with centred linear K; λ is chosen inside each training part by its
    closed-form leave-one-out error, from 10⁻⁴…10⁴ times the mean eigenvalue of K. Features and
    targets are centred with the training part's means.

    Raises:
        ValueError: with fewer than two folds.
    """
    if len(folds.unique()) < 2:
        raise ValueError("cross-fitting needs at least two folds; got one; give more groups")
    predictions = torch.zeros_like(targets)
    for fold in folds.unique():
        test, train = folds == fold, folds != fold
        mean, level = features[train].mean(0), targets[train].mean(0)
        x, y = features[train] - mean, targets[train] - level
        kernel = x @ x.T
        values, vectors = torch.linalg.eigh(kernel)
        values, rotated = values.clamp(min=0), vectors.T @ y
        scale = values.mean().clamp(min=1e-12)
        best, weights = torch.inf, torch.zeros_like(y)
        for power in range(-4, 5):
            penalty = scale * 10.0**power
            shrink = 1 / (values + penalty)
            alpha = vectors @ (shrink[:, None] * rotated)
            # Residual of leaving one out: α_i / [(K + λI)⁻¹]_ii.
            diagonal = (vectors**2 * shrink).sum(1)
            error = float((alpha / diagonal[:, None]).square().mean())
            if error < best:
                best, weights = error, alpha
        predictions[test] = (features[test] - mean) @ (x.T @ weights) + level
    return predictions
