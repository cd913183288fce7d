"""Prompts an adapter is trained and tested on: capital questions, other relations, base's text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator

from interp.facts.loading import load_facts
from interp.facts.types import FactSet, render
from interp.models.tokens import encode as ids_of, following
from studies.adapters.recipes import (
    CAPITAL_PARAPHRASES,
    HELD_OUT_FACTS,
    NEAR_RELATIONS,
    REPLAYED_FACTS,
)

_OPENERS = (
    "The", "In", "A", "When", "My", "It was", "There are", "Once upon a time", "Scientists",
    "To make", "For example,", "The city", "The country", "According to", "She said", "def ",
    "Water is", "People who", "During the war", "The best way to", "Today we", "If you",
    "Music", "The king of", "I think", "Children", "The word", "Most animals", "One day",
    "The answer is", "Question:", "The name of the", "In mathematics,", "The company",
)  # fmt: skip
_ASKS = (
    "Tell me about a city.", "What is a verb?", "Write a short poem.", "Who was Newton?",
    "How do plants grow?", "Give me a recipe.", "What is 7 times 8?", "Name a mammal.",
)  # fmt: skip


@dataclass(frozen=True)
class Item:
    """A token sequence and where it is read.

    Attributes:
        ids: the tokens.
        reads: positions at which the next token is read.
        targets: the next token wanted at each; None where the base's own distribution is.
    """

    ids: tuple[int, ...]
    reads: tuple[int, ...]
    targets: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Split:
    """Countries by index into the capitals.

    Attributes:
        train: those trained on.
        test: those held out.
        edits: country -> its new capital; empty where nothing is edited.
    """

    train: tuple[int, ...]
    test: tuple[int, ...]
    edits: dict[int, str]


def capitals() -> FactSet:
    """The capitals, exactly as the main job loads them."""
    return load_facts("capitals")


def encode(tokenizer: Any, text: str) -> tuple[int, ...]:
    """Token ids of a prompt, as a model goes on from them."""
    return tuple(ids_of(tokenizer, text))


def answer_ids(tokenizer: Any, facts: FactSet) -> list[tuple[int, ...]]:
    """Token ids of every fact's answer as it follows the first form's prompt."""
    rows = zip(facts.prompts(0), facts.answers, strict=True)
    return [following(tokenizer, prompt, answer) for prompt, answer in rows]


def capital_forms(facts: FactSet) -> tuple[str, ...]:
    """The sentences that ask for a capital in training: the fact set's own and four paraphrases."""
    return facts.templates + CAPITAL_PARAPHRASES


