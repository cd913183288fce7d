"""Which heads and MLPs carry what two models differ in: single nodes exchanged, screened, verified.

A node is an attention head (its queries, keys, values and its columns of the output projection) or
an MLP with its norm. Exchanging node n in a model writes, at all positions, what the *other* model's
n makes of the input that n has in this model. Nothing below n is touched, so that the run is that of
this model with the weights of n exchanged, and a node that tuning left alone has an effect of exactly
zero: it may pass a change on, but does not make it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.activations import collect
from interp.evidence import Evidence
from interp.examples import Examples
from interp.metrics import Metric, as_metric
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.progress import counted
from interp.sites import Kind, Site, every_head, every_layer
from patching.attribution.gradients import run_with_gradients
from patching.engine import rows as tables
from patching.engine.schedule import MAX_BYTES
from patching.engine.sweeping import Swept, record, sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Replace
from patching.places import named

#: Nodes verified in each prompt, and others drawn beside them.
TOP, SAMPLE = 10, 2


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
    parts = []
    with counted(len(examples), "carriers", "prompts") as step:
        for i in range(len(examples)):
            one, read = examples.subset([i]), _of_example(metric, i)
            both = [
                Exchanged.of(model, donor, one)
                for model, donor in ((pair.base, pair.tuned), (pair.tuned, pair.base))
            ]
            effects = [exchanged.screen(nodes, read) for exchanged in both]
            size = (effects[0] - effects[1]).abs()  # each is an effect towards the other model
            ranked = size.argsort(descending=True, stable=True).tolist()
            rest = ranked[k:]
            drawn = torch.randperm(len(rest), generator=generator)[:sample].tolist()
            chosen = [(nodes[n], "verified") for n in ranked[:k]]
            chosen += [(nodes[rest[j]], "sampled") for j in drawn]
            for exchanged, effect in zip(both, effects, strict=True):
                screened = list(zip(nodes, effect.tolist(), strict=True))
                parts += exchanged.rows(i, read, screened, chosen, max_bytes)
            step(1)
    return Evidence.concat(parts)


def nodes_of(model: Model) -> list[Site]:
    """Every head and every MLP, block by block."""
    heads = every_head(Kind.Z, model.n_layers, int(model.n_heads))
    mlps = every_layer(Kind.MLP_OUT, model.n_layers)
    return sorted([*heads, *mlps], key=lambda site: site.layer)


@dataclass(frozen=True, eq=False)
class Exchanged:
    """One prompt's run of a model, and what the other model's nodes make of the same inputs.

    Attributes:
        model: that runs.
        donor: whose nodes are exchanged in.
        example: the prompt.
        own: the model's activations at z, attn_out and mlp_out of every block, [example, position, *d].
        theirs: what the donor's blocks make of the model's inputs, at z and mlp_out.
    """

    model: Model
    donor: Model
    example: Examples
    own: Mapping[Site, Tensor]
    theirs: Mapping[Site, Tensor]

    @classmethod
    def of(cls, model: Model, donor: Model, example: Examples) -> Exchanged:
        """Run the model, then the donor with every block's input, and its MLP's, that of the model."""
        kinds = (Kind.RESID_PRE, Kind.ATTN_OUT, Kind.Z, Kind.MLP_OUT)
        sites = {kind: every_layer(kind, model.n_layers) for kind in kinds}
        kept = collect(model, example, [s for of in sites.values() for s in of], positions="all")
        own = {site: kept[site].values for site in kept}
        everywhere = example.span_mask("all")
        inputs = [*sites[Kind.RESID_PRE], *sites[Kind.ATTN_OUT]]
        fed = Cell(tuple(Edit(site, everywhere, Replace(own[site])) for site in inputs))
        outputs = [*sites[Kind.Z], *sites[Kind.MLP_OUT]]
        theirs = {s: value[0] for s, value in record(donor, example, [fed], outputs).items()}
        return cls(model, donor, example, own, theirs)

    @torch.no_grad()
    def change(self, layer: int, heads: list[int]) -> Float[Tensor, "chosen example position d"]:
        """How the output of a block's attention changes with each of its heads exchanged.

        The projection is linear, head by head; a norm behind it, where there is one, is applied to
        the whole.
        """
        site = Site(Kind.Z, layer)
        before = _projected(self.model, layer, self.own[site], heads)
        after = _projected(self.donor, layer, self.theirs[site], heads)
        block = self.model.bridge.blocks[layer]
        change = after.to(before) - before
        if not hasattr(block, "ln1_post"):
            return change
        whole = block.attn.o.original_component(self.own[site].flatten(-2))
        norm = block.ln1_post.original_component
        return (norm(whole + change.to(whole)) - norm(whole)).to(before)

    def screen(self, nodes: list[Site], metric: Metric) -> Float[Tensor, " node"]:
        """The first-order effect of every node's exchange on the metric."""
        layers, mask = range(self.model.n_layers), self.example.mask
        row = torch.zeros(1, dtype=torch.long, device=self.example.device)
        columns = self.example.columns(row)
        sites = [Site(kind, layer) for kind in (Kind.ATTN_OUT, Kind.MLP_OUT) for layer in layers]
        tokens = self.example.tokens.gather(1, columns)
        slopes = run_with_gradients(self.model, tokens, sites, metric, row, columns).gradients
        heads, effects = list(range(self.model.n_heads)), {}
        for layer in layers:
            mlp, attention = Site(Kind.MLP_OUT, layer), Site(Kind.ATTN_OUT, layer)
            moved = (self.theirs[mlp] - self.own[mlp])[mask]
            effects[mlp] = float((slopes[mlp][0] * moved).sum())
            moved = self.change(layer, heads)[:, mask]
            each = (moved * slopes[attention][0]).sum((1, 2)).tolist()
            effects |= {Site(Kind.Z, layer, head): each[head] for head in heads}
        return torch.tensor([effects[node] for node in nodes], dtype=torch.float64)

    def cell(self, node: Site) -> Cell:
        """The run with one node exchanged."""
        if node.head is None:
            site, value = node, self.theirs[node]
        else:
            site = Site(Kind.ATTN_OUT, node.layer)
            value = self.own[site] + self.change(node.layer, [node.head])[0].to(self.own[site])
        return Cell((Edit(site, self.example.span_mask("all"), Replace(value)),))

    def rows(
        self,
        number: int,
        metric: Metric,
        screened: Sequence[tuple[Site, float]],
        chosen: Sequence[tuple[Site, str]],
        max_bytes: int,
    ) -> list[Evidence]:
        """Rows of the estimates of all nodes, and of the exact runs of some beside the unedited one."""
        metrics = {metric.name: metric}
        cells = [self.cell(node) for node, _ in chosen]
        swept = sweep(self.model, self.example, cells, metrics, max_bytes=max_bytes)
        estimates = torch.tensor([[effect] for _, effect in screened], dtype=torch.float64)
        attributed = [{**named((node,)), "condition": "attribution"} for node, _ in screened]
        exact = [{**named((node,)), "condition": condition} for node, condition in chosen]
        same: dict[str, Any] = {
            "model": self.model,
            "donor": self.donor.role,
            "method": "carriers",
            "example": number,
        }
        return [
            tables.evidence(
                Swept({metric.name: estimates}, {}), self.example, metrics, attributed, **same
            ),
            tables.evidence(
                swept, self.example, metrics, exact, baseline={"condition": "baseline"}, **same
            ),
        ]


@torch.no_grad()
def _projected(
    model: Model, layer: int, z: Float[Tensor, "example position head d_head"], heads: list[int]
) -> Float[Tensor, "chosen example position d"]:
    """What each of some heads adds to the output of attention, bias left out."""
    project = model.bridge.blocks[layer].attn.o.original_component
    alone = z.new_zeros(len(heads) + 1, *z.shape)  # the last for the bias
    for row, head in enumerate(heads):
        alone[row, :, :, head] = z[:, :, head]
    weight = next(project.parameters())
    written = project(alone.flatten(-2).to(weight)).to(model.device)
    return written[:-1] - written[-1]


def _of_example(metric: Metric, i: int) -> Metric:
    """A metric of some examples, read on one of them that stands alone."""

    def read(logits: Tensor, example: Tensor) -> Tensor:
        return metric.read(logits, torch.full_like(example, i))

    return replace(metric, read=read, positions=metric.positions[i : i + 1])
