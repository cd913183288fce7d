"""Every method of patching takes the same words: for places, sites, metrics, and former names."""

from __future__ import annotations

import pytest
import tiny
import torch

import interp
import patching
from interp import Direction, Evidence, Kind, Metric, Site
from patching.context import intervened
from patching.places import positions_of, window_around

SITE = Site(Kind.RESID_PRE, 1)
WORDS = ("last", "subject", "subject_last", "all", 0, -1)


@pytest.fixture(scope="module")
def pairs():
    return tiny.contrast(7, 5)


@pytest.fixture(scope="module")
def metric(pairs):
    return interp.logit_difference(pairs)


@pytest.fixture(scope="module")
def calls(tiny_model, tiny_pair, pairs):
    """Every method that takes positions, as a function of the metric and of options."""
    model, pair, prompts = tiny_model("gpt2"), tiny_pair("gpt2"), pairs.clean
    line, head = Direction(SITE, torch.arange(1.0, 33.0)), Site(Kind.Z, 0, 1)
    reader = Site(Kind.V, 2, 0)
    return {
        "patch_sites": lambda m, **o: patching.patch_sites(model, pairs, SITE, m, **o),
        "cross_patch": lambda m, **o: patching.cross_patch(pair, prompts, m, sites=SITE, **o),
        "ablate": lambda m, **o: patching.ablate(model, prompts, SITE, m, how="zero", **o),
        "steer": lambda m, **o: patching.steer(model, prompts, line, m, strengths=1.0, repeats=0, **o),
        "causal_trace": lambda m, **o: patching.causal_trace(
            model, prompts, Kind.MLP_OUT, m, repeats=1, **o
        ),
        "path_patch": lambda m, **o: patching.path_patch(model, pairs, head, reader, m, **o),
        "attribute": lambda m, **o: patching.attribute(model, pairs, SITE, m, **o),
    }


def values(rows) -> list[float]:
    return rows.sort_values(["metric", "layer", "example"])["value"].tolist()


def edited(table: Evidence):
    """The rows of edited runs, which alone have a place."""
    return table.table[table.table["span"].notna()]


def test_every_method_takes_the_same_words_for_places(calls, metric):
    for name, call in calls.items():
        rows = edited(call(metric, positions=WORDS))
        assert set(rows["span"]) == set(map(str, WORDS)), name
        by_word = {word: values(rows[rows["span"] == word]) for word in rows["span"].unique()}
        assert by_word["last"] == pytest.approx(by_word["-1"], abs=1e-5), name
        apart = [abs(a - b) for a, b in zip(by_word["last"], by_word["all"], strict=True)]
        assert max(apart) > 1e-4, name
        with pytest.raises(ValueError, match="no position 'object'; expected .* a span of") as refused:
            call(metric, positions="object")
        assert "\n" not in str(refused.value)


def test_each_position_alone_is_a_grid_that_skips_padding(calls, metric, pairs, tiny_model):
    for name, call in calls.items():
        table = call(metric, positions="each").table
        rows = table[table["position"].notna() & (table["layer"] == table["layer"].min())]
        real = [
            bool(pairs.clean.mask[e, p]) for e, p in zip(rows["example"], rows["position"], strict=True)
        ]
        models = rows["model"].nunique()
        assert all(real) and len(rows) == models * 12, name
    # Each row is the run with that one position edited.
    model, prompts = tiny_model("gpt2"), pairs.clean.subset([0])
    grid = calls["ablate"](metric, positions="each").where(condition="ablated", example=0)
    for position, value in zip(grid["position"], grid["value"], strict=True):
        edit = patching.Edit(SITE, tiny.one_position(prompts, int(position)), patching.Zero())
        with intervened(model, edit):
            logits = model.logits(prompts.tokens)[:, -1]
        assert value == pytest.approx(float(logits[0, 5] - logits[0, 50]), abs=1e-4)
    assert grid["value"].nunique() == 7


def test_several_metrics_are_those_measured_alone(calls, metric, pairs, tiny_model, tiny_pair):
    model, pair, prompts = tiny_model("gpt2"), tiny_pair("gpt2"), pairs.clean
    other = Metric(lambda lg, e: lg[:, 0] - lg[:, 1], "logits", metric.positions, torch.tensor([3, 8]))
    every = {
        **calls,
        "stitch": lambda m: patching.stitch(pair, prompts, m),
        "handover": lambda m: patching.handover(model, pairs, m),
        "knock_out": lambda m: patching.knock_out(model, prompts, m, repeats=0),
        "graft": lambda m: patching.graft(pair, prompts, m, [patching.Blocks((1,))], repeats=0),
        "attribute_edges": lambda m: patching.attribute_edges(model, pairs, m, top=50),
    }
    for name, call in every.items():
        both = call({"one": metric, "two": other})
        assert set(both.table["metric"]) == {"one", "two"}, name
        for label, alone in (("one", metric), ("two", other)):
            mine = both.where(metric=label)["value"].to_numpy()
            theirs = call(alone).table["value"].to_numpy()
            assert mine == pytest.approx(theirs, abs=1e-5), (name, label)
        first, second = (both.where(metric=label)["value"].to_numpy() for label in ("one", "two"))
        assert abs(first - second).max() > 1e-2, name


