"""`collect` gives the hidden states of the bare model, whatever the padding, and stops early."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import tiny
import torch
from torch.multiprocessing.reductions import StorageWeakRef

from interp.activations import Activations, capture, collect, observed
from interp.examples import Examples
from interp.models.model import Model
from interp.sites import Kind, Site, boundaries

ROWS = tiny.token_rows(6, 4, 6, 9)
SUBJECT = [(1, 3), (0, 2), (2, 4), (5, 8)]


def prompts(pad: str = "right") -> Examples:
    return tiny.examples(ROWS, subject=SUBJECT, pad=pad)


@torch.no_grad()
def hidden_states(family: str) -> list[tuple[torch.Tensor, ...]]:
    """The bare model's residual before every block, prompt by prompt, without padding."""
    model = tiny.hf_model(family)
    run = (model(torch.tensor([ids]), output_hidden_states=True, use_cache=False) for ids in ROWS)
    return [tuple(h[0] for h in out.hidden_states) for out in run]


@pytest.mark.parametrize("pad", ["left", "right"])
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_residuals_are_the_bare_models_hidden_states(family: str, pad: str, tiny_model):
    model: Model = tiny_model(family)
    sites = [Site(Kind.RESID_PRE, k) for k in range(model.n_layers)]
    last = collect(model, prompts(pad), sites, batch_size=2)
    subject = collect(model, prompts(pad), sites, positions="subject_last")
    for i, states in enumerate(hidden_states(family)):
        for k, site in enumerate(sites):
            torch.testing.assert_close(last[site].values[i], states[k][-1], rtol=1e-4, atol=1e-4)
            at = SUBJECT[i][1] - 1
            torch.testing.assert_close(subject[site].values[i], states[k][at], rtol=1e-4, atol=1e-4)
    assert (last[sites[1]].values - subject[sites[1]].values).abs().max() > 0.1


@pytest.mark.parametrize("pad", ["left", "right"])
def test_everywhere_is_nan_at_padding_and_data_elsewhere(family_model: Model, pad: str):
    examples = prompts(pad)
    site = Site(Kind.ATTN_OUT, 1)
    found = collect(family_model, examples, [site], positions="all", batch_size=2)[site].values
    assert found.shape == (4, 9, family_model.d_model)
    assert torch.equal(found.isnan().any(2), ~examples.mask)
    assert torch.equal(found.isnan().all(2), ~examples.mask)
    last = collect(family_model, examples, [site])[site].values
    torch.testing.assert_close(found[torch.arange(4), examples.position("last")], last)


def test_positions_may_be_given_one_by_one(family_model: Model):
    examples = prompts("left")
    site = Site(Kind.RESID_PRE, 2)
    given = collect(family_model, examples, [site], positions=examples.position("subject_first"))
    named = collect(family_model, examples, [site], positions="subject_first")
    assert tiny.same(given[site].values, named[site].values)
    assert (given[site].position, named[site].position) == ("given", "subject_first")


@pytest.mark.parametrize("pad", ["left", "right"])
@pytest.mark.parametrize("kind", [Kind.RESID_PRE, Kind.Z, Kind.PATTERN])
def test_each_token_of_a_span_is_a_row_that_tells_whose_it_is(tiny_model, kind: Kind, pad: str):
    model, examples, site = tiny_model("llama"), prompts(pad), Site(kind, 1)
    whole = collect(model, examples, site, positions="all", batch_size=2)[site]
    assert whole.example_index is None and len(whole) == len(examples)
    for name, mask in (("subject", examples.span_mask("subject")), ("each", examples.mask)):
        rows = collect(model, examples, site, positions=name, batch_size=2)[site]
        example, token = mask.nonzero(as_tuple=True)
        assert rows.example_index is not None and rows.token_index is not None
        assert torch.equal(rows.example_index, example) and torch.equal(rows.token_index, token)
        assert rows.groups == tuple(examples.groups[i] for i in example.tolist())
        assert rows.position == name and len(rows) == int(mask.sum())
        assert tiny.same(rows.values, whole.values[example, token])
        assert not tiny.same(rows.values, whole.values[example, token.roll(1)]), "the control"
        some = rows.subset([3, 0])
        assert some.example_index is not None and some.token_index is not None
        assert some.example_index.tolist() == example[[3, 0]].tolist()
        assert some.token_index.tolist() == token[[3, 0]].tolist()


