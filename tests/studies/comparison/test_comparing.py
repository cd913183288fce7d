"""The main job end to end on organisms: every output is there, and model text never becomes markup."""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from interp.evidence import Evidence
from interp.facts.loading import load_facts
from interp.facts.types import Fact, FactSet
from interp.models import named
from interp.models.loading import load_pair
from studies.comparison.causal import CARRIED
from studies.comparison.comparing import compare
from studies.comparison.result import Comparison

HOSTILE = "<script>alert(1)</script>"
FACTS = 24
KEYS = {
    "changed", "sharpened", "where", "where_fact", "what", "share_lower", "share_before_handover",
    "handover_layer", "block_span", "responsibility", "shared_shift", "claims", "items", "excluded",
    "thresholds", "provenance",
}  # fmt: skip
PLACES = {"lower", "upper", "distributed", "undetermined", None}
CONTENTS = {"knowledge", "behaviour", "both", "undetermined", None}
ITEM = {
    "text", "group", "answer", "said_base", "said_tuned", "contrast", "metric_base", "metric_tuned",
    "share_lower", "where", "what",
}  # fmt: skip


def hostile(name: str, word: str, folder: Path) -> Path:
    """An organism in whose vocabulary one city is a script."""
    path = Path(shutil.copytree(named.shipped()[name], folder / name))
    written = json.loads((path / "tokenizer.json").read_text())
    words = written["model"]["vocab"]
    words[HOSTILE] = words.pop(word)
    written["pre_tokenizer"] = {"type": "WhitespaceSplit"}
    (path / "tokenizer.json").write_text(json.dumps(written))
    return path


