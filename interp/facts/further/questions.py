"""FurtherQuestions: how the facts of a set can be asked for beside its templates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SLOT, ANSWER = "{subject}", "{answer}"


@dataclass(frozen=True)
class TwoSteps:
    """A question that has to pass through the fact.

    Either it begins a step before the subject (`via`: "the country in which Lyon lies" for France), or
    it ends a step behind the answer (`leads`: the region of the town that is someone's home), or both.

    Attributes:
        template: holds "{subject}" once and stops right before what is asked for.
        via: group of the fact -> what stands in the place of its subject; facts without are not asked.
            Empty: the subject itself.
        leads: answer of the fact -> what follows from it; facts without are not asked. Empty: the
            answer itself.
    """

    template: str
    via: Mapping[str, str] = field(default_factory=dict)
    leads: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrueOrFalse:
    """A question whether a fact is true.

    Attributes:
        template: holds "{subject}" and "{answer}" once and stops right before the reply.
        yes: words that say yes.
        no: words that say no.
    """

    template: str
    yes: tuple[str, ...]
    no: tuple[str, ...]


@dataclass(frozen=True)
class FurtherQuestions:
    """How the facts of a set can be asked for beside its templates; a verdict asks none of these.

    Attributes:
        wordings: other templates, each with "{subject}" once.
        reversed: templates with "{answer}" once that stop right before the subject.
        two_steps: questions that pass through the fact.
        true_or_false: how the truth of a fact is asked; None asks it of the set's statement.

    Raises:
        ValueError: if a template lacks its slot, or holds it twice.
    """

    wordings: tuple[str, ...] = ()
    reversed: tuple[str, ...] = ()
    two_steps: tuple[TwoSteps, ...] = ()
    true_or_false: TrueOrFalse | None = None

    def __post_init__(self) -> None:
        """Check that every template has its slots."""
        slots: list[tuple[str, tuple[str, ...]]] = [(text, (SLOT,)) for text in self.wordings]
        slots += [(template, (ANSWER,)) for template in self.reversed]
        slots += [(question.template, (SLOT,)) for question in self.two_steps]
        if self.true_or_false is not None:
            slots.append((self.true_or_false.template, (SLOT, ANSWER)))
        for template, wanted in slots:
            held = tuple(slot for slot in (SLOT, ANSWER) if slot in template)
            if held != wanted or any(template.count(slot) != 1 for slot in wanted):
                raise ValueError(
                    f"a further question must hold {' and '.join(wanted)} once and no other slot; got "
                    f"{template!r}: write wordings with {SLOT}, reversed ones with {ANSWER}"
                )
            if template != template.strip():
                raise ValueError(
                    f"a further question must not begin or end with white space; got {template!r}: "
                    "remove it"
                )
