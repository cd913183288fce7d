"""Which heads and MLPs carry each changed output, read from the runs in which one was exchanged.

B_n is the base with the tuned model's node n, T_n the reverse, Δ = m(B) − m(T) of the same prompt.
A node carries a change where the mean of its shares (m(B) − m(B_n)) / Δ and (m(T_n) − m(T)) / Δ is at
least the declared one. Nodes drawn at random beside those that were screened tell what was missed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from interp.evidence import Evidence
from interp.sites import Kind
from interp.verdict.thresholds import Thresholds

#: What names a node in the evidence.
NODE = ["kind", "layer", "head"]


@dataclass(frozen=True)
class Carrier:
    """One node's part in one output.

    Attributes:
        node: such as "head 21.3" or "MLP 24".
        share: mean of the two orders.
        share_order_u: of the change, made by the tuned model's node in the base.
        share_order_v: undone by the base's node in the tuned model.
        carries: whether the share is at least the declared one.
    """

    node: str
    share: float
    share_order_u: float
    share_order_v: float
    carries: bool


@dataclass(frozen=True)
class Carriers:
    """The verified nodes of every prompt, and those drawn at random.

    Attributes:
        of: (group, form) -> its verified nodes, those with the largest shares first.
        drawn: number of other nodes that were exchanged, over all prompts.
        beside: largest size of a share among these; None without any.
    """

    of: Mapping[tuple[str, str], tuple[Carrier, ...]]
    drawn: int
    beside: float | None

    def as_dict(self) -> dict[str, Any]:
        """Prompts, the random nodes, and every node that carries any prompt, the commonest first."""
        carrying = [c for carriers in self.of.values() for c in carriers if c.carries]
        shares: dict[str, list[float]] = {}
        for carrier in carrying:
            shares.setdefault(carrier.node, []).append(carrier.share)
        nodes: list[dict[str, Any]] = [
            {"node": node, "prompts": len(of), "share": sum(of) / len(of)}
            for node, of in shares.items()
        ]
        nodes.sort(key=lambda row: (-row["prompts"], -row["share"]))
        return {"prompts": len(self.of), "drawn": self.drawn, "beside": self.beside, "nodes": nodes}

    def items(self, row: Mapping[str, Any]) -> list[dict[str, Any]] | None:
        """The verified nodes of one output; None where it was not asked for them."""
        found = self.of.get((str(row["group"]), str(row["form"])))
        return None if found is None else [asdict(carrier) for carrier in found]


def with_carriers(
    items: Sequence[dict[str, Any]], carriers: Carriers | None
) -> Sequence[dict[str, Any]]:
    """Outputs, each with the nodes that carry it under `carriers`; as they are where none were read.

    Args:
        items: rows of the verdict output by output.
        carriers: of all prompts.
    """
    if carriers is None:
        return items
    return [{**item, "carriers": carriers.items(item)} for item in items]


def carriers_of(evidence: Evidence, thresholds: Thresholds) -> Carriers | None:
    """Read the exchanged nodes of every prompt.

    Args:
        evidence: with the rows method ``carriers``.
        thresholds: which share counts, and which change is too small to have any.

    Returns:
        The nodes; None where none were exchanged. A prompt whose change is below the smallest effect
        has none.
    """
    rows = evidence.rows(method="carriers", condition=["baseline", "verified", "sampled"])
    if rows.empty:
        return None
    prompt = ["group", "template"]
    rows = rows.astype(dict.fromkeys([*prompt, "model", "condition", "kind"], str))
    ends = rows[rows["condition"] == "baseline"].pivot_table("value", prompt, "model")
    delta = (ends["base"] - ends["tuned"]).rename("delta")
    exact = rows[rows["condition"] != "baseline"].join(ends, on=prompt).join(delta, on=prompt)
    exact = exact[exact["delta"].abs() >= thresholds.smallest_effect]
    of: dict[tuple[str, str], tuple[Carrier, ...]] = {key: () for key in ends.index}
    if exact.empty:
        return Carriers(of, 0, None)
    own = exact["base"].where(exact["model"] == "base", exact["tuned"])
    towards = (own - exact["value"]).where(exact["model"] == "base", exact["value"] - own)
    exact = exact.assign(share=towards / exact["delta"], node=[_name(*n) for n in _nodes(exact)])
    both = exact.pivot_table("share", [*prompt, "condition", "node"], "model").dropna()
    both = both.assign(share=both.mean(axis=1)).reset_index()
    verified = both[both["condition"] == "verified"].sort_values("share", ascending=False)
    for (group, form), part in verified.groupby(prompt):
        of[str(group), str(form)] = tuple(
            Carrier(node, share, u, v, share >= thresholds.carrier_share)
            for node, share, u, v in zip(
                part["node"], part["share"], part["base"], part["tuned"], strict=True
            )
        )
    sampled = both[both["condition"] == "sampled"]["share"].abs()
    return Carriers(of, len(sampled), float(sampled.max()) if len(sampled) else None)


def _nodes(rows: pd.DataFrame) -> list[tuple[str, int, int | None]]:
    """Kind, layer and head of every row."""
    heads = [None if pd.isna(head) else int(head) for head in rows["head"]]
    return list(zip(rows["kind"].astype(str), rows["layer"].astype(int), heads, strict=True))


def _name(kind: str, layer: int, head: int | None) -> str:
    return f"MLP {layer}" if kind == str(Kind.MLP_OUT) else f"head {layer}.{head}"
