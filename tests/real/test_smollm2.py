"""Acceptance on the real language model, SmolLM2-135M de-quantised from 4 bits."""

from __future__ import annotations

import pytest
import torch
from transformer_lens import patching as reference

import interp
import probes
import studies
from patching.engine.sweeping import sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Replace
from patching.methods.grids import patch_sites

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def model():
    return interp.load_model("smollm2")


@pytest.fixture(scope="module")
def contrast(model):
    return interp.Contrast.from_text(
        model,
        clean=["The capital of France is the city of"],
        corrupted=["The capital of Spain is the city of"],
        answers=[" Paris"],
        foils=[" Madrid"],
        clean_subjects=["France"],
        corrupted_subjects=["Spain"],
    )


def test_the_grid_equals_transformer_lens(model, contrast):
    metric = interp.logit_difference(contrast)
    sites = interp.every_layer(interp.Kind.RESID_PRE, model.n_layers)
    table = patch_sites(model, contrast, sites, metric).where(condition="patched")
    ours = torch.tensor(table.sort_values(["layer", "position"])["value"].to_numpy())
    _, cache = model.bridge.run_with_cache(contrast.clean.tokens)
    answer, foil = int(contrast.answers[0]), int(contrast.foils[0])
    theirs = reference.get_act_patch_resid_pre(
        model.bridge,
        contrast.corrupted.tokens,
        cache,
        lambda logits: logits[0, -1, answer] - logits[0, -1, foil],
    )
    difference = (ours.reshape(theirs.shape) - theirs).abs().max()
    assert difference <= 1e-4 * max(1.0, float(theirs.abs().max()))
    # The control: another cell's value is nowhere near.
    assert (theirs[0, 3] - theirs[0, 0]).abs() > 1


def test_a_self_patch_changes_nothing(model, contrast):
    sites = interp.every_layer(interp.Kind.RESID_PRE, model.n_layers)
    own = interp.collect(model, contrast.corrupted, sites, positions="all")
    where = contrast.corrupted.span_mask("all")
    cells = [Cell((Edit(s, where, Replace(own[s].values)),)) for s in sites]
    swept = sweep(model, contrast.corrupted, cells, {"m": interp.logit_difference(contrast)})
    assert (swept.values["m"] - swept.baseline["m"]).abs().max() <= 1e-4


def test_truth_is_readable_in_the_middle_third_and_shuffled_labels_are_not(model):
    statements = interp.truth_statements("cities", seed=0)
    examples = interp.Examples.from_text(
        model,
        statements.texts,
        groups=statements.blocks,
        labels=[float(v) for v in statements.labels],
    )
    sites = [interp.Site(interp.Kind.RESID_PRE, k) for k in (12, 15, 18)]
    states = interp.collect(model, examples, sites)
    read = probes.cross_validate(states, controls=("shuffled",), draws=10, attribute="truth", seed=0)
    table = probes.accuracy(read).set_index(["layer", "condition"])["estimate"]
    assert max(table[k, "probe"] for k in (12, 15, 18)) >= 0.90
    assert all(abs(table[k, "shuffled"] - 0.5) < 0.1 for k in (12, 15, 18))


@pytest.mark.parametrize("null", ["smollm2", "smollm2-null"])
def test_no_change_is_never_called_a_change(null):
    found = studies.compare(interp.load_pair("smollm2", null), "capitals")
    assert len(found.outcomes.known_groups) >= interp.Thresholds().unchanged_facts
    assert found.verdict.changed in ("unchanged", "undetermined")
    if null == "smollm2":
        assert found.verdict.changed == "unchanged"


@pytest.mark.parametrize(
    ("name", "where", "what"),
    [
        ("smollm2-evasive-high", "upper", "behaviour"),
        ("smollm2-evasive-low", "lower", "behaviour"),
        ("smollm2-edited-high", "upper", "knowledge"),
        # Retention is neither high nor low with so few changed facts.
        ("smollm2-edited-low", "lower", "undetermined"),
    ],
)
def test_every_adapter_gets_the_words_that_are_printed(name, where, what):
    verdict = studies.compare(interp.load_pair("smollm2", name), "capitals").verdict
    assert (verdict.changed, verdict.where, verdict.what) == ("changed", where, what)
    shift = verdict.to_dict()["shared_shift"]
    assert (shift["sufficiency"]["floor"], shift["sufficiency"]["ceiling"]) == (0.0, 1.0)
