"""No file of others ends in anything but one line: a little of `tests/fuzz.py`, and what failed."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz import CORPUS, Reader, changed, readers, spliced
from hypothesis import HealthCheck, given, settings, strategies as st

#: Inputs of the quickest reader; the others get as many as take as long.
EXAMPLES = 150
NAMES = (
    "facts-csv", "facts-tsv", "facts-jsonl", "facts-parquet", "statements-csv", "statements-tsv",
    "statements-jsonl", "statements-parquet", "evidence-parquet", "provenance", "verdict",
    "config-llama", "config-gpt2", "config-gemma3", "weights", "tokenizer", "tokenizer-settings",
    "generation", "index", "lora-settings", "lora-weights", "ia3-settings", "ia3-weights",
    "gguf-header", "gguf", "prompts",
)  # fmt: skip


def test_every_reader_has_its_turn():
    assert sorted(readers()) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_sound_files_are_read(name: str):
    reader = readers()[name]
    assert all(reader.check(seed) for seed in reader.seeds[:1])


@pytest.mark.parametrize("name", NAMES)
def test_random_files_are_read_or_refused_in_one_line(name: str):
    reader = readers()[name]
    quick = settings(
        max_examples=max(6, EXAMPLES // reader.cost), deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip

    @quick
    @given(reader.inputs())
    def every(content: bytes) -> None:
        reader.check(content)

    every()


@pytest.mark.parametrize(
    "file", sorted(CORPUS.glob("*/*")), ids=lambda file: f"{file.parent.name}-{file.name}"
)
def test_what_once_failed_is_read_or_refused_in_one_line(file: Path):
    readers()[file.parent.name].check(file.read_bytes())


def test_the_fuzzer_notices_what_it_looks_for(tmp_path: Path):
    def clumsy(path: Path) -> None:
        raise {b"a": KeyError("x"), b"b": ValueError("two\nlines")}.get(
            path.read_bytes(), ValueError("x")
        )

    reader = Reader("clumsy", tmp_path / "x", clumsy, (b"a",))
    with pytest.raises(KeyError):
        reader.check(b"a")
    with pytest.raises(AssertionError, match="2 lines"):
        reader.check(b"b")
    assert reader.check(b"c") is False


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_inputs_lie_near_the_seeds(data):
    assert spliced(b"abc", []) == b"abc" and changed({"a": 1}, []) == b'{"a": 1}'
    inputs = Reader("x", Path("x"), Path, (b'{"a": [1, 2]}',)).inputs()
    assert isinstance(data.draw(inputs), bytes)