def test_a_sequence_of_metrics_bears_their_own_names(calls):
    model_metrics = [
        lambda: Metric(
            lambda lg, e: lg[:, 0], "logits", torch.tensor([6, 4]), torch.tensor([5]), "five"
        ),
        lambda: Metric(
            lambda lg, e: lg[:, 0], "logits", torch.tensor([6, 4]), torch.tensor([9]), "nine"
        ),
    ]
    table = calls["patch_sites"]([make() for make in model_metrics], positions="last")
    assert set(table.table["metric"]) == {"five", "nine"}
    with pytest.raises(ValueError, match="differ in name"):
        calls["patch_sites"]([model_metrics[0](), model_metrics[0]()], positions="last")


def test_the_name_of_a_hook_is_its_site(tiny_model, pairs, metric):
    model, name = tiny_model("gpt2"), "blocks.1.hook_resid_pre"
    for by_name, by_site in (
        (patching.patch_sites(model, pairs, name, metric), [SITE]),
        (patching.patch_sites(model, pairs, [name, Site(Kind.MLP_OUT, 0)], metric), None),
    ):
        sites = [SITE, Site(Kind.MLP_OUT, 0)] if by_site is None else by_site
        expected = patching.patch_sites(model, pairs, sites, metric)
        assert by_name.table["value"].equals(expected.table["value"])
    prompts = pairs.clean
    ablated = patching.ablate(model, prompts, "blocks.0.attn.hook_z", metric, how="zero")
    assert set(ablated.table["kind"].dropna()) == {"z"}
    cell = patching.Cell((patching.Edit(SITE, prompts.mask, patching.Zero()),))
    assert list(patching.record(model, prompts, [cell], "blocks.2.hook_mlp_out")) == [
        Site(Kind.MLP_OUT, 2)
    ]
    assert patching.steering_unit(model, prompts, name) == patching.steering_unit(model, prompts, SITE)
    estimate = patching.attribute(model, pairs, name, metric)
    assert set(estimate.table["kind"].dropna()) == {"resid_pre"}
    with pytest.raises(ValueError, match="expected"):
        patching.patch_sites(model, pairs, "residual", metric)


def test_former_arguments_are_understood(tiny_model, tiny_pair, pairs, metric):
    model, pair, prompts = tiny_model("gpt2"), tiny_pair("gpt2"), pairs.clean
    line = Direction(SITE, torch.arange(1.0, 33.0))
    space = line.subspace()
    claim = patching.Claim("size", 1, line)
    sets = [patching.Blocks((1,))]
    last, two = {"span": "last"}, {"placebos": 2}
    for function, given, former, today in (
        (patching.patch_sites, (model, pairs, SITE, metric), {"subspace": space, **two},
         {"subspace": space, "repeats": 2}),
        (patching.ablate, (model, prompts, SITE, metric), {"how": line, **last, **two},
         {"how": line, "positions": "last", "repeats": 2}),
        (patching.steer, (model, prompts, line, metric), {"strengths": 1.0, **last, **two},
         {"strengths": 1.0, "positions": "last", "repeats": 2}),
        (patching.knock_out, (model, prompts, metric), two, {"repeats": 2}),
        (patching.path_patch, (model, pairs, Site(Kind.Z, 0), Site(Kind.RESID_POST, 2), metric),
         last, {"positions": "last"}),
        (patching.cross_patch, (pair, prompts), {"metrics": {"m": metric}, "spans": ("last",)},
         {"metric": {"m": metric}, "positions": ("last",)}),
        (patching.stitch, (pair, prompts), {"metrics": metric}, {"metric": metric}),
        (patching.graft, (pair, prompts), {"metrics": metric, "sets": sets, **two},
         {"metric": metric, "sets": sets, "repeats": 2}),
        (patching.measure_use, (model, pairs, [claim], metric), {"random_draws": 2}, {"repeats": 2}),
        (patching.embedding_noise, (model, prompts), {"span": "last"}, {"corrupt": "last"}),
    ):  # fmt: skip
        before, after = function(*given, **former), function(*given, **today)
        if isinstance(before, Evidence):
            before, after = (torch.tensor(e.table["value"].to_numpy()) for e in (before, after))
        assert torch.equal(before, after), function.__name__
        with pytest.raises(TypeError, match="is the former name of"):
            function(*given, **{**today, **former})
    assert patching.Claim is patching.ClaimToTest


def test_a_grid_holds_the_tokens_of_its_pairs(tiny_model):
    model = tiny_model("gpt2")
    pairs = interp.Contrast.from_text(
        model, "The capital of land1 is", "The capital of land2 is", "city1", "city2"
    )
    metric = interp.logit_difference(pairs)
    tokens = patching.patch_sites(model, pairs, SITE, metric).provenance["grid_tokens"]["0"]
    assert [t.strip() for t in tokens["clean"]] == "The capital of land1 is".split()
    assert tokens["differs"] == ["land1", "land2"] and tokens["clean"] != tokens["corrupted"]
    spans = patching.patch_sites(model, pairs, SITE, metric, positions="last")
    assert "grid_tokens" not in spans.provenance


def test_places_are_told_apart_and_windows_are_cut_at_the_ends(pairs):
    columns = [about for about, _ in positions_of(pairs.clean, ["each", "last", 0])]
    assert columns == [*({"position": p} for p in range(7)), {"span": "last"}, {"span": "0"}]
    assert [list(window_around(k, 3, 4)) for k in range(4)] == [[0, 1], [0, 1, 2], [1, 2, 3], [2, 3]]
    assert [list(window_around(k, 2, 3)) for k in range(3)] == [[0, 1], [1, 2], [2]]
    with pytest.raises(ValueError, match=r"window must be 1..4 blocks, got 5"):
        window_around(0, 5, 4)
