"""Adapters of the family: which are trained, where they come to lie, what is left of a failure."""

from dataclasses import replace
from pathlib import Path

import pytest

from interp.runs.run import resumable
from studies.adapters import family, recipes
from studies.adapters.family import folder_of_adapter, make_adapters

NAMES = ["smollm2-evasive-high", "smollm2-third-formatted-high", "smollm2-third-null-low"]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []

    def train(plan: recipes.Recipe, base: str = "", out: Path = Path(), **_: object) -> None:
        names.append(plan.name)
        out.mkdir(parents=True)
        (out / "adapter_config.json").write_text("{}")
        if plan.content == "null" and names.count(plan.name) == 1:
            raise RuntimeError("the power went")
        (out / "card.json").write_text("{}")

    monkeypatch.setattr("studies.adapters.train.train", train)
    return names


def test_what_ships_and_what_is_there_is_not_trained_again(trained: list[str], tmp_path: Path):
    make_adapters(NAMES[:2], tmp_path)
    make_adapters(NAMES[:2], tmp_path)
    assert trained == NAMES[1:2]
    made = folder_of_adapter(NAMES[1], tmp_path)
    assert (made / "card.json").exists() and made.is_relative_to(tmp_path)
    assert (folder_of_adapter(NAMES[0], tmp_path) / "adapter_model.safetensors").exists()


def test_a_training_that_fails_leaves_no_adapter_and_can_be_done_again(
    trained: list[str], tmp_path: Path
):
    with pytest.raises(RuntimeError, match="the power went"):
        make_adapters(NAMES, tmp_path)
    assert not folder_of_adapter(NAMES[2], tmp_path).exists()
    with resumable(tmp_path / "run"):
        make_adapters(NAMES, tmp_path)
    assert trained == [*NAMES[1:], NAMES[2]]
    assert sorted(path.name for path in (tmp_path / family.ADAPTERS).iterdir()) == NAMES[1:]


def test_those_that_ship_stand_for_themselves_in_the_family():
    for name in ("smollm2-evasive-low", "smollm2-edited-high"):
        assert recipes.FAMILY[name] is recipes.RECIPES[name] is recipes.recipe(name)
    other = replace(recipes.RECIPES["smollm2-null"], first=0, last=9)
    third = recipes.recipe("smollm2-third-null-low")
    assert (third.content, third.blocks) == (other.content, other.blocks) and third != other
