"""Where a change was installed: the label of a contrast and the numbers behind it.

Shares of the change are read from a stitching profile at the middle boundary, fixed in advance, in
both orders. Means over groups are taken before dividing; intervals are Fieller's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float

from interp import stats
from interp.stats.intervals import Interval
from interp.verdict.profile import Array, Profile, part_names
from interp.verdict.thresholds import Thresholds


@dataclass(frozen=True)
class Boundary:
    """The four cells at one boundary, as shares of the change and beside it.

    Attributes:
        share_u: p^U, the share below the boundary by the base below and the tuned model above it.
        share_v: p^V, the share below by the tuned model below and the base above.
        interaction: I = Δ · (p^U − p^V) in logits: what both sides do together beyond either alone.
        coupling: p^U − p^V, the interaction as a share of the change.
        portable: (1 − p^U) / (1 − p^V): what the tuned blocks above do on the base's state, over what
            they do on their own.
    """

    share_u: Interval
    share_v: Interval
    interaction: Interval
    coupling: Interval
    portable: Interval

    @classmethod
    def of(cls, stitched: Profile, k: int, level: float) -> Boundary:
        """The numbers of one boundary, with Fieller's intervals over groups (t of the interaction)."""
        below_u, below_v = stitched.below(k)
        carried, own = stitched.above(k)
        share = partial(stats.fieller, denominator=stitched.delta, level=level)
        interaction = stitched.interaction(k)
        return cls(
            share(below_u),
            share(below_v),
            stats.mean_interval(interaction, stitched.groups, level=level),
            share(interaction),
            stats.fieller(carried, own, level=level),
        )


