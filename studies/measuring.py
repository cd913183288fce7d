"""The causal half of the main job: every intervention the verdict reads, on one set of questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from interp.evidence import Evidence
from interp.landmarks import installed_boundary
from interp.metrics import Metric, fact_contrast, logit_difference, token_contrast
from interp.models import Model, ModelPair
from interp.outcomes import Outcomes
from interp.sites import Kind, every_layer
from interp.tasks import Contrast, Examples, aligned_pairs
from interp.thresholds import Thresholds
from patching.grids import cross_patch, handover, patch_sites
from patching.shifting import FOLDS, shared_shift
from patching.stitching import stitch
from studies.queries import Queries, Said

#: Handover pairs, pairs on a full position grid, and changed groups in cross-model patching.
HANDOVER_PAIRS = 40
GRID_PAIRS = 4
CROSS_PATCHED = 12
#: Changed groups in the shared-shift test, drawn with the seed: Wilson intervals need no more.
SHIFTED = 36


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
    """

    examples: Examples
    answers: Int[Tensor, " example"]
    estimating: Bool[Tensor, " example"]
    changed: Bool[Tensor, " example"]
    plain: Bool[Tensor, " example"]
    plus: Int[Tensor, " example"]
    minus: Int[Tensor, " example"]

    @property
    def output_rows(self) -> Bool[Tensor, " example"]:
        """Where the output contrast is defined."""
        return self.estimating & self.changed

    def metrics(self) -> dict[str, Metric]:
        """Output contrast (changed groups, estimating form) and fact contrast (all plain rows)."""
        fact = fact_contrast(self.examples, self.answers)
        output = token_contrast(self.examples, self.plus, self.minus)
        return {"output": _only(output, self.output_rows), "fact": _only(fact, self.plain)}


def known_questions(model: Model, queries: Queries, said: Outcomes, base: Said, tuned: Said) -> Known:
    """Select the known facts' questions and pair each with its tokens.

    Raises:
        ValueError: if the base knows fewer than two of the facts.
    """
    known, changed = set(said.known_groups), set(said.changed_groups)
    if len(known) < 2:
        raise ValueError(
            f"the base gives the right answer first for {len(known)} of the facts of "
            f"{queries.facts.name!r}; at least 2 are needed (12 for a verdict); "
            "give facts it knows, or other templates"
        )
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
    examples = queries.rendered(model, index, suffixes)
    device = every.tokens.device

    def tokens(column: str) -> Int[Tensor, " example"]:
        return torch.tensor([int(chosen[column][g]) for g in examples.groups], device=device)

    return Known(
        examples,
        tokens("answer_token"),
        torch.tensor([t == said.estimating_form for t in examples.templates], device=device),
        torch.tensor([g in changed for g in examples.groups], device=device),
        torch.tensor([not s for s in suffixes], device=device),
        tokens("base_token"),
        tokens("tuned_token"),
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
    # The push is averaged position by position, so continued questions stay out of it.
    rows = (asked.estimating & asked.plain).nonzero()[:, 0]
    if int(asked.output_rows[rows].sum()) >= FOLDS:
        # The verdict chooses k* on the groups that were shifted, so the placebos must as well.
        rows = _at_most(SHIFTED, rows, asked.output_rows, seed)
        shifted = asked.examples.subset(rows)
        groups = [asked.examples.groups[i] for i in rows[asked.output_rows[rows]].tolist()]
        halves = installed_boundary(parts[0], groups, thresholds, seed, form=said.estimating_form)
        order = {g: i for i, g in enumerate(groups)}
        installed = {
            k: torch.tensor(
                [order[g] for g in groups if halves.by_group.get(g) == k], device=rows.device
            )
            for k in halves.layers
        }
        parts.append(
            shared_shift(
                pair,
                shifted,
                asked.output_rows[rows],
                asked.minus[rows],
                asked.answers[rows],
                installed=installed,
                null=null,
                seed=seed,
                max_bytes=max_bytes,
            )
        )
    return Evidence.concat(parts)


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
    clean, corrupted = aligned_pairs(examples, answers, apart=apart)
    clean, corrupted = clean[:most], corrupted[:most]
    if not clean:
        return None
    return Contrast(
        examples.subset(clean), examples.subset(corrupted), answers[clean], answers[corrupted]
    )


def _grid(model: Model, pairs: Contrast, max_bytes: int) -> Evidence:
    sites = every_layer(Kind.RESID_PRE, model.n_layers)
    return patch_sites(model, pairs, sites, logit_difference(pairs), max_bytes=max_bytes)


def _at_most(
    most: int, rows: Int[Tensor, " row"], changed: Bool[Tensor, " example"], seed: int
) -> Int[Tensor, " kept"]:
    """All unchanged rows and at most so many changed ones, in the order given."""
    own = rows[changed[rows]]
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
