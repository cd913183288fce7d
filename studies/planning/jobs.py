"""`studies.plan`: what a whole comparison would cost, told from a few percent of it.

Both models are really asked, so that the row sets are the job's own. Every sweep is then scheduled and
not run. Seconds come from runs of a second or so on this machine: calls of a block, edited runs behind
the last block, pushes at one boundary, probes of every attribute at one boundary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from interp.evidence import Evidence
from interp.facts.prompts.files import PromptSet
from interp.facts.types import FactSet
from interp.models.alike import alike
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.verdict.boundaries import installed_boundary
from interp.verdict.thresholds import Thresholds
from patching.engine.schedule import MAX_BYTES
from patching.methods.pushes import FOLDS, read_together
from patching.methods.stitching import stitch
from studies.comparison.answers import ask_both
from studies.comparison.causal import RowPlan, stitched_metrics
from studies.comparison.comparing import Answered, reference_facts, refuse_depth, task_of
from studies.comparison.known_questions import KnownQuestions, known_questions
from studies.comparison.outcome_table import outcomes_of
from studies.comparison.prompts.causal import Readout
from studies.comparison.questions import Prompt, Queries
from studies.comparison.representational import claim_boundary
from studies.comparison.stages import ASKED, with_depth
from studies.planning import ending, work
from studies.planning.costs import Rates, counted
from studies.planning.depth import TAUGHT, depth_cost
from studies.planning.fits import pushing_seconds, readings
from studies.planning.memory import held_bytes, weights_bytes
from studies.planning.open.jobs import plan_prompts
from studies.planning.plans import Cost, JobPlan, staged

#: Changed facts on which it is found where the change is installed, by stitching.
PILOT = 4

#: What is taken for granted of a stage.
ASSUMED = {
    "shared shift": f"foretold: where random shifts are tried, by stitching {PILOT} changed facts; "
    "which layer hands the fact over, by the declared depth of claims; which heads carry the change, "
    "by spreading them over the blocks",
    "depth": TAUGHT,
}


def plan(
    pair: ModelPair,
    task: FactSet | PromptSet | str | Path | pd.DataFrame | Sequence[str],
    *,
    budget: int = MAX_BYTES,
    prompt: Prompt = "raw",
    tokens: int | None = None,
    readout: Readout = "tuned",
    null: Model | None = None,
    depth: bool = False,
    thresholds: Thresholds | None = None,
    seed: int = 0,
) -> JobPlan:
    """What `studies.compare` with the same arguments would cost, stage by stage.

    Args:
        pair: base and tuned model.
        task: facts or prompts of any kind, as `studies.compare` takes them.
        budget: bytes of memory for activations beside the models.
        prompt: "raw", or "chat" for the tuned model's chat template.
        tokens: of prompts, how many would be generated; by default 32, or half of the models' context.
        readout: of prompts, who would read the stitched cells.
        null: a null tune of the same base, whose shift is one more placebo.
        depth: of facts, whether the depth of the change would be asked too.
        thresholds: declared cut-offs, which decide how much must be measured.
        seed: of splits, placebos and resampling.

    Returns:
        A `JobPlan`; printed, it is a table. Counts are those of the job, but for where random shifts
        are tried, which a stitch of a few facts foretells. Of many prompts a few are asked and foretell
        what all come to; `most` is what they cost if all change. Seconds are of this machine as it is
        now.

    Raises:
        ValueError: as `studies.compare`, which would end in the same line.

    Example:
        >>> import interp, studies
        >>> pair = interp.load_pair("organism-base", "organism-evasive-high")
        >>> cost = studies.plan(pair, interp.load_facts("world").subset(list(range(24))))
        >>> cost.counts["known"], cost.counts["changed"], [stage.name for stage in cost.stages][:3]
        (24, 24, ['asking', 'stitching', 'patching'])
        >>> cost.seconds > 0 and cost.peak_bytes > 0
        True
    """
    facts, thresholds = task_of(task), thresholds or Thresholds()
    refuse_depth(facts, depth)
    if isinstance(facts, PromptSet):
        return plan_prompts(
            pair, facts, budget=budget, prompt=prompt, tokens=tokens, readout=readout, null=null,
            thresholds=thresholds, seed=seed,
        )  # fmt: skip
    with counted(pair) as asking:
        reference = reference_facts(facts, seed)
        answers = ask_both(pair, facts, reference, prompt=prompt, max_bytes=budget)
        outcomes = outcomes_of(pair, answers)
        questions = known_questions(pair, answers, outcomes)
    costs = {"asking": Cost(layer_tokens=asking.layer_tokens, seconds=asking.seconds)}
    sample = None
    if not outcomes.identical:
        form = outcomes.estimating_form
        job = Unrun(pair, answers.queries, questions, form, thresholds, seed, budget)
        interventions, sample = job.costs(null)
        costs |= interventions
    if depth and outcomes.changed_groups:
        how = (prompt, thresholds, seed)
        costs["depth"] = depth_cost(pair, answers, outcomes, questions.examples, *how)
    rows = sum(cost.rows for cost in costs.values())
    costs["judging"] = ending.judging(weights_bytes(pair.base) + weights_bytes(pair.tuned), rows)
    costs["writing"] = ending.writing(rows, sample)
    return JobPlan(
        pair.base.name,
        pair.tuned.name,
        counts={
            "facts": len(facts),
            "known": len(outcomes.known_groups),
            "changed": len(outcomes.changed_groups),
        },
        stages=staged(with_depth(ASKED, depth), costs, held_bytes(pair)),
        assumed=tuple(told for name, told in ASSUMED.items() if name in costs),
    )


def seconds_ahead(
    pair: ModelPair,
    found: Answered,
    *,
    budget: int,
    null: Model | None,
    depth: bool,
    seed: int,
) -> float:
    """Seconds of all that follows the answers, told within a few.

    Interventions are scheduled; what probes, the verdict and the report take is told from them by the
    stages' shares of the time.

    Args:
        pair: base and tuned model.
        found: what both answered.
        budget: bytes of memory for activations.
        null: a null tune, as one more placebo.
        depth: whether the depth of the change is asked.
        seed: of the row sets.
    """
    if found.outcomes.identical:
        return 0.0
    form, thresholds = found.outcomes.estimating_form, Thresholds()
    job = Unrun(pair, found.answers.queries, found.questions, form, thresholds, seed, budget)
    rates = Rates.measured(pair.base, found.questions.examples, budget)
    costs, shares = job.interventions(rates, null), with_depth(ASKED, depth)
    known = sum(cost.seconds for cost in costs.values()) / sum(shares[name] for name in costs)
    return known * sum(share for name, share in shares.items() if name != "asking")


@dataclass(frozen=True, eq=False)
class Unrun:
    """A comparison whose questions are asked and whose interventions are not run.

    Attributes:
        pair: base and tuned model.
        queries: what was asked.
        questions: the known facts' questions.
        form: the form on which effects are estimated.
        thresholds: how much must be measured.
        seed: of the row sets.
        budget: bytes for activations.
    """

    pair: ModelPair
    queries: Queries
    questions: KnownQuestions
    form: str
    thresholds: Thresholds
    seed: int
    budget: int

    def costs(self, null: Model | None) -> tuple[dict[str, Cost], Evidence]:
        """What the stages between asking and judging cost, by name; and some rows of evidence."""
        pair, questions = self.pair, self.questions
        rates = Rates.measured(pair.base, questions.examples, self.budget)
        costs = self.interventions(rates, null)
        read = readings(pair, self.queries, questions, self.form, self.thresholds, self.seed)
        same = alike(pair.base, pair.tuned)
        probed = work.probing(read.entities, read.statements, read.claims, same, self.thresholds)
        cost = rates.of(probed)
        costs["probing"] = replace(
            cost, rows=cost.rows + read.rows, seconds=cost.seconds + read.seconds
        )
        return costs, read.sample

    def interventions(self, rates: Rates, null: Model | None) -> dict[str, Cost]:
        """What the stages cost in which the models are intervened on.

        Args:
            rates: what the models' work takes.
            null: a null tune, as one more placebo.
        """
        pair, questions, layers = self.pair, self.questions, self.pair.base.n_layers
        examples, same = questions.examples, alike(pair.base, pair.tuned)
        rows = RowPlan.of(questions, self.thresholds, self.seed)
        costs = {
            "stitching": rates.of(work.stitching(examples, rows, same)),
            "patching": rates.of(work.patching(examples, rows, same, int(pair.base.n_heads))),
        }
        if int(rows.pushed.sum()) >= FOLDS:
            count = int(rows.pushed.sum())
            installed = work.members(count, self.installed(rows))
            # Where facts arrive: the handover tells it, and claims are tested there beforehand.
            arrived = claim_boundary(layers, "last", self.thresholds) - 1
            shift = self.shift_rows(rows, installed, arrived, null=null is not None)
            cost = rates.of(work.shared_shift(shift, same, self.thresholds))
            said = questions.target[rows.shifted[rows.pushed]]
            fitted = pushing_seconds(pair, shift, said, self.thresholds, self.seed)
            costs["shared shift"] = replace(cost, seconds=cost.seconds + fitted)
        return costs

    def installed(self, rows: RowPlan) -> tuple[int, ...]:
        """The boundaries at which random shifts would be tried, by stitching a few changed facts."""
        few = self.questions.subset(rows.shifted[rows.pushed][:PILOT])
        metrics = stitched_metrics(few, RowPlan.of(few, self.thresholds, self.seed))
        stitched = stitch(self.pair, few.examples, metrics, max_bytes=self.budget)
        groups = few.examples.groups
        halves = installed_boundary(stitched, groups, self.thresholds, self.seed, form=self.form)
        return halves.layers

    def shift_rows(
        self, rows: RowPlan, installed: Mapping[int, int], arrived: int | None, *, null: bool = False
    ) -> work.ShiftRows:
        """What the shared shift would run on.

        Args:
            rows: the row sets.
            installed: boundary -> how many of the changed prompts are read there.
            arrived: the boundary below the handover.
            null: whether a null tune is one more placebo.
        """
        everyone = self.questions.examples.subset(rows.shifted)
        changed = everyone.subset(rows.pushed)
        together = read_together(self.pair.base, changed, self.budget)
        read = {*installed, *([] if arrived is None else [arrived])}
        return work.ShiftRows(changed, everyone, together, installed, frozenset(read), null)
