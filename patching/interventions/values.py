"""Interventions that write values: replace, zero, mean, add, resample, scale, features, knockout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from interp.directions import Direction, Subspace
from interp.sites import Site
from patching.interventions.base import (
    HasTensors,
    Intervention,
    as_number,
    as_tensor,
    home_of,
    in_words,
    require_mask,
    tensors_of,
)
from patching.interventions.subspaces import spread


@dataclass(frozen=True, eq=False, repr=False)
class Replace(HasTensors):
    """Write a source in: h ← source (of a clean run, of another model, …).

    Attributes:
        source: *d, or [example, position, *d].
    """

    source: Tensor

    def __post_init__(self) -> None:
        """Take the source as a tensor."""
        object.__setattr__(self, "source", as_tensor("source", self.source))

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The source."""
        return {"source": self.source}

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """The source's rows."""
        return spread("source", self.source, act, example).expand_as(act)


@dataclass(frozen=True, eq=False, repr=False)
class Zero(HasTensors):
    """h ← 0."""

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """Zeros."""
        return torch.zeros_like(act)


@dataclass(frozen=True, eq=False, repr=False)
class Mean(HasTensors):
    """h ← a mean taken over a reference set, for instance one vector for all.

    Attributes:
        value: *d, or [example, position, *d].
    """

    value: Tensor

    def __post_init__(self) -> None:
        """Take the mean as a tensor."""
        object.__setattr__(self, "value", as_tensor("mean", self.value))

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The mean."""
        return {"mean": self.value}

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """The mean."""
        return spread("mean", self.value, act, example).expand_as(act)


@dataclass(frozen=True, eq=False, repr=False)
class Add(HasTensors):
    """Steer: h ← h + strength · v; a `Direction` (or a `Subspace` of rank one) gives its unit vector.

    Attributes:
        vector: v, *d or [example, position, *d].
        strength: its factor.

    Raises:
        ValueError: for a subspace of several dimensions, a vector that is not finite, or a strength
            that is no number.
    """

    vector: Tensor | Direction | Subspace
    strength: float = 1.0

    def __post_init__(self) -> None:
        """Check that there is one vector and one number."""
        if isinstance(self.vector, Subspace) and self.vector.basis.shape[1] != 1:
            raise ValueError(
                f"a vector to add is one direction, got a subspace of rank "
                f"{self.vector.basis.shape[1]}; expected a tensor, a Direction or a Subspace of rank 1"
            )
        if not isinstance(self.vector, Direction | Subspace):
            vector = as_tensor("vector", self.vector)
            # Of a tensor [example, position, *d] only the positions written are read: it may be padded.
            if vector.ndim < 3 and not bool(torch.isfinite(vector).all()):
                raise ValueError(
                    f"a vector to add must be finite, got NaN or infinity in {in_words(vector)}; "
                    "expected numbers, such as those of a Direction"
                )
            object.__setattr__(self, "vector", vector)
        object.__setattr__(self, "strength", as_number("strength", self.strength))

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The vector."""
        vector = self.vector
        if isinstance(vector, Subspace):
            return {"vector": vector.basis[:, 0]}
        return {"vector": vector.vector if isinstance(vector, Direction) else vector}

    @property
    def found_at(self) -> Site | None:
        """The direction's site."""
        return None if isinstance(self.vector, Tensor) else self.vector.site

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """The shifted activation."""
        return act + self.strength * spread("vector", self.tensors["vector"], act, example)


@dataclass(frozen=True, eq=False, repr=False)
class Resample(HasTensors):
    """Resample ablation: h ← the source's row of another example, `donor[example]`.

    Attributes:
        source: [example, position, *d].
        donor: a row of the source for each example.
    """

    source: Tensor
    donor: Int[Tensor, " example"]

    def __post_init__(self) -> None:
        """Check that every donor is a row of the source.

        Raises:
            ValueError: for donors that are no rows of it.
        """
        object.__setattr__(self, "source", as_tensor("source", self.source))
        rows = len(self.source)
        donor = as_tensor("donor", self.donor)
        if donor.ndim != 1 or donor.is_floating_point() or donor.dtype is torch.bool:
            raise ValueError(
                f"donor got {in_words(self.donor)}; expected a row of the source for each example"
            )
        object.__setattr__(self, "donor", donor)
        if not bool(((self.donor >= 0) & (self.donor < rows)).all()):
            raise ValueError(
                f"donor must hold rows 0..{rows - 1} of the source, got {self.donor.tolist()[:8]}; "
                "expected one for each example"
            )

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The source's rows are the donors', one for each example."""
        one = self.source[:1]
        return {"source": one if len(self.donor) == 1 else one.expand(len(self.donor), *one.shape[1:])}

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """The donors' rows."""
        chosen = self.donor.to(example.device)[example]
        return spread("source", self.source, act, chosen).expand_as(act)


@dataclass(frozen=True, eq=False, repr=False)
class Scale(HasTensors):
    """h ← factor · h, the factor a number.

    Attributes:
        factor: the number.

    Raises:
        ValueError: if it is none.
    """

    factor: float

    def __post_init__(self) -> None:
        """Check the number."""
        object.__setattr__(self, "factor", as_number("factor", self.factor))

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """The scaled activation."""
        return self.factor * act


@dataclass(frozen=True, eq=False, repr=False)
class Features(HasTensors):
    """Another intervention on some features only, for instance single MLP neurons.

    Attributes:
        intervention: what is done to them.
        index: which features, counted from 0.
    """

    intervention: Intervention
    index: Int[Tensor, " feature"]

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """Those of the intervention."""
        return tensors_of(self.intervention)

    @property
    def found_at(self) -> Site | None:
        """That of the intervention."""
        return home_of(self.intervention)

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """The activation with these features changed.

        Raises:
            ValueError: for a feature that the activation does not have.
        """
        width = act.shape[-1]
        if not bool(((self.index >= 0) & (self.index < width)).all()):
            raise ValueError(
                f"index must hold features 0..{width - 1}, got {self.index.tolist()[:8]}; "
                "expected features that the site has"
            )
        chosen = torch.zeros(width, dtype=torch.bool, device=act.device)
        chosen[self.index] = True
        return torch.where(chosen, self.intervention(act, example), act)


@dataclass(frozen=True, eq=False, repr=False)
class Knockout(HasTensors):
    """Cut attention to some keys (2304.14767): a ← a·(1 − m) / Σ_keys a·(1 − m), at `Kind.PATTERN`.

    The same as adding −∞ to their scores before the softmax. Keys are named in the examples'
    columns; those that come later, as text is generated, are kept. A query left with nothing to attend
    to attends to nothing.

    Attributes:
        keys: True at the keys cut off, [example, key].
    """

    keys: Tensor

    def __post_init__(self) -> None:
        """Check that keys are named by a mask."""
        require_mask("keys", self.keys)

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """The renormalised weights.

        Raises:
            ValueError: if the mask has other keys than the prompts.
        """
        later = act.shape[-1] - self.keys.shape[1]
        if later < 0 or (later > 0 and act.shape[1] == act.shape[-1]):
            raise ValueError(
                f"keys must be a mask [example, key] of {act.shape[-1]} keys; got "
                f"{tuple(self.keys.shape)}; expected one of the prompts that run"
            )
        named = self.keys if len(self.keys) == 1 else self.keys[example]
        named = torch.nn.functional.pad(named, (0, later))
        kept = act.masked_fill(named.reshape(len(named), *[1] * (act.ndim - 2), -1), 0)
        return kept / kept.sum(-1, keepdim=True).clamp(min=torch.finfo(act.dtype).tiny)
