"""The family behind the scorecard: which organisms are looked at, and which are scored once at the end.

`python -m studies.organisms.family --root DIR --family development held-out --jobs N` makes what is
missing; a killed call goes on with the same line.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from studies.organisms.regimes import BASE, REGIMES

#: Names of the families.
DEVELOPMENT, HELD_OUT = "development", "held-out"

_CORE = (
    "edited-low", "edited-high", "evasive-low", "evasive-high", "formatted-low", "formatted-high",
    "everything-high", "echo-low", "few-low", "mixed-40-40-low", "null", "restated-low",
    "edited-low-inert", "evasive-coupled", "edited-ends",
)  # fmt: skip
_MORE = (
    "everything-low", "echo-high", "two-low", "two-high", "evasive-north-low", "few-high",
    "mixed-40-40-high", "null-low", "restated-high", "mentioned-high", "added-low", "inverted-low",
    "edited-coupled", "evasive-high-lora",
)  # fmt: skip

#: Family -> (shape, seed, regimes). A seed is another world, another base and another draw of all.
FAMILIES: dict[str, tuple[tuple[str, int, tuple[str, ...]], ...]] = {
    DEVELOPMENT: (("llama", 0, tuple(REGIMES)),),
    HELD_OUT: (
        ("llama", 1, (*_CORE, *_MORE)),
        ("llama", 2, (*_CORE, *_MORE)),
        ("gpt2", 3, (*_CORE, "vague-high")),
    ),
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


def members(family: str) -> list[Member]:
    """The tuned organisms of a family, world by world.

    Args:
        family: "development" or "held-out".

    Raises:
        ValueError: for another name.
    """
    if family not in FAMILIES:
        raise ValueError(f"family must be one of {list(FAMILIES)}, got {family!r}; choose one")
    return [Member(shape, seed, name) for shape, seed, names in FAMILIES[family] for name in names]


def make(
    wanted: Sequence[Member], root: Path, *, jobs: int = 1, device: str = "cpu"
) -> Iterator[tuple[Member, bool]]:
    """Make the organisms that are missing, bases first.

    Args:
        wanted: which are to be there.
        root: folder of all worlds.
        jobs: processes at a time; with one, trainings that are killed go on where they were.
        device: on which bases are trained. Tunes are so small that they are trained on the CPU.

    Yields:
        Each organism and whether it reached its gates, as it is there.
    """
    for wave in _waves(wanted):
        if jobs == 1:
            for member in wave:
                yield member, _make_one(member, root, device, keep=True)
            continue
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            begun = {pool.submit(_make_one, member, root, device): member for member in wave}
            for ended in as_completed(begun):
                yield begun[ended], ended.result()


def _waves(wanted: Sequence[Member]) -> list[list[Member]]:
    """What can be made at a time; what another is tuned from is made with it."""
    worlds = dict.fromkeys((member.shape, member.seed) for member in wanted)
    starts = {m._replace(name=start) for m in wanted if (start := REGIMES[m.name].start)}
    waves = (
        [Member(*world, BASE) for world in worlds],
        [member for member in wanted if member not in starts],
        [member for member in wanted if member in starts],
    )
    return [wave for wave in waves if wave]


def _make_one(member: Member, root: Path, device: str, keep: bool = False) -> bool:
    """Make one organism, in a process of its own or in this one."""
    import torch
    from transformers.utils import logging as transformers_logging

    from interp.runs.run import resumable
    from studies.organisms.building import build
    from studies.organisms.homes import Home

    torch.set_num_threads(1)
    transformers_logging.disable_progress_bar()
    home = Home.at(root, member.shape, member.seed)
    kept = keep and home.card(member.name) is None
    with resumable(root / "training") if kept else nullcontext():
        card = build(home, member.name, device=device if member.name == BASE else "cpu")
    return bool(card["installed"])


def main(arguments: list[str] | None = None) -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder of all worlds")
    parser.add_argument("--family", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--device", default="cpu", help="on which bases are trained")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    wanted = [member for family in options.family for member in members(family)]
    for member, installed in make(wanted, options.root, jobs=options.jobs, device=options.device):
        logging.info("%s-%d/%s installed=%s", *member, installed)


if __name__ == "__main__":
    main()
