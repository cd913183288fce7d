"""Interventions: pure maps from an activation to its replacement.

`intervention(act, example)` takes the rows of one cell, [row, position, *d], and the example each
row belongs to, and returns new values of the same shape. It never writes in place and never decides
where: an `Edit` pairs it with a site and positions, and the engine writes only there.

A tensor given to an intervention has the site's own shape *d, shared by all, or [example, position,
*d] with ones where it is shared. Every other shape is refused: nothing is broadcast along *d. Such
tensors are an intervention's `tensors`, and `found_at` is the site its direction was read at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.directions import AffineEraser, Direction, Subspace
from interp.sites import HEADED, Kind, Site


@runtime_checkable
class Intervention(Protocol):
    """A pure map from activations to replacements."""

    def __call__(
        self, act: Float[Tensor, "row position *d"], example: Int[Tensor, " row"]
    ) -> Float[Tensor, "row position *d"]:
        """Replacement values; only positions the edit names are used."""
        ...


class _Given:
    """What an intervention was given, for checks before anything runs."""

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """Its tensors by name, each *d or [example, position, *d]."""
        return {}

    @property
    def found_at(self) -> Site | None:
        """The site its direction, subspace or eraser belongs to."""
        return None


@dataclass(frozen=True, eq=False)
class Replace(_Given):
    """Write a source in: h ← source (of a clean run, of another model, …)."""

    source: Tensor

    def __post_init__(self) -> None:
        """Take the source as a tensor."""
        object.__setattr__(self, "source", _tensor("source", self.source))

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The source."""
        return {"source": self.source}

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """The source's rows."""
        return spread("source", self.source, act, example).expand_as(act)


@dataclass(frozen=True, eq=False)
class Zero(_Given):
    """h ← 0."""

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """Zeros."""
        return torch.zeros_like(act)


@dataclass(frozen=True, eq=False)
class Mean(_Given):
    """h ← a mean taken over a reference set, for instance one vector for all."""

    value: Tensor

    def __post_init__(self) -> None:
        """Take the mean as a tensor."""
        object.__setattr__(self, "value", _tensor("mean", self.value))

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The mean."""
        return {"mean": self.value}

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """The mean."""
        return spread("mean", self.value, act, example).expand_as(act)


@dataclass(frozen=True, eq=False)
class Add(_Given):
    """Steer: h ← h + strength · v; a `Direction` (or a `Subspace` of rank one) gives its unit vector.

    Raises:
        ValueError: for a subspace of several dimensions, or a strength that is no number.
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
            object.__setattr__(self, "vector", _tensor("vector", self.vector))
        object.__setattr__(self, "strength", _number("strength", self.strength))

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The vector."""
        given = self.vector
        if isinstance(given, Subspace):
            return {"vector": given.basis[:, 0]}
        return {"vector": given.vector if isinstance(given, Direction) else given}

    @property
    def found_at(self) -> Site | None:
        """The direction's site."""
        return None if isinstance(self.vector, Tensor) else self.vector.site

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """The shifted activation."""
        return act + self.strength * spread("vector", self.tensors["vector"], act, example)


@dataclass(frozen=True, eq=False)
class Resample(_Given):
    """Resample ablation: h ← the source's row of another example, `donor[example]`."""

    source: Tensor
    donor: Int[Tensor, " example"]

    def __post_init__(self) -> None:
        """Check that every donor is a row of the source."""
        object.__setattr__(self, "source", _tensor("source", self.source))
        rows = len(self.source)
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


@dataclass(frozen=True, eq=False)
class Scale(_Given):
    """h ← factor · h, the factor a number.

    Raises:
        ValueError: if it is none.
    """

    factor: float

    def __post_init__(self) -> None:
        """Check the number."""
        object.__setattr__(self, "factor", _number("factor", self.factor))

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """The scaled activation."""
        return self.factor * act


@dataclass(frozen=True, eq=False)
class Features(_Given):
    """Another intervention on some features only, for instance single MLP neurons."""

    intervention: Intervention
    index: Int[Tensor, " feature"]

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """Those of the intervention."""
        return getattr(self.intervention, "tensors", {})

    @property
    def found_at(self) -> Site | None:
        """That of the intervention."""
        return getattr(self.intervention, "found_at", None)

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


@dataclass(frozen=True, eq=False)
class Knockout(_Given):
    """Cut attention to some keys (2304.14767): a ← a·(1 − m) / Σ_keys a·(1 − m), at `Kind.PATTERN`.

    The same as adding −∞ to their scores before the softmax. `keys` is True at the keys cut off,
    [example, key], in the examples' columns; keys that come later, as text is generated, are kept. A
    query left with nothing to attend to attends to nothing.
    """

    keys: Tensor

    def __post_init__(self) -> None:
        """Check that keys are named by a mask."""
        _require_mask("keys", self.keys)

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


