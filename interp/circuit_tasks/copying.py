"""Items whose answer stands in the prompt, at a place that its order tells: induction, docstrings."""

from __future__ import annotations

from collections.abc import Iterator

from interp.circuit_tasks.items import Draw, TaskItem
from interp.circuit_tasks.words import FILLERS, REMARKS, VARIABLES

_SAID_ONCE = 8


def induction(draw: Draw) -> Iterator[TaskItem]:
    """The word that followed the last one when the sequence was said before.

    The counterfactual exchanges that word with another of the first saying, which is the foil: both
    words stand in both prompts, so copying any of them does not suffice.

    Source: Olsson et al., 2209.11895.
    """
    words = draw.alike(FILLERS)
    while True:
        said = draw.several(words, _SAID_ONCE)
        again = draw.chance.randrange(2, _SAID_ONCE - 2)  # how much is said a second time
        other = draw.chance.randrange(again + 1, _SAID_ONCE)
        swapped = list(said)
        swapped[again], swapped[other] = said[other], said[again]
        ending = " " + " ".join(said[:again])
        yield TaskItem(
            "so " + " ".join(said) + ending,
            "so " + " ".join(swapped) + ending,
            (said[again],),
            (said[other],),
            " ".join(sorted((said[again], said[other]))),
        )


def docstring(draw: Draw) -> Iterator[TaskItem]:
    """The name of the third argument, after a docstring has told of the first two.

    The counterfactual exchanges the third and the fourth argument in the first line; the fourth is the
    foil.

    Source: Heimersheim & Janiak, "A circuit for Python docstrings in a 4-layer attention-only
    transformer" (2023).
    """
    names = draw.alike(VARIABLES)
    while True:
        called, *arguments = draw.several(names, 5)
        remarks = draw.several(REMARKS, 2)
        told = "".join(f"    :param {a}: {r}\n" for a, r in zip(arguments, remarks, strict=False))

        def written(*order: str, called: str = called, told: str = told) -> str:
            return f'def {called}(self, {", ".join(order)}):\n    """\n{told}    :param'

        first, second, third, fourth = arguments
        yield TaskItem(
            written(first, second, third, fourth),
            written(first, second, fourth, third),
            (third,),
            (fourth,),
            " ".join(sorted((third, fourth))),
        )
