"""The shared-shift test: is a change one push that the base's own state predicts?

δ_i(k) = h_T,i(k) - h_B,i(k) is what tuning adds to prompt i at boundary k. A behaviour is a push
shared between entities, or predictable from the base's state; knowledge changes entity by entity.

- Sufficiency S: the base, given h_B + P̂_i, says the tuned model's token. P̂ is predicted for each
  entity from the others (ridge from h_B, five entity-disjoint folds), never from the tuned token.
- Retention F: the base's upper blocks, reading h_T - δ̄, give the base's own answer in the closed
  set. δ̄ is a leave-one-out *mean*; a ridge would hand the base's identity back.
- Persistence R: the tuned model, given h_T - δ̄, still says its token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from sklearn.metrics import roc_auc_score
from torch import Tensor

from interp.activations import collect
from interp.evidence import Evidence
from interp.metrics import Metric, closed_set_correct, says, token_logit
from interp.models import Model, ModelPair
from interp.sites import boundaries
from interp.tasks import Examples
from patching import tables
from patching.engine import sweep
from patching.interventions import Add, Cell, Edit, Replace
from patching.layout import Layout, ridge_cross_fitted
from patching.schedule import MAX_BYTES

FOLDS = 5
#: A token of the tuned model forms a class of its own when at least this many entities share it.
CLASS_SIZE = 8
PLACEBOS = 99
CLOSED_SET = "closed_set"
RETENTION = ("retention", "retention_control")


@dataclass(frozen=True, eq=False)
class Push:
    """Everything the test writes, at one boundary, over the changed prompts.

    All are [example, position, d]: the predicted push, its leave-one-out mean, and the tuned state
    replaced by its class mean (the control that must destroy the fact).
    """

    predicted: Float[Tensor, "example position d"]
    mean: Float[Tensor, "example position d"]
    class_state: Float[Tensor, "example position d"]
    tuned: Float[Tensor, "example position d"]


def shared_shift(
    pair: ModelPair,
    examples: Examples,
    changed: Bool[Tensor, " example"],
    said: Int[Tensor, " example"],
    answers: Int[Tensor, " example"],
    *,
    installed: Mapping[int, Int[Tensor, " chosen"]],
    null: Model | None = None,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """Sufficiency, retention and persistence at every boundary, with placebos at the chosen ones.

    Args:
        pair: base and tuned.
        examples: the known prompts of the form effects are estimated on, changed and unchanged.
        changed: which of them changed.
        said: the tuned model's token for each, chosen on another query form.
        answers: the base's answer token for each; the closed set is all of them.
        installed: boundary k* -> indices into the changed prompts that are read there.
        null: a null tune of the same base; its mean shift is one more placebo.
        seed: for the folds and the random shifts.
        max_bytes: memory for activations beside the models; changes no number.

    Raises:
        ValueError: with fewer changed prompts than folds.
    """
    n = int(changed.sum())
    if n < FOLDS:
        raise ValueError(f"the shared-shift test needs at least {FOLDS} changed prompts, got {n}")
    sites = boundaries(pair.base.n_layers)
    states = {
        role: {s: a.values for s, a in collect(m, examples, sites, positions="all").items()}
        for role, m in (("base", pair.base), ("tuned", pair.tuned))
    }
    index = changed.nonzero()[:, 0]
    chosen = examples.subset(index)
    generator = torch.Generator().manual_seed(seed)
    folds = (torch.randperm(n, generator=generator) % FOLDS).to(index.device)
    classes = _classes(said[index])
    metrics = {
        "said": says(chosen, said[index]),
        "answer_logit": token_logit(chosen, answers[index]),
        "tuned_logit": token_logit(chosen, said[index]),
        CLOSED_SET: closed_set_correct(chosen, answers[index], closed_set=answers),
    }
    pushes = [
        _push(chosen, states["base"][s][index], states["tuned"][s][index], folds, classes)
        for s in sites
    ]
    run = _Runner(pair, chosen, metrics, max_bytes)
    parts = [run.every_boundary(pushes), *run.placebos(pushes, installed, generator)]
    if null is not None:
        shift = _null_shift(pair.base, null, chosen, installed)
        parts += run.given("null_shift", shift, installed)
    parts.append(_gate(examples, changed, [states["base"][s] for s in sites], generator))
    return Evidence.concat(parts)


@dataclass(frozen=True, eq=False)
class _Runner:
    pair: ModelPair
    examples: Examples
    metrics: Mapping[str, Metric]
    max_bytes: int

    def every_boundary(self, pushes: Sequence[Push]) -> Evidence:
        sites = boundaries(self.pair.base.n_layers)
        where = self.examples.span_mask("all")
        base, tuned = [], []
        for k, (site, push) in enumerate(zip(sites, pushes, strict=True)):
            for condition, edit in (
                ("sufficiency", Add(push.predicted)),
                ("sufficiency_mean", Add(push.mean)),
                ("retention", Replace(push.tuned - push.mean)),
                ("retention_control", Replace(push.class_state)),
            ):
                base.append((condition, k, Cell((Edit(site, where, edit),))))
            removed = Edit(site, where, Add(-push.mean))
            tuned.append(("persistence", k, Cell((removed,))))
        return Evidence.concat(
            [
                self._table("base", self.pair.base, base, baseline=True),
                self._table("tuned", self.pair.tuned, tuned, baseline=True),
            ]
        )

    def placebos(
        self,
        pushes: Sequence[Push],
        installed: Mapping[int, Tensor],
        generator: torch.Generator,
    ) -> list[Evidence]:
        """Random shifts with the predicted push's norm at every position, at k* only."""
        found = []
        for k, members in installed.items():
            real = pushes[k].predicted[members]
            norms = real.norm(dim=-1, keepdim=True)
            cells = []
            for draw in range(PLACEBOS):
                noise = torch.randn(real.shape[1:], generator=generator).to(real)
                unit = noise / noise.norm(dim=-1, keepdim=True)
                cells.append((draw, norms * unit))
            found += self._at("placebo", k, members, cells)
        return found

    def given(
        self, condition: str, shift: Mapping[int, Tensor], installed: Mapping[int, Tensor]
    ) -> list[Evidence]:
        found: list[Evidence] = []
        for k, members in installed.items():
            found += self._at(condition, k, members, [(0, shift[k])])
        return found

    def _at(
        self,
        condition: str,
        k: int,
        members: Tensor,
        shifts: Sequence[tuple[int, Tensor]],
    ) -> list[Evidence]:
        if len(members) == 0:
            return []
        some = self.examples.subset(members)
        site = boundaries(self.pair.base.n_layers)[k]
        where = some.span_mask("all")
        cells = [Cell((Edit(site, where, Add(shift)),)) for _, shift in shifts]
        metrics = {"said": _only(self.metrics["said"], some, members)}
        swept = sweep(
            self.pair.base, some, cells, metrics, max_bytes=self.max_bytes, progress=condition
        )
        columns = [{"condition": condition, "layer": k, "seed": draw} for draw, _ in shifts]
        part = tables.evidence(swept, some, metrics, columns, model="base", method="shift")
        table = part.table.astype(object)
        original = members.cpu().tolist()
        table["example"] = [original[i] for i in table["example"]]
        return [Evidence(table)]

    def _table(
        self, role: str, model: Model, cells: list[tuple[str, int, Cell]], *, baseline: bool
    ) -> Evidence:
        swept = sweep(
            model,
            self.examples,
            [cell for _, _, cell in cells],
            self.metrics,
            max_bytes=self.max_bytes,
            progress=f"shared shift, {role}",
        )
        donor = "tuned" if role == "base" else "base"
        measured = tables.evidence(
            swept,
            self.examples,
            self.metrics,
            [{"condition": c, "layer": k, "donor": donor} for c, k, _ in cells],
            baseline={"condition": "baseline"} if baseline else None,
            model=role,
            method="shift",
            span="all",
        )
        # What "said" asks of retention is the base's answer within the closed set.
        table = measured.table.astype(object)
        kept = table["condition"].isin(RETENTION)
        drop = (kept & (table["metric"] == "said")) | (~kept & (table["metric"] == CLOSED_SET))
        table.loc[kept & (table["metric"] == CLOSED_SET), "metric"] = "said"
        return Evidence(table[~drop])