@dataclass(frozen=True, eq=False)
class Erase(_Given):
    """Write what an eraser (LEACE and its kin) leaves of an activation: h ← P h + bias."""

    eraser: AffineEraser

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The eraser's centre, which is as wide as its site."""
        return {"eraser": self.eraser.centre}

    @property
    def found_at(self) -> Site:
        """The eraser's site."""
        return self.eraser.site

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """The erased activation."""
        return self.eraser.apply(act)


@dataclass(frozen=True, eq=False)
class ProjectOut(_Given):
    """Remove a subspace: h ← h − (h − mean)QQᵀ; with `mean` None the component itself goes.

    A `Direction` stands for the line it spans.
    """

    subspace: Subspace | Direction
    mean: Tensor | None = None

    def __post_init__(self) -> None:
        """Take a direction as the line it spans."""
        object.__setattr__(self, "subspace", _subspace(self.subspace))
        if self.mean is not None:
            object.__setattr__(self, "mean", _tensor("mean", self.mean))

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """One basis vector, and the mean where there is one."""
        basis = {"subspace": _subspace(self.subspace).basis[:, 0]}
        return basis if self.mean is None else {**basis, "mean": self.mean}

    @property
    def found_at(self) -> Site:
        """The subspace's site."""
        return self.subspace.site

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """The activation without its component in the subspace."""
        space = _of_width(self.subspace, act)
        centred = act if self.mean is None else act - spread("mean", self.mean, act, example)
        return act - space.project(centred)


@dataclass(frozen=True, eq=False)
class SwapSubspace(_Given):
    """Exchange one subspace: h ← h + (source − h)QQᵀ; a `Direction` stands for the line it spans."""

    subspace: Subspace | Direction
    source: Tensor

    def __post_init__(self) -> None:
        """Take a direction as the line it spans."""
        object.__setattr__(self, "subspace", _subspace(self.subspace))
        object.__setattr__(self, "source", _tensor("source", self.source))

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """One basis vector, and the source."""
        return {"subspace": _subspace(self.subspace).basis[:, 0], "source": self.source}

    @property
    def found_at(self) -> Site:
        """The subspace's site."""
        return self.subspace.site

    def __call__(self, act: Tensor, example: Tensor) -> Tensor:
        """The activation with the source's component in the subspace."""
        source = spread("source", self.source, act, example)
        return act + _of_width(self.subspace, act).project(source - act)


