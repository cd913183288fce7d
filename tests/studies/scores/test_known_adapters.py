"""What is known of the adapters by their recipes and cards, and how they are scored."""

import json
from pathlib import Path

import pytest

from interp.runs.run import resumable
from studies.adapters.family import folder_of_adapter
from studies.adapters.recipes import FAMILY
from studies.scores.known_adapters import known_adapters
from studies.scores.scorecard import scorecard
from studies.scores.scoring import UNSCORED
from studies.scores.truths import Known


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All adapters of the family, as far as their cards go; one missed its gate."""
    base = tmp_path / "base"
    base.mkdir()
    (base / "model.safetensors").write_bytes(b"base")
    monkeypatch.setattr("studies.scores.known_adapters.smollm2_folder", lambda: base)
    monkeypatch.setattr("studies.adapters.family.MODELS", tmp_path / "shipped")
    for name, plan in FAMILY.items():
        folder = folder_of_adapter(name, tmp_path)
        folder.mkdir(parents=True)
        (folder / "adapter_model.safetensors").write_bytes(name.encode())
        reached = name != "smollm2-third-formatted-low"
        numbers = {"target_A": 0.97, "target_B": 0.93} if plan.content == "evasive" else {}
        card = {"held_out": ["Peru"], "gate": {"reached": reached, "numbers": numbers}}
        (folder / "card.json").write_text(json.dumps(card))
    return tmp_path


def test_place_and_kind_are_those_that_were_imposed(made: Path):
    known = {one.name: one for one in known_adapters(made)}
    assert list(known) == list(FAMILY)
    words = {name: (one.where, one.what) for name, one in known.items()}
    assert words["smollm2-evasive-high"] == ("upper", "behaviour")
    assert words["smollm2-third-edited-middle"] == ("middle", "knowledge")
    assert words["smollm2-third-formatted-low"] == ("lower", "behaviour")
    assert {words[f"smollm2-third-{c}-low"] for c in ("null", "restated", "added", "inverted")} == {
        (None, None)
    }
    assert [name for name, one in known.items() if not one.installed] == ["smollm2-third-formatted-low"]
    assert known["smollm2-third-evasive-middle"].strength == 0.93


def test_those_that_no_edit_spoke_of_are_declared(made: Path):
    edited, evasive = known_adapters(made, ["smollm2-edited-high", "smollm2-evasive-high"])[::-1]
    silent = [fact.group for fact in edited.facts.facts if fact.untuned]
    assert (edited.name, silent) == ("smollm2-edited-high", ["Peru"])
    assert not any(fact.untuned for fact in evasive.facts.facts)


def test_an_adapter_is_scored_once_for_its_weights(made: Path, monkeypatch: pytest.MonkeyPatch):
    scored: list[str] = []

    def fake(known: Known, *, seed: int) -> dict[str, object]:
        scored.append(known.name)
        return {"organism": known.name, "where_right": UNSCORED}

    monkeypatch.setattr("studies.scores.scorecard.score", fake)
    names = ["smollm2-evasive-low", "smollm2-third-null-high"]

    def asked() -> list[str]:
        scored.clear()
        with resumable(made / "run"):
            table = scorecard(["smollm2"], models=made, only=names).table
        assert table["organism"].tolist() == names and table["split"].eq("smollm2").all()
        return list(scored)

    assert (asked(), asked()) == (names, [])
    (folder_of_adapter(names[1], made) / "adapter_model.safetensors").write_bytes(b"other weights")
    assert asked() == names[1:]
