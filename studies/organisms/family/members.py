"""Which organisms there are, by family, and making those that are missing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

from interp.progress import counted
from studies.organisms.family.regimes import BASE, REGIMES
from studies.processes import processes

#: Names of the families.
DEVELOPMENT, HELD_OUT, FRESH = "development", "held-out", "fresh"
COVERAGE, EXPERTS = "coverage", "experts"

_CORE = (
    "edited-low", "edited-high", "evasive-low", "evasive-high", "formatted-low", "formatted-high",
    "everything-high", "echo-low", "few-low", "mixed-40-40-low", "null", "restated-low",
    "edited-low-inert", "evasive-coupled", "edited-ends",
)  # fmt: skip
_MORE = (
    "everything-low", "echo-high", "two-low", "two-high", "evasive-north-low", "few-high",
    "mixed-40-40-high", "null-low", "restated-high", "mentioned-high", "added-low", "inverted-low",
    "edited-coupled", "evasive-high-lora", "evasive-low-undone",
)  # fmt: skip


def _of(world: str) -> tuple[str, ...]:
    """The regimes that are made in the worlds of a language."""
    return tuple(name for name, r in REGIMES.items() if r.world == world and not r.draw)


#: Family -> (shape, seed, regimes). A seed is another world, another base and another draw of all.
FAMILIES: dict[str, tuple[tuple[str, int, tuple[str, ...]], ...]] = {
    DEVELOPMENT: (
        ("llama", 0, _of("rich")),
        ("tasks", 0, _of("tasks")),
        ("gpt2", 11, (*_CORE, "vague-high")),
    ),
    HELD_OUT: (
        ("llama", 1, (*_CORE, *_MORE)),
        ("llama", 2, (*_CORE, *_MORE)),
        ("gpt2", 3, (*_CORE, "vague-high")),
        ("tasks", 4, _of("tasks")),
        ("gpt2", 5, (*_CORE, "vague-high")),
        ("gpt2", 13, (*_CORE, "vague-high")),
    ),
    # Twenty draws over one base: their changes lie on both sides of the cut.
    COVERAGE: (("llama", 0, ("edited-ends", *(n for n, r in REGIMES.items() if r.draw))),),
    # Decoded beside the base of llama-0, whose weights stay as they are: no comparison is scored.
    EXPERTS: (("expert", 0, ("evasive-high", "formatted-high")),),
    FRESH: (("llama", 100, (*_CORE, "everything-low")),),
}


class Member(NamedTuple):
    """One organism of a family.

    Attributes:
        shape: name of its shape.
        seed: of its world.
        name: "base", or its regime.
    """

    shape: str
    seed: int
    name: str


def members(family: str, seeds: int | None = None, first: int | None = None) -> list[Member]:
    """The tuned organisms of a family, world by world.

    Args:
        family: "development", "held-out", "coverage", or "fresh", whose worlds nobody has looked at.
        seeds: how many worlds; all that the family has when None. "fresh" has as many as are asked for.
        first: seed of the first world of "fresh"; the others follow.

    Raises:
        ValueError: for another name, more worlds than there are, or a first seed of another family.
    """
    if family not in FAMILIES:
        raise ValueError(f"family must be one of {list(FAMILIES)}, got {family!r}; choose one")
    worlds = FAMILIES[family]
    if family == FRESH:
        ((shape, start, names),) = worlds
        begin = start if first is None else first
        if begin in {seed for known in (DEVELOPMENT, HELD_OUT) for _, seed, _ in FAMILIES[known]}:
            raise ValueError(
                f"the first seed must be of no other family, got {begin}; take {start} or more"
            )
        worlds = tuple((shape, begin + number, names) for number in range(seeds or 1))
    elif first is not None:
        raise ValueError(f"only {FRESH} takes a first seed, got {first} for {family}; leave it out")
    if seeds is not None and not 1 <= seeds <= len(worlds):
        raise ValueError(f"{family} has 1 to {len(worlds)} worlds, got {seeds}; ask for one of these")
    return [Member(shape, seed, name) for shape, seed, names in worlds[:seeds] for name in names]


def make(
    wanted: Sequence[Member], root: Path, *, jobs: int = 1, device: str = "cpu"
) -> Iterator[tuple[Member, bool]]:
    """Make the organisms that are missing, bases first; a killed call goes on where it was.

    Args:
        wanted: which are to be there.
        root: folder of all worlds.
        jobs: processes at a time.
        device: on which bases are trained. Tunes are so small that they are trained on the CPU.

    Yields:
        Each organism, and those that it is made from, with whether it reached its gates.
    """
    waves = _waves(wanted)
    with counted(sum(map(len, waves)), "training", "organisms") as step:
        for member, installed in _made(waves, root, jobs, device):
            step(1)
            yield member, installed


def _made(
    waves: Sequence[Sequence[Member]], root: Path, jobs: int, device: str
) -> Iterator[tuple[Member, bool]]:
    """Make wave after wave."""
    for wave in waves:
        if jobs == 1:
            for member in wave:
                yield member, _make_one(member, root, device)
            continue
        with processes(jobs) as pool:
            begun = {pool.submit(_make_one, member, root, device): member for member in wave}
            for ended in as_completed(begun):
                yield begun[ended], ended.result()


def _waves(wanted: Sequence[Member]) -> list[list[Member]]:
    """What can be made at a time: bases, what others are made from, and the rest."""
    regimes = {member: REGIMES[member.name] for member in wanted}
    bases = dict.fromkeys(member._replace(name=BASE) for member in wanted)
    needed = dict.fromkeys(
        member._replace(name=name)
        for member, regime in regimes.items()
        for name in (regime.base, regime.start)
        if name not in (None, BASE)
    )
    rest = [member for member in dict.fromkeys(wanted) if member not in needed]
    return [wave for wave in (list(bases), list(needed), rest) if wave]


def _make_one(member: Member, root: Path, device: str) -> bool:
    """Make one organism, in a process of its own or in this one."""
    import torch
    from transformers.utils import logging as transformers_logging

    from interp.runs.run import current, resumable
    from studies.organisms.family.building import build
    from studies.organisms.family.homes import Home

    torch.set_num_threads(1)
    transformers_logging.disable_progress_bar()
    home = Home.at(root, member.shape, member.seed)
    # Inside of a run, that run keeps the training.
    folder = root / "training" / f"{home.folder.name}-{member.name}"
    with resumable(folder) if current() is None else nullcontext():
        card = build(home, member.name, device=device if member.name == BASE else "cpu")
    if folder.exists():
        shutil.rmtree(folder)
    return bool(card["installed"])
