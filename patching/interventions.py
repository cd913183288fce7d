"""Interventions: pure maps from an activation to its replacement.

`intervention(act, example)` takes the rows of one cell, [row, position, *d], and the example each
row belongs to, and returns new values of the same shape. It never writes in place and never decides
where: an `Edit` pairs it with a site and positions, and the engine writes only there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.directions import AffineEraser, Subspace
from interp.sites import Kind, Site


@runtime_checkable
class Intervention(Protocol):
    """A pure map from activations to replacements."""

    def __call__(
        self, act: Float[Tensor, "row position *d"], example: Int[Tensor, " row"]
    ) -> Float[Tensor, "row position *d"]:
        """Replacement values; only positions the edit names are used."""
        ...


@dataclass(frozen=True, eq=False)
class Replace:
    """Write a source in: h ← source, the source given per example (clean run, other model, …)."""

    source: Float[Tensor, "example *#place"]

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """The source's rows."""
        return self.source[example].to(act.dtype).expand_as(act)


@dataclass(frozen=True, eq=False)
class Zero:
    """h ← 0."""

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """Zeros."""
        return torch.zeros_like(act)


@dataclass(frozen=True, eq=False)
class Mean:
    """h ← a mean taken over a reference set, one vector for every example and position."""

    value: Float[Tensor, "*d"]

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """The mean."""
        return self.value.to(act).expand_as(act)


@dataclass(frozen=True, eq=False)
class Add:
    """Steer: h ← h + strength · v, with v shared by all or given per example (and position)."""

    vector: Float[Tensor, "#example #position *d"]
    strength: float = 1.0

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """The shifted activation."""
        vector = self.vector if len(self.vector) == 1 else self.vector[example]
        return act + self.strength * vector.to(act)


@dataclass(frozen=True, eq=False)
class Resample:
    """Resample ablation: h ← the source's row of another example, `donor[example]`."""

    source: Float[Tensor, "example *#place"]
    donor: Int[Tensor, " example"]

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """The donors' rows."""
        return self.source[self.donor[example]].to(act.dtype).expand_as(act)


@dataclass(frozen=True, eq=False)
class Scale:
    """h ← factor · h."""

    factor: float

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """The scaled activation."""
        return self.factor * act


@dataclass(frozen=True, eq=False)
class Features:
    """Another intervention on some features only, for instance single MLP neurons."""

    intervention: Intervention
    index: Int[Tensor, " feature"]

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """The activation with these features changed."""
        chosen = torch.zeros(act.shape[-1], dtype=torch.bool, device=act.device)
        chosen[self.index] = True
        return torch.where(chosen, self.intervention(act, example), act)


@dataclass(frozen=True, eq=False)
class Knockout:
    """Cut attention to some keys (2304.14767): a ← a·(1 − m) / Σ_keys a·(1 − m), at `Kind.PATTERN`.

    The same as adding −∞ to their scores before the softmax. `keys` is True at the keys cut off, in
    the examples' columns. A query left with nothing to attend to attends to nothing.
    """

    keys: Bool[Tensor, "example key"]

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """The renormalised weights."""
        cut = self.keys[example].reshape(len(example), *[1] * (act.ndim - 2), -1)
        kept = act.masked_fill(cut, 0)
        return kept / kept.sum(-1, keepdim=True).clamp(min=torch.finfo(act.dtype).tiny)


@dataclass(frozen=True, eq=False)
class Erase:
    """Write what an eraser (LEACE and its kin) leaves of an activation: h ← P h + bias."""

    eraser: AffineEraser

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """The erased activation."""
        return self.eraser.apply(act)


@dataclass(frozen=True, eq=False)
class ProjectOut:
    """Remove a subspace: h ← h − (h − mean)QQᵀ; with `mean` None the component itself goes."""

    subspace: Subspace
    mean: Float[Tensor, " d"] | None = None

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """The activation without its component in the subspace."""
        centred = act if self.mean is None else act - self.mean.to(act)
        return act - self.subspace.project(centred)


@dataclass(frozen=True, eq=False)
class SwapSubspace:
    """Exchange one subspace: h ← h + (source − h)QQᵀ, the source given per example."""

    subspace: Subspace
    source: Float[Tensor, "example *#place d"]

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """The activation with the source's component in the subspace."""
        source = self.source[example].to(act.dtype)
        return act + self.subspace.project(source - act)


@dataclass(frozen=True, eq=False)
class Edit:
    """An intervention at a site, at some positions of each example.

    `where` is True at the positions written, [example, position], in the examples' coordinates.
    """

    site: Site
    where: Bool[Tensor, "example position"]
    intervention: Intervention

    def apply(
        self, act: Float[Tensor, "row position *d"], example: Int[Tensor, " row"]
    ) -> Float[Tensor, "row position *d"]:
        """The rows with the intervention written at its positions, and nowhere else.

        Raises:
            ValueError: if the intervention returns another shape.
        """
        head = self.site.head
        before = act if head is None else act[:, :, head]
        after = self.intervention(before, example)
        if after.shape != before.shape:
            raise ValueError(
                f"an intervention at {self.site} must return shape {tuple(before.shape)}; "
                f"got {tuple(after.shape)}"
            )
        where = self.where[example]
        written = torch.where(where.reshape(*where.shape, *[1] * (before.ndim - 2)), after, before)
        if head is None:
            return written
        out = act.clone()
        out[:, :, head] = written
        return out


@dataclass(frozen=True, eq=False)
class Cell:
    """One row of a sweep per example: edits applied together, possibly at several sites."""

    edits: tuple[Edit, ...]

    @property
    def entry(self) -> int:
        """The boundary at which the cell leaves the unedited run; below it the two are equal."""
        return min(e.site.layer + (e.site.kind is Kind.RESID_POST) for e in self.edits)
