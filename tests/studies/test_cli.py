"""The command line: what goes wrong is one line and exit code 2, and leaves nothing behind."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import commanding
import pytest
import tiny
from safetensors.torch import load_file, save_file

from interp.facts.loading import load_facts
from interp.verdict.thresholds import Thresholds
from studies import cli
from studies.commands.runs import asked_for

FACTS = "# template: The capital of {subject} is\n# template: In {subject} the capital is\n"
FACTS += "subject,answer\n" + "".join(f"land{i},city{i} new\n" for i in range(4))


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tokenizer) -> Path:
    """A tiny base and tunes of it that cannot be compared, each for one reason."""
    here = tmp_path_factory.mktemp("models")
    for name, seed, changes in (
        ("base", 0, {}),
        ("tuned", 1, {}),
        ("shallow", 1, {"num_hidden_layers": 2}),
        ("narrow", 1, {"num_key_value_heads": 1}),
    ):
        tiny.hf_model("llama", seed, **changes).save_pretrained(here / name)
        tokenizer.save_pretrained(here / name)
    for name in ("broken", "moved", "pickled", "bare"):
        shutil.copytree(here / "tuned", here / name)
    weights = load_file(here / "broken" / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, here / "broken" / "model.safetensors", metadata={"format": "pt"})
    written = json.loads((here / "moved" / "tokenizer.json").read_text())
    words = written["model"]["vocab"]
    words["land0"], words["land1"] = words["land1"], words["land0"]
    (here / "moved" / "tokenizer.json").write_text(json.dumps(written))
    (here / "pickled" / "model.safetensors").rename(here / "pickled" / "pytorch_model.bin")
    for file in (here / "bare").glob("tokenizer*"):
        file.unlink()
    return here


@pytest.fixture
def place(tmp_path: Path, folders: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with facts, good and bad; models are named from it as ../NAME."""
    (tmp_path / "models").symlink_to(folders)
    here = tmp_path / "here"
    here.mkdir()
    (here / "good.csv").write_text(FACTS)
    (here / "ragged.csv").write_text(FACTS + "land9\nland8,\n")
    (here / "bare.csv").write_text("subject,answer\nland0,city0\n")
    (here / "long.csv").write_text(FACTS.replace("The capital", "new " * 70 + "capital"))
    (here / "empty.csv").write_text(FACTS[: FACTS.index("land0,")])
    (here / "twice.csv").write_text(FACTS + "land0,city7\n")
    (here / "facts.txt").write_text(FACTS)
    (here / "file").write_text("a regular file")
    (here / "taken").mkdir()
    (here / "taken" / "report.html").write_text("an earlier report")
    monkeypatch.chdir(here)
    monkeypatch.setattr("interp.models.sources._hub_answers", lambda: False)
    return here


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of the command in this process."""
    return commanding.command(monkeypatch)(*arguments)


def contents(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder."""
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None
        for p in sorted(folder.rglob("*"))
    }


@pytest.fixture
def fails(place: Path, monkeypatch, capsys) -> Callable[..., str]:
    """Run a command that must fail as a user's error does; gives its one line."""

    def check(*arguments: str) -> str:
        before = contents(place)
        assert run(monkeypatch, *arguments) == 2
        out, err = capsys.readouterr()
        assert contents(place) == before, "something was written, overwritten or left behind"
        assert out == ""
        lines = err.strip().splitlines()
        assert len(lines) == 1 and lines[0].startswith("interp: "), err
        return lines[0]

    return check


