"""The causal half of the main job: every intervention the verdict reads, on one set of questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from interp.contrasts import Contrast
from interp.evidence import Evidence
from interp.metrics import Metric, fact_contrast, logit_difference, says, token_contrast
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.progress import stage
from interp.runs.run import waiting
from interp.sites import Kind, every_layer
from interp.verdict.boundaries import Installed, handover_layer, installed_boundary, record
from interp.verdict.thresholds import Thresholds
from patching.attribution.carriers import carriers
from patching.methods.grids import cross_patch, handover, patch_sites
from patching.methods.pushes import FOLDS, part_of, read_with
from patching.methods.shifting import shared_shift
from patching.methods.stitching import stitch
from patching.places import apart
from studies.comparison.known_questions import KnownQuestions, base_pairs

#: Handover pairs, and changed groups in cross-model patching.
HANDOVER_PAIRS = 40

CROSS_PATCHED = 12

#: Pairs on a full grid of positions, and the positions that they may have together.
GRID_PAIRS, GRID_POSITIONS = 4, 64

#: Changed prompts of which heads and MLPs are exchanged one by one.
CARRIED = 16


@dataclass(frozen=True, eq=False)
class RowPlan:
    """Which questions each intervention runs on, decided once before anything runs.

    Attributes:
        stitched: contrast -> rows on which it is defined: "output" (changed groups, estimating form),
            "fact" (all that are not continued), "said" (whether the tuned token is said).
        paired: pairs of known facts for the handover; None where none align.
        crossed: changed rows for cross-model patching.
        carried: changed rows whose heads and MLPs are exchanged one by one.
        shifted: rows of the shared shift, changed and unchanged, in the order asked.
        pushed: which of `shifted` are changed.
    """

    stitched: Mapping[str, Bool[Tensor, " example"]]
    paired: Contrast | None
    crossed: Int[Tensor, " crossed"]
    carried: Int[Tensor, " carried"]
    shifted: Int[Tensor, " shifted"]
    pushed: Bool[Tensor, " shifted"]

    @classmethod
    def of(cls, questions: KnownQuestions, thresholds: Thresholds, seed: int) -> RowPlan:
        """Choose the rows.

        Args:
            questions: the known facts' questions.
            thresholds: how many changed groups are shifted at most.
            seed: decides which, where there are more.

        Returns:
            The row sets; any may be empty.
        """
        stitched = {"output": questions.output_rows, "fact": questions.plain}
        changed = questions.shifted_rows
        if bool(changed.any()):
            stitched["said"] = changed
        unchanged = questions.estimating & questions.plain & ~questions.changed
        shifted = _at_most(thresholds.shifted_groups, changed, unchanged, seed)
        return cls(
            stitched,
            base_pairs(questions, most=HANDOVER_PAIRS),
            questions.output_rows.nonzero()[:CROSS_PATCHED, 0],
            drawn(questions.output_rows.nonzero()[:, 0], CARRIED, seed),
            shifted,
            changed[shifted],
        )


def causal_evidence(
    pair: ModelPair,
    questions: KnownQuestions,
    form: str,
    *,
    thresholds: Thresholds,
    null: Model | None = None,
    seed: int = 0,
    max_bytes: int,
) -> Evidence:
    """Stitching, handover, patching, heads and MLPs exchanged, and the shared shift, as one table.

    Args:
        pair: base and tuned model.
        questions: the known facts' questions.
        form: the form on which effects are estimated.
        thresholds: the verdict's cut-offs, which decide how much must be measured.
        null: a null tune of the same base, whose shift is one more placebo.
        seed: of placebos and of the choice of groups.
        max_bytes: memory for activations beside the models; changes no number.

    Returns:
        Methods ``stitch``, ``handover``, ``patch``, ``cross_patch``, ``carriers`` and ``shift``, each
        as it comes from `patching`.
    """
    plan = RowPlan.of(questions, thresholds, seed)
    stage("stitching", parts=4)
    stitched = stitch(pair, questions.examples, stitched_metrics(questions, plan), max_bytes=max_bytes)
    parts = [stitched]
    stage("patching", parts=7)
    if plan.paired is not None:
        metric = logit_difference(plan.paired)
        parts.append(handover(pair.base, plan.paired, metric, max_bytes=max_bytes))
        parts.append(_grid(pair.base, plan.paired, max_bytes))
    if len(plan.crossed):
        examples = questions.examples.subset(plan.crossed)
        output = token_contrast(examples, questions.plus[plan.crossed], questions.minus[plan.crossed])
        parts.append(cross_patch(pair, examples, {"output": output}, max_bytes=max_bytes))
        parts.append(carried_by(pair, questions.subset(plan.carried), seed=seed, max_bytes=max_bytes))
    if waiting():  # other shards have yet to measure what decides where the push is tested
        return Evidence.concat(parts)
    kappa = handover_layer(Evidence.concat(parts), thresholds, seed).estimate
    if int(plan.pushed.sum()) >= FOLDS:
        stage("shared shift", parts=12)
        shift = shift_evidence(
            pair,
            questions.subset(plan.shifted),
            plan.pushed,
            stitched,
            form,
            fact_boundary=None if kappa is None else kappa - 1,
            null=null,
            thresholds=thresholds,
            seed=seed,
            max_bytes=max_bytes,
        )
        parts.append(shift)
    return Evidence.concat(parts)


def carried_by(
    pair: ModelPair,
    questions: KnownQuestions,
    *,
    reader: Model | None = None,
    seed: int,
    max_bytes: int,
) -> Evidence:
    """Exchange heads and MLPs of the two models one by one, and read the output contrast.

    Args:
        pair: base and tuned model.
        questions: changed ones on which the contrast is defined.
        reader: whose final norm and unembedding read every run; the running model's own by default.
        seed: of the nodes drawn beside those that are screened.
        max_bytes: memory for activations beside the models; changes no number.

    Returns:
        Method ``carriers``, as `patching.carriers` gives it.
    """
    output = token_contrast(questions.examples, questions.plus, questions.minus)
    read = output if reader is None else output.read_by(reader)
    return carriers(pair, questions.examples, read, seed=seed, max_bytes=max_bytes)


def shift_evidence(
    pair: ModelPair,
    questions: KnownQuestions,
    pushed: Bool[Tensor, " example"],
    stitched: Evidence,
    form: str,
    *,
    thresholds: Thresholds,
    seed: int,
    **options: Any,
) -> Evidence:
    """The shared shift of some questions, with placebos at the boundaries that their stitching chose.

    The verdict chooses k* on the groups that were shifted, so the placebos must as well: the choice is
    recorded beside them.

    Args:
        pair: base and tuned model.
        questions: those that are shifted, changed and unchanged.
        pushed: which of them changed.
        stitched: the stitch rows of the changed ones.
        form: the form on which effects are estimated.
        thresholds: the verdict's cut-offs.
        seed: of halves and placebos.
        **options: further ones of `patching.shared_shift`.

    Returns:
        Method ``shift``, with the condition ``installed``.
    """
    groups = [questions.examples.groups[i] for i in pushed.nonzero()[:, 0].tolist()]
    labels = part_of(questions.target[pushed], thresholds.part_groups)
    halves = installed_boundary(
        stitched,
        groups,
        thresholds,
        seed,
        form=form,
        parts=dict(zip(groups, read_with(labels).tolist(), strict=True)),
    )
    shift = shared_shift(
        pair,
        questions.examples,
        pushed,
        questions.target,
        questions.answers,
        installed=_members(groups, halves, pushed.device),
        thresholds=thresholds,
        seed=seed,
        **options,
    )
    return Evidence.concat([shift, record(halves, form)])


def stitched_metrics(questions: KnownQuestions, plan: RowPlan) -> dict[str, Metric]:
    """The contrasts that are stitched, each where it is defined."""
    made = {
        "output": token_contrast(questions.examples, questions.plus, questions.minus),
        "fact": fact_contrast(questions.examples, questions.answers),
        "said": says(questions.examples, questions.target),
    }
    return {name: _only(made[name], rows) for name, rows in plan.stitched.items()}


def gridded(pairs: Contrast) -> Contrast:
    """The first pairs, for a full grid: fewer where many positions may differ, and one at least.

    Args:
        pairs: those of the handover.
    """
    differ = (apart(pairs) & pairs.clean.mask).sum(1).cumsum(0)
    few = int((differ[:GRID_PAIRS] <= GRID_POSITIONS).sum())
    return pairs.subset(range(max(1, few)))


def _grid(model: Model, pairs: Contrast, max_bytes: int) -> Evidence:
    """A full grid of layers by positions over the first pairs."""
    first = gridded(pairs)
    sites = every_layer(Kind.RESID_PRE, model.n_layers)
    return patch_sites(model, first, sites, logit_difference(first), max_bytes=max_bytes)


def _members(
    groups: list[str], halves: Installed, device: torch.device
) -> dict[int, Int[Tensor, " member"]]:
    """Boundary -> which of the groups are read there, as numbers."""
    boundary_of = halves.by_group
    return {
        k: torch.tensor([i for i, g in enumerate(groups) if boundary_of.get(g) == k], device=device)
        for k in halves.layers
    }


def drawn(rows: Int[Tensor, " row"], most: int, seed: int) -> Int[Tensor, " drawn"]:
    """At most so many of some rows, drawn at random, in their order."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:most]
    return rows[order.sort().values.to(rows.device)]


def _at_most(
    most: int, changed: Bool[Tensor, " example"], unchanged: Bool[Tensor, " example"], seed: int
) -> Int[Tensor, " kept"]:
    """Indices of all unchanged rows and of at most so many changed ones, in the order asked."""
    rows = (changed | unchanged).nonzero()[:, 0]
    candidates = changed.nonzero()[:, 0]
    order = torch.randperm(len(candidates), generator=torch.Generator().manual_seed(seed))
    dropped = candidates[order[most:].to(candidates.device)]
    return rows[~torch.isin(rows, dropped)]


def _only(metric: Metric, rows: Bool[Tensor, " example"]) -> Metric:
    """The metric where it is defined, NaN elsewhere: undefined rows never reach the evidence."""

    def read(logits: Tensor, example: Tensor) -> Tensor:
        return metric.read(logits, example).where(rows[example], float("nan"))

    return replace(metric, read=read)
