"""Which heads and MLPs carry what two models differ in: single nodes exchanged, screened, verified."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.evidence import Evidence
from interp.examples import Examples
from interp.metrics import Metric, as_metric
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.progress import counted
from interp.sites import Site
from patching.attribution.exchanging import Exchanged, nodes_of
from patching.engine import rows as tables
from patching.engine.block_cost import BlockCost
from patching.engine.schedule import MAX_BYTES
from patching.engine.sweeping import Swept
from patching.places import named

#: Nodes verified in each prompt, and others drawn beside them.
TOP, SAMPLE = 10, 2

#: Conditions of the exact runs of these.
EXACT = ("verified", "sampled")

#: Kinds of sites whose activations are held of either model.
KINDS_KEPT = 6


def carriers(
    pair: ModelPair,
    examples: Examples,
    metric: Metric | Callable[..., Any],
    *,
    k: int = TOP,
    sample: int = SAMPLE,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """Which heads and MLPs carry a change, prompt by prompt: screened by attribution, verified exactly.

    B_n is the base with the tuned model's node n, T_n the tuned model with the base's. Of every node
    the effect in either is estimated to first order, ∂m/∂a · (a' − a) with a' what the other model's
    node makes of the same input (2310.10348); the k with the largest mean of the two are run exactly
    in each prompt, and so are some of the others, drawn at random. With Δ = m(B) − m(T) the shares
    are (m(B) − m(B_n)) / Δ and (m(T_n) − m(T)) / Δ.

    Args:
        pair: the two models.
        examples: prompts, the same ids for both.
        metric: with a gradient, for instance `interp.token_contrast(examples, plus, minus)`.
        k: nodes verified in each prompt.
        sample: other nodes verified in each prompt.
        seed: of the sample.
        max_bytes: memory in bytes for activations beside the models; changes no number.

    Returns:
        Evidence of method "carriers", in the metric's unit: conditions "attribution" for every node
        (an estimated *change*), "verified" and "sampled" (the raw metric of the exchanged run) and
        "baseline". Columns that vary: model (that runs), donor (whose node it is), kind (z for a
        head, mlp_out), layer, head, example.

    Raises:
        ValueError: for k below 1, a negative sample, or a metric without a gradient.

    Note:
        Single nodes under-attribute where several act only together; shares need not add up to one.
        Embedding, unembedding and the final norm are no nodes. The norm before attention goes with
        the head, the output projection's bias with none.

    Example:
        >>> import interp, patching
        >>> pair = interp.load_pair("organism-base", "organism-edited-low")
        >>> prompts = interp.Examples.from_text(pair.base, "The home of Farid Jansen is")
        >>> metric = interp.token_contrast(prompts, prompts.tokens[:, 0], prompts.tokens[:, 1])
        >>> rows = patching.carriers(pair, prompts, metric, k=4).where(condition="verified")
        >>> sorted(rows["layer"].unique().tolist()), rows["model"].value_counts().to_dict()
        ([0, 1], {'base': 4, 'tuned': 4})
    """
    if k < 1 or sample < 0:
        raise ValueError(
            f"k must be at least 1 and sample at least 0; got k={k}, sample={sample}; {TOP} and "
            f"{SAMPLE} are usual"
        )
    metric = as_metric(metric, examples)
    nodes = nodes_of(pair.base)
    generator = torch.Generator().manual_seed(seed)
    others = max(0, len(nodes) - k)
    drawn = [torch.randperm(others, generator=generator)[:sample] for _ in range(len(examples))]
    found = {model.role: _Found.of(len(nodes), len(examples)) for model in (pair.base, pair.tuned)}
    with counted(len(examples), "carriers", "prompts") as step:
        for rows in _together(pair.base, examples, max_bytes):
            both = [
                Exchanged.of(model, donor, examples.subset(rows))
                for model, donor in ((pair.base, pair.tuned), (pair.tuned, pair.base))
            ]
            read = metric.subset(rows)
            effects = [exchanged.screen(nodes, read) for exchanged in both]
            size = (effects[0] - effects[1]).abs()  # each is an effect towards the other model
            ranked = size.argsort(dim=0, descending=True, stable=True)
            more = torch.stack([drawn[i] for i in rows.tolist()], 1).to(ranked.device)
            chosen = torch.cat([ranked[:k], ranked[k:].gather(0, more)])
            for exchanged, effect in zip(both, effects, strict=True):
                kept = found[exchanged.model.role]
                swept = exchanged.exact(nodes, chosen, read, max_bytes)
                kept.note(rows, effect, chosen, len(ranked[:k]), swept, metric.name)
            step(len(rows))
    parts = []
    for model, donor in ((pair.base, pair.tuned), (pair.tuned, pair.base)):
        parts += found[model.role].evidence(model, donor, nodes, examples, metric)
    return Evidence.concat(parts)


def _together(model: Model, examples: Examples, max_bytes: int) -> Iterator[Int[Tensor, " row"]]:
    """Prompts of one length, as many as memory allows what is kept of either model and a gradient."""
    size = torch.empty(0, dtype=model.dtype).element_size()
    cost = BlockCost.of(model)
    token = cost.layers * (2 * KINDS_KEPT * model.d_model * size + cost.token_bytes)
    for same in examples.by_length():
        width = int(examples.lengths[same[0]])
        yield from same.split(max(1, max_bytes // (4 * width * token)))


@dataclass(frozen=True, eq=False)
class _Found:
    """What was found in one model; NaN where a node was not run.

    Attributes:
        effects: estimates, [node, example].
        exact: by condition the metric of the exchanged run, [node, example].
        own: the metric of the unedited run, [example].
    """

    effects: Tensor
    exact: dict[str, Tensor]
    own: Tensor

    @classmethod
    def of(cls, nodes: int, n: int) -> _Found:
        """Nothing yet."""
        empty = torch.full((nodes, n), float("nan"), dtype=torch.float64)
        return cls(empty, {name: empty.clone() for name in EXACT}, empty[0].clone())

    def note(
        self,
        rows: Int[Tensor, " row"],
        effects: Float[Tensor, "node row"],
        chosen: Int[Tensor, "rank row"],
        verified: int,
        swept: Swept,
        name: str,
    ) -> None:
        """Fill in some prompts: of each the first nodes chosen were verified, the others sampled."""
        rows, chosen = rows.cpu(), chosen.cpu()
        self.effects[:, rows] = effects.cpu().double()
        self.own[rows] = swept.baseline[name].cpu().double()
        values = swept.values[name].cpu().double()
        for condition, part in zip(EXACT, (slice(verified), slice(verified, None)), strict=True):
            self.exact[condition][chosen[part], rows[None]] = values[part]

    def evidence(
        self, model: Model, donor: Model, nodes: list[Site], examples: Examples, metric: Metric
    ) -> list[Evidence]:
        """Rows of the estimates, of the exact runs, and of the unedited one."""
        metrics = {metric.name: metric}
        parts = []
        for condition, values in (("attribution", self.effects), *self.exact.items()):
            swept = Swept({metric.name: values}, {metric.name: self.own})
            columns = [{**named((node,)), "condition": condition} for node in nodes]
            ends = {"condition": "baseline"} if condition == "verified" else None
            parts.append(
                tables.evidence(
                    swept, examples, metrics, columns, model=model, baseline=ends,
                    donor=donor.role, method="carriers",
                )
            )  # fmt: skip
        return parts