#: A process elsewhere still runs this code.
HERE = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}
BASE = ("--base", "../models/base")
TUNED = ("--tuned", "../models/tuned")
PAIR = (*BASE, *TUNED)
GOOD = ("--facts", "good.csv")
BAD = {
    "missing facts file": ((*PAIR, "--facts", "nowhere.csv"), "existing file; got nowhere.csv"),
    "facts before models": (("--base", "no", "--tuned", "no", "--facts", "nowhere.csv"), "nowhere.csv"),
    "missing model folder": ((*GOOD, *TUNED, "--base", "../models/none"), "no model '../models/none'"),
    "unknown model": ((*GOOD, "--base", "smollm3", "--tuned", "a"), "'smollm3'.*mean 'smollm2'"),
    "a base alone": (("--base", "smollm2", *GOOD), "--base smollm2 needs .* give --tuned"),
    "a tuned model alone": (("--tuned", "../models/tuned", *GOOD), "tuned from; give --base"),
    "no facts": ((*PAIR, "--resume", "--out", "new"), "needs facts to be asked about; give --facts"),
    "models without options": (("a", "b"), "unexpected extra argument.* are options: --base BASE"),
    "unknown tuned": (("--tuned", "organism-nothing"), "no model 'organism-nothing'"),
    "unknown null": (("--null", "organism-nothing"), "no model 'organism-nothing'"),
    "hub id offline": ((*GOOD, "--base", "nobody/no", *TUNED), "the hub did not give it"),
    "unknown facts": (("--facts", "rivers"), "facts must be one of capitals, .*; got 'rivers'"),
    "malformed rows": ((*PAIR, "--facts", "ragged.csv"), "got 2 malformed: line 8: 1 cells where"),
    "contradicting rows": ((*PAIR, "--facts", "twice.csv"), "'land0' contradicts"),
    "no templates": ((*PAIR, "--facts", "bare.csv"), "at least one template"),
    "no rows": ((*PAIR, "--facts", "empty.csv"), "at least one row"),
    "other suffix": ((*PAIR, "--facts", "facts.txt"), "must end in one of .csv, .jsonl, .parquet"),
    "facts are a folder": ((*PAIR, "--facts", "taken"), "existing file; got taken"),
    "other tokenizer": ((*BASE, "--tuned", "../models/moved", *GOOD), "tokenise .*land0.* diff"),
    "other depth": ((*BASE, "--tuned", "../models/shallow", *GOOD), r"depth \(blocks\): base 3"),
    "other heads": ((*BASE, "--tuned", "../models/narrow", *GOOD), "key-value heads: base 2"),
    "other family": ((*BASE, "--tuned", "organism-base", *GOOD), "cannot be compared"),
    "long prompt": ((*PAIR, "--facts", "long.csv"), "no fact of 'long' can be asked: 74 tokens"),
    "nothing known": ((*PAIR, *GOOD), "right answer first for 0 of the facts of 'good'"),
    "NaN weights": ((*BASE, "--tuned", "../models/broken", *GOOD), "model.norm.weight holds NaN"),
    "pickled weights": ((*BASE, "--tuned", "../models/pickled", *GOOD), "pickled weights"),
    "no tokenizer": (("--base", "../models/bare", *TUNED, *GOOD), "holds no tokenizer"),
    "a file as model": (("--base", "file", *TUNED, *GOOD), "got the file file; give the folder"),
    "unwritable output": ((*PAIR, *GOOD, "--out", "file/below"), "--out file/below cannot be written"),
    "output is a file": ((*PAIR, *GOOD, "--out", "file"), "--out file exists"),
    "existing output": (("--out", "taken"), "--out taken exists and is not empty; nothing is overw"),
    "new output": ((*PAIR, *GOOD, "--out", "new/and/deep"), "0 of the facts"),
    "unknown prompt": (("--prompt", "poem"), "--prompt must be raw or chat, got 'poem'"),
    "no chat template": ((*PAIR, *GOOD, "--prompt", "chat"), "../models/tuned has none; use --prompt"),
    "unknown dtype": (("--dtype", "int8"), "dtype must be one of"),
    "unknown device": (("--device", "nowhere"), "device must be one that torch finds here"),
    "tiny budget": (("--budget", "0"), "--budget"),
    "negative seed": (("--seed", "-1"), "--seed"),
    "facts and prompts": ((*GOOD, "--prompts", "p.txt"), "got both --facts good.csv and --prompts p"),
    "tokens of facts": ((*PAIR, *GOOD, "--tokens", "3"), "--tokens and --readout are of prompts"),
    "missing prompts": ((*PAIR, "--prompts", "p.txt"), "existing file; got p.txt"),
    "prompts are facts": ((*PAIR, "--prompts", "good.csv"), "good.csv must have the column prompt"),
    "unknown option": (("--temperature", "1"), "No such option: --temperature"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_leaves_nothing_behind(case: str, fails):
    arguments, message = BAD[case]
    line = fails("compare", *arguments)
    assert re.search(message, line), line


def test_an_unknown_command_is_named(fails):
    assert "No such command 'comparison'" in fails("comparison")
    assert "options" not in fails("list", "everything")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ((None, None), ("organism-base", "organism-edited-low")),
        ((None, "organism-null"), ("organism-base", "organism-null")),
        (("organism-base", None), ("organism-base", "organism-edited-low")),
        (("mine", "mine-tuned"), ("mine", "mine-tuned")),
    ],
)
def test_defaults_stand_beside_the_default_world_only(given, meant):
    assert asked_for.pair_of(*given) == meant
    if meant[0] == "organism-base":
        assert asked_for.facts_of(meant[0], None) == "world"
    assert asked_for.facts_of(meant[0], "capitals") == "capitals"


def test_the_version_is_told(monkeypatch, capsys):
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr() == (f"interp {version('interp')}\n", "")


def test_an_empty_output_folder_that_was_there_stays(place: Path, monkeypatch, capsys):
    (place / "mine").mkdir()
    assert run(monkeypatch, "compare", *PAIR, *GOOD, "--out", "mine") == 2
    assert (place / "mine").is_dir() and not list((place / "mine").iterdir())
    capsys.readouterr()


