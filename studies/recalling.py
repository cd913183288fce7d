"""How a fact is recalled: what the literature says of it, measured on one model with intervals.

`python -m studies.recalling [--base smollm2] [--facts capitals]` prints three findings on known facts:

1. the handover: the boundary from which restoring the last position alone restores the answer
   (2202.05262);
2. attention knockout: how much log p(answer) falls when, in a window of layers, the last position
   may not attend to the subject (2304.14767);
3. causal tracing: where restoring MLPs at the subject's last token peaks, and where restoring
   attention at the last token does (2202.05262).

Intervals are 95% BCa bootstrap intervals over entities. Each finding is printed whether or not it
agrees.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.contrasts import Contrast, aligned_pairs
from interp.evidence import Evidence
from interp.examples import Examples
from interp.facts.loading import load_facts
from interp.metrics import Metric, logit_difference
from interp.models.loading import load_model
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.sites import Kind
from interp.stats.crossing import Handover, handover as crossing
from interp.stats.resampling import bootstrap, resample_counts
from interp.verdict.thresholds import Thresholds
from patching.methods.grids import handover
from patching.methods.knockout import knock_out
from patching.methods.tracing import trace
from studies.comparison.answers import say
from studies.comparison.questions import ask

#: Prompts, blocks of a window, and noise draws.
PROMPTS = 40
WINDOW = 5
NOISES = 5


@dataclass(frozen=True, eq=False)
class Curve:
    """An effect by layer: mean over entities, its 95% interval, and each bootstrap draw's peak."""

    estimate: Float[np.ndarray, " layer"]
    low: Float[np.ndarray, " layer"]
    high: Float[np.ndarray, " layer"]
    peaks: np.ndarray

    @classmethod
    def of(cls, values: Float[np.ndarray, "entity layer"], *, seed: int = 0) -> Curve:
        """Resample entities; the peak is the layer of the largest mean."""

        def means(counts: np.ndarray) -> np.ndarray:
            return counts @ values / counts.sum(1, keepdims=True)

        n, draws = len(values), Thresholds.draws
        estimate, low, high = bootstrap(means, n, draws=draws, seed=seed)
        peaks = means(resample_counts(n, draws, seed)).argmax(1)
        return cls(estimate, low, high, peaks)

    @property
    def peak(self) -> int:
        """The layer of the largest mean effect."""
        return int(self.estimate.argmax())

    def peak_range(self) -> tuple[int, int]:
        """Layers between which 95% of the draws peak: layers themselves, since a peak is one."""
        first, last = np.quantile(self.peaks, (0.025, 0.975), method="inverted_cdf")
        return int(first), int(last)

    def band(self) -> list[int]:
        """Layers whose interval lies above zero."""
        return np.flatnonzero(self.low > 0).tolist()


@dataclass(frozen=True, eq=False)
class Recall:
    """The three findings; effects are in logits (nats for the knockout), positive where it hurts.

    `knockout` is log p(answer) lost, `placebo` the same for as many other keys; `mlp` and
    `attention` are indirect effects at the subject's last token and at the last token.
    """

    known: int
    handover: Handover
    knockout: Curve
    placebo: Curve
    mlp: Curve
    attention: Curve
    evidence: Evidence

    @property
    def earlier(self) -> float:
        """Share of bootstrap draws in which MLPs at the subject peak before attention at the end."""
        return float((self.mlp.peaks < self.attention.peaks).mean())

    def __str__(self) -> str:
        """The findings as lines for a person."""
        h = self.handover
        where = f"boundary {h.estimate} [{h.low}, {h.high}]" if h.estimate is not None else h.reason
        lines = [f"{self.known} known facts", f"handover to the last position: {where}"]
        for name, curve in (
            (f"knockout subject -> last, windows of {WINDOW}, nats lost", self.knockout),
            ("the same for other keys (placebo)", self.placebo),
            (f"restoring {WINDOW} MLPs at the subject's last token, logits", self.mlp),
            (f"restoring {WINDOW} attentions at the last token, logits", self.attention),
        ):
            k, band, (first, last) = curve.peak, curve.band(), curve.peak_range()
            span = f"above zero at layers {_ranges(band)}" if band else "nowhere above zero"
            lines.append(
                f"{name}: peak {curve.estimate[k]:.2f} [{curve.low[k]:.2f}, {curve.high[k]:.2f}] "
                f"at layer {k} [{first}, {last}]; {span}"
            )
        lines.append(f"MLPs peak before attention in {self.earlier:.0%} of the draws")
        return "\n".join(lines)


