"""Where the shipped adapters are; `folders` is served under the entry-point group interp.sources."""

import json
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent


def folders() -> dict[str, Path]:
    """Name of every shipped adapter and its folder."""
    return {path.parent.name: path.parent for path in sorted(_HERE.glob("*/adapter_config.json"))}


def card(name: str) -> dict[str, Any]:
    """Card of a shipped adapter: data, command, seed, mask and installation gate.

    Raises:
        ValueError: no adapter of that name.
    """
    known = folders()
    if name not in known:
        raise ValueError(f"adapter must be one of {sorted(known)}; got {name!r}: choose one")
    return json.loads((known[name] / "card.json").read_text(encoding="utf-8"))
