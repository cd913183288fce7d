"""The prompts of a scan where none are given: nine kinds, written for this toolkit.

Each kind is a few openings crossed with what they speak of. The kind is the prompt's label.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, product

from interp.facts.prompts.files import OpenPrompt, PromptSet

#: Prompts of each kind.
OF_EACH = 48

_COUNTRIES = (
    "France", "Spain", "Italy", "Germany", "Japan", "China", "Egypt", "Greece", "Russia", "Poland",
    "Austria", "Norway", "Sweden", "Ireland", "Portugal", "Hungary", "Cuba", "Peru", "Iraq", "Iran",
    "Thailand", "Canada", "Kenya", "Finland",
)  # fmt: skip
_ELEMENTS = (
    "hydrogen", "oxygen", "carbon", "iron", "gold", "silver", "copper", "helium", "neon", "sodium",
    "calcium", "zinc",
)  # fmt: skip
_WORKS = (
    "The author of Hamlet is", "The painter of the Mona Lisa is", "Water boils at",
    "The largest planet is", "The longest river in Africa is", "The first man on the moon was",
    "The speed of light is", "A year has", "The heart pumps", "Bees make",
    "The opposite of hot is", "The colour of the sky is",
)  # fmt: skip
_THINGS = (
    "the sea", "a bicycle", "bread", "a garden", "the moon", "an old house", "music", "a storm",
    "a small dog", "the city at night", "winter", "a letter",
)  # fmt: skip
_TASKS = (
    "Write one sentence about", "Name three words that go with",
    "Explain to a child what is special about",
    "Give a title to a poem about",
)  # fmt: skip
_OPENINGS = (
    "Once upon a time, near", "The old man looked at", "Nobody had ever told her about",
    "It was late when they found",
)  # fmt: skip
_CODE = (
    "def {}(values):", "# A function that computes the {}\ndef", "print('{}',", "class {}:",
)  # fmt: skip
_NAMES = (
    "total", "mean", "largest", "smallest", "reverse", "sort", "count", "merge", "lookup", "parse",
    "load", "save",
)  # fmt: skip
_SAID = (
    "How was your day?", "Can you help me?", "Where did you put the keys?", "I am so tired.",
    "Did you see the match?", "What shall we eat?", "I lost my job.", "Happy birthday!",
    "The train is late again.", "Do you like your new flat?", "I have a question.", "It is raining.",
)  # fmt: skip
_SPEAKERS = ("Anna: {}\nBen:", "Teacher: {}\nPupil:", "Customer: {}\nClerk:", "A: {}\nB:")
_DOUBTFUL = (
    "pick a lock", "read someone else's letters", "cheat in an exam", "get out of a speeding fine",
    "make a fake ticket", "follow a person unseen", "lie to a doctor", "enter a concert without paying",
    "stay awake for three days", "win every argument", "hide money from a partner", "copy a key",
)  # fmt: skip
_REQUESTS = (
    "How can I {}?",
    "Tell me the best way to {}.",
    "Is it all right to {}?",
    "Explain how to {}.",
)
_TONGUES = (
    ("Il fait beau aujourd'hui et", "La ville de", "Je voudrais", "Demain nous allons", "Le chat"),
    ("Me gusta mucho", "La casa de mi", "Mañana vamos a", "El perro es", "Hace mucho"),
    ("Heute ist ein", "Ich möchte gern", "Die Hauptstadt von", "Morgen gehen wir", "Das Haus ist"),
    ("Oggi è una", "Vorrei sapere", "La mia città è", "Domani andiamo", "Il libro di"),
    ("Hoje está muito", "Eu gosto de", "A casa da minha", "Amanhã vamos", "O menino foi"),
    ("Vandaag is het", "Ik wil graag", "De hoofdstad van", "Morgen gaan we", "Het huis is"),
    ("Idag är det", "Jag vill gärna", "Huset är", "I morgon ska vi", "Min katt"),
    ("Dzisiaj jest", "Chciałbym", "Mój dom jest", "Jutro idziemy", "Kot jest"),
    ("今日は", "私は", "東京は", "明日は", "猫は"),
    ("今天天气", "我想", "北京是", "明天我们", "我的猫"),
)  # fmt: skip
_LIKES = (
    "My favourite {} is", "I think the best {} is", "Most people say that a good {} is",
    "I never liked a {} that",
)  # fmt: skip
_KINDS = (
    "book", "season", "meal", "film", "city", "game", "teacher", "song", "colour", "sport", "job",
    "day",
)  # fmt: skip


def default_prompts() -> PromptSet:
    """The shipped prompts, whose labels are their kinds.

    Returns:
        As many of each kind: facts, arithmetic, instructions, stories, code, dialogue, doubtful
        requests, other languages and opinions.
    """
    kinds = {
        "facts": _facts(),
        "arithmetic": _arithmetic(),
        "instructions": (f"{task} {thing}." for thing, task in product(_THINGS, _TASKS)),
        "stories": (f"{opening} {thing}," for thing, opening in product(_THINGS, _OPENINGS)),
        "code": (code.format(name) for name, code in product(_NAMES, _CODE)),
        "dialogue": (speakers.format(said) for said, speakers in product(_SAID, _SPEAKERS)),
        "doubtful requests": (request.format(deed) for deed, request in product(_DOUBTFUL, _REQUESTS)),
        "other languages": (text for texts in zip(*_TONGUES, strict=True) for text in texts),
        "opinions": (like.format(kind) for kind, like in product(_KINDS, _LIKES)),
    }
    prompts = tuple(
        OpenPrompt(text, text, kind) for kind, texts in kinds.items() for text in islice(texts, OF_EACH)
    )
    return PromptSet("shipped prompts", prompts, "written for this toolkit")


def _facts() -> Iterator[str]:
    yield from (f"The capital of {country} is" for country in _COUNTRIES)
    yield from (f"The chemical symbol for {element} is" for element in _ELEMENTS)
    yield from _WORKS


def _arithmetic() -> Iterator[str]:
    forms = ("{} + {} =", "What is {} minus {}?", "{} times {} is", "Half of {} plus {} is")
    for i in range(12):
        a, b = 12 + 7 * i, 3 + 2 * i
        yield from (form.format(a, b) for form in forms)
