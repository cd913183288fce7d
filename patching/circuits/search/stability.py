"""Which edges are found again on other prompts: the default answer of a search for circuits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from scipy.stats import hypergeom
from torch import Tensor

from interp import stats
from interp.arguments import at_least_one
from interp.contrasts import Contrast
from interp.display.html import ROWS, Shown
from interp.metrics import Metric
from interp.models.model import Model
from patching.circuits.circuit import Circuit
from patching.circuits.cutoffs import Cutoffs
from patching.circuits.graph import Graph
from patching.circuits.running.setting import Choices
from patching.circuits.scores.edges import Method, score_edges
from patching.circuits.scores.results import EdgeScores

#: Methods whose scores are the same on all prompts, so that drawing prompts anew says nothing.
PROMPTLESS = ("weights", "random")

#: Scores of edges held at once.
_HELD = 2**25


@dataclass(frozen=True, eq=False, repr=False)
class Discovery(Shown):
    """How often each edge is in the circuit when prompts are drawn anew.

    Attributes:
        scores: of every edge on every pair.
        size: edges taken by each resample, before pruning.
        absolute: whether edges were ranked by size, whatever the sign.
        frequency: share of the resamples whose circuit holds each edge.
        jaccard: of the circuits of the two halves of the prompts, for each random split.
        null_mean: the Jaccard expected of two random sets of edges of those sizes.
        null_high: what 95% of such sets stay below.
        cutoffs: where "core" and "noise" begin.
    """

    scores: EdgeScores
    size: int
    absolute: bool
    frequency: Float[Tensor, " edge"]
    jaccard: Float[np.ndarray, " split"]
    null_mean: float
    null_high: float
    cutoffs: Cutoffs

    def __repr__(self) -> str:
        """How many edges of which kind, and how alike halves are."""
        words = self.words
        told = ", ".join(f"{words.count(word)} {word}" for word in ("core", "contingent"))
        told = f"{told} edges of {len(words):,} by {self.scores.method}"
        if self.scores.method in PROMPTLESS:
            return f"Discovery({told}, which reads no prompt: nothing is told of its stability)"
        known = self.jaccard[np.isfinite(self.jaccard)]
        halves = f"{known.mean():.2f}" if len(known) else "of none, all circuits being empty"
        return f"Discovery({told}; split-half Jaccard {halves}, of random sets {self.null_mean:.3f})"

    def _rows_shown(self) -> tuple[Sequence[str], Iterable[Sequence[Any]], int]:
        table = self.table()
        return list(table.columns), table.head(ROWS).to_numpy().tolist(), len(table)

    @property
    def graph(self) -> Graph:
        """The graph of the model."""
        return self.scores.graph

    @property
    def words(self) -> list[str]:
        """Of every edge "core", "contingent" or "noise"."""
        cut = self.cutoffs
        return [
            "core" if f >= cut.core else "contingent" if f >= cut.noise else "noise"
            for f in self.frequency.tolist()
        ]

    def circuit(self, word: str = "core") -> Circuit:
        """The edges that are at least this: "core", or "contingent" and core.

        Args:
            word: the one or the other.

        Raises:
            ValueError: for another word.
        """
        if word not in ("core", "contingent"):
            raise ValueError(f"word got {word!r}; expected 'core' or 'contingent'")
        least = self.cutoffs.core if word == "core" else self.cutoffs.noise
        return Circuit(self.graph, self.frequency >= least, self.scores.mean)

    def table(self) -> pd.DataFrame:
        """The edges that are not noise, the most frequent first.

        Returns:
            Columns edge, sender, receivers, frequency, score (mean over pairs), word.
        """
        mean, words, graph = self.scores.mean, self.words, self.graph
        chosen = [i for i, word in enumerate(words) if word != "noise"]
        chosen.sort(key=lambda i: (-float(self.frequency[i]), -abs(float(mean[i])), i))
        sources, destinations = graph.source.tolist(), graph.destination.tolist()
        return pd.DataFrame(
            {
                "edge": [graph.names[i] for i in chosen],
                "sender": [graph.sources[sources[i]] for i in chosen],
                "receivers": [graph.destinations[destinations[i]] for i in chosen],
                "frequency": [float(self.frequency[i]) for i in chosen],
                "score": [float(mean[i]) for i in chosen],
                "word": [words[i] for i in chosen],
            }
        )


def discover(
    model: Model,
    contrast: Contrast,
    metric: Metric | Callable[..., Any],
    *,
    n: int = 200,
    method: Method = "eap_ig",
    absolute: bool = True,
    steps: int = 5,
    resamples: int = 200,
    seed: int = 0,
    cutoffs: Cutoffs | None = None,
    **choices: Unpack[Choices],
) -> Discovery:
    """Which edges the circuit of the n best holds when the prompts are drawn anew.

    Groups of prompts are resampled, and each time the n edges of the best mean score are taken, those
    on no path from the input to the logits left out. One list of edges would hide how much of it rests
    on the prompts that happened to be there. Beside it stands the Jaccard of the circuits of two
    random halves of the groups, and that of two random sets of the same sizes.

    Args:
        model: the model that runs.
        contrast: aligned pairs, of several groups.
        metric: for instance `interp.logit_difference(contrast)`.
        n: edges that each resample takes.
        method: of the scores; see `score_edges`.
        absolute: whether edges are ranked by size, whatever the sign.
        steps: of integrated gradients.
        resamples: draws of the groups, and random splits into halves.
        seed: of all draws.
        cutoffs: where words begin; the declared ones by default.
        **choices: `ablation`, `positions`, `reference` and `max_bytes`, as `score_edges` takes them.

    Returns:
        Frequencies, halves and their null; `.table()` lists the edges, `.circuit()` the core.

    Raises:
        ValueError: for pairs of one group only, or as `score_edges`.

    Example:
        >>> import interp, patching
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> examples = interp.Examples.from_facts(model, facts)
        >>> answers = [interp.first_token(model, a, prompt=p)
        ...            for a, p in zip(facts.answers, examples.texts)]
        >>> pairs = interp.Contrast.pairs(examples, answers).subset(range(6))
        >>> metric = interp.logit_difference(pairs)
        >>> found = patching.circuits.discover(model, pairs, metric, n=40, resamples=20)
        >>> set(found.table()["word"]) <= {"core", "contingent"}
        True
    """
    scores = score_edges(model, contrast, metric, method=method, steps=steps, seed=seed, **choices)
    return stability(scores, n=n, absolute=absolute, resamples=resamples, seed=seed, cutoffs=cutoffs)


def stability(
    scores: EdgeScores,
    *,
    n: int = 200,
    absolute: bool = True,
    resamples: int = 200,
    seed: int = 0,
    cutoffs: Cutoffs | None = None,
) -> Discovery:
    """The same of scores that are there already; see `discover`.

    Args:
        scores: of every edge on every pair.
        n: edges that each resample takes.
        absolute: whether edges are ranked by size, whatever the sign.
        resamples: draws of the groups, and random splits into halves.
        seed: of all draws.
        cutoffs: where words begin; the declared ones by default.

    Returns:
        Frequencies, halves and their null.

    Raises:
        ValueError: for pairs of one group only.

    Example:
        >>> import interp, patching
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> examples = interp.Examples.from_facts(model, facts)
        >>> answers = [interp.first_token(model, a, prompt=p)
        ...            for a, p in zip(facts.answers, examples.texts)]
        >>> pairs = interp.Contrast.pairs(examples, answers).subset(range(6))
        >>> scores = patching.circuits.score_edges(
        ...     model, pairs, interp.logit_difference(pairs), method="eap"
        ... )
        >>> found = patching.circuits.stability(scores, n=40, resamples=20)
        >>> 0.5 < float(found.frequency.max()) <= 1
        True
    """
    means, prompts = group_means(scores)
    n, resamples = at_least_one("n", n), at_least_one("resamples", resamples)
    groups = means.shape[1]
    if groups < 2:
        raise ValueError(
            "stability needs pairs of two groups or more, to be drawn anew; got one; give groups= or "
            "more pairs"
        )
    resampled = stats.resample_counts(groups, resamples, seed)
    drawn = _best(scores.graph, means, resampled * prompts, n, absolute)
    rng = np.random.default_rng(seed)
    half = np.zeros((resamples, groups))
    for row in half:
        row[rng.permutation(groups)[: groups // 2]] = 1
    first, second = (
        _best(scores.graph, means, side * prompts, n, absolute) for side in (half, 1 - half)
    )
    both, either = ((first & second).sum(1).numpy(), (first | second).sum(1).numpy())
    jaccard = np.divide(both, either, out=np.full(resamples, np.nan), where=either > 0)
    sizes = (round(float(side.sum(1).double().mean())) for side in (first, second))
    mean, high = _null(scores.graph.n_edges, *sizes)
    frequency = drawn.double().mean(0)  # a share of .9 is .9, not the float below it
    return Discovery(scores, n, absolute, frequency, jaccard, mean, high, cutoffs or Cutoffs())


def group_means(
    scores: EdgeScores,
) -> tuple[Float[Tensor, "edge group"], Float[np.ndarray, " group"]]:
    """Mean score of every edge in each group of pairs, and how many pairs it has; groups by name."""
    names = sorted(set(scores.groups))
    member = torch.tensor([[g == name for g in scores.groups] for name in names], dtype=torch.float64)
    pairs = member.sum(1, keepdim=True)
    return scores.values @ (member / pairs).to(scores.values.dtype).T, pairs[:, 0].numpy()


def _best(
    graph: Graph, means: Float[Tensor, "edge group"], counts: np.ndarray, n: int, absolute: bool
) -> Bool[Tensor, "draw edge"]:
    """The n edges of the best mean over drawn groups, without those on no path, for every draw."""
    if len(counts) * graph.n_edges > _HELD and len(counts) > 1:
        halves = np.array_split(counts, 2)
        return torch.cat([_best(graph, means, half, n, absolute) for half in halves])
    weight = torch.as_tensor(counts / counts.sum(1, keepdims=True), dtype=means.dtype)
    mean = weight @ means.T
    ranked = (mean.abs() if absolute else mean).nan_to_num(nan=-torch.inf)
    mask = torch.zeros_like(ranked, dtype=torch.bool)
    mask.scatter_(1, ranked.topk(min(n, graph.n_edges), 1).indices, True)
    return graph.pruned(mask & ranked.isfinite())


def _null(edges: int, first: int, second: int) -> tuple[float, float]:
    """Mean and 95% quantile of the Jaccard of two random sets of these sizes."""
    if not first or not second:
        return 0.0, 0.0
    shared = np.arange(max(0, first + second - edges), min(first, second) + 1)
    chance = hypergeom(edges, first, second)
    jaccard = shared / (first + second - shared)
    high = int(chance.ppf(0.95))
    return float((chance.pmf(shared) * jaccard).sum()), high / (first + second - high)
