"""The readers that are given random files, each with sound files to start from."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import peft
import tiny
from fuzz import Reader
from jaxtyping import TypeCheckError
from rich.console import Console
from verdict_cases import fake_case

import interp
import studies
from interp.evidence import Evidence
from interp.models import sources
from interp.models.loading import wrap
from interp.report.terminal import shown, summary, telling_outputs
from interp.untrusted.gguf_header import read_header
from interp.untrusted.verdict_file import read_verdict
from interp.verdict.judging import judge
from studies.commands import explaining
from studies.runs import outcomes_of

TEMPLATES = ("The capital of {subject} is", "In {subject} the capital is")
FACTS = (
    b"# template: The capital of {subject} is\nsubject,answer,group,size\n"
    b"land0,city0,a,1\nland1,city1,b,\n"
)
TOLD = (
    b"statement,label,city\nThe city of Oz is far.,1,Oz\nThe city of Oz is near.,0,Oz\n"
    b"Ev is far.,1,Ev\n"
)


def every(home: Path) -> Iterator[Reader]:
    """Each reader; what it reads lies in a folder of its own under `home`."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    sources._hub_answers = lambda: False
    for folder in ("facts", "told", "run"):
        (home / folder).mkdir(parents=True)
    yield from _tables(home / "facts", "facts", _facts, FACTS, ("subject", "answer"))
    yield from _tables(
        home / "told", "statements", interp.load_statements, TOLD, ("statement", "label")
    )
    yield from _runs(home / "run")
    yield from _models(home)
    yield from _prompts(home)


def _facts(path: Path) -> Any:
    facts = interp.load_facts(path)
    return [
        (facts.prompts(i), facts.subject_spans(i), facts.answers, repr(facts))
        for i in range(len(facts.templates))
    ]


def _tables(
    home: Path, what: str, read: Callable[[Path], Any], text: bytes, needed: tuple[str, str]
) -> Iterator[Reader]:
    """A table in each of its formats."""
    frame = pd.read_csv(io.BytesIO(text), comment="#")
    lines = [{"templates": list(TEMPLATES)}] if what == "facts" else []
    lines += frame.astype(object).where(frame.notna(), None).to_dict("records")
    frame.attrs["templates"] = list(TEMPLATES)
    for name, seeds, cost in (
        ("csv", (text, text.replace(b",", b";"), text.replace(b"\n", b"\r\n")), 1),
        ("tsv", (text.replace(b",", b"\t"),), 2),
        ("jsonl", ("\n".join(map(json.dumps, lines)).encode(),), 1),
        ("parquet", tuple(_parquet(frame.assign(**{needed[0]: frame[needed[0]].astype(kind)}))
                          for kind in ("str", "category")), 2),
    ):  # fmt: skip
        yield Reader(f"{what}-{name}", home / f"mine.{name}", read, seeds, cost)


def _parquet(frame: pd.DataFrame, **how: Any) -> bytes:
    return frame.to_parquet(index=False, **how)


def _runs(home: Path) -> Iterator[Reader]:
    """What a run keeps: its evidence, where that came from, and the verdict."""
    outcomes, probes, causal = fake_case("evasive_high", n_groups=12, n_layers=4)
    verdict = json.dumps(judge(outcomes, probes, causal).to_dict()).encode()
    rows = Evidence.build(
        np.arange(4.0), group=list("abca"), layer=[0, 1, 2, None], method="patch", draw=1
    )
    rows.save(home)
    old = rows.table[["method", "seed", "value", "layer"]].astype(object)
    parquet = (home / "evidence.parquet").read_bytes()
    yield Reader("evidence-parquet", home / "evidence.parquet", _evidence, (parquet, _parquet(old)), 2)
    (home / "evidence.parquet").write_bytes(parquet)
    told = home / "notes" / "evidence.provenance.json"
    told.parent.mkdir()
    rows.save(told.parent)
    seed = b'{"seed": 1, "models": {"base": "x"}, "warnings": ["a"]}'
    yield Reader(
        "provenance", told, lambda path: Evidence.load(path.parent / "evidence.parquet"), (seed,), 3
    )
    yield Reader("verdict", home / "verdict.json", _verdict, (verdict, *_small(verdict)), 4)


def _small(verdict: bytes) -> tuple[bytes, ...]:
    """The verdict with short lists, whose parts are changed more often."""
    whole = json.loads(verdict)
    short = {key: part[:2] if isinstance(part, list) else part for key, part in whole.items()}
    return json.dumps(short | {"thresholds": {}, "provenance": {}}).encode(), json.dumps(short).encode()


def _evidence(path: Path) -> Any:
    evidence = Evidence.load(path)
    return repr(evidence), evidence._repr_html_(), evidence.export(path.with_suffix(".csv"))


