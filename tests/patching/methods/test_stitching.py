"""Stitching equals the models one gets by exchanging weights."""

from __future__ import annotations

import pytest
import tiny
import torch

from interp.metrics import fact_contrast, logit_difference
from interp.models.alike import Alike
from interp.models.loading import wrap
from interp.models.pair import ModelPair
from interp.sites import boundaries
from interp.verdict import profile as stitched
from patching.engine.sweeping import sweep
from patching.methods import stitching
from patching.methods.stitching import stitch

BLOCKS = {"llama": "model.layers.", "neox": "gpt_neox.layers.", "gpt2": "transformer.h."}
BOTTOM = ("embed", "wte", "wpe")


def hybrid(family, below, above, k):
    """A model with the embedding and blocks before k of one, everything else of the other."""
    ours, theirs = (tiny.hf_model(family, seed).state_dict() for seed in (below, above))
    mixed = {}
    for name, value in theirs.items():
        if name.startswith(BLOCKS[family]):
            low = int(name.removeprefix(BLOCKS[family]).split(".")[0]) < k
        else:
            low = any(part in name for part in BOTTOM) and "embed_out" not in name
        mixed[name] = ours[name] if low else value
    model = tiny.hf_model(family, below)
    model.load_state_dict(mixed)
    return model


@pytest.mark.parametrize("family", sorted(BLOCKS))
def test_equals_the_weight_hybrid_at_every_boundary_in_both_directions(family, tiny_pair):
    pair, pairs = tiny_pair(family), tiny.contrast(6, 4)
    rows = stitch(pair, pairs.clean, logit_difference(pairs)).where(condition="stitched")
    found = rows.pivot(index=["model", "layer"], columns="example", values="value")
    seeds = {"base": 0, "tuned": 1}
    values = {}
    for above, below in (("tuned", "base"), ("base", "tuned")):
        assert set(rows[rows["model"] == above]["donor"]) == {below}
        for k in range(tiny.LAYERS + 1):
            model = hybrid(family, seeds[below], seeds[above], k)
            for i in range(2):
                ids = pairs.clean.tokens[i, pairs.clean.mask[i]][None]
                with torch.no_grad():
                    logits = model(ids).logits[0, -1]
                expected = float(logits[pairs.answers[i]] - logits[pairs.foils[i]])
                assert abs(found.loc[(above, k), i] - expected) <= 1e-4
                values[above, k, i] = expected
    # Neighbouring hybrids differ, so the wrong boundary would have been seen.
    assert min(abs(values["base", k, 0] - values["base", k + 1, 0]) for k in range(3)) > 1e-2


def test_cells_read_by_one_model_equal_hybrids_with_its_final_norm_and_unembedding(tiny_pair):
    pair, pairs = tiny_pair("llama"), tiny.contrast(6, 4)
    metric = logit_difference(pairs).read_by(pair.tuned)
    rows = stitch(pair, pairs.clean, metric).where(condition="stitched", model="base", example=0)
    found = dict(zip(rows["layer"], rows["value"], strict=True))
    tuned = tiny.hf_model("llama", 1).state_dict()
    ends = {name: tuned[name] for name in ("model.norm.weight", "lm_head.weight")}
    ids = pairs.clean.tokens[0, pairs.clean.mask[0]][None]
    for k in range(tiny.LAYERS + 1):
        model, own = hybrid("llama", 1, 0, k), {}
        for name, expected in (("own", own), ("tuned", ends)):
            model.load_state_dict(expected, strict=False)
            with torch.no_grad():
                logits = model(ids).logits[0, -1]
            value = float(logits[pairs.answers[0]] - logits[pairs.foils[0]])
            # The control: its own unembedding gives another number.
            assert (abs(found[k] - value) <= 1e-4) is (name == "tuned")


