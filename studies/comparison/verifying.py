"""Whether saved results are what their models give: a sample of their cells, measured again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from interp.evidence import Evidence
from interp.facts.types import FactSet
from interp.metrics import logit_difference
from interp.models.loading import PARITY
from interp.models.pair import ModelPair
from interp.sites import Kind, every_layer
from interp.verdict.thresholds import Thresholds
from patching.methods.grids import patch_sites
from patching.methods.stitching import stitch
from studies.comparison.answers import ask_both
from studies.comparison.causal import RowPlan, gridded, stitched_metrics
from studies.comparison.known_questions import known_questions
from studies.comparison.outcome_table import outcomes_of
from studies.comparison.questions import Prompt

#: Columns that tell one cell of the evidence from another.
KEYS = ["method", "condition", "metric", "model", "donor", "layer", "position", "example"]


@dataclass(frozen=True)
class Agreement:
    """A sample of cells, measured again.

    Attributes:
        cells: how many were.
        largest: the largest difference, in the metric's unit.
        apart: those that differ by more than rounding, a line each.
    """

    cells: int
    largest: float
    apart: tuple[str, ...]


def measured_again(
    pair: ModelPair,
    facts: FactSet,
    evidence: Evidence,
    *,
    prompt: Prompt,
    seed: int,
    budget: int,
    draw: int = 0,
    prompts: int = 4,
) -> Agreement:
    """Measure some stitched and patched cells of a saved comparison again.

    Args:
        pair: the models it compared.
        facts: the facts it asked about.
        evidence: what it saved.
        prompt: as it was asked, "raw" or "chat".
        seed: of the comparison.
        budget: bytes of memory for activations.
        draw: seed of the sample.
        prompts: how many prompts are stitched again, at every boundary.

    Returns:
        How far the cells agree: up to rounding, since other cells share a pass with them.
    """
    answers = ask_both(pair, facts, None, prompt=prompt, max_bytes=budget)
    outcomes = outcomes_of(pair, answers)
    if outcomes.identical:
        return Agreement(0, 0.0, ())
    questions = known_questions(pair, answers, outcomes)
    plan = RowPlan.of(questions, Thresholds(), seed)
    generator = torch.Generator().manual_seed(draw)
    chosen = torch.randperm(len(questions.examples), generator=generator)[:prompts].sort().values
    examples = questions.examples.subset(chosen)
    metrics = {
        name: metric.subset(chosen.to(metric.positions.device))
        for name, metric in stitched_metrics(questions, plan).items()
    }
    again = [numbered(stitch(pair, examples, metrics, max_bytes=budget), chosen.tolist())]
    if plan.paired is not None:
        number = int(torch.randint(len(gridded(plan.paired)), (), generator=generator))
        one = plan.paired.subset([number])
        sites = every_layer(Kind.RESID_PRE, pair.base.n_layers)
        grid = patch_sites(pair.base, one, sites, logit_difference(one), max_bytes=budget)
        again.append(numbered(grid, [number]))
    return agreement(keyed(pd.concat(again)), keyed(evidence.table), pair)


def numbered(evidence: Evidence, numbers: Sequence[int]) -> pd.DataFrame:
    """Rows whose examples bear the numbers that they have in the whole."""
    table = evidence.table
    return table.assign(example=[numbers[int(i)] for i in table["example"]])


def agreement(again: pd.Series, saved: pd.Series, pair: ModelPair) -> Agreement:
    """How far cells that were measured again agree with those that were saved.

    Args:
        again: the values, each under the text that tells its cell.
        saved: the same; those that were not measured again are passed over.
        pair: the models, whose dtype tells how far rounding goes.
    """
    parity = PARITY.get(pair.base.dtype, 0.05)
    both = pd.DataFrame({"again": again, "saved": saved.reindex(again.index)})
    gap = (both["again"] - both["saved"]).abs().to_numpy(dtype=float)
    size = np.maximum(1.0, both["again"].abs().to_numpy(dtype=float))
    wrong = ~(gap <= parity * 10 * size)
    apart = [
        f"{cell} is {was:.6g}, measured again {now:.6g}"
        for cell, now, was in both[wrong].itertuples(name=None)
    ]
    return Agreement(len(both), float(np.nanmax(gap, initial=0.0)), tuple(apart))


def joined(parts: Sequence[Agreement]) -> Agreement:
    """Several samples as one."""
    return Agreement(
        sum(part.cells for part in parts),
        max((part.largest for part in parts), default=0.0),
        tuple(line for part in parts for line in part.apart),
    )


def differing(again: Mapping[str, object], saved: Mapping[str, object]) -> Agreement:
    """The same of words, which are equal or not.

    Args:
        again: what there is now, each under the text that tells its cell.
        saved: the same as it was saved.
    """
    apart = [
        f"{cell} is {saved.get(cell)!r:.60}, measured again {now!r:.60}"
        for cell, now in again.items()
        if saved.get(cell) != now
    ]
    return Agreement(len(again), 0.0, tuple(apart))


def keyed(table: pd.DataFrame) -> pd.Series:
    """The values under one text for each cell; of cells under two names the first."""
    keys = table[KEYS].astype(object)
    text = keys.where(keys.notna(), "").astype(str).agg(" ".join, axis=1).str.split().str.join(" ")
    held = pd.Series(table["value"].astype(float).to_numpy(), index=text.to_numpy())
    return held[~held.index.duplicated()]


def drawn(names: Sequence[str], count: int, draw: int) -> list[str]:
    """So many of these at random, in their order."""
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(draw))
    return [names[int(i)] for i in sorted(order[:count].tolist())]
