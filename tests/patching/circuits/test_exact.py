"""Exact scores of edges equal a loop that patches one edge a forward."""

import pytest
import tiny
import torch

from benchmarks import plain_edges
from interp.metrics import logit_difference
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


def test_left_of_the_first_difference_nothing_changes_a_score(setting):
    clean = setting.contrast.clean
    assert torch.equal(clean.tokens[:, 0], clean.tokens[:, 0])
    split = Setting.of(setting.model, setting.contrast, setting.metric, max_bytes=2_000_000)
    mask = sample(setting, 20)
    assert tiny.same(exact_scores(split, mask)[mask], exact_scores(setting, mask)[mask])
