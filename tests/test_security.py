"""What SECURITY.md promises, a test for each line: what strangers send does no more than be refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import peft
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
import torch
from report_pages import ATTRIBUTE, HOSTILE, Page
from safetensors.torch import load_file, save_file
from verdict_cases import fake_case

import interp
from interp.evidence import Evidence
from interp.models import sources
from interp.models.loading import load_model
from interp.report.page import write_report
from interp.untrusted import limits
from interp.untrusted.gguf_header import read_header
from interp.untrusted.tensor_files import read_tensors
from interp.untrusted.verdict_file import read_verdict
from interp.untrusted.yaml_files import read_yaml
from interp.verdict.judging import judge
from interp.verdict.outcomes import Outcomes

ROOT = Path(__file__).parents[1]
VERDICT = {"sentence": "Nothing changed.", "changed": "unchanged"}
BOMB = "[" * 5000 + "]" * 5000


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch):
    """No test here may wait for, or ask, a hub."""
    monkeypatch.setattr(sources, "_hub_answers", lambda: False)


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """A model folder and an adapter that load: the control of every refusal here."""
    here = tmp_path_factory.mktemp("sound")
    tiny.hf_model("llama").save_pretrained(here / "base")
    tiny.save_tokenizer(here / "base")
    settings = peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj"])
    peft.get_peft_model(tiny.hf_model("llama"), settings).save_pretrained(here / "lora")
    load_model(here / "lora", base=here / "base")
    return here


@pytest.fixture
def base(sound: Path, tmp_path: Path) -> Path:
    """A copy of the model that a test may spoil."""
    return Path(shutil.copytree(sound / "base", tmp_path / "base"))


@pytest.fixture
def lora(sound: Path, tmp_path: Path) -> Path:
    """A copy of the adapter that a test may spoil."""
    return Path(shutil.copytree(sound / "lora", tmp_path / "lora"))


def configure(file: Path, **changes) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def refused(call, message: str) -> None:
    """The call ends in one line that says so."""
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_every_threat_has_its_test_and_every_test_its_threat():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    threats = re.findall(r"^\| .* \| `(\w+)` \|$", text, flags=re.MULTILINE)
    rows = re.findall(r"^\| (?!threat|---)", text, flags=re.MULTILINE)
    tests = [name.removeprefix("test_line_") for name in globals() if name.startswith("test_line_")]
    assert sorted(threats) == sorted(tests) and len(threats) == len(set(threats)) > 10
    assert len(rows) == len(threats), "a line names no test"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.ckpt", "weights.pkl"])
def test_line_pickles(base: Path, lora: Path, name: str):
    ran = base.parent / "ran"
    bomb = b"cos\nsystem\n(S'touch " + str(ran).encode() + b"'\ntR."
    (base / "model.safetensors").unlink()
    (base / name).write_bytes(bomb)
    refused(lambda: load_model(base), "pickled weights .* are never loaded")
    (lora / "adapter_model.safetensors").unlink()
    (lora / "adapter_model.bin").write_bytes(bomb)
    refused(lambda: load_model(lora, base=base.parent / "base"), "has no")
    assert not ran.exists()


def test_line_remote_code(base: Path, lora: Path, tmp_path: Path):
    ran = tmp_path / "ran"
    code = f"open({str(ran)!r}, 'w')\nclass Mine: ...\n"
    (base / "modeling_mine.py").write_text(code)
    maps = {key: "modeling_mine.Mine" for key in ("AutoConfig", "AutoModelForCausalLM")}
    configure(base / "config.json", auto_map=maps)
    configure(base / "tokenizer_config.json", auto_map={"AutoTokenizer": ["modeling_mine.Mine", None]})
    assert load_model(base).n_layers == tiny.LAYERS, "the library's own code reads it"
    configure(base / "config.json", model_type="mine")
    refused(lambda: load_model(base), "could not be loaded")
    for settings in ({"megatron_config": {"a": 1}, "megatron_core": "modeling_mine"},):
        configure(lora / "adapter_config.json", **settings)
        refused(lambda: load_model(lora, base="organism-base"), "code named by files is never run")
    assert not ran.exists() and "trust_remote_code=True" not in _sources()


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "sub/x.safetensors", "a.bin"])
def test_line_paths(base: Path, name: str):
    index = {"weight_map": {key: name for key in load_file(base / "model.safetensors")}}
    (base / "model.safetensors").rename(base / "other.safetensors")
    shutil.copy(base / "other.safetensors", base.parent / "secret.safetensors")
    (base / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(lambda: load_model(base), "expected a .safetensors file beside it")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_links_out_of_a_model_folder_are_refused(base: Path, name: str):
    outside = (base / name).rename(base.parent / name)
    (base / name).symlink_to(outside)
    refused(lambda: load_model(base), f"{name} is a link out of its folder")
    (base / name).unlink()
    (base / name).symlink_to(outside.rename(base / f"real-{name}").name)
    assert load_model(base).n_layers == tiny.LAYERS, "the control: a link inside the folder is none"


def test_links_within_a_repository_of_the_hubs_cache_are_followed(base: Path, tmp_path: Path):
    home = tmp_path / "models--some--one"
    (home / "blobs").mkdir(parents=True)
    shot = home / "snapshots" / "abc"
    shot.mkdir(parents=True)
    for file in base.iterdir():
        os.rename(file, home / "blobs" / file.name)
        (shot / file.name).symlink_to(Path("../../blobs") / file.name)
    assert load_model(shot).n_layers == tiny.LAYERS
    (tmp_path / "elsewhere.json").write_text("{}")
    (shot / "config.json").unlink()
    (shot / "config.json").symlink_to(tmp_path / "elsewhere.json")
    refused(lambda: load_model(shot), "is a link out of its folder")


@pytest.mark.parametrize("key", ["init_inputs", "fast_tokenizer_files"])
def test_a_tokenizer_does_not_choose_its_files(base: Path, key: str):
    other = base.parent / "tokenizer.9.json"
    other.write_text((base / "tokenizer.json").read_text().replace('"land0"', '"secret"'))
    configure(base / "tokenizer_config.json", tokenizer_file=str(other), vocab_file=str(other))
    assert "secret" not in load_model(base).tokenizer.get_vocab(), "only its own file is read"
    configure(base / "tokenizer_config.json", **{key: [f"../{other.name}"]})
    refused(lambda: load_model(base), f"says {key} = .* which may name other files")


def test_an_adapter_does_not_choose_its_base(base: Path, lora: Path):
    configure(lora / "adapter_config.json", base_model_name_or_path="/somewhere/else")
    loaded = load_model(lora, base=base)
    assert any("names base '/somewhere/else'" in caution for caution in loaded.warnings)
    refused(lambda: load_model(lora), "needs the model it is applied to")


def test_links_out_of_a_run_are_refused(tmp_path: Path):
    (tmp_path / "outside.json").write_text(json.dumps(VERDICT))
    run = tmp_path / "run"
    run.mkdir()
    (run / "verdict.json").symlink_to(tmp_path / "outside.json")
    refused(lambda: read_verdict(run), "is a link out of its folder")
    (run / "verdict.json").unlink()
    (run / "verdict.json").write_text(json.dumps(VERDICT))
    assert read_verdict(run) == VERDICT
    Evidence.build([1.0]).save(run)
    (run / "evidence.provenance.json").unlink()
    (run / "evidence.provenance.json").symlink_to(tmp_path / "outside.json")
    refused(lambda: Evidence.load(run / "evidence.parquet"), "is a link out of its folder")


def test_line_gguf_beside_adapter(tmp_path: Path, lora: Path):
    (lora / "m.gguf").write_bytes(_gguf())
    refused(lambda: load_model(lora / "m.gguf"), "would name another model to load")


def test_line_markup(tmp_path: Path):
    outcomes, probes, causal = fake_case("evasive_high", n_groups=24, n_layers=6)
    table = outcomes.table.copy()
    renamed = {table["group"].iloc[0]: HOSTILE, table["group"].iloc[2]: ATTRIBUTE}
    table = table.assign(group=table["group"].replace(renamed), text=HOSTILE, said_tuned=ATTRIBUTE)
    told = Outcomes(table, [(HOSTILE, ATTRIBUTE)])
    evidence = Evidence.concat(
        Evidence(part.table.assign(group=part.table["group"].astype(object).replace(renamed)),
                 part.provenance)
        for part in (probes, causal)
    )  # fmt: skip
    verdict = judge(told, evidence, evidence)
    names = {"base": HOSTILE, "tuned": ATTRIBUTE, "svg": False, "provenance": {"note": HOSTILE}}
    written = write_report(verdict, told, evidence, tmp_path / "run", **names)
    facts = pd.DataFrame({"subject": [HOSTILE, "b"], "answer": [ATTRIBUTE, "c"]})
    shown = interp.load_facts(facts, templates=f"{HOSTILE} {{subject}} is")
    pages = [path.read_text() for path in written.files if path.suffix == ".html"]
    pages += [value._repr_html_() for value in (verdict, told, evidence, shown)]
    for page in map(Page, pages):
        assert page.handlers == [] and "alert(1)" not in page.scripts
    assert HOSTILE in "".join(Page(pages[-1]).shown), "it is shown as text"
    assert Page(f"<p>{HOSTILE}</p>").scripts == ["alert(1)"], "the control: it would be run"


def test_line_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    from studies import cli

    told = {**VERDICT, "sentence": "said \x1b]0;owned\x07 and \x9b31m", "notes": ["\x1b[2J"]}
    (tmp_path / "verdict.json").write_text(json.dumps(told))
    for arguments in (("show", str(tmp_path)), ("explain", str(tmp_path)), ("show", "\x1b[2J")):
        monkeypatch.setattr("sys.argv", ["interp", *arguments])
        try:
            cli.main()
        except SystemExit:
            pass
        text = "".join(capsys.readouterr())
        assert "\\x1b" in text and not {"\x1b", "\x07", "\x9b"} & set(text)


def test_line_sizes(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    facts = tmp_path / "facts.csv"
    facts.write_text("subject,answer\n" + "a,b\n" * 100)
    (tmp_path / "verdict.json").write_text(json.dumps(VERDICT))
    monkeypatch.setattr("interp.facts.tables.TABLE", 64)
    refused(lambda: interp.load_facts(facts, templates="{subject} is"), "facts.csv is too large")
    monkeypatch.setattr("interp.untrusted.verdict_file.RUN", 8)
    refused(lambda: read_verdict(tmp_path), "verdict.json is too large")
    monkeypatch.setattr("interp.untrusted.weights.SETTINGS", 64)
    refused(lambda: load_model(base), "config.json is too large")
    os.mkfifo(tmp_path / "pipe.csv")
    refused(lambda: interp.load_facts(tmp_path / "pipe.csv"), "existing file")


def test_line_nesting(base: Path, lora: Path, tmp_path: Path):
    facts = tmp_path / "facts.jsonl"
    facts.write_text(f'{{"subject": "a", "answer": {BOMB}}}\n')
    refused(lambda: interp.load_facts(facts, templates="{subject} is"), "too deep")
    (tmp_path / "verdict.json").write_text(f'{{"sentence": {BOMB}}}')
    refused(lambda: read_verdict(tmp_path), "nested deeper than 64")
    (lora / "adapter_config.json").write_text(BOMB)
    refused(lambda: load_model(lora, base=base), "nested deeper than 64")
    for name, message in (("config.json", "nested deeper"), ("tokenizer.json", "cannot be read")):
        kept = (base / name).read_text()
        (base / name).write_text(BOMB)
        refused(lambda: load_model(base), message)
        (base / name).write_text(kept)
    (base / "model.safetensors.index.json").write_text(f'{{"weight_map": {BOMB}}}')
    refused(lambda: load_model(base), "nested deeper than 64")


def test_line_yaml_and_archives(tmp_path: Path):
    homes = ("interp/untrusted/yaml_files.py", "interp/untrusted/tensor_files.py")
    elsewhere = _sources(without=homes)
    unpackers = r"^\s*(?:import|from) (yaml|zipfile|tarfile|pickle|shelve|marshal)"
    assert not re.findall(unpackers, elsewhere, flags=re.MULTILINE)
    assert not re.findall(
        r"torch\.load\(|np\.load\(|read_pickle\(|(?<!\.)\b(?:eval|exec)\((?!annotation)", elsewhere
    )
    assert re.findall(r"yaml\.\w+load\w*\(", _sources()) == ["yaml.safe_load("]
    assert re.findall(r"torch\.load\(.*", _sources()) == [
        'torch.load(path, map_location="cpu", weights_only=True)'
    ]
    many = "a: &a [x, x]\n" + "".join(f"b{i}: &b{i} [*a, *a]\n" for i in range(9))
    named = "a: !!python/name:os.system ''"
    for text, why in ((many, "anchors"), ("a: " + BOMB, "nested deeper"), (named, "no YAML")):
        (tmp_path / "mine.yaml").write_text(text)
        refused(lambda: read_yaml(tmp_path / "mine.yaml"), why)
    torch.save({"a": torch.zeros(2)}, tmp_path / "mine.pt")
    assert list(read_tensors(tmp_path / "mine.pt", 10_000)) == ["a"], "the control: tensors are read"
    refused(lambda: read_tensors(tmp_path / "mine.pt", 100), "too large")
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 2_000_000)
    refused(lambda: read_tensors(tmp_path / "bomb.pt", 1_000_000), "unpacks to 2,000,000 bytes")
    torch.save({"a": Ran(tmp_path / "ran")}, tmp_path / "harm.pt")
    refused(lambda: read_tensors(tmp_path / "harm.pt", 10_000), "no file of tensors alone")
    assert not (tmp_path / "ran").exists()


class Ran:
    """Touches a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "header",
    [
        b"\xff" * 8 + b"{}",
        struct.pack("<Q", 2**40) + b"{}",
        struct.pack("<Q", 3) + b"[1]",
        struct.pack("<Q", 0),
        b"",
        struct.pack("<Q", 57) + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,9999]}}',
        struct.pack("<Q", len(BOMB)) + BOMB.encode(),
    ],
)  # fmt: skip
def test_line_safetensors_headers(base: Path, lora: Path, header: bytes):
    (lora / "adapter_model.safetensors").write_bytes(header)
    refused(lambda: load_model(lora, base=base), "no safetensors file")
    (base / "model.safetensors").write_bytes(header)
    refused(lambda: load_model(base), "no safetensors file")


