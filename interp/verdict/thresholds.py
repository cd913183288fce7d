"""Every declared margin and cut-off of the verdict, in one place.

They are declared, not tuned: fixed on development organisms before any scored pair was looked at,
and written into every output. Changing one changes what the words of a verdict mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from interp._doors import held
from interp.display.html import Shown


@held
@dataclass(frozen=True, repr=False)
class Thresholds(Shown):
    """Margins and cut-offs. Shares are between 0 and 1; effects are in logits, gains in nats.

    Attributes:
        alpha: one-sided level of every bound and test; two-sided intervals have confidence 1 - alpha.
        draws: draws of every bootstrap.
        min_groups: fewest groups on which a place or a content is decided.
        low_n: below this many groups a decided place is noted as resting on few.
        change_share: share f of known groups that must differ: changed above it, unchanged below it.
        change_logp: mean loss of log p(answer), in nats, that counts as a change; the same gain is
            "sharpened".
        cut: cut between lower and upper blocks, as a share of the depth: boundary floor(L * cut).
        lower_share: `lower` needs the lower bounds of both orders of stitching at or above this.
        upper_share: `upper` needs the upper bounds of both orders at or below this.
        coupling: `coupled` needs the lower bound of p^U − p^V at the cut above this: neither half of
            the blocks makes the change alone.
        middle_share: `middle` needs the block span inside this share of the blocks around the middle.
        cancellation: largest sum of |c_k| over |sum of c_k|: beyond it blocks cancel and no place is
            named.
        term_share: embedding or unembedding share beyond which the change is labelled by that term.
        span_low: cumulated responsibility at which the block span begins.
        span_high: cumulated responsibility at which it ends.
        item_order_gap: largest difference between the two orders at the cut for one item to be given a
            place.
        handover_recovery: recovery that the last position must reach, and keep, at the handover.
        handover_pairs: fewest pairs behind a handover.
        handover_entities: fewest entities behind it.
        handover_width: widest interval of it, in blocks.
        smallest_effect: pairs and items whose total effect is below this many logits have no share.
        carrier_share: a head or MLP carries an output where exchanging it moves at least this share of
            the output's change, mean of the two orders.
        installed_share: share of the change that must be installed below k* (order V).
        installed_said: share of the groups whose tuned state at k* makes the base say the tuned token.
        high: sufficiency, retention and persistence are high when the lower Wilson bound is at least
            this.
        low: they are low when the upper Wilson bound is at most this.
        placebo_shifts: norm-matched random shifts that sufficiency must exceed, every one.
        shifted_groups: most changed groups that are shifted.
        placebo_groups: most of these that random shifts are tried on.
        part_groups: groups from which a token of the tuned model has a push of its own.
        class_groups: groups from which it is judged by itself.
        mixed_share: `mixed`: lower bounds of the shares of pushed and of item-by-item outputs, both at
            least this, and that of outputs which are neither below it.
        elsewhere_share: a late `knowledge` needs the upper bound of f on facts never tuned on below
            this.
        attribute_side: an attribute is probed when each of its two sides has at least this many
            entities.
        statement_facts: known facts from which the truth of statements about them is probed.
        claim_depth_subject: share of the depth at which a claim is tested at the subject's end.
        claim_depth_last: share of the depth at which it is tested at the last token.
        readable_gap: balanced accuracy above the control task: readable above it, unreadable below it.
        claim_p: largest family-wise p of a readable or used claim.
        label_draws: fewest label draws behind the p of a readable claim.
        control_draws: fewest control-task directions behind the p of a used claim.
        planted_power: share of planted directions that must be recovered before absence can be claimed.
        used_effect: normalised swap effect: used at or above it, unused within plus or minus it.
        whole_state_effect: normalised effect of swapping the whole state from which a site counts as
            causal.
        depth_facts: most changed facts that are asked for the depth of the change.
        depth_wrong: wrong answers beside each right one, which a reading is to rank below it.
        ranked_kept: an answer is kept in a reading that ranks it above wrong ones (chance .5) when the
            lower bound of that share is at least this.
        ranked_lost: it is lost when the upper bound is at most this.
        relearned_facts: most facts in a short tune that teaches answers back, half of them taught.
        relearning_steps: its steps.
        relearning_rank: rank of its update.
        relearning_rate: its learning rate.
        saved_steps: an answer comes back sooner than one never known when the lower bound of the share
            of steps that it saves is at least this, and no sooner when the upper bound is below it.

    Raises:
        ValueError: if a pair of cut-offs is out of order.
    """

    alpha: float = 0.05
    draws: int = 2_000
    min_groups: int = 12
    low_n: int = 20

    change_share: float = 0.05
    change_logp: float = 0.1

    cut: float = 0.5
    lower_share: float = 0.8
    upper_share: float = 0.2
    coupling: float = 0.2
    middle_share: float = 0.5
    cancellation: float = 1.5
    term_share: float = 0.2
    span_low: float = 0.05
    span_high: float = 0.95
    item_order_gap: float = 0.2

    handover_recovery: float = 0.5
    handover_pairs: int = 30
    handover_entities: int = 20
    handover_width: int = 2
    smallest_effect: float = 1.0
    carrier_share: float = 0.1

    installed_share: float = 0.9
    installed_said: float = 0.9
    high: float = 0.5
    low: float = 0.3
    placebo_shifts: int = 99
    shifted_groups: int = 128
    placebo_groups: int = 36
    part_groups: int = 8
    class_groups: int = 12
    mixed_share: float = 0.1
    elsewhere_share: float = 0.3

    attribute_side: int = 8
    statement_facts: int = 40
    claim_depth_subject: float = 0.5
    claim_depth_last: float = 0.75
    readable_gap: float = 0.05
    claim_p: float = 0.05
    label_draws: int = 999
    control_draws: int = 99
    planted_power: float = 0.8
    used_effect: float = 0.05
    whole_state_effect: float = 0.2

    depth_facts: int = 64
    depth_wrong: int = 3
    ranked_kept: float = 0.7
    ranked_lost: float = 0.65
    relearned_facts: int = 32
    relearning_steps: int = 12
    relearning_rank: int = 4
    relearning_rate: float = 5e-3
    saved_steps: float = 0.25

    def __repr__(self) -> str:
        """Only what differs from the declared values."""
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        changed = [f"{f.name}={own[f.name]}" for f in fields(self) if own[f.name] != f.default]
        return f"Thresholds({', '.join(changed)})"

    def _rows_shown(self) -> tuple[Sequence[str], Iterable[Sequence[Any]], int]:
        return ("threshold", "value"), self.to_dict().items(), len(self.to_dict())

    def __post_init__(self) -> None:
        """Hold paired cut-offs to their order."""
        for low, high in (
            ("upper_share", "lower_share"),
            ("span_low", "span_high"),
            ("low", "high"),
            ("ranked_lost", "ranked_kept"),
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
        """Sentence that says how many facts a comparison needs: whoever says it reads it here."""
        return (
            f"A place needs {self.min_groups} changed facts; a kind of change needs {self.min_groups} "
            f"facts changed in both wordings, and {self.handover_entities} known facts that form "
            f"{self.handover_pairs} pairs of prompts equal in tokens; `unchanged` needs "
            f"{self.unchanged_facts} known facts without a difference."
        )

    def to_dict(self) -> dict[str, float | int]:
        """Every threshold by its name."""
        return asdict(self)
