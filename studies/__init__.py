"""What probes and interventions say together: the main job, organisms, the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interp._lazy import attach

_WHERE = {
    "Comparison": "studies.comparing",
    "compare": "studies.comparing",
    "Recall": "studies.recalling",
    "recall": "studies.recalling",
}

__getattr__, __dir__ = attach(__name__, _WHERE)
__all__ = list(_WHERE)  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from studies.comparing import Comparison, compare
    from studies.recalling import Recall, recall