def _gguf(tensors: int = 0, settings: int = 0, rest: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, settings) + rest


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_gguf(tensors=2**60), "tensors, at most"),
        (_gguf(settings=2**60), "settings, at most"),
        (_gguf(settings=9999), "ends early"),
        (_gguf(0, 1, _text("a") + struct.pack("<IIQ", 9, 4, 2**60)), "members of a list"),
        (_gguf(0, 1, _text("a") + struct.pack("<IIQ", 9, 9, 1)), "a list of lists"),
        (_gguf(0, 1, struct.pack("<Q", 2**60)), "ends early"),
        (
            _gguf(1, 0, _text("a") + struct.pack("<IQQIQ", 2, 2**40, 2**40, 0, 0)),
            "larger than the file",
        ),
        (_gguf(0, 1, _text("llama.block_count") + struct.pack("<II", 4, 10**9)), "block_count = 1e.09"),
        (b"GGML", "does not begin with GGUF"),
        (b"", "empty file"),
    ],
)
def test_line_gguf_counts(content: bytes, message: str, tmp_path: Path):
    file = tmp_path / "m.gguf"
    file.write_bytes(content)
    refused(lambda: load_model(file), message)
    file.write_bytes(_gguf(0, 1, _text("general.name") + struct.pack("<I", 8) + _text("mine")))
    assert read_header(file).settings == {"general.name": "mine"}, "the control: a sound header is read"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"hidden_size": 2**17, "intermediate_size": 2**17}, "describes"),
        ({"vocab_size": 2**31}, "describes"),
        ({"num_hidden_layers": 10**9}, "expected at most 1,024"),
    ],
)
def test_line_outsized_settings(base: Path, lora: Path, setting: dict, message: str):
    configure(base / "config.json", **setting)
    refused(lambda: load_model(base), message)
    configure(lora / "adapter_config.json", r=10**9)
    refused(lambda: load_model(lora, base="organism-base"), "describes .* numbers, its files hold")