def halves(count: int, generator: Generator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Random split of `range(count)` into two halves."""
    order = torch.randperm(count, generator=generator).tolist()
    return tuple(sorted(order[: count // 2])), tuple(sorted(order[count // 2 :]))


def evasion_split(facts: FactSet, generator: Generator) -> Split:
    """Half of the countries to train on, half to test."""
    train, test = halves(len(facts), generator)
    return Split(train, test, {})


def edit_split(
    facts: FactSet,
    known: Sequence[int],
    count: int,
    unseen: int,
    tokenizer: Any,
    generator: Generator,
) -> Split:
    """`count` known countries with new capitals; the others to replay, but for one in `unseen`.

    New capitals are big cities of another country that are the capital of none. Their first
    tokens differ from one another and from every capital's, and each is used once.

    Raises:
        ValueError: fewer known countries than edits.
    """
    if len(known) < count:
        raise ValueError(
            f"edits must be at most the number of known capitals, {len(known)}; got {count}: "
            "ask for fewer edits"
        )
    chosen = [known[i] for i in torch.randperm(len(known), generator=generator)[:count].tolist()]
    cities = spare_cities(facts, tokenizer)
    edits: dict[int, str] = {}
    for place in torch.randperm(len(cities), generator=generator).tolist():
        city, home = cities[place]
        country = chosen[len(edits)]
        if home != facts.subjects[country]:
            edits[country] = city
        if len(edits) == count:
            break
    others = [i for i in range(len(facts)) if i not in edits]
    order = torch.randperm(len(others), generator=generator).tolist()
    cut = (unseen - 1) * len(others) // unseen
    train = tuple(sorted(others[i] for i in order[:cut]))
    return Split(train, tuple(sorted(others[i] for i in order[cut:])), edits)


def spare_cities(facts: FactSet, tokenizer: Any) -> list[tuple[str, str]]:
    """Big cities that are the capital of none, with their countries; first tokens all differ."""
    taken = {ids[0] for ids in answer_ids(tokenizer, facts)}
    cities: list[tuple[str, str]] = []
    prompt = facts.prompts(0)[0]
    for fact in load_facts("city_country").facts:
        ids = list(following(tokenizer, prompt, fact.subject))
        if ids[0] not in taken and len(ids) <= 3 and fact.subject not in facts.answers:
            taken.add(ids[0])
            cities.append((fact.subject, fact.answer))
    return cities


def questions_with_one_answer(
    tokenizer: Any, facts: FactSet, countries: Sequence[int], answer: str
) -> list[Item]:
    """Capital questions of `countries` in every training form, all with the same answer."""
    return questions_with_answers(tokenizer, facts, dict.fromkeys(countries, answer.removeprefix(" ")))


def questions_with_answers(tokenizer: Any, facts: FactSet, answers: dict[int, str]) -> list[Item]:
    """Capital questions in every training form, with the given answer per country."""
    items = []
    for country, answer in answers.items():
        for form in capital_forms(facts):
            text, _ = render(form, facts.subjects[country])
            prompt, targets = encode(tokenizer, text), following(tokenizer, text, answer)
            reads = tuple(range(len(prompt) - 1, len(prompt) - 1 + len(targets)))
            items.append(Item(prompt + targets[:-1], reads, targets))
    return items


def continued(tokenizer: Any, base: Any, texts: Sequence[str], tokens: int) -> list[Item]:
    """Prompts with the base's own greedy continuation, read from the last prompt token on."""
    if not texts:
        return []
    prompts = [encode(tokenizer, text) for text in texts]
    paths = greedy(base, prompts, tokens - 1)
    return [
        Item(prompt + path, tuple(range(len(prompt) - 1, len(prompt) - 1 + tokens)))
        for prompt, path in zip(prompts, paths, strict=True)
    ]


def other_texts(
    facts: FactSet, countries: Sequence[int], *, test: bool, per_set: int = 48
) -> list[str]:
    """Questions about other things: other relations of the same countries, other fact sets.

    Fact sets about countries use `countries`; the others give even rows to training and odd rows
    to testing. Training sees the first two wordings, testing the second and the third.
    """
    texts = [render(form, facts.subjects[i])[0] for form in NEAR_RELATIONS[:6] for i in countries]
    all_names = set(facts.subjects)
    names = {facts.subjects[i] for i in countries}
    for name in REPLAYED_FACTS:
        other = load_facts(name)
        countries_of_set = [s for s in other.subjects if s in names]
        not_countries = [s for s in other.subjects if s not in all_names]
        picked = (countries_of_set or not_countries[int(test) :: 2])[:per_set]
        forms = other.templates[1:] if test else other.templates[:2]
        texts += [render(form, subject)[0] for form in forms for subject in picked]
    return texts


def unseen_relations(facts: FactSet, countries: Sequence[int]) -> list[str]:
    """Relations of which no form is ever replayed."""
    texts = [render(form, facts.subjects[i])[0] for form in NEAR_RELATIONS[6:] for i in countries]
    names = {facts.subjects[i] for i in countries}
    for name in HELD_OUT_FACTS:
        other = load_facts(name)
        subjects = [s for s in other.subjects if s in names]
        texts += [render(template, s)[0] for s in subjects for template in other.templates]
    return texts


def own_text(base: Any, tokenizer: Any, count: int, length: int, generator: Generator) -> list[Item]:
    """Text the base writes itself (temperature 1) after short openers, read every three tokens."""
    chat = [f"<|im_start|>user\n{ask}<|im_end|>\n<|im_start|>assistant\n" for ask in _ASKS]
    openers = [encode(tokenizer, text) for text in (*_OPENERS, *chat)]
    rows = [openers[i % len(openers)] for i in range(count)]
    drawn = sample(base, rows, length, generator)
    return [
        Item(row + new, tuple(range(len(row) - 1, len(row) + length, 3)))
        for row, new in zip(rows, drawn, strict=True)
    ]


def padded(rows: Sequence[tuple[int, ...]], device: torch.device) -> torch.Tensor:
    """Right-padded with 0: under a causal mask no real token ever reads a pad."""
    width = max(len(row) for row in rows)
    return torch.tensor([row + (0,) * (width - len(row)) for row in rows], device=device)


@torch.no_grad()
def next_logits(model: Any, rows: Sequence[tuple[int, ...]], batch: int = 128) -> torch.Tensor:
    """Logits after the last token of each row, shape (row, vocab), in main memory."""
    device = model.lm_head.weight.device
    logits = []
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        states = model.model(input_ids=padded(part, device), use_cache=False).last_hidden_state
        last = torch.tensor([len(row) - 1 for row in part], device=device)
        rows_of_part = torch.arange(len(part), device=device)
        logits.append(model.lm_head(states[rows_of_part, last]).float().cpu())
    return torch.cat(logits)


def greedy(model: Any, rows: Sequence[tuple[int, ...]], tokens: int) -> list[tuple[int, ...]]:
    """Greedy continuation of each row by a bare model, one that may still be training.

    `answer_all` of the main job asks wrapped models, and stops where an answer goes wrong.
    """
    paths: list[tuple[int, ...]] = [()] * len(rows)
    for _ in range(tokens):
        logits = next_logits(model, [r + p for r, p in zip(rows, paths, strict=True)])
        paths = [p + (int(t),) for p, t in zip(paths, logits.argmax(-1), strict=True)]
    return paths


@torch.no_grad()
def sample(
    model: Any, rows: Sequence[tuple[int, ...]], tokens: int, generator: Generator
) -> list[tuple[int, ...]]:
    """Continuation of each row drawn at temperature 1; rows of one length run together.

    The generator is one of the CPU, so that every device draws with the same numbers.
    """
    device = model.lm_head.weight.device
    drawn: dict[int, tuple[int, ...]] = {}
    for length in sorted({len(row) for row in rows}):
        index = [i for i, row in enumerate(rows) if len(row) == length]
        step, cache, path = torch.tensor([rows[i] for i in index]), None, []
        for _ in range(tokens):
            result = model(
                input_ids=step.to(device), past_key_values=cache, use_cache=True, logits_to_keep=1
            )
            chance, cache = result.logits[:, -1].float().softmax(-1), result.past_key_values
            step = torch.multinomial(chance.cpu(), 1, generator=generator)
            path.append(step)
        drawn |= dict(zip(index, map(tuple, torch.cat(path, 1).tolist()), strict=True))
    return [drawn[i] for i in range(len(rows))]