@dataclass(frozen=True, eq=False)
class Edit:
    """An intervention at a site, at some positions of each example.

    `where` is True at the positions written, [example, position], in the examples' coordinates.

    Raises:
        ValueError: if the parts do not fit each other: a direction read at another site, or tensors
            of other examples, positions or axes.
    """

    site: Site
    where: Tensor
    intervention: Intervention

    def __post_init__(self) -> None:
        """Check the parts against each other."""
        if not isinstance(self.site, Site):
            raise ValueError(
                f"an edit needs a Site, got {_said(self.site)}; expected one like Site('resid_pre', 3)"
            )
        _require_mask(f"where at {self.site}", self.where)
        if not callable(self.intervention):
            raise ValueError(
                f"an intervention at {self.site} must be callable, got {_said(self.intervention)}; "
                "expected one like Add(vector) or Zero()"
            )
        found_at = getattr(self.intervention, "found_at", None)
        if found_at not in (None, self.site):
            raise ValueError(
                f"the edit is at {self.site}, its direction belongs to {found_at}; expected one of "
                f"{self.site}; dataclasses.replace(direction, site=…) carries one over on purpose"
            )
        if isinstance(self.intervention, Knockout):
            if self.site.kind is not Kind.PATTERN:
                raise ValueError(
                    f"a knockout cuts attention, got {self.site}; expected Site('pattern', layer)"
                )
            if len(self.intervention.keys) not in (1, len(self.where)):
                raise ValueError(
                    f"keys at {self.site} are of {len(self.intervention.keys)} examples; expected "
                    f"{len(self.where)}, as in where"
                )
        self.check(None)

    def check(self, d: tuple[int, ...] | None) -> None:
        """Refuse tensors that do not fit the examples, and the site's own shape where it is known.

        Raises:
            ValueError: naming the site, what was got and what was expected.
        """
        rows, width = self.where.shape
        axes = 2 if self.site.kind in HEADED and self.site.head is None else 1
        for name, given in getattr(self.intervention, "tensors", {}).items():
            own = given.shape[given.ndim - axes :]
            placed = given.ndim == axes or (
                given.ndim == axes + 2 and given.shape[0] in (1, rows) and given.shape[1] in (1, width)
            )
            if not placed or (d is not None and tuple(own) != d):
                expected = d or (("head", "d_head") if axes == 2 else ("d",))
                raise ValueError(f"at {self.site} {_misfit(name, given, (rows, width), expected)}")

    def apply(
        self, act: Float[Tensor, "row position *d"], example: Int[Tensor, " row"]
    ) -> Float[Tensor, "row position *d"]:
        """The rows with the intervention written at its positions, and nowhere else.

        Raises:
            ValueError: if the intervention's tensors do not fit, or it returns another shape.
        """
        head = self.site.head
        before = act if head is None else act[:, :, head]
        try:
            after = self.intervention(before, example)
        except ValueError as error:
            raise ValueError(f"at {self.site} {error}") from error
        if after.shape != before.shape:
            raise ValueError(
                f"an intervention at {self.site} must return shape {tuple(before.shape)}; "
                f"got {tuple(after.shape)}; expected one value for each that it is given"
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

    def __post_init__(self) -> None:
        """Take one edit as a cell of one."""
        edits = (self.edits,) if isinstance(self.edits, Edit) else self.edits
        if not isinstance(edits, tuple | list) or not all(isinstance(edit, Edit) for edit in edits):
            raise ValueError(f"a cell needs edits, got {_said(edits)}; expected (Edit(…), …)")
        if not edits:
            raise ValueError("a cell needs edits, got none; expected at least one Edit")
        object.__setattr__(self, "edits", tuple(edits))

    @property
    def entry(self) -> int:
        """The boundary at which the cell leaves the unedited run; below it the two are equal."""
        return min(e.site.layer + (e.site.kind is Kind.RESID_POST) for e in self.edits)


def spread(
    name: str, given: Tensor, act: Float[Tensor, "row position *d"], example: Int[Tensor, " row"]
) -> Tensor:
    """A tensor given for all or by example and position, as it meets these rows of an activation.

    Raises:
        ValueError: for any other shape.
    """
    d = act.shape[2:]
    if given.shape != d:
        placed = given.ndim == act.ndim and given.shape[1] in (1, act.shape[1])
        if not placed or given.shape[2:] != d:
            raise ValueError(_misfit(name, given, ("example", act.shape[1]), tuple(d)))
        given = given if len(given) == 1 else given[example.to(given.device)]
    return given.to(act)


def _misfit(name: str, given: Tensor, place: tuple[Any, Any], d: tuple[Any, ...]) -> str:
    own, full = (f"[{', '.join(map(str, axes))}]" for axes in (d, (*place, *d)))
    return (
        f"the {name} has shape {list(given.shape)}; expected {own}, shared by all, or {full} with "
        "ones where it is shared; index it by example and position"
    )


def _of_width(space: Subspace | Direction, act: Tensor) -> Subspace:
    """The subspace, if the activation has its width."""
    space = _subspace(space)
    if act.shape[-1] != space.basis.shape[0]:
        raise ValueError(
            f"the subspace of {space.site} has width {space.basis.shape[0]}; the activation has "
            f"{act.shape[-1]}; expected one read at this site"
        )
    return space


def _subspace(given: object) -> Subspace:
    if isinstance(given, Direction):
        return given.subspace()
    if not isinstance(given, Subspace):
        raise ValueError(
            f"a subspace must be a Subspace or a Direction, got {_said(given)}; expected one such as "
            "probe.direction() or interp.Direction(site, vector)"
        )
    return given


def _tensor(name: str, given: Any) -> Tensor:
    if isinstance(given, Tensor):
        return given
    try:
        return torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"the {name} must be a tensor, got {_said(given)}; expected *d or [example, position, *d]"
        ) from error


def _number(name: str, given: Any) -> float:
    try:
        return float(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} must be a number, got {_said(given)}; expected one number") from error


def _require_mask(name: str, given: Any) -> None:
    if not isinstance(given, Tensor) or given.dtype is not torch.bool or given.ndim != 2:
        raise ValueError(
            f"{name} must be a boolean mask over examples and positions, got {_said(given)}; "
            "expected one like Examples.span_mask('all')"
        )


def _said(given: object) -> str:
    """A value in a few words."""
    if isinstance(given, Tensor):
        return f"a tensor of {given.dtype} {list(given.shape)}"
    return f"{type(given).__name__} {str(given)[:40]!r}"
