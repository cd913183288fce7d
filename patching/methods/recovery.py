"""Recovery of patched runs: the number that a grid of patches is read by."""

from __future__ import annotations

import pandas as pd

from interp.evidence import Evidence
from interp.evidence.recovery import recovery_table


def recovery(evidence: Evidence, *, resamples: int = 2_000, seed: int = 0) -> pd.DataFrame:
    """How far every patched run gets from the corrupted to the clean one.

    recovery = sum_i (patched_i - corrupted_i) / sum_i (clean_i - corrupted_i) over pairs i: 0 as
    corrupted, 1 as clean; it may leave that range. Sums come before the division, so that pairs whose
    two runs hardly differ weigh little. Repeated draws of one pair are averaged first.

    Args:
        evidence: with rows of both unedited runs and of edited ones, as `patch_sites`, `handover`,
            `path_patch` and `causal_trace` give them, for any kinds of sites and any number of pairs.
        resamples: bootstrap draws behind each interval.
        seed: of these draws.

    Returns:
        One row per edited run: `model`, `method`, `metric`, the columns of evidence that name the run
        (`condition`, `kind`, `layer`, `head`, `position`, `span`, ...; those that say nothing are left
        out), `estimate`, `low` and `high` (95%, BCa over entities; a pair weighs the product of its
        two entities' counts, and with one pair both are NaN) and `n`, the pairs in which the run
        exists. Unit: share of the clean-corrupted difference.

    Raises:
        ValueError: if the evidence holds no such runs.

    Source: the normalised patching effect of 2309.16042. Recovery says that an activation suffices
    here, not that the model needs it.

    Example:
        >>> import interp, patching
        >>> model = interp.load_model("organism-base")
        >>> facts = interp.load_facts("world").subset([1, 2])
        >>> pairs = interp.Contrast.from_text(
        ...     model, facts.prompts(0)[:1], facts.prompts(0)[1:], facts.answers[:1], facts.answers[1:])
        >>> sites = interp.every_layer(interp.Kind.RESID_PRE, model.n_layers)
        >>> grid = patching.patch_sites(
        ...     model, pairs, sites, interp.logit_difference(pairs), positions="last")
        >>> table = patching.recovery(grid)
        >>> table[["layer", "span", "n"]].head(2)
           layer  span  n
        0      0  last  1
        1      1  last  1
        >>> bool(abs(table["estimate"][0]) < 0.01), len(table) == model.n_layers
        (True, True)
    """
    return recovery_table(evidence, resamples=resamples, seed=seed)
