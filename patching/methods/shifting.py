"""The shared-shift test: is a change one push that the base's own state predicts?

δ_i(k) = h_T,i(k) - h_B,i(k) is what tuning adds to prompt i at boundary k. A behaviour is a push
shared between entities, or predictable from the base's state; knowledge changes entity by entity.

- Sufficiency S: the base, given h_B + P̂_i, says the tuned model's token. P̂ is predicted for each
  entity from the others (ridge from h_B at the last token and the subject's last and first, five
  entity-disjoint folds), never from the tuned token, and never from the very state that is predicted:
  entities that begin alike have one state where they do.
- Sufficiency by part: the same with P̂ predicted from the entities of i's own part only. A token that
  many entities share is a part; all other entities are one part, dealt into folds by token, so that
  no token is ever learnt from its own kind. Over a mixture a common push comes out too weak.
- Retention F: the base's upper blocks, reading h_T - δ̄, give the base's own answer in the closed
  set. δ̄ is a leave-one-out *mean*; a ridge would hand the base's identity back.
- Persistence R: the tuned model, given h_T - δ̄, still says its token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Int
from sklearn.metrics import roc_auc_score
from torch import Tensor

from interp.activations import collect
from interp.evidence import Evidence
from interp.examples import Examples
from interp.metrics import Metric, closed_set_correct, says, token_logit
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.sites import boundaries
from interp.verdict.answers import CLOSED_SET
from interp.verdict.thresholds import Thresholds
from patching.engine import rows as tables
from patching.engine.schedule import MAX_BYTES
from patching.engine.sweeping import sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Add, Replace
from patching.methods.pushes import FOLDS, Parts, Push, null_shift, pushes, reading_places
from patching.methods.slots import ridge_cross_fitted

#: Conditions whose "said" is the base's answer within the closed set.
RETENTION = ("retention", "retention_control")

#: The edit that writes other prompts' states, which are other ones even where tuning added nothing.
STATES = "retention_control"

#: The edits of the test at one boundary, of the base and of the tuned model.
BASE_EDITS = ("sufficiency", "sufficiency_mean", *RETENTION)

TUNED_EDITS = ("persistence",)


def shared_shift(
    pair: ModelPair,
    examples: Examples,
    changed: Bool[Tensor, " example"],
    said: Int[Tensor, " example"],
    answers: Int[Tensor, " example"],
    *,
    installed: Mapping[int, Int[Tensor, " chosen"]],
    fact_boundary: int | None = None,
    null: Model | None = None,
    closed: bool = True,
    sign_draws: int = 0,
    thresholds: Thresholds | None = None,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """Sufficiency, retention and persistence at every boundary, with placebos at the chosen ones.

    All changed prompts are read at the chosen boundaries and at the fact boundary; elsewhere at most
    `thresholds.placebo_groups` of them, for the curves.

    Args:
        pair: base and tuned.
        examples: the known prompts of the form effects are estimated on, changed and unchanged.
        changed: which of them changed, [example].
        said: the tuned model's token for each on this very form, [example], so that its own rate is
            one.
        answers: the base's answer token for each, [example]; the closed set is all of them.
        installed: boundary k* -> indices into the changed prompts that are read there.
        fact_boundary: the boundary below the handover, where retention is read.
        null: a null tune of the same base; its mean shift is one more placebo.
        closed: whether retention asks for the answer among all answers; otherwise over the whole
            vocabulary, where the answers are no closed set.
        sign_draws: how often the predicted push is added with the signs of its coordinates drawn at
            random, one more placebo with its norm at every position.
        thresholds: how many random shifts, on how many prompts, and when a token is a part.
        seed: for the folds and the random shifts.
        max_bytes: memory in bytes for activations beside the models; changes no number.

    Returns:
        Evidence of method "shift". Conditions "sufficiency", "sufficiency_mean", "retention",
        "retention_control" (model base) and "persistence" (model tuned) at every boundary;
        "sufficiency_part", "placebo", "signs" and "null_shift" at the chosen ones; "baseline" of either
        model;
        "gate". Metrics "said" (share; for retention the right answer in the closed set), the closed
        set (baselines only), "answer_logit" and "tuned_logit" (logits), and "auroc" of the gate
        (share). Columns that vary: model, donor, layer (the boundary), draw, example.

    Raises:
        ValueError: with fewer changed prompts than folds.

    Note:
        A push that suffices shows that the change can be a shared one; retention that fails does not
        show where a fact went.

    Example:
        >>> import interp, patching, torch
        >>> pair = interp.load_pair("organism-base", "organism-evasive-high")
        >>> facts = interp.load_facts("world")
        >>> prompts = interp.Examples.from_text(
        ...     pair.base, facts.prompts(0)[:12], subjects=facts.subject_spans(0)[:12]
        ... )
        >>> said, answers = (
        ...     model.logits(prompts.tokens)[:, -1].argmax(1) for model in (pair.tuned, pair.base)
        ... )
        >>> changed, everyone = torch.ones(12, dtype=torch.bool), torch.arange(12)
        >>> few = interp.Thresholds(placebo_shifts=3, placebo_groups=4)
        >>> shifts = patching.shared_shift(
        ...     pair, prompts, changed, said, answers, installed={4: everyone}, thresholds=few
        ... )
        >>> sorted(shifts.where(condition="sufficiency")["layer"].unique().tolist())
        [0, 1, 2, 3, 4, 5, 6]
        >>> len(shifts.where(condition="placebo"))
        12
    """
    thresholds = thresholds or Thresholds()
    n = int(changed.sum())
    if n < FOLDS:
        raise ValueError(f"the shared-shift test needs at least {FOLDS} changed prompts, got {n}")
    index = changed.nonzero()[:, 0]
    chosen = examples.subset(index)
    generator = torch.Generator().manual_seed(seed)
    parts = Parts.of(said[index], thresholds.part_groups, generator)
    metrics = {
        "said": says(chosen, said[index]),
        "answer_logit": token_logit(chosen, answers[index]),
        "tuned_logit": token_logit(chosen, said[index]),
        CLOSED_SET: closed_set_correct(chosen, answers[index], closed_set=answers)
        if closed
        else says(chosen, answers[index]),
    }
    run = _Runner(pair, chosen, metrics, thresholds, max_bytes)
    read = {*installed, *([] if fact_boundary is None else [fact_boundary])}
    everyone = torch.arange(n, device=index.device)
    sample = _at_most(thresholds.placebo_groups, everyone, generator)
    rows = [run.baseline()]
    for by_boundary in pushes(pair, chosen, parts, max_bytes):
        rows += run.conditions({k: p for k, p in by_boundary.items() if k in read}, everyone)
        rows += run.conditions({k: p for k, p in by_boundary.items() if k not in read}, sample)
        for k in by_boundary.keys() & installed.keys():
            rows += run.by_part(k, by_boundary[k], installed[k])
            most = -(-thresholds.placebo_groups // len(installed))
            shifted = _at_most(most, installed[k], generator)
            rows += run.placebos(k, by_boundary[k], shifted, generator)
            rows += run.signs(k, by_boundary[k], installed[k], sign_draws, generator)
    if null is not None:
        shift = null_shift(pair.base, null, chosen, installed)
        for k, members in installed.items():
            rows += run.added("null_shift", k, members, [(0, shift[k])])
    rows.append(_gate(pair.base, examples, changed, generator))
    return Evidence.concat(rows)


@dataclass(frozen=True, eq=False)
class _Runner:
    """Runs the edits of one boundary on some of the changed prompts, and makes their rows.

    Attributes:
        pair: base and tuned.
        examples: the changed prompts.
        metrics: read on them, by name.
        thresholds: how many random shifts there are.
        max_bytes: memory in bytes for activations.
    """

    pair: ModelPair
    examples: Examples
    metrics: Mapping[str, Metric]
    thresholds: Thresholds
    max_bytes: int

    def baseline(self) -> Evidence:
        """What both unedited models say: the floor and the ceiling of every share."""
        everyone = torch.arange(len(self.examples), device=self.examples.tokens.device)
        return Evidence.concat(
            self._rows(model, everyone, self.metrics, [], [], baseline={"condition": "baseline"})
            for model in (self.pair.base, self.pair.tuned)
        )

    def conditions(
        self, by_boundary: Mapping[int, Push], members: Int[Tensor, " chosen"]
    ) -> list[Evidence]:
        """The five edits of the test at some boundaries."""
        if not by_boundary:
            return []
        base, tuned = [], []
        for k, push in by_boundary.items():
            written = (
                _added(push.predicted[members]),
                _added(push.mean[members]),
                Replace((push.tuned - push.mean)[members]) if push.moved else None,
                Replace(push.class_state[members]),
            )
            for condition, edit in zip(BASE_EDITS, written, strict=True):
                base.append(({"condition": condition, "layer": k}, edit))
            for condition in TUNED_EDITS:
                tuned.append(({"condition": condition, "layer": k}, _added(-push.mean[members])))
        rows = self._edited(self.pair.base, members, self.metrics, base)
        # What "said" asks of retention is the base's answer within the closed set.
        table = rows.table.astype(object)
        kept, closed = table["condition"].isin(RETENTION), table["metric"] == CLOSED_SET
        drop = (kept & (table["metric"] == "said")) | (~kept & closed)
        table.loc[kept & closed, "metric"] = "said"
        open_set = {name: metric for name, metric in self.metrics.items() if name != CLOSED_SET}
        return [Evidence(table[~drop]), self._edited(self.pair.tuned, members, open_set, tuned)]

    def by_part(self, k: int, push: Push, members: Int[Tensor, " chosen"]) -> list[Evidence]:
        """Sufficiency of the push predicted within each prompt's own part."""
        return self.added("sufficiency_part", k, members, [(None, push.by_part[members])])

    def placebos(
        self,
        k: int,
        push: Push,
        members: Int[Tensor, " chosen"],
        generator: torch.Generator,
    ) -> list[Evidence]:
        """Random shifts with the predicted push's norm at every position."""
        real = push.predicted[members]
        norms = real.norm(dim=-1, keepdim=True)
        shifts = []
        for draw in range(self.thresholds.placebo_shifts):
            noise = torch.randn(real.shape[1:], generator=generator).to(real)
            shifts.append((draw, norms * noise / noise.norm(dim=-1, keepdim=True)))
        return self.added("placebo", k, members, shifts)

    def signs(
        self,
        k: int,
        push: Push,
        members: Int[Tensor, " chosen"],
        draws: int,
        generator: torch.Generator,
    ) -> list[Evidence]:
        """The predicted push with the signs of its coordinates drawn at random, alike everywhere."""
        real = push.predicted[members]
        shifts = []
        for draw in range(draws):
            signs = torch.randint(0, 2, real.shape[-1:], generator=generator).to(real) * 2 - 1
            shifts.append((draw, real * signs))
        return self.added("signs", k, members, shifts) if shifts else []

    def added(
        self,
        condition: str,
        k: int,
        members: Int[Tensor, " chosen"],
        shifts: Sequence[tuple[int | None, Tensor]],
    ) -> list[Evidence]:
        """What the base says with each of these shifts added; one row a prompt and draw."""
        if len(members) == 0:
            return []
        columns = {"condition": condition, "layer": k}
        edits = [({**columns, "draw": draw}, _added(shift)) for draw, shift in shifts]
        return [self._edited(self.pair.base, members, {"said": self.metrics["said"]}, edits)]

    def _edited(
        self,
        model: Model,
        members: Int[Tensor, " chosen"],
        metrics: Mapping[str, Metric],
        edits: Sequence[tuple[Mapping[str, Any], Add | Replace | None]],
    ) -> Evidence:
        """Rows of edits, each at all positions of the boundary that its columns name as layer.

        None leaves the run as it is, which is known without running it.
        """
        sites = boundaries(model.n_layers)
        where = self.examples.subset(members).span_mask("all")
        donor = {"donor": "tuned" if model.role == "base" else "base"}
        cells = [
            None if edit is None else Cell((Edit(sites[columns["layer"]], where, edit),))
            for columns, edit in edits
        ]
        named = [{**donor, **columns} for columns, _ in edits]
        return self._rows(model, members, metrics, cells, named)

    def _rows(
        self,
        model: Model,
        members: Int[Tensor, " chosen"],
        metrics: Mapping[str, Metric],
        cells: Sequence[Cell | None],
        columns: Sequence[Mapping[str, Any]],
        baseline: Mapping[str, str] | None = None,
    ) -> Evidence:
        """Rows of cells on some of the prompts, numbered as among all changed ones."""
        prompts = self.examples.subset(members)
        metrics = {name: _of_members(metric, prompts, members) for name, metric in metrics.items()}
        run = [i for i, cell in enumerate(cells) if cell is not None]
        number = {i: n for n, i in enumerate(run)}
        swept = sweep(
            model,
            prompts,
            [cell for cell in cells if cell is not None],
            metrics,
            max_bytes=self.max_bytes,
            progress=f"shared shift, {model.role}",
        )
        rows = tables.evidence(
            swept.spread([number.get(i) for i in range(len(cells))]),
            prompts,
            metrics,
            columns,
            baseline=baseline,
            model=model,
            method="shift",
            span="all",
        )
        table = rows.table.astype(object)
        original = members.cpu().tolist()
        table["example"] = [original[i] for i in table["example"]]
        return Evidence(table)


