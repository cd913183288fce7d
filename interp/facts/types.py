"""Fact, FactSet, Statements and Card: what a source of facts returns; no tokens, no models."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from interp._doors import held
from interp.display.html import Shown
from interp.facts.further.questions import ANSWER, SLOT, FurtherQuestions

_EXAMPLE = '"The capital of {subject} is the city of"'


@dataclass(frozen=True, repr=False)
class Fact(Shown):
    """One thing that may be known: `subject` -> `answer`.

    Attributes:
        subject: the entity as it stands in a sentence.
        answer: what is asked of it.
        group: the entity, never split between train and test, and the unit that is resampled; it names
            the subject where that is written in another way ("the Gambia": "Gambia").
        attributes: further properties of the subject, such as its continent; a missing one is absent.
        untuned: whether it is declared never tuned on: a comparison asks it to see how far a change
            reaches, and counts it neither as changed nor as unchanged.
    """

    subject: str
    answer: str
    group: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    untuned: bool = False


@held
@dataclass(frozen=True)
class FactSet(Shown):
    """Facts of one relation with the sentences that ask for them.

    Attributes:
        name: what the set is called.
        templates: the sentences that ask. The first is form A (tokens are chosen on it), the second
            form B (effects are estimated on it); with one only, results are marked `selected`. Each
            holds "{subject}" once and stops right before the answer; one that ends in "{answer}" says
            itself what stands before it, as in '"{subject}": "{answer}'.
        facts: every subject once.
        statement: a sentence with "{subject}" and "{answer}" that tells a fact.
        source: package, version and licence of the data.
        placebos: names of attributes that no answer depends on (negative controls).
        notes: what of the source was left out.
        further: other ways to ask, by which the depth of a change is told.

    Raises:
        ValueError: parts of another kind, a template without exactly one "{subject}", no facts, a
            repeated subject, or several subjects in one group.
    """

    name: str
    templates: tuple[str, ...]
    facts: tuple[Fact, ...]
    statement: str
    source: str
    placebos: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    further: FurtherQuestions = FurtherQuestions()

    def __repr__(self) -> str:
        """How many facts in how many forms, and the first question, on one line."""
        first = self.templates[0] if self.templates else ""
        return f"FactSet({self.name!r}: {len(self)} facts in {len(self.templates)} forms; {first!r})"

    def _rows_shown(self) -> tuple[Sequence[str], Iterable[Sequence[Any]], int]:
        told = ((fact.subject, fact.answer, fact.attributes or "") for fact in self.facts)
        return ("subject", "answer", "attributes"), told, len(self.facts)

    def __post_init__(self) -> None:
        """Check the sentences, and that every subject and group occurs once."""
        check_templates(self.templates, self.statement)
        if not self.facts:
            raise ValueError(
                f"fact set {self.name!r} must hold at least one fact; got 0: add rows with a "
                "subject and an answer"
            )
        subjects = [fact.subject for fact in self.facts]
        if len(set(subjects)) < len(subjects):
            repeated = sorted({s for s in subjects if subjects.count(s) > 1})
            raise ValueError(
                f"every subject of {self.name!r} must appear once; got repeats of {repeated}: "
                "keep one row for each"
            )
        self._check_groups()

    def _check_groups(self) -> None:
        subjects: dict[str, list[str]] = {}
        for fact in self.facts:
            subjects.setdefault(fact.group, []).append(fact.subject)
        shared = [f"{g!r} ({', '.join(s)})" for g, s in subjects.items() if len(s) > 1]
        if shared:
            more = f" and {len(shared) - 5} more" if len(shared) > 5 else ""
            raise ValueError(
                f"every group of {self.name!r} must hold one subject, for a comparison counts each "
                f"once; got {', '.join(shared[:5])}{more}: keep one subject of each group, or leave "
                "the group out and give the family as an attribute under another name"
            )

    def __len__(self) -> int:
        """Number of facts."""
        return len(self.facts)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Subject of every fact, in order."""
        return tuple(fact.subject for fact in self.facts)

    @property
    def answers(self) -> tuple[str, ...]:
        """Answer of every fact, in order."""
        return tuple(fact.answer for fact in self.facts)

    @property
    def groups(self) -> tuple[str, ...]:
        """Entity of every fact, in order."""
        return tuple(fact.group for fact in self.facts)

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """Attributes carried by at least one fact, sorted, placebos last."""
        names = {name for fact in self.facts for name in fact.attributes}
        return tuple(sorted(names, key=lambda name: (name in self.placebos, name)))

    def attribute(self, name: str) -> tuple[str | None, ...]:
        """Value of one attribute for every fact (None where a fact lacks it).

        Raises:
            ValueError: no fact carries the attribute.
        """
        if name not in self.attribute_names:
            raise ValueError(
                f"attribute must be one of {list(self.attribute_names)}; got {name!r}: "
                "choose one of these or add a column of that name"
            )
        return tuple(fact.attributes.get(name) for fact in self.facts)

    def prompts(self, form: int) -> tuple[str, ...]:
        """Prompt of every fact in one form (0 = A, 1 = B, ...); see `render`."""
        return tuple(render(self.templates[form], fact.subject)[0] for fact in self.facts)

    def subject_spans(self, form: int) -> tuple[tuple[int, int], ...]:
        """Half-open character span of the subject in each of `prompts(form)`."""
        return tuple(render(self.templates[form], fact.subject)[1] for fact in self.facts)

    def between(self, form: int) -> str | None:
        """What a form puts between prompt and answer; None where that is left to running text."""
        return stem(self.templates[form])[1]

    def subset(self, index: list[int]) -> "FactSet":
        """The same set with only the facts at `index`."""
        return replace(self, facts=tuple(self.facts[i] for i in index))