def _push(
    examples: Examples,
    base: Float[Tensor, "example position d"],
    tuned: Float[Tensor, "example position d"],
    folds: Int[Tensor, " example"],
    classes: Int[Tensor, " example"],
) -> Push:
    layout = Layout.of(examples)
    base, tuned = base.nan_to_num(0.0), tuned.nan_to_num(0.0)
    by_slot = layout.gather(tuned - base)
    n = len(examples)
    row = torch.arange(n, device=base.device)
    places = [examples.position("last")]
    if "subject" in examples.spans:
        places.append(examples.position("subject_last"))
    features = torch.cat([base[row, p] for p in places], 1)
    # A slot that a prompt lacks takes the mean of those that have it, so as not to pull the ridge.
    present = layout.present[..., None]
    count = present.sum(0).clamp(min=1)
    filled = by_slot.where(present, (by_slot.sum(0) / count).expand_as(by_slot))
    predicted = ridge_cross_fitted(features, filled.flatten(1), folds).unflatten(1, by_slot.shape[1:])
    return Push(
        layout.scatter(predicted.where(present, 0.0)),
        layout.scatter(layout.others_mean(by_slot, classes)),
        layout.scatter(_class_mean(layout, tuned, classes)),
        tuned,
    )


def _class_mean(
    layout: Layout, tuned: Float[Tensor, "example position d"], classes: Int[Tensor, " example"]
) -> Float[Tensor, "example slot d"]:
    slots = layout.gather(tuned)
    own = layout.others_mean(slots, classes)
    # A slot no other prompt of the class has: any other prompt's mean, so identity never leaks.
    anyone = layout.others_mean(slots, torch.zeros_like(classes))
    lonely = (own == 0).all(-1, keepdim=True)
    return own.where(~lonely, anyone)


