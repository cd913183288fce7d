"""Single heads and MLPs exchanged between two models, estimated to first order and run exactly.

A node is an attention head (its queries, keys, values and its columns of the output projection) or
an MLP with its norm. Exchanging node n in a model writes, at all positions, what the *other* model's
n makes of the input that n has in this model. Nothing below n is touched, so that the run is that of
this model with the weights of n exchanged, and a node that tuning left alone has an effect of exactly
zero: it may pass a change on, but does not make it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.activations import capture, collect
from interp.examples import Examples
from interp.metrics import Metric
from interp.models.editing import rewritten
from interp.models.model import Model
from interp.sites import Kind, Site, every_head, every_layer
from patching.attribution.gradients import run_with_gradients
from patching.engine.sweeping import Swept, sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Replace


def nodes_of(model: Model) -> list[Site]:
    """Every head and every MLP, block by block."""
    heads = every_head(Kind.Z, model.n_layers, int(model.n_heads))
    mlps = every_layer(Kind.MLP_OUT, model.n_layers)
    return sorted([*heads, *mlps], key=lambda site: site.layer)


@dataclass(frozen=True, eq=False)
class Exchanged:
    """Runs of a model, and what the other model's nodes make of the same inputs.

    Attributes:
        model: that runs.
        donor: whose nodes are exchanged in.
        examples: the prompts, of one length.
        own: the model's activations at z, attn_out and mlp_out of every block, [example, position, *d].
        theirs: what the donor's blocks make of the model's inputs, at z and mlp_out.
    """

    model: Model
    donor: Model
    examples: Examples
    own: Mapping[Site, Tensor]
    theirs: Mapping[Site, Tensor]

    @classmethod
    def of(cls, model: Model, donor: Model, examples: Examples) -> Exchanged:
        """Run the model, then the donor with every block's input, and its MLP's, that of the model."""
        kinds = (Kind.RESID_PRE, Kind.ATTN_OUT, Kind.Z, Kind.MLP_OUT)
        entering, attended, read, added = (every_layer(kind, model.n_layers) for kind in kinds)
        sites = [*entering, *attended, *read, *added]
        kept = collect(model, examples, sites, positions="all")
        own = {site: kept[site].values for site in sites}
        theirs = _fed(donor, examples, {s: own[s] for s in (*entering, *attended)}, [*read, *added])
        return cls(model, donor, examples, {s: own[s] for s in sites if s not in entering}, theirs)

    @torch.no_grad()
    def change(self, layer: int) -> Float[Tensor, "head example position d"]:
        """How the output of a block's attention changes with each of its heads exchanged.

        The projection is linear, head by head; a norm behind it, where there is one, is applied to
        the whole.
        """
        site = Site(Kind.Z, layer)
        before = _projected(self.model, layer, self.own[site])
        change = _projected(self.donor, layer, self.theirs[site]).to(before) - before
        block = self.model.bridge.blocks[layer]
        if not hasattr(block, "ln1_post"):
            return change
        whole = block.attn.o.original_component(self.own[site].flatten(-2))
        norm = block.ln1_post.original_component
        return (norm(whole + change.to(whole)) - norm(whole)).to(before)

    def screen(self, nodes: list[Site], metric: Metric) -> Float[Tensor, "node example"]:
        """The first-order effect of every node's exchange on the metric."""
        layers = range(self.model.n_layers)
        row = torch.arange(len(self.examples), device=self.examples.device)
        columns = self.examples.columns(row)
        sites = [Site(kind, layer) for kind in (Kind.ATTN_OUT, Kind.MLP_OUT) for layer in layers]
        tokens = self.examples.tokens.gather(1, columns)
        slopes = run_with_gradients(self.model, tokens, sites, metric, row, columns).gradients
        effects = {}
        for layer in layers:
            mlp, attention = Site(Kind.MLP_OUT, layer), Site(Kind.ATTN_OUT, layer)
            moved = (self.theirs[mlp] - self.own[mlp])[row[:, None], columns]
            effects[mlp] = (slopes[mlp] * moved).sum((1, 2))
            moved = self.change(layer)[:, row[:, None], columns]
            for head, effect in enumerate((moved * slopes[attention]).sum((2, 3))):
                effects[Site(Kind.Z, layer, head)] = effect
        return torch.stack([effects[node] for node in nodes]).double()

    def exact(
        self, nodes: list[Site], chosen: Int[Tensor, "rank example"], metric: Metric, max_bytes: int
    ) -> Swept:
        """The metric of each prompt with each of its own chosen nodes exchanged, [rank, example].

        A run holds one node of every prompt, the lowest together, so that runs enter late.
        """
        order = chosen.argsort(dim=0)  # nodes are counted from the lowest block up
        cells = self._cells(nodes, chosen.gather(0, order))
        swept = sweep(self.model, self.examples, cells, {metric.name: metric}, max_bytes=max_bytes)
        values = swept.values[metric.name]
        placed = torch.empty_like(values).scatter_(0, order.to(values.device), values)
        return Swept({metric.name: placed}, swept.baseline)

    def _cells(self, nodes: list[Site], chosen: Int[Tensor, "rank example"]) -> list[Cell]:
        """A cell for each rank: in every prompt another node, exchanged."""
        ranks = [[nodes[n] for n in row] for row in chosen.tolist()]
        edits: list[list[Edit]] = [[] for _ in ranks]
        for layer in sorted({site.layer for row in ranks for site in row}):
            change = self.change(layer)
            for rank, row in enumerate(ranks):
                here = {i: site for i, site in enumerate(row) if site.layer == layer}
                heads = {i: site.head for i, site in here.items() if site.head is not None}
                if heads:
                    attended = Site(Kind.ATTN_OUT, layer)
                    value = self.own[attended].clone()
                    for i, head in heads.items():
                        value[i] += change[head, i].to(value)
                    edits[rank].append(self._edit(attended, list(heads), value))
                if mlps := [i for i in here if i not in heads]:
                    mlp = Site(Kind.MLP_OUT, layer)
                    edits[rank].append(self._edit(mlp, mlps, self.theirs[mlp]))
        return [Cell(tuple(of)) for of in edits]

    def _edit(self, site: Site, prompts: list[int], value: Float[Tensor, "example position d"]) -> Edit:
        """A value written at a site in some of the prompts."""
        some = torch.zeros_like(self.examples.mask)
        some[prompts] = True
        return Edit(site, self.examples.span_mask("all") & some, Replace(value))


