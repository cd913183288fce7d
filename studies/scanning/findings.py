"""Findings: proposed on one half of the prompts and counted on the other, group by group.

Two kinds are tried. A *word*: prompts that hold it (or whose label it is) changed more often than the
others; Fisher's exact test. A *token*: the tuned model says it at more sites of change than the base
does, or the base at more than the tuned model; the sign test. Every p is adjusted for all that was
proposed (Holm). A prompt is changed where its site's contrast differs by the smallest effect, so that
near ties propose nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int
from scipy import stats as distributions

from interp import stats
from interp.verdict.thresholds import Thresholds

#: Most words and most tokens of either sort that are proposed.
PROPOSED = 10

#: Units of the first half in which a word or token must occur.
LEAST = 3

#: Words with which prompts begin alike that are dealt into both halves.
BEGINNING = 2

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
    def of(cls, units: Sequence[str], texts: Sequence[str], seed: int) -> Halves:
        """Deal units into halves in pairs, of which one goes into either, at random.

        Units whose first prompts begin with the same words are paired, so that both halves hold as many
        of them; those that are left over are paired in the order of the alphabet.

        Args:
            units: what each prompt is resampled with.
            texts: the prompts.
            seed: of the draw.

        Raises:
            ValueError: for fewer than two units.
        """
        first_words = {
            unit: text.split()[:BEGINNING]
            for unit, text in reversed(list(zip(units, texts, strict=True)))
        }
        unique = sorted(first_words, key=lambda unit: (first_words[unit], unit))
        if len(unique) < 2:
            raise ValueError(
                f"a scan needs prompts of two groups at least, got {len(unique)}; give more prompts"
            )
        alike, left = list[str](), list[str]()
        for _, same in groupby(unique, key=first_words.__getitem__):
            members = list(same)
            even = len(members) // 2 * 2
            alike += members[:even]
            left += members[even:]
        order = alike + left
        drawn = np.random.default_rng(seed).integers(0, 2, len(order) // 2)
        chosen = {order[2 * pair + one] for pair, one in enumerate(drawn)}
        first = np.array([unit in chosen for unit in units])
        return cls(first, ~first)


def words_of(text: str, label: str | None) -> frozenset[str]:
    """Words of a prompt, in lower case, and its label in brackets."""
    words = {word.lower() for word in re.findall(r"[^\W\d_]{2,}", text)}
    return frozenset(words | ({f"[{label}]"} if label else set()))


def find(
    words: Sequence[frozenset[str]],
    said: Sequence[tuple[int, int] | None],
    units: Sequence[str],
    halves: Halves,
    thresholds: Thresholds,
) -> pd.DataFrame:
    """Propose on the first half, count on the second.

    Everything is counted in units, so that prompts of one group are one. A unit holds a word if one of
    its prompts does, and has changed if half of those did; of one that does not, half of all its
    prompts. It says a token if one model says it at more of its sites than the other.

    Args:
        words: of each prompt.
        said: the base's and the tuned model's token at each site of change; None where unchanged.
        units: what each prompt is resampled with.
        halves: which prompts propose and which count.
        thresholds: for the level of tests and intervals.

    Returns:
        A row for each proposal: kind (word, promoted, suppressed), what (the word, or a token id),
        held_in (units of the first half), share of the second half's units with its interval and n
        (changed among those with the word; those with a site that say the token), others (the same
        share among units without the word; of the other model), p (adjusted), found.
    """
    names, index = np.unique(np.asarray(units), return_inverse=True)
    first = np.zeros(len(names), dtype=bool)
    first[index[halves.first]] = True
    changed = np.array([pair is not None for pair in said])
    rows = [
        *_words(words, changed, index, first, thresholds),
        *_tokens(said, index, first, thresholds),
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS[:-1]))
    if len(table):
        table["p"] = stats.holm(table["p"].to_numpy(float))
    return table.assign(found=(table["p"] < thresholds.alpha).astype(bool)).sort_values(
        ["found", "p"], ascending=[False, True], kind="stable", ignore_index=True
    )


def _words(
    words: Sequence[frozenset[str]],
    changed: Bool[np.ndarray, " prompt"],
    index: Int[np.ndarray, " prompt"],
    first: Bool[np.ndarray, " unit"],
    thresholds: Thresholds,
) -> list[tuple[object, ...]]:
    """Words whose units changed more often than the others."""
    n_units = len(first)
    prompts = np.bincount(index, minlength=n_units)
    mostly = np.bincount(index, weights=changed, minlength=n_units) >= prompts / 2
    of_word: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    excess: dict[str, float] = {}
    for name in sorted({word for held in words for word in held}):
        has = np.array([name in held for held in words])
        with_word = np.bincount(index, weights=has, minlength=n_units)
        among = np.bincount(index, weights=has & changed, minlength=n_units)
        holds = with_word > 0
        moved = np.where(holds, among >= with_word / 2, mostly)
        of_word[name] = holds, moved
        inside, outside = moved[holds & first], moved[~holds & first]
        if inside.sum() >= LEAST and len(outside):
            excess[name] = float(inside.mean() - outside.mean()) * inside.sum() ** 0.5
    best = sorted((name for name in excess if excess[name] > 0), key=lambda name: -excess[name])
    rows = []
    for name in best[:PROPOSED]:
        holds, moved = of_word[name]
        inside, outside = moved[holds & ~first], moved[~holds & ~first]
        k, n, others, m = int(inside.sum()), len(inside), int(outside.sum()), len(outside)
        counts = np.array([[k, n - k], [others, m - others]])
        p = float(distributions.fisher_exact(counts, alternative="greater")[1])
        share = stats.wilson(k, n, level=1 - thresholds.alpha)
        held_in = int((holds & first).sum())
        rows.append(
            ("word", name, held_in, share.estimate, share.low, share.high, n, others / max(m, 1), p)
        )
    return rows


def _tokens(
    said: Sequence[tuple[int, int] | None],
    index: Int[np.ndarray, " prompt"],
    first: Bool[np.ndarray, " unit"],
    thresholds: Thresholds,
) -> list[tuple[object, ...]]:
    """Tokens that one model says at sites of change where the other does not."""
    sites: dict[int, list[tuple[int, int]]] = {}
    for unit, pair in zip(index.tolist(), said, strict=True):
        if pair:
            sites.setdefault(unit, []).append(pair)
    # Of every unit with a site, how often each model says each token beyond the other.
    more = {}
    for unit, pairs in sites.items():
        base, tuned = (Counter(pair[side] for pair in pairs) for side in (0, 1))
        more[unit] = (base - tuned, tuned - base)
    in_first = [more[unit] for unit in more if first[unit]]
    in_second = [more[unit] for unit in more if not first[unit]]
    rows = []
    for kind, own, other in (("promoted", 1, 0), ("suppressed", 0, 1)):
        counts = Counter(token for unit in in_first for token in unit[own])
        against = Counter(token for unit in in_first for token in unit[other])
        best = [t for t, k in counts.items() if k >= LEAST and k > against[t]]
        for token in sorted(best, key=lambda t: (-counts[t], t))[:PROPOSED]:
            k, less = (sum(token in unit[side] for unit in in_second) for side in (own, other))
            p = distributions.binomtest(k, k + less, alternative="greater").pvalue if k + less else 1.0
            n = len(in_second)
            share = stats.wilson(k, n, level=1 - thresholds.alpha)
            numbers = (share.estimate, share.low, share.high, n, less / max(n, 1), p)
            rows.append((kind, token, counts[token], *numbers))
    return rows
