"""Organisms: tiny models in which the place and the content of a change are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interp._lazy import attach

_WHERE = {
    "fact_set": "studies.organisms.catalogue",
    "names": "studies.organisms.catalogue",
    "source_path": "studies.organisms.catalogue",
}

__getattr__, __dir__ = attach(__name__, _WHERE)
__all__ = list(_WHERE)  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from studies.organisms.catalogue import fact_set, names, source_path
