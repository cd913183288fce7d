"""The plan of a comparison counts what the comparison puts through its blocks, stage by stage."""

import pytest
from stage_tokens import counted

from interp.facts.loading import load_facts
from interp.models.alike import Alike, alike
from interp.models.loading import load_pair
from interp.models.pair import ModelPair
from interp.verdict.thresholds import Thresholds
from studies.comparison.answers import ask_both
from studies.comparison.causal import RowPlan
from studies.comparison.comparing import compare
from studies.comparison.known_questions import known_questions
from studies.comparison.outcome_table import outcomes_of
from studies.comparison.result import Comparison
from studies.comparison.stages import ASKED
from studies.planning.costs import Rates
from studies.planning.jobs import Unrun, plan
from studies.planning.plans import JobPlan
from studies.planning.work import shared_shift

# Few entities are enough to count by.
pytestmark = pytest.mark.filterwarnings("ignore::probes.splits.SmallSample")

#: Few draws: what is counted is as exact, and quicker.
FEW = Thresholds(
    placebo_shifts=5, placebo_groups=8, label_draws=19, control_draws=5, draws=50, attribute_side=3,
    statement_facts=8, handover_pairs=5, handover_entities=4,
)  # fmt: skip
FACTS = load_facts("world").subset(list(range(12)))
SWEPT = ("asking", "stitching", "patching", "shared shift", "probing")


class Job:
    """A comparison that really ran: its result, its stages, and the tokens each put through blocks."""

    def __init__(self, pair: ModelPair, budget: int) -> None:
        self.budget = budget
        with counted(pair) as count:
            self.result: Comparison = compare(pair, FACTS, thresholds=FEW, budget=budget)
        self.stages, self.tokens = count.stages, count.tokens


@pytest.fixture(scope="module")
def pair() -> ModelPair:
    return load_pair("organism-base", "organism-evasive-high")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(2**31, id="whole"),
        pytest.param(2**23, id="in pieces", marks=pytest.mark.slow),
    ],
)
def both(request, pair) -> tuple[JobPlan, Job]:
    budget = request.param
    return plan(pair, FACTS, thresholds=FEW, budget=budget), Job(pair, budget)


def test_every_stage_puts_through_the_blocks_what_the_plan_says(both):
    told, ran = both
    expected = {stage.name: stage.layer_tokens for stage in told.stages if stage.layer_tokens}
    assert set(expected) == set(ran.tokens) == set(SWEPT)
    for name in ("asking", "stitching", "probing"):
        assert expected[name] == ran.tokens[name], name
    # Which heads carry the change, where it is installed and facts arrive is foretold, not known.
    for name in ("patching", "shared shift"):
        assert expected[name] == pytest.approx(ran.tokens[name], rel=0.25), name


def test_the_shared_shift_is_exact_where_its_boundaries_are_known(pair, both):
    _, ran = both
    found = ran.result.evidence.table.query("method == 'shift' and condition == 'installed'")
    installed = {int(k): len(part) for k, part in found.groupby("layer")}
    arrived = ran.result.verdict.handover.estimate
    answers = ask_both(pair, FACTS)
    outcomes = outcomes_of(pair, answers)
    questions = known_questions(pair, answers, outcomes)
    job = Unrun(pair, answers.queries, questions, outcomes.estimating_form, FEW, 0, ran.budget)
    rows = RowPlan.of(questions, FEW, 0)
    shift = job.shift_rows(rows, installed, None if arrived is None else arrived - 1)
    rates = Rates.measured(pair.base, questions.examples, ran.budget)
    cost = rates.of(shared_shift(shift, alike(pair.base, pair.tuned), FEW))
    assert cost.layer_tokens == ran.tokens["shared shift"]
    assert cost.rows + len(found) + len(FACTS) == pytest.approx(
        len(ran.result.evidence.rows(method="shift")), rel=0.02
    )
    # Block 4 is the first that differs: below it there is no push, and no random shift is tried.
    below = job.shift_rows(rows, {0: len(FACTS)}, None)
    fewer = rates.of(shared_shift(below, alike(pair.base, pair.tuned), FEW))
    assert fewer.layer_tokens < cost.layer_tokens
    every = rates.of(shared_shift(below, Alike.nothing(pair.base.n_layers), FEW))
    assert every.layer_tokens > cost.layer_tokens, "of models that may differ everywhere"


def test_the_stages_are_those_of_the_job(both):
    told, ran = both
    assert [stage.name for stage in told.stages] == list(ASKED)
    assert ran.stages == list(ASKED)[:-1], "what is compared without a folder is not written"


def test_the_rows_are_those_of_the_evidence(both):
    told, ran = both
    table = ran.result.evidence.table
    methods = {
        "stitching": ["stitch"],
        "patching": ["handover", "patch", "cross_patch", "carriers"],
        "shared shift": ["shift"],
        "probing": ["claim", "probe", "readable", "transfer", "transfer_control"],
    }
    for stage in told.stages:
        if stage.name in methods:
            rows = table["method"].isin(methods[stage.name]).sum()
            assert stage.rows == pytest.approx(rows, rel=0.1), stage.name
