"""One item of a task as text, and how makers of items draw theirs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from interp.display.html import Shown


@dataclass(frozen=True, repr=False)
class TaskItem(Shown):
    """A prompt, its counterfactual, and what each expects.

    Attributes:
        clean: the prompt.
        corrupted: the prompt it is contrasted with.
        answers: what the clean prompt expects; the first is *the* answer where one is needed.
        foils: what answers are compared with, such as the answer of the corrupted prompt.
        group: what is resampled together; the clean prompt where nothing is said.
        between: what stands between prompt and answer; None for what running text has there.
        template: which wording the prompt has.

    Raises:
        ValueError: if it has no answer or no foil, or one text is both.
    """

    clean: str
    corrupted: str
    answers: tuple[str, ...]
    foils: tuple[str, ...]
    group: str = ""
    between: str | None = None
    template: str = "A"

    def __post_init__(self) -> None:
        """Refuse an item that asks nothing."""
        for name, texts in (("answers", self.answers), ("foils", self.foils)):
            given = () if isinstance(texts, str) else texts
            if not given or not all(isinstance(text, str) and text.strip() for text in given):
                raise ValueError(
                    f"{name} of {self.clean[:40]!r} got {texts!r}; expected one text or more in a "
                    f"tuple, such as (' Paris',)"
                )
        both = set(self.answers) & set(self.foils)
        if both:
            raise ValueError(
                f"{sorted(both)[0]!r} is answer and foil of {self.clean[:40]!r}; expected texts that "
                "differ: give as foil what the corrupted prompt expects"
            )


@dataclass(frozen=True)
class Draw:
    """What makers of items are given: chance, and how long a text is to the tokenizer.

    Attributes:
        chance: the source of every choice.
        length: number of tokens of a text.
    """

    chance: Random
    length: Callable[[str], int]

    def alike(self, words: Sequence[str]) -> list[str]:
        """The words that have as many tokens as most of them, where they follow other words.

        All of them where that is true of fewer than half.
        """
        lengths = [self.length(f"so {word}") for word in words]
        usual = Counter(lengths).most_common(1)[0][0]
        alike = [word for word, length in zip(words, lengths, strict=True) if length == usual]
        return alike if 2 * len(alike) >= len(words) else list(words)

    def several(self, words: Sequence[str], count: int) -> list[str]:
        """Different words, drawn without replacement."""
        return self.chance.sample(list(words), count)

    def one(self, words: Sequence[str]) -> str:
        """One of the words."""
        return self.chance.choice(list(words))