def test_line_parquet_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"subject": pa.array(np.zeros(3_000_000, dtype=np.int8))}), rows)
    monkeypatch.setattr("interp.untrusted.parquet.ROWS", 1000)
    refused(lambda: interp.load_facts(rows), "says it has 3,000,000 rows")
    refused(lambda: Evidence.load(rows), "says it has 3,000,000 rows")
    texts = tmp_path / "texts.parquet"
    long = pa.array(["x" * 100_000] * 900)
    pq.write_table(pa.table({"subject": long}), texts, compression="snappy")
    monkeypatch.setattr("interp.untrusted.parquet.COLUMN_BYTES", limits.MIB)
    refused(lambda: interp.load_facts(texts), "writes out 86 MiB of texts")
    pq.write_table(pa.table({"subject": ["a"], "answer": ["b"]}), texts)
    assert len(interp.load_facts(texts, templates="{subject} is")) == 1


def test_line_formulas(tmp_path: Path):
    texts = ["=1+1", "+1", "-1", "@sum", "\tx", "\rx", "a=1", "-", ""]
    rows = Evidence.build(
        np.arange(-4.0, 5.0), group=texts, layer=range(-4, 5), metric="=cmd|'/c calc'!A1"
    )
    read = pd.read_csv(rows.export(tmp_path / "rows.csv"), keep_default_na=False)
    assert read["group"].tolist()[:8] == [*(f"'{t}" for t in texts[:6]), "a=1", "'-"]
    assert set(read["metric"]) == {"'=cmd|'/c calc'!A1"}
    assert read["value"].tolist() == list(range(-4, 5)), "numbers stay as they are"
    assert [int(n) for n in read["layer"]] == list(range(-4, 5))
    assert not re.findall(r"\.to_csv\((?!\n? *file,)", _sources()), "one place writes CSV"


