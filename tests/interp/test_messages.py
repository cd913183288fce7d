"""A wrong argument is answered in one short line that says what to write instead."""

import subprocess
import sys
from pathlib import Path

import pytest

import interp
import patching
from interp.sites import Kind, Site


@pytest.fixture(scope="module")
def model():
    return interp.load_model("organism-base")


@pytest.fixture(scope="module")
def pairs(model):
    facts = interp.load_facts("world")
    prompts, answers = facts.prompts(0), facts.answers
    return interp.Contrast.from_text(model, [prompts[0]], [prompts[4]], [answers[0]], [answers[4]])


def grid(model, pairs, metric):
    return patching.patch_sites(model, pairs, Site(Kind.RESID_PRE, 1), metric)


def test_a_metric_function_is_held_to_one_number_of_the_logits(model, pairs):
    for function, told in (
        (lambda a, b, c: a, "got 3 arguments to fill; expected one"),
        (lambda logits: None, "gave None; expected a number"),
        (lambda logits, example: None, "gave None; expected a number"),
    ):
        with pytest.raises(ValueError, match=told):
            grid(model, pairs, interp.metric(function, pairs.clean, unit="logits"))
    assert len(grid(model, pairs, interp.metric(lambda logits: logits[..., 3], pairs.clean, unit="x")))


def test_recovery_says_which_unedited_run_is_missing(model, pairs):
    measured = grid(model, pairs, interp.logit_difference(pairs))
    with pytest.raises(ValueError, match="no rows of condition clean or corrupted; select by"):
        patching.recovery(measured.select(condition="patched"))
    assert len(patching.recovery(measured.select(layer=[1, None])))


@pytest.mark.parametrize(
    ("hook", "told"),
    [("hook_resid_mid", r"expected Site\('attn_out', 3\)"), ("mlp.hook_pre", r"Site\('mlp_post', 3\)")],
)
def test_a_hook_without_a_site_is_answered_with_the_site_to_write(hook: str, told: str):
    with pytest.raises(ValueError, match=told) as refused:
        Site.from_hook_name(f"blocks.3.{hook}")
    assert len(str(refused.value)) < 200


def test_a_sites_short_form_stands_for_it(model, pairs):
    for text, site in (("resid_pre.3", Site(Kind.RESID_PRE, 3)), ("z.2.h1", Site(Kind.Z, 2, 1))):
        assert str(site) == text
        assert list(interp.collect(model, pairs.clean, text)) == [site]
    with pytest.raises(ValueError, match=r"'resid_pre\.3'"):
        interp.collect(model, pairs.clean, "resid.3")


def test_a_tuned_model_alone_can_be_called_so():
    assert interp.load_model("organism-null", role="tuned").role == "tuned"
    with pytest.raises(ValueError, match="role got 'best'; expected 'base' or 'tuned'"):
        interp.load_model("organism-null", role="best")


def test_generation_fits_the_context_unless_asked_for_more(model):
    prompt = interp.load_facts("world").prompts(0)[0]
    written = interp.generate(model, prompt)
    assert len(written.ids[0]) <= model.context - 6
    with pytest.raises(ValueError, match="expected at most 26"):
        interp.generate(model, prompt, tokens=32)


def test_many_malformed_rows_are_told_in_one_short_line(tmp_path):
    file = tmp_path / "wrong.csv"
    file.write_text("statement,label\n" + "".join(f"x is {i},2\n" for i in range(50)))
    with pytest.raises(ValueError, match="50 malformed: line 2: .* and 45 more") as refused:
        interp.load_statements(file)
    assert len(str(refused.value)) < 400


#: Run as a user would, without the shape checks of the tests.
PLAIN = """
import interp, patching, probes, torch
model = interp.load_model("organism-base")
ids = torch.tensor([[1, 2]])
prompts = interp.Examples.from_text(model, "The home of Farid Jansen is")
states = interp.collect(model, prompts, "resid_pre.1")
for call, told in (
    (lambda: probes.cross_validate(torch.ones(4, 3)), "Tensor of shape [3]; expected Activations"),
    (lambda: model.readout(next(iter(states.values()))), "residual got Activations; expected a tensor"),
    (lambda: model.readout(torch.ones(2, 3)), "residual got [2, 3]; expected a tensor [..., 64]"),
    (lambda: patching.plan(model, prompts, 3.5), "Site | tuple[Site, ...]"),
    (lambda: probes.cross_validate(3.5), "Activations | dict[Site, Activations]"),
):
    try:
        call()
    except ValueError as error:
        assert told in str(error) and "\\n" not in str(error), error
    else:
        raise AssertionError(told)
"""


def test_values_of_the_wrong_kind_are_named_and_no_private_kind_is():
    here = Path(__file__).resolve().parents[2]
    ran = subprocess.run([sys.executable, "-c", PLAIN], cwd=here, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-1500:]
