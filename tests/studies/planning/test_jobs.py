"""The plan of a comparison counts what the comparison puts through its blocks, stage by stage."""

from collections import Counter

import pytest

from interp import progress
from interp.facts.loading import load_facts
from interp.models.block_calls import named
from interp.models.loading import load_pair
from interp.models.pair import ModelPair
from interp.verdict.thresholds import Thresholds
from patching.engine.reuse import reuse
from studies.comparison.comparing import Comparison, compare
from studies.comparison.stages import ASKED
from studies.planning.jobs import plan
from studies.planning.plans import JobPlan

#: Few draws: what is counted is as exact, and quicker.
FEW = Thresholds(placebo_shifts=5, label_draws=19, control_draws=5, draws=50, placebo_groups=8)
FACTS = load_facts("world").subset(list(range(24)))
SWEPT = ("asking", "stitching", "patching", "shared shift", "probing")


class Job:
    """A comparison that really ran: its result, its stages, and the tokens each put through blocks."""

    def __init__(self, pair: ModelPair, **same) -> None:
        self.stages, self.tokens = [], Counter()
        handles = [
            block.register_forward_pre_hook(self.see, with_kwargs=True)
            for model in (pair.base, pair.tuned)
            for block in model.bridge.blocks
        ]
        for model in (pair.base, pair.tuned):
            reuse(model)  # what is found about a model is found once
        self.stages, self.tokens = [], Counter()
        enter = progress._Job.enter
        patch = pytest.MonkeyPatch()
        patch.setattr(
            progress._Job, "enter", lambda job, *at: (self.stages.append(at[0]), enter(job, *at))
        )
        try:
            self.result: Comparison = compare(pair, FACTS, **same)
        finally:
            patch.undo()
            for handle in handles:
                handle.remove()

    def see(self, block, args, kwargs) -> None:
        hidden = named(block, args, kwargs)[0]
        self.tokens[self.stages[-1] if self.stages else ""] += hidden.shape[0] * hidden.shape[1]


def planned(pair: ModelPair, **same) -> JobPlan:
    return plan(pair, FACTS, **same)


@pytest.fixture(scope="module")
def pair() -> ModelPair:
    return load_pair("organism-base", "organism-evasive-high")


@pytest.fixture(scope="module", params=[2**31, 2**23], ids=["whole", "in pieces"])
def both(request, pair) -> tuple[JobPlan, Job]:
    same = {"thresholds": FEW, "budget": request.param}
    return planned(pair, **same), Job(pair, **same)


def test_every_stage_puts_through_the_blocks_what_the_plan_says(both):
    told, ran = both
    expected = {stage.name: stage.layer_tokens for stage in told.stages if stage.layer_tokens}
    assert expected == dict(ran.tokens) and set(expected) == set(SWEPT)


def test_the_stages_are_those_of_the_job(both, tmp_path):
    told, ran = both
    ran.result.save(tmp_path / "out", svg=False)
    assert [stage.name for stage in told.stages] == [*ran.stages, "writing"] == list(ASKED)


def test_the_rows_are_those_of_the_evidence(both):
    told, ran = both
    table = ran.result.evidence.table
    methods = {
        "stitching": ["stitch"],
        "patching": ["handover", "patch", "cross_patch"],
        "shared shift": ["shift"],
        "probing": ["claim", "probe", "readable", "transfer", "transfer_control"],
    }
    for stage in told.stages:
        if stage.name in methods:
            rows = table["method"].isin(methods[stage.name]).sum()
            assert stage.rows == pytest.approx(rows, rel=0.1), stage.name
