"""Where a change was installed: stitching profiles, responsibility, handover, and the label.

U_k runs the base below boundary k and the tuned model above it, V_k the reverse. With m the metric
and Delta = m(T) - m(B), p^V_k = (m(V_k) - m(B)) / Delta and p^U_k = (m(T) - m(U_k)) / Delta are
the share of the change that lies below boundary k, in the two orders. Means over groups are taken
before dividing; intervals are Fieller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from interp import stats
from interp.evidence import Evidence
from interp.stats import Interval
from interp.thresholds import Thresholds

Array = np.ndarray
SEPARATOR = " -> "


@dataclass(frozen=True)
class Profile:
    """Stitched metrics of groups (forms averaged): base, tuned, and U_k, V_k at boundaries 0..L."""

    groups: tuple[str, ...]
    base: Float[Array, " group"]
    tuned: Float[Array, " group"]
    upper_order: Float[Array, "group boundary"]
    lower_order: Float[Array, "group boundary"]

    @property
    def delta(self) -> Float[Array, " group"]:
        """m(T) - m(B) per group."""
        return self.tuned - self.base

    @property
    def n_layers(self) -> int:
        """Number of blocks L."""
        return self.lower_order.shape[1] - 1

    def below(self, k: int) -> tuple[Float[Array, " group"], Float[Array, " group"]]:
        """The change below boundary k per group, in the orders U and V: not yet divided."""
        return self.tuned - self.upper_order[:, k], self.lower_order[:, k] - self.base

    def shares(self) -> tuple[Float[Array, " boundary"], Float[Array, " boundary"]]:
        """p^U_k and p^V_k at every boundary, means over groups before dividing."""
        total = self.delta.mean()
        with np.errstate(divide="ignore", invalid="ignore"):
            above = (self.tuned[:, None] - self.upper_order).mean(axis=0) / total
            below = (self.lower_order - self.base[:, None]).mean(axis=0) / total
        return above, below

    def parts(self) -> tuple[Float[Array, "group part"], Float[Array, "group part"]]:
        """Embedding, block 0..L-1 and unembedding terms per group, in the orders U and V.

        Each row sums to m(T) - m(B) exactly.
        """
        u = np.column_stack([self.tuned, self.upper_order, self.base])
        v = np.column_stack([self.base, self.lower_order, self.tuned])
        return -np.diff(u, axis=1), np.diff(v, axis=1)

    def subset(self, groups: Sequence[str]) -> Profile:
        """The profile of some of the groups."""
        wanted = set(groups)
        keep = np.array([g in wanted for g in self.groups], dtype=bool)
        names = tuple(g for g in self.groups if g in wanted)
        arrays = (self.base, self.tuned, self.upper_order, self.lower_order)
        return Profile(names, *(a[keep] for a in arrays))


@dataclass(frozen=True)
class Location:
    """Where one contrast says the change lies, with the numbers behind the label.

    `share_lower` is p at the cut averaged over the orders; `share_lower_u` and `share_lower_v` the
    orders themselves. `parts` lists embedding, blocks and unembedding as shares of the change.
    `reasons` says why the label is undetermined.
    """

    label: str
    term: str | None
    reasons: tuple[str, ...]
    n: int
    delta: Interval
    cut: int
    share_lower: Interval
    share_lower_u: Interval
    share_lower_v: Interval
    share_before_handover: Interval | None
    block_span: tuple[int, int] | None
    max_order_gap: float
    cancellation: float
    parts: tuple[tuple[str, Interval], ...]


def profile(
    evidence: Evidence,
    metric: str,
    *,
    groups: Sequence[str] | None = None,
    forms: Sequence[str] | None = None,
) -> Profile | None:
    """The stitching profile of a contrast, or None without complete rows for any group.

    Groups that lack a boundary or a baseline are left out: compare `.groups` with what was asked.
    """
    rows = evidence.where(method="stitch", metric=metric)
    if groups is not None:
        rows = rows[rows["group"].isin(list(groups))]
    if forms is not None:
        rows = rows[rows["template"].isin(list(forms))]
    if rows.empty:
        return None
    rows = rows.astype({"group": str, "model": str, "condition": str})
    own = rows[rows["condition"] == "baseline"].pivot_table(
        index="group", columns="model", values="value", aggfunc="mean"
    )
    stitched = rows[rows["condition"] == "stitched"].pivot_table(
        index="group", columns=["model", "layer"], values="value", aggfunc="mean"
    )
    if not {"base", "tuned"} <= set(own.columns) or not {"base", "tuned"} <= set(
        stitched.columns.get_level_values(0)
    ):
        return None
    table = {"upper": stitched["tuned"], "lower": stitched["base"]}
    layers = list(range(1 + max(int(max(t.columns)) for t in table.values())))
    wide = {name: t.reindex(columns=layers).astype(float).dropna() for name, t in table.items()}
    complete = own[["base", "tuned"]].astype(float).dropna().index
    complete = complete.intersection(wide["upper"].index).intersection(wide["lower"].index)
    if not len(complete):
        return None
    return Profile(
        tuple(str(g) for g in complete),
        own.loc[complete, "base"].to_numpy(float),
        own.loc[complete, "tuned"].to_numpy(float),
        wide["upper"].loc[complete].to_numpy(float),
        wide["lower"].loc[complete].to_numpy(float),
    )


def responsibility(
    evidence: Evidence,
    metric: str,
    *,
    groups: Sequence[str] | None = None,
    forms: Sequence[str] | None = None,
) -> pd.DataFrame:
    """What each block did to a contrast, in logits, per group.

    c_k = ½ [(m(U_k) - m(U_{k+1})) + (m(V_{k+1}) - m(V_k))], beside the embedding and the
    unembedding (with the final norm); over the parts of a group it sums to m(T) - m(B) exactly.
    Columns: group, part (embedding, 0..L-1, unembedding), order_u, order_v, value. A block's share
    says where the change was made, not where a fact is stored.

    Raises:
        ValueError: if the evidence has no complete stitching rows for the contrast.
    """
    found = profile(evidence, metric, groups=groups, forms=forms)
    if found is None:
        raise ValueError(
            f"responsibility needs stitch rows of the {metric!r} contrast with both baselines and "
            "every boundary in both orders, got none complete; run patching.stitch first"
        )
    u, v = found.parts()
    names = part_names(found.n_layers)
    return pd.DataFrame(
        {
            "group": np.repeat(found.groups, len(names)),
            "part": names * len(found.groups),
            "order_u": u.ravel(),
            "order_v": v.ravel(),
            "value": (u / 2 + v / 2).ravel(),
        }
    )


def part_names(n_layers: int) -> list[str]:
    """embedding, 0, ..., L-1, unembedding."""
    return ["embedding", *(str(k) for k in range(n_layers)), "unembedding"]


def handover_layer(
    evidence: Evidence, thresholds: Thresholds | None = None, seed: int = 0
) -> stats.Handover:
    """kappa: the first boundary where restoring the last position alone recovers half, and stays.

    Reads the rows method ``handover``, span ``last``. Pairs whose clean and corrupted runs differ by
    less than the smallest effect are left out. `estimate` is None, with a reason, where there is none.
    """
    thresholds = thresholds or Thresholds()
    rows = evidence.where(method="handover", span="last")
    nothing = np.zeros(0)
    if rows.empty:
        return stats.Handover(
            None, None, None, 0, 0, "no handover rows", nothing, nothing.astype(int)
        )
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
        return stats.Handover(
            None, None, None, pairs, entities, reason, nothing, nothing.astype(int)
        )
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


def locate(
    found: Profile, thresholds: Thresholds, *, kappa: int | None, selected: bool
) -> Location:
    """The label of one contrast from its profile, and everything behind it.

    ``lower``: the lower bounds of both orders at the cut are at least .8; ``upper``: both upper
    bounds at most .2; ``distributed``: both intervals inside (.2, .8); else ``undetermined``, which
    is forced where the change may be zero, blocks cancel, groups are few, tokens were chosen on the
    form that is read (`selected`), or the embedding or unembedding carries more than .2 (`term`).
    """
    level, n = 1 - thresholds.alpha, len(found.groups)
    cut = int(found.n_layers * thresholds.cut)
    delta = stats.mean_interval(found.delta, found.groups, level=level)

    def share(change: Array) -> Interval:
        return stats.fieller(change, found.delta, level=level)

    below_u, below_v = found.below(cut)
    by_u, by_v = share(below_u), share(below_v)
    u, v = found.parts()
    parts = (u + v) / 2
    mean_parts, total = parts.mean(axis=0), float(found.delta.mean())
    cancellation = float(np.abs(mean_parts).sum() / abs(total)) if total else float("inf")
    named = tuple(
        (name, share(parts[:, i])) for i, name in enumerate(part_names(found.n_layers))
    )
    reasons = _forced(delta, (by_u, by_v), cancellation, n, thresholds, selected=selected)
    term = None if reasons else _term(named, thresholds)
    if term:
        reasons = [f"the {term} carries more than {thresholds.term_share:g} of the change"]
    label = "undetermined"
    if not reasons:
        label = _label(by_u, by_v, thresholds)
        if label == "undetermined":
            reasons = [
                "the intervals of the two orders at the middle boundary, "
                f"[{by_u.low:.2f}, {by_u.high:.2f}] and [{by_v.low:.2f}, {by_v.high:.2f}], "
                "fit none of lower, upper and distributed"
            ]
    above, below = found.shares()
    before = None
    if kappa is not None:
        at_u, at_v = found.below(kappa)
        before = share((at_u + at_v) / 2)
    return Location(
        label=label,
        term=term,
        reasons=tuple(reasons),
        n=n,
        delta=delta,
        cut=cut,
        share_lower=share((below_u + below_v) / 2),
        share_lower_u=by_u,
        share_lower_v=by_v,
        share_before_handover=before,
        block_span=None if delta.contains(0.0) else block_span(mean_parts[1:-1], thresholds),
        max_order_gap=float(np.abs(above - below).max()),
        cancellation=cancellation,
        parts=named,
    )


def block_span(blocks: Float[Array, " block"], thresholds: Thresholds) -> tuple[int, int] | None:
    """First and last block of the middle 90% of the blocks' responsibility.

    From the first block at which the cumulated share reaches .05 to the block from which it stays at
    or above .95: the widest reading where single blocks cancel. None if the blocks sum to zero.
    """
    total = blocks.sum()
    if not len(blocks) or total == 0:
        return None
    done = np.cumsum(blocks) / total
    first = int(np.argmax(done >= thresholds.span_low))
    short = np.flatnonzero(done < thresholds.span_high - 1e-12)
    last = int(short[-1]) + 1 if len(short) else 0
    return first, max(first, min(last, len(blocks) - 1))


def _forced(
    delta: Interval,
    orders: tuple[Interval, Interval],
    cancellation: float,
    n: int,
    thresholds: Thresholds,
    *,
    selected: bool,
) -> list[str]:
    reasons = []
    if n < thresholds.min_groups:
        reasons.append(f"{n} groups, at least {thresholds.min_groups} needed")
    if delta.contains(0.0):
        reasons.append(
            f"the interval of the total change, [{delta.low:.2f}, {delta.high:.2f}] logits, holds 0"
        )
    if any(o.unbounded or not np.isfinite([o.low, o.high]).all() for o in orders):
        reasons.append("the share has no finite interval")
    if not cancellation <= thresholds.cancellation:
        reasons.append(
            f"blocks cancel: their effects sum to {cancellation:.2f} times the change, "
            f"at most {thresholds.cancellation:g} allowed"
        )
    if selected:
        reasons.append("tokens were chosen and effects estimated on one query form (selected)")
    return reasons


def _term(parts: tuple[tuple[str, Interval], ...], thresholds: Thresholds) -> str | None:
    name, share = max((parts[0], parts[-1]), key=lambda part: abs(part[1].estimate))
    return name if abs(share.estimate) > thresholds.term_share else None


def _label(u: Interval, v: Interval, thresholds: Thresholds) -> str:
    if min(u.low, v.low) >= thresholds.lower_share:
        return "lower"
    if max(u.high, v.high) <= thresholds.upper_share:
        return "upper"
    if all(o.inside(thresholds.upper_share, thresholds.lower_share) for o in (u, v)):
        return "distributed"
    return "undetermined"
