"""Captions of figures: what each kind shows and what its marks mean, with n where it is known."""

from __future__ import annotations

import plotly.graph_objects as go

from interp.figures.paper.panels import text_of
from interp.figures.source import Source

_BANDS = "Shaded bands are 95% intervals."
_BARS = "Bars are 95% intervals."
_DASHED = "Cells below zero bear a dash."

#: What a kind of figure shows, by the name of the function that draws it.
CAPTIONS = {
    "stitch_curves": "Mean contrast of the two stitched models, by the boundary at which they are "
    "joined; U runs the base below it and the tuned model above, V the reverse. Where U leaves the "
    f"tuned model's value and V reaches it, the change is made. {_BANDS}",
    "responsibility_bars": "Share of the change in output that each block causes, averaged over the "
    f"two orders of stitching; embedding and unembedding are separate terms. {_BARS}",
    "cross_patch_curves": "Share of the change that crosses when one span of the other model's state "
    f"is written in at one boundary; 0 is the running model's own contrast, 1 the other's. {_BANDS}",
    "shared_shift_curves": "Share of groups, by boundary. Sufficiency: the base, given the shift, says "
    "the tuned model's token. Retention: the base's upper blocks, reading the tuned state without the "
    "mean shift, give the right answer. Persistence: the tuned model without the shift still says its "
    f"token. Dotted lines bound low and high. {_BANDS}",
    "handover_curves": "Recovery of the clean answer in the base when one span of the clean run's "
    f"state is restored at one boundary; 0 is the corrupted run, 1 the clean one. {_BANDS}",
    "handover_heatmap": "The same recovery pair by pair (clean ← corrupted), one panel for each span. "
    f"{_DASHED}",
    "patch_grid": "Recovery when the clean run's state is written into the corrupted run at one place; "
    f"0 is the corrupted run, 1 the clean one. {_DASHED}",
    "patch_heatmap": "Recovery when the clean run's state is written into the corrupted run at one "
    f"layer and token; 0 is the corrupted run, 1 the clean one. {_DASHED}",
    "probe_curves": "What probes read on held-out groups, by boundary, beside their controls; this "
    f"shows what can be read, not what is used. {_BANDS}",
    "transfer_curves": "A probe trained on the base, read on the tuned model as it is, after "
    f"correcting the mean, and refitted; below, cosines of the two models' directions. {_BANDS}",
    "generalisation_heatmap": "Balanced accuracy (%) of probes trained on the set of the row and "
    f"tested on the set of the column; chance is white. {_DASHED}",
    "claim_dots": "Each claim: what is read (selectivity over the control task) beside what is used "
    "(effect of the swap); dotted, the margin within which an effect is none. A claim without a dot "
    f"was not measured there. {_BARS}",
    "head_ranking": f"The heads with the largest effects, in order. {_BARS}",
    "forest": "One row for each comparison. Open marks are the floor, what there is without an effect, "
    f"and the ceiling, the full effect. {_BARS}",
}

#: What a grid of patched places shows that was made by corrupting the clean run.
CORRUPTED = (
    "Share of the effect that is lost when the corrupted run's state is written into the clean run at "
    f"one place; 0 is the clean run, 1 the corrupted one. {_DASHED}"
)


def caption_of(figure: go.Figure) -> str:
    """Caption of a figure: its title, what its kind shows, and n."""
    title = text_of(figure.layout.title.text).rstrip(".")  # type: ignore[attr-defined]
    source: Source | None = getattr(figure, "source", None)
    if source is None:
        return f"{title}." if title else ""
    shown = CAPTIONS.get(source.function, "")
    if source.function == "patch_grid" and source.arguments.get("direction") == "noise":
        shown = CORRUPTED
    n = [int(v) for v in source.table["n"].dropna()] if "n" in source.table else []
    size = f" n = {min(n)}." if n and min(n) == max(n) else f" n = {min(n)} to {max(n)}." if n else ""
    return f"{title}. {shown}{size}".strip()
