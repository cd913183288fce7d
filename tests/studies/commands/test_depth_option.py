"""`--depth`: an option without a value, of facts only, that a run's folder remembers."""

from pathlib import Path

import pytest

from studies.commands.runs.asked_for import comparison_of
from studies.commands.runs.begun import work_of
from studies.commands.runs.comparison import ComparisonWork
from studies.commands.runs.folders import VERDICT, fresh


def work(*, depth: bool, prompts: str | None = None) -> ComparisonWork:
    return comparison_of(
        base=None, tuned=None, prompts=prompts, depth=depth, device="cpu", dtype="float32", budget=2.0,
        seed=0,
    )  # fmt: skip


def test_it_has_no_value_and_a_folder_remembers_it(tmp_path: Path):
    assert work(depth=True).options()[-1] == "--depth"
    assert "--depth" not in work(depth=False).options()
    asked = work(depth=True).options()
    assert asked[asked.index("--seed") + 1] == "0"
    work(depth=True).note(tmp_path)
    assert work_of(tmp_path) == work(depth=True) != work(depth=False)


def test_it_is_of_facts():
    with pytest.raises(ValueError, match="--depth is of facts") as caught:
        work(depth=True, prompts="prompts.txt")
    assert "\n" not in str(caught.value)


def test_its_stage_stands_before_the_writing():
    assert list(work(depth=True).stages)[-2:] == ["depth", "writing"]
    assert "depth" not in work(depth=False).stages


@pytest.mark.parametrize("kept", [True, False])
def test_a_verdict_that_is_there_stays_when_the_rest_fails(tmp_path: Path, kept: bool):
    out = tmp_path / "out"
    with pytest.raises(RuntimeError), fresh(out, keeps=VERDICT) as folder:
        if kept:
            (folder / VERDICT).write_text("{}")
        raise RuntimeError
    assert out.exists() == kept
