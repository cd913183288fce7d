"""`studies.plan` of prompts of any kind: a job whose work hangs on what the models say.

A few prompts are really asked, and the others are taken to be like the nearest of them. Interventions
are scheduled and not run. Beside the plan stands the most that the prompts can cost: all of them
changed, at the last token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from interp.evidence import Evidence
from interp.examples import Examples
from interp.facts.prompts.files import PromptSet
from interp.models.alike import alike
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.sites import boundaries
from interp.verdict.boundaries import installed_boundary
from interp.verdict.thresholds import Thresholds
from patching.methods.pushes import FOLDS, read_together
from patching.methods.stitching import stitch
from studies.comparison.causal import RowPlan
from studies.comparison.prompts.causal import SIGN_DRAWS, SPANS, Readout, stitched_metrics
from studies.comparison.prompts.labels import label_examples
from studies.comparison.prompts.outputs import Changed
from studies.comparison.questions import Prompt
from studies.comparison.stages import CONTINUED
from studies.planning import ending, work
from studies.planning.costs import Rates
from studies.planning.fits import label_readings, pushing_seconds
from studies.planning.memory import weights_bytes
from studies.planning.open.heard import Asked, Heard, examples_of
from studies.planning.open.work import continuing, interventions, stitching
from studies.planning.plans import Cost, JobPlan

#: Changed prompts on which it is found where the change is installed, by stitching.
STITCHED = 4


def plan_prompts(
    pair: ModelPair,
    prompts: PromptSet,
    *,
    budget: int,
    prompt: Prompt,
    tokens: int | None,
    readout: Readout,
    null: Model | None,
    thresholds: Thresholds,
    seed: int,
) -> JobPlan:
    """What `studies.compare` of prompts would cost, stage by stage; see `studies.plan`."""
    asked = Asked.of(
        pair, prompts, prompt=prompt, tokens=tokens, thresholds=thresholds, seed=seed, budget=budget
    )
    return prompts_plan(asked, readout, null=null is not None)


def prompts_ahead(
    pair: ModelPair,
    prompts: PromptSet,
    *,
    readout: Readout,
    null: Model | None,
    **how: Any,
) -> JobPlan:
    """What a comparison would cost if half of the prompts changed; none is asked."""
    asked = Asked.of(pair, prompts, thresholds=Thresholds(), ask=False, **how)
    return prompts_plan(asked, readout, null=null is not None)


def prompts_plan(asked: Asked, readout: Readout, *, null: bool) -> JobPlan:
    """What a comparison of prompts of which a few were asked would cost."""
    job = Unrun.of(asked, readout, null=null)
    return asked.plan(
        list(CONTINUED),
        job.costs(asked.foretold),
        job.costs(asked.most),
        f"foretold: where random shifts are tried, by stitching {STITCHED} changed prompts",
    )


@dataclass(frozen=True, eq=False)
class Unrun:
    """A comparison of prompts whose interventions are not run.

    Attributes:
        asked: the prompts.
        rates: what interventions take.
        metrics: how many contrasts are read of every stitched run.
        installed: the boundaries at which random shifts would be tried.
        null: whether a null tune is one more placebo.
        sample: some rows of evidence; None where too little changed to be stitched.
    """

    asked: Asked
    rates: Rates
    metrics: int
    installed: tuple[int, ...]
    null: bool
    sample: Evidence | None

    @classmethod
    def of(cls, asked: Asked, readout: Readout, *, null: bool) -> Unrun:
        """Measure what interventions take, and stitch a few of the changed prompts."""
        pair, changed = asked.pair, asked.pilot.changed
        middle, metrics = (pair.base.n_layers // 2,), 4 + (readout == "both")
        if changed is None:
            given = examples_of(pair, asked.rendered, asked.rendered.texts[: len(asked.pilot.index)])
            rates = Rates.measured(pair.base, given, asked.budget)
            return cls(asked, rates, metrics, middle, null, None)
        questions = changed.questions
        rates = Rates.measured(pair.base, questions.examples, asked.budget)
        few = _subset(changed, questions.output_rows.nonzero()[:STITCHED, 0])
        examples = few.questions.examples
        if len(examples) < STITCHED:
            return cls(asked, rates, metrics, middle, null, None)
        stitched = stitch(pair, examples, stitched_metrics(pair, few, readout), max_bytes=asked.budget)
        halves = installed_boundary(
            stitched, examples.groups, asked.thresholds, asked.seed, form=examples.templates[0]
        )
        return cls(asked, rates, metrics, halves.layers or middle, null, stitched.with_provenance())

    def costs(self, heard: Sequence[Heard]) -> dict[str, Cost]:
        """What every stage costs where the prompts come to this."""
        asked, pair = self.asked, self.asked.pair
        given, read = asked.widths
        same, thresholds = alike(pair.base, pair.tuned), asked.thresholds
        talk = continuing(given, heard, asked.rates)
        if any(asked.rendered.readings):  # those that have none are then left out
            readings = zip(heard, asked.rendered.readings, strict=True)
            heard = [one if text else replace(one, changed=False) for one, text in readings]
        changed = [i for i, one in enumerate(heard) if one.changed]
        ends = [read[i] + (heard[i].place or 0) for i in changed]
        talk.ends(ends, asked.rates.together)
        costs = {"asking": talk.cost(asked.rates)}
        if changed:
            units = list(asked.rendered.units[: len(heard)])
            examples, rows = interventions(
                read, heard, units, self.metrics, thresholds.shifted_groups, pair.base.device
            )
            costs["stitching"] = self.rates.of(stitching(examples, rows, same))
            patched = work.patching(examples, rows, same, int(pair.base.n_heads), SPANS)
            costs["patching"] = self.rates.of(patched)
            if len(rows.shifted) >= FOLDS:
                costs["shared shift"] = self._shift(examples, rows, [heard[i] for i in changed])
        costs["probing"] = self._labels()
        made = sum(cost.rows for cost in costs.values())
        weights = sum(weights_bytes(model) for model in (pair.base, pair.tuned))
        return {
            **costs,
            "judging": ending.judging(weights, made),
            "writing": ending.writing(made, self.sample),
        }

    def _labels(self) -> Cost:
        """What probes of the labels cost."""
        asked = self.asked
        examples, _, _ = label_examples(asked.pair, asked.rendered, asked.thresholds)
        if examples is None:
            return Cost()
        read, n_layers = work.Work(), asked.pair.base.n_layers
        same = alike(asked.pair.base, asked.pair.tuned)
        read.read_both(examples, boundaries(n_layers), same, kept=False)
        seconds, rows = label_readings(asked.pair, examples, asked.seed)
        cost = self.rates.of(read)
        return replace(cost, seconds=cost.seconds + seconds, rows=rows)

    def _shift(self, examples: Examples, rows: RowPlan, heard: Sequence[Heard]) -> Cost:
        """What the shared shift costs."""
        asked, pair = self.asked, self.asked.pair
        changed = examples.subset(rows.shifted)
        installed = work.members(len(changed), self.installed)
        together = read_together(pair.base, changed, asked.budget)
        shift = work.ShiftRows(
            changed, changed, together, installed, frozenset(installed), self.null, SIGN_DRAWS
        )
        same = alike(pair.base, pair.tuned)
        cost = self.rates.of(work.shared_shift(shift, same, asked.thresholds))
        targets = [heard[i].target or 0 for i in rows.shifted.tolist()]
        said = torch.tensor(targets, device=changed.tokens.device)
        fitted = pushing_seconds(pair, shift, said, asked.thresholds, asked.seed)
        return replace(cost, seconds=cost.seconds + fitted)


def _subset(changed: Changed, rows: torch.Tensor) -> Changed:
    """Some of the changed prompts."""
    units = tuple(changed.units[i] for i in rows.tolist())
    few = replace(changed, questions=changed.questions.subset(rows), units=units)
    return replace(few, spoken=changed.spoken[rows], pair=changed.pair[rows])