def recall(model: Model, facts: str = "capitals", *, seed: int = 0) -> Recall:
    """Measure the three findings on the facts the model knows.

    Raises:
        ValueError: if it knows fewer than two of them.
    """
    queries = ask(ModelPair(model, model), load_facts(facts), forms=1)
    known = say(model, queries).known
    rows = [i for i, group in enumerate(queries.examples.groups) if group in known]
    if len(rows) < 2:
        raise ValueError(
            f"the model knows {len(rows)} of the facts of {facts!r}; at least 2 are needed; "
            "give facts it knows"
        )
    examples, answers = queries.examples.subset(rows), queries.first[rows]
    clean, corrupted = aligned_pairs(examples, answers)
    pairs = Contrast(
        examples.subset(clean), examples.subset(corrupted), answers[clean], answers[corrupted]
    )
    moved = handover(model, pairs, logit_difference(pairs))
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    chosen = sorted(order[:PROMPTS].tolist())
    some, right = examples.subset(chosen), answers[chosen]
    cut = knock_out(model, some, _log_p(some, right), window=WINDOW, seed=seed)
    parts = [moved, cut]
    effects = {}
    for kind, span in ((Kind.MLP_OUT, "subject_end"), (Kind.ATTN_OUT, "last")):
        found = trace(
            model,
            _with_subject_end(some),
            kind,
            _centred(some, right),
            window=WINDOW,
            positions=(span,),
            draws=NOISES,
            seed=seed,
        )
        parts.append(found)
        effects[kind] = Curve.of(_indirect(found, model.n_layers), seed=seed)
    return Recall(
        len(rows),
        _crossing(moved, model.n_layers),
        Curve.of(_lost(cut, "knocked_out", model.n_layers), seed=seed),
        Curve.of(_lost(cut, "placebo", model.n_layers), seed=seed),
        effects[Kind.MLP_OUT],
        effects[Kind.ATTN_OUT],
        Evidence.concat(parts),
    )


def _log_p(examples: Examples, answers: Tensor) -> Metric:
    def read(logits: Tensor, example: Tensor) -> Tensor:
        at = torch.arange(len(example), device=logits.device)
        return logits.float().log_softmax(-1)[at, answers[example]]

    return Metric(read, "nats", examples.position("last"))


def _centred(examples: Examples, answers: Tensor) -> Metric:
    """logit(answer) less the mean logit of the other known answers."""
    known = answers.unique()
    column = torch.searchsorted(known, answers)

    def read(logits: Tensor, example: Tensor) -> Tensor:
        at = torch.arange(len(example), device=logits.device)
        own = logits[at, column[example]]
        return own - (logits.sum(1) - own) / (logits.shape[1] - 1)

    return Metric(read, "logits", examples.position("last"), known)


def _with_subject_end(examples: Examples) -> Examples:
    """The same prompts with the subject's last token as a span of its own."""
    stop = examples.spans["subject"][:, 1]
    spans = {**examples.spans, "subject_end": torch.stack([stop - 1, stop], 1)}
    return Examples(
        examples.tokens, examples.mask, examples.texts, examples.groups, spans, examples.templates
    )


def _indirect(found: Evidence, layers: int) -> Float[np.ndarray, "entity layer"]:
    """Restored − corrupted by entity and layer, averaged over noise draws."""
    restored = found.where(condition="restored")
    corrupted = found.where(condition="corrupted").set_index(["example", "seed"])["value"]
    base = corrupted.loc[list(zip(restored["example"], restored["seed"], strict=True))].to_numpy()
    gained = restored.assign(value=restored["value"].to_numpy() - base)
    table = gained.pivot_table("value", "example", "layer", aggfunc="mean", observed=True)
    return table.reindex(columns=range(layers)).to_numpy()


def _lost(found: Evidence, condition: str, layers: int) -> Float[np.ndarray, "entity layer"]:
    """Baseline − cut by entity and layer, averaged over draws."""
    baseline = found.where(condition="baseline").set_index("example")["value"]
    cut = found.where(condition=condition)
    lost = cut.assign(value=baseline.loc[cut["example"]].to_numpy() - cut["value"].to_numpy())
    table = lost.pivot_table("value", "example", "layer", aggfunc="mean", observed=True)
    return table.reindex(columns=range(layers)).to_numpy()


def _crossing(moved: Evidence, layers: int) -> Handover:
    rows = moved.where(condition="patched", span="last")
    table = rows.pivot_table("value", "example", "layer", observed=True)
    ends = {
        name: moved.where(condition=name, span="last").set_index("example")["value"].loc[table.index]
        for name in ("clean", "corrupted")
    }
    names = rows.drop_duplicates("example").set_index("example")["group"].loc[table.index]
    sides = [str(name).split(" -> ") for name in names]
    return crossing(
        table.reindex(columns=range(layers + 1)).to_numpy(),
        ends["clean"].to_numpy(),
        ends["corrupted"].to_numpy(),
        [left for left, _ in sides],
        [right for _, right in sides],
    )


def _ranges(layers: Sequence[int]) -> str:
    """Consecutive numbers joined: 3-5, 8."""
    parts: list[list[int]] = []
    for k in layers:
        if parts and k == parts[-1][-1] + 1:
            parts[-1].append(k)
        else:
            parts.append([k])
    return ", ".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)


def main() -> None:
    """Print the findings for a model and its facts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="smollm2")
    parser.add_argument("--facts", default="capitals")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    try:
        found = recall(load_model(given.base), given.facts, seed=given.seed)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(found)  # noqa: T201


if __name__ == "__main__":
    main()
