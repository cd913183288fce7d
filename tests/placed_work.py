"""Everything that is done with a model, as numbers by which two placements of it are compared."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import interp
import patching
import studies
from interp import Kind, Model, ModelPair, Site
from interp.evidence import Evidence
from patching.attribution.edges import edge_attributions

TEXT, OTHER = "The home of Farid Jansen is", "The home of Pavel Grimm is"
BASE, TUNED = "organism-base", "organism-edited-low"
ENDS = {"model.embed_tokens": 0, "model.rotary_emb": 0, "model.norm": 1, "lm_head": 1}


def halves(first: str, then: str) -> dict[str, str]:
    """A device map of an organism: the blocks from the third on are on the second device."""
    devices = (first, then)
    blocks = {f"model.layers.{layer}": devices[layer >= 3] for layer in range(6)}
    return {**blocks, **{name: devices[end] for name, end in ENDS.items()}}


def prompts(model: Model) -> interp.Examples:
    """Prompts of two lengths, whose subjects are named."""
    facts = interp.load_facts("world").subset(list(range(3)))
    return interp.Examples.from_facts(model, facts)


def contrast(model: Model) -> interp.Contrast:
    """One pair of prompts."""
    return interp.Contrast.from_text(
        model, TEXT, OTHER, "Norvik", "Quarno",
        clean_subjects=["Farid Jansen"], corrupted_subjects=["Pavel Grimm"],
    )  # fmt: skip


def metric(examples: interp.Examples) -> interp.Metric:
    """A difference of logits."""
    return interp.token_contrast(examples, examples.tokens[:, 0], examples.tokens[:, 1])


def sites(model: Model, *kinds: str) -> list[Site]:
    """Sites of kinds at every layer."""
    return [site for kind in kinds for site in interp.every_layer(Kind(kind), model.n_layers)]


def patched(model: Model, *kinds: str) -> Evidence:
    """A grid of every position."""
    pairs = contrast(model)
    return patching.patch_sites(model, pairs, sites(model, *kinds), interp.logit_difference(pairs))


def attributed(model: Model, method: Any, *kinds: str) -> Evidence:
    """First-order effects."""
    pairs = contrast(model)
    chosen, read = sites(model, *kinds), interp.logit_difference(pairs)
    return patching.attribute(model, pairs, chosen, read, method=method, steps=2)


def collected(model: Model, stored: bool) -> dict[str, Tensor]:
    """Every position of every kind of site, with or without a store between."""
    kinds = ("resid_pre", "resid_post", "z", "mlp_post")
    kinds = kinds if stored else (*kinds, "q", "pattern")
    with tempfile.TemporaryDirectory() as folder:
        to = {"store": folder} if stored else {}
        found = interp.collect(model, prompts(model), sites(model, *kinds), positions="each", **to)
        return {str(site): read.values[torch.arange(len(read))] for site, read in found.items()}


def steered(model: Model) -> list[str]:
    """What is written under a push of the upper blocks and one of the lower."""
    asked = prompts(model)
    edits = [
        patching.Edit(
            Site(Kind.RESID_POST, layer), asked.span_mask("all"),
            patching.Add(torch.linspace(-1, 1, model.d_model, device=model.device)),
        )
        for layer in (0, 4)
    ]  # fmt: skip
    plain = interp.generate(model, asked, tokens=4)
    return [*plain.texts, *interp.generate(model, asked, edits=edits, positions="all", tokens=4).texts]


def edited(model: Model) -> Tensor:
    """Logits inside a `with`."""
    asked = prompts(model)
    cut = patching.Edit(Site(Kind.MLP_OUT, 4), asked.span_mask("last"), patching.Zero())
    with patching.intervened(model, cut):
        return model.logits(asked.tokens, asked.mask)[asked.mask]


def recorded(model: Model) -> Tensor:
    """What an edit of one half makes of the other."""
    asked = interp.Examples.from_text(model, TEXT)
    cell = patching.Cell((patching.Edit(Site(Kind.EMBED, 0), asked.mask, patching.Scale(0.5)),))
    last = Site(Kind.RESID_POST, 5)
    return patching.record(model, asked, [cell], [last])[last]


def steer(model: Model) -> Evidence:
    """A direction of an upper block."""
    asked = prompts(model)
    push = interp.Direction(Site(Kind.RESID_POST, 4), torch.ones(model.d_model, device=model.device))
    return patching.steer(model, asked, push, metric(asked), strengths=(-1.0, 1.0), repeats=2)


def use(model: Model) -> Evidence:
    """Swaps and removals along a direction."""
    pairs, site = contrast(model), Site(Kind.RESID_PRE, 4)
    vector = torch.linspace(0.5, 1, model.d_model, device=model.device)
    claim = patching.ClaimToTest("home", 4, interp.Direction(site, vector))
    read = interp.logit_difference(pairs)
    return patching.swap_and_remove(model, pairs, [claim], read, repeats=2)


def ablated(model: Model, how: Any) -> Evidence:
    """Parts of both halves taken out."""
    asked = prompts(model)
    chosen = sites(model, "mlp_out", "attn_out")
    return patching.ablate(model, asked, chosen, metric(asked), how=how, positions="last")


def grafted(pair: ModelPair) -> Evidence:
    """Weights of both halves exchanged."""
    asked = prompts(pair.base)
    sets = [patching.Blocks((0, 4)), patching.Heads(((3, 1),)), patching.Ends("unembedding")]
    return patching.graft(pair, asked, metric(asked), sets, repeats=1)


def shifted(pair: ModelPair) -> Evidence:
    """The shared shift at one boundary of the upper half."""
    facts = interp.load_facts("world").subset(list(range(12)))
    asked = interp.Examples.from_facts(pair.base, facts)
    said, answers = (m.logits(asked.tokens)[:, -1].argmax(1) for m in (pair.tuned, pair.base))
    rows = torch.arange(12, device=pair.base.device)
    few = interp.Thresholds(placebo_shifts=3, placebo_groups=4)
    return patching.shared_shift(
        pair, asked, rows >= 0, said, answers, installed={4: rows}, thresholds=few
    )


def traced(model: Model) -> Evidence:
    """States restored under noise on the embedding."""
    asked = interp.Examples.from_text(model, TEXT, subjects=["Farid Jansen"])
    return patching.causal_trace(
        model, asked, Kind.MLP_OUT, metric(asked), window=3, positions="subject", repeats=2
    )


def cut(model: Model) -> Evidence:
    """Attention knocked out in windows."""
    asked = interp.Examples.from_text(model, TEXT, subjects=["Farid Jansen"])
    return patching.knock_out(model, asked, metric(asked), window=3, repeats=2)


def paths(model: Model) -> Evidence:
    """Heads of the lower half on their way to the top."""
    pairs, heads = contrast(model), interp.every_head(Kind.Z, 2, 4)
    last = Site(Kind.RESID_POST, 5)
    return patching.path_patch(model, pairs, heads, last, interp.logit_difference(pairs))


def heads(model: Model) -> Evidence:
    """Heads screened, then verified."""
    pairs = contrast(model)
    every = interp.every_head(Kind.Z, 6, 4)
    read = interp.logit_difference(pairs)
    return patching.screen_then_verify(model, pairs, every, read, k=3, candidates=24)


def edges(model: Model) -> Tensor:
    """Every edge."""
    pairs = contrast(model)
    return edge_attributions(model, pairs, interp.logit_difference(pairs))[1]


def stitched(pair: ModelPair) -> Evidence:
    """Every boundary, both ways."""
    asked = prompts(pair.base)
    return patching.stitch(pair, asked, metric(asked))


def crossed(pair: ModelPair) -> Evidence:
    """One model's states in the other."""
    asked = prompts(pair.base)
    return patching.cross_patch(pair, asked, {"m": metric(asked)}, positions=("last", "all"))


