"""Findings: proposed on one half of the prompts and counted on the other.

Two kinds are tried. A *word*: prompts that hold it (or whose label it is) changed more often than the
others; Fisher's exact test. A *token*: the tuned model says it at more sites of change than the base
does, or the base at more than the tuned model; the sign test. Every p is adjusted for all that was
proposed (Holm). A prompt is changed where its site's contrast differs by the smallest effect, so that
near ties propose nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats as distributions

from interp import stats
from interp.verdict.thresholds import Thresholds

#: Most words and most tokens of either sort that are proposed.
PROPOSED = 10

#: Prompts of the first half in which a word or token must occur.
LEAST = 3

COLUMNS = ("kind", "what", "held_in", "share", "low", "high", "n", "others", "p", "found")


@dataclass(frozen=True, eq=False)
class Halves:
    """Prompts, split by what they are resampled with.

    Attributes:
        first: where findings are proposed, [prompt].
        second: where they are counted.
    """

    first: np.ndarray
    second: np.ndarray

    @classmethod
    def of(cls, units: Sequence[str], seed: int) -> Halves:
        """Deal units into halves at random.

        Raises:
            ValueError: for fewer than two units.
        """
        unique = sorted(set(units))
        if len(unique) < 2:
            raise ValueError(
                f"a scan needs prompts of two groups at least, got {len(unique)}; give more prompts"
            )
        order = np.random.default_rng(seed).permutation(len(unique))
        chosen = {unique[i] for i in order[: len(unique) // 2]}
        first = np.array([unit in chosen for unit in units])
        return cls(first, ~first)


def words_of(text: str, label: str | None) -> frozenset[str]:
    """Words of a prompt, in lower case, and its label in brackets."""
    words = {word.lower() for word in re.findall(r"[^\W\d_]{2,}", text)}
    return frozenset(words | ({f"[{label}]"} if label else set()))


def find(
    words: Sequence[frozenset[str]],
    said: Sequence[tuple[int, int] | None],
    halves: Halves,
    thresholds: Thresholds,
) -> pd.DataFrame:
    """Propose on the first half, count on the second.

    Args:
        words: of each prompt.
        said: the base's and the tuned model's token at each site of change; None where unchanged.
        halves: which prompts propose and which count.
        thresholds: for the level of tests and intervals.

    Returns:
        A row for each proposal: kind (word, promoted, suppressed), what (the word, or a token id),
        held_in (prompts of the first half), share of the second half's prompts with its interval and n
        (changed among those with the word; sites of change at which the token is said), others (the
        same share among prompts without the word; of the other model), p (adjusted), found.
    """
    changed = np.array([pair is not None for pair in said])
    rows = [
        *_words(words, changed, halves, thresholds),
        *_tokens(said, halves, thresholds),
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS[:-1]))
    if len(table):
        table["p"] = stats.holm(table["p"].to_numpy(float))
    return table.assign(found=(table["p"] < thresholds.alpha).astype(bool)).sort_values(
        ["found", "p"], ascending=[False, True], kind="stable", ignore_index=True
    )


def _words(
    words: Sequence[frozenset[str]], changed: np.ndarray, halves: Halves, thresholds: Thresholds
) -> list[tuple[object, ...]]:
    """Words whose prompts changed more often than the others."""
    names = sorted({word for held in words for word in held})
    holds = {name: np.array([name in held for held in words]) for name in names}
    excess: dict[str, float] = {}
    for name, has in holds.items():
        inside, outside = changed[has & halves.first], changed[~has & halves.first]
        if inside.sum() >= LEAST and len(outside):
            excess[name] = float(inside.mean() - outside.mean()) * inside.sum() ** 0.5
    best = sorted((name for name in excess if excess[name] > 0), key=lambda name: -excess[name])
    rows = []
    for name in best[:PROPOSED]:
        has = holds[name]
        inside, outside = changed[has & halves.second], changed[~has & halves.second]
        k, n, others, m = int(inside.sum()), len(inside), int(outside.sum()), len(outside)
        counts = np.array([[k, n - k], [others, m - others]])
        p = float(distributions.fisher_exact(counts, alternative="greater")[1])
        share = stats.wilson(k, n, level=1 - thresholds.alpha)
        held_in = int((has & halves.first).sum())
        rows.append(
            ("word", name, held_in, share.estimate, share.low, share.high, n, others / max(m, 1), p)
        )
    return rows


def _tokens(
    said: Sequence[tuple[int, int] | None], halves: Halves, thresholds: Thresholds
) -> list[tuple[object, ...]]:
    """Tokens that one model says at sites of change where the other does not."""
    rows = []
    first = [pair for pair, held in zip(said, halves.first, strict=True) if pair and held]
    second = [pair for pair, held in zip(said, halves.second, strict=True) if pair and held]
    for kind, own, other in (("promoted", 1, 0), ("suppressed", 0, 1)):
        counts: Mapping[int, int] = Counter(pair[own] for pair in first)
        against = Counter(pair[other] for pair in first)
        best = [t for t, k in counts.items() if k >= LEAST and k > against[t]]
        for token in sorted(best, key=lambda t: (-counts[t], t))[:PROPOSED]:
            k, less = (sum(pair[side] == token for pair in second) for side in (own, other))
            p = distributions.binomtest(k, k + less, alternative="greater").pvalue if k + less else 1.0
            share = stats.wilson(k, len(second), level=1 - thresholds.alpha)
            others = less / max(len(second), 1)
            rows.append(
                (
                    kind,
                    token,
                    counts[token],
                    share.estimate,
                    share.low,
                    share.high,
                    len(second),
                    others,
                    p,
                )
            )
    return rows