def test_a_failure_while_writing_removes_what_was_written(place: Path, monkeypatch, capsys):
    def torn(self, folder: Path, **options):
        (folder / "verdict.json").write_text("{")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("studies.comparison.comparing.Comparison.save", torn)
    before = contents(place)
    same = ("--tuned", "organism-base", "--facts", "world")
    assert run(monkeypatch, "compare", *same, "--out", "out/deep") == 2
    err = capsys.readouterr().err.strip().splitlines()[-1]
    assert err.startswith("interp: ") and "No space left on device" in err
    assert contents(place) == before


def test_an_interrupt_says_in_one_line_what_was_kept(place: Path, monkeypatch, capsys):
    def slow(*args, **kwargs):
        raise KeyboardInterrupt

    for where in (
        "interp.facts.loading.load_facts",
        "interp.models.loading.load_pair",
        "studies.comparison.comparing.compare",
    ):
        with monkeypatch.context() as patched:
            patched.setattr(where, slow)
            before = contents(place)
            assert run(patched, "compare", "--out", "out/deep") == 130
            out, err = capsys.readouterr()
            assert contents(place) == before and out == ""
            (line,) = err.strip().splitlines()
            assert line.startswith("interrupted; nothing of this run was kept")


def test_an_interrupted_process_ends_with_130_and_one_line(place: Path):
    code = (
        "import os, signal; import interp.facts.loading\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "interp.facts.loading.load_facts = lambda *_: os.kill(os.getpid(), signal.SIGINT)\n"
        "from studies.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "compare"], cwd=place, env=HERE, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "nothing of this run was kept" in done.stderr
    assert not (place / "interp-runs").exists()


def test_a_terminal_is_told_at_once_what_begins(place: Path, monkeypatch, capsys):
    told = []
    monkeypatch.setattr("studies.commands.runs.work.announce", told.append)
    monkeypatch.setattr(
        "interp.facts.loading.load_facts", lambda *_: (_ for _ in ()).throw(ValueError("stop"))
    )
    assert run(monkeypatch, "compare") == 2
    assert told == ["comparing organism-edited-low with organism-base on world; reading them …"]
    capsys.readouterr()


def test_the_command_is_a_module_too(place: Path):
    done = subprocess.run(
        [sys.executable, "-m", "studies.cli", "--version"],
        cwd=Path(cli.__file__).parents[1], capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, f"interp {version('interp')}\n")


def test_our_own_mistakes_keep_their_traceback(place: Path, monkeypatch):
    def wrong(*args, **kwargs):
        raise KeyError("a mistake of ours")

    monkeypatch.setattr("interp.facts.loading.load_facts", wrong)
    with pytest.raises(KeyError, match="a mistake of ours"):
        run(monkeypatch, "compare")
    assert not (place / "interp-runs").exists()


def test_without_arguments_the_help_is_shown(monkeypatch, capsys):
    assert run(monkeypatch) == 2
    assert "Usage: interp" in capsys.readouterr().out


def test_a_plan_of_a_grid_tells_the_cost_before_anything_runs(place: Path, monkeypatch, capsys):
    costs = []
    for options in ((), ("--site", "z"), ("--positions", "subject,last"), ("--prompts", "2")):
        assert run(monkeypatch, "plan", "--site", "resid_pre", *options) == 0
        line = capsys.readouterr().out.strip()
        # 6 blocks × 6 positions; 4 heads each; two spans.
        cells = {"--site": 144, "--positions": 12}.get(options[0] if options else "", 36)
        assert line.startswith(f"{cells} cells × {2 if '--prompts' in options else 16} prompts: ")
        assert "facts: 128 in 3 wordings. " in line and line.endswith(Thresholds().needs)
        costs.append(line)
    assert len(set(costs)) == 4
    assert not (place / "interp-runs").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--site", "head"), "--site must be one of resid_pre, .*; got 'head'"),
        (("--site", "z", "--positions", "object"), "no position 'object'; .* a span of .*'each'"),
        (("--site", "z", "--base", "nobody", *GOOD), "no model 'nobody'"),
        (("--site", "z", "--base", "nobody"), "--base nobody needs facts to be asked about"),
        (("--site", "z", "--base", "nobody", "--facts", "nowhere.csv"), "file; got nowhere.csv"),
        (("--site", "z", "--tuned", "nobody"), "--tuned says nothing beside --site; leave one"),
        (("--positions", "last"), "--positions last belongs to a patching grid .*; give --site, such"),
        (("--prompts", "3"), "--prompts 3 belongs to a patching grid or a size; give --site, such"),
        (("--base", "nobody"), "--base nobody needs a version tuned from it; give --tuned"),
        (("--base", "nobody", *TUNED), "--base nobody needs facts to be asked about; give --facts"),
        (("--base", "nobody", *TUNED, "--facts", "nowhere.csv"), "file; got nowhere.csv"),
        ((*PAIR, *GOOD), "the base gives the right answer first for 0 of the facts"),
        (("--gpu", "h100"), "--gpu h100 needs the size of a model; give --model-size, such as 7b"),
        (("--model-size", "7b", "--gpu", "abacus"), "--gpu must be one of .*; got 'abacus'"),
        (("--model-size", "7b", "--dtype", "int3"), "--dtype must be one of .*; got 'int3'"),
        (("--model-size", "7b", "--prompts", "2"), "--prompts must be at least 5, got 2"),
        (("--model-size", "7b", "--prompts", "asked.txt"), "--prompts must be a number from 1 beside"),
        (("--prompts", "asked.txt", *PAIR), "prompts must come from an existing file; got asked.txt"),
        (("scan", *PAIR, *GOOD), "--facts says nothing beside scan; leave one"),
        (("scan", "--readout", "both"), "--readout says nothing beside scan; leave one"),
        (("--tokens", "4"), "--tokens and --readout are of prompts; give --prompts"),
        (("--model-size", "7b", *GOOD), "--facts says nothing beside --model-size; leave one"),
        (("--model-size", "1e999b"), "--model-size must be a number .* such as 7b.*; got '1e999b'"),
        (("--model-size", "-7b"), "--model-size must be a number"),
        (("--model-size", "nan"), "--model-size must be a number"),
        (("--model-size", "0b"), "--model-size must be a number"),
        (("--model-size", "9" * 400 + "b"), "--model-size must be a number"),
        (("--model-size", "٧b"), "--model-size must be a number"),
        (("smollm2",), "'smollm2' is not one of .*options: --base"),
        (("--budget", "0"), "--budget"),
    ],
)
def test_a_plan_names_mistakes(options, message, fails):
    line = fails("plan", *options)
    assert re.search(message, line), line


