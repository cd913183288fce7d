"""Lining up positions of prompts whose subjects differ in length.

Prompts of one query form share their words outside the subject. A slot is a position named by that
layout: in what all prompts begin with by offset from the start, from there to the subject by offset
from its first token, as it may stand there once before, inside it by offset from its last token, after
it by offset from the end. Prompts without a subject are lined up at their ends. Averages over
prompts are taken slot by slot, and so are predictions from other prompts, which are never made from
the very state that is predicted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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
        prefix: number of the prompt's tokens up to and with the slot; equal where they are equal.
        common: whether all prompts begin alike up to and with the slot.
        width: number of padded positions of the prompts.
    """

    position: Int[Tensor, "example slot"]
    present: Bool[Tensor, "example slot"]
    prefix: Int[Tensor, "example slot"]
    common: Bool[Tensor, " slot"]
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
        shared = common_to_all(examples)
        alike = min(int(shared.sum(1).min()), int(before.min()))
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
        prefix = _prefixes(examples).gather(1, (position - whole[:, :1]).clamp(min=0))
        position = position.where(present, 0)
        common = (shared.gather(1, position) & present).all(0)
        return cls(position, present, prefix, common, examples.tokens.shape[1])

    def subset(self, chosen: Int[Tensor, " chosen"]) -> Layout:
        """The layout of some of the prompts, in the order given; `common` stays that of all."""
        position, present, prefix = self.position[chosen], self.present[chosen], self.prefix[chosen]
        return replace(self, position=position, present=present, prefix=prefix)

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


def _prefixes(examples: Examples) -> Int[Tensor, "example length"]:
    """A number for the first 1, 2, … tokens of each prompt, padding left out before them."""
    width = examples.tokens.shape[1]
    column = examples.starts[:, None] + torch.arange(width, device=examples.tokens.device)
    tokens = examples.tokens.gather(1, column.clamp(max=width - 1))
    numbers, so_far = [], torch.zeros_like(tokens[:, 0])
    for following in tokens.T:
        so_far = torch.stack([so_far, following], 1).unique(dim=0, return_inverse=True)[1]
        numbers.append(so_far)
    return torch.stack(numbers, 1)


def predict_by_slot(
    features: Float[Tensor, "example f"],
    targets: Float[Tensor, "example slot d"],
    layout: Layout,
    folds: Int[Tensor, " example"],
    said: Int[Tensor, " example"],
    least: int,
) -> Float[Tensor, "example slot d"]:
    """Ridge predictions of every slot from other prompts, never from the state that is predicted.

    Attention looks only back: prompts that begin alike up to a slot have one state there, and what a
    tune tells of each of them stands in it. None is predicted from another there, unless they say one
    token and all of that beginning do, or as many as make it a part: it then tells of no single one.

    Args:
        features: what is predicted from.
        targets: what is predicted.
        layout: the slots; a prompt that lacks one is neither learnt from nor predicted there.
        folds: the fold of each prompt, none of which is learnt from either.
        said: the token of each prompt.
        least: how many prompts of one token are a part.

    Returns:
        The predictions; zero where there is nothing to learn from, and where all prompts begin alike:
        there is nothing to predict.
    """
    predicted = torch.zeros_like(targets)
    told = (~layout.common).nonzero()[:, 0]
    teachers = _teachers(layout.prefix[:, told].T, layout.present[:, told].T, said, least)
    learnt_from = teachers & (folds[:, None] != folds)
    kinds, kind_of = learnt_from.unique(dim=0, return_inverse=True)
    for kind, others in enumerate(kinds):
        slots = told[kind_of == kind]
        fitted = ridge_cross_fitted(features, targets[:, slots].flatten(1), others)
        predicted[:, slots] = fitted.unflatten(1, (len(slots), -1))
    return predicted


def _teachers(
    prefix: Int[Tensor, "slot example"],
    present: Bool[Tensor, "slot example"],
    said: Int[Tensor, " example"],
    least: int,
) -> Bool[Tensor, "slot example other"]:
    """From whom each prompt may be predicted: who has the slot, and no state there that tells of it."""
    both = present[:, :, None] & present[:, None, :]
    one_state = (prefix[:, :, None] == prefix[:, None, :]) & both
    one_token = one_state & (said[:, None] == said)
    begin_alike, say_alike = one_state.sum(2, keepdim=True), one_token.sum(2, keepdim=True)
    shared = one_token & ((say_alike == begin_alike) | (say_alike >= least))
    return both & (~one_state | shared)


def ridge_cross_fitted(
    features: Float[Tensor, "example f"],
    targets: Float[Tensor, "example t"],
    learnt_from: Bool[Tensor, "example other"],
) -> Float[Tensor, "example t"]:
    """Ridge predictions of each example from others only.

    Dual ridge, Ŷ = K(K + λI)⁻¹Y with centred linear K; λ is chosen inside each training part by its
    closed-form leave-one-out error, from 10⁻⁴…10⁴ times the mean eigenvalue of K. Features and
    targets are centred with the training part's means.

    Args:
        features: what is predicted from.
        targets: what is predicted.
        learnt_from: from which others each example is predicted, such as those of other folds.

    Returns:
        The predictions; zero for an example that has nothing to be predicted from.
    """
    predictions = torch.zeros_like(targets)
    parts, part_of = learnt_from.unique(dim=0, return_inverse=True)
    for part, train in enumerate(parts):
        if not train.any():
            continue
        test = part_of == part
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
