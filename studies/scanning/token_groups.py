"""Tokens that a tune promotes and suppresses, over all continuations, and which go together."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning

from interp import stats
from interp.models.pair import ModelPair
from interp.models.tokens import token_text
from interp.verdict.thresholds import Thresholds
from studies.scanning.measuring import Measured

#: Tokens of either sort that are shown, and groups they are factorised into.
SHOWN, GROUPS = 20, 4


def changed_tokens(
    pair: ModelPair, measured: Measured, units: Sequence[str], thresholds: Thresholds, seed: int
) -> pd.DataFrame:
    """The tokens with the largest parts of the divergence, promoted and suppressed.

    A token is ranked by its part of KL(T‖B), the mean of p_T (log p_T − log p_B): a rare token that
    neither model says counts little, however far its log p moves. Groups are the factors of a
    non-negative factorisation of the sizes of these parts, prompts by tokens.

    Args:
        pair: base and tuned, whose tokenizer writes the tokens.
        measured: the parts of every token and prompt.
        units: what each prompt is resampled with.
        thresholds: for the level of the intervals.
        seed: of the factorisation.

    Returns:
        Columns kind (promoted, suppressed), token, part (nats a token), mean (Δ log p, nats), low, high
        (interval over units), positive (share of tokens at which Δ log p is above zero), group (the
        factor on which it weighs most).
    """
    part = measured.weight.mean(0)
    order = np.argsort(part, kind="stable")
    chosen = [("promoted", int(t)) for t in order[::-1][:SHOWN] if part[t] > 0]
    chosen += [("suppressed", int(t)) for t in order[:SHOWN] if part[t] < 0]
    ids = [token for _, token in chosen]
    group = groups_of(np.abs(measured.weight[:, ids]), seed)
    rows = []
    for (kind, token), factor in zip(chosen, group, strict=True):
        mean = stats.mean_interval(
            measured.shift[:, token].astype(float), list(units), level=1 - thresholds.alpha
        )
        rows.append(
            {
                "kind": kind,
                "token": token_text(pair.tuned.tokenizer, token),
                "part": float(part[token]),
                "mean": mean.estimate,
                "low": mean.low,
                "high": mean.high,
                "positive": float(measured.positive[:, token].mean()),
                "group": factor,
            }
        )
    columns = ["kind", "token", "part", "mean", "low", "high", "positive", "group"]
    return pd.DataFrame(rows, columns=columns)


def groups_of(sizes: np.ndarray, seed: int) -> list[int]:
    """The factor on which each token weighs most, counted from 1."""
    count = min(GROUPS, *sizes.shape)
    if count < 2 or not sizes.any():
        return [1] * sizes.shape[1]
    settings: dict[str, Any] = {"n_components": count, "init": "nndsvda", "max_iter": 500}
    with warnings.catch_warnings():
        # Groups are told and decide nothing: where they settle slowly, they are those so far.
        warnings.simplefilter("ignore", ConvergenceWarning)
        factors = NMF(**settings, random_state=seed).fit(sizes).components_
    return [int(factor) + 1 for factor in factors.argmax(0)]