@torch.no_grad()
def _fed(
    model: Model, examples: Examples, inputs: Mapping[Site, Tensor], read: Sequence[Site]
) -> dict[Site, Float[Tensor, "example position *d"]]:
    """What a model makes of inputs that are given at sites, [example, position, d]."""
    row = torch.arange(len(examples), device=examples.device)[:, None]
    columns = examples.columns(row[:, 0])
    given = [(site, lambda act, value=value: value[row, columns]) for site, value in inputs.items()]
    with rewritten(model, given), capture(model, read) as made:
        model.bridge(examples.tokens.gather(1, columns), use_cache=False, logits_to_keep=1)
    placed = {}
    for site, value in made.items():
        placed[site] = value.new_zeros(*examples.tokens.shape, *value.shape[2:])
        placed[site][row, columns] = value
    return placed


@torch.no_grad()
def _projected(
    model: Model, layer: int, z: Float[Tensor, "example position head d_head"]
) -> Float[Tensor, "head example position d"]:
    """What each head adds to the output of attention, bias left out."""
    project = model.bridge.blocks[layer].attn.o.original_component
    heads = z.shape[2]
    alone = z.new_zeros(heads + 1, *z.shape)  # the last for the bias
    for head in range(heads):
        alone[head, :, :, head] = z[:, :, head]
    weight = next(project.parameters())
    written = project(alone.flatten(-2).to(weight)).to(model.device)
    return written[:-1] - written[-1]
