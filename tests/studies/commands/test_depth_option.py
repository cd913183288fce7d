"""`--depth`: an option without a value, of facts only, that a run's folder remembers."""

from pathlib import Path

import pytest

from studies.commands.comparing import work_of
from studies.commands.work import VERDICT, Work, fresh
from studies.comparison.stages import WHOLE, with_depth


def work(*, depth: bool, prompts: str | None = None) -> Work:
    return work_of(
        None, None, None, "raw", None, "cpu", "float32", 2.0, 0, prompts=prompts, depth=depth
    )


def test_it_has_no_value_and_a_folder_remembers_it(tmp_path: Path):
    assert work(depth=True).options()[-1] == "--depth"
    assert "--depth" not in work(depth=False).options()
    work(depth=True).noted(tmp_path)
    assert Work.of(tmp_path) == work(depth=True) != work(depth=False)


def test_it_is_of_facts():
    with pytest.raises(ValueError, match="--depth is of facts") as caught:
        work(depth=True, prompts="prompts.txt")
    assert "\n" not in str(caught.value)


def test_its_stage_stands_before_the_writing():
    assert list(with_depth(WHOLE, True))[-2:] == ["depth", "writing"]
    assert with_depth(WHOLE, False) == WHOLE


@pytest.mark.parametrize("kept", [True, False])
def test_a_verdict_that_is_there_stays_when_the_rest_fails(tmp_path: Path, kept: bool):
    out = tmp_path / "out"
    with pytest.raises(RuntimeError), fresh(out) as folder:
        if kept:
            (folder / VERDICT).write_text("{}")
        raise RuntimeError
    assert out.exists() == kept
