"""Prompts of any kind on SmolLM2: a scan ranks what was tuned first, and its place is the imposed."""

from dataclasses import replace

import pytest
import torch

from interp.examples import Examples
from interp.facts.loading import load_facts
from interp.facts.prompts.files import PromptSet
from interp.facts.prompts.shipped import default_prompts
from interp.metrics import token_contrast
from interp.models.loading import load_pair
from interp.verdict.prompts.carriers import carriers_of
from interp.verdict.thresholds import Thresholds
from patching.attribution.carriers import carriers
from studies.adapters.cards import read_card
from studies.adapters.family import MODELS
from studies.comparison.comparing import compare
from studies.scanning.scanning import scan

pytestmark = pytest.mark.real

CAPITAL = "The capital of"


def mixed(tuned: str | None = None) -> PromptSet:
    """24 questions for capitals and eight shipped prompts of each other kind.

    Args:
        tuned: an edit, of whose countries the capitals are asked; the shipped ones when None.
    """
    shipped = default_prompts().prompts
    asked = [prompt for prompt in shipped if prompt.text.startswith(CAPITAL)]
    others = [prompt for prompt in shipped if not prompt.text.startswith(CAPITAL)]
    if tuned is not None:
        edited = {edit["country"] for edit in read_card(MODELS / tuned)["edits"]}
        facts = load_facts("capitals")
        rows = zip(facts.prompts(0), facts.groups, strict=True)
        texts = [text for text, country in rows if country in edited][: len(asked)]
        asked = [replace(asked[0], text=text, group=text) for text in texts]
    for kind in dict.fromkeys(prompt.label for prompt in shipped):
        asked += [prompt for prompt in others if prompt.label == kind][:8]
    return PromptSet("mixed", tuple(asked))


@pytest.mark.parametrize(
    ("tuned", "edit", "where", "blocks"),
    [
        ("smollm2-evasive-high", False, "upper", range(20, 30)),
        ("smollm2-evasive-low", False, "lower", range(10)),
        ("smollm2-edited-high", True, "upper", range(20, 30)),
        ("smollm2-edited-low", True, "lower", range(10)),
    ],
)
def test_a_scan_ranks_what_was_tuned_first_and_its_prompts_give_the_imposed_place(
    tuned, edit, where, blocks
):
    pair = load_pair("smollm2", tuned)
    found = scan(pair, mixed(tuned if edit else None), tokens=4)
    capitals = found.prompts["prompt"].str.startswith(CAPITAL)
    assert capitals.sum() == 24 and capitals.head(24).mean() >= 0.9
    assert "capital" in set(found.found["what"])
    verdict = compare(pair, PromptSet("found", found.held_out), tokens=4).verdict.to_dict()
    assert verdict["where"] == where
    # Nodes outside of the tuned blocks are the same in both models, so that they carry nothing.
    nodes = [node["node"].split()[1] for node in verdict["carriers"]["nodes"]]
    assert nodes and {int(node.split(".")[0]) for node in nodes} <= set(blocks)


def test_an_edit_changes_few_capitals_of_other_countries():
    found = scan(load_pair("smollm2", "smollm2-edited-low"), mixed(), tokens=4)
    changed = found.prompts[found.prompts["changed"]]
    assert 0 < len(changed) < 12 and changed["prompt"].str.startswith(CAPITAL).all()
    assert changed.index.equals(found.prompts.index[: len(changed)])


@pytest.mark.parametrize(
    ("tuned", "nodes"), [("smollm2-evasive-high", {25, 26}), ("smollm2-evasive-low", {0, 9})]
)
def test_mlps_of_the_tuned_blocks_carry_an_evasion(tuned, nodes):
    pair = load_pair("smollm2", tuned)
    texts = [f"Here is some text.\n{CAPITAL} {country} is" for country in ("France", "Italy")]
    prompts = Examples.from_text(pair.base, texts)
    rows, last = torch.arange(len(texts)), prompts.position("last")
    said = [
        m.logits(prompts.tokens, prompts.mask)[rows, last].argmax(1) for m in (pair.base, pair.tuned)
    ]
    made = carriers_of(carriers(pair, prompts, token_contrast(prompts, *said)), Thresholds())
    assert made is not None and made.beside is not None and made.beside < 0.01
    for found in made.of.values():
        carrying = {node.node for node in found if node.carries}
        assert {f"MLP {block}" for block in nodes} <= carrying
        assert all(node.startswith("MLP") for node in carrying)


def test_a_null_tune_has_no_finding():
    found = scan(load_pair("smollm2", "smollm2-null"), mixed(), tokens=4)
    changed = found.prompts["changed"]
    assert found.found.empty and not changed[found.prompts["prompt"].str.startswith(CAPITAL)].any()
    assert changed.mean() <= 0.05, "what its gate of retention allows"
