"""Stitching profiles: what each boundary and each block contributes to a contrast.

U_k runs the base below boundary k and the tuned model above it, V_k the reverse. With m the metric
and Delta = m(T) - m(B), p^V_k = (m(V_k) - m(B)) / Delta and p^U_k = (m(T) - m(U_k)) / Delta are
the share of the change that lies below boundary k, in the two orders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from interp.evidence import Evidence

Array = np.ndarray


@dataclass(frozen=True)
class Profile:
    """Stitched metrics of groups, averaged over query forms.

    Attributes:
        groups: names of the groups, in the order of the arrays.
        base: m(B), the base's own metric.
        tuned: m(T), the tuned model's own.
        tuned_above: m(U_k), the base below boundary k and the tuned model above it, for k = 0..L.
        tuned_below: m(V_k), the tuned model below boundary k and the base above it.
    """

    groups: tuple[str, ...]
    base: Float[Array, " group"]
    tuned: Float[Array, " group"]
    tuned_above: Float[Array, "group boundary"]
    tuned_below: Float[Array, "group boundary"]

    @property
    def delta(self) -> Float[Array, " group"]:
        """m(T) - m(B) per group."""
        return self.tuned - self.base

    @property
    def n_layers(self) -> int:
        """Number of blocks L."""
        return self.tuned_below.shape[1] - 1

    def below(self, k: int) -> tuple[Float[Array, " group"], Float[Array, " group"]]:
        """Change below boundary k per group, in the orders U and V, not yet divided."""
        return self.tuned - self.tuned_above[:, k], self.tuned_below[:, k] - self.base

    def interaction(self, k: int) -> Float[Array, " group"]:
        """I_k = m(T) - m(U_k) - m(V_k) + m(B) per group: Δ · (p^U_k - p^V_k), not yet divided.

        What both halves at boundary k do together beyond what either does alone.
        """
        below_u, below_v = self.below(k)
        return below_u - below_v

    def above(self, k: int) -> tuple[Float[Array, " group"], Float[Array, " group"]]:
        """What the tuned blocks above boundary k do: on the base's lower state, and on their own."""
        return self.tuned_above[:, k] - self.base, self.tuned - self.tuned_below[:, k]

    def pooled(self, units: Mapping[str, str]) -> Profile:
        """The profile of units that several groups belong to: the mean over each unit's groups.

        Args:
            units: group -> its unit; a group without one is its own.
        """
        names = [units.get(group, group) for group in self.groups]
        unique = tuple(dict.fromkeys(names))
        members = [[i for i, name in enumerate(names) if name == unit] for unit in unique]
        arrays = (self.base, self.tuned, self.tuned_above, self.tuned_below)
        return Profile(unique, *(np.stack([a[rows].mean(axis=0) for rows in members]) for a in arrays))

    def shares(self) -> tuple[Float[Array, " boundary"], Float[Array, " boundary"]]:
        """p^U_k and p^V_k at every boundary, means over groups before dividing."""
        total = self.delta.mean()
        with np.errstate(divide="ignore", invalid="ignore"):
            above = (self.tuned[:, None] - self.tuned_above).mean(axis=0) / total
            below = (self.tuned_below - self.base[:, None]).mean(axis=0) / total
        return above, below

    def parts(self) -> tuple[Float[Array, "group part"], Float[Array, "group part"]]:
        """Embedding, block 0..L-1 and unembedding terms per group, in the orders U and V.

        Each row sums to m(T) - m(B) exactly.
        """
        u = np.column_stack([self.tuned, self.tuned_above, self.base])
        v = np.column_stack([self.base, self.tuned_below, self.tuned])
        return -np.diff(u, axis=1), np.diff(v, axis=1)

    def subset(self, groups: Sequence[str]) -> Profile:
        """Profile of some of the groups."""
        wanted = set(groups)
        keep = np.array([g in wanted for g in self.groups], dtype=bool)
        names = tuple(g for g in self.groups if g in wanted)
        arrays = (self.base, self.tuned, self.tuned_above, self.tuned_below)
        return Profile(names, *(a[keep] for a in arrays))