@dataclass(frozen=True)
class Statements(Shown):
    """Complete sentences that are true or false; of the shipped ones, as many of each.

    Attributes:
        name: what the set is called.
        texts: the sentences.
        labels: the truth of each whole sentence, negation included.
        groups: the entity of each; of the shipped ones it has as many true as false sentences.
        values: the word or number that each claims of its entity.
        blocks: the entities that exchanged values to make the false sentences: split by these.
        negated: whether the sentences hold an inserted "not".
        notes: what of a user's table was left out, and how its entities were found.
    """

    name: str
    texts: tuple[str, ...]
    labels: tuple[bool, ...]
    groups: tuple[str, ...]
    values: tuple[str, ...]
    blocks: tuple[str, ...]
    negated: bool = False
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """How many statements, how many of them true, and the first, on one line."""
        first = f"; first {self.texts[0]!r}" if self.texts else ""
        return f"Statements({self.name!r}: {len(self)} sentences, {sum(self.labels)} true{first})"

    def _rows_shown(self) -> tuple[Sequence[str], Iterable[Sequence[Any]], int]:
        return ("statement", "true"), zip(self.texts, self.labels, strict=True), len(self.texts)

    def __len__(self) -> int:
        """Number of statements."""
        return len(self.texts)


def check_templates(templates: tuple[str, ...], statement: str) -> None:
    """Check the sentences of a fact set.

    Raises:
        ValueError: no template, a template without exactly one "{subject}" or with white space at
            its end, a repeated template, or a statement without "{subject}" and "{answer}".
    """
    if not templates:
        raise ValueError(f"facts need at least one template; got none: give one such as {_EXAMPLE}")
    for template in templates:
        check_prompt(template)
    if len(set(templates)) < len(templates):
        raise ValueError(f"templates must differ; got {list(templates)}: remove the repeated one")
    if statement.count(SLOT) != 1 or statement.count(ANSWER) != 1:
        raise ValueError(
            f"a statement must hold {SLOT} and {{answer}} exactly once; got {statement!r}: write "
            'it as "The capital of {subject} is {answer}."'
        )


