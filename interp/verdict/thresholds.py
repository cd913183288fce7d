"""Every declared margin and cut-off of the verdict, in one place.

They are declared, not tuned: fixed on development organisms before any scored pair was looked at,
and written into every output. Changing one changes what the words of a verdict mean.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from interp._doors import held


@held
@dataclass(frozen=True)
class Thresholds:
    """Margins and cut-offs. Shares are between 0 and 1; effects are in logits, gains in nats.

    Raises:
        ValueError: if a pair of cut-offs is out of order.
    """

    #: One-sided level of every bound and test; two-sided intervals have confidence 1 - alpha.
    alpha: float = 0.05
    #: Draws of every bootstrap.
    draws: int = 2_000
    #: Fewest groups on which a place or a content is decided.
    min_groups: int = 12
    #: Below this many groups a decided verdict is marked "low n".
    low_n: int = 20

    #: Share f of known groups that must differ: changed above it, unchanged below it.
    change_share: float = 0.05
    #: Mean loss of log p(answer), in nats, that counts as a change; the same gain is "sharpened".
    change_logp: float = 0.1

    #: The cut between lower and upper blocks, as a share of the depth: boundary floor(L * cut).
    cut: float = 0.5
    #: `lower` needs the lower bounds of both orders of stitching at or above this.
    lower_share: float = 0.8
    #: `upper` needs the upper bounds of both orders at or below this.
    upper_share: float = 0.2
    #: Largest sum of |c_k| over |sum of c_k|: beyond it blocks cancel and no place is named.
    cancellation: float = 1.5
    #: Embedding or unembedding share beyond which the change is labelled by that term.
    term_share: float = 0.2
    #: The block span runs between these shares of the cumulated responsibility.
    span_low: float = 0.05
    span_high: float = 0.95
    #: Largest difference between the two orders at the cut for one item to be given a place.
    item_order_gap: float = 0.2

    #: Recovery that the last position must reach, and keep, at the handover.
    handover_recovery: float = 0.5
    #: Fewest pairs and entities, and widest interval (in blocks), of a handover.
    handover_pairs: int = 30
    handover_entities: int = 20
    handover_width: int = 2
    #: Pairs and items whose total effect is below this many logits have no share.
    smallest_effect: float = 1.0

    #: Share of the change that must be installed below k* (order V) ...
    installed_share: float = 0.9
    #: ... and share of the groups of which the tuned state at k* makes the base say the tuned token.
    installed_said: float = 0.9
    #: Sufficiency, retention, persistence: high when the lower Wilson bound is at least this ...
    high: float = 0.5
    #: ... and low when the upper Wilson bound is at most this.
    low: float = 0.3
    #: Norm-matched random shifts that sufficiency must exceed, every one.
    placebo_shifts: int = 99
    #: Most changed groups that are shifted, and most of these that random shifts are tried on.
    shifted_groups: int = 128
    placebo_groups: int = 36
    #: Groups from which a token of the tuned model has a push of its own ...
    part_groups: int = 8
    #: ... and from which it is judged by itself.
    class_groups: int = 12
    #: `mixed`: lower bounds of the shares of pushed and of item-by-item outputs, both at least this.
    mixed_share: float = 0.1
    #: A late `knowledge` needs the upper bound of f on facts never tuned on below this.
    elsewhere_share: float = 0.3

    #: An attribute is probed when each of its two sides has at least this many entities.
    attribute_side: int = 8
    #: Known facts from which the truth of statements about them is probed.
    statement_facts: int = 40
    #: Shares of the depth at which a claim is tested, at the subject's end and at the last token.
    claim_depth_subject: float = 0.5
    claim_depth_last: float = 0.75
    #: Balanced accuracy above the control task: readable above it, unreadable below it.
    readable_gap: float = 0.05
    #: Largest family-wise p of a readable or used claim.
    claim_p: float = 0.05
    #: Fewest label draws behind the p of a readable claim.
    label_draws: int = 999
    #: Fewest control-task directions behind the p of a used claim.
    control_draws: int = 99
    #: Share of planted directions that must be recovered before absence can be claimed.
    planted_power: float = 0.8
    #: Normalised swap effect: used at or above it, unused within plus or minus it.
    used_effect: float = 0.05
    #: Normalised effect of swapping the whole state from which a site counts as causal.
    whole_state_effect: float = 0.2

    def __post_init__(self) -> None:
        """Hold paired cut-offs to their order."""
        for low, high in (
            ("upper_share", "lower_share"),
            ("span_low", "span_high"),
            ("low", "high"),
        ):
            if not getattr(self, low) < getattr(self, high):
                raise ValueError(
                    f"{low} must be below {high}, got {getattr(self, low)} and "
                    f"{getattr(self, high)}; swap them"
                )

    @property
    def unchanged_facts(self) -> int:
        """Known facts without one difference from which `unchanged` is possible.

        The smallest n with (1 - change_share)ⁿ ≤ alpha, the exact binomial bound.
        """
        return math.ceil(math.log(self.alpha) / math.log(1 - self.change_share))

    @property
    def needs(self) -> str:
        """How many facts a comparison needs, as one sentence: whoever says it reads it here."""
        return (
            f"A place needs {self.min_groups} changed facts; a kind of change needs {self.min_groups} "
            f"facts changed in both wordings, and {self.handover_entities} known facts that form "
            f"{self.handover_pairs} pairs of prompts equal in tokens; `unchanged` needs "
            f"{self.unchanged_facts} known facts without a difference."
        )

    def to_dict(self) -> dict[str, float | int]:
        """All thresholds by name."""
        return asdict(self)
