"""Items that ask: the capital of a country, and the colour of a thing out of four."""

from __future__ import annotations

from collections.abc import Iterator

from interp.circuit_tasks.items import Draw, TaskItem
from interp.circuit_tasks.words import COLOURS, THINGS
from interp.facts.countries import capitals

_LETTERS = "ABCD"


def capital_country(draw: Draw) -> Iterator[TaskItem]:
    """The capital of a country; the counterfactual names a country of as many tokens.

    Every country is asked once before any is asked again.
    """
    facts = capitals()
    prompts, answers, order = facts.prompts(0), facts.answers, range(len(facts))
    lengths = [draw.length(prompt) for prompt in prompts]
    others = [
        [j for j in order if lengths[j] == lengths[i] and answers[j] != answers[i]] for i in order
    ]
    paired = [i for i in order if others[i]]
    while paired:
        draw.chance.shuffle(paired)
        for i in paired:
            j = draw.chance.choice(others[i])
            yield TaskItem(prompts[i], prompts[j], (answers[i],), (answers[j],), facts.groups[i])


def colour_choice(draw: Draw) -> Iterator[TaskItem]:
    """The letter of the colour that was told; the counterfactual exchanges two options.

    Source: copied colours of the Mechanistic Interpretability Benchmark, 2504.13151; Wiegreffe et al.,
    2407.15018. Prompts of our own wording.
    """
    colours = draw.alike(COLOURS)
    while True:
        thing, options = draw.one(THINGS), draw.several(colours, 4)
        right, other = draw.chance.sample(range(4), 2)
        swapped = list(options)
        swapped[right], swapped[other] = options[other], options[right]

        def asked(
            order: list[str], told: str = f"The {thing} is {options[right]}.", of: str = thing
        ) -> str:
            listed = "".join(f"{letter}. {c}\n" for letter, c in zip(_LETTERS, order, strict=True))
            return f"{told} What colour is the {of}?\n{listed}Answer:"

        yield TaskItem(
            asked(options),
            asked(swapped),
            (_LETTERS[right],),
            (_LETTERS[other],),
            f"{thing} {options[right]}",
        )
