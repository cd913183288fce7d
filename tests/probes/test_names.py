"""The field's words name the functions; the former words and arguments are still understood."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from probe_toys import halves, planted

import probes

FORMER = {
    "accuracy": "balanced_accuracy",
    "believed_and_said": "belief_claim_table",
    "corrected": "adjust_p_values",
    "explained": "r_squared",
    "explained_beyond": "r_squared_gain",
    "margins": "held_out_margins",
    "scores": "score_table",
    "sincerity": "belief_claim_summary",
    "sweep": "train_test",
}


@pytest.mark.parametrize("former", FORMER)
def test_a_former_name_is_an_alias_of_the_new_one(former: str):
    assert (getattr(probes, former).__doc__ or "").startswith(f"Alias of `{FORMER[former]}`.")
    assert not (getattr(probes, FORMER[former]).__doc__ or "").startswith("Alias of")
    assert {former, FORMER[former]} <= set(probes.__all__)


def test_former_names_and_arguments_give_the_same_numbers():
    toy, _ = planted(n_groups=30)
    train, test = halves(toy)
    new = probes.train_test(train, test, repeats=2)
    assert probes.sweep(train, test, draws=2).table.equals(new.table)
    assert not probes.train_test(train, test, repeats=3).table.equals(new.table)
    table = probes.balanced_accuracy(new, resamples=30)
    assert probes.accuracy(new, draws=30).equals(table)
    assert not probes.balanced_accuracy(new, resamples=31).equals(table)
    null = probes.permutation_null(toy, draws=9, planted=1)
    assert null.table.equals(probes.permutation_null(toy, permutations=9, planted=1).table)
    with pytest.raises(TypeError, match="draws is the former name of repeats"):
        probes.cross_validate(toy, draws=2, repeats=2)
    assert probes.Principal is probes.PCAMeans


def test_a_seed_need_not_be_given():
    toy, _ = planted(n_groups=30)
    assert probes.cross_validate(toy).table.equals(probes.cross_validate(toy, seed=0).table)
    assert not probes.cross_validate(toy).table.equals(probes.cross_validate(toy, seed=1).table)


#: Run as a user would, without the shape checks of the tests.
FEW = """
import torch, probes
from interp import Activations, Site
labels = torch.arange(40) < 4
few = Activations(Site("resid_pre", 0), torch.ones(40, 3), tuple(map(str, range(40))), labels)
probes.cross_validate(few, controls=(), folds=2)
"""


def test_a_small_class_is_warned_of_where_the_user_stands(tmp_path: Path):
    script = tmp_path / "few.py"
    script.write_text(FEW, encoding="utf-8")
    here = {**os.environ, "PYTHONPATH": str(Path(probes.__file__).parents[1])}
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=here)
    assert ran.returncode == 0, ran.stderr
    assert f"{script}:6: SmallSample: class True has 4 groups" in ran.stderr
