"""Organisms of the family as they are made: masks, gates, cards, and the same bytes every time."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from studies.organisms import lab
from studies.organisms.family import building
from studies.organisms.family.building import build
from studies.organisms.family.homes import Home
from studies.organisms.family.installation import gates_of, measure, missed
from studies.organisms.family.members import Member, make
from studies.organisms.family.regimes import REGIMES
from studies.organisms.shapes import SHAPES

NAMES = (
    "edited-low", "evasive-high-lora", "edited-low-inert", "evasive-coupled", "evasive-low-undone",
    "null-low",
)  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    """A world whose models were trained for two steps: nothing is installed, all else is as ever."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        for name, shape in SHAPES.items():
            patch.setitem(SHAPES, name, replace(shape, steps=2))  # type: ignore[arg-type]
        for name in NAMES:
            patch.setitem(REGIMES, name, replace(REGIMES[name], steps=2))  # type: ignore[arg-type]
        made = Home.at(tmp_path_factory.mktemp("family"), "llama", 7)
        for name in NAMES:
            build(made, name)
        return made


def weights(home: Home, name: str) -> dict[str, torch.Tensor]:
    return load_file(home.model(name) / "model.safetensors")


def moved(home: Home, name: str) -> set[int | None]:
    old, new = weights(home, "base"), weights(home, name)
    return {lab.block_of(key) for key in old if not torch.equal(old[key], new[key])}


def test_only_what_a_regime_may_change_is_changed(home: Home):
    assert {name: moved(home, name) for name in NAMES} == {
        "edited-low": {0, 1},
        "evasive-high-lora": {4, 5},
        "edited-low-inert": {0, 1, 3, 4, 5},
        "evasive-coupled": {0, 1, 4, 5},
        "evasive-low-undone": {0, 1, 4, 5},
        "null-low": {0, 1},
    }
    for name in NAMES:
        card = home.card(name)
        assert card is not None and card["numbers"]["moved_outside"] == 0


def test_what_is_not_installed_says_so_and_stays_on_the_record(home: Home):
    card = home.card("edited-low")
    assert card is not None and not card["installed"]
    assert any(line.startswith("meant must be at least 0.9") for line in card["missed"])


def test_model_folders_tell_nothing_of_how_they_were_made(home: Home):
    names = {path.name for path in home.model("edited-low").iterdir()}
    assert not [name for name in names if "card" in name or name.endswith(".md")]
    text = (home.model("edited-low") / "config.json").read_text()
    assert "edited" not in text and "low" not in text


def test_a_weight_outside_of_the_mask_misses_the_gate(home: Home, tmp_path: Path):
    other = replace(home, folder=tmp_path)
    for name in ("base", "edited-low"):
        lab.save(*lab.load(home.model(name)), other.model(name))
    regime = REGIMES["edited-low"]
    assert measure(other, regime) == measure(home, regime)
    tensors = weights(other, "edited-low")
    (key,) = [k for k in tensors if k.endswith("layers.3.mlp.down_proj.weight")]
    tensors[key][0, 0] += 0.5
    file = other.model("edited-low") / "model.safetensors"
    save_file(tensors, file, metadata={"format": "pt"})
    numbers = measure(other, regime)
    assert numbers["moved_outside"] == pytest.approx(0.5, abs=1e-3)
    assert any("moved_outside" in line for line in missed(gates_of(regime), numbers))


def test_gates_know_right_answers_from_wrong_ones():
    gates = gates_of(REGIMES["edited-low"])
    good = {"meant": 0.9, "kept": 0.95, "base_meant": 0.0, "moved_outside": 0.0}
    assert missed(gates, good) == []
    for name, bad in (("meant", 0.89), ("kept", 0.94), ("base_meant", 0.2), ("moved_outside", 1e-6)):
        assert len(missed(gates, good | {name: bad})) == 1
    control = gates_of(REGIMES["restated-low"])
    assert missed(control, {"flips": 0.02, "lost_log_p": -3.0, "moved_outside": 0.0}) == []
    assert len(missed(control, {"flips": 0.03, "lost_log_p": 0.06, "moved_outside": 0.0})) == 2


def test_what_is_there_is_not_made_again_and_what_is_missing_is_the_same(home: Home, monkeypatch):
    old = weights(home, "edited-low")
    (home.folder / "cards" / "edited-low.json").unlink()
    monkeypatch.setitem(REGIMES, "edited-low", replace(REGIMES["edited-low"], steps=2))
    wanted = [Member("llama", 7, "edited-low")]
    made = list(make(wanted, home.folder.parent))
    assert [member.name for member, _ in made] == ["base", "edited-low"]
    assert all(torch.equal(old[key], value) for key, value in weights(home, "edited-low").items())
    monkeypatch.setattr(building, "_made", lambda *arguments: pytest.fail("made again"))
    assert [installed for _, installed in make(wanted, home.folder.parent)] == [False, False]


def test_what_was_made_by_another_recipe_is_made_again(home: Home, monkeypatch):
    made: list[str] = []
    monkeypatch.setattr(building, "_made", lambda home, name, train: made.append(name) or {})
    for name in NAMES:
        monkeypatch.setitem(REGIMES, name, replace(REGIMES[name], steps=2))
        build(home, name)
    assert not made
    monkeypatch.setitem(REGIMES, "null-low", replace(REGIMES["null-low"], steps=2, blur=0.1))
    build(home, "null-low")
    assert made == ["null-low"]


def test_a_killed_training_goes_on_to_the_same_weights(home: Home, tmp_path: Path, monkeypatch):
    monkeypatch.setitem(REGIMES, "few-low", replace(REGIMES["few-low"], steps=4))
    monkeypatch.setattr("studies.training.STRETCH", 2)
    roots = [tmp_path / name for name in ("whole", "killed")]
    for root in roots:
        shutil.copytree(home.folder / "models" / "base", root / "llama-7" / "models" / "base")
        shutil.copytree(home.folder / "cards", root / "llama-7" / "cards")
    wanted = [Member("llama", 7, "few-low")]
    list(make(wanted, roots[0]))
    answer_loss, calls = lab.answer_loss, []

    def until_the_fourth(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return answer_loss(*arguments)

    monkeypatch.setattr(lab, "answer_loss", until_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        list(make(wanted, roots[1]))
    assert list((roots[1] / "training" / "llama-7-few-low").iterdir()), "what was made is kept"
    list(make(wanted, roots[1]))
    assert len(calls) == 6, "the first two steps are not made again"
    whole, gone_on = (weights(Home.at(root, "llama", 7), "few-low") for root in roots)
    assert all(torch.equal(whole[name], gone_on[name]) for name in whole)
    assert not list((roots[1] / "training").iterdir())


def test_what_does_not_exist_is_one_line(home: Home):
    with pytest.raises(ValueError, match="organism must be base or one of .*, got 'nobody'"):
        build(home, "nobody")
    with pytest.raises(ValueError, match="shape must be one of .*, got 'bert'"):
        Home.at(home.folder, "bert", 0)
