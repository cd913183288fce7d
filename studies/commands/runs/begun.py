"""What a folder's run does."""

from __future__ import annotations

from pathlib import Path

from studies.commands.runs.comparison import ComparisonWork
from studies.commands.runs.scan import ScanWork
from studies.commands.runs.work import COMMAND, NAME, Work, named_in

#: Work by its command; a run that names none is a comparison.
WORKS: dict[str, type[Work]] = {"compare": ComparisonWork, "scan": ScanWork}


def work_of(folder: Path) -> Work:
    """What a folder's run does; files that are not found from here are named in full.

    Args:
        folder: of `interp compare` or `interp scan`.

    Raises:
        ValueError: for a folder without it.
    """
    named = named_in(folder)
    try:
        return WORKS[named.pop(NAME, "compare")](**named)
    except (TypeError, KeyError) as error:
        raise ValueError(
            f"{folder} holds no {COMMAND} of a comparison or a scan; give a folder of `interp compare` "
            "or `interp scan`"
        ) from error
