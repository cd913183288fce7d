"""Weight grafts equal models whose checkpoints were mixed by hand, and leave nothing behind."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tiny
import torch
from safetensors.torch import save_file

from interp.metrics import fact_contrast, logit_difference
from interp.models.loading import wrap
from interp.models.pair import ModelPair
from patching.methods.stitching import stitch
from patching.weights.grafting import component_responsibility, graft
from patching.weights.parameters import Parameters
from patching.weights.sets import Adapter, Blocks, Ends, Heads, Joint, Named, RandomLike, TopChange

FOUR = ("gpt2", "neox", "llama", "gemma3")
BLOCK = {"gpt2": "transformer.h", "neox": "gpt_neox.layers"}
ATTENTION = ("attn", "attention", "self_attn", "ln_1", "input_layernorm")
TOKENS = torch.tensor(tiny.token_rows(6, 6))


def block_of(family, name):
    prefix = BLOCK.get(family, "model.layers") + "."
    return int(name.removeprefix(prefix).split(".")[0]) if name.startswith(prefix) else None


def is_attention(family, name):
    part = name.split(".")[3 if family not in BLOCK else len(BLOCK[family].split(".")) + 1]
    if family == "gemma3" and part == "post_attention_layernorm":
        return True  # Gemma's norm after attention; elsewhere that name is the MLP's norm
    return part in ATTENTION


def head_mask(family, name, value, head, *, keys):
    """True at the weights of one head (width 8, four heads, two K/V heads where grouped)."""
    mask = torch.zeros(value.shape, dtype=torch.bool)
    rows = slice(8 * head, 8 * head + 8)
    if family == "gpt2":
        if "c_attn" in name:
            for third in range(3):
                mask[..., 32 * third + 8 * head : 32 * third + 8 * head + 8] = True
        if "attn.c_proj.weight" in name:
            mask[rows] = True
    elif family == "neox":
        if "query_key_value" in name:
            mask[24 * head : 24 * head + 24] = True
        if "attention.dense.weight" in name:
            mask[:, rows] = True
    else:
        if "q_proj" in name:
            mask[rows] = True
        if ("k_proj" in name or "v_proj" in name) and keys is not None:
            mask[8 * keys : 8 * keys + 8] = True
        if "o_proj.weight" in name:
            mask[:, rows] = True
    return mask


def by_hand(family, choose, base=0, tuned=1):
    """A fresh transformers model with `tuned`'s weights where choose(name, value) is True."""
    ours, theirs = (tiny.hf_model(family, seed).state_dict() for seed in (base, tuned))
    mixed = {}
    for name, value in ours.items():
        mask = torch.as_tensor(choose(name, value)).expand(value.shape)
        mixed[name] = torch.where(mask, theirs[name], value)
    model = tiny.hf_model(family, base)
    model.load_state_dict(mixed)
    with torch.no_grad():
        return model(TOKENS, use_cache=False).logits


def hybrid(pair, chosen, recipient="base"):
    parameters = Parameters(pair)
    with parameters.grafted(recipient, chosen.select(parameters)) as model:
        return model.logits(TOKENS)


def top_threshold(family, share):
    ours, theirs = (tiny.hf_model(family, seed).state_dict() for seed in (0, 1))
    names = [n for n in ours if block_of(family, n) is not None]
    change = torch.cat([(ours[n] - theirs[n]).abs().flatten() for n in names])
    return change.topk(round(share * len(change))).values[-1], theirs


def cases(family):
    grouped = family not in BLOCK
    threshold, theirs = top_threshold(family, 0.2)
    yield Blocks((0, 2)), lambda n, v: block_of(family, n) in (0, 2)
    yield Blocks((1,), "attention"), lambda n, v: block_of(family, n) == 1 and is_attention(family, n)
    yield Blocks((1,), "mlp"), lambda n, v: block_of(family, n) == 1 and not is_attention(family, n)
    yield (
        TopChange(0.2),
        lambda n, v: (
            (v - theirs[n]).abs() >= threshold
            if block_of(family, n) is not None
            else torch.tensor(False)
        ),
    )
    yield (
        Heads(((1, 2),)),
        lambda n, v: (
            head_mask(family, n, v, 2, keys=None) if block_of(family, n) == 1 else torch.tensor(False)
        ),
    )
    if grouped:
        yield (
            Heads(((1, 2),), shared=True),
            lambda n, v: (
                head_mask(family, n, v, 2, keys=1) if block_of(family, n) == 1 else torch.tensor(False)
            ),
        )
        yield (
            Heads(((1, 2), (1, 3))),
            lambda n, v: (
                head_mask(family, n, v, 2, keys=1) | head_mask(family, n, v, 3, keys=1)
                if block_of(family, n) == 1
                else torch.tensor(False)
            ),
        )
        yield Named(("q_proj",)), lambda n, v: "q_proj" in n
    if family == "gpt2":
        yield Named(("c_attn",)), lambda n, v: "c_attn" in n
    yield (
        Joint((Ends("embedding"), Blocks((0,)))),
        lambda n, v: (
            block_of(family, n) == 0 or any(e in n for e in ("wte", "wpe", "embed_in", "embed_tokens"))
        ),
    )
    yield (
        Ends("unembedding"),
        lambda n, v: any(
            e in n for e in ("lm_head", "embed_out", "ln_f", "final_layer_norm", "model.norm")
        ),
    )