#: What is done -> numbers of a pair.
WORK: dict[str, Callable[[ModelPair], Any]] = {
    "logits": lambda pair: pair.base.logits(prompts(pair.base).tokens),
    "generation and steering": lambda pair: steered(pair.base),
    "intervened": lambda pair: edited(pair.base),
    "collect": lambda pair: collected(pair.base, False),
    "store": lambda pair: collected(pair.base, True),
    "lens": lambda pair: interp.logit_lens(pair, prompts(pair.base)).table["log_prob"].to_numpy(),
    "residual grids": lambda pair: patched(pair.base, "resid_pre", "resid_post"),
    "parts' grids": lambda pair: patched(pair.base, "attn_out", "mlp_out", "mlp_post"),
    "attention's grids": lambda pair: patched(pair.base, "z", "q", "k", "v"),
    "patterns": lambda pair: patched(pair.base, "pattern"),
    "gradients": lambda pair: attributed(pair.base, "gradient", "resid_pre", "mlp_post", "z"),
    "integrated gradients": lambda pair: attributed(pair.base, "integrated", "attn_out", "z"),
    "queries and keys": lambda pair: attributed(pair.base, "qk_corrected", "q", "k"),
    "edges": lambda pair: edges(pair.base),
    "screening": lambda pair: heads(pair.base),
    "ablation by zero": lambda pair: ablated(pair.base, "zero"),
    "ablation by means": lambda pair: ablated(pair.base, "mean"),
    "steering": lambda pair: steer(pair.base),
    "swaps": lambda pair: use(pair.base),
    "record": lambda pair: recorded(pair.base),
    "tracing": lambda pair: traced(pair.base),
    "knockouts": lambda pair: cut(pair.base),
    "paths": lambda pair: paths(pair.base),
    "stitching": stitched,
    "cross patching": crossed,
    "grafts": grafted,
    "responsibility": lambda pair: patching.component_responsibility(
        pair, prompts(pair.base), metric(prompts(pair.base))
    ),
    "shared shift": shifted,
}


