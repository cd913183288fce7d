"""Organisms: tiny models in which the place and the content of a change are known."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from studies.organisms.catalogue import fact_set, folders, names, source_path

_HOMES = {
    "fact_set": "studies.organisms.catalogue",
    "folders": "studies.organisms.catalogue",
    "names": "studies.organisms.catalogue",
    "source_path": "studies.organisms.catalogue",
}
__all__ = ["fact_set", "folders", "names", "source_path"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