@pytest.mark.parametrize("family", FOUR)
def test_equals_a_checkpoint_mixed_by_hand(family, tiny_pair):
    pair = tiny_pair(family)
    before = pair.base.logits(TOKENS)
    for chosen, choose in cases(family):
        expected, found = by_hand(family, choose), hybrid(pair, chosen)
        scale = max(1.0, float(expected.abs().max()))
        assert (found - expected).abs().max() <= 1e-4 * scale, str(chosen)
        assert (found - before).abs().max() > 1e-3, str(chosen)
    # The reverse, N(A): what stays tuned is what was not chosen.
    reverse = by_hand(family, lambda n, v: block_of(family, n) != 1)
    assert (hybrid(pair, Blocks((1,)), "tuned") - reverse).abs().max() <= 1e-4 * scale
    # The control: the neighbouring head, the neighbouring block.
    other = by_hand(
        family,
        lambda n, v: (
            head_mask(family, n, v, 3, keys=None) if block_of(family, n) == 1 else torch.tensor(False)
        ),
    )
    assert (hybrid(pair, Heads(((1, 2),))) - other).abs().max() > 1e-3


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_everything_grafted_is_the_donor(family, tiny_pair):
    pair = tiny_pair(family)
    ends = (Ends("embedding"), Ends("unembedding"))
    whole = hybrid(pair, Joint((*ends, Blocks(tuple(range(tiny.LAYERS))))))
    entries = hybrid(pair, Joint((*ends, TopChange(1.0))))
    donor = pair.tuned.logits(TOKENS)
    assert tiny.same(whole, donor) and tiny.same(entries, donor)
    assert not tiny.same(donor, pair.base.logits(TOKENS))
    # Attention and MLP partition the blocks, and so do heads and the rest of attention.
    parameters = Parameters(pair)
    size = {p: parameters.size(Blocks((0, 1, 2), p).select(parameters)) for p in ("all", "attention")}
    size["mlp"] = parameters.size(Blocks((0, 1, 2), "mlp").select(parameters))
    assert size["attention"] + size["mlp"] == size["all"]
    heads = [Heads(((k, h), (k, h + 1))) for k in range(3) for h in (0, 2)]
    counted = [parameters.size(h.select(parameters)) for h in heads]
    joint = parameters.size(Joint(tuple(heads)).select(parameters))
    assert sum(counted) == joint < size["attention"]


@pytest.mark.parametrize("family", FOUR)
def test_both_models_keep_every_bit_of_their_weights_even_when_interrupted(
    family, tiny_model, tokenizer
):
    pair = ModelPair(*(wrap(tiny.hf_model(family, s), tokenizer, name=family) for s in (0, 1)))
    before = [m.logits(TOKENS) for m in (pair.base, pair.tuned)]
    held = [list(m.bridge.original_model.parameters()) for m in (pair.base, pair.tuned)]
    prints = [replace(m).fingerprint for m in (pair.base, pair.tuned)]
    parameters = Parameters(pair)
    chosen = Joint((Blocks((0,)), TopChange(0.1), Heads(((2, 1),)), Ends("unembedding")))
    for recipient in ("base", "tuned"):
        with pytest.raises(KeyboardInterrupt):
            with parameters.grafted(recipient, chosen.select(parameters)) as model:
                during = model.logits(TOKENS)
                raise KeyboardInterrupt
        own = before[0 if recipient == "base" else 1]
        assert (during - own).abs().max() > 1e-3
    for model, logits, objects, mark in zip((pair.base, pair.tuned), before, held, prints, strict=True):
        assert tiny.same(model.logits(TOKENS), logits)
        now = model.bridge.original_model.parameters()
        assert all(a is b for a, b in zip(now, objects, strict=True))
        assert replace(model).fingerprint == mark