@cache
def on_cpu() -> ModelPair:
    """The pair on the CPU, loaded once."""
    return interp.load_pair(BASE, TUNED)


@cache
def expected(name: str) -> Any:
    """What is to come out, from the CPU alone."""
    return WORK[name](on_cpu())


def words(pair: ModelPair) -> tuple[Any, ...]:
    """What a comparison comes to."""
    verdict = studies.compare(pair, interp.load_facts("world").subset(list(range(48)))).verdict
    return verdict.changed, verdict.where, verdict.what, verdict.sentence


@cache
def words_on_cpu() -> tuple[Any, ...]:
    """What the comparison comes to on the CPU."""
    return words(on_cpu())


def devices_of(value: Any) -> set[str]:
    """Kinds of devices of the tensors in a result."""
    parts = value.values() if isinstance(value, dict) else [value]
    return {part.device.type for part in parts if isinstance(part, Tensor)}


def gap(value: Any, expected: Any) -> float:
    """Largest difference, relative to the largest number (or to 1); nan where rows differ."""
    if isinstance(value, list):
        return 0.0 if value == expected else float("nan")
    if isinstance(value, dict):
        assert value.keys() == expected.keys()
        return max(gap(value[key], expected[key]) for key in value)
    if isinstance(value, Evidence):
        keys = [column for column in value.table.columns if column != "value"]
        pd.testing.assert_frame_equal(value.table[keys], expected.table[keys])
        value, expected = value.table["value"].to_numpy(), expected.table["value"].to_numpy()
    if isinstance(value, Tensor):
        value, expected = (part.detach().cpu().double().numpy() for part in (value, expected))
    if np.shape(value) != np.shape(expected) or (np.isnan(value) != np.isnan(expected)).any():
        return float("nan")
    scale = max(1.0, float(np.nanmax(np.abs(expected))))
    return float(np.nanmax(np.abs(np.asarray(value, float) - np.asarray(expected, float)))) / scale
