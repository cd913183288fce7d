"""The command, called in this process as a user calls it."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from studies import cli


def command(patched: pytest.MonkeyPatch) -> Callable[..., int]:
    """`command(*arguments)`: its exit code.

    However slow a machine is, no minute passes here, so that no line of progress is written.
    """
    patched.setattr("interp.progress.LINE_SECONDS", float("inf"))

    def call(*arguments: str) -> int:
        patched.setattr(sys, "argv", ["interp", *arguments])
        try:
            cli.main()
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    return call


@contextmanager
def command_in(place: Path, patches: Mapping[str, Any]) -> Iterator[Callable[..., int]]:
    """The command in a folder, with some names of the package set to other values."""
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(place)
        for name, value in patches.items():
            patched.setattr(name, value)
        yield command(patched)
