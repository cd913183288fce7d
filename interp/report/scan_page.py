"""The page of a scan: what was found, the prompts that changed most, tokens, samples and context."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup

from interp.figures import scanning as figures
from interp.figures.captions import reading_of
from interp.figures.figure import Figure
from interp.figures.style import figure_json
from interp.report.packing import packed, packed_plotly
from interp.report.prose import template
from interp.verdict.summary import number

#: Table -> its heading, and how it is read.
SECTIONS: Mapping[str, tuple[str, str]] = {
    "findings": (
        "Findings",
        "Proposed on one half of the prompts, counted on the other, each p adjusted for all that were "
        "tried. A word: share of the held-out prompts with it that changed, beside the others'. A "
        "token: share of the held-out sites of change at which one model says it, beside the other's.",
    ),
    "prompts": (
        "Prompts, those that changed most first",
        "Score: the largest mean of KL(B‖T) and KL(T‖B) at one token, nats. Where the contrast of the "
        "two tokens differs by less than the smallest effect it is a near tie and no change.",
    ),
    "tokens": (
        "Tokens promoted and suppressed",
        "Part: mean of p_T (log p_T − log p_B) over all tokens of the continuations, nats. Mean: of "
        "Δ log p, with its interval over prompts. Tokens of one group go together over prompts.",
    ),
    "amplified": (
        "Amplified samples",
        "Greedy continuations by ℓ_T + α (ℓ_T − ℓ_B): what the change says when it is carried on.",
    ),
    "scales": (
        "The change of the weights, scaled",
        "Contrast of the two tokens at held-out sites under θ_B + s (θ_T − θ_B), logits; mean, lowest "
        "and highest prompt. s = 0 is the base, s = 1 the tuned model.",
    ),
    "lens": (
        "Activations on unrelated text (context, no evidence)",
        "Mean h_T − h_B on the first tokens of unrelated text, at the middle boundary and behind the "
        "last block, read through the unembedding. Beside it the largest logit that random differences "
        "of this norm give any token.",
    ),
    "weights": (
        "Weights (context, no evidence)",
        "‖ΔW‖ / ‖W‖, effective rank of the change and the share of its largest singular value.",
    ),
}

#: Table -> how it is drawn.
FIGURES: Mapping[str, Callable[..., Figure]] = {
    "prompts": figures.ranked_prompts,
    "tokens": figures.token_shifts,
    "scales": figures.scale_sweep,
    "lens": figures.lens_dots,
    "weights": figures.weight_spectrum,
}

#: Rows of a table on the page; the others are in its CSV file.
ROWS = 60


def scan_page(sentence: str, tables: Mapping[str, pd.DataFrame], provenance: Mapping[str, Any]) -> str:
    """Page as text. Model text is escaped; styles are inside; nothing is fetched.

    Args:
        sentence: the scan in one sentence.
        tables: by name, as the scan gives them.
        provenance: models, prompts, settings.
    """
    drawn = {name: draw(tables[name]) for name, draw in FIGURES.items() if len(tables[name])}
    sections = [
        {"name": name, "title": title, "how": how, "figure": _figure(drawn.get(name))}
        | _shown(tables[name])
        for name, (title, how) in SECTIONS.items()
    ]
    texts = ",".join(f"{json.dumps(name)}:{figure_json(figure)}" for name, figure in drawn.items())
    title = f"{provenance['tuned']['source']} scanned against {provenance['base']['source']}"
    return template("scan.html.j2").render(
        css=Markup(template("report.css").render()),
        title=title,
        sentence=sentence,
        sections=sections,
        warnings=provenance.get("warnings") or (),
        script=Markup(template("report.js").render()),
        packed_plotly=packed_plotly() if drawn else "",
        packed_figures=packed(f"{{{texts}}}"),
    )


def _figure(figure: Figure | None) -> dict[str, Any] | None:
    """What the page shows of a figure."""
    if figure is None or figure.source is None:
        return None
    read = reading_of(figure.source)
    return {
        "how": read.how,
        "interval": read.intervals,
        "height": int(figure.layout.height or 300),  # type: ignore[attr-defined]
    }


def _shown(table: pd.DataFrame) -> dict[str, Any]:
    """Heads and the first rows as text."""
    columns = [_column(table[name].head(ROWS)) for name in table.columns]
    rows = list(zip(*columns, strict=True))
    return {"heads": [str(c).replace("_", " ") for c in table.columns], "rows": rows, "n": len(table)}


def _column(values: pd.Series) -> list[str]:
    """A column's cells, whole numbers without a point where all of it are whole."""
    numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    if numeric and (values.dropna() % 1 == 0).all():
        return ["–" if pd.isna(value) else str(int(value)) for value in values]
    return [_cell(value) for value in values]


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or type(value).__name__ == "bool_":
        return "yes" if value else "no"
    return "below 0.001" if 0 < value < 0.0005 else number(float(value), 3)
