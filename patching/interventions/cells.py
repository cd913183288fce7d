"""`Edit` and `Cell`: where and in which examples an intervention is written."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.display.html import Shown
from interp.sites import HEADED, Kind, Site
from patching.interventions.base import (
    Intervention,
    home_of,
    in_words,
    require_mask,
    shape_misfit,
    tensors_of,
)
from patching.interventions.values import Knockout


@dataclass(frozen=True, eq=False, repr=False)
class Edit(Shown):
    """An intervention at a site, at some positions of each example.

    Attributes:
        site: where in the model.
        where: True at the positions written, [example, position], in the examples' columns.
        intervention: what is written.

    Raises:
        ValueError: if the parts do not fit each other: a direction read at another site, or tensors
            of other examples, positions or axes.
    """

    site: Site
    where: Tensor
    intervention: Intervention

    def __post_init__(self) -> None:
        """Check the parts against each other."""
        if isinstance(self.site, str):
            site = Site.from_hook_name(self.site)
            raise ValueError(
                f"an edit needs a Site, got the hook name {self.site!r}; expected "
                f"Site({str(site.kind)!r}, {site.layer}), with head= for one head"
            )
        if not isinstance(self.site, Site):
            raise ValueError(
                f"an edit needs a Site, got {in_words(self.site)}; "
                "expected one like Site('resid_pre', 3)"
            )
        require_mask(f"where at {self.site}", self.where)
        if isinstance(self.intervention, type) or not callable(self.intervention):
            raise ValueError(
                f"an intervention at {self.site} must be callable, got {in_words(self.intervention)}; "
                "expected one like Add(vector) or Zero()"
            )
        found_at = home_of(self.intervention)
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
        for name, tensor in tensors_of(self.intervention).items():
            shape = tuple(tensor.shape)
            placed = len(shape) == axes or (
                len(shape) == axes + 2 and shape[0] in (1, rows) and shape[1] in (1, width)
            )
            if not placed or (d is not None and shape[len(shape) - axes :] != d):
                expected = d or (("head", "d_head") if axes == 2 else ("d",))
                raise ValueError(
                    f"at {self.site} {shape_misfit(name, tensor, (rows, width), expected)}"
                )

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
        edited = act.clone()
        edited[:, :, head] = written
        return edited


@dataclass(frozen=True, eq=False, repr=False)
class Cell(Shown):
    """One row of a sweep per example: edits applied together, possibly at several sites.

    Attributes:
        edits: in the order in which they act where they meet.
    """

    edits: tuple[Edit, ...]

    def __post_init__(self) -> None:
        """Take one edit as a cell of one."""
        edits = (self.edits,) if isinstance(self.edits, Edit) else self.edits
        if not isinstance(edits, tuple | list) or not all(isinstance(edit, Edit) for edit in edits):
            raise ValueError(f"a cell needs edits, got {in_words(edits)}; expected (Edit(…), …)")
        if not edits:
            raise ValueError("a cell needs edits, got none; expected at least one Edit")
        object.__setattr__(self, "edits", tuple(edits))

    @property
    def entry(self) -> int:
        """The boundary at which the cell leaves the unedited run; below it the two are equal."""
        return min(e.site.layer + (e.site.kind is Kind.RESID_POST) for e in self.edits)
