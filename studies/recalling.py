"""How a fact is recalled: what the literature says of it, measured on one model with intervals.

`interp study recalling [--base smollm2] [--facts capitals]` prints three findings on known facts:

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
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from interp._files import write_csv, write_text
from interp.contrasts import Contrast
from interp.display.html import Shown
from interp.evidence import Evidence
from interp.facts.loading import load_facts
from interp.facts.types import FactSet
from interp.metrics import answer_log_prob, fact_contrast, logit_difference
from interp.models.loading import load_model
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.progress import announce
from interp.sites import Kind
from interp.stats.crossing import Handover
from interp.verdict.boundaries import handover_layer
from interp.verdict.thresholds import Thresholds
from patching.methods.grids import handover
from patching.methods.knockout import knock_out
from patching.methods.tracing import trace
from patching.weights.sets import runs
from studies.comparison.answers import answer_all
from studies.comparison.questions import ask
from studies.recalling_curves import Curve

#: Prompts, blocks of a window, and noise draws.
PROMPTS = 40
WINDOW = 5
NOISES = 5


@dataclass(frozen=True, eq=False)
class Recall(Shown):
    """The three findings; an effect is positive where the intervention hurts, or the restoring helps.

    Attributes:
        known: how many of the facts the model knows.
        handover: the boundary from which the last position alone carries the answer.
        knockout: log p(answer) lost by layer, nats, when the last position cannot see the subject.
        placebo: the same for as many other keys.
        mlp: what restoring MLPs at the subject's last token gives back, logits.
        attention: what restoring attention at the last token gives back, logits.
        evidence: every measurement behind them.
        window: how many layers were cut or restored together.
    """

    known: int
    handover: Handover
    knockout: Curve
    placebo: Curve
    mlp: Curve
    attention: Curve
    evidence: Evidence
    window: int = WINDOW

    def __repr__(self) -> str:
        """How many facts, and the three places, on one line."""
        peaks = f"knockout at {self.knockout.peak}, MLPs at {self.mlp.peak}"
        return (
            f"Recall({self.known} known facts; handover at boundary {self.handover.estimate}; peaks of "
            f"{peaks}, attention at {self.attention.peak})"
        )

    @property
    def curves(self) -> dict[str, Curve]:
        """The four effects by layer, each under what it is."""
        return {
            f"knockout subject -> last, windows of {self.window}, nats lost": self.knockout,
            "the same for other keys (placebo)": self.placebo,
            f"restoring {self.window} MLPs at the subject's last token, logits": self.mlp,
            f"restoring {self.window} attentions at the last token, logits": self.attention,
        }

    @property
    def earlier(self) -> float:
        """Share of bootstrap draws in which MLPs at the subject peak before attention at the end."""
        return float((self.mlp.peaks < self.attention.peaks).mean())

    def __str__(self) -> str:
        """The findings as lines for a person."""
        moved = self.handover
        where = moved.reason
        if moved.estimate is not None:
            where = f"boundary {moved.estimate} [{moved.low}, {moved.high}]"
        lines = [f"{self.known} known facts", f"handover to the last position: {where}"]
        for name, curve in self.curves.items():
            k, band, (first, last) = curve.peak, curve.band(), curve.peak_range()
            layers = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs(tuple(band)))
            lines.append(
                f"{name}: peak {curve.estimate[k]:.2f} [{curve.low[k]:.2f}, {curve.high[k]:.2f}] "
                f"at layer {k} [{first}, {last}]; "
                + (f"above zero at layers {layers}" if band else "nowhere above zero")
            )
        lines.append(f"MLPs peak before attention in {self.earlier:.0%} of the draws")
        return "\n".join(lines)

    def save(self, folder: str | Path) -> None:
        """Write the findings as text, the curves as CSV, and the evidence.

        Args:
            folder: a new folder.

        Raises:
            FileExistsError: if the folder exists.
        """
        folder = Path(folder)
        folder.mkdir(parents=True)
        columns = ("estimate", "low", "high")
        parts = {
            name: pd.DataFrame({column: getattr(curve, column) for column in columns})
            for name, curve in self.curves.items()
        }
        curves = pd.concat(parts, names=["effect", "layer"]).reset_index()
        write_csv(folder / "curves.csv", curves)
        self.evidence.save(folder)
        write_text(folder / "findings.txt", f"{self}\n")


def recall(
    model: Model, facts: FactSet | str = "capitals", *, window: int = WINDOW, seed: int = 0
) -> Recall:
    """How a model recalls the facts it knows: where they are looked up, and when they move to the end.

    The handover is the boundary from which restoring the last position alone restores the answer;
    the knockout is log p(answer) lost when the last position cannot attend to the subject in a window
    of layers around each; the traces are logit(answer) less the mean of the other known answers,
    restored less corrupted, when as many MLPs (or attentions) are restored under noise on the subject.

    Args:
        model: the model that is asked.
        facts: a fact set, or the name or file of one.
        window: how many layers are cut or restored together.
        seed: of the prompts that are traced, of noise, placebos and resampling.

    Returns:
        The findings, and the evidence behind them: methods ``handover`` (conditions clean, corrupted,
        patched; logits; by layer and span), ``knockout`` (baseline, knocked_out, placebo; nats; by
        layer and draw) and ``trace`` (clean, corrupted, restored; logits; by kind, layer and draw).

    Raises:
        ValueError: if it knows fewer than two of the facts, or they have one answer, or it has fewer
            layers than the window.

    Source:
        2202.05262 (handover and tracing), 2304.14767 (knockout).

    Note:
        Restoring shows what suffices, a knockout what is needed on one path; neither shows where a
        fact is stored.

    Example:
        >>> import interp, studies
        >>> model = interp.load_model("organism-base")
        >>> facts = interp.load_facts("world").subset(list(range(32)))
        >>> recalled = studies.recall(model, facts)
        >>> recalled.known, recalled.mlp.estimate.shape
        (32, (6,))
        >>> recalled.mlp.peak < recalled.attention.peak
        True
        >>> sorted(recalled.evidence.table["method"].unique())
        ['handover', 'knockout', 'trace']
    """
    fact_set = facts if isinstance(facts, FactSet) else load_facts(facts)
    queries = ask(ModelPair(model, model), fact_set, forms=1)
    known = answer_all(model, queries).known
    rows = [i for i, group in enumerate(queries.examples.groups) if group in known]
    if len(rows) < 2:
        raise ValueError(
            f"the model knows {len(rows)} of the facts of {fact_set.name!r}; at least 2 are needed; "
            "give facts it knows"
        )
    examples, answers = queries.examples.subset(rows), queries.first[rows]
    pairs = Contrast.pairs(examples, answers)
    moved = handover(model, pairs, logit_difference(pairs))
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    chosen = sorted(order[:PROMPTS].tolist())
    prompts, right = examples.subset(chosen), answers[chosen]
    cut = knock_out(model, prompts, answer_log_prob(prompts, right), window=window, seed=seed)
    restored = {
        kind: trace(
            model,
            prompts,
            kind,
            fact_contrast(prompts, right),
            window=window,
            positions=(position,),
            repeats=NOISES,
            seed=seed,
        )
        for kind, position in ((Kind.MLP_OUT, "subject_last"), (Kind.ATTN_OUT, "last"))
    }
    layers = model.n_layers
    return Recall(
        len(rows),
        handover_layer(moved, Thresholds(), seed),
        Curve.of(_lost(cut, "knocked_out", layers), seed=seed),
        Curve.of(_lost(cut, "placebo", layers), seed=seed),
        Curve.of(_indirect(restored[Kind.MLP_OUT], layers), seed=seed),
        Curve.of(_indirect(restored[Kind.ATTN_OUT], layers), seed=seed),
        Evidence.concat([moved, cut, *restored.values()]),
        window,
    )


def _indirect(traced: Evidence, layers: int) -> Float[np.ndarray, "entity layer"]:
    """Restored − corrupted by entity and layer, averaged over noise draws, the same in both."""
    corrupted = traced.where(condition="corrupted").groupby("example")["value"].mean()
    restored = _by_layer(traced, "restored", layers)
    return restored.to_numpy() - corrupted.loc[restored.index].to_numpy()[:, None]


def _lost(cut: Evidence, condition: str, layers: int) -> Float[np.ndarray, "entity layer"]:
    """Baseline − cut by entity and layer, averaged over draws."""
    baseline = cut.where(condition="baseline").set_index("example")["value"]
    values = _by_layer(cut, condition, layers)
    return baseline.loc[values.index].to_numpy()[:, None] - values.to_numpy()


def _by_layer(evidence: Evidence, condition: str, layers: int) -> pd.DataFrame:
    """Mean value by example (rows) and layer (columns); layers that were not measured are NaN."""
    rows = evidence.where(condition=condition)
    table = rows.pivot_table("value", "example", "layer", aggfunc="mean", observed=True)
    return table.reindex(columns=range(layers)).astype(float)


def report(
    base: str = "smollm2",
    facts: str = "capitals",
    *,
    window: int = WINDOW,
    out: Path | None = None,
    seed: int = 0,
) -> str:
    """The findings on a model as text, with progress on the way; kept with `out`.

    Args:
        base: name, folder or hub id of the model.
        facts: name or file of the facts.
        window: of `recall`.
        out: a new folder; None writes nothing.
        seed: of `recall`.

    Returns:
        Lines for a person.

    Raises:
        ValueError: as `recall`; if `out` exists, or for a model or facts that cannot be loaded.
    """
    if out is not None and out.exists():
        raise ValueError(f"--out must be a new folder, got {out}; choose another")
    announce(f"asking {base} the facts of {facts}, then handover, knockout and tracing …")
    findings = recall(load_model(base), facts, window=window, seed=seed)
    if out is not None:
        findings.save(out)
    return str(findings)


def main() -> None:
    """Print the findings for a model and its facts; keep them with --out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", default="smollm2", help="name, folder or hub id of a model")
    parser.add_argument("--facts", default="capitals", help="name or file of facts")
    parser.add_argument("--window", type=int, default=WINDOW, help="layers that are cut together")
    parser.add_argument("--out", type=Path, default=None, help="a new folder that keeps the tables")
    parser.add_argument("--seed", type=int, default=0, help="of noise, placebos and resampling")
    options = parser.parse_args()
    try:
        text = report(
            options.base, options.facts, window=options.window, out=options.out, seed=options.seed
        )
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(text)  # noqa: T201


if __name__ == "__main__":
    main()