@pytest.mark.parametrize("family", FOUR)
def test_grafts_below_a_boundary_equal_stitching(family, tiny_pair):
    pair, pairs = tiny_pair(family), tiny.contrast(6, 4)
    metric = logit_difference(pairs)
    rows = stitch(pair, pairs.clean, metric).where(condition="stitched")
    expected = rows.pivot(index=["model", "layer"], columns="example", values="value")
    sets = [
        Joint((Ends("embedding"), Blocks(tuple(range(k))))) if k else Ends("embedding")
        for k in range(tiny.LAYERS + 1)
    ]
    found = graft(pair, pairs.clean, metric, sets, repeats=0).where(condition="grafted")
    for role in ("base", "tuned"):
        for k, chosen in enumerate(sets):
            mine = found[(found["model"] == role) & (found["span"] == str(chosen))]
            mine = mine.sort_values("example")["value"].to_numpy()
            difference = abs(mine - expected.loc[(role, k)].to_numpy())
            assert difference.max() <= 1e-4 * max(1.0, abs(mine).max())
    spread = [expected.loc[("base", k)].to_numpy() - expected.loc[("base", k + 1)] for k in range(3)]
    assert min(abs(s).max() for s in spread) > 1e-2


@pytest.mark.parametrize("family", FOUR)
def test_responsibility_by_component_is_complete(family, tiny_pair):
    pair, pairs = tiny_pair(family), tiny.contrast(6, 4, 5)
    metrics = {"output": logit_difference(pairs), "fact": fact_contrast(pairs.clean, pairs.answers)}
    evidence = component_responsibility(pair, pairs.clean, metrics)
    for name in metrics:
        ends = evidence.where(condition="baseline", metric=name)
        ends = ends.pivot_table(index="example", columns="model", values="value", observed=True)
        change = (ends["tuned"] - ends["base"]).to_numpy()
        for condition in ("responsibility", "order_v", "order_u"):
            parts = evidence.where(condition=condition, metric=name)
            assert len(parts) == 3 * (2 + 2 * tiny.LAYERS)
            total = parts.groupby("example")["value"].sum().to_numpy()
            assert abs(total - change).max() <= 1e-4 * max(1.0, abs(change).max())
            # One kind of part left out, and the sum is another number.
            some = parts[parts["kind"] != "attention"].groupby("example")["value"].sum().to_numpy()
            assert abs(some - change).max() > 1e-2
    # Attention and MLP of a block add up to stitching's order: V at boundary k.
    rows = stitch(pair, pairs.clean, metrics["output"]).where(condition="stitched", model="base")
    rows = rows.pivot(index="layer", columns="example", values="value").to_numpy()
    parts = evidence.where(condition="order_v", metric="output", layer=1)
    both = parts.groupby("example")["value"].sum().to_numpy()
    assert abs(both - (rows[2] - rows[1])).max() <= 1e-4


def test_responsibility_of_a_model_with_itself_is_zero_and_of_one_change_lies_there(tokenizer):
    base, other = (wrap(tiny.hf_model("llama", 0), tokenizer, name="llama") for _ in range(2))
    pairs = tiny.contrast(5, 5)
    same = component_responsibility(ModelPair(base, other), pairs.clean, logit_difference(pairs))
    assert same.where(condition="responsibility")["value"].abs().max() == 0
    with torch.no_grad():
        other.bridge.blocks[1].mlp.out.original_component.weight.mul_(0.5)
    found = component_responsibility(ModelPair(base, other), pairs.clean, logit_difference(pairs))
    parts = found.where(condition="responsibility")
    there = (parts["kind"] == "mlp") & (parts["layer"] == 1)
    assert parts[there]["value"].abs().min() > 1e-3
    assert parts[~there]["value"].abs().max() == 0


def test_tied_matrices_are_refused_alone_and_one_component_together(tokenizer):
    pair = ModelPair(
        *(
            wrap(tiny.hf_model("llama", s, tie_word_embeddings=True), tokenizer, name="tied")
            for s in (0, 1)
        )
    )
    pairs = tiny.contrast(5, 5)
    metric = logit_difference(pairs)
    for alone in (Ends("unembedding"), Ends("embedding"), Named(("lm_head",))):
        with pytest.raises(ValueError, match="would overwrite the embedding.*expected both or neither"):
            graft(pair, pairs.clean, metric, [alone])
    both = Joint((Ends("embedding"), Ends("unembedding"), Blocks((0, 1, 2))))
    assert tiny.same(hybrid(pair, both), pair.tuned.logits(TOKENS))
    evidence = component_responsibility(pair, pairs.clean, metric)
    total = evidence.where(condition="responsibility").groupby("example")["value"].sum().to_numpy()
    ends = evidence.where(condition="baseline")
    ends = ends.pivot_table(index="example", columns="model", values="value", observed=True)
    assert abs(total - (ends["tuned"] - ends["base"]).to_numpy()).max() <= 1e-4
    # An untied pair is not refused.
    untied = Ends("unembedding")
    loose = ModelPair(*(wrap(tiny.hf_model("llama", s), tokenizer, name="untied") for s in (0, 1)))
    assert len(graft(loose, pairs.clean, metric, [untied], repeats=0))


