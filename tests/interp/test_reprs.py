"""What a notebook shows of a value is one line, however much the value holds."""

import pytest

import interp


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
