"""How each kind of figure is read, and what its marks mean: one home for papers and reports."""

from __future__ import annotations

from dataclasses import dataclass

import plotly.graph_objects as go

from interp.figures.source import Source
from interp.figures.text import text_of

_BANDS = "Shaded bands are 95% intervals."
_BARS = "Bars are 95% intervals."
_DASHED = "Cells below zero bear a dash."


@dataclass(frozen=True)
class Reading:
    """How a figure is read.

    Attributes:
        how: what is shown, and what its lines mean.
        marks: what its intervals or cells look like on paper.
    """

    how: str
    marks: str = ""


#: How a kind of figure is read, by the name of the function that draws it.
READINGS = {
    "stitch_curves": Reading(
        "Mean contrast of two stitched models, by the boundary at which they are joined: U runs "
        "the base below it and the tuned model above it, V the reverse. The change is made where U "
        "leaves the tuned model's value and V reaches it. Dotted lines: the cut between lower and "
        "upper blocks, and the handover κ.",
        _BANDS,
    ),
    "responsibility_bars": Reading(
        "Each bar is the share of the change in output that one block makes, averaged over the two "
        "orders of stitching; embedding and unembedding (with the final norm) stand apart. All "
        "bars sum to one; a negative bar works against the change.",
        _BARS,
    ),
    "cross_patch_curves": Reading(
        "One span of the other model's state is written in at one boundary: 0 is the running "
        "model's own output, 1 the other's. Only the curve of all positions locates a change; the "
        "others show by which position it travels.",
        _BANDS,
    ),
    "shared_shift_curves": Reading(
        "Sufficiency: the base, given the shift predicted from its own state, says the tuned "
        "model's token. Retention: the base's upper blocks, reading the tuned state without the "
        "mean shift, give the right answer (read just below κ). Persistence: the tuned model "
        "without the shift still says its token. Sufficiency and persistence are read at k*. "
        "Dotted lines bound low and high.",
        _BANDS,
    ),
    "handover_curves": Reading(
        "The base runs a corrupted prompt (another fact's), and one span of the clean run's state "
        "is restored at one boundary: 0 is the corrupted run, 1 the clean one. From the handover κ "
        "on, the last position alone recovers half.",
        _BANDS,
    ),
    "handover_heatmap": Reading(
        "Recovery pair by pair (clean ← corrupted), one panel for each span. Vermillion: the clean "
        "answer is restored; no colour: no effect; blue: away from it.",
        _DASHED,
    ),
    "patch_grid": Reading(
        "Recovery when the clean run's state is written into the corrupted run at one place; 0 (no "
        "colour) is the corrupted run, 1 (vermillion) the clean one; blue means away from it.",
        _DASHED,
    ),
    "patch_heatmap": Reading(
        "Recovery when the clean run's state is written into the corrupted run at one layer and "
        "token: 0 (no colour) is the corrupted run, 1 (vermillion) the clean one; blue means away "
        "from the clean answer.",
        _DASHED,
    ),
    "logit_lens": Reading(
        "Each cell is the token that the unembedding reads from the state of one position at one "
        "boundary; its colour is that token's probability. The last boundary is the model's own "
        "output."
    ),
    "probe_curves": Reading(
        "What probes read on groups that they did not see, by boundary. A probe that does not beat "
        "its controls reads nothing; one that does shows what can be read, not what is used. "
        "Controls are trained on the base's states.",
        _BANDS,
    ),
    "transfer_curves": Reading(
        "A probe trained on the base, read on the tuned model as it is, after correcting the mean, "
        "and refitted (the ceiling). Cosines compare the two models' directions.",
        _BANDS,
    ),
    "generalisation_heatmap": Reading(
        "Balanced accuracy (%) of probes trained on the set of the row and tested on the set of "
        "the column; chance is white.",
        _DASHED,
    ),
    "claim_dots": Reading(
        "Each row is one claim: what, where, at which token. Supported needs both: read above the "
        "control task (left), and used beyond the control-task directions (right, orange). Dotted: "
        "the margin within which an effect counts as none. A claim without a dot was not measured "
        "there.",
        _BARS,
    ),
    "head_ranking": Reading("The heads with the largest effects, in order.", _BARS),
    "forest": Reading(
        "One row for each comparison. Open marks are the floor, what there is without an effect, "
        "and the ceiling, the full effect.",
        _BARS,
    ),
}

#: A grid of patched places that was made by corrupting the clean run.
CORRUPTED = Reading(
    "Share of the effect that is lost when the corrupted run's state is written into the clean run "
    "at one place; 0 (no colour) is the clean run, 1 (vermillion) the corrupted one.",
    _DASHED,
)


def reading_of(source: Source) -> Reading:
    """How a figure that was drawn from this is read; empty words for a kind that is not known."""
    if source.function == "patch_grid" and source.arguments.get("direction") == "noise":
        return CORRUPTED
    return READINGS.get(source.function, Reading(""))


def caption_of(figure: go.Figure) -> str:
    """Caption of a figure on paper: its title, how it is read, its marks, and n."""
    title = text_of(figure.layout.title.text).rstrip(".")  # type: ignore[attr-defined]
    source: Source | None = getattr(figure, "source", None)
    if source is None:
        return f"{title}." if title else ""
    read = reading_of(source)
    n = [int(v) for v in source.table["n"].dropna()] if "n" in source.table else []
    size = f"n = {min(n)}." if n and min(n) == max(n) else f"n = {min(n)} to {max(n)}." if n else ""
    return " ".join(part for part in (f"{title}.", read.how, read.marks, size) if part)
