"""Stitching profiles: what each boundary and each block contributes to a contrast.

U_k runs the base below boundary k and the tuned model above it, V_k the reverse. With m the metric
and Delta = m(T) - m(B), p^V_k = (m(V_k) - m(B)) / Delta and p^U_k = (m(T) - m(U_k)) / Delta are
the share of the change that lies below boundary k, in the two orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from interp.evidence import Evidence

Array = np.ndarray


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
    wide = {
        name: pd.DataFrame(t).reindex(layers, axis=1).astype(float).dropna()
        for name, t in table.items()
    }
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
