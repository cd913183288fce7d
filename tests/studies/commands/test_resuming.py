"""`interp compare --resume`, `--shard`, `merge` and `verify`: killed, joined and checked runs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import commanding
import kills
import pytest

from interp.evidence import Evidence
from interp.facts.loading import load_facts
from interp.runs import distributing, run as runs
from interp.runs.run import Run
from interp.verdict.thresholds import Thresholds
from studies.comparison.result import Comparison

FACTS = 16
PAIR = ("--base", "organism-base", "--tuned", "organism-evasive-high", "--facts", "some.csv")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a few facts of the organisms' world."""
    here = tmp_path_factory.mktemp("resuming")
    world = load_facts("world")
    lines = [f"# template: {template}" for template in world.templates]
    names = world.attribute_names
    lines.append(",".join(("subject", "answer", *names)))
    columns = [world.subjects, world.answers, *(world.attribute(name) for name in names)]
    lines += [",".join(map(str, row)) for row in zip(*(c[:FACTS] for c in columns), strict=True)]
    (here / "some.csv").write_text("\n".join(lines))
    return here


@pytest.fixture(scope="module")
def run(place: Path):
    """Run the command in this process; its exit code."""
    few = Thresholds(placebo_shifts=3, placebo_groups=4)
    patches = {
        "interp.report.page.gallery": lambda *_, **__: [],  # figures take their time
        "studies.comparison.comparing.Thresholds": lambda: few,
    }
    with commanding.command_in(place, patches) as command:
        yield command


@pytest.fixture(scope="module")
def plain(run, place: Path) -> Path:
    """An uninterrupted comparison."""
    assert run("compare", *PAIR, "--out", "plain") == 0
    return place / "plain"


def tables(folder: Path) -> dict[str, bytes]:
    """What must be the same bytes."""
    names = ("evidence.parquet", "verdict.json", "outputs.csv")
    return {name: (folder / name).read_bytes() for name in names}


def test_an_interrupted_comparison_is_gone_on_with_to_the_same_bytes(
    run, plain: Path, place: Path, monkeypatch, capsys
):
    made: list[str] = []
    unit = Run.unit

    def counting(self: Run, key: str, name: str, make: Callable[[], object], *, mine: bool = True):
        def counted() -> object:
            if len(made) in (3, 40):
                made.append("interrupted")
                raise KeyboardInterrupt
            made.append(name)
            return make()

        return unit(self, key, name, counted, mine=mine)

    with monkeypatch.context() as patched:
        patched.setattr(Run, "unit", counting)
        again = ("compare", *PAIR, "--out", "killed", "--resume")
        for _ in range(2):
            assert run(*again) == 130
            line = capsys.readouterr().err.strip().splitlines()[-1]
            assert line == (
                "interrupted; what was made is kept in killed; the same command goes on from there"
            )
        assert run("compare", *PAIR, "--out", "killed") == 2
        assert "has not ended; add --resume to go on with it" in capsys.readouterr().err
        assert run("compare", *PAIR, "--out", "killed", "--resume", "--seed", "1") == 2
        assert "killed is of another run: seed was 0, is 1" in capsys.readouterr().err
        assert run(*again) == 0
    begun = made.count("interrupted")
    assert begun == 2 and len(made) > 60
    assert tables(place / "killed") == tables(plain)
    assert not (place / "killed" / "units").exists() and not list((place / "killed").glob("*.lock"))
    capsys.readouterr()
    assert run(*again) == 0
    assert capsys.readouterr().out.startswith("finished already")
    assert run("compare", *PAIR, "--out", "killed", "--resume", "--seed", "1") == 2
    assert "seed was 0, is 1" in capsys.readouterr().err


def test_shards_merged_are_one_run(run, plain: Path, place: Path, capsys):
    for i in (1, 2):
        assert run("compare", *PAIR, "--out", f"part-{i}", "--shard", f"{i}/2") == 0
        assert f"shard {i} of 2 is done" in capsys.readouterr().out
        assert not (place / f"part-{i}" / "report.html").exists()
    assert run("merge", "part-2", "--out", "whole") == 2
    assert "of 2 shards 1/2 are missing" in capsys.readouterr().err and not (place / "whole").exists()
    assert run("merge", "part-2", "part-1", "--out", "whole") == 0
    assert tables(place / "whole") == tables(plain)


@pytest.mark.slow
def test_shards_may_share_a_folder_and_go_round_again(
    run, plain: Path, place: Path, monkeypatch, capsys
):
    opened: list[Run] = []
    begin = Run.__init__

    def note(self: Run, *args: object) -> None:
        begin(self, *args)  # pyright: ignore
        opened.append(self)

    monkeypatch.setattr(Run, "__init__", note)
    for i in (2, 1, 2):  # what rests on the first share of both is shared out when all is there
        assert run("compare", *PAIR, "--out", "shared", "--shard", f"{i}/2") == 0
    assert run("merge", "shared", "--out", "shared") == 0
    assert [r.made > 0 for r in opened] == [True, True, True, False]
    assert tables(place / "shared") == tables(plain)


