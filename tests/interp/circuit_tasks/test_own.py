"""Items of one's own: the shapes that are read, what is written, and what is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from interp.circuit_tasks import TaskItem, read_items, write_items

ROW = {"clean": "France:", "corrupted": "Spain:", "answers": ["Paris"], "foils": "Madrid", "group": "g"}
ITEM = TaskItem("France:", "Spain:", ("Paris",), ("Madrid",), "g")


def written(folder: Path, content: Any, name: str = "mine.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_a_list_and_lines_give_the_same_items(tmp_path: Path):
    lines = "\n".join(json.dumps(row) for row in (ROW, ROW)) + "\n\n"
    assert read_items(written(tmp_path, [ROW, ROW])) == (ITEM, ITEM)
    assert read_items(written(tmp_path, lines, "mine.jsonl")) == (ITEM, ITEM)


def test_auto_circuit_prompts_are_taken_as_they_are_written(tmp_path: Path):
    prompts = [{"clean": "to 13", "corrupt": "to 12", "answers": ["64", "65"], "wrong_answers": ["01"]}]
    (item,) = read_items(written(tmp_path, {"prompts": prompts, "seq_labels": ["a"]}))
    assert item == TaskItem("to 13", "to 12", ("64", "65"), ("01",), between="")


def test_items_come_back_as_they_went(tmp_path: Path):
    items = [ITEM, TaskItem("to 13", "to 12", ("64", "65"), ("01",), between="", template="B")]
    path = write_items(items, tmp_path / "out.json")
    back = read_items(path)
    assert back[1] == items[1]
    assert back[0] == TaskItem("France:", "Spain:", (" Paris",), (" Madrid",), "g", between="")
    assert set(json.loads(path.read_text())["prompts"][0]) >= {
        "clean",
        "corrupt",
        "answers",
        "wrong_answers",
    }
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([{**ROW, "foils": None}], "item 1: has no foils or foil or wrong_answers"),
        ([ROW, {**ROW, "clean": [1, 2]}], "1 of 2 malformed: item 2: clean must be text"),
        (
            {"prompts": [{**ROW, "answers": [[1], [2]]}]},
            "answers must be text.*token ids are of one model",
        ),
        ([{**ROW, "between": 3}], "between must be text"),
        ([{**ROW, "foils": "Paris"}], "is answer and foil"),
        ([3], "got int, expected an object"),
        ([], "an empty list"),
        ({"items": []}, "got dict"),
        ("{", "is not JSON"),
    ],
)
def test_what_is_no_item_is_one_line(tmp_path: Path, content: Any, told: str):
    with pytest.raises(ValueError, match=told) as error:
        read_items(written(tmp_path, content))
    assert "\n" not in str(error.value)


def test_other_files_are_refused(tmp_path: Path):
    for name, told in (("mine.csv", "must end in .json or .jsonl"), ("none.json", "existing file")):
        with pytest.raises(ValueError, match=told):
            read_items(tmp_path / name)
    with pytest.raises(ValueError, match="written to a .json file"):
        write_items([ITEM], tmp_path / "x.jsonl")
