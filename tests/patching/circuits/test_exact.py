"""Exact scores of edges equal a loop that patches one edge a forward."""

import pytest
import tiny
import torch

from benchmarks import plain_edges
from interp.metrics import logit_difference
from patching.circuits.running.passes import circuit_values
from patching.circuits.running.setting import Setting
from patching.circuits.scores.exact import exact_scores


@pytest.fixture(scope="module", params=["gpt2", "llama", "gemma3", "neox"])
def setting(request, tiny_model):
    pairs = tiny.contrast(5, 5)
    return Setting.of(tiny_model(request.param), pairs, logit_difference(pairs))


def sample(setting: Setting, n: int) -> torch.Tensor:
    """Some edges, of every slot and layer among them."""
    graph = setting.parts.graph
    mask = torch.zeros(graph.n_edges, dtype=torch.bool)
    mask[torch.randperm(graph.n_edges, generator=torch.Generator().manual_seed(0))[:n]] = True
    mask[-3:] = True
    return mask


def test_exact_scores_equal_a_loop_of_one_edge_a_forward(setting):
    mask = sample(setting, 60)
    found = exact_scores(setting, mask)
    names = [setting.parts.graph.names[i] for i in mask.nonzero()[:, 0].tolist()]
    expected = plain_edges.scores(setting.model, setting.contrast, names)
    assert tiny.same(found[mask], expected)
    assert expected.abs().amax() > 0.1
    assert found[~mask].isnan().all()
    wrong = expected.roll(1, 0)
    assert not tiny.same(found[mask], wrong), "the control: the next edge's score differs"


def test_memory_changes_no_score(setting):
    small = Setting.of(setting.model, setting.contrast, setting.metric, max_bytes=2_000_000)
    mask = sample(setting, 20)
    assert tiny.same(exact_scores(small, mask)[mask], exact_scores(setting, mask)[mask])


def test_what_both_prompts_begin_with_is_not_run_again(tiny_model):
    pairs = tiny.contrast(6, 6)
    pairs.corrupted.tokens[:, :4] = pairs.clean.tokens[:, :4]
    setting = Setting.of(tiny_model("gpt2"), pairs, logit_difference(pairs))
    mask = sample(setting, 20)
    names = [setting.parts.graph.names[i] for i in mask.nonzero()[:, 0].tolist()]
    expected = plain_edges.scores(setting.model, pairs, names)
    assert tiny.same(exact_scores(setting, mask)[mask], expected)
    other = tiny.contrast(6, 6)
    assert not tiny.same(plain_edges.scores(setting.model, other, names), expected)


@pytest.mark.parametrize("pad", ["left", "right"])
def test_pairs_of_several_lengths_have_the_scores_that_each_has_alone(tiny_model, pad):
    pairs = tiny.contrast(6, 4, 6, pad=pad)
    together = Setting.of(tiny_model("llama"), pairs, logit_difference(pairs))
    mask = sample(together, 12)
    masks = torch.stack([~mask, together.parts.graph.mask()])
    found, values = exact_scores(together, mask), circuit_values(together, masks)
    for i in range(3):
        alone = tiny.contrast(6, 4, 6).subset([i])
        single = Setting.of(together.model, alone, logit_difference(alone))
        assert tiny.same(found[mask][:, [i]], exact_scores(single, mask)[mask])
        assert tiny.same(values[:, [i]], circuit_values(single, masks))
    assert not tiny.same(found[mask][:, 0], found[mask][:, 2])
