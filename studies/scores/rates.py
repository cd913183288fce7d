"""Rates of right words over many organisms, with intervals, and who was called what."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from interp import stats
from studies.scores.scoring import RIGHT, UNDECIDED, UNSCORED, WRONG
from studies.scores.single_methods import KINDS, PLACES

#: The words that are scored: those of place and kind, which every organism has, and those of few.
WORDS = ("where", "what", "grade", "old", "new")
_OF_FEW = ("grade", "old", "new")
#: What stands for an answer that is not changed, in a confusion matrix.
NOTHING = "nothing"


def rates(table: pd.DataFrame) -> pd.DataFrame:
    """How often each word is right, over organisms that are installed and whose answer is known.

    Args:
        table: rows of `score`.

    Returns:
        measure, estimate, low, high (95% Wilson intervals; the unit is the organism), count, n. Of
        where, what, grade, old and new: `right` (undetermined is not right), `decided`,
        `right_when_decided`, and of where `opposite` (lower for upper, or the reverse); of where and
        what also `right_without_decoys`, as a decoy may be undetermined.
        `interval_coverage`: mean share of samples of people whose interval of a place holds that of
        all, with a t interval over organisms. `false_positive`: organisms that change no answer and
        are called changed.
        `decoy_wrong`, `decoy_undetermined`: decoys of whose place and kind one is another word than
        theirs, or undetermined and none is wrong.
        `inert_supported`: organisms with a placebo attribute that is called supported.
    """
    counted = [
        {"measure": name, **stats.wilson(count, n).as_dict(), "count": count, "n": n}
        for name, count, n in _counts(table)
        if n
    ]
    known = table[table["covered"].notna()]
    if len(known) > 1:
        names = (known["world"] + "/" + known["organism"]).tolist()
        interval = stats.mean_interval(known["covered"].to_numpy(dtype=float), names)
        counted.append({"measure": "interval_coverage", **interval.as_dict(), "n": len(known)})
    return pd.DataFrame(counted)


def _counts(table: pd.DataFrame) -> Iterator[tuple[str, int, int]]:
    """Measure, how many, of how many."""
    for word in WORDS:
        scored = table[table[f"{word}_right"] != UNSCORED]
        right = int((scored[f"{word}_right"] == RIGHT).sum())
        decided = int((scored[f"{word}_right"] != UNDECIDED).sum())
        yield f"{word}_right", right, len(scored)
        yield f"{word}_decided", decided, len(scored)
        yield f"{word}_right_when_decided", right, decided
        if word == "where":
            yield "opposite", int(scored["opposite"].sum()), len(scored)
        if word not in _OF_FEW:
            plain = scored[~scored["decoy"]]
            of_plain = int((plain[f"{word}_right"] == RIGHT).sum())
            yield f"{word}_right_without_decoys", of_plain, len(plain)
    still = table[table["installed"] & table["true_what"].isna()]
    yield "false_positive", int((still["changed"] == "changed").sum()), len(still)
    moved = table[table["installed"] & table["true_what"].notna()]
    yield "change_found", int((moved["changed"] == "changed").sum()), len(moved)
    trap = table[table["installed"] & table["decoy"]]
    places, kinds = trap["where_right"], trap["what_right"]
    wrong = (places == WRONG) | (kinds == WRONG)
    open_still = ((places == UNDECIDED) | (kinds == UNDECIDED)) & ~wrong
    yield "decoy_wrong", int(wrong.sum()), len(trap)
    yield "decoy_undetermined", int(open_still.sum()), len(trap)
    yield "inert_supported", int((table["placebos_supported"] > 0).sum()), len(table)
    mixed = table[table["installed"] & table["outputs"].notna()]
    if len(mixed):
        outputs = int(mixed["outputs"].sum())
        yield "outputs_right", int(mixed["outputs_right"].sum()), outputs
        yield "outputs_opposite", int(mixed["outputs_opposite"].sum()), outputs


def confusion(table: pd.DataFrame, word: str) -> pd.DataFrame:
    """Who was called what.

    Args:
        table: rows of `score`; those not installed are left out.
        word: "where", "what", "grade", or of the depth of a change "old" or "new".

    Returns:
        Counts: known words down, the verdict's across.
    """
    installed = table[table["installed"]]
    if word in _OF_FEW:
        installed = installed[installed[f"true_{word}"].notna()]
    names = [
        installed[column].astype(object).where(installed[column].notna(), NOTHING).rename(title)
        for column, title in ((f"true_{word}", "truth"), (word, "verdict"))
    ]
    return pd.crosstab(names[0], names[1])


def methods(table: pd.DataFrame) -> pd.DataFrame:
    """How often each single method, and the verdict beside them, is right of place or kind.

    Args:
        table: rows of `score`.

    Returns:
        word (where, what), method, estimate, low, high, count, n: over the organisms whose place is
        lower or upper, and whose kind is knowledge or behaviour, as single methods know no others. The
        first that a method gets wrong is named in `fails_on`.
    """
    made = []
    for word, known, names in (
        ("where", ("lower", "upper"), PLACES),
        ("what", ("knowledge", "behaviour"), KINDS),
    ):
        scored = table[table["installed"] & table[f"true_{word}"].isin(known)]
        truth = scored[f"true_{word}"]
        for name, said in ((n, scored[c]) for n, c in (("verdict", word), *((m, m) for m in names))):
            right = np.asarray(said == truth)
            if not len(right):
                continue
            failed = scored["organism"][~right]
            made.append(
                {
                    "word": word,
                    "method": name,
                    **stats.wilson(int(right.sum()), len(right)).as_dict(),
                    "count": int(right.sum()),
                    "n": len(right),
                    "fails_on": failed.iloc[0] if len(failed) else "",
                }
            )
    return pd.DataFrame(made)
