"""Nodes exchanged between two models equal models whose weights of that node were exchanged."""

from __future__ import annotations

import pytest
import tiny
import torch

import interp
from interp.metrics import token_contrast
from interp.models.loading import wrap
from interp.models.pair import ModelPair
from patching.attribution.carriers import carriers
from patching.attribution.exchanging import nodes_of
from patching.weights.grafting import graft
from patching.weights.sets import Blocks, Heads

#: Parts of parameters' names that belong to heads or MLPs alone; grouped keys and values are shared.
OWN = ("c_attn", "attn.c_proj.weight", "query_key_value", "attention.dense.weight", "q_proj")
OWN += ("o_proj.weight", "mlp")


def pair_of(family: str, tokenizer, size: float = 1.0) -> ModelPair:
    """Two models that differ in what belongs to single heads and MLPs."""
    base, tuned, other = (tiny.hf_model(family, seed) for seed in (0, 0, 1))
    theirs = dict(other.named_parameters())
    with torch.no_grad():
        for name, value in tuned.named_parameters():
            if any(part in name for part in OWN):
                value.add_(size * (theirs[name] - value))
    return ModelPair(*(wrap(m, tokenizer, name=family) for m in (base, tuned)))


def contrast_of(prompts):
    n = len(prompts)
    return token_contrast(prompts, torch.arange(5, 5 + n), torch.arange(50, 50 + n))


@pytest.mark.parametrize("family", ["gpt2", "neox", "llama", "gemma3"])
def test_an_exchanged_node_is_the_hybrid_with_its_weights_exchanged(family, tokenizer):
    pair = pair_of(family, tokenizer)
    prompts = tiny.examples(tiny.token_rows(6))
    metric = contrast_of(prompts)
    assert len(nodes_of(pair.base)) == tiny.LAYERS * 5
    made = carriers(pair, prompts, metric, k=4, sample=2)
    exact = made.where(condition=["verified", "sampled"])
    exact = exact.astype({"layer": int}).assign(head=exact["head"].astype("Int64").fillna(-1))
    sets = {
        (layer, head): Blocks((layer,), "mlp") if head < 0 else Heads(((layer, head),), shared=True)
        for layer, head in exact[["layer", "head"]].to_numpy(int).tolist()
    }
    assert len(sets) == 6
    grafted = graft(pair, prompts, metric, list(sets.values()), repeats=0)
    hybrids = grafted.where(condition="grafted").set_index(["model", "parameters"])["value"]
    found, expected = [], []
    for row in exact.itertuples():
        found.append(row.value)
        expected.append(hybrids.loc[row.model, str(sets[row.layer, row.head])])
    assert len(found) == 12 and tiny.same(*map(torch.tensor, (found, expected)))
    ends = made.where(condition="baseline").set_index("model")["value"]
    assert (exact["value"] - ends.loc[exact["model"]].to_numpy()).abs().median() > 0.05


def test_prompts_that_run_together_give_what_each_gives_alone(tokenizer):
    pair = pair_of("llama", tokenizer)
    prompts = tiny.examples(tiny.token_rows(6, 5, 6))
    metric = contrast_of(prompts)
    keys = ["model", "condition", "layer", "kind", "head"]
    together, nodes = carriers(pair, prompts, metric, k=3, sample=0), set()
    for i in range(len(prompts)):
        alone = carriers(pair, prompts.subset([i]), metric.subset(torch.tensor([i])), k=3, sample=0)
        found, expected = (
            made.table[made.table["example"] == number].astype(dict.fromkeys(keys, str))
            for made, number in ((together, i), (alone, 0))
        )
        found, expected = (t.set_index(keys)["value"].sort_index() for t in (found, expected))
        assert tiny.same(*(torch.tensor(t.to_numpy()) for t in (found, expected)))
        assert found.index.equals(expected.index)
        verified = found.index.get_level_values("condition") == "verified"
        nodes.add(tuple(found.index[verified].droplevel([0, 1])))
    assert len(nodes) > 1, "the control: prompts whose nodes differ"


def test_little_memory_changes_no_number(tokenizer):
    pair = pair_of("llama", tokenizer)
    prompts = tiny.examples(tiny.token_rows(6, 6, 6))
    metric = contrast_of(prompts)
    tables = [carriers(pair, prompts, metric, k=3, max_bytes=most).table for most in (2**31, 2**20)]
    assert tiny.same(*(torch.tensor(table["value"].to_numpy()) for table in tables))


def test_the_screen_is_the_slope_where_the_change_is_small(tokenizer):
    pair = pair_of("llama", tokenizer, size=1e-3)
    prompts = tiny.examples(tiny.token_rows(6, 7))
    made = carriers(pair, prompts, contrast_of(prompts), k=15, sample=0)
    for role in ("base", "tuned"):
        keys = ["example", "layer", "kind", "head"]
        rows = {
            name: made.where(condition=name, model=role).set_index(keys)["value"]
            for name in ("attribution", "verified")
        }
        ends = made.where(condition="baseline", model=role).set_index("example")["value"]
        exact = rows["verified"] - ends.loc[rows["verified"].index.get_level_values(0)].to_numpy()
        apart = (exact - rows["attribution"].loc[exact.index]).abs()
        assert apart.max() < 0.1 * exact.abs().max()


@pytest.mark.parametrize(
    ("tuned", "blocks"), [("organism-edited-low", {0, 1}), ("organism-evasive-high", {4, 5})]
)
def test_what_carries_an_organisms_change_lies_in_its_blocks(tuned, blocks):
    pair, facts = interp.load_pair("organism-base", tuned), interp.load_facts("world")
    prompts = interp.Examples.from_text(pair.base, facts.prompts(0)[:2])
    rows, last = torch.arange(2), prompts.position("last")
    models = (pair.base, pair.tuned)
    plus, minus = (m.logits(prompts.tokens, prompts.mask)[rows, last].argmax(-1) for m in models)
    made = carriers(pair, prompts, token_contrast(prompts, plus, minus), k=6, sample=4)
    ends = made.where(condition="baseline").set_index(["model", "example"])["value"]
    delta = (ends["base"] - ends["tuned"]).abs()
    rows = made.where(condition=["verified", "sampled"])
    before = [ends.loc[key] for key in zip(rows["model"], rows["example"], strict=True)]
    share = (rows["value"] - before).abs() / delta.loc[rows["example"]].to_numpy()
    inside = rows["layer"].isin(blocks)
    # Nodes that were not tuned make exactly what they make: nothing is carried there.
    assert delta.max() > 1 and share[inside].max() > 0.1 and share[~inside].max() < 1e-3
    assert (~inside).sum() >= 8 and {"z", "mlp_out"} == set(rows["kind"])


def test_bad_counts_are_one_line(tiny_pair):
    prompts = tiny.examples(tiny.token_rows(5))
    with pytest.raises(ValueError, match="k must be at least 1"):
        carriers(tiny_pair("llama"), prompts, contrast_of(prompts), k=0)
