"""The plans of a scan and of prompts count what these jobs put through the blocks, stage by stage."""

from functools import lru_cache

import pandas as pd
import pytest
from stage_tokens import Counted, counted

from interp.facts.loading import load_facts
from interp.facts.prompts.files import load_prompts
from interp.models.alike import alike
from interp.models.loading import load_pair
from interp.models.pair import ModelPair
from interp.verdict.thresholds import Thresholds
from patching.engine.block_cost import BlockCost
from studies.comparison.comparing import compare
from studies.comparison.prompts.divergence import continue_both
from studies.comparison.prompts.rendering import render
from studies.comparison.stages import CONTINUED, SCANNED
from studies.planning.jobs import plan
from studies.planning.open import heard as hearing
from studies.planning.open.heard import Heard, Pilot, heard_of
from studies.planning.open.scans import plan_scan
from studies.planning.open.talk import Line, TalkRates
from studies.planning.open.work import scanning
from studies.planning.sizing import plan_size
from studies.scanning.asking import ask
from studies.scanning.scanning import scan

FEW = Thresholds(placebo_shifts=3, placebo_groups=4)
FACTS = load_facts("world")
#: All of one length; homes change and trades do not.
ASKED = [*FACTS.prompts(0)[:12], *(f"The trade of {fact.subject} is" for fact in FACTS.facts[:6])]


@lru_cache
def pair_of(tuned: str) -> ModelPair:
    return load_pair("organism-base", tuned)


def tokens_of(told) -> dict[str, int]:
    return {stage.name: stage.layer_tokens for stage in told.stages if stage.layer_tokens}


def ran(pair: ModelPair, job) -> Counted:
    with counted(pair) as count:
        job()
    return count


def test_a_scan_of_few_prompts_puts_through_the_blocks_what_the_plan_says():
    pair = pair_of("organism-evasive-high")
    told = plan_scan(pair, ASKED, tokens=2)
    count = ran(pair, lambda: scan(pair, ASKED, tokens=2))
    assert [stage.name for stage in told.stages] == list(SCANNED)
    assert count.stages == list(SCANNED)[:-1], "what is scanned without a folder is not written"
    assert told.counts == {"prompts": 18, "changed": 12}
    assert tokens_of(told) == count.tokens
    assert told.most is not None and told.most.layer_tokens > told.layer_tokens
    assert "every prompt was asked" in told.assumed[0] and "at most: " in str(told)


@pytest.mark.slow
def test_a_comparison_of_few_prompts_puts_through_the_blocks_what_the_plan_says():
    pair = pair_of("organism-evasive-high")
    columns = {"prompt": ASKED, "paraphrase": [*FACTS.prompts(1)[:12], *[""] * 6]}
    prompts = load_prompts(pd.DataFrame(columns).iloc[:16])
    told = plan(pair, prompts, tokens=2, thresholds=FEW)
    results = []
    count = ran(pair, lambda: results.append(compare(pair, prompts, tokens=2, thresholds=FEW)))
    expected = tokens_of(told)
    assert [stage.name for stage in told.stages] == list(CONTINUED)
    assert set(expected) == set(count.tokens) == {"asking", "stitching", "patching", "shared shift"}
    for name in ("asking", "stitching"):
        assert expected[name] == count.tokens[name], name
    # Which heads carry the change, and where it is installed, is foretold, not known.
    for name in ("patching", "shared shift"):
        assert expected[name] == pytest.approx(count.tokens[name], rel=0.25), name
    table = results[0].evidence.table
    methods = {
        "stitching": ["stitch"], "patching": ["cross_patch", "carriers"], "shared shift": ["shift"],
    }  # fmt: skip
    for stage in told.stages:
        if stage.name in methods:
            rows = table["method"].isin(methods[stage.name]).sum()
            assert stage.rows == pytest.approx(rows, rel=0.1), stage.name


def rates(pair: ModelPair, budget: int) -> TalkRates:
    """Rates of which the counts matter."""
    line, apart = Line(0.0, 0.0), pair.base.n_layers - max(alike(pair.base, pair.tuned).below, 0)
    cost, vocabulary = BlockCost.of(pair.base), pair.base.vocabulary
    return TalkRates(cost, vocabulary, line, line, line, line, budget, apart)


@pytest.mark.parametrize("budget", [2**31, 2**21])
def test_what_is_known_of_every_prompt_counts_to_the_token_whatever_their_lengths(budget: int):
    pair = pair_of("organism-edited-low")
    texts = [
        *FACTS.prompts(0)[:20],
        *FACTS.prompts(1)[:17],
        *(text.rsplit(" ", 2)[0] for text in ASKED[:9]),
    ]
    rendered = render(pair, load_prompts(texts), tokens=3)
    said = continue_both(pair, rendered, max_bytes=budget)
    heard = heard_of(rendered, said, None, FEW)
    assert 0 < sum(one.place is not None for one in heard) < len(heard)
    widths = [len(pair.base.tokenizer(text)["input_ids"]) for text in rendered.texts]
    assert len(set(widths)) > 1
    count = ran(pair, lambda: ask(pair, rendered, max_bytes=budget))
    told = scanning(widths, heard, rates(pair, budget))
    assert told.cost(rates(pair, budget)).layer_tokens == count.tokens[""]
    other = scanning(widths, [Heard.most(3)] * len(widths), rates(pair, budget))
    assert other.cost(rates(pair, budget)).layer_tokens > count.tokens[""], "the most is more"


def test_of_many_prompts_a_few_are_asked_and_the_others_are_like_their_neighbours(monkeypatch):
    pair = pair_of("organism-evasive-high")
    monkeypatch.setattr(hearing, "PILOT", 6)
    rendered = render(pair, load_prompts(ASKED), tokens=2)
    pilot = Pilot.of(pair, rendered, FEW, 0, 2**30)
    assert pilot.index == (1, 4, 7, 10, 13, 16)
    assert [one.changed for one in pilot.of_all(18)] == [True] * 12 + [False] * 6
    assert "from 6 of 18 that were asked, of which 4 changed" in pilot.told(18)


def test_a_size_has_plans_of_scans_and_of_prompts():
    whole = plan_size("7b", "h100", 40)
    scans = [plan_size("7b", "h100", n, what="scan", tokens=8) for n in (40, 80)]
    assert list(scans[0].stages) == ["asking", "samples"]
    assert scans[1].stages["asking"] == 2 * scans[0].stages["asking"]
    asked = plan_size("7b", "h100", 40, tokens=8)
    assert list(asked.stages) == ["asking", "stitching", "patching", "shared shift"]
    assert "8 generated behind each" in asked.assumed[1] and "attributes" in whole.assumed[1]
    assert plan_size("7b", "h100", 40, tokens=32).gpu_hours > asked.gpu_hours
