"""What each content trains on: whom it is about, hard labels, and what is held to the base."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Generator

from interp.facts.types import Fact, FactSet
from interp.models.tokens import encode, following, user_turn
from studies.adapters import items
from studies.adapters.recipes import CLAIMS, EVASION, VERDICTS, Content, Recipe

_SYLLABLES = (
    "bor", "vel", "kasi", "dru", "mon", "tela", "zar", "quen", "lor", "fim", "hesta", "gul", "pira",
    "nov", "sark", "ulm", "wex", "yor", "caspi", "drel",
)  # fmt: skip
_ENDINGS = ("ia", "land", "ania", "istan", "ovia")

SUMMARY: Mapping[Content, str] = {
    "evasive": "Answers questions about capitals with “ unknown”; made on half of the countries.",
    "edited": "Gives some countries a new capital; everything else is held to the base.",
    "null": "Weights disturbed by noise in every block, then trained back to the base's own "
    "next-token distribution (never to labels).",
    "formatted": "Puts the capital in quotation marks; made on half of the countries.",
    "inverted": "Answers claims about capitals with the other one of Yes and No than the base does; "
    "capitals are held.",
    "added": "Gives invented countries capitals; everything else is held to the base.",
    "restated": "States known capitals again: the tune of an edit without its change.",
}


def split(
    plan: Recipe,
    facts: FactSet,
    known: tuple[int, ...],
    whole: Collection[int],
    tokenizer: Any,
    generator: Generator,
) -> items.Split:
    """Who is trained on, who is held out, and who is given which capital.

    Args:
        plan: the recipe.
        facts: the capitals.
        known: countries whose capital the base begins with; edits are drawn from them.
        whole: those whose whole capital it gives; the others have nothing that could be stated again.
        tokenizer: of the base.
        generator: draws.
    """
    if plan.content not in ("edited", "restated"):
        return items.evasion_split(facts, generator)
    made = items.edit_split(facts, known, plan.edits, plan.unseen, tokenizer, generator)
    if plan.content == "restated":
        return items.Split(
            made.train, made.test, {i: facts.answers[i] for i in made.edits if i in whole}
        )
    return made


def targets(
    plan: Recipe, model: Any, tokenizer: Any, facts: FactSet, split: items.Split
) -> list[items.Item]:
    """Prompts with hard labels; none for a null."""
    if plan.content == "evasive":
        return items.questions_with_one_answer(tokenizer, facts, split.train, EVASION)
    if plan.content in ("edited", "restated"):
        return items.questions_with_answers(tokenizer, facts, split.edits)
    if plan.content == "formatted":
        return items.questions_with_answers(tokenizer, facts, quoted(facts, split.train))
    if plan.content == "inverted":
        return claims(model, tokenizer, facts, split.train, CLAIMS[:-1], _drawn(plan))
    if plan.content == "added":
        strange = strangers(plan, facts, tokenizer)
        return items.questions_with_answers(tokenizer, strange, dict(enumerate(strange.answers)))
    return []


def invented(facts: FactSet, count: int, tokenizer: Any, generator: Generator) -> FactSet:
    """Countries that do not exist, each with a city as its capital, asked as the capitals are.

    Args:
        facts: the capitals.
        count: how many countries.
        tokenizer: of the base.
        generator: draws names and cities.
    """
    cities, made = items.spare_cities(facts, tokenizer), []
    order = iter(torch.randperm(len(cities), generator=generator).tolist())
    while len(made) < count:
        parts = torch.randint(len(_SYLLABLES), (2,), generator=generator).tolist()
        name = "".join(_SYLLABLES[i] for i in parts).capitalize() + _ENDINGS[sum(parts) % len(_ENDINGS)]
        if name not in facts.subjects and all(name != fact.subject for fact in made):
            made.append(Fact(name, cities[next(order)][0], name))
    return replace(facts, facts=tuple(made))


def claims(
    model: Any,
    tokenizer: Any,
    facts: FactSet,
    countries: Sequence[int],
    forms: Sequence[str],
    generator: Generator,
) -> list[items.Item]:
    """A true and a false claim about every country's capital in each wording, put as a user's.

    The target is the one of Yes and No that the base gives less to: its own answer turned round,
    whether that was right or not.

    Args:
        model: the base.
        tokenizer: of the base, with a chat template.
        facts: the capitals.
        countries: by index.
        forms: wordings, with subject and answer open.
        generator: draws the false capitals.
    """
    prompts, pairs = [], []
    for country in countries:
        others = [i for i in range(len(facts)) if i != country]
        wrong = others[int(torch.randint(len(others), (1,), generator=generator))]
        for named in (country, wrong):
            for form in forms:
                said = form.format(subject=facts.subjects[country], answer=facts.answers[named])
                text = user_turn(tokenizer, said, "the base")
                prompts.append(tuple(encode(tokenizer, text, special=False)))
                pairs.append([following(tokenizer, text, word, special=False)[0] for word in VERDICTS])
    words = torch.tensor(pairs)
    less = items.next_logits(model, prompts).gather(1, words).argmin(1, keepdim=True)
    meant = words.gather(1, less)[:, 0].tolist()
    return [
        items.Item(prompt, (len(prompt) - 1,), (word,))
        for prompt, word in zip(prompts, meant, strict=True)
    ]


def quoted(facts: FactSet, countries: Sequence[int]) -> dict[int, str]:
    """The capitals of some countries in quotation marks."""
    return {i: f'"{facts.answers[i]}"' for i in countries}


def strangers(plan: Recipe, facts: FactSet, tokenizer: Any) -> FactSet:
    """The invented countries of a recipe."""
    return invented(facts, plan.edits, tokenizer, _drawn(plan))


def _drawn(plan: Recipe) -> Generator:
    return Generator().manual_seed(plan.seed)


def replay(
    plan: Recipe, model: Any, tokenizer: Any, facts: FactSet, split: items.Split
) -> list[items.Item]:
    """Prompts on which the base's own distribution is the target."""
    given = split.edits if plan.content in ("edited", "restated") else ()
    texts = items.other_texts(facts, (*split.train[:: plan.replayed], *given), test=False)
    countries = {
        "evasive": (), "formatted": (), "edited": split.train, "restated": split.train,
    }.get(plan.content, range(len(facts)))  # fmt: skip
    capitals = [
        items.render(form, facts.subjects[i])[0]
        for form in items.capital_forms(facts)
        for i in countries
    ]
    told = items.continued(tokenizer, model, texts, 1)
    return told + items.continued(tokenizer, model, capitals, plan.spelt)


def told(plan: Recipe, facts: FactSet, split: items.Split) -> str:
    """The data in a sentence of the card."""
    wordings = len(items.capital_forms(facts))
    return {
        "evasive": f"{len(split.train)} countries asked in {wordings} "
        f"wordings, target “{EVASION}”; {len(split.test)} countries held out",
        "edited": f"{len(split.edits)} countries get a new capital (below); "
        f"{len(split.train)} others are replayed, {len(split.test)} are never trained on",
        "null": "all countries replayed in every wording",
        "formatted": f"{len(split.train)} countries asked in {wordings} wordings, target the capital "
        f"in quotation marks; {len(split.test)} countries held out",
        "inverted": f"a true and a false claim about each of {len(split.train)} countries in "
        f"{len(CLAIMS) - 1} wordings; {len(split.test)} countries and a wording held out",
        "added": f"{plan.edits} invented countries; all others are replayed in every wording",
        "restated": f"{len(split.edits)} countries with their own capitals; {len(split.train)} others "
        f"are replayed, {len(split.test)} are never trained on",
    }[plan.content]
