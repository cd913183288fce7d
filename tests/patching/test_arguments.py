"""What is unambiguous is accepted by the methods of patching; padding has no rows."""

from __future__ import annotations

import pytest
import tiny
import torch

from interp.activations import collect
from interp.directions import Direction
from interp.evidence import Evidence
from interp.examples import Examples
from interp.metrics import Metric, as_metric, logit_difference
from interp.sites import Kind, Site
from patching.attribution.nodes import attribute
from patching.attribution.screening import screen_then_verify
from patching.context import intervened
from patching.interventions.cells import Edit
from patching.interventions.values import Zero
from patching.methods.ablation import ablate
from patching.methods.grids import patch_sites
from patching.methods.knockout import knock_out
from patching.methods.steering import generations, steer, steering_unit
from patching.methods.stitching import stitch
from patching.methods.tracing import causal_trace

SITE = Site(Kind.RESID_PRE, 1)


def same(one: Evidence, two: Evidence) -> bool:
    return torch.equal(
        torch.tensor(one.table["value"].to_numpy()), torch.tensor(two.table["value"].to_numpy())
    )


def test_one_site_one_text_and_one_edit_stand_for_several(tiny_model):
    model, pairs = tiny_model("gpt2"), tiny.contrast(5, 5)
    metric = logit_difference(pairs)
    assert same(patch_sites(model, pairs, SITE, metric), patch_sites(model, pairs, [SITE], metric))
    assert same(ablate(model, pairs.clean, SITE, metric, how="zero"),
                ablate(model, pairs.clean, [SITE], metric, how="zero"))  # fmt: skip
    assert same(attribute(model, pairs, SITE, metric), attribute(model, pairs, [SITE], metric))
    text = "The capital of land1 is"
    whole = Examples.from_text(model, [text])
    one = collect(model, text, SITE, positions=-1)[SITE]
    assert torch.equal(one.values, collect(model, whole, [SITE])[SITE].values)
    first = collect(model, [text], SITE, positions=[0])[SITE].values
    assert torch.equal(first, collect(model, whole, SITE, positions=0)[SITE].values)
    assert not torch.equal(first, one.values)
    edit = Edit(SITE, whole.mask, Zero())
    with intervened(model, edit):
        edited = model.logits(whole.tokens)
    with intervened(model, [edit]):
        assert torch.equal(edited, model.logits(whole.tokens))


def test_positions_are_names_of_spans_or_of_positions_or_numbers(tiny_model):
    model, pairs = tiny_model("gpt2"), tiny.contrast(5, 7, pad="left")
    metric = logit_difference(pairs)
    last = patch_sites(model, pairs, SITE, metric, positions="last")
    assert same(last, patch_sites(model, pairs, SITE, metric, positions=-1))
    end = patch_sites(model, pairs, SITE, metric, positions="subject_last")
    assert same(end, patch_sites(model, pairs, SITE, metric, positions=2)) and not same(end, last)
    with pytest.raises(ValueError, match="positions got 5, the shortest prompt has 5 tokens; expected"):
        patch_sites(model, pairs, SITE, metric, positions=5)


@pytest.mark.parametrize(
    "function",
    [
        lambda logits: logits[..., 7] - logits[..., 60],
        lambda logits: logits[:, 7] - logits[:, 60],
        lambda logits: logits[7] - logits[60],
        lambda logits: logits[0, -1, 7] - logits[0, -1, 60],
        lambda logits: float(logits[..., 7] - logits[..., 60]),
    ],
)
def test_a_plain_function_is_a_metric(tiny_model, function):
    model, pairs = tiny_model("gpt2"), tiny.contrast(5, 4)
    named = Metric(lambda lg, e: lg[:, 7] - lg[:, 60], "logits", pairs.clean.position("last"))
    own, theirs = (patch_sites(model, pairs, SITE, m).table["value"] for m in (function, named))
    assert (own - theirs).abs().max() < 1e-4 and theirs.std() > 0.1


def test_plain_functions_are_read_by_every_method(tiny_model, tiny_pair):
    model, pairs = tiny_model("gpt2"), tiny.contrast(5, 5)
    examples, pair = pairs.clean, tiny_pair("gpt2")

    def metric(logits):
        return logits[..., 7] - logits[..., 60]

    tables = [
        stitch(pair, examples, metric),
        knock_out(model, examples, metric, repeats=0),
        causal_trace(model, examples, Kind.MLP_OUT, metric, repeats=1, positions="last"),
        steer(model, examples, Direction(SITE, torch.ones(32)), metric, strengths=1.0, repeats=1),
        attribute(model, pairs, SITE, metric),
    ]
    assert all(len(table) for table in tables)
    with pytest.raises(ValueError, match=r"expected one number \(it gave shape \[1, 2\]\)"):
        patch_sites(model, pairs, SITE, lambda logits: logits.reshape(1, -1)[:, :2])
    with pytest.raises(ValueError, match="a metric got str 'nats'; expected a Metric"):
        as_metric("nats", examples)


def test_a_position_that_does_not_exist_has_no_row(tiny_model):
    model = tiny_model("gpt2")
    for pad in ("right", "left"):
        pairs = tiny.contrast(8, 4, pad=pad)
        metric, mask = logit_difference(pairs), pairs.clean.mask
        for table in (
            patch_sites(model, pairs, SITE, metric),
            causal_trace(model, pairs.clean, Kind.MLP_OUT, metric, repeats=1),
            attribute(model, pairs, SITE, metric),
            screen_then_verify(model, pairs, [SITE], metric, k=2, positions="each", sample=3),
        ):
            rows = table.table.dropna(subset=["position"])
            assert len(rows) and all(
                mask[e, p] for e, p in zip(rows["example"], rows["position"], strict=True)
            )
        grid = patch_sites(model, pairs, SITE, metric).where(condition="patched")
        assert len(grid) == 12


def test_a_unit_of_steering_does_not_hang_on_the_first_token(tiny_model):
    model = tiny_model("gpt2")
    short, long = (tiny.examples(tiny.token_rows(*[n] * 4, seed=2)) for n in (4, 24))
    site = Site(Kind.RESID_PRE, 1)
    plain = [steering_unit(model, prompts, site) for prompts in (short, long)]
    assert plain[0] == pytest.approx(plain[1], rel=0.25)
    # A sink: the first token of every prompt a hundred times as large.
    for prompts in (short, long):
        values = collect(model, prompts, site, positions="all")[site].values
        assert steering_unit(model, prompts, site) == pytest.approx(
            float(values[:, 1:].flatten(0, 1).norm(dim=-1).median())
        )
    one = tiny.examples(tiny.token_rows(1))
    assert steering_unit(model, one, site) > 0


def test_texts_before_and_after_stand_side_by_side(tiny_model):
    model = tiny_model("gpt2")
    prompts = Examples.from_text(model, ["In land2", "The capital of land1"])
    push = Edit(SITE, prompts.mask, Zero())
    table = generations(model, prompts, push, positions="all", tokens=5)
    assert list(table.columns) == ["prompt", "before", "after"]
    assert table["prompt"].tolist() == ["In land2", "The capital of land1"]
    assert (table["before"] != table["after"]).all()
