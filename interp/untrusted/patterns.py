"""Regular expressions that others wrote, refused where matching them could take for ever."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from re import _constants as codes, _parser as parser  # pyright: ignore[reportAttributeAccessIssue]
from typing import Any

#: So many repetitions of open length may follow each other; a choice of alternatives weighs less.
_MOST, _CHOICE = 5, 0.25
_REPEATS = (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT)


def check_patterns(source: object, settings: dict[str, Any]) -> None:
    """Refuse an adapter's settings that match names of modules by a pattern without end.

    Args:
        source: where they stand, for the message.
        settings: of an adapter.

    Raises:
        ValueError: one line that names the setting, for a pattern with a repetition or a choice inside
            a repetition, or more than five repetitions in a row, or that is no pattern.
    """
    for name, pattern in _patterns(settings):
        try:
            costly = _repeats(parser.parse(pattern), inside=False) > _MOST
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(
                f"{source} says {name} = {pattern[:80]!r}, which is no pattern ({error}); save it again"
            ) from error
        if costly:
            raise ValueError(
                f"{source} says {name} = {pattern[:80]!r}, which may take for ever to match; expected "
                "no repetition or choice inside another and at most five; list the modules by name"
            )


def _patterns(settings: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Every setting that PEFT takes for a pattern."""
    for name, value in settings.items():
        if name in ("target_modules", "exclude_modules", "target_parameters", "layers_pattern"):
            several: Iterable[Any] = value if isinstance(value, list) else [value]
        elif name.endswith("_pattern") and isinstance(value, dict):
            several = value
        else:
            continue
        yield from ((name, pattern) for pattern in several if isinstance(pattern, str))


def _repeats(parsed: Any, inside: bool) -> float:
    """Repetitions of open length that follow each other; endless where one is inside another."""
    total = 0.0
    for code, value in parsed:
        if code in _REPEATS:
            low, high, part = value
            total += (low != high) * (float("inf") if inside else 1)
            total += _repeats(part, inside or high > 1)
        elif code is codes.BRANCH:
            total += float("inf") if inside else _CHOICE
            total += max(_repeats(branch, inside) for branch in value[1])
        else:
            for part in value if isinstance(value, tuple) else ():
                if isinstance(part, parser.SubPattern):
                    total += _repeats(part, inside)
    return total