@pytest.mark.parametrize("pattern", ["(a+)+$", "(?:a|a)*b", "(?:a?){30}", ".*" * 9, "("])
def test_line_patterns(base: Path, lora: Path, pattern: str):
    for changes in ({"target_modules": pattern}, {"rank_pattern": {pattern: 4}}):
        spoilt = Path(shutil.copytree(lora, lora.parent / f"lora-{len(changes)}{[*changes][0]}"))
        configure(spoilt / "adapter_config.json", **changes)
        refused(lambda spoilt=spoilt: load_model(spoilt, base=base), "may take for ever|is no pattern")
    configure(lora / "adapter_config.json", target_modules=r"(?:model\.)?.*layers\.\d+\..*(?:q_proj|x)")
    assert load_model(lora, base=base).n_layers == tiny.LAYERS


def _sources(*, without: tuple[str, ...] = ()) -> str:
    files = (f for p in ("interp", "probes", "patching", "studies") for f in (ROOT / p).rglob("*.py"))
    kept = (file for file in files if str(file.relative_to(ROOT)) not in without)
    return "\n".join(file.read_text(encoding="utf-8") for file in kept)


def test_weights_are_read_by_nothing_that_unpickles(base: Path):
    save_file({"a": torch.zeros(2)}, base / "extra.safetensors", metadata={"format": "pt"})
    assert load_model(base).n_layers == tiny.LAYERS