def test_everything_that_can_be_named_is_listed(monkeypatch, capsys):
    assert run(monkeypatch, "list") == 0
    listed = capsys.readouterr().out
    for name in ("capitals", "world"):
        assert f"  {name}\n" in listed
    for name, told in (
        ("organism-base", "pretrained on the world"),
        ("smollm2-edited-low", "Gives some"),
    ):
        assert re.search(f"^  {name} +{told}", listed, re.MULTILINE)


def test_a_good_run_goes_to_a_fresh_numbered_folder(place: Path, monkeypatch, capsys):
    world = load_facts("world")
    lines = [f"# template: {t}" for t in world.templates] + ["subject,answer"]
    lines += [f"{f.subject},{f.answer}" for f in world.facts[:12]]
    (place / "some.csv").write_text("\n".join([*lines, "Nobody,"]))
    arguments = ("compare", "--tuned", "organism-base", "--facts", "some.csv")
    for number in ("001", "002"):
        assert run(monkeypatch, *arguments) == 0
        out = capsys.readouterr().out
        folder = place / "interp-runs" / number
        assert "unchanged" in out.splitlines()[0]
        assert "note: 1 of 13 rows of some.csv are left out: line 17: answer is empty" in out
        assert out.splitlines()[-1] == f"report: {Path('interp-runs') / number / 'report.html'}"
        verdict = json.loads((folder / "verdict.json").read_text())
        assert verdict["changed"] == "unchanged"
        assert "1 of 13 rows" in verdict["provenance"]["warnings"][0]
        names = {p.name for p in folder.iterdir()}
        assert "report.html" in names and ("evidence.csv" in names) == ("--csv" in arguments)
        arguments = (*arguments, "--csv")


def test_the_installed_command_prints_one_line_and_no_traceback(place: Path):
    """The whole process: neither a library's log nor a progress bar joins the one line."""
    code = "from studies.cli import main; main()"
    arguments = ("compare", *BASE, "--tuned", "../models/shallow", *GOOD)
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=place, capture_output=True, text=True,
        env={**HERE, "TQDM_DISABLE": "1"},  # however slow a machine is
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not (place / "interp-runs").exists()


@pytest.mark.parametrize(("given", "used"), [(None, cli.SPINS), ("7", "7")])
def test_waiting_threads_sleep_soon_unless_told_otherwise(monkeypatch, given, used):
    monkeypatch.setenv("GOMP_SPINCOUNT", "")  # put back afterwards, whatever the command sets
    if given is None:
        monkeypatch.delenv("GOMP_SPINCOUNT")
    else:
        monkeypatch.setenv("GOMP_SPINCOUNT", given)
    monkeypatch.setattr(sys, "argv", ["interp", "--version"])
    with suppress(SystemExit):
        cli.main()
    assert os.environ["GOMP_SPINCOUNT"] == used