def test_labels_follow_each_token_of_their_example(tiny_model):
    labelled = replace(prompts(), labels=torch.tensor([3, 2, 1, 0]))
    site = Site(Kind.RESID_PRE, 1)
    rows = collect(tiny_model("llama"), labelled, site, positions="subject")[site]
    assert rows.labels is not None and rows.labels.tolist() == [3, 3, 2, 2, 1, 1, 0, 0, 0]


def test_an_unknown_position_is_answered_with_all_words_that_fit(tiny_model):
    with pytest.raises(
        ValueError, match="no position 'object'.*'subject_last'.*a span of .'subject'.*"
    ):
        collect(tiny_model("llama"), prompts(), Site(Kind.Z, 0), positions="object")


def test_heads_neurons_and_embeddings_equal_the_cache(family_model: Model):
    examples = tiny.examples(ROWS[:1])
    _, cache = family_model.bridge.run_with_cache(examples.tokens, use_cache=False)
    whole = {kind: Site(kind, 1) for kind in (Kind.Z, Kind.Q, Kind.V, Kind.MLP_POST, Kind.EMBED)}
    heads = [Site(Kind.Z, 1, 3), Site(Kind.V, 1, 1)]
    found = collect(family_model, examples, [*whole.values(), *heads])
    for site in whole.values():
        assert tiny.same(found[site].values, cache[site.hook_name][:, -1])
        assert not tiny.same(found[site].values, cache[site.hook_name][:, -2])
    for site in heads:
        assert tiny.same(found[site].values, cache[site.hook_name][:, -1, site.head])


def test_the_pass_stops_after_the_last_layer_needed(tiny_model):
    model: Model = tiny_model("llama")
    ran: list[int] = []
    handles = [
        block.register_forward_hook(lambda *_, k=k: ran.append(k))
        for k, block in enumerate(model.bridge.blocks)
    ]
    try:
        for site, expected in (
            (Site(Kind.EMBED, 0), []),
            (Site(Kind.MLP_OUT, 1), [0, 1]),
            (Site(Kind.RESID_POST, 2), [0, 1, 2]),
        ):
            ran.clear()
            collect(model, tiny.examples(ROWS[:1]), [site])
            assert ran == expected
        ran.clear()
        collect(model, prompts(), boundaries(model.n_layers))
        assert ran == [0, 1, 2] * 3, "one pass per length, however many sites"
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_no_logits_are_computed_and_the_next_forward_runs_through(family: str, tiny_model):
    model: Model = tiny_model(family)
    ids, ran = torch.tensor(ROWS[:1]), []
    logits, before = model.logits(ids), tiny.hooks_left(model)
    handle = model.bridge.unembed.register_forward_hook(lambda *_: ran.append(1))
    try:
        collect(model, prompts(), boundaries(model.n_layers))
        assert not ran and tiny.hooks_left(model) == before
        assert tiny.same(model.logits(ids), logits) and ran
    finally:
        handle.remove()


@pytest.mark.parametrize("width", [4, 12])
def test_only_the_positions_asked_for_are_held(tiny_model, monkeypatch, width: int):
    model: Model = tiny_model("llama")
    shown: list[StorageWeakRef] = []

    @contextmanager
    def watched(model, sites, see):
        def watching(site: Site, value: torch.Tensor) -> None:
            shown.append(StorageWeakRef(value.untyped_storage()))
            see(site, value)

        with observed(model, sites, watching):
            yield

    monkeypatch.setattr("interp.activations.reading.observed", watched)
    examples = tiny.examples(tiny.token_rows(*[width] * 6))
    sites = [*boundaries(model.n_layers), Site(Kind.Z, 1, 0), Site(Kind.MLP_POST, 1)]

    def held(**asked: str) -> int:
        shown.clear()
        found = collect(model, examples, sites, batch_size=2, **asked)
        assert len(shown) == 3 * len(sites) and all(one.expired() for one in shown)
        return sum(one.values.untyped_storage().nbytes() for one in found.values())

    one_position = 6 * (4 * 32 + 8 + 64) * 4
    assert held() == one_position, "whatever the length of the prompts"
    # Control: everything asked for is everything held.
    assert held(positions="all") == one_position * width


