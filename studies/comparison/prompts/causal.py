"""The causal half for prompts of any kind: stitching with its controls, and the shared shift."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from interp.evidence import Evidence
from interp.metrics import Metric, says, token_contrast
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.progress import stage
from interp.runs.run import waiting
from interp.verdict.prompts.controls import BEFORE, OTHER_PAIR, OTHER_READOUT
from interp.verdict.thresholds import Thresholds
from patching.methods.grids import cross_patch
from patching.methods.pushes import FOLDS
from patching.methods.stitching import stitch
from studies.comparison.causal import CARRIED, CROSS_PATCHED, carried_by, drawn, shift_evidence
from studies.comparison.prompts.earlier import earlier_evidence
from studies.comparison.prompts.outputs import Changed

#: Whose final norm and unembedding read every stitched cell.
Readout = Literal["tuned", "base", "both"]
READOUTS = get_args(Readout)

#: Positions at which the two models are crossed.
SPANS = ("all", "last")

#: Draws of the push with random signs.
SIGN_DRAWS = 9


def open_evidence(
    pair: ModelPair,
    changed: Changed,
    *,
    readout: Readout = "tuned",
    thresholds: Thresholds,
    null: Model | None = None,
    seed: int = 0,
    max_bytes: int,
) -> Evidence:
    """Stitching with its controls, cross-model patching and the shared shift, as one table.

    Args:
        pair: base and tuned model.
        changed: the changed prompts at their sites.
        readout: whose final norm and unembedding read all cells; "both" reads each with either, and
            the verdict rests on the tuned model's.
        thresholds: the verdict's cut-offs, which decide how much must be measured.
        null: a null tune of the same base, whose shift is one more placebo.
        seed: of placebos and of the choice of prompts.
        max_bytes: memory for activations beside the models; changes no number.

    Returns:
        Methods ``stitch``, ``cross_patch``, ``carriers`` and ``shift``, each as it comes from
        `patching`, and ``earlier`` as `earlier_evidence` gives it.
    """
    questions = changed.questions
    stage("stitching", parts=4)
    metrics = stitched_metrics(pair, changed, readout)
    stitched = stitch(pair, questions.examples, metrics, max_bytes=max_bytes)
    parts = [stitched]
    parts.append(earlier_evidence(pair, changed, seed=seed, max_bytes=max_bytes))
    stage("patching", parts=3)
    few = questions.subset(questions.output_rows.nonzero()[:CROSS_PATCHED, 0])
    if len(few.examples):
        output = token_contrast(few.examples, few.plus, few.minus)
        parts.append(
            cross_patch(pair, few.examples, {"output": output}, positions=SPANS, max_bytes=max_bytes)
        )
        rows = _one_a_unit(changed, questions.output_rows, CARRIED, seed)
        reader = pair.base if readout == "base" else pair.tuned
        parts.append(
            carried_by(pair, questions.subset(rows), reader=reader, seed=seed, max_bytes=max_bytes)
        )
    if waiting():  # other shards have yet to measure what decides where the push is tested
        return Evidence.concat(parts)
    rows = _one_a_unit(changed, questions.shifted_rows, thresholds.shifted_groups, seed)
    if len(rows) >= FOLDS:
        stage("shared shift", parts=12)
        shift = shift_evidence(
            pair,
            questions.subset(rows),
            torch.ones(len(rows), dtype=torch.bool, device=rows.device),
            stitched,
            questions.examples.templates[0],
            null=null,
            closed=False,
            sign_draws=SIGN_DRAWS,
            thresholds=thresholds,
            seed=seed,
            max_bytes=max_bytes,
        )
        parts.append(shift)
    return Evidence.concat(parts)


def stitched_metrics(pair: ModelPair, changed: Changed, readout: Readout) -> dict[str, Metric]:
    """The contrast of the two tokens, and beside it its controls, all read in the same cells.

    Args:
        pair: base and tuned model.
        changed: the changed prompts at their sites.
        readout: whose final norm and unembedding read all cells.
    """
    questions, examples = changed.questions, changed.questions.examples
    reader = pair.base if readout == "base" else pair.tuned
    output = token_contrast(examples, questions.plus, questions.minus)
    metrics = {
        "output": output,
        "said": says(examples, questions.target),
        BEFORE: replace(output, positions=_before(changed)),
        OTHER_PAIR: token_contrast(examples, changed.pair[:, 0], changed.pair[:, 1]),
    }
    metrics = {name: metric.read_by(reader) for name, metric in metrics.items()}
    if readout == "both":
        metrics[OTHER_READOUT] = output.read_by(pair.base)
    return metrics


def _before(changed: Changed) -> Int[Tensor, " example"]:
    """The column before each site; the first token's own where there is none before it."""
    examples = changed.questions.examples
    return torch.maximum(examples.position("last") - 1, examples.starts)


def _one_a_unit(
    changed: Changed, chosen: Bool[Tensor, " example"], most: int, seed: int
) -> Int[Tensor, " row"]:
    """Of some rows the first of every unit, at most so many."""
    first: dict[str, int] = {}
    for row in chosen.nonzero()[:, 0].tolist():
        first.setdefault(changed.units[row], row)
    rows = torch.tensor(sorted(first.values()), dtype=torch.long)
    return drawn(rows, most, seed).to(changed.questions.plus.device)