def test_options_that_need_others_say_so(run, capsys):
    for options, message in (
        (("--engine", "ray"), "--engine ray needs the folder of the run; give --out"),
        (("--engine", "dask"), "--engine must be local or ray, got 'dask'"),
        (("--workers", "2"), "--address, --workers and --gpus are of a cluster; add --engine ray"),
        (("--engine", "ray", "--gpus", "2"), "--gpus 2 leaves all but one idle with --device cpu"),
        (("--engine", "ray", "--shard", "1/2", "--out", "new"), "leave --shard out"),
        (("--resume",), "--resume needs the folder of the run; give --out"),
        (("--shard", "1/2"), "--shard needs the folder of the run; give --out"),
        (("--shard", "5/2", "--out", "new"), "shard must be NUMBER/COUNT"),
    ):
        assert run("compare", *PAIR, *options) == 2
        assert message in capsys.readouterr().err
    assert not Path("new").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [((), 0), (("--device", "cuda"), 1), (("--device", "auto"), None),
     (("--device", "auto", "--gpus", "4"), 4)],
)  # fmt: skip
def test_workers_are_given_the_gpus_that_their_device_needs(
    run, place: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], expected: int | None
):
    asked: list[int | None] = []

    def distribute(*work: object, gpus: int | None, **given: object) -> None:
        asked.append(gpus)
        raise ValueError("enough")

    monkeypatch.setattr(distributing, "distribute", distribute)
    assert run("compare", *PAIR, "--out", "workers", "--engine", "ray", *options) == 2
    assert asked == [expected]


def test_a_finished_run_is_verified_and_one_changed_byte_is_named(
    run, plain: Path, place: Path, capsys
):
    capsys.readouterr()
    assert run("verify", "plain") == 0
    files, cells = capsys.readouterr().out.strip().splitlines()
    assert files == "files: all as they were saved"
    assert int(cells.split()[1]) > 50 and "measured again" in cells
    shutil.copytree(plain, place / "changed")
    data = bytearray((place / "changed" / "evidence.parquet").read_bytes())
    data[len(data) // 3] ^= 1
    (place / "changed" / "evidence.parquet").write_bytes(data)
    assert run("verify", "changed", "--files") == 2
    assert "evidence.parquet has changed since it was saved" in capsys.readouterr().err


@pytest.mark.slow
def test_numbers_that_the_models_do_not_give_are_named(run, plain: Path, place: Path, capsys):
    from interp.runs.checksums import write_checksums

    forged = shutil.copytree(plain, place / "forged")
    evidence = Evidence.load(forged / "evidence.parquet")
    evidence.table["value"] = evidence.table["value"] + 1.0
    evidence.save(forged)
    write_checksums(forged)
    assert run("verify", "forged") == 2
    assert "cells differ: stitch" in capsys.readouterr().err
    known = json.loads((forged / "verdict.json").read_text())
    known["provenance"]["tuned"]["fingerprint"] = "0" * 32
    (forged / "verdict.json").write_text(json.dumps(known))
    write_checksums(forged)
    assert run("verify", "forged") == 2
    assert "holds other weights than the tuned model" in capsys.readouterr().err


@pytest.mark.slow
def test_a_comparison_in_python_is_resumed_as_well(plain: Path, place: Path, monkeypatch):
    import interp
    import studies

    pair = interp.load_pair("organism-base", "organism-evasive-high")
    whole = runs.Run.unit
    left = [5]

    def stopping(self: Run, *args: object, **options: object) -> object:
        left[0] -= 1
        if left[0] == 0:
            raise RuntimeError("stopped")
        return whole(self, *args, **options)  # pyright: ignore

    facts = interp.load_facts(place / "some.csv")
    with monkeypatch.context() as patched:
        patched.setattr(Run, "unit", stopping)
        with pytest.raises(RuntimeError, match="stopped"):
            studies.compare(pair, facts, resume=place / "python")
    assert list((place / "python" / "units").iterdir())
    comparison = studies.compare(pair, facts, resume=place / "python")
    assert isinstance(comparison, Comparison)
    saved = Evidence.load(plain / "evidence.parquet").table
    assert saved["value"].tolist() == comparison.evidence.table["value"].tolist()


@pytest.mark.slow
def test_twenty_kills_at_random_instants_end_in_the_same_bytes(plain: Path, place: Path):
    """A process killed at any time, anywhere; each start makes at most one unit anew."""
    code = (
        "import interp.report.page as page; page.gallery = lambda *_, **__: []\n"
        "from studies.cli import main; main()"
    )
    command, folder = kills.python(code, "compare", *PAIR, "--out", "torn", "--resume"), place / "torn"
    killed = kills.kill_often(command, folder)
    begun = kills.begun_units(folder)
    assert len(begun) - len(set(begun)) <= killed, "each start makes at most one unit anew"
    kills.to_its_end(command, folder)
    assert tables(folder) == tables(plain)
    assert killed >= 5, "it was killed in earnest"
