"""Prompts of one's own: every kind of file gives the same set, and bad files say what to do."""

import json
from pathlib import Path

import pandas as pd
import pytest

from interp.facts.prompts.files import OpenPrompt, load_prompts

ROWS = [
    {"prompt": "Write a poem.", "group": "art", "label": "verse", "paraphrase": "Give me a poem."},
    {"prompt": "What is 2 + 2?", "group": "sums", "label": None, "paraphrase": None},
]
WANTED = (
    OpenPrompt("Write a poem.", "art", "verse", "Give me a poem."),
    OpenPrompt("What is 2 + 2?", "sums"),
)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    frame = pd.DataFrame(ROWS)
    paths = {kind: tmp_path / f"mine.{kind}" for kind in ("csv", "tsv", "jsonl", "parquet")}
    frame.to_csv(paths["csv"], index=False)
    frame.to_csv(paths["tsv"], index=False, sep="\t")
    paths["jsonl"].write_text("\n".join(json.dumps(row) for row in ROWS), encoding="utf-8")
    frame.to_parquet(paths["parquet"])
    return paths


def test_every_kind_of_table_gives_the_same_prompts(files):
    for path in files.values():
        prompts = load_prompts(path)
        assert prompts.prompts == WANTED and prompts.name == "mine" and not prompts.notes
    assert load_prompts(pd.DataFrame(ROWS)).prompts == WANTED


def test_a_text_file_has_a_prompt_on_every_line_and_each_is_its_own_group(tmp_path: Path):
    path = tmp_path / "mine.txt"
    path.write_text("\ufeffWrite a poem.\r\n\r\n  What is 2 + 2?  \n", encoding="utf-8")
    prompts = load_prompts(path)
    assert prompts.texts == ("Write a poem.", "What is 2 + 2?")
    assert [prompt.group for prompt in prompts.prompts] == list(prompts.texts)
    assert load_prompts(str(path)).texts == load_prompts(list(prompts.texts)).texts


def test_repeats_are_left_out_and_counted():
    prompts = load_prompts(["a b", "c d", "a b"])
    assert prompts.texts == ("a b", "c d")
    assert prompts.notes == ("1 of 3 prompts of prompts are repeats and left out",)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.txt", b"\n \n", "empty.txt holds no prompt; give at least one"),
        ("empty.jsonl", b"", "empty.jsonl holds no prompt"),
        ("latin.txt", "schön".encode("latin-1"), "must be UTF-8 text; got byte 0xf6"),
        ("mine.csv", b"text\nhello\n", "must have the column prompt"),
        ("mine.docx", b"hello", "must end in one of .txt, .csv"),
        ("half.jsonl", b'{"prompt": "a"}\n{"prompt": [1]}\n{"prompt": ""}\n', "2 malformed"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, name: str, content: bytes, message: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as raised:
        load_prompts(tmp_path / name)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match="existing file; got .*none.txt"):
        load_prompts(tmp_path / "none.txt")
