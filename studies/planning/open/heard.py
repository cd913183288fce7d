"""What two models say to prompts, foretold from a few that are really asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from interp.examples import Examples
from interp.facts.prompts.files import PromptSet
from interp.models.pair import ModelPair
from interp.verdict.thresholds import Thresholds
from studies.comparison.prompts.divergence import Continued, continue_both
from studies.comparison.prompts.outputs import Changed, changed_outputs, is_changed
from studies.comparison.prompts.rendering import Rendered, render
from studies.comparison.questions import Prompt
from studies.planning.memory import held_bytes
from studies.planning.open.talk import TalkRates
from studies.planning.plans import Cost, JobPlan, staged

#: Prompts that are asked, evenly spread; every other one is taken to be like the nearest of them.
PILOT = 18


@dataclass(frozen=True)
class Heard:
    """What continuing one prompt comes to.

    Attributes:
        said: tokens that the base says.
        tuned: tokens that the tuned model says.
        place: how many both say before they part; None where they do not.
        changed: whether they part by more than a near tie.
        target: the token that the tuned model says where effects are read, if it is another there.
    """

    said: int
    tuned: int
    place: int | None
    changed: bool
    target: int | None = None

    @classmethod
    def most(cls, tokens: int, target: int | None = 0) -> Heard:
        """The most that a prompt can cost: the two part at the last token."""
        return cls(tokens, tokens, tokens - 1, changed=True, target=target)


@dataclass(frozen=True, eq=False)
class Pilot:
    """A few prompts that were asked, or stand for what is declared.

    Attributes:
        index: which of all.
        heard: what each came to.
        changed: those of them that changed, as they are read; None where none did.
        asked: whether they were.
    """

    index: tuple[int, ...]
    heard: tuple[Heard, ...]
    changed: Changed | None
    asked: bool = True

    @classmethod
    def of(
        cls, pair: ModelPair, rendered: Rendered, thresholds: Thresholds, seed: int, max_bytes: int
    ) -> Pilot:
        """Ask a few prompts, or all where there are no more.

        Args:
            pair: base and tuned.
            rendered: all prompts.
            thresholds: tell near ties from changes.
            seed: of what is drawn.
            max_bytes: memory for activations.
        """
        n = len(rendered.texts)
        count = min(PILOT, n)
        index = tuple(n * (2 * i + 1) // (2 * count) for i in range(count))
        part = rendered.subset(index)
        said = continue_both(pair, part, max_bytes=max_bytes)
        changed = changed_outputs(pair, part, said, thresholds, seed=seed, max_bytes=max_bytes)
        return cls(index, heard_of(part, said, changed, thresholds), changed)

    @classmethod
    def declared(cls, n: int, tokens: int) -> Pilot:
        """Nothing is asked: half of so many prompts are taken to change, at the middle token."""
        heard = Heard(tokens, tokens, tokens // 2, True, target=0), Heard(tokens, tokens, None, False)
        return cls((0, n - 1), heard, None, asked=False)

    def of_all(self, n: int) -> list[Heard]:
        """What all of so many prompts come to: each what the nearest that was asked did."""
        nearest = (min(range(len(self.index)), key=lambda j: abs(self.index[j] - i)) for i in range(n))
        return [self.heard[j] for j in nearest]

    def told(self, n: int) -> str:
        """What was taken for granted, in a sentence."""
        if not self.asked:
            return "declared: half of the prompts change, at the middle token"
        if len(self.index) == n:
            return "every prompt was asked: how many changed is no guess"
        changed = sum(heard.changed for heard in self.heard)
        return (
            f"foretold: which prompts change, from {len(self.index)} of {n} that were asked, of which "
            f"{changed} changed; the others are taken to be like the nearest of these"
        )


def heard_of(
    rendered: Rendered, said: Continued, changed: Changed | None, thresholds: Thresholds
) -> tuple[Heard, ...]:
    """What continuing prompts came to.

    Args:
        rendered: the prompts.
        said: what both models said.
        changed: those that changed, as they are read.
        thresholds: tell near ties from changes.
    """
    heard = [
        Heard(
            len(said.base[i]),
            len(said.tuned[i]),
            None if site is None else len(site.prefix),
            is_changed(site, thresholds),
        )
        for i, site in enumerate(said.sites)
    ]
    if changed is not None:
        questions, row_of = changed.questions, {name: i for i, name in enumerate(rendered.names)}
        for row in questions.shifted_rows.nonzero()[:, 0].tolist():
            i = row_of[questions.examples.groups[row]]
            heard[i] = replace(heard[i], target=int(questions.target[row]))
    return tuple(heard)


def parted(heard: Sequence[Heard]) -> list[int]:
    """Which prompts' continuations part, near ties included."""
    return [i for i, one in enumerate(heard) if one.place is not None]


@dataclass(frozen=True, eq=False)
class Asked:
    """Prompts of which a few were asked.

    Attributes:
        pair: base and tuned model.
        rendered: all prompts.
        pilot: those that were asked.
        widths: tokens of each prompt, and of the text on which it is read.
        rates: what continuing and reading takes.
        thresholds: the declared cut-offs.
        seed: of draws.
        budget: bytes for activations.
    """

    pair: ModelPair
    rendered: Rendered
    pilot: Pilot
    widths: tuple[list[int], list[int]]
    rates: TalkRates
    thresholds: Thresholds
    seed: int
    budget: int

    @classmethod
    def of(
        cls,
        pair: ModelPair,
        prompts: PromptSet,
        *,
        prompt: Prompt,
        tokens: int | None,
        thresholds: Thresholds,
        seed: int,
        budget: int,
        ask: bool = True,
    ) -> Asked:
        """Ask a few of the prompts, or take half of them to change; measure what asking takes."""
        rendered = render(pair, prompts, prompt=prompt, tokens=tokens)
        given = examples_of(pair, rendered, rendered.texts)
        read = examples_of(pair, rendered, _texts_read(rendered))
        n, same = len(rendered.texts), (thresholds, seed, budget)
        pilot = Pilot.of(pair, rendered, *same) if ask else Pilot.declared(n, rendered.tokens)
        rates = TalkRates.measured(pair, given, rendered.tokens, budget)
        widths = (given.lengths.tolist(), read.lengths.tolist())
        return cls(pair, rendered, pilot, widths, rates, thresholds, seed, budget)

    @property
    def foretold(self) -> list[Heard]:
        """What every prompt is taken to come to."""
        return self.pilot.of_all(len(self.rendered.texts))

    @property
    def most(self) -> list[Heard]:
        """The most that the prompts can come to."""
        return [Heard.most(self.rendered.tokens)] * len(self.rendered.texts)

    def plan(
        self, names: Sequence[str], costs: Mapping[str, Cost], most: Mapping[str, Cost], *more: str
    ) -> JobPlan:
        """The plan of these stages."""
        held, n = held_bytes(self.pair), len(self.rendered.texts)
        return JobPlan(
            self.pair.base.name,
            self.pair.tuned.name,
            counts={"prompts": n, "changed": sum(one.changed for one in self.foretold)},
            stages=staged(names, costs, held),
            assumed=(self.pilot.told(n), *more),
            most=Cost.of(staged(names, most, held)),
        )


def examples_of(pair: ModelPair, rendered: Rendered, texts: Sequence[str]) -> Examples:
    """Texts as the models read them."""
    return Examples.from_text(pair.base, list(texts), add_special_tokens=rendered.special)


def _texts_read(rendered: Rendered) -> list[str]:
    """The text on which each prompt's effects are read; as given where it has none."""
    return [read or text for read, text in zip(rendered.readings, rendered.texts, strict=True)]
