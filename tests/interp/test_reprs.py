"""What a notebook shows of a value is one line, however much the value holds."""

from dataclasses import replace

import pytest
import torch

import interp
import probes


@pytest.fixture(scope="module")
def values():
    model, facts = interp.load_model("organism-base"), interp.load_facts("world")
    examples = interp.Examples.from_facts(model, facts, form=0)
    contrast = interp.Contrast.from_text(
        model,
        [facts.prompts(0)[0]],
        [facts.prompts(0)[4]],
        answers=[facts.facts[0].answer],
        foils=[facts.facts[4].answer],
    )
    site = interp.Site(interp.Kind.RESID_PRE, 1)
    return {
        "FactSet": facts,
        "Examples": examples,
        "Contrast": contrast,
        "Activations": interp.collect(model, examples, site)[site],
        "Statements": interp.truth_statements("cities", seed=0),
        "Evidence": interp.Evidence.build([1.0] * 1000, method="patch", metric="a", model="base"),
    }


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("FactSet", "'world': 128 facts"),
        ("Examples", "128 prompts of 6 tokens; 128 groups"),
        ("Contrast", "1 pairs of 6 tokens"),
        ("Activations", "resid_pre.1 of base at 'last': 128 × 64"),
        ("Statements", "'cities'"),
        ("Evidence", "1,000 rows; method patch; metric a; model base"),
    ],
)
def test_a_value_is_shown_on_one_line(values, name: str, told: str):
    shown = repr(values[name])
    assert shown.startswith(f"{name}(") and told in shown
    assert len(shown) < 200 and "\n" not in shown


def test_sites_and_metrics_are_shown_as_they_are_written(values):
    assert repr(interp.Site(interp.Kind.Z, 3, 1)) == "Site('z', 3, head=1)"
    assert repr(interp.logit_difference(values["Contrast"])).endswith("in logits, of 1 prompts)")


def test_what_probes_and_texts_give_is_shown_on_one_line(values):
    site = interp.Site(interp.Kind.RESID_PRE, 1)
    direction = interp.Direction(site, torch.ones(64), origin="logistic", score=0.9)
    assert repr(direction) == (
        "Direction(resid_pre.1 at 'last': width 64, by logistic, held-out score 0.90)"
    )
    assert repr(direction.subspace()).startswith("Subspace(resid_pre.1 at 'last': width 64, rank 1")
    states = values["Activations"]
    labels = torch.arange(len(states)) % 2
    probe = probes.fit(replace(states, labels=labels))
    assert repr(probe).startswith("LinearProbe(resid_pre.1 at 'last': 2 classes by logistic, held-out")
    texts = interp.generate(interp.load_model("organism-base"), ["The home of"], tokens=1)
    assert repr(texts).startswith("Generated(1 texts; first ") and len(repr(texts)) < 100
