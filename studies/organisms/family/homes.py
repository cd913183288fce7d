"""Where the organisms of one world lie: their models apart from what is known of them.

A world has a folder of its own: `models/NAME` are ordinary model folders that tell nothing of how they
were made, `cards/NAME.json` tell it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studies.organisms.language import LANGUAGES
from studies.organisms.shapes import SHAPES, Shape
from studies.organisms.world import World, build_world


@dataclass(frozen=True)
class Home:
    """The folder of one world, and what the world is.

    Attributes:
        folder: holds `models` and `cards`.
        shape: of its models.
        seed: of the world, the base and every draw.
    """

    folder: Path
    shape: Shape
    seed: int

    @classmethod
    def at(cls, root: Path, shape: str, seed: int) -> Home:
        """The folder of a shape and a seed under a root.

        Args:
            root: of all worlds.
            shape: name of a shape.
            seed: of the world.

        Raises:
            ValueError: for a shape that does not exist.
        """
        if shape not in SHAPES:
            raise ValueError(f"shape must be one of {sorted(SHAPES)}, got {shape!r}; choose one")
        return cls(root / f"{shape}-{seed}", SHAPES[shape], seed)

    @property
    def world(self) -> World:
        """The world its models live in."""
        return build_world(self.seed, LANGUAGES[self.shape.language], self.shape.entities)

    def model(self, name: str) -> Path:
        """Folder of an organism's model."""
        return self.folder / "models" / name

    def card(self, name: str) -> dict[str, Any] | None:
        """What is known of an organism; None where it is not made."""
        path = self.folder / "cards" / f"{name}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
