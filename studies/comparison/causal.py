"""The causal half of the main job: every intervention the verdict reads, on one set of questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from interp.contrasts import Contrast, aligned_pairs
from interp.evidence import Evidence
from interp.examples import Examples
from interp.metrics import Metric, fact_contrast, logit_difference, says, token_contrast
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.sites import Kind, every_layer
from interp.verdict.boundaries import handover_layer, installed_boundary, record
from interp.verdict.outcomes import Outcomes
from interp.verdict.thresholds import Thresholds
from patching.methods.grids import cross_patch, handover, patch_sites
from patching.methods.pushes import FOLDS, part_of, read_with
from patching.methods.shifting import shared_shift
from patching.methods.stitching import stitch
from studies.comparison.answers import Said, few_known
from studies.comparison.questions import Queries

#: Handover pairs, pairs on a full position grid, and changed groups in cross-model patching.
HANDOVER_PAIRS = 40

GRID_PAIRS = 4

CROSS_PATCHED = 12


@dataclass(frozen=True, eq=False)
class Known:
    """The known facts' questions with what the verdict needs of each, one row per group and form.

    The choosing form is left out wherever there is another: nothing is estimated on it.

    Where base and tuned share the first answer tokens, the estimating form is continued by what
    they share, so that the output contrast is read at the first token that differs.

    Attributes:
        examples: the prompts.
        answers: first answer token of each.
        estimating: rows of the form on which output effects are estimated.
        changed: rows of changed groups.
        plain: rows that end where the answer begins (not continued).
        plus: the base's token of the output contrast, chosen on the choosing form.
        minus: the tuned model's.
        target: the token that the tuned model says on the very form of the row.
        differs: rows on whose own form the first tokens differ, the tuned one being a token of both.
        sayable: rows whose two tokens both models have, appended vocabulary left out.
    """

    examples: Examples
    answers: Int[Tensor, " example"]
    estimating: Bool[Tensor, " example"]
    changed: Bool[Tensor, " example"]
    plain: Bool[Tensor, " example"]
    plus: Int[Tensor, " example"]
    minus: Int[Tensor, " example"]
    target: Int[Tensor, " example"]
    differs: Bool[Tensor, " example"]
    sayable: Bool[Tensor, " example"]

    @property
    def output_rows(self) -> Bool[Tensor, " example"]:
        """Where the output contrast is defined."""
        return self.estimating & self.changed & self.sayable

    @property
    def left_out(self) -> list[tuple[str, str]]:
        """Questions whose output contrast is undefined, each with the reason."""
        reason = "one model says a token that the other has no row for: no contrast of the two exists"
        rows = (self.estimating & self.changed & ~self.sayable).nonzero()[:, 0].tolist()
        return [(self.examples.texts[i], reason) for i in rows]

    @property
    def shifted_rows(self) -> Bool[Tensor, " example"]:
        """Changed groups that differ on the estimating form as well, at the first answer token.

        Only there does the tuned model always say its token and the base never. The push is averaged
        position by position, so continued questions stay out of it.
        """
        return self.output_rows & self.plain & self.differs

    def metrics(self) -> dict[str, Metric]:
        """The contrasts that are stitched, each where it is defined.

        Output (changed groups, estimating form), whether the tuned token is said (shifted rows), and
        fact (all plain rows).
        """
        fact = fact_contrast(self.examples, self.answers)
        output = token_contrast(self.examples, self.plus, self.minus)
        found = {"output": _only(output, self.output_rows), "fact": _only(fact, self.plain)}
        if bool(self.shifted_rows.any()):
            found["said"] = _only(says(self.examples, self.target), self.shifted_rows)
        return found


def known_questions(
    pair: ModelPair, queries: Queries, said: Outcomes, base: Said, tuned: Said
) -> Known:
    """Select the known facts' questions and pair each with its tokens.

    Raises:
        ValueError: if the base knows fewer than two of the facts.
    """
    known, changed = set(said.known_groups), set(said.changed_groups)
    if len(known) < 2:
        raise ValueError(few_known(pair.base, queries, base, 2))
    every = queries.examples
    rows = said.table[said.table["form"] == said.choosing_form].set_index("group")
    chosen = {name: rows[name].to_dict() for name in ("answer_token", "base_token", "tuned_token")}
    shared = {
        group: _common(base.tokens[i], tuned.tokens[i])
        for i, group in enumerate(every.groups)
        if group in changed and every.templates[i] == said.choosing_form
    }
    index = [
        i
        for i, g in enumerate(every.groups)
        if g in known and (said.selected or every.templates[i] != said.choosing_form)
    ]
    suffixes = [
        shared.get(every.groups[i], ()) if every.templates[i] == said.estimating_form else ()
        for i in index
    ]
    examples = queries.rendered(pair.base, index, suffixes)
    device = every.tokens.device

    ours, target = (
        torch.tensor([one.tokens[i][0] for i in index], device=device) for one in (base, tuned)
    )

    def tokens(column: str) -> Int[Tensor, " example"]:
        return torch.tensor([int(chosen[column][g]) for g in examples.groups], device=device)

    plus, minus = tokens("base_token"), tokens("tuned_token")
    return Known(
        examples,
        tokens("answer_token"),
        torch.tensor([t == said.estimating_form for t in examples.templates], device=device),
        torch.tensor([g in changed for g in examples.groups], device=device),
        torch.tensor([not s for s in suffixes], device=device),
        plus,
        minus,
        target,
        (target != ours) & pair.sayable(target),
        pair.sayable(plus) & pair.sayable(minus),
    )


def causal_evidence(
    pair: ModelPair,
    asked: Known,
    said: Outcomes,
    *,
    thresholds: Thresholds,
    null: Model | None = None,
    seed: int = 0,
    max_bytes: int,
) -> Evidence:
    """Stitching, handover, shared shift, cross-model patching and a patch grid, as one table."""
    parts = [stitch(pair, asked.examples, asked.metrics(), max_bytes=max_bytes)]
    pairs = base_pairs(asked, most=HANDOVER_PAIRS)
    if pairs is not None:
        metric = logit_difference(pairs)
        parts.append(handover(pair.base, pairs, metric, max_bytes=max_bytes))
        parts.append(_grid(pair.base, pairs.subset(range(min(GRID_PAIRS, len(pairs)))), max_bytes))
    changed = asked.output_rows.nonzero()[:, 0]
    if len(changed):
        some = asked.examples.subset(changed[:CROSS_PATCHED])
        chosen = changed[:CROSS_PATCHED]
        output = token_contrast(some, asked.plus[chosen], asked.minus[chosen])
        parts.append(cross_patch(pair, some, {"output": output}, max_bytes=max_bytes))
    kappa = handover_layer(Evidence.concat(parts), thresholds, seed).estimate
    parts.append(
        _shift(
            pair, asked, said, parts[0], kappa,
            thresholds=thresholds, null=null, seed=seed, max_bytes=max_bytes,
        )
    )  # fmt: skip
    return Evidence.concat(parts)


def _shift(
    pair: ModelPair,
    asked: Known,
    said: Outcomes,
    stitched: Evidence,
    kappa: int | None,
    *,
    thresholds: Thresholds,
    null: Model | None,
    seed: int,
    max_bytes: int,
) -> Evidence:
    """The shared-shift test on the changed groups that can be asked again, and where it was read.

    The verdict chooses k* on the groups that were shifted, so the placebos must as well: the choice
    is recorded beside them.
    """
    stays = asked.estimating & asked.plain & ~asked.changed
    rows = _at_most(thresholds.shifted_groups, asked.shifted_rows, stays, seed)
    shifts = asked.shifted_rows[rows]
    if int(shifts.sum()) < FOLDS:
        return Evidence.concat([])
    groups = [asked.examples.groups[i] for i in rows[shifts].tolist()]
    labels = read_with(part_of(asked.target[rows[shifts]], thresholds.part_groups))
    parts = dict(zip(groups, labels.tolist(), strict=True))
    form = said.estimating_form
    halves = installed_boundary(stitched, groups, thresholds, seed, form=form, parts=parts)
    installed = {
        k: torch.tensor(
            [i for i, g in enumerate(groups) if halves.by_group.get(g) == k], device=rows.device
        )
        for k in halves.layers
    }
    found = shared_shift(
        pair,
        asked.examples.subset(rows),
        shifts,
        asked.target[rows],
        asked.answers[rows],
        installed=installed,
        fact_boundary=None if kappa is None else kappa - 1,
        null=null,
        thresholds=thresholds,
        seed=seed,
        max_bytes=max_bytes,
    )
    return Evidence.concat([found, record(halves, form)])


def base_pairs(
    asked: Known,
    *,
    most: int,
    groups: Sequence[str] | None = None,
    apart: Mapping[str, int] | None = None,
) -> Contrast | None:
    """Aligned clean/corrupted pairs of known facts on the estimating form; None if none align.

    Restricted to some groups, and to pairs whose label in `apart` differs.
    """
    rows = (asked.estimating & asked.plain).nonzero()[:, 0].tolist()
    if groups is not None:
        wanted = set(groups)
        rows = [i for i in rows if asked.examples.groups[i] in wanted]
    if not rows:
        return None
    examples, answers = asked.examples.subset(rows), asked.answers[rows]
    clean, corrupted = _pairs(examples, answers, most, apart)
    if not clean:
        return None
    return Contrast(
        examples.subset(clean), examples.subset(corrupted), answers[clean], answers[corrupted]
    )


def _pairs(
    examples: Examples,
    answers: Int[Tensor, " example"],
    most: int,
    apart: Mapping[str, int] | None,
) -> tuple[list[int], list[int]]:
    """Each example with one partner, or with as many as it takes where there are few examples."""
    clean, corrupted = aligned_pairs(examples, answers, apart=apart)
    if len(clean) >= most:
        return clean[:most], corrupted[:most]
    for partners in range(2, len(examples)):
        before = len(clean)
        clean, corrupted = aligned_pairs(examples, answers, per_example=partners, apart=apart)
        if len(clean) >= most or len(clean) == before:
            break
    spread = torch.linspace(0, len(clean) - 1, min(most, len(clean))).round().long().tolist()
    return [clean[i] for i in spread], [corrupted[i] for i in spread]


def _grid(model: Model, pairs: Contrast, max_bytes: int) -> Evidence:
    sites = every_layer(Kind.RESID_PRE, model.n_layers)
    return patch_sites(model, pairs, sites, logit_difference(pairs), max_bytes=max_bytes)


def _at_most(
    most: int, changed: Bool[Tensor, " example"], stays: Bool[Tensor, " example"], seed: int
) -> Int[Tensor, " kept"]:
    """Indices of all unchanged rows and of at most so many changed ones, in the order given."""
    rows = (changed | stays).nonzero()[:, 0]
    own = changed.nonzero()[:, 0]
    order = torch.randperm(len(own), generator=torch.Generator().manual_seed(seed))
    dropped = own[order[most:].to(own.device)]
    return rows[~torch.isin(rows, dropped)]


def _common(ours: Sequence[int], theirs: Sequence[int]) -> tuple[int, ...]:
    shared = []
    for a, b in zip(ours, theirs, strict=True):
        if a != b:
            break
        shared.append(a)
    return tuple(shared)


def _only(metric: Metric, rows: Bool[Tensor, " example"]) -> Metric:
    """The metric where it is defined, NaN elsewhere: undefined rows never reach the evidence."""

    def read(logits: Tensor, example: Tensor) -> Tensor:
        return metric.read(logits, example).where(rows[example], float("nan"))

    return Metric(read, metric.unit, metric.positions, metric.tokens)
