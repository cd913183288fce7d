"""Where a change was installed: the label of a contrast and the numbers behind it.

Shares of the change are read from a stitching profile at the middle boundary, fixed in advance, in
both orders. Means over groups are taken before dividing; intervals are Fieller's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from interp import stats
from interp.stats.intervals import Interval
from interp.verdict.profile import Array, Profile, part_names
from interp.verdict.thresholds import Thresholds


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


def locate(found: Profile, thresholds: Thresholds, *, kappa: int | None, selected: bool) -> Location:
    """The label of one contrast from its profile, and everything behind it.

    ``lower``: the lower bounds of both orders at the cut are at least `lower_share`; ``upper``: both
    upper bounds at most `upper_share`; ``distributed``: both intervals between; else
    ``undetermined``, which is forced where the change may be zero, blocks cancel, groups are few,
    tokens were chosen on the form that is read (`selected`), or the embedding or unembedding carries
    more than `term_share`.
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
    named = tuple((name, share(parts[:, i])) for i, name in enumerate(part_names(found.n_layers)))
    reasons = _forced(delta, (by_u, by_v), cancellation, n, thresholds, selected=selected)
    term = None if reasons else _term(named, thresholds)
    if term:
        reasons = [
            f"the {term} carries more than {thresholds.term_share:g} of the change, which is then no "
            "matter of lower or upper blocks; see its share"
        ]
    label = "undetermined"
    if not reasons:
        label = _label(by_u, by_v, thresholds)
        if label == "undetermined":
            reasons = [
                "the share made below the middle lies in "
                f"[{by_u.low:.2f}, {by_u.high:.2f}] in one order of stitching and in "
                f"[{by_v.low:.2f}, {by_v.high:.2f}] in the other, which is neither lower (at least "
                f"{thresholds.lower_share:g} in both), upper (at most {thresholds.upper_share:g}) nor "
                "surely between; more changed facts narrow it, and the block span shows where it lies"
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

    From the first block at which the cumulated share reaches `span_low` to the block from which it
    stays at or above `span_high`: the widest reading where single blocks cancel. None if they
    sum to zero.
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
        reasons.append(
            f"it would rest on {n} changed facts, and a place needs {thresholds.min_groups}; ask more"
        )
    if delta.contains(0.0):
        reasons.append(
            f"the total change, [{delta.low:.2f}, {delta.high:.2f}] logits, may be zero, so it has no "
            "shares; ask more changed facts"
        )
    if any(o.unbounded or not np.isfinite([o.low, o.high]).all() for o in orders):
        reasons.append(
            "the change varies so much between facts that its share has no bounds; ask more of them"
        )
    if not cancellation <= thresholds.cancellation:
        reasons.append(
            f"blocks cancel: their effects sum to {cancellation:.2f} times the change, "
            f"and above {thresholds.cancellation:g} no place is named; read the responsibilities"
        )
    if selected:
        reasons.append(
            "tokens were chosen and effects estimated on one query form (selected); ask each fact in "
            "two wordings"
        )
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