def _classes(said: Int[Tensor, " example"]) -> Int[Tensor, " example"]:
    """The tuned token where at least `CLASS_SIZE` prompts share it; the rest are one class, -1."""
    tokens, inverse, counts = said.unique(return_inverse=True, return_counts=True)
    large = counts[inverse] >= CLASS_SIZE
    return said.where(large, -1)


def _null_shift(
    base: Model, null: Model, examples: Examples, installed: Mapping[int, Tensor]
) -> dict[int, Float[Tensor, "example position d"]]:
    sites = boundaries(base.n_layers)
    wanted = [sites[k] for k in installed]
    ours = collect(base, examples, wanted, positions="all")
    theirs = collect(null, examples, wanted, positions="all")
    layout = Layout.of(examples)
    everyone = torch.zeros(len(examples), dtype=torch.long, device=examples.tokens.device)
    shifts = {}
    for k, members in installed.items():
        delta = (theirs[sites[k]].values - ours[sites[k]].values).nan_to_num(0.0)
        mean = layout.scatter(layout.others_mean(layout.gather(delta), everyone))
        shifts[k] = mean[members]
    return shifts


def _gate(
    examples: Examples,
    changed: Bool[Tensor, " example"],
    base: Sequence[Float[Tensor, "example position d"]],
    generator: torch.Generator,
) -> Evidence:
    """Cross-fitted AUROC of changed against unchanged, from the base's state alone."""
    few = min(int(changed.sum()), int((~changed).sum()))
    if few < FOLDS:
        return Evidence.concat([])
    folds = (torch.randperm(len(examples), generator=generator) % FOLDS).to(changed.device)
    row = torch.arange(len(examples), device=changed.device)
    target = changed.to(base[0].dtype)[:, None]
    scores = []
    for state in base:
        features = torch.cat([state[row, examples.position(p)] for p in ("last", "subject_last")], 1)
        guess = ridge_cross_fitted(features, target, folds)[:, 0]
        scores.append(roc_auc_score(changed.cpu().numpy(), guess.cpu().numpy()))
    return Evidence.build(
        scores,
        model="base",
        method="shift",
        condition="gate",
        metric="auroc",
        layer=list(range(len(base))),
        unit="share",
    )


def _only(metric: Metric, examples: Examples, members: Tensor) -> Metric:
    """A metric of some prompts, read through the metric of all."""

    def read(logits: Tensor, example: Tensor) -> Tensor:
        return metric.read(logits, members[example])

    return Metric(read, metric.unit, examples.position("last"), metric.tokens)
