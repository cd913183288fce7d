"""The report: one self-contained HTML file, and beside it every number and figure as its own file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from interp._files import require_without, write_csv, write_text
from interp.evidence import Evidence
from interp.figures.paper.files import svg_of
from interp.figures.style import figure_json, plotly_javascript
from interp.report.controls import controls, left_out
from interp.report.depth import depth_table
from interp.report.figure_tables import number_table
from interp.report.gallery import Drawn, gallery
from interp.report.glossary import FirstUses, glossary
from interp.report.methods import bibtex, command, methods_text
from interp.report.numbers import headline_numbers
from interp.report.outputs import behind, choices, opening, output_table, shown_columns, shown_rows
from interp.report.packing import packed, packed_plotly
from interp.report.prose import template
from interp.verdict.outcomes import Outcomes
from interp.verdict.prompts.asked import told_of
from interp.verdict.result import Verdict, plain
from interp.verdict.summary import by_number, interval, number, share, summary

#: Heads and MLPs in the table of those that carry outputs.
CARRYING = 12


@dataclass(frozen=True)
class Written:
    """Files that a report left on disk.

    Attributes:
        report: the page.
        files: everything that was written, the page last.
    """

    report: Path
    files: tuple[Path, ...]


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
    csv: bool = False,
    seed: int = 0,
) -> Written:
    """Write report.html, verdict.json, outputs.csv, evidence.parquet and the folder figures.

    Every file is written under a temporary name and renamed. The verdict and the tables come before
    any figure is drawn; report.html comes last, so that a folder with a report is complete.

    Args:
        verdict: what `interp.judge` gave.
        outcomes: what both models said.
        evidence: all that was measured, of which figures are drawn.
        folder: where it is written; made where it does not exist.
        provenance: more about where it all came from.
        base: name of the base model in the title.
        tuned: name of the tuned model in the title.
        svg: whether figures are also written as SVG.
        csv: whether the evidence is also written as CSV, which is many times larger.
        seed: of the figures' bootstraps.

    Raises:
        ValueError: if the folder holds one of these files already, but for a verdict (nothing else is
            overwritten), or cannot be made.
    """
    folder = Path(folder)
    target = folder / "report.html"
    require_without(folder, [target.name, "outputs.csv", "evidence.parquet"])
    data = verdict.to_dict()
    data["provenance"] = {**data["provenance"], **plain(dict(provenance or {}))}
    figures = folder / "figures"
    try:
        figures.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"{folder} must be a folder that can be written to, got {error.strerror}; choose another"
        ) from error
    files = [write_text(folder / "verdict.json", json.dumps(data, indent=1, ensure_ascii=False))]
    files.append(write_csv(folder / "outputs.csv", output_table(data)))
    files += evidence.save(folder, csv=csv)
    drawn = gallery(data, outcomes, evidence, seed=seed)
    files += _write_figures(drawn, figures, svg=svg)
    page = render(data, outcomes, drawn, base=base, tuned=tuned, svg=svg)
    files.append(write_text(target, page))
    return Written(target, tuple(files))


def render(
    verdict: Mapping[str, Any],
    outcomes: Outcomes,
    drawn: Sequence[Drawn],
    *,
    base: str = "base",
    tuned: str = "tuned",
    svg: bool = False,
) -> str:
    """Page as text. Model text is escaped; scripts and styles are inside; nothing is fetched.

    Args:
        verdict: has the keys of verdict.json.
        outcomes: what both models said.
        drawn: the figures.
        base: name of the base model in the title.
        tuned: name of the tuned model in the title.
        svg: whether the figures lie beside the page as SVG too.
    """
    provenance, asked = verdict.get("provenance") or {}, verdict.get("asked")
    outputs = output_table(verdict)
    sections = _sections(drawn, svg)
    figures = ",".join(f"{json.dumps(shown.name)}:{figure_json(shown.figure)}" for shown in drawn)
    methods = methods_text(verdict, outcomes, base=base, tuned=tuned)
    layout = template("report.html.j2")
    return layout.render(
        css=Markup(template("report.css").render()),
        script=Markup(template("report.js").render()),
        terms=FirstUses(),
        title=f"{tuned} compared with {base}",
        top=summary(verdict),
        contents=_contents(sections, bool(verdict.get("depth"))),
        opening=opening(outputs),
        behind=behind,
        outputs=shown_rows(outputs),
        output_heads=[told_of(head, asked) for head in shown_columns(outputs)],
        answer_head=told_of("right answer", asked),
        choices=choices(outputs),
        words=_words(verdict),
        carriers=_carriers(verdict),
        depth=depth_table(verdict),
        sections=sections,
        controls=controls(verdict),
        cells=_cells(verdict),
        numbers=[_numbers(row) for row in headline_numbers(verdict).to_dict("records")],
        general=told_of(str(template("limits.txt").render()), asked).splitlines(),
        left_out=left_out(verdict, outcomes),
        methods=methods.split("\n\n"),
        command=command(provenance),
        bibtex=bibtex(provenance),
        limits=verdict["thresholds"],
        thresholds=sorted(_flat(verdict["thresholds"])),
        provenance=json.dumps(provenance, indent=1, ensure_ascii=False, default=str),
        glossary=glossary(),
        packed_plotly=packed_plotly() if drawn else "",
        packed_figures=packed(f"{{{figures}}}"),
    )


def _sections(drawn: Sequence[Drawn], svg: bool) -> list[dict[str, Any]]:
    """Sections with figures, in the order in which these were drawn."""
    return [
        {
            "title": title,
            "anchor": f"section-{n}",
            "figures": [_figure(shown, svg) for shown in drawn if shown.section == title],
        }
        for n, title in enumerate(dict.fromkeys(shown.section for shown in drawn), start=1)
    ]


def _cells(verdict: Mapping[str, Any]) -> list[list[str]]:
    """The four cells at every boundary, by what is said: both shares, interaction, portable share."""
    rows = (verdict.get("output_contrast") or {}).get("boundaries") or ()
    named = ("share_lower_order_u", "share_lower_order_v", "interaction", "portable_share")
    return [[str(row["boundary"]), *(share(row[name]) or "–" for name in named)] for row in rows]


def _contents(sections: Sequence[Mapping[str, Any]], depth: bool) -> list[tuple[str, str]]:
    """Anchors and headings of the page, in its order."""
    return [
        ("outputs", "All outputs"),
        *([("depth", "Depth of the change")] if depth else []),
        *((str(section["anchor"]), str(section["title"])) for section in sections),
        ("controls", "Controls"),
        ("limits", "Limits"),
        ("methods", "Methods and citation"),
        ("glossary", "Glossary"),
    ]


def _numbers(row: Mapping[Any, Any]) -> dict[str, str]:
    """Row of the table of numbers as text."""
    shown = {key: number(row[key]) for key in ("estimate", "floor", "ceiling", "n")}
    return {"quantity": row["quantity"], "meaning": row["meaning"], "interval": interval(row), **shown}


def _write_figures(drawn: Sequence[Drawn], folder: Path, *, svg: bool) -> list[Path]:
    """Write every figure as a page, a drawing and the table it shows, beside one copy of plotly.js."""
    if not drawn:
        return []
    layout = template("figure.html.j2")
    files = [write_text(folder / "plotly.min.js", plotly_javascript())]
    for shown in drawn:
        data = Markup(figure_json(shown.figure))
        words = {name: getattr(shown, name) for name in ("name", "title", "caption", "interval", "n")}
        files.append(write_text(folder / f"{shown.name}.html", layout.render(json=data, **words)))
        files.append(write_csv(folder / f"{shown.name}.csv", shown.data))
        if svg:
            files.append(write_text(folder / f"{shown.name}.svg", svg_of(shown.figure).decode()))
    return files


def _figure(drawn: Drawn, svg: bool) -> dict[str, Any]:
    """What the page shows of a figure."""
    return {
        "name": drawn.name,
        "title": drawn.title,
        "caption": drawn.caption,
        "interval": drawn.interval,
        "n": drawn.n,
        "alt": f"Figure: {drawn.title}. {drawn.caption} The numbers stand in the table below.",
        "height": int(drawn.figure.layout.height or 300),
        "svg": svg,
        "table": number_table(drawn.data),
    }


def _words(verdict: Mapping[str, Any]) -> list[dict[str, str]]:
    """Words of single outputs, each with its share and its outputs."""
    rows = (verdict.get("shared_shift") or {}).get("output_words") or []
    return [
        {
            "word": row["word"],
            "share": share(row),
            "n": str(len(row["groups"])),
            "groups": ", ".join(sorted(row["groups"], key=by_number)) or "none",
        }
        for row in rows
    ]


def _carriers(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """Heads and MLPs that carry outputs, and the note on them; empty where none were exchanged."""
    found = verdict.get("carriers")
    if not found:
        return {}
    beside = "–" if found["beside"] is None else number(found["beside"])
    rows = [
        [row["node"], f"{row['prompts']} of {found['prompts']}", number(row["share"])]
        for row in found["nodes"][:CARRYING]
    ]
    return {
        "rows": rows,
        "prompts": found["prompts"],
        "left": len(found["nodes"]) - len(rows),
        "least": number(verdict["thresholds"]["carrier_share"]),
        "drawn": found["drawn"],
        "beside": beside,
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        name = f"{prefix}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            rows += _flat(value, f"{name}: ")
        else:
            rows.append((name, f"{value:g}" if isinstance(value, float) else str(value)))
    return rows
