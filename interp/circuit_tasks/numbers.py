"""Items about numbers: years that come later, and sums of two digits."""

from __future__ import annotations

from collections.abc import Iterator

from interp.circuit_tasks.items import Draw, TaskItem
from interp.circuit_tasks.words import EVENTS

_CENTURIES = range(11, 19)


def greater_than(draw: Draw) -> Iterator[TaskItem]:
    """Years of a century that come after a year; the counterfactual begins in its year 01.

    Answers and foils are all two-digit ends, nearest first. Where a tokenizer writes digits one by one
    the tens alone are compared: a first digit that begins later and earlier years counts as neither.

    Source: Hanna et al., 2305.00586.
    """
    while True:
        event, century = draw.one(EVENTS), draw.chance.choice(_CENTURIES)
        year = draw.chance.randrange(11, 89)
        text = f"The {event} lasted from the year {century}{{:02d}} to the year {century}"
        later, earlier = range(year + 1, 100), range(year, -1, -1)
        yield TaskItem(
            text.format(year),
            text.format(1),
            tuple(f"{end:02d}" for end in later),
            tuple(f"{end:02d}" for end in earlier),
            f"{century}{year}",
            between="",
        )


def arithmetic(draw: Draw) -> Iterator[TaskItem]:
    """The sum of two numbers of two digits, behind two sums that are told.

    The counterfactual has another first number; its sum is the foil. Sums have two digits, and the two
    first numbers differ in their tens and not in their ones, so that the first digit tells the sums
    apart to every tokenizer.

    Source: Stolfo et al., 2305.15054.
    """
    while True:
        first, second = draw.chance.randrange(10, 50), draw.chance.randrange(10, 50)
        other = draw.chance.randrange(1, 5) * 10 + first % 10
        if other == first:
            continue
        told = [(draw.chance.randrange(10, 50), draw.chance.randrange(10, 50)) for _ in range(2)]
        shown = "".join(f"{a} + {b} = {a + b}\n" for a, b in told)
        yield TaskItem(
            f"{shown}{first} + {second} =",
            f"{shown}{other} + {second} =",
            (str(first + second),),
            (str(other + second),),
            f"{first} + {second}",
        )