@dataclass(frozen=True)
class Run:
    found: Comparison
    folder: Path
    verdict: dict[str, Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """Base against a tune, with a script among the cities and in a group's name."""
    folder = tmp_path_factory.mktemp("compare")
    world = load_facts("world").subset(list(range(FACTS)))
    word = world.answers[0]
    facts = tuple(
        Fact(
            f.subject,
            HOSTILE if f.answer == word else f.answer,
            f"{f.group} {HOSTILE}" if i == 0 else f.group,
            f.attributes,
        )
        for i, f in enumerate(world.facts)
    )
    task = FactSet(world.name, world.templates, facts, world.statement, "test", world.placebos)
    pair = load_pair(*(hostile(n, word, folder) for n in ("organism-base", "organism-evasive-high")))
    found = compare(pair, task)
    found.save(folder / "out", svg=False)
    verdict = json.loads((folder / "out" / "verdict.json").read_text())
    return Run(found, folder / "out", verdict)


def test_the_verdict_has_every_key_and_only_allowed_values(run: Run):
    verdict = run.verdict
    assert set(verdict) >= KEYS
    assert verdict["changed"] == "changed" and verdict["sharpened"] in (True, False)
    assert verdict["where"] in PLACES and verdict["where_fact"] in PLACES
    assert verdict["what"] in CONTENTS
    assert set(verdict["share_lower"]) >= {"estimate", "low", "high"}
    handover = verdict["handover_layer"]
    assert handover is None or set(handover) >= {"estimate", "low", "high"}
    first, last = verdict["block_span"] or (0, 0)
    assert 0 <= first <= last
    assert set(verdict["responsibility"]) >= {"embedding", "unembedding"}
    for answer in ("sufficiency", "retention", "persistence"):
        given = verdict["shared_shift"][answer]
        assert given is None or set(given) >= {"estimate", "low", "high", "n"}
    assert "boundary" in verdict["shared_shift"]
    assert verdict["thresholds"] and verdict["provenance"]["base"]["fingerprint"]


def test_a_change_made_in_the_upper_blocks_is_never_placed_lower(run: Run):
    assert run.verdict["where"] in ("upper", "undetermined")
    assert run.verdict["what"] in ("behaviour", "undetermined")


def test_items_say_what_was_said_and_only_changed_ones_have_a_place(run: Run):
    items = run.verdict["items"]
    assert items and all(set(item) >= ITEM for item in items)
    changed = [i for i in items if i["contrast"] == "output"]
    rest = [i for i in items if i["contrast"] == "fact"]
    assert {i["where"] for i in changed} <= PLACES and {i["what"] for i in changed} <= CONTENTS
    assert changed and all(i["where"] is None and i["what"] is None for i in rest)
    asked = {(i["text"], i["said_base"]) for i in items}
    assert all(said for _, said in asked)
    assert any(i["said_base"] == HOSTILE for i in items), "the script is among what was said"


def test_the_report_tells_which_heads_and_mlps_carry_the_change(run: Run):
    found = run.verdict["carriers"]
    assert found["prompts"] == CARRIED and found["nodes"]
    tuned = ("4", "5")  # the blocks that were tuned
    assert all(node["node"].split()[1].startswith(tuned) for node in found["nodes"])
    assert found["drawn"] and found["beside"] < 1e-3, "a node that was not tuned carries nothing"
    exchanged = [item for item in run.verdict["items"] if item["carriers"] is not None]
    assert len(exchanged) == CARRIED and all(item["contrast"] == "output" for item in exchanged)
    report = (run.folder / "report.html").read_text(encoding="utf-8")
    assert report.count("Which heads and MLPs carry the change") == 1
    table = pd.read_csv(run.folder / "outputs.csv")
    assert table["carried by"].notna().sum() == CARRIED


def test_every_output_is_written_and_the_table_reads_back(run: Run):
    names = {p.name for p in run.folder.iterdir()}
    assert names >= {"report.html", "verdict.json", "evidence.parquet", "figures"}
    again = Evidence.load(run.folder / "evidence.parquet")
    pd.testing.assert_frame_equal(
        again.table[["method", "value"]], run.found.evidence.table[["method", "value"]],
        check_categorical=False,
    )  # fmt: skip
    assert {"stitch", "handover", "patch", "cross_patch", "carriers"} <= set(
        again.table["method"].dropna()
    )
    figures = {p.suffix for p in (run.folder / "figures").iterdir()}
    assert figures >= {".html", ".csv"}
    for figure in (run.folder / "figures").glob("*.html"):
        assert figure.with_suffix(".csv").exists(), f"{figure.name} has no data beside it"


def test_no_half_written_file_is_left(run: Run):
    assert not [p for p in run.folder.rglob("*") if ".tmp" in p.name]


def test_scripts_in_model_text_are_shown_as_text(run: Run):
    pages = [p for p in run.folder.rglob("*.html")]
    assert len(pages) > 1
    for page in pages:
        assert HOSTILE not in page.read_text(encoding="utf-8"), page.name
    report = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in report, "it is shown, not dropped"


def test_the_report_fetches_nothing(run: Run):
    report = (run.folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img|iframe)[^>]*\b(src|href)=[\"'](?!data:|#)", report)


def test_a_folder_with_a_report_is_never_written_over(run: Run):
    before = {p: p.read_bytes() for p in run.folder.rglob("*") if p.is_file()}
    with pytest.raises(ValueError, match="must not hold report.html yet|must be a new or empty folder"):
        run.found.save(run.folder, svg=False)
    assert {p: p.read_bytes() for p in run.folder.rglob("*") if p.is_file()} == before


def test_a_model_compared_with_itself_is_unchanged():
    facts = load_facts("world").subset(list(range(FACTS)))
    found = compare(load_pair("organism-base", "organism-base"), facts)
    verdict = found.verdict.to_dict()
    assert found.outcomes.identical and found.outcomes.changed_groups == ()
    assert (verdict["changed"], verdict["where"], verdict["what"]) == ("unchanged", None, None)
    assert verdict["claims"] == [] and len(found.evidence) == 0


def test_too_few_known_facts_are_refused():
    facts = load_facts("world").subset([0])
    with pytest.raises(ValueError, match="at least 2 are needed") as caught:
        compare(load_pair("organism-base", "organism-edited-low"), facts)
    assert "\n" not in str(caught.value)


def test_facts_that_the_base_gets_wrong_are_refused(tmp_path: Path):
    world = load_facts("world").subset(list(range(6)))
    wrong = tuple(
        Fact(f.subject, other, f.group)
        for f, other in zip(world.facts, world.answers[1:] + world.answers[:1], strict=True)
        if f.answer != other
    )
    task = FactSet("wrong", world.templates, wrong, world.statement, "test")
    with pytest.raises(ValueError, match="gives the right answer first for 0 of the facts"):
        compare(load_pair("organism-base", "organism-edited-low"), task, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
