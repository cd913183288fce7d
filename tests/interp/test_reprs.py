"""What a notebook shows of a value is one line, however much the value holds."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

import interp
import patching
import probes
import studies


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


def every_value() -> dict[str, object]:
    """One value of every public class that holds something, by the class's name."""
    model = interp.load_model("organism-base")
    pair = interp.load_pair("organism-base", "organism-null")
    facts = interp.load_facts("world")
    examples = interp.Examples.from_facts(model, facts, form=0)
    contrast = interp.Contrast.from_text(
        model, [facts.prompts(0)[0]], [facts.prompts(0)[4]], [facts.answers[0]], [facts.answers[4]]
    )
    site, vector = interp.Site(interp.Kind.RESID_PRE, 1), torch.ones(64)
    states = interp.collect(model, examples, site)[site]
    labelled = replace(states, labels=torch.arange(128) % 2)
    direction = interp.Direction(site, vector)
    rows, keys = torch.ones(128, 6, 64), examples.span_mask("subject")
    edit = patching.Edit(site, examples.mask, patching.Add(vector))
    claim = patching.ClaimToTest("region", 1, direction, (direction,) * 99, (direction,))
    probe = probes.fit(labelled)
    table = pd.DataFrame({"text": ["a"] * 300})
    return {
        "values": [model, pair, facts, facts.facts[0], examples, contrast, site, states, direction,
                   direction.subspace(), interp.logit_difference(contrast), interp.Thresholds(),
                   interp.truth_statements("cities", seed=0), interp.truth_sets()["cities"],
                   interp.entity_attributes("element_period"), interp.generate(model, "The home of"),
                   interp.Evidence.build([1.0] * 50, method="patch", metric="a"),
                   interp.logit_lens(model, "The home of"), interp.Kind.Z, table],
        "edits": [edit, patching.Cell((edit,) * 9), patching.Add(vector), patching.Zero(),
                  patching.Replace(rows), patching.Mean(vector), patching.Scale(2.0),
                  patching.Resample(rows, torch.arange(128)), patching.Knockout(keys),
                  patching.Features(patching.Zero(), torch.arange(900)), claim,
                  patching.Erase(probes.leace(labelled)), patching.ProjectOut(direction.subspace()),
                  patching.SwapSubspace(direction.subspace(), rows)],
        "weights": [patching.Blocks(tuple(range(30))), patching.Ends("embedding"),
                    patching.Named(("a",) * 40), patching.TopChange(0.1), patching.Parameters(pair),
                    patching.plan(model, examples.subset([0]), site)],
        "probes": [probe, probes.Logistic(), probes.Ridge(), probes.LDA(), probes.MassMean(),
                   probes.KSparse(), probes.PCAMeans(), probes.Principal(), probes.RidgeClassifier()],
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["values", "edits", "weights", "probes"])
def test_no_value_floods_a_notebook(kind: str, everything):
    for value in everything[kind]:
        if isinstance(value, pd.DataFrame):
            assert len(repr(value).splitlines()) > 5, "the control: a table is long"
            continue
        shown = repr(value)
        assert len(shown.splitlines()) <= 5 and len(shown) <= 400, (type(value), len(shown))
        assert "tensor(" not in shown, shown


@pytest.fixture(scope="module")
def everything():
    return every_value()


def test_a_notebook_shows_a_small_table_whose_text_is_escaped(values):
    facts, evidence = values["FactSet"], values["Evidence"]
    assert '<th scope="col">subject</th>' in facts._repr_html_()
    assert "<td>Farid Jansen</td>" in facts._repr_html_() and "120 more rows" in facts._repr_html_()
    shown = evidence._repr_html_()
    assert '<th scope="col">method</th>' in shown and "head</th>" not in shown, "only its own columns"
    assert len(values["Examples"]._repr_html_()) < 4_000
    odd = interp.Evidence.build([1.0], method="patch", group="<script>")
    assert "&lt;script&gt;" in odd._repr_html_() and "<script" not in odd._repr_html_()


def test_completion_offers_public_names_only():
    for package in (interp, patching, probes, studies, interp.figures):
        assert dir(package) and not [name for name in dir(package) if name.startswith("_")]
        assert sorted(dir(package)) == sorted(package.__all__)