def check_prompt(template: str) -> None:
    """Check one sentence that names a subject.

    Raises:
        ValueError: not exactly one "{subject}", or white space at its end.
    """
    if template.count(SLOT) != 1:
        raise ValueError(
            f"a template must hold {SLOT} exactly once; got {template!r}: write it as {_EXAMPLE}"
        )
    if template != template.strip():
        raise ValueError(
            f"a template must not begin or end with white space (the answer brings its own "
            f"space); got {template!r}: remove it, or end the template in {ANSWER}"
        )
    text, _ = stem(template)
    if ANSWER in text or SLOT not in text:
        raise ValueError(
            f"a template may hold {ANSWER} only once and at its end; got {template!r}: "
            f"end it where the answer begins, as in {_EXAMPLE}"
        )


def stem(template: str) -> tuple[str, str | None]:
    """A template up to its prompt's end, and what it puts before "{answer}" where it ends in it."""
    if not template.endswith(ANSWER):
        return template, None
    before = template.removesuffix(ANSWER)
    return before.rstrip(), before[len(before.rstrip()) :]


def render(template: str, subject: str) -> tuple[str, tuple[int, int]]:
    """Put the subject into a template: (text, half-open character span of the subject).

    The template's first letter becomes a capital. A subject that stands first keeps its own
    ("iPhone"), but for an article in front of it ("The Gambia").
    """
    template, _ = stem(template)
    start = template.index(SLOT)
    text = template[:start] + subject + template[start + len(SLOT) :]
    return _opened(template, text), (start, start + len(subject))


def render_statement(statement: str, subject: str, answer: str) -> str:
    """Put subject and answer into a statement, in one pass (braces in either stay as they are).

    Capitals are those of `render`.
    """
    parts = re.split(r"(\{subject\}|\{answer\})", statement)
    fill = {SLOT: subject, ANSWER: answer}
    return _opened(statement, "".join(fill.get(part, part) for part in parts))


def _opened(template: str, text: str) -> str:
    """The text made from a template, begun with a capital unless a name's own letter stands there."""
    names_first = template.startswith((SLOT, ANSWER))
    return text if names_first and not text.startswith("the ") else capitalised(text)


def capitalised(text: str) -> str:
    """First letter in upper case; the length never changes."""
    head = text[:1].upper()
    return head + text[1:] if len(head) == 1 else text


def shares_words(subject: str, answer: str) -> bool:
    """Whether one name contains the other or a word of it: such an answer can be copied."""
    left, right = _words(subject), _words(answer)
    joined = (" ".join(left), " ".join(right))
    return bool(set(left) & set(right)) or joined[0] in joined[1] or joined[1] in joined[0]


def _words(name: str) -> list[str]:
    small = {"the", "of", "and", "de", "la", "le", "el", "al"}
    words = re.findall(r"\w+", name.casefold())
    return [word for word in words if word not in small] or words


@dataclass(frozen=True, repr=False)
class Card(Shown):
    """One data set in a few lines.

    Attributes:
        name: what it is loaded by.
        kind: "truth" (true and false statements), "class" (one of several values of an entity) or
            "quantity" (a number of an entity).
        example: its first item.
        source: package, version and licence.
        entities: how many groups.
        items: how many statements or prompts.
        balance: share of the items of each class; empty for quantities.
        confounds: what else than the content in question could tell the label.
        from_letters: whether a reader of the letters alone is known to be above chance.
    """

    name: str
    kind: Literal["truth", "class", "quantity"]
    example: str
    source: str
    entities: int
    items: int
    balance: Mapping[str, float]
    confounds: tuple[str, ...]
    from_letters: bool = False

    @property
    def majority(self) -> float | None:
        """Share of the largest class, which always answering it would get right."""
        return max(self.balance.values()) if self.balance else None

    def __str__(self) -> str:
        """One line: name, size, classes, source."""
        classes = f"{len(self.balance)} classes" if self.kind == "class" else self.kind
        return f"{self.name}: {self.entities} entities, {self.items} items, {classes}; {self.source}"
