"""The two boundaries that evidence chooses: the handover kappa, and k* of an installed change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from interp import stats
from interp.evidence import Evidence
from interp.stitched import Profile, profile
from interp.thresholds import Thresholds

SEPARATOR = " -> "


@dataclass(frozen=True)
class Installed:
    """k* of each half of the groups, each chosen on the other half.

    `halves[h]` lists the groups that are read at `boundaries[h]`; a boundary is None where the
    share of the change below never reaches the threshold.
    """

    halves: tuple[tuple[str, ...], tuple[str, ...]]
    boundaries: tuple[int | None, int | None]

    @property
    def by_group(self) -> dict[str, int]:
        """The boundary at which each group is read."""
        pairs = zip(self.halves, self.boundaries, strict=True)
        return {g: k for half, k in pairs if k is not None for g in half}

    @property
    def layers(self) -> tuple[int, ...]:
        """The boundaries at which placebos must be run, sorted."""
        return tuple(sorted({k for k in self.boundaries if k is not None}))

    @property
    def last(self) -> int | None:
        """The later of the two boundaries; None unless both exist."""
        known = [k for k in self.boundaries if k is not None]
        return max(known) if len(known) == 2 else None


def handover_layer(
    evidence: Evidence, thresholds: Thresholds | None = None, seed: int = 0
) -> stats.Handover:
    """kappa: the first boundary where restoring the last position alone recovers half, and stays.

    Reads the rows method ``handover``, span ``last``. Pairs whose clean and corrupted runs differ
    by less than the smallest effect are left out. Where there is none, `estimate` is None and
    `reason` says why.
    """
    thresholds = thresholds or Thresholds()
    rows = evidence.where(method="handover", span="last")
    nothing = np.zeros(0)
    if rows.empty:
        return stats.Handover(None, None, None, 0, 0, "no handover rows", nothing, nothing.astype(int))
    rows = rows.astype({"condition": str, "group": str})
    patched = rows[rows["condition"] == "patched"].pivot_table(
        index="example", columns="layer", values="value", aggfunc="mean"
    )
    ends = rows[rows["condition"] != "patched"].pivot_table(
        index="example", columns="condition", values="value", aggfunc="mean"
    )
    ends = ends.reindex(columns=["clean", "corrupted"]).dropna()
    patched = patched.loc[patched.index.intersection(ends.index)].dropna().astype(float)
    ends = ends.loc[patched.index].astype(float)
    large = (ends["clean"] - ends["corrupted"]).abs() >= thresholds.smallest_effect
    patched, ends = patched[large], ends[large]
    names = rows.drop_duplicates("example").set_index("example")["group"].loc[patched.index]
    sides = [str(name).split(SEPARATOR, 1) for name in names]
    pairs, entities = len(sides), len({e for side in sides for e in side})
    if pairs < thresholds.handover_pairs or entities < thresholds.handover_entities:
        reason = (
            f"too few: {pairs} pairs of {entities} entities, {thresholds.handover_pairs} of "
            f"{thresholds.handover_entities} needed"
        )
        return stats.Handover(None, None, None, pairs, entities, reason, nothing, nothing.astype(int))
    return stats.handover(
        patched.to_numpy(float),
        ends["clean"].to_numpy(float),
        ends["corrupted"].to_numpy(float),
        [a for a, _ in sides],
        [b for _, b in sides],
        level=thresholds.handover_recovery,
        draws=thresholds.draws,
        seed=seed,
        confidence=1 - thresholds.alpha,
    )


def installed_boundary(
    evidence: Evidence | Profile,
    groups: Sequence[str],
    thresholds: Thresholds | None = None,
    seed: int = 0,
    *,
    form: str | None = None,
) -> Installed:
    """k*: the first boundary with p^V at or above .9, per half of the groups, chosen on the other.

    `evidence` holds the stitch rows of the output contrast (or is their profile); `form` restricts
    it to the query form on which effects are estimated. Groups are dealt into halves by the seed.

    Raises:
        ValueError: with fewer than two groups, or groups without complete stitch rows.
    """
    thresholds = thresholds or Thresholds()
    names = sorted(set(groups))
    if isinstance(evidence, Profile):
        found: Profile | None = evidence
    else:
        forms = None if form is None else [form]
        found = profile(evidence, "output", groups=names, forms=forms)
    lacking = set(names) - set(found.groups if found else ())
    if len(names) < 2 or found is None or lacking:
        raise ValueError(
            "k* needs at least two groups with complete stitch rows of the output contrast, got "
            f"{len(names)} groups of which {len(lacking)} lack rows; stitch them first"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    middle = len(names) // 2
    halves = tuple(tuple(sorted(names[i] for i in part)) for part in (order[:middle], order[middle:]))
    chosen = [_first_installed(found.subset(half), thresholds) for half in halves]
    return Installed((halves[0], halves[1]), (chosen[1], chosen[0]))


def _first_installed(found: Profile, thresholds: Thresholds) -> int | None:
    _, below = found.shares()
    reached = np.flatnonzero(below >= thresholds.installed_share)
    return int(reached[0]) if len(reached) else None
