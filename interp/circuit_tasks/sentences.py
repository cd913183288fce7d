"""Items about people and things in a sentence: indirect object, pronoun, agreement."""

from __future__ import annotations

from collections.abc import Iterator

from interp.circuit_tasks.items import Draw, TaskItem
from interp.circuit_tasks.words import MEN, NEARBY, NOUNS, OBJECTS, PLACES, WOMEN

_GIVING = (
    "When {first} and {second} went to the {place}, {giver} gave a {thing} to",
    "After {first} and {second} met at the {place}, {giver} handed a {thing} to",
    "Then {first} and {second} had a long talk at the {place}, and {giver} sold a {thing} to",
    "While {first} and {second} were waiting at the {place}, {giver} showed a {thing} to",
)
_PRAISE = (
    "So {name} is a really great friend, isn't",
    "So {name} is quite a good teacher, isn't",
    "So {name} was late for work again, wasn't",
    "So {name} is a very fast runner, isn't",
)


def indirect_object(draw: Draw) -> Iterator[TaskItem]:
    """The name that is not the giver's; the giver of the counterfactual is the other one.

    Source: Wang et al., 2211.00593; prompts of our own wording.
    """
    names = draw.alike((*WOMEN, *MEN))
    while True:
        first, second = draw.several(names, 2)
        form = draw.chance.randrange(len(_GIVING))
        told = {"first": first, "second": second, "place": draw.one(PLACES), "thing": draw.one(OBJECTS)}
        giver, other = (first, second) if draw.chance.random() < 0.5 else (second, first)
        yield TaskItem(
            _GIVING[form].format(giver=giver, **told),
            _GIVING[form].format(giver=other, **told),
            (other,),
            (giver,),
            " / ".join(sorted((first, second))),
            template="ABCD"[form],
        )


def gendered_pronoun(draw: Draw) -> Iterator[TaskItem]:
    """The pronoun of a name; the counterfactual has a name of the other gender.

    Source: Mathwin et al., "Identifying a preliminary circuit for predicting gendered pronouns" (2023).
    """
    names = draw.alike((*WOMEN, *MEN))
    women, men = ([n for n in names if n in gender] or list(gender) for gender in (WOMEN, MEN))
    while True:
        pair = [(draw.one(women), "she"), (draw.one(men), "he")]
        draw.chance.shuffle(pair)
        (name, pronoun), (other, foil) = pair
        form = draw.chance.randrange(len(_PRAISE))
        yield TaskItem(
            _PRAISE[form].format(name=name),
            _PRAISE[form].format(name=other),
            (pronoun,),
            (foil,),
            name,
            template="ABCD"[form],
        )


def agreement(draw: Draw) -> Iterator[TaskItem]:
    """The verb's number; the counterfactual has the other number of the noun.

    Source: Linzen et al., 1611.01368; Finlayson et al., 2106.06087.
    """
    while True:
        singular, plural = draw.chance.choice(NOUNS)
        pair = [(singular, "is"), (plural, "are")]
        draw.chance.shuffle(pair)
        (noun, verb), (other, foil) = pair
        nearby = draw.one(NEARBY)
        yield TaskItem(f"The {noun} {nearby}", f"The {other} {nearby}", (verb,), (foil,), singular)