def _verdict(path: Path) -> Any:
    folder = path.parent
    verdict = read_verdict(folder)
    Console(file=io.StringIO(), width=80).print(shown(verdict))
    json.dumps(summary(verdict, telling_outputs(verdict)))
    list(explaining._run(str(folder)))
    studies.summary([folder])
    return outcomes_of(verdict)


def _models(home: Path) -> Iterator[Reader]:
    """Folders of models and adapters, one file of which is spoilt."""
    tiny.hf_model("llama").save_pretrained(home / "base")
    tiny.save_tokenizer(home / "base")
    for name, family in (("llama", "llama"), ("gpt2", "gpt2"), ("gemma3", "gemma3")):
        tiny.hf_model(family).save_pretrained(home / name)
        tiny.save_tokenizer(home / name)
        folder = home / name

        def load(path: Path) -> Any:
            return sources.load(path.parent)

        seeds = ((folder / "config.json").read_bytes(),)
        yield Reader(f"config-{name}", folder / "config.json", load, seeds, 40)
        (folder / "config.json").write_bytes(seeds[0])
    for name, kind in (
        ("model.safetensors", "weights"), ("tokenizer.json", "tokenizer"),
        ("tokenizer_config.json", "tokenizer-settings"), ("generation_config.json", "generation"),
    ):  # fmt: skip
        folder = Path(shutil.copytree(home / "base", home / kind))
        read = sources.read_tokenizer if "tokenizer" in kind else sources.load
        yield Reader(
            kind,
            folder / name,
            lambda path, read=read: read(path.parent),
            ((folder / name).read_bytes(),),
            25,
        )
    yield from _indexed(home)
    yield from _adapters(home)
    yield from _ggufs(home)


def _indexed(home: Path) -> Iterator[Reader]:
    folder = home / "indexed"
    tiny.hf_model("llama").save_pretrained(folder, max_shard_size="40KB")
    tiny.save_tokenizer(folder)
    file = folder / "model.safetensors.index.json"
    yield Reader("index", file, lambda path: sources.load(path.parent), (file.read_bytes(),), 40)


def _adapters(home: Path) -> Iterator[Reader]:
    kinds = {
        "lora": peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj"]),
        "ia3": peft.IA3Config(task_type="CAUSAL_LM", target_modules=["q_proj"], feedforward_modules=[]),
    }
    for name, settings in kinds.items():
        folder = home / name
        peft.get_peft_model(tiny.hf_model("llama"), settings).save_pretrained(folder)
        for file, kind in (
            ("adapter_config.json", "settings"),
            ("adapter_model.safetensors", "weights"),
        ):
            copy = Path(shutil.copytree(folder, home / f"{name}-{kind}"))
            yield Reader(
                f"{name}-{kind}", copy / file,
                lambda path: sources.load(path.parent, base=home / "base"),
                ((copy / file).read_bytes(),), 60,
            )  # fmt: skip


def _ggufs(home: Path) -> Iterator[Reader]:
    from gguf_files import write_gguf

    folder = home / "gguf"
    folder.mkdir()
    write_gguf(folder / "seed.gguf", tiny.hf_model("llama"))
    seed = (folder / "seed.gguf").read_bytes()
    yield Reader("gguf-header", folder / "header.gguf", read_header, (seed, seed[:4000]), 1)
    yield Reader("gguf", folder / "m.gguf", sources.load, (seed,), 80)


def _prompts(home: Path) -> Iterator[Reader]:
    """What a user gives per example, as JSON from which the arguments are read."""
    model = wrap(tiny.hf_model("llama"), tiny.save_tokenizer(home / "prompts"), name="tiny")
    seed = {
        "texts": ["The capital of land0 is", "In land1 the city"], "subjects": ["land0", [3, 8]],
        "groups": ["a", 1], "labels": [1, 0.5], "templates": ["A", "B"], "suffixes": [[5], []],
    }  # fmt: skip
    few = {"texts": ["The capital of land0 is"], "labels": [True]}

    def read(path: Path) -> Any:
        try:
            given = json.loads(path.read_bytes())
        except ValueError:
            return None
        if not isinstance(given, dict) or "texts" not in given:
            return None
        try:
            examples = interp.Examples.from_text(
                model, given.pop("texts"), **{k: v for k, v in given.items() if k in seed}
            )
            return repr(examples), examples._repr_html_()
        except TypeCheckError as error:  # the suite checks kinds before the function does
            raise ValueError("of another kind") from error

    yield Reader(
        "prompts", home / "prompts.json", read, (json.dumps(seed).encode(), json.dumps(few).encode()), 3
    )