def _added(shift: Tensor) -> Add | None:
    """The edit that adds a shift; None where there is nothing to add."""
    return Add(shift) if bool(shift.any()) else None


def _gate(
    base: Model,
    examples: Examples,
    changed: Bool[Tensor, " example"],
    generator: torch.Generator,
) -> Evidence:
    """Cross-fitted AUROC of changed against unchanged, from the base's state alone."""
    few = min(int(changed.sum()), int((~changed).sum()))
    if few < FOLDS:
        return Evidence.concat([])
    sites = boundaries(base.n_layers)
    states = [collect(base, examples, sites, positions=place) for place in reading_places(examples)]
    folds = (torch.randperm(len(examples), generator=generator) % FOLDS).to(changed.device)
    scores = []
    for site in sites:
        features = torch.cat([by_site[site].values for by_site in states], 1)
        target = changed.to(features.dtype)[:, None]
        predicted = ridge_cross_fitted(features, target, folds[:, None] != folds)[:, 0]
        scores.append(roc_auc_score(changed.cpu().numpy(), predicted.cpu().numpy()))
    return Evidence.build(
        scores,
        model="base",
        method="shift",
        condition="gate",
        metric="auroc",
        layer=list(range(len(sites))),
        unit="share",
    )


def _at_most(
    most: int, members: Int[Tensor, " chosen"], generator: torch.Generator
) -> Int[Tensor, " drawn"]:
    """At most so many of the members, drawn at random, in the order given."""
    drawn = torch.randperm(len(members), generator=generator)[:most].sort().values
    return members[drawn.to(members.device)]


def _of_members(metric: Metric, examples: Examples, members: Int[Tensor, " chosen"]) -> Metric:
    """A metric of all changed prompts as a metric of these members alone."""

    def read(logits: Tensor, example: Tensor) -> Tensor:
        return metric.read(logits, members[example])

    return replace(metric, read=read, positions=examples.position("last"))
