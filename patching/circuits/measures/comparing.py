"""Circuits of a base model and a tuned one, on the same prompts with the same ablation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
import pandas as pd

from interp.contrasts import Contrast
from interp.display.html import ROWS, Shown
from interp.evidence import Evidence
from interp.metrics import Metric, as_metric
from interp.models.pair import ModelPair
from interp.stats import Interval
from patching.circuits.circuit import Circuit
from patching.circuits.cutoffs import Cutoffs
from patching.circuits.measures.differences import differences, exchanges, of_groups, share_of
from patching.circuits.measures.faithfulness import faithfulness
from patching.circuits.measures.runs import run_named
from patching.circuits.measures.verdict import Verdict, circuit_verdict
from patching.circuits.running.setting import Choices, Setting
from patching.circuits.scores.edges import Method, edge_scores
from patching.circuits.scores.nodes import exchanged_scores, node_scores
from patching.circuits.scores.results import EdgeScores, NodeScores


@dataclass(frozen=True, eq=False, repr=False)
class CircuitDiff(Shown):
    """How a behaviour's circuit differs between a base model and a tuned one.

    Attributes:
        verdict: whether it is one circuit, reused, strengthened or weakened, or another; and why.
        edges: the edges of either circuit: base, tuned, difference with low and high, floor (below
            which two halves of the prompts differ within one model), changed.
        nodes: the same of every node, by exact ablation.
        exchanged: of every node, how the base's metric changes when the node's weights are the tuned
            model's, and the tuned model's when they are the base's, with low and high; changed beyond
            the nodes' noise floor.
        circuits: the two circuits, by the role of their model.
        cells: faithfulness of either circuit in either model.
        runs: the evidence behind the cells.
        scores: of the edges, by role.
        node_scores: of the nodes, by role.
        exchanged_scores: of the exchanged nodes, by the role of the model that ran.
    """

    verdict: Verdict
    edges: pd.DataFrame
    nodes: pd.DataFrame
    exchanged: pd.DataFrame
    circuits: dict[str, Circuit]
    cells: pd.DataFrame
    runs: Evidence
    scores: dict[str, EdgeScores]
    node_scores: dict[str, NodeScores]
    exchanged_scores: dict[str, NodeScores]

    def __repr__(self) -> str:
        """The verdict, and how much changed."""
        return (
            f"CircuitDiff({self.verdict.word!r}; {int(self.edges['changed'].sum())} of "
            f"{len(self.edges)} edges and {int(self.nodes['changed'].sum())} of {len(self.nodes)} "
            "nodes changed beyond the noise floor)"
        )

    def share_inside(
        self, layers: Iterable[int], *, exchanged: bool = False, seed: int = 0
    ) -> Interval:
        """Share of the nodes' differences that lies at the heads and MLPs of some blocks.

        Σ |mean difference| inside over that of all heads and MLPs; the input is left out.

        Args:
            layers: the blocks.
            exchanged: whether the effect of exchanging a node's weights counts (in the base; zero by
                construction where weights are the same), and not the difference of its ablation.
            seed: of the bootstrap of the groups.

        Returns:
            The share with its interval over groups of prompts.
        """
        first = self.node_scores["tuned"]
        values = first.values - self.node_scores["base"].values
        if exchanged:
            values = self.exchanged_scores["base"].values
        graph, wanted = first.graph, set(layers)
        layer = (np.arange(1, graph.n_forward) - 1) // (graph.n_heads + 1)
        inside = np.array([number in wanted for number in layer.tolist()])
        apart = of_groups(values, first.groups)[1:]
        return share_of(apart, inside, self.verdict.cutoffs.level, seed)

    def _rows_shown(self) -> tuple[Sequence[str], Iterable[Sequence[Any]], int]:
        return list(self.nodes.columns), self.nodes.head(ROWS).to_numpy().tolist(), len(self.nodes)


def diff(
    pair: ModelPair,
    contrast: Contrast,
    metric: Metric | Callable[..., Any],
    *,
    n: int = 200,
    method: Method = "eap_ig",
    steps: int = 5,
    seed: int = 0,
    cutoffs: Cutoffs | None = None,
    **choices: Unpack[Choices],
) -> CircuitDiff:
    """Compare the circuits of a base model and a tuned one on the same prompts.

    Each model is ablated with its own values (its own corrupted run, its own means). An edge or node
    has changed where the interval of its difference excludes zero *and* the difference passes the
    noise floor: the 95% quantile, over random halves of the prompts, of how far the edge's mean score
    lies apart between the two halves within one model, the larger of the two models'. Nodes are also
    exchanged one by one: the tuned model's head or MLP answers what the base's reads.

    Args:
        pair: the two models.
        contrast: aligned pairs, of several groups.
        metric: read on every run.
        n: edges of each model's circuit, by size of the score, before pruning.
        method: of the edges' scores; see `score_edges`. Nodes are always exact.
        steps: of integrated gradients.
        seed: of all draws.
        cutoffs: where words begin; the declared ones by default.
        **choices: `ablation`, `positions`, `reference` and `max_bytes`, as `score_edges` takes them.

    Returns:
        Tables of edges and nodes, both circuits in both models, and the verdict.

    Raises:
        ValueError: for pairs of one group only, or as `score_edges`.

    Example:
        >>> import interp, patching
        >>> pair = interp.load_pair("organism-base", "organism-edited-low")
        >>> facts = interp.load_facts("world")
        >>> examples = interp.Examples.from_facts(pair.base, facts)
        >>> answers = [interp.first_token(pair.base, a, prompt=p)
        ...            for a, p in zip(facts.answers, examples.texts)]
        >>> pairs = interp.Contrast.pairs(examples, answers).subset(range(6))
        >>> metric = interp.logit_difference(pairs)
        >>> found = patching.circuits.diff(pair, pairs, metric, n=60, steps=2)
        >>> sorted(found.circuits), len(found.cells)
        (['base', 'tuned'], 4)
    """
    cut = cutoffs or Cutoffs()
    if len(set(contrast.clean.groups)) < 2:
        raise ValueError(
            "diff needs pairs of two groups or more, for its intervals; got one; give more"
        )
    metric = as_metric(metric, contrast.clean)
    models = {"base": pair.base, "tuned": pair.tuned}
    settings = {
        role: Setting.of(model, contrast, metric, seed, **choices) for role, model in models.items()
    }
    scores = {role: edge_scores(s, method, steps, seed) for role, s in settings.items()}
    circuits = {role: found.top(n, absolute=True) for role, found in scores.items()}
    runs = Evidence.concat(_cells(setting, circuits) for setting in settings.values())
    by_node = {role: node_scores(setting) for role, setting in settings.items()}
    exchanged = {
        role: exchanged_scores(settings[role], models[other])
        for role, other in (("base", "tuned"), ("tuned", "base"))
    }
    graph = scores["base"].graph
    chosen = (circuits["base"].mask | circuits["tuned"].mask).nonzero()[:, 0]
    edges = differences(
        [graph.names[i] for i in chosen.tolist()],
        {role: found.values[chosen] for role, found in scores.items()},
        scores["base"].groups,
        cut,
        seed,
    )
    nodes = differences(
        graph.sources, {r: f.values for r, f in by_node.items()}, scores["base"].groups, cut, seed
    ).rename(columns={"name": "node"})
    floor = nodes.set_index("node")["floor"].loc[list(graph.sources)].to_numpy()
    return CircuitDiff(
        verdict=circuit_verdict(runs, cut, seed),
        edges=edges.rename(columns={"name": "edge"}),
        nodes=nodes,
        exchanged=exchanges(exchanged, floor, cut, seed),
        circuits=circuits,
        cells=_faithfulness_of_cells(runs, cut, seed),
        runs=runs,
        scores=scores,
        node_scores=by_node,
        exchanged_scores=exchanged,
    )


def _cells(setting: Setting, circuits: dict[str, Circuit]) -> Evidence:
    """Both models' circuits in one model."""
    masks = [circuit.mask for circuit in circuits.values()]
    columns = [
        {"condition": "circuit", "share": len(c) / c.graph.n_edges, "parameters": f"circuit of {role}"}
        for role, c in circuits.items()
    ]
    return run_named(setting, masks, columns)


def _faithfulness_of_cells(runs: Evidence, cut: Cutoffs, seed: int) -> pd.DataFrame:
    """A row for each circuit in each model."""
    parts = []
    for role in ("base", "tuned"):
        table = faithfulness(runs.select(model=role), level=cut.level, seed=seed)
        parts.append(table.assign(model=role, circuit=table["parameters"].str.split().str[-1]))
    columns = ["circuit", "model", "share", "edges", "estimate", "low", "high", "n"]
    return pd.concat(parts, ignore_index=True)[columns]
