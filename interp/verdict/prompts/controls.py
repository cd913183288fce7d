"""Controls of the place of an open output's change: what the same cells give where nothing should be.

Each is an effect beside that of the contrast, as a share of it.

- Label swap: the tokens of the two models exchanged at random, prompt by prompt; centred at 0.
- The pair one position before the site, where both models still say the same. It is read in logits,
  which a tune may move there without a change of output.
- The divergence of the two models there, as a share of that at the site: whether they do say the same.
- A random pair of the base's first tokens there: how far any two logits move apart at that position.
- A random pair of the base's first tokens at the same place.
- The push with the signs of its coordinates drawn at random, its norm kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from interp import stats
from interp.evidence import Evidence
from interp.stats.intervals import Interval
from interp.verdict.outcomes import Outcomes
from interp.verdict.profile import Profile, profile
from interp.verdict.thresholds import Thresholds

#: Metrics that are stitched beside the output contrast.
BEFORE, OTHER_PAIR, OTHER_READOUT = "before", "other_pair", "output_base"

#: The method of what is read around the site, and its metrics.
EARLIER = "earlier"
KL_AT, KL_BEFORE, OTHER_BEFORE = "kl_at", "kl_before", "other_before"


@dataclass(frozen=True)
class OpenControls:
    """Effects where none should be, as shares of the change of the contrast.

    Attributes:
        label_swap: the effect with the tokens exchanged at random: mean and central 95% of the draws.
        before: the same pair of tokens, one position before the site, in logits.
        before_kl: KL(T‖B) there, as a share of that at the site.
        before_other: size of the effect on a random pair of the base's first tokens there, in logits.
        other_pair: a random pair of tokens at the site.
        signs: share of outputs that the push with random signs brings about.
        other_readout: the share below the cut where the base's final norm and unembedding read all
            cells; None unless both were asked for.
    """

    label_swap: Interval | None = None
    before: Interval | None = None
    before_kl: Interval | None = None
    before_other: Interval | None = None
    other_pair: Interval | None = None
    signs: Interval | None = None
    other_readout: Interval | None = None


def open_controls(
    evidence: Evidence, outcomes: Outcomes, output: Profile, thresholds: Thresholds, seed: int
) -> OpenControls:
    """Read the controls of open outputs.

    Args:
        evidence: with the rows methods ``stitch`` and ``shift``.
        outcomes: what both models said.
        output: profile of the output contrast by unit.
        thresholds: for the level of the intervals.
        seed: of the label swap.

    Returns:
        Each control that was measured.
    """
    level = 1 - thresholds.alpha
    shares = {}
    for name in (BEFORE, OTHER_PAIR):
        control = _like(evidence, name, outcomes, output)
        shares[name] = (
            None if control is None else stats.fieller(control.delta, output.delta, level=level)
        )
    other = _like(evidence, OTHER_READOUT, outcomes, output)
    below = None
    if other is not None:
        both_orders = np.stack(other.below(int(output.n_layers * thresholds.cut)))
        below = stats.fieller(both_orders.mean(axis=0), other.delta, level=level)
    earlier = _earlier(evidence, outcomes, output)
    towards = output.delta * np.sign(output.delta.mean())  # a size is told as a share of a size
    return OpenControls(
        label_swap=_label_swap(output, thresholds, seed),
        before=shares[BEFORE],
        before_kl=_share(earlier.get(KL_BEFORE), earlier.get(KL_AT), level),
        before_other=_share(earlier.get(OTHER_BEFORE), towards, level),
        other_pair=shares[OTHER_PAIR],
        signs=_signs(evidence, thresholds),
        other_readout=below,
    )


def _earlier(evidence: Evidence, outcomes: Outcomes, output: Profile) -> dict[str, np.ndarray]:
    """Metric -> its value for every unit of the contrast; without those that lack any."""
    rows = evidence.rows(method=EARLIER)
    if rows.empty:
        return {}
    rows = rows.astype({"metric": str, "model": str, "group": str})
    ends = rows.pivot_table("value", "group", ["metric", "model"])
    values = pd.DataFrame(
        {
            KL_AT: ends[KL_AT, "tuned"],
            KL_BEFORE: ends[KL_BEFORE, "tuned"],
            OTHER_BEFORE: (ends[OTHER_BEFORE, "base"] - ends[OTHER_BEFORE, "tuned"]).abs(),
        }
    )
    by_unit = values.groupby(values.index.map(outcomes.unit_of)).mean().reindex(list(output.groups))
    return {
        name: by_unit[name].to_numpy(float)
        for name in (KL_AT, KL_BEFORE, OTHER_BEFORE)
        if by_unit[name].notna().all()
    }


def _share(part: np.ndarray | None, whole: np.ndarray | None, level: float) -> Interval | None:
    return None if part is None or whole is None else stats.fieller(part, whole, level=level)


def _like(evidence: Evidence, metric: str, outcomes: Outcomes, output: Profile) -> Profile | None:
    """The profile of a control on the units of the contrast; None where any lacks it."""
    made = profile(evidence, metric, groups=outcomes.changed_groups, forms=[outcomes.estimating_form])
    if made is None:
        return None
    pooled = made.pooled(outcomes.unit_of)
    return pooled if pooled.groups == output.groups else None


def _label_swap(output: Profile, thresholds: Thresholds, seed: int) -> Interval:
    """The mean effect with signs drawn at random, as a share of the effect."""
    delta = output.delta
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(thresholds.draws, len(delta)))
    drawn = (signs * delta).mean(axis=1) / delta.mean()
    low, high = np.quantile(drawn, [thresholds.alpha / 2, 1 - thresholds.alpha / 2])
    return Interval(float(drawn.mean()), float(low), float(high), len(delta))


def _signs(evidence: Evidence, thresholds: Thresholds) -> Interval | None:
    """Share of outputs that the push with random signs brings about, over all draws."""
    rows = evidence.rows(method="shift", condition="signs", metric="said")
    if rows.empty:
        return None
    by_group = rows.groupby(rows["group"].astype(str))["value"].mean()
    return stats.mean_interval(
        by_group.to_numpy(float), list(by_group.index), level=1 - thresholds.alpha
    )
