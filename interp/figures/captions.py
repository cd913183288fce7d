"""How each kind of figure is read, and what its marks mean: one home for papers and reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from interp.evidence import Evidence
from interp.figures.source import Source
from interp.figures.text import text_of

_BANDS = "Shaded bands are 95% intervals"
_BARS = "Bars are 95% intervals"
_DASHED = "Cells below zero bear a dash."


@dataclass(frozen=True)
class Reading:
    """How a figure is read.

    Attributes:
        how: what is shown, and what its lines mean.
        marks: what its cells look like on paper.
        intervals: what its intervals look like on paper, where it draws some.
        counts: what its n counts, where that is the same in all such figures.
    """

    how: str
    marks: str = ""
    intervals: str = ""
    counts: str = ""


#: How a kind of figure is read, by the name of the function that draws it.
READINGS = {
    "stitch_curves": Reading(
        "Mean contrast of two stitched models, by the boundary at which they are joined: U runs "
        "the base below it and the tuned model above it, V the reverse. The change is made where U "
        "leaves the tuned model's value and V reaches it.",
        intervals=_BANDS,
        counts="groups",
    ),
    "responsibility_bars": Reading(
        "Each bar is the share of the change in output that one block makes, averaged over the two "
        "orders of stitching; embedding and unembedding (with the final norm) stand apart. All "
        "bars sum to one; a negative bar works against the change.",
        intervals=_BARS,
        counts="groups",
    ),
    "cross_patch_curves": Reading(
        "One span of the other model's state is written in at one boundary: 0 is the running "
        "model's own output, 1 the other's. Only the curve of all positions locates a change; the "
        "others show by which position it travels.",
        intervals=_BANDS,
        counts="groups",
    ),
    "shared_shift_curves": Reading(
        "Sufficiency: the base, given the shift predicted from its own state, says the tuned "
        "model's token. Retention: the base's upper blocks, reading the tuned state without the "
        "mean shift, give the right answer (read just below κ). Persistence: the tuned model "
        "without the shift still says its token. Sufficiency and persistence are read at k*.",
        intervals=_BANDS,
        counts="groups",
    ),
    "handover_curves": Reading(
        "The base runs a corrupted prompt (another fact's), and one span of the clean run's state "
        "is restored at one boundary: 0 is the corrupted run, 1 the clean one. From the handover κ "
        "on, the last position alone recovers half.",
        intervals=_BANDS,
        counts="pairs",
    ),
    "handover_heatmap": Reading(
        "Recovery pair by pair (clean ← corrupted), one panel for each span; a letter before a pair is "
        "the wording of its prompts. Vermillion: the clean "
        "answer is restored; no colour: no effect; blue: away from it.",
        _DASHED,
        counts="pairs",
    ),
    "patch_grid": Reading(
        "Recovery when the clean run's state is written into the corrupted run at one place; 0 (no "
        "colour) is the corrupted run, 1 (vermillion) the clean one; blue means away from it.",
        _DASHED,
        counts="pairs",
    ),
    "patch_heatmap": Reading(
        "Recovery when the clean run's state is written into the corrupted run at one layer and "
        "token: 0 (no colour) is the corrupted run, 1 (vermillion) the clean one; blue means away "
        "from the clean answer.",
        _DASHED,
        counts="pairs",
    ),
    "logit_lens": Reading(
        "Each cell is the token that the unembedding reads from the state of one position at one "
        "boundary; its colour is that token's probability. The last boundary is the model's own "
        "output.",
        counts="prompts",
    ),
    "circuit_graph": Reading(
        "A circuit: the input below, the logits above. Vermillion edges lower the metric where they "
        "are ablated, blue ones raise it; they are thicker in the upper thirds of the scores' size "
        "and dotted where resamples of the prompts do not all hold them. They enter a head at its left "
        "(queries), middle (keys) or right (values).",
        counts="edges",
    ),
    "edge_heatmap": Reading(
        "Scores of the edges from a sender (row) to a receiver (column), added up; above zero "
        "(vermillion) ablating them lowers the metric. Cells without an edge are empty.",
        _DASHED,
        counts="edges",
    ),
    "circuit_graph, compared": Reading(
        "Edges of either model's circuit that differ: the input below, the logits above. Vermillion "
        "edges score higher in the tuned model than in the base, blue ones lower; they are thicker in "
        "the upper thirds of the differences' size. They enter a head at its left (queries), middle "
        "(keys) or right (values).",
        counts="edges",
    ),
    "edge_heatmap, compared": Reading(
        "Differences of the edges' scores, tuned less base, from a sender (row) to a receiver "
        "(column), added up; above zero (vermillion) they score higher in the tuned model. Cells "
        "without an edge that differs are empty.",
        _DASHED,
        counts="edges",
    ),
    "node_heatmap": Reading(
        "What ablating a head or an MLP (row) of a block (column) takes off the metric in the tuned "
        "model, less what it takes off in the base; above zero (vermillion) it takes more off in the "
        "tuned model.",
        _DASHED,
        counts="nodes",
    ),
    "faithfulness_curves": Reading(
        "Faithfulness f of the circuit of the best edges, by its nominal size: 0 is the graph without "
        "edges, 1 the model. Edges are ranked by their score (signed) or by its size (absolute).",
        intervals=_BANDS,
        counts="groups",
    ),
    "score_scatter": Reading(
        "Each dot is an edge: its score by the screen above its exact one. On the dotted line the "
        "screen is exact.",
        counts="edges",
    ),
    "attention_patterns": Reading(
        "Attention from the token that reads (row) to the token that is read (column), a panel for "
        "each head; each row sums to one.",
    ),
    "probe_curves": Reading(
        "What probes read on groups that they did not see, by boundary. A probe that does not beat "
        "its controls reads nothing; one that does shows what can be read, not what is used. "
        "Controls are trained on the base's states.",
        intervals=_BANDS,
        counts="groups",
    ),
    "transfer_curves": Reading(
        "A probe trained on the base, read on the tuned model as it is, after correcting the mean, "
        "and refitted (the ceiling). Cosines compare the two models' directions.",
        intervals=_BANDS,
    ),
    "generalisation_heatmap": Reading(
        "Balanced accuracy (%) of probes trained on the set of the row and tested on the set of "
        "the column; chance is white.",
        _DASHED,
    ),
    "claim_dots": Reading(
        "Each row is one claim: what, where, at which token. Supported needs both: read above the "
        "control task (left), and used beyond the control-task directions (right, orange). A "
        "claim without a dot was not measured there.",
        intervals=_BARS,
        counts="groups",
    ),
    "head_ranking": Reading("The heads with the largest effects, in order.", intervals=_BARS),
    "ranked_prompts": Reading(
        "Score: the largest mean of KL(B‖T) and KL(T‖B) at one token of either continuation. Filled: "
        "the two models part by the smallest effect at least. Open: a near tie, or the same "
        "continuation.",
        counts="prompts",
    ),
    "token_shifts": Reading(
        "Mean change of log p over the tokens of both continuations, for the tokens with the largest "
        "parts of KL(T‖B), the largest first. A promoted one rises where it is likely; its mean over "
        "all tokens may fall all the same.",
        intervals=_BARS,
    ),
    "scale_sweep": Reading(
        "Contrast of the two tokens at held-out sites when the change of the weights is scaled: above "
        "zero the base's token wins. The band reaches from the lowest to the highest prompt.",
        counts="prompts",
    ),
    "weight_spectrum": Reading(
        "Size of the change of every matrix relative to the matrix, and its effective rank, "
        "exp(−Σ q log q) with q the shares of σ². Context: a large change need not be an effective "
        "one.",
    ),
    "lens_dots": Reading(
        "Mean difference of activations on unrelated text, read through the tuned unembedding. Dotted: "
        "the largest logit that random differences of this norm give any token; what lies left of it "
        "says nothing. Context, no evidence.",
    ),
    "forest": Reading(
        "One row for each comparison. Open marks are the floor, what there is without an effect, "
        "and the ceiling, the full effect.",
        intervals=_BARS,
    ),
}

#: A grid of patched places that was made by corrupting the clean run.
CORRUPTED = Reading(
    "Share of the effect that is lost when the corrupted run's state is written into the clean run "
    "at one place; 0 (no colour) is the clean run, 1 (vermillion) the corrupted one.",
    _DASHED,
    counts="pairs",
)


#: Marked places and bounds: an argument of the figure, and what a caption says of its value.
_LINES = {
    "cut": "the cut between lower and upper blocks at boundary {:g}",
    "boundary": "k* at boundary {:g}",
    "handover": "the handover κ at boundary {:g}",
    "low": "the upper bound of low at {:g}",
    "high": "the lower bound of high at {:g}",
    "margin": "the margin within which an effect counts as none, ±{:g}",
}

#: Directions of patching in words.
_DIRECTIONS = {"denoise": "denoising", "noise": "noising"}


@dataclass(frozen=True)
class Sample:
    """What the numbers of a figure rest on.

    Attributes:
        n: smallest and largest number of units behind a number; None where that is not known.
        intervals: what its intervals are, or why there are none.
        seed: of the resampling behind them; None where nothing was resampled.
    """

    n: tuple[int, int] | None
    intervals: str
    seed: int | None = None

    @property
    def has_intervals(self) -> bool:
        """Whether a number has an interval."""
        return not self.intervals.startswith("none")


def sample_of(source: Source) -> Sample:
    """n, intervals and seed of a figure, by the table that it was drawn from."""
    table = source.table
    columns = [name for name in table if str(name) == "n" or str(name).endswith("_n")]
    counted = [int(value) for name in columns for value in table[name].dropna()]
    units = [name for name in ("pair", "example") if name in table]
    if not counted and units:
        counted = [int(table[units[0]].nunique())]
    n = (min(counted), max(counted)) if counted else None
    if any(table[name].notna().any() for name in table if str(name).endswith("low")):
        seed = table.attrs.get("seed", source.arguments.get("seed"))
        return Sample(n, table.attrs.get("intervals", "95%"), seed)
    unit = (READINGS[source.function].counts if source.function in READINGS else "").removesuffix("s")
    alone = f"one {unit}" if unit and n == (1, 1) else "single measurements"
    return Sample(n, f"none: {alone}")


def about_measurement(evidence: Evidence) -> dict[str, Any]:
    """What a caption tells of patched pairs, as far as the evidence notes it.

    Args:
        evidence: of one method of `patching` or `probes`.

    Returns:
        model, or base and tuned where both ran (the name where that is noted, else the role), metric
        (name and unit), sites, direction, and prompts, clean and corrupted, where there is one pair.
    """
    rows, noted = evidence.table, evidence.provenance

    def values(column: str) -> list[str]:
        return [str(value) for value in rows[column].dropna().unique()]

    measures = noted.get("measures") or {}
    metrics = rows[["metric", "unit"]].drop_duplicates().dropna().astype(str).to_numpy()
    prompts = noted.get("pair_prompts") or []
    one_pair = rows["example"].nunique() == 1 == len(prompts)
    told = {
        **models_of(evidence, values("model")),
        "metric": ", ".join(f"{measures.get(name, name)} ({unit})" for name, unit in metrics),
        "sites": ", ".join(values("kind")),
        "direction": ", ".join(_DIRECTIONS.get(way, way) for way in values("direction")),
        "prompts": list(prompts[0]) if one_pair else None,
    }
    return {name: value for name, value in told.items() if value}


def models_of(evidence: Evidence, roles: Sequence[str] = ("base", "tuned")) -> dict[str, str]:
    """Names of the models behind some evidence: of one under `model`, of two under their roles.

    Args:
        evidence: whose provenance is read.
        roles: which models ran.
    """
    names = {role: _model_name(evidence.provenance, role) for role in roles}
    return names if len(names) != 1 else {"model": next(iter(names.values()))}


def _model_name(noted: Mapping[str, Any], role: str) -> str:
    """Name of a model as it was loaded, of a folder its last part; else its role."""
    about = noted.get(role)
    name = str((about.get("source") if isinstance(about, Mapping) else None) or f"the {role}")
    return Path(name).name if Path(name).is_absolute() else name


def reading_of(source: Source) -> Reading:
    """How a figure that was drawn from this is read; empty words for a kind that is not known."""
    noise = source.function == "patch_grid" and source.arguments.get("direction") == "noise"
    kind = f"{source.function}, compared" if source.arguments.get("compared") else source.function
    read = CORRUPTED if noise else READINGS.get(kind, Reading(""))
    places = {name: source.arguments.get(name) for name in _LINES}
    lines = [_LINES[name].format(at) for name, at in places.items() if isinstance(at, int | float)]
    return replace(read, how=f"{read.how} Dotted: {', '.join(lines)}.") if lines else read


def caption_of(figure: go.Figure) -> str:
    """Caption of a figure on paper: its title, what was measured, how it is read, its marks, and n."""
    title = text_of(figure.layout.title.text).rstrip(".")  # type: ignore[attr-defined]
    source: Source | None = getattr(figure, "source", None)
    if source is None:
        return f"{title}." if title else ""
    read = reading_of(source)
    about = {name: told for name, told in source.about.items() if str(told) not in title}
    parts = (f"{title}.", _measured(about), read.how, read.marks, _sampled(source, read))
    return " ".join(part for part in parts if part)


def _measured(about: Mapping[str, Any]) -> str:
    """What was measured, and the prompts where there is one pair."""
    names = {
        "model": "Model", "base": "Base", "tuned": "Tuned", "metric": "Metric",
        "sites": "Kind of site", "direction": "Direction",
    }  # fmt: skip
    told = [f"{said}: {about[name]}." for name, said in names.items() if name in about]
    if "prompts" in about:
        clean, corrupted = about["prompts"]
        told.append(f"Clean prompt: “{clean}”; corrupted: “{corrupted}”.")
    return " ".join(told)


def _sampled(source: Source, read: Reading) -> str:
    """n, and which intervals there are."""
    sample = sample_of(source)
    told = []
    if sample.has_intervals:
        seed = "" if sample.seed is None else f"seed {sample.seed}"
        kind = ", ".join(part for part in (*sample.intervals.split(", ", 1)[1:], seed) if part)
        told.append(f"{read.intervals or 'The data hold 95% intervals'}{f' ({kind})' if kind else ''}.")
    if sample.n is not None:
        low, high = sample.n
        unit = read.counts.removesuffix("s") if high == 1 else read.counts
        size = str(low) if low == high else f"{low} to {high}"
        told.append(f"n = {size} {unit}".rstrip() + ".")
    if not sample.has_intervals:
        told.append(f"No interval: {sample.intervals.removeprefix('none: ')}.")
    return " ".join(told)