@pytest.mark.parametrize("family", FOUR)
def test_activation_grafts_agree_with_weight_grafts_exactly_where_inputs_agree(family, tokenizer):
    models = [tiny.hf_model(family, s) for s in (0, 1)]
    first, second = (m.state_dict() for m in models)
    shared = [n for n in first if any(e in n for e in ("wte", "wpe", "embed_in", "embed_tokens"))]
    models[1].load_state_dict({**second, **{n: first[n] for n in shared}})
    pair = ModelPair(*(wrap(m, tokenizer, name=family) for m in models))
    pairs = tiny.contrast(6, 4)
    sets = [
        Blocks((0, 1)),
        Blocks((0,), "attention"),
        Blocks((1, 2)),
        Blocks((0, 2)),
        Blocks((2,), "mlp"),
    ]
    evidence = graft(pair, pairs.clean, logit_difference(pairs), sets, repeats=0)
    apart = evidence.where(condition="disagreement")
    largest = (
        apart.assign(value=apart["value"].abs()).groupby("parameters", observed=True)["value"].max()
    )
    # Below, both models read the same embedding: the band's activations are what its weights make.
    assert largest["blocks 0-1"] <= 1e-4 and largest["attention 0"] <= 1e-4
    # Above, the donor's band saw the donor's inputs.
    assert min(largest[n] for n in ("blocks 1-2", "blocks 0,2", "mlp 2")) > 1e-2
    for label in largest.index:
        for role in ("base", "tuned"):
            mine = evidence.where(parameters=label, model=role)
            value = {
                c: mine[mine["condition"] == c].sort_values("example")["value"].to_numpy()
                for c in ("grafted", "activation_graft", "disagreement")
            }
            gap = value["activation_graft"] - value["grafted"]
            assert abs(value["disagreement"] - gap).max() <= 1e-5


def test_placebos_match_in_size_and_lie_elsewhere(tiny_pair, tmp_path):
    pair = tiny_pair("llama")
    parameters = Parameters(pair)
    save_file(
        {
            f"base_model.model.model.layers.{k}.mlp.up_proj.lora_A.weight": torch.zeros(1)
            for k in (0, 2)
        },
        tmp_path / "adapter_model.safetensors",
    )
    adapter = Adapter(tmp_path)
    names = {parameters.slots[i].name for i in adapter.select(parameters)}
    assert names == {f"model.layers.{k}.mlp.up_proj.weight" for k in (0, 2)}
    for chosen in (Blocks((1,), "mlp"), Heads(((0, 1), (1, 2))), TopChange(0.03), adapter):
        own = chosen.select(parameters)
        drawn = [RandomLike(chosen, seed).select(parameters) for seed in range(4)]
        assert {parameters.size(d) for d in drawn} == {parameters.size(own)}
        again = RandomLike(chosen, 2).select(parameters)
        assert again.keys() == drawn[2].keys() and all(
            (a is b) or torch.equal(a, b)
            for a, b in zip(again.values(), drawn[2].values(), strict=True)
        )
        overlap = 0
        for i, mask in drawn[0].items():
            if i in own and (mask is None or own[i] is None):
                overlap += parameters.slots[i].entries if mask is None else int(mask.sum())
            elif i in own:
                overlap += int((own[i] & mask).sum())
        assert overlap < 0.5 * parameters.size(own)
    pairs = tiny.contrast(5, 5)
    table = graft(pair, pairs.clean, logit_difference(pairs), [TopChange(0.03)], repeats=2)
    counts = table.table["condition"].value_counts().to_dict()
    assert counts == {"placebo": 8, "grafted": 4, "baseline": 4}
    sizes = table.where(condition=["grafted", "placebo"])["share"]
    assert ((sizes - 0.03).abs() < 1e-3).all()


def test_works_in_bfloat16(tokenizer):
    half = [wrap(tiny.hf_model("llama", s).to(torch.bfloat16), tokenizer, name="half") for s in (0, 1)]
    pairs = tiny.contrast(5, 5)
    sets = [TopChange(0.5), Blocks((1,))]
    table = graft(ModelPair(*half), pairs.clean, logit_difference(pairs), sets, repeats=0)
    assert table.table["value"].notna().all()


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (Blocks((3,)), r"blocks must be among 0\.\.2, got \[3\]"),
        (Heads(((0, 4),)), r"blocks 0\.\.2 with heads 0\.\.3"),
        (TopChange(1.5), r"share must be in \(0, 1\], got 1.5"),
        (Named(("nothing",)), "no parameter matches 'nothing'"),
        (Joint(()), "holds no parameter"),
    ],
)
def test_mistakes_are_named(tiny_pair, chosen, message):
    pairs = tiny.contrast(5, 5)
    with pytest.raises(ValueError, match=message) as caught:
        graft(tiny_pair("llama"), pairs.clean, logit_difference(pairs), [chosen])
    assert "\n" not in str(caught.value)
