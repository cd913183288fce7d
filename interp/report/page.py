"""The report: one self-contained HTML file, and beside it every number and figure as its own file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from markupsafe import Markup

from interp._files import write_atomically, write_text
from interp.evidence import Evidence
from interp.figures.export import write_svg
from interp.figures.style import figure_json, plotly_javascript
from interp.report.gallery import Drawn, gallery
from interp.report.numbers import headline_numbers, interval, number
from interp.report.prose import template
from interp.verdict.outcomes import Outcomes
from interp.verdict.result import Verdict, plain

#: Columns of the per-output table: key in verdict.json, heading, whether it is a number.
ITEM_COLUMNS = (
    ("text", "prompt", False),
    ("answer", "answer", False),
    ("said_base", "base says", False),
    ("said_tuned", "tuned says", False),
    ("contrast", "contrast", False),
    ("metric_base", "base (logits)", True),
    ("metric_tuned", "tuned (logits)", True),
    ("share_lower", "share lower", True),
    ("where", "where", False),
    ("what", "what", False),
    ("word", "driven by", False),
)

#: Columns of that table by which a reader can filter.
CHOICES = ("contrast", "where", "what", "word")

#: Words of the verdict that stand below its sentence: key in verdict.json -> heading.
LABELS = {"changed": "answers", "where": "where (output)", "where_fact": "where (fact)", "what": "what"}


@dataclass(frozen=True)
class Written:
    """Files that a report left on disk, and what a user should be told.

    Attributes:
        report: the page.
        files: everything that was written, the page last.
        messages: sentences for the user, for instance that no browser was found.
    """

    report: Path
    files: tuple[Path, ...]
    messages: tuple[str, ...]


def write_report(
    verdict: Verdict,
    outcomes: Outcomes,
    evidence: Evidence,
    folder: Path,
    *,
    provenance: Mapping[str, Any] | None = None,
    base: str = "base",
    tuned: str = "tuned",
    svg: bool = True,
    seed: int = 0,
) -> Written:
    """Write report.html, verdict.json, evidence.parquet and .csv, and the folder figures.

    Every file is written under a temporary name and renamed; report.html comes last, so that a
    folder with a report is complete.

    Args:
        verdict: what `interp.judge` gave.
        outcomes: what both models said.
        evidence: all that was measured, of which figures are drawn.
        folder: where it is written; made where it does not exist.
        provenance: more about where it all came from.
        base: name of the base model in the title.
        tuned: name of the tuned model in the title.
        svg: whether figures are also written as SVG, which needs a browser.
        seed: of the figures' bootstraps.

    Raises:
        ValueError: if the folder holds a report already (nothing is overwritten) or cannot be made.
    """
    folder = Path(folder)
    target = folder / "report.html"
    if target.exists():
        raise ValueError(
            f"{folder} must not hold a report yet, got an existing report.html; "
            "choose another folder or move the old one"
        )
    data = verdict.to_dict()
    data["provenance"] = {**data["provenance"], **plain(dict(provenance or {}))}
    drawn = gallery(data, outcomes, evidence, seed=seed)
    figures = folder / "figures"
    try:
        figures.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"{folder} must be a folder that can be written to, got {error.strerror}; choose another"
        ) from error
    files = [write_text(folder / "verdict.json", json.dumps(data, indent=1, ensure_ascii=False))]
    files += evidence.save(folder)
    files += _write_figures(drawn, figures)
    messages = write_svg({shown.name: shown.figure for shown in drawn}, figures) if svg else []
    files += [path for shown in drawn if (path := figures / f"{shown.name}.svg").exists()]
    page = render(data, outcomes, drawn, base=base, tuned=tuned, messages=messages)
    files.append(write_text(target, page))
    return Written(target, tuple(files), tuple(messages))


def render(
    verdict: Mapping[str, Any],
    outcomes: Outcomes,
    drawn: Sequence[Drawn],
    *,
    base: str = "base",
    tuned: str = "tuned",
    messages: Sequence[str] = (),
) -> str:
    """Page as text. Model text is escaped; scripts and styles are inside; nothing is fetched.

    Args:
        verdict: has the keys of verdict.json.
        outcomes: what both models said.
        drawn: the figures.
        base: name of the base model in the title.
        tuned: name of the tuned model in the title.
        messages: sentences for the reader.
    """
    sections = [
        {"title": title, "figures": [_figure(figure) for figure in drawn if figure.section == title]}
        for title in dict.fromkeys(figure.section for figure in drawn)
    ]
    items = sorted(verdict["items"], key=lambda item: (item["group"], item["form"]))
    headings = {key: title for key, title, _ in ITEM_COLUMNS}
    return template("report.html.j2").render(
        title=f"{tuned} compared with {base}",
        sentence=str(verdict["sentence"]),
        labels=[(title, str(verdict[key])) for key, title in LABELS.items() if verdict.get(key)],
        notes=[str(note) for note in verdict.get("notes") or []],
        numbers=[_numbers(row) for row in headline_numbers(verdict).to_dict("records")],
        counts=_counts(outcomes, verdict),
        sections=sections,
        items=[
            [_cell(item.get(key), key, numeric) for key, _, numeric in ITEM_COLUMNS] for item in items
        ],
        item_columns=[{"key": k, "title": title, "numeric": n} for k, title, n in ITEM_COLUMNS],
        choices=[(key, headings[key], _choices(items, key)) for key in CHOICES],
        words=_words(verdict),
        limits=verdict["thresholds"],
        thresholds=sorted(_flat(verdict["thresholds"])),
        excluded=list(verdict.get("excluded") or []),
        messages=messages,
        provenance=json.dumps(verdict.get("provenance"), indent=1, ensure_ascii=False, default=str),
        plotly_js=Markup(plotly_javascript()),
    )


def _numbers(row: Mapping[Any, Any]) -> dict[str, str]:
    """Row of the table of numbers as text."""
    shown = {key: number(row[key]) for key in ("estimate", "floor", "ceiling", "n")}
    return {"quantity": row["quantity"], "meaning": row["meaning"], "interval": interval(row), **shown}


def _write_figures(drawn: Sequence[Drawn], folder: Path) -> list[Path]:
    """Write every figure as a page and as the table that it shows, beside one copy of plotly.js."""
    if not drawn:
        return []
    layout = template("figure.html.j2")
    files = [write_text(folder / "plotly.min.js", plotly_javascript())]
    for shown in drawn:
        data = Markup(figure_json(shown.figure))
        page = layout.render(name=shown.name, caption=shown.caption, json=data)
        files.append(write_text(folder / f"{shown.name}.html", page))
        write = partial(shown.data.to_csv, index=False)
        files.append(write_atomically(folder / f"{shown.name}.csv", write))
    return files


def _figure(drawn: Drawn) -> dict[str, Any]:
    return {
        "name": drawn.name,
        "caption": drawn.caption,
        "height": int(drawn.figure.layout.height or 300),
        "json": Markup(figure_json(drawn.figure)),
    }


def _words(verdict: Mapping[str, Any]) -> list[dict[str, str]]:
    """Words of single outputs, each with its share and its outputs."""
    rows = (verdict.get("shared_shift") or {}).get("output_words") or []
    return [
        {
            "word": row["word"],
            "share": f"{number(row['estimate'])} {interval(row)}",
            "n": str(len(row["groups"])),
            "groups": ", ".join(row["groups"]) or "–",
        }
        for row in rows
    ]


def _counts(outcomes: Outcomes, verdict: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of the table of counts: what is counted, and how many."""
    known = outcomes.known_groups
    counts = {
        "entities that the base knows": known,
        "of these, changed": outcomes.changed_groups,
        "of these, changed on the second wording as well": outcomes.confirmed_groups,
        "entities that the base does not know (reported, never pooled)": outcomes.unknown_groups,
        "items left out": verdict.get("excluded") or [],
    }
    rows = [(name, str(len(counted))) for name, counted in counts.items()]
    for model in ("base", "tuned"):
        share = outcomes.closed_set_accuracy(model, known)
        if share is not None:
            rows.append((f"{model}: right answer wins among all known answers", number(share)))
    return rows


def _cell(value: Any, key: str, numeric: bool) -> dict[str, Any]:
    if not numeric:
        text = "–" if value is None else str(value)
        return {"text": text, "numeric": False, "output": key.startswith("said") or key == "answer"}
    return {"text": number(value), "numeric": True, "value": "" if value is None else repr(value)}


def _choices(items: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    return sorted({str(i[key]) for i in items if i.get(key) is not None})


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        name = f"{prefix}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            rows += _flat(value, f"{name}: ")
        else:
            rows.append((name, f"{value:g}" if isinstance(value, float) else str(value)))
    return rows
