"""The plan of a comparison counts what the depth of a change puts through the blocks."""

from dataclasses import replace

import pytest
from stage_tokens import counted

from interp.facts.loading import load_facts
from interp.models.loading import load_pair
from interp.verdict.thresholds import Thresholds
from studies.comparison.answers import ask_both
from studies.comparison.comparing import compare
from studies.comparison.depth.measuring import depth_evidence
from studies.comparison.known_questions import known_questions
from studies.comparison.outcome_table import outcomes_of
from studies.planning.depth import depth_cost
from studies.planning.jobs import plan, seconds_ahead

#: So few steps that no answer is learnt before the last.
CUTS = Thresholds(relearning_steps=1, relearning_rate=1e-5)
FACTS = load_facts("world").subset(list(range(26)))


def test_the_depth_puts_through_the_blocks_what_the_plan_says():
    pair = load_pair("organism-base", "organism-evasive-high")
    answers = ask_both(pair, FACTS)
    outcomes = outcomes_of(pair, answers)
    questions = known_questions(pair, answers, outcomes)
    told = depth_cost(pair, answers, outcomes, questions.examples, "raw", CUTS, 0)
    with counted(pair) as count:
        rows = depth_evidence(pair, answers, outcomes, thresholds=CUTS)
    assert {"relearned", "probe", "log_p"} <= set(rows.table["condition"])
    assert told.layer_tokens == count.tokens["depth"] + count.tokens[""]
    assert told.seconds > 0 and told.rows > 0


def test_what_follows_the_answers_is_told_once_they_are_there():
    pair = load_pair("organism-base", "organism-evasive-high")
    heard = []
    with pytest.raises(InterruptedError):
        compare(pair, FACTS, answered=lambda found: (heard.append(found), stop()))
    (found,) = heard
    assert len(found.outcomes.known_groups) == len(FACTS)
    how = {"budget": 2**30, "null": None, "depth": True, "seed": 0}
    assert seconds_ahead(pair, found, **how) > 0
    same = replace(found, outcomes=replace(found.outcomes, identical=True))
    assert seconds_ahead(pair, same, **how) == 0


def stop() -> None:
    raise InterruptedError


def test_the_depth_of_prompts_is_refused_as_by_the_job():
    pair = load_pair("organism-base", "organism-evasive-high")
    with pytest.raises(ValueError, match="the depth of a change is told of facts"):
        plan(pair, ["One prompt is", "Another is"], depth=True)
