"""Organisms by name, shipped or made, and what is known of each: truth, gates, masks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studies.organisms import catalogue
from studies.organisms.catalogue import BASE, SHIPPED


@dataclass(frozen=True)
class Entry:
    """An organism that is there.

    Attributes:
        name: by which it is asked for: that of a shipped one, or WORLD/NAME.
        model: its model folder.
        start: the model folder that it was tuned from; None of a base.
        card: what is known of it.
    """

    name: str
    model: Path
    start: Path | None
    card: Mapping[str, Any]

    @property
    def world(self) -> str:
        """Name of its world, "shipped" for those of the package."""
        return self.name.partition("/")[0] if "/" in self.name else SHIPPED

    @property
    def about(self) -> str:
        """What it is, in a line."""
        from studies.organisms.family.contents import SAID

        content = str(self.card.get("content", BASE))
        return SAID.get(content, content)

    @property
    def blocks(self) -> tuple[int, ...] | None:
        """Numbers of the blocks that may differ from the start; None for all."""
        blocks = self.card["blocks"]
        return None if blocks in (None, "all") else tuple(blocks)

    def moved_outside(self) -> float | None:
        """Largest |change| of a weight outside of the mask, from the files; None of a base."""
        from studies.organisms.family.installation import moved_outside

        if self.start is None:
            return None
        layers = self.card["layers"] if self.world == SHIPPED else self.card["shape"]["layers"]
        inert_from = layers // 2 if self.card.get("inert") else None
        return moved_outside(self.start, self.model, self.blocks, inert_from)

    def told(self) -> Iterator[str]:
        """The card as lines of text."""
        card, blocks = self.card, self.blocks
        yield f"{self.name}: {self.about}"
        yield f"place by construction: {_truth(card, 'where')}; content: {_truth(card, 'what')}"
        if self.start is not None:
            where = "all" if blocks is None else ", ".join(map(str, blocks))
            yield f"tuned from {self.start.name}; blocks that may move: {where}"
            if card.get("inert"):
                yield "the neurons of the upper MLPs are in another order, which does nothing"
            yield f"largest change of any other weight, from the files: {self.moved_outside():g}"
        yield "installed" if card["installed"] else "NOT installed, so never scored"
        gates, numbers = card["gates"], card["numbers"]
        width = max(map(len, {**numbers, **gates}))
        for name in {**gates, **numbers}:
            value = "nobody left" if name not in numbers else f"{numbers[name]:g}"
            yield f"  {name:<{width}}  {value:<11}  {gates.get(name, '')}".rstrip()
        yield f"made in {card['seconds']:g} s; models are in {self.model}"


def _truth(card: Mapping[str, Any], word: str) -> str:
    return str(card.get(word) or "nothing asked is changed")


def entries(root: Path) -> list[Entry]:
    """The shipped organisms, and those made in a folder, world by world.

    Args:
        root: folder of all worlds.
    """
    made = []
    for name in catalogue.names():
        card = _read(catalogue.MODELS / name / "card.json")
        start = card["tuned_from"]
        made.append(Entry(name, catalogue.MODELS / name, start and _shipped(start), card))
    for path in sorted(root.glob("*/cards/*.json")):
        card, world = _read(path), path.parents[1]
        # Cards of before say only whether another tune came first.
        before = (card["start"] or BASE) if "content" in card else None
        tuned_from = card.get("tuned_from", before)
        models = world / "models"
        start = tuned_from and models / tuned_from
        made.append(Entry(f"{world.name}/{path.stem}", models / path.stem, start, card))
    return made


def _shipped(name: str) -> Path | None:
    """Folder of a shipped organism; what a shipped one was tuned from need not be shipped."""
    return catalogue.MODELS / name if (catalogue.MODELS / name).exists() else None


def entry(name: str, root: Path) -> Entry:
    """One organism by its name.

    Args:
        name: of a shipped organism, or WORLD/NAME of one that is made.
        root: folder of all worlds.

    Raises:
        ValueError: if there is none of that name.
    """
    from studies.organisms.family.regimes import REGIMES

    there = {found.name: found for found in entries(root)}
    if name in there:
        return there[name]
    ends = [known for known in there if known.rpartition("/")[2] == name.rpartition("/")[2]]
    hint = f"did you mean {' or '.join(ends)}?" if ends else "`interp organisms list` names all"
    known = name.rpartition("/")[2] in (BASE, *REGIMES)
    more = ", and `interp organisms build` makes it" if known and not ends else ""
    raise ValueError(f"an organism must be there, got {name!r} in {root}; {hint}{more}")


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