def profile(
    evidence: Evidence,
    metric: str,
    *,
    groups: Sequence[str] | None = None,
    forms: Sequence[str] | None = None,
) -> Profile | None:
    """Stitching profile of a contrast, or None without complete rows for any group.

    Groups that lack a boundary or a baseline are left out: compare `.groups` with what was asked.

    Args:
        evidence: with the rows method ``stitch``.
        metric: name of the contrast.
        groups: those that are wanted; None takes all.
        forms: query forms that are averaged; None takes all.
    """
    rows = evidence.rows(method="stitch", metric=metric)
    if groups is not None:
        rows = rows[rows["group"].isin(list(groups))]
    if forms is not None:
        rows = rows[rows["template"].isin(list(forms))]
    if rows.empty:
        return None
    rows = rows.astype({"group": str, "model": str, "condition": str})
    whole = rows[rows["condition"] == "baseline"].pivot_table(
        index="group", columns="model", values="value", aggfunc="mean"
    )
    stitched = rows[rows["condition"] == "stitched"].pivot_table(
        index="group", columns=["model", "layer"], values="value", aggfunc="mean"
    )
    if not {"base", "tuned"} <= set(whole.columns) or not {"base", "tuned"} <= set(
        stitched.columns.get_level_values(0)
    ):
        return None
    # The model that runs is the one above the boundary.
    orders = {"tuned_above": stitched["tuned"], "tuned_below": stitched["base"]}
    layers = list(range(1 + max(int(max(table.columns)) for table in orders.values())))
    wide = {
        name: pd.DataFrame(table).reindex(layers, axis=1).astype(float).dropna()
        for name, table in orders.items()
    }
    complete = whole[["base", "tuned"]].astype(float).dropna().index
    for table in wide.values():
        complete = complete.intersection(table.index)
    if not len(complete):
        return None
    return Profile(
        tuple(str(g) for g in complete),
        whole.loc[complete, "base"].to_numpy(float),
        whole.loc[complete, "tuned"].to_numpy(float),
        wide["tuned_above"].loc[complete].to_numpy(float),
        wide["tuned_below"].loc[complete].to_numpy(float),
    )


def responsibility(
    evidence: Evidence,
    metric: str,
    *,
    groups: Sequence[str] | None = None,
    forms: Sequence[str] | None = None,
) -> pd.DataFrame:
    """What each block did to a contrast, per group.

    c_k = ½ [(m(U_k) - m(U_{k+1})) + (m(V_{k+1}) - m(V_k))], beside the embedding and the
    unembedding (with the final norm); over the parts of a group it sums to m(T) - m(B) exactly.
    A block's share says where the change was made, not where a fact is stored.

    Args:
        evidence: with the rows method ``stitch``.
        metric: name of the contrast.
        groups: those that are wanted; None takes all.
        forms: query forms that are averaged; None takes all.

    Returns:
        Columns group, part (embedding, 0..L-1, unembedding), order_u, order_v, value. Unit: that of
        the contrast, logits.

    Raises:
        ValueError: if the evidence has no complete stitching rows for the contrast.
    """
    stitched = profile(evidence, metric, groups=groups, forms=forms)
    if stitched is None:
        raise ValueError(
            f"responsibility needs stitch rows of the {metric!r} contrast with both baselines and "
            "every boundary in both orders, got none complete; run patching.stitch first"
        )
    by_u, by_v = stitched.parts()
    names = part_names(stitched.n_layers)
    return pd.DataFrame(
        {
            "group": np.repeat(stitched.groups, len(names)),
            "part": names * len(stitched.groups),
            "order_u": by_u.ravel(),
            "order_v": by_v.ravel(),
            "value": (by_u / 2 + by_v / 2).ravel(),
        }
    )


def part_names(n_layers: int) -> list[str]:
    """Names of the parts of a change: embedding, 0, ..., L-1, unembedding."""
    return ["embedding", *(str(k) for k in range(n_layers)), "unembedding"]
