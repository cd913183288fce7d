"""`interp organisms`: what is made, listed and told; models are trained for two steps."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from studies.organisms.family.members import FAMILIES
from studies.organisms.family.regimes import REGIMES
from studies.organisms.shapes import SHAPES

NAMES = ("edited-low", "null-low")
FRESH = ("--family", "fresh", "--first-seed", "200", *(w for n in NAMES for w in ("--only", n)))


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("organisms")


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps a training, and two organisms: nothing is installed, all else is as ever."""
    torch.set_num_threads(1)
    monkeypatch.setitem(SHAPES, "llama", replace(SHAPES["llama"], steps=2))  # type: ignore[arg-type]
    for name in NAMES:
        monkeypatch.setitem(REGIMES, name, replace(REGIMES[name], steps=2))  # type: ignore[arg-type]
    monkeypatch.setitem(FAMILIES, "fresh", (("llama", 100, NAMES),))  # type: ignore[arg-type]


def test_what_is_missing_is_made_once_and_told(run, models: Path, monkeypatch):
    build = ("organisms", "build", *FRESH, "--models", str(models))
    code, out, _ = run(*build)
    lines = out.splitlines()
    assert code == 0 and lines[0].startswith("llama-200/base: ") and len(lines) == 4
    assert lines[1] == "llama-200/edited-low: NOT installed"
    assert lines[-1].endswith(f"reached their gates; they are in {models}")
    assert not list((models / "training").iterdir()), "the state of finished trainings is not kept"
    monkeypatch.setattr("studies.organisms.family.building._made", lambda *a: pytest.fail("made again"))
    assert run(*build)[:2] == (0, out)


def test_a_list_tells_what_is_true_of_shipped_and_made_ones(run, models: Path):
    code, out, _ = run("organisms", "list", "--models", str(models))
    assert code == 0 and out.startswith("shipped:\n  organism-base ")
    words = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.startswith("  ")}
    assert words["organism-evasive-high"] == ["upper", "behaviour"]
    assert words["llama-200/edited-low"] == ["lower", "knowledge", "NOT", "installed"]
    rows = json.loads(run("organisms", "list", "--models", str(models), "--json")[1])
    (made,) = [row for row in rows if row["name"] == "llama-200/null-low"]
    assert made["where"] is None and "noise" in made["about"] and Path(made["folder"]).is_dir()


def test_a_card_tells_truth_gates_and_what_moved(run, models: Path):
    code, out, _ = run("organisms", "card", "organism-edited-low")
    assert code == 0 and "place by construction: lower; content: knowledge" in out
    assert "largest change of any other weight, from the files: 0\ninstalled\n" in out
    card = ("organisms", "card", "llama-200/edited-low", "--models", str(models))
    code, out, _ = run(*card)
    assert code == 0 and "NOT installed, so never scored" in out and "at least 0.9" in out
    assert "blocks that may move: 0, 1\nlargest change of any other weight, from the files: 0\n" in out
    file = models / "llama-200" / "models" / "edited-low" / "model.safetensors"
    tensors = load_file(file)
    kept = {name: value.clone() for name, value in tensors.items()}
    tensors["model.layers.3.mlp.down_proj.weight"][0, 0] += 0.5
    save_file(tensors, file, metadata={"format": "pt"})
    told = json.loads(run(*card, "--json")[1])
    assert told["moved_outside_now"] == pytest.approx(0.5, abs=1e-3) and told["name"] == "edited-low"
    save_file(kept, file, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("card", "nobody"), "`interp organisms list` names all"),
        (("card", "llama-0/edited-low"), "did you mean llama-200/edited-low?"),
        (("card", "llama-0/echo-low"), "and `interp organisms build` makes it"),
        (("build", "--family", "all"), "family must be one of"),
        (("build", "--only", "nobody"), "--only must name organisms of development"),
        (("build", "--first-seed", "7"), "only fresh takes a first seed"),
        (("build", "--family", "fresh", "--first-seed", "1"), "must be of no other family, got 1"),
        (("build", "--seeds", "9"), "development has 1 to 3 worlds, got 9"),
    ],
)
def test_what_cannot_be_done_is_one_line(run, models: Path, arguments, says):
    code, out, err = run("organisms", *arguments, "--models", str(models))
    assert (code, out) == (2, "") and says in err, err
    assert len(err.strip().splitlines()) == 1


def test_an_interrupt_says_what_is_kept(run, models: Path, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr("studies.organisms.family.members.make", stopped)
    code, _, err = run("organisms", "build", *FRESH, "--models", str(models))
    assert code == 130 and f"what was made is kept in {models}" in err
