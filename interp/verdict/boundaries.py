"""The two boundaries that evidence chooses: the handover kappa, and k* of an installed change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from interp import stats
from interp.evidence import Evidence
from interp.evidence.pairs import pair_runs
from interp.verdict.outcomes import Outcomes
from interp.verdict.profile import Profile, profile
from interp.verdict.thresholds import Thresholds


@dataclass(frozen=True)
class Installed:
    """k* of each half of each part of the groups, chosen on the part's other half.

    Attributes:
        halves: the groups that are read at one boundary; two halves a part.
        boundaries: where each half is read; None where its other half never reaches the thresholds.
    """

    halves: tuple[tuple[str, ...], ...]
    boundaries: tuple[int | None, ...]

    @property
    def by_group(self) -> dict[str, int]:
        """Boundary at which each group is read."""
        pairs = zip(self.halves, self.boundaries, strict=True)
        return {g: k for half, k in pairs if k is not None for g in half}

    @property
    def layers(self) -> tuple[int, ...]:
        """Boundaries at which placebos must be run, sorted."""
        return tuple(sorted({k for k in self.boundaries if k is not None}))

    @property
    def last(self) -> int | None:
        """Last of the boundaries; None unless all exist."""
        if not self.boundaries or None in self.boundaries:
            return None
        return max(self.layers)


def handover_layer(
    evidence: Evidence, thresholds: Thresholds | None = None, seed: int = 0
) -> stats.Handover:
    """Handover kappa: the first boundary where restoring the last position recovers half, and stays.

    Pairs whose clean and corrupted runs differ by less than the smallest effect are left out.

    Args:
        evidence: with the rows method ``handover``, span ``last``.
        thresholds: the declared cut-offs.
        seed: of the bootstrap.

    Returns:
        The boundary with its interval; where there is none, `estimate` is None and `reason` says why.
    """
    thresholds = thresholds or Thresholds()
    rows = evidence.rows(method="handover", span="last")
    if rows.empty:
        nothing = np.zeros(0)
        return stats.Handover(None, None, None, 0, 0, "no handover rows", nothing, nothing.astype(int))
    runs = pair_runs(rows, ["layer"]).complete()
    runs = runs.where(abs(runs.effect) >= thresholds.smallest_effect)
    return stats.handover(
        runs.edited.to_numpy(float),
        runs.clean,
        runs.corrupted,
        runs.clean_groups,
        runs.corrupted_groups,
        level=thresholds.handover_recovery,
        draws=thresholds.draws,
        seed=seed,
        confidence=1 - thresholds.alpha,
        min_pairs=thresholds.handover_pairs,
        min_entities=thresholds.handover_entities,
        max_width=thresholds.handover_width,
    )


def chosen_boundaries(
    evidence: Evidence, output: Profile, outcomes: Outcomes, thresholds: Thresholds, seed: int
) -> Installed:
    """k* of each half as it was recorded with the measurement; chosen here, by the seed, otherwise.

    The rows method ``shift``, condition ``installed`` hold one row per group: its half in `value` and
    the boundary at which it was read in `layer`. Random shifts were run at these boundaries only.

    Args:
        evidence: with these rows, or with the rows method ``stitch``.
        output: profile of the output contrast on the groups that are read.
        outcomes: what both models said.
        thresholds: the declared cut-offs.
        seed: of the halves, where they are dealt here.
    """
    rows = evidence.rows(method="shift", condition="installed")
    rows = rows[rows["group"].astype(str).isin(output.groups)]
    if not set(output.groups) <= set(rows["group"].astype(str)):
        said = profile(evidence, "said", groups=output.groups, forms=[outcomes.estimating_form])
        return installed_boundary(output, output.groups, thresholds, seed, said=said)
    halves, boundaries = [], []
    for _, half in rows.groupby("value"):
        halves.append(tuple(sorted(half["group"].astype(str))))
        layers = half["layer"].dropna().unique()
        boundaries.append(int(layers[0]) if len(layers) else None)
    return Installed(tuple(halves), tuple(boundaries))


def record(installed: Installed, form: str) -> Evidence:
    """Evidence from which `chosen_boundaries` reads which group was read at which boundary.

    Args:
        installed: the halves and their boundaries.
        form: the query form that they were read on.

    Returns:
        Method ``shift``, condition ``installed``, unit half: one row per group, its boundary in
        `layer`.
    """
    members = [
        (group, half, k)
        for half, (names, k) in enumerate(zip(installed.halves, installed.boundaries, strict=True))
        for group in names
    ]
    return Evidence.build(
        [half for _, half, _ in members],
        method="shift",
        condition="installed",
        metric="half",
        unit="half",
        template=form,
        group=[group for group, _, _ in members],
        layer=[k for _, _, k in members],
    )


def installed_boundary(
    evidence: Evidence | Profile,
    groups: Sequence[str],
    thresholds: Thresholds | None = None,
    seed: int = 0,
    *,
    form: str | None = None,
    said: Profile | None = None,
    parts: Mapping[str, int] | None = None,
) -> Installed:
    """k* of each half of the groups, chosen on the other half.

    k* is the first boundary below which p^V says that `installed_share` of the change is made, and
    whose tuned state makes the base itself say the tuned token in `installed_said` of the groups: a
    contrast can move far before another word wins.

    Args:
        evidence: the stitch rows of the output contrast, or their profile.
        groups: dealt into halves by the seed.
        thresholds: the two shares.
        seed: of the halves.
        form: restricts the rows to the query form on which effects are estimated.
        said: the profile of whether the tuned token is said, where `evidence` is a profile; else it
            is read from the rows. Without either the contrast alone decides.
        parts: group -> its part. Two changes may be complete at two places, so each part is dealt
            into halves and has boundaries of its own; one part by default.

    Returns:
        The halves and their boundaries.

    Raises:
        ValueError: with fewer than two groups in all or in a part, or groups without complete stitch
            rows.
    """
    thresholds = thresholds or Thresholds()
    names = sorted(set(groups))
    if isinstance(evidence, Profile):
        output: Profile | None = evidence
    else:
        forms = None if form is None else [form]
        output = profile(evidence, "output", groups=names, forms=forms)
        said = profile(evidence, "said", groups=names, forms=forms)
    lacking = set(names) - set(output.groups if output else ())
    if len(names) < 2 or output is None or lacking:
        raise ValueError(
            "k* needs at least two groups with complete stitch rows of the output contrast, got "
            f"{len(names)} groups of which {len(lacking)} lack rows; stitch them first"
        )
    label = dict.fromkeys(names, 0) if parts is None else parts
    rng = np.random.default_rng(seed)
    halves: list[tuple[str, ...]] = []
    boundaries: list[int | None] = []
    for part in sorted({label[name] for name in names}):
        members = [name for name in names if label[name] == part]
        if len(members) < 2:
            raise ValueError(
                f"k* needs two groups in every part, got {members} alone; put it into another part"
            )
        order, middle = rng.permutation(len(members)), len(members) // 2
        dealt = [tuple(sorted(members[i] for i in half)) for half in (order[:middle], order[middle:])]
        chosen = [
            _first_installed(output.subset(half), said.subset(half) if said else None, thresholds)
            for half in dealt
        ]
        halves += dealt
        boundaries += chosen[::-1]
    return Installed(tuple(halves), tuple(boundaries))


def _first_installed(output: Profile, said: Profile | None, thresholds: Thresholds) -> int | None:
    """First boundary that meets both shares; None where none does."""
    _, below = output.shares()
    reached = below >= thresholds.installed_share
    if said is not None and said.groups:
        reached &= said.tuned_below.mean(axis=0) >= thresholds.installed_said
    return int(np.flatnonzero(reached)[0]) if reached.any() else None
