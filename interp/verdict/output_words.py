"""What drives each changed output: a push it shares with others, its own state, either, or neither.

Each output is asked twice. *s*: does the push estimated on other entities make the base say what the
tuned model says? *r*: does the tuned model still say it once that push is taken away? A word for all
outputs hides mixtures; the shares of these words show them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from interp import stats
from interp.stats.intervals import Interval
from interp.verdict.thresholds import Thresholds

SHARED_PUSH, ITEM_BY_ITEM, EITHER, NEITHER = "shared push", "item by item", "either", "neither"

#: (s, r) -> word.
WORDS: Mapping[tuple[bool, bool], str] = {
    (True, False): SHARED_PUSH,
    (False, True): ITEM_BY_ITEM,
    (True, True): EITHER,
    (False, False): NEITHER,
}


@dataclass(frozen=True)
class OutputWords:
    """Word of each changed output that was asked, and how common each word is.

    Attributes:
        of: group -> word.
        shares: word -> share of the outputs, Wilson interval.
    """

    of: Mapping[str, str]
    shares: Mapping[str, Interval]

    def groups(self, word: str) -> tuple[str, ...]:
        """Groups whose output has this word, sorted."""
        return tuple(sorted(group for group, its_word in self.of.items() if its_word == word))

    def common(self, word: str, thresholds: Thresholds) -> bool:
        """Whether outputs of a word exceed the declared share for certain."""
        return word in self.shares and self.shares[word].low >= thresholds.mixed_share

    def mixed(self, thresholds: Thresholds) -> bool:
        """Whether pushed and item-by-item outputs are both common."""
        return self.common(SHARED_PUSH, thresholds) and self.common(ITEM_BY_ITEM, thresholds)


def output_words(
    sufficiency: Mapping[str, bool],
    persistence: Mapping[str, bool],
    groups: Sequence[str],
    thresholds: Thresholds,
) -> OutputWords:
    """Words of all groups that answered both questions.

    Args:
        sufficiency: group -> s, with the push of the group's own part.
        persistence: group -> r.
        groups: the shifted groups.
        thresholds: for the level of the intervals.

    Returns:
        The words and their shares; both are empty where no group answered both.
    """
    asked = [g for g in groups if g in sufficiency and g in persistence]
    of = {g: WORDS[sufficiency[g], persistence[g]] for g in asked}
    if not asked:
        return OutputWords({}, {})
    counts = Counter(of.values())
    level = 1 - thresholds.alpha
    return OutputWords(
        of, {word: stats.wilson(counts[word], len(asked), level=level) for word in WORDS.values()}
    )
