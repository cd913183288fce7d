"""The knowing study on a random model: it holds no truth, and what is spelled in a name it can hold."""

from __future__ import annotations

import subprocess
import sys

import pytest
import tiny
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from interp.facts.truth import truth_statements
from interp.models.loading import wrap
from probes.beliefs.claims import QUESTIONS
from studies.knowing import know

SETS = ("element_symbols", "neg_element_symbols")


@pytest.fixture(scope="module")
def found():
    """A random model under a byte-level tokenizer that has learned the words of the statements."""
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    texts = [text for name in ("cities", *SETS) for text in truth_statements(name).texts]
    texts += [f"{question.text}{word}" for question in QUESTIONS for word in question.yes + question.no]
    words.train_from_iterator(
        texts * 3,
        trainers.BpeTrainer(
            vocab_size=600,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=["<eos>"],
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>", pad_token="<eos>")
    model = wrap(tiny.hf_model("llama", vocab_size=len(tokenizer)), tokenizer, name="random")
    return know(model, sets=SETS, attributes=("element_initial", "element_number"))


@pytest.mark.slow
def test_a_random_model_holds_no_truth(found):
    probe = found.truth[found.truth["condition"] == "probe"].set_index("boundary")
    assert list(probe.index) == [0, 1, 2, 3]
    assert (probe["estimate"] < 0.62).all()
    believed = found.sincerity.set_index(["says", "of", "measure"])
    assert believed.loc[("raw", "all", "belief_auroc"), "estimate"] < 0.65


@pytest.mark.slow
def test_the_matrix_and_the_attributes_are_those_of_the_evidence(found):
    own = found.matrix[(found.matrix["train"] == "element_symbols") & (found.matrix["test"] == SETS[1])]
    rows = found.evidence.where(
        method="generalisation", donor="element_symbols", template=SETS[1], condition="probe"
    )
    by_class = rows.groupby("strength")["value"].mean().mean()
    at = own.set_index("condition")["estimate"]
    assert at["probe"] == pytest.approx(by_class, abs=1e-6)
    table = found.attributes.set_index("attribute")
    assert table.loc["element_initial", "score"] == "balanced accuracy"
    assert table.loc["element_number", "score"] == "R²"
    # A first letter is spelled in the name: letters read it, and no probe is ahead of them.
    assert table.loc["element_initial", "best_trivial"] == "letters"
    assert table.loc["element_initial", "gain_low"] <= 0
    gains = table["estimate"] - table["trivial_estimate"]
    assert gains.tolist() == pytest.approx(table["gain_estimate"].tolist(), abs=1e-9)


@pytest.mark.slow
def test_the_tables_are_printed_and_kept(found, tmp_path):
    text = str(found)
    assert "2 neg_element_symbols" in text and "does NOT beat letters" in text
    found.save(str(tmp_path / "out"))
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert {"truth.csv", "matrix.csv", "attributes.csv", "sincerity.csv"} <= set(names)
    with pytest.raises(FileExistsError):
        found.save(tmp_path / "out")


def test_an_existing_folder_is_refused_before_anything_runs(tmp_path):
    command = [sys.executable, "-m", "studies.knowing", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "--out must be a new folder" in done.stderr


@pytest.mark.parametrize("study", ["knowing", "recalling"])
def test_an_unknown_model_is_one_line(study):
    option = {"knowing": "--model", "recalling": "--base"}[study]
    command = [sys.executable, "-m", f"studies.{study}", option, "no-such-model"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "no-such-model" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
