"""Outcomes: what base and tuned model said to each query, and which entities the verdict may use.

One row per entity (`group`) and query form. A group is *known* when the base gives the answer
top-1; it is *changed* when it is known and the two models differ on the first form. Unknown groups
are kept in the table and out of every verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from interp._doors import held
from interp.display.html import Shown

TEXT = ("text", "group", "form", "answer", "said_base", "said_tuned")

TRUTH = ("known", "differs", "closed_base", "closed_tuned")

TOKENS = ("answer_token", "base_token", "tuned_token")

NUMBERS = ("logp_base", "logp_tuned", "metric_base", "metric_tuned")

#: One row per (group, form); `metric_*` is the output contrast in logits, NaN where not changed.
COLUMNS = (*TEXT, *TRUTH, *TOKENS, *NUMBERS)

#: Optional column: known facts the caller declares never tuned on, or from other relations.
UNTUNED = "untuned"

#: Optional column: what several groups belong to and are resampled with; a group is its own by default.
UNIT = "unit"

#: Optional column: where the continuations of an open prompt part, in words.
SITE = "site"


@held
@dataclass(frozen=True, repr=False)
class Outcomes(Shown):
    """What each item said, under both models.

    Attributes:
        table: has the columns in `COLUMNS` and may have the boolean `untuned`: facts that were never
            tuned on or belong to another relation. Those serve as a reference for one rule of the
            verdict and count nowhere else. It may have the text `unit`: groups of one unit are
            resampled together; and the text `site`, where the continuations part.
        excluded: text and reason of every item that was left out.
        identical: whether the two models' logits are equal bit by bit on every query.
        open: whether prompts of any kind were continued, of which no answer is known to be right: the
            answer is then the base's token, and every prompt counts as known.

    Raises:
        ValueError: if a column is missing or unknown, a (group, form) pair occurs twice, a group
            lacks the first form, `known` varies within a group, or a log-probability is not finite.
    """

    table: pd.DataFrame
    excluded: Sequence[tuple[str, str]] = ()
    identical: bool = False
    open: bool = False

    def __post_init__(self) -> None:
        """Check the table and give it its types."""
        object.__setattr__(self, "table", _checked(self.table))
        object.__setattr__(self, "excluded", [(str(t), str(r)) for t, r in self.excluded])

    @property
    def forms(self) -> tuple[str, ...]:
        """Query forms, in order: tokens are chosen on the first, effects read on the second."""
        return tuple(sorted(self.table["form"].unique()))

    @property
    def choosing_form(self) -> str:
        """Form on which answer and foil tokens are chosen."""
        return self.forms[0]

    @property
    def estimating_form(self) -> str:
        """Form on which effects are estimated: the second, or the only one."""
        return self.forms[min(1, len(self.forms) - 1)]

    @property
    def selected(self) -> bool:
        """Whether tokens are chosen and effects estimated on one form, which biases effects."""
        return len(self.forms) < 2

    @property
    def known_groups(self) -> tuple[str, ...]:
        """Groups whose answer the base gives top-1, without the untuned reference, sorted."""
        return self._groups(self.table["known"] & ~self.table[UNTUNED])

    @property
    def untuned_groups(self) -> tuple[str, ...]:
        """Known groups declared never tuned on, or of another relation."""
        return self._groups(self.table["known"] & self.table[UNTUNED])

    @property
    def unknown_groups(self) -> tuple[str, ...]:
        """Groups the base does not answer: reported, never pooled with the known ones."""
        return self._groups(~self.table["known"] & ~self.table[UNTUNED])

    @property
    def changed_groups(self) -> tuple[str, ...]:
        """Known groups whose first differing token differs on the first form."""
        chosen = self.table["form"] == self.choosing_form
        return self._groups(chosen & self.table["known"] & self.table["differs"] & ~self.table[UNTUNED])

    @property
    def confirmed_groups(self) -> tuple[str, ...]:
        """Changed groups that differ on the estimating form as well: there the change can be asked."""
        again = self.table["differs"] & (self.table["form"] == self.estimating_form)
        both = set(self._groups(again))
        return tuple(g for g in self.changed_groups if g in both)

    @property
    def unchanged_groups(self) -> tuple[str, ...]:
        """Known groups that say the same on the first form."""
        changed = set(self.changed_groups)
        return tuple(g for g in self.known_groups if g not in changed)

    @property
    def unit_of(self) -> dict[str, str]:
        """Group -> the unit that it is resampled with."""
        return dict(zip(self.table["group"], self.table[UNIT], strict=True))

    def differing(self, groups: Sequence[str]) -> int:
        """Number of these groups that differ on the first form."""
        rows = self.table[self.table["form"] == self.choosing_form].set_index("group")["differs"]
        return int(rows.loc[list(groups)].sum())

    def logp_change(self, groups: Sequence[str]) -> np.ndarray:
        """Tuned minus base log p(answer) of each group, in nats, averaged over forms."""
        change = self.table["logp_tuned"] - self.table["logp_base"]
        return change.groupby(self.table["group"]).mean().loc[list(groups)].to_numpy(dtype=float)

    def token_classes(self, groups: Sequence[str]) -> list[int]:
        """Token of each group that the tuned model says on the form that effects are estimated on."""
        return self._tokens("tuned_token", groups, self.estimating_form)

    def answer_tokens(self, groups: Sequence[str]) -> list[int]:
        """First token of the right answer of each group."""
        return self._tokens("answer_token", groups, self.choosing_form)

    def closed_set_accuracy(self, model: str, groups: Sequence[str]) -> float | None:
        """Share of the groups' queries whose answer wins among all known answers.

        Averaged over forms within a group, then over groups; None without groups.

        Args:
            model: "base" or "tuned".
            groups: names of groups.
        """
        if not len(groups):
            return None
        share = self.table.groupby("group")[f"closed_{model}"].mean().loc[list(groups)]
        return float(share.mean())

    def _tokens(self, column: str, groups: Sequence[str], form: str) -> list[int]:
        rows = self.table[self.table["form"] == form].set_index("group")[column]
        return [int(v) for v in rows.loc[list(groups)]]

    def _groups(self, keep: pd.Series) -> tuple[str, ...]:
        return tuple(sorted(self.table.loc[keep, "group"].unique()))


def _checked(table: pd.DataFrame) -> pd.DataFrame:
    """Table with its types, refused where it is not what the verdict can be read from."""
    missing = [c for c in COLUMNS if c not in table.columns]
    unknown = [c for c in table.columns if c not in (*COLUMNS, UNTUNED, UNIT, SITE)]
    if missing or unknown:
        raise ValueError(
            f"an Outcomes table has the columns {list(COLUMNS)} and may have {UNTUNED!r}, "
            f"{UNIT!r} and {SITE!r}; "
            f"missing {missing}, unknown {unknown}; rename or drop them"
        )
    if table.empty:
        raise ValueError("an Outcomes table needs at least one row, got none; check the exclusions")
    table = table.reset_index(drop=True).copy()
    if UNTUNED not in table:
        table[UNTUNED] = False
    if UNIT not in table:
        table[UNIT] = table["group"]
    if SITE not in table:
        table[SITE] = ""
    for columns, kind in (
        ((*TEXT, UNIT, SITE), str),
        ((*TRUTH, UNTUNED), bool),
        (TOKENS, int),
        (NUMBERS, float),
    ):
        for column in columns:
            if kind in (bool, int) and table[column].isna().any():
                raise ValueError(
                    f"column {column!r} needs a {kind.__name__} in every row, got an empty one; "
                    "exclude the item with its reason instead"
                )
            table[column] = table[column].astype(kind)
    twice = table.duplicated(["group", "form"])
    if twice.any():
        group, form = table.loc[twice, ["group", "form"]].iloc[0]
        raise ValueError(
            f"one row per group and form expected, got several for {group!r} on form {form!r}; "
            "average or drop the repeats"
        )
    first = min(table["form"])
    lacking = set(table["group"]) - set(table.loc[table["form"] == first, "group"])
    if lacking:
        raise ValueError(
            f"every group needs form {first!r}, on which tokens are chosen; "
            f"{min(lacking)!r} lacks it; exclude the group"
        )
    for column in ("known", UNTUNED, UNIT):
        mixed = table.groupby("group")[column].nunique()
        if (mixed > 1).any():
            raise ValueError(
                f"{column!r} belongs to a group; it varies within {mixed.idxmax()!r}; "
                "decide it over all forms at once"
            )
    total = table["logp_base"] + table["logp_tuned"]
    bad = total.isna() | (total.abs() == np.inf)
    if bad.any():
        raise ValueError(
            f"log-probabilities must be finite, got {int(bad.sum())} rows that are not, first "
            f"{table['text'][bad].iloc[0]!r}; check the weights, or exclude the item"
        )
    return table
