"""Both models' activations in one pass: the same numbers, and shared blocks run once."""

import pytest
import tiny
import torch

from interp import Kind, Site
from interp.activations import collect, collect_both
from interp.models.loading import wrap
from interp.models.pair import ModelPair
from interp.sites import boundaries


@pytest.mark.parametrize("family", tiny.FAMILIES)
@pytest.mark.parametrize("changed", [0, 1, 2, None])
def test_both_models_hold_what_each_holds_alone(family, changed, tokenizer):
    base, tuned = (wrap(tiny.hf_model(family), tokenizer) for _ in range(2))
    if changed is not None:
        with torch.no_grad():
            for parameter in tuned.bridge.blocks[changed].parameters():
                parameter.mul_(1.1)
    pair = ModelPair(base, tuned)
    run = []

    def see(block, given):
        run.append(block)

    for block in (*base.bridge.blocks, *tuned.bridge.blocks):
        block.register_forward_pre_hook(see)
    examples = tiny.contrast(9, 7, 9).clean
    sites = [*boundaries(tiny.LAYERS), Site(Kind.Z, 1), Site(Kind.MLP_OUT, 0)]
    both = collect_both(pair, examples, sites, ["last", "subject_last", "all"])
    entered = [k for k, block in enumerate(pair.tuned.bridge.blocks) if block in run]
    assert entered == [k for k in range(tiny.LAYERS) if changed is not None and k >= changed]
    assert run.count(pair.base.bridge.blocks[0]) == 2, "a batch of either length, whatever is read"
    for model in (pair.base, pair.tuned):
        for position in ("last", "subject_last", "all"):
            plain = collect(model, examples, sites, positions=position)
            found = both[model.role, position]
            assert list(found) == sites
            for site in sites:
                assert tiny.same(found[site].values, plain[site].values), (model.role, site)
                assert (found[site].model, found[site].position) == (model.role, position)
                assert found[site].groups == plain[site].groups
    top = boundaries(tiny.LAYERS)[-1]
    apart = both["base", "last"][top].values - both["tuned", "last"][top].values
    assert (float(apart.abs().max()) > 1e-3) == (changed is not None), "the tuned model is another"


def test_a_site_that_does_not_exist_is_refused(tiny_pair):
    with pytest.raises(ValueError, match="has blocks 0..2"):
        collect_both(tiny_pair("llama"), tiny.contrast(5).clean, [Site(Kind.RESID_PRE, 9)], ["last"])
