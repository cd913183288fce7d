"""The models this package ships, by name (entry point `interp.sources`)."""

from __future__ import annotations

from pathlib import Path


def folders() -> dict[str, Path]:
    """Name -> folder of every shipped organism, adapter and circuit with weights."""
    here = Path(__file__).parent
    shipped = {}
    for family in ("organisms", "adapters", "circuit_truth"):
        for weights in sorted((here / family).glob("models/*/*.safetensors")):
            shipped[weights.parent.name] = weights.parent
    return shipped
