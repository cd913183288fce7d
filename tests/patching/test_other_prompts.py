"""What was made for other prompts, places or rows is refused before anything runs."""

import pytest

import interp
import patching
from interp.evidence import Evidence


@pytest.fixture(scope="module")
def model():
    return interp.load_model("organism-base")


@pytest.fixture(scope="module")
def pairs(model):
    facts = interp.load_facts("world").subset(list(range(8)))
    clean, corrupted = facts.prompts(0)[:4], facts.prompts(0)[4:]
    return interp.Contrast.from_text(model, clean, corrupted, facts.answers[:4], facts.answers[4:])


def test_a_metric_of_other_prompts_is_refused(model, pairs):
    sites = interp.every_layer(interp.Kind.RESID_PRE, model.n_layers)
    metric = interp.logit_difference(pairs)
    for other in (pairs.subset([3]), pairs.subset([0, 1, 2])):
        with pytest.raises(ValueError, match="was made for 4 prompts"):
            patching.patch_sites(model, other, sites, metric)
    assert len(patching.patch_sites(model, pairs, sites[:1], metric)), "the control"


def test_effects_that_are_changes_already_have_no_recovery(model, pairs):
    sites = interp.every_layer(interp.Kind.RESID_PRE, model.n_layers)[:2]
    metric = interp.logit_difference(pairs)
    with pytest.raises(ValueError, match="recovery needs"):
        patching.recovery(patching.attribute(model, pairs, sites, metric))
    both = Evidence.concat(
        patching.patch_sites(model, pairs, sites, metric, positions=p) for p in ("each", "last")
    )
    with pytest.raises(ValueError, match="single positions and named ones are drawn apart"):
        interp.figures.patch_grid(both)