def test_hooks_are_gone_afterwards_even_after_a_failure(tiny_model):
    model: Model = tiny_model("llama")
    before, ids = tiny.hooks_left(model), torch.tensor(ROWS[:1])
    logits = model.logits(ids)
    collect(model, prompts(), boundaries(3))
    with (
        pytest.raises(RuntimeError, match="midway"),
        capture(model, [Site(Kind.Z, 0)]),
    ):
        raise RuntimeError("midway")
    assert tiny.hooks_left(model) == before
    assert tiny.same(model.logits(ids), logits)


def test_what_is_kept_is_a_copy_with_its_groups_and_role(tiny_model):
    model: Model = tiny_model("llama")
    site = Site(Kind.RESID_PRE, 0)
    first = collect(model, prompts(), [site, site])
    first[site].values.zero_()
    again = collect(model, prompts(), [site])[site]
    assert again.values.abs().sum() > 0
    assert (again.groups, again.model, again.site) == (prompts().groups, "base", site)
    assert list(first) == [site] and len(again) == 4 and not again.values.requires_grad


@pytest.mark.parametrize(
    ("sites", "positions", "message"),
    [
        ([], "last", "no sites given"),
        ([Site(Kind.RESID_PRE, 3)], "last", r"resid_pre.3 does not exist: llama has blocks 0..2"),
        ([Site(Kind.Z, 0, 4)], "last", r"z.0.h4 does not exist: llama has heads 0..3"),
        ([Site(Kind.K, 0, 2)], "last", r"k.0.h2 does not exist: llama has heads 0..1"),
        ([Site(Kind.Z, 0)], "object_last", "no position 'object_last'"),
        ([Site(Kind.Z, 0)], torch.tensor([0]), r"shape \(4,\); got torch.int64 \(1,\)"),
        ([Site(Kind.Z, 0)], torch.tensor([5, 5, 5, 5]), "real token"),
        ([Site(Kind.Z, 0)], torch.tensor([-1, 1, 1, 1]), "real token"),
    ],
)
def test_what_does_not_exist_is_refused(tiny_model, sites, positions, message: str):
    with pytest.raises(ValueError, match=message):
        collect(tiny_model("llama"), prompts(), sites, positions=positions)


def test_activations_count_their_parts():
    with pytest.raises(ValueError, match="activations of 2 examples need 2 groups and labels"):
        Activations(Site(Kind.Z, 0), torch.zeros(2, 4), ("a", "b", "c"))


def test_a_row_without_its_token_is_refused():
    values = torch.zeros(2, 4)
    with pytest.raises(ValueError, match="token_index must have one entry per row, 2; got 3"):
        Activations(Site(Kind.RESID_PRE, 0), values, ("a", "b"), token_index=torch.arange(3))


def test_a_subset_keeps_values_labels_and_groups_together():
    values = torch.arange(12.0).reshape(4, 3)
    whole = Activations(Site(Kind.RESID_PRE, 0), values, tuple("abcd"), torch.arange(4))
    part = whole.subset([2, 0])
    assert part.groups == ("c", "a") and part.values.tolist() == values[[2, 0]].tolist()
    assert part.labels is not None and part.labels.tolist() == [2, 0] and len(part) == 2
    bare = Activations(whole.site, values, whole.groups).subset([1])
    assert bare.labels is None and bare.groups == ("b",)


def test_columns_say_where_activations_were_read():
    read = Activations(
        Site(Kind.Z, 2, head=1), torch.zeros(1, 4), ("a",), None, "subject_last", "tuned"
    )
    assert read.columns() == {
        "model": "tuned", "kind": "z", "layer": 2, "head": 1, "span": "subject_last",
    }  # fmt: skip
    whole = Activations(Site(Kind.RESID_PRE, 0), torch.zeros(1, 4), ("a",))
    assert whole.columns()["head"] is None and whole.columns()["span"] == "last"