def test_responsibility_is_complete(family_model, tiny_model):
    family = family_model.name
    pair = ModelPair(tiny_model(family, 0), tiny_model(family, 1))
    pairs = tiny.contrast(6, 4, 5)
    metrics = {
        "output": logit_difference(pairs),
        "fact": fact_contrast(pairs.clean, pairs.answers),
    }
    evidence = stitch(pair, pairs.clean, metrics)
    for name, metric in metrics.items():
        base, tuned = (
            sweep(m, pairs.clean, [], {"m": metric}).baseline["m"] for m in (pair.base, pair.tuned)
        )
        parts = stitched.responsibility(evidence, name)
        total = parts.groupby("group")["value"].sum()
        change = dict(zip(pairs.clean.groups, (tuned - base).tolist(), strict=True))
        assert max(abs(total[g] - change[g]) for g in change) <= 1e-4
        # The ends count: without them the sum is another number.
        inner = parts[~parts["part"].isin(["embedding", "unembedding"])]
        inner = inner.groupby("group")["value"].sum()
        assert max(abs(inner[g] - change[g]) for g in change) > 1e-2


def test_a_model_stitched_to_itself_changes_nothing_but_for_rounding(tiny_model):
    model, other, pairs = tiny_model("llama"), tiny_model("llama", 1), tiny.contrast(5, 5)
    close = 4 * tiny.rounding(model.logits(pairs.clean.tokens))

    def largest(pair):
        evidence = stitch(pair, pairs.clean, logit_difference(pairs))
        return stitched.responsibility(evidence, "metric")["value"].abs().max()

    assert largest(ModelPair(model, model)) <= close < 1e-2 < largest(ModelPair(model, other))


def test_one_row_per_hybrid_prompt_and_metric(tiny_pair):
    pairs = tiny.contrast(4, 5)
    evidence = stitch(tiny_pair("gpt2"), pairs.clean, logit_difference(pairs))
    table = evidence.where(method="stitch", condition="stitched")
    assert len(table) == 2 * len(boundaries(tiny.LAYERS)) * 2
    assert set(table["layer"]) == set(range(tiny.LAYERS + 1))
    base = evidence.where(condition="baseline")
    assert len(base) == 4 and base["donor"].isna().all() and base["layer"].isna().all()
    assert set(evidence.table["unit"]) == {"logits"}


def partly_tuned(family, tokenizer, blocks):
    """A pair whose tuned model has these blocks' weights from another model, and nothing else."""
    tuned, other = tiny.hf_model(family, 0), tiny.hf_model(family, 1).state_dict()
    names = tuple(f"{BLOCKS[family]}{k}." for k in blocks)
    tuned.load_state_dict(
        {name: other[name] if name.startswith(names) else v for name, v in tuned.state_dict().items()}
    )
    return ModelPair(wrap(tiny.hf_model(family, 0), tokenizer), wrap(tuned, tokenizer))


@pytest.mark.parametrize("family", sorted(BLOCKS))
@pytest.mark.parametrize(
    ("blocks", "runs"),
    [
        pytest.param((1,), [3], id="the middle"),
        pytest.param((2,), [3], id="the top"),
        pytest.param((0, 2), [2, 3], id="both ends"),
        pytest.param((), [], id="nothing"),
    ],
)
def test_blocks_that_tuning_left_alone_are_not_stitched_and_change_no_number(
    family, blocks, runs, tokenizer, monkeypatch
):
    pair, pairs, metric = partly_tuned(family, tokenizer, blocks), tiny.contrast(6, 4), logit_difference
    swept = []
    monkeypatch.setattr(
        stitching, "sweep", lambda *args, **how: (swept.append(args[2]), sweep(*args, **how))[1]
    )
    rows = stitch(pair, pairs.clean, metric(pairs)).where(condition="stitched")
    assert [[cell.entry for cell in cells] for cells in swept] == [runs, runs]
    monkeypatch.setattr(stitching, "alike", lambda base, tuned: Alike.nothing(base.n_layers))
    plain = stitch(pair, pairs.clean, metric(pairs)).where(condition="stitched")
    assert [len(cells) for cells in swept[2:]] == [tiny.LAYERS + 1] * 2, "the control runs them all"
    keys = ["model", "layer", "example"]
    both = rows.merge(plain, on=keys, suffixes=("", "_plain"), validate="one_to_one")
    assert len(both) == len(plain) == 2 * 2 * (tiny.LAYERS + 1)
    assert (both["value"] - both["value_plain"]).abs().max() <= 1e-5
    if blocks:
        assert rows.groupby(["model", "example"])["value"].agg(lambda v: v.max() - v.min()).min() > 0.01