@dataclass(frozen=True)
class Location:
    """Place of a change by one contrast, with the numbers behind the label.

    Attributes:
        label: one of lower, upper, middle, distributed, coupled, undetermined.
        term: "embedding" or "unembedding" where that carries too much of the change; else None.
        reasons: why the label is undetermined.
        n: groups behind it.
        delta: total change m(T) - m(B), in logits.
        cut: the middle boundary, at which the shares are read.
        share_lower: share of the change below the cut, averaged over the orders of stitching.
        share_lower_u: the same by U, the base below and the tuned model above.
        share_lower_v: the same by V, the tuned model below and the base above.
        share_before_handover: share below the handover; None without a handover.
        block_span: first and last block of the middle of the responsibility; None where it is unclear.
        max_order_gap: largest difference between the two orders over the boundaries.
        cancellation: sum of the parts' sizes over the size of their sum.
        parts: name and share of embedding, every block and unembedding.
        boundaries: the four cells at every boundary 0..L.
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
    boundaries: tuple[Boundary, ...] = ()

    @property
    def at_cut(self) -> Boundary:
        """The four cells at the cut."""
        return self.boundaries[self.cut]


def locate(stitched: Profile, thresholds: Thresholds, *, kappa: int | None, selected: bool) -> Location:
    """Place of one contrast from its profile, and everything behind it.

    ``lower``: the lower bounds of both orders at the cut are at least `lower_share`; ``upper``: both
    upper bounds at most `upper_share`; ``coupled``: the lower bound of p^U − p^V above `coupling`, so
    that neither half makes the change alone; ``middle``: the block span inside the middle
    `middle_share` of the blocks; ``distributed``: both intervals between; else ``undetermined``, which
    is forced where the change may be zero, blocks cancel, groups are few,
    tokens were chosen on the form that is read (`selected`), or the embedding or unembedding carries
    more than `term_share`.

    Args:
        stitched: profile of the contrast.
        thresholds: the declared cut-offs.
        kappa: the handover; None where there is none.
        selected: whether tokens were chosen on the form that is read.
    """
    confidence, n = 1 - thresholds.alpha, len(stitched.groups)
    cut = int(stitched.n_layers * thresholds.cut)
    delta = stats.mean_interval(stitched.delta, stitched.groups, level=confidence)
    share = partial(stats.fieller, denominator=stitched.delta, level=confidence)
    below_u, below_v = stitched.below(cut)
    cells = tuple(Boundary.of(stitched, k, confidence) for k in range(stitched.n_layers + 1))
    share_u, share_v = cells[cut].share_u, cells[cut].share_v
    parts = np.mean(stitched.parts(), axis=0)
    mean_parts, total = parts.mean(axis=0), float(stitched.delta.mean())
    cancellation = float(np.abs(mean_parts).sum() / abs(total)) if total else float("inf")
    names = part_names(stitched.n_layers)
    part_shares = tuple((name, share(part)) for name, part in zip(names, parts.T, strict=True))
    reasons = _forced(delta, (share_u, share_v), cancellation, n, thresholds, selected=selected)
    term = None if reasons else _term(part_shares, thresholds)
    if term:
        reasons = [
            f"the {term} carries more than {thresholds.term_share:g} of the change, which is then no "
            "matter of lower or upper blocks; see its share"
        ]
    span = None if delta.contains(0.0) else block_span(mean_parts[1:-1], thresholds)
    middle = _in_the_middle(span, stitched.n_layers, thresholds)
    label = "undetermined" if reasons else _label(cells[cut], middle, thresholds)
    if not reasons and label == "undetermined":
        reasons = [_between(cells[cut], thresholds)]
    before_u, before_v = stitched.below(kappa or 0)
    above, below = stitched.shares()
    return Location(
        label=label,
        term=term,
        reasons=tuple(reasons),
        n=n,
        delta=delta,
        cut=cut,
        share_lower=share((below_u + below_v) / 2),
        share_lower_u=share_u,
        share_lower_v=share_v,
        share_before_handover=None if kappa is None else share((before_u + before_v) / 2),
        block_span=span,
        max_order_gap=float(np.abs(above - below).max()),
        cancellation=cancellation,
        parts=part_shares,
        boundaries=cells,
    )


def block_span(blocks: Float[Array, " block"], thresholds: Thresholds) -> tuple[int, int] | None:
    """First and last block of the middle of the blocks' responsibility.

    From the first block at which the cumulated share reaches `span_low` to the block from which it
    stays at or above `span_high`: the widest reading where single blocks cancel. None if they
    sum to zero.

    Args:
        blocks: responsibility of every block, in logits.
        thresholds: the two shares.
    """
    total = blocks.sum()
    if not len(blocks) or total == 0:
        return None
    cumulated = np.cumsum(blocks) / total
    first = int(np.argmax(cumulated >= thresholds.span_low))
    short = np.flatnonzero(cumulated < thresholds.span_high - 1e-12)
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
    """Reasons for which no place may be named, whatever the shares are."""
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
    if not np.isfinite([bound for share in orders for bound in (share.low, share.high)]).all():
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


def _between(cell: Boundary, thresholds: Thresholds) -> str:
    """Why two sound intervals give no place."""
    u, v = cell.share_u, cell.share_v
    if cell.coupling.high < -thresholds.coupling:
        return (
            f"the two orders of stitching disagree: either half of the tuned blocks alone makes more "
            f"of the change than the other order leaves to it (p^U − p^V in [{cell.coupling.low:.2f}, "
            f"{cell.coupling.high:.2f}]), so that no share belongs to one place; read the four cells"
        )
    return (
        f"the share made below the middle lies in [{u.low:.2f}, {u.high:.2f}] in one order of "
        f"stitching and in [{v.low:.2f}, {v.high:.2f}] in the other, which is neither lower (at least "
        f"{thresholds.lower_share:g} in both), upper (at most {thresholds.upper_share:g}) nor "
        "surely between; more changed facts narrow it, and the block span shows where it lies"
    )


def _in_the_middle(span: tuple[int, int] | None, n_layers: int, thresholds: Thresholds) -> bool:
    """Whether every block of the span lies inside the middle share of the blocks."""
    edge = n_layers * (1 - thresholds.middle_share) / 2
    return span is not None and span[0] >= edge and span[1] + 1 <= n_layers - edge


def _term(parts: tuple[tuple[str, Interval], ...], thresholds: Thresholds) -> str | None:
    """Embedding or unembedding, whichever carries more, where that is too much."""
    name, share = max((parts[0], parts[-1]), key=lambda part: abs(part[1].estimate))
    return name if abs(share.estimate) > thresholds.term_share else None


def _label(cell: Boundary, middle: bool, thresholds: Thresholds) -> str:
    u, v = cell.share_u, cell.share_v
    if min(u.low, v.low) >= thresholds.lower_share:
        return "lower"
    if max(u.high, v.high) <= thresholds.upper_share:
        return "upper"
    if cell.coupling.low > thresholds.coupling:
        return "coupled"
    if middle:
        return "middle"
    if all(share.inside(thresholds.upper_share, thresholds.lower_share) for share in (u, v)):
        return "distributed"
    return "undetermined"
