"""The report: one self-contained HTML file, and beside it every number and figure as its own file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from interp._files import write_atomically, write_text
from interp.evidence import Evidence
from interp.figures.export import write_svg
from interp.figures.style import figure_json, plotly_javascript
from interp.report.gallery import Drawn, gallery
from interp.report.numbers import headline_numbers, interval, number
from interp.verdict.outcomes import Outcomes
from interp.verdict.result import Verdict, plain

#: Columns of the per-output table: key in verdict.json, heading, whether it is a number.
ITEM_COLUMNS = (
    ("text", "prompt", False), ("answer", "answer", False), ("said_base", "base says", False),
    ("said_tuned", "tuned says", False), ("contrast", "contrast", False),
    ("metric_base", "base (logits)", True), ("metric_tuned", "tuned (logits)", True),
    ("share_lower", "share lower", True), ("where", "where", False), ("what", "what", False),
    ("word", "driven by", False),
)  # fmt: skip

METHODS = (
    ("Items", "Only entities whose answer the base gives top-1 count. Query forms are averaged within "
     "an entity, entities are the unit of every interval. Tokens are chosen on the first query form, "
     "effects are estimated on the second."),
    ("Contrasts", "Output: logit of the base's token minus logit of the tuned model's token, changed "
     "entities. Fact: logit of the right answer minus the mean logit of the other known answers."),
    ("Where", "Base and tuned model are stitched at every boundary in both orders; the share of the "
     "change below the middle boundary decides. Means over entities are divided, intervals are "
     "Fieller's. A share says where a change was made, not where a fact is stored."),
    ("What", "Sufficiency: a shift predicted from the base's own state (group-disjoint ridge) makes "
     "the base say the tuned token. Retention: the base's upper blocks answer from the tuned state "
     "without the mean shift. Persistence: the tuned model without the shift. The tuned token is what "
     "the tuned model says on the form that is read. High: lower bound at least {high:g}; low: upper "
     "bound at most {low:g} (Wilson)."),
    ("Output by output", "A changed output is a shared push if its part's push brings it about and "
     "it vanishes without the push, item by item if the reverse, either if both would do, neither if "
     "none does. A tuned token that at least {part_groups} entities share is a part; the others are "
     "one. Mixed: pushed and item-by-item outputs are each more than {mixed_share:.0%} "
     "for certain."),
    ("Probes and claims", "Linear probes are tested on held-out entities against shuffled labels, a "
     "control task and random features. A claim is supported when it is readable and its subspace "
     "swap beats the control-task directions. A probe alone is correlation."),
    ("Figures", "Bands and bars are 95% intervals: bootstrap over entities (BCa) for curves, Wilson "
     "for shares. Figures draw tables and compute nothing; each table lies in the folder figures."),
)  # fmt: skip


@dataclass(frozen=True)
class Written:
    """What a report left on disk, and what a user should be told (for instance: no browser found)."""

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
    folder with a report is complete. `base` and `tuned` are the names used in the sentence.

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
    place = folder / "figures"
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"{folder} must be a folder that can be written to, got {error.strerror}; choose another"
        ) from error
    files = [write_text(folder / "verdict.json", json.dumps(data, indent=1, ensure_ascii=False))]
    files += evidence.save(folder)
    files += _write_figures(drawn, place)
    messages = write_svg({d.name: d.figure for d in drawn}, place) if svg else []
    files += [p for d in drawn if (p := place / f"{d.name}.svg").exists()]
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
    """The page as text. Model text is escaped; scripts and styles are inside; nothing is fetched."""
    sections = [
        {"title": title, "figures": [_figure(d) for d in drawn if d.section == title]}
        for title in dict.fromkeys(d.section for d in drawn)
    ]
    numbers = [
        {"quantity": row["quantity"], "estimate": number(row["estimate"]), "interval": interval(row),
         "floor": number(row["floor"]), "ceiling": number(row["ceiling"]),
         "n": number(row["n"]), "meaning": row["meaning"]}
        for row in headline_numbers(verdict).to_dict("records")
    ]  # fmt: skip
    items = sorted(verdict["items"], key=lambda i: (i["group"], i["form"]))
    return _environment().get_template("report.html.j2").render(
        title=f"{tuned} compared with {base}",
        sentence=str(verdict["sentence"]),
        labels=_labels(verdict),
        notes=[str(n) for n in verdict.get("notes") or []],
        numbers=numbers,
        counts=_counts(outcomes, verdict),
        sections=sections,
        items=[[_cell(item.get(key), key, numeric) for key, _, numeric in ITEM_COLUMNS]
               for item in items],
        item_columns=[{"key": k, "title": t, "numeric": n} for k, t, n in ITEM_COLUMNS],
        choices=[(key, title, _choices(items, key)) for key, title in (
            ("contrast", "contrast"), ("where", "where"), ("what", "what"), ("word", "driven by"))],
        words=_words(verdict),
        methods=[(name, text.format(**verdict["thresholds"])) for name, text in METHODS],
        thresholds=sorted(_flat(verdict.get("thresholds") or {})),
        excluded=list(verdict.get("excluded") or []),
        messages=messages,
        provenance=json.dumps(verdict.get("provenance"), indent=1, ensure_ascii=False, default=str),
        plotly_js=Markup(plotly_javascript()),
    )  # fmt: skip


@lru_cache(maxsize=1)
def _environment() -> Environment:
    loader = PackageLoader("interp.report", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined)


def _write_figures(drawn: Sequence[Drawn], folder: Path) -> list[Path]:
    if not drawn:
        return []
    template = _environment().get_template("figure.html.j2")
    files = [write_text(folder / "plotly.min.js", plotly_javascript())]
    for one in drawn:
        page = template.render(name=one.name, caption=one.caption, json=Markup(figure_json(one.figure)))
        files.append(write_text(folder / f"{one.name}.html", page))
        data = one.data
        files.append(
            write_atomically(folder / f"{one.name}.csv", lambda p, t=data: t.to_csv(p, index=False))
        )
    return files


def _figure(drawn: Drawn) -> dict[str, Any]:
    height = int(drawn.figure.layout.height or 300)
    return {"name": drawn.name, "caption": drawn.caption, "height": height,
            "json": Markup(figure_json(drawn.figure))}  # fmt: skip


def _labels(verdict: Mapping[str, Any]) -> list[tuple[str, str]]:
    names = (("changed", "answers"), ("where", "where (output)"), ("where_fact", "where (fact)"),
             ("what", "what"))  # fmt: skip
    return [(title, str(verdict[key])) for key, title in names if verdict.get(key) is not None]


def _words(verdict: Mapping[str, Any]) -> list[dict[str, str]]:
    """The four words of single outputs, each with its share and its outputs."""
    rows = (verdict.get("shared_shift") or {}).get("output_words") or []
    return [
        {"word": row["word"], "share": f"{number(row['estimate'])} {interval(row)}",
         "n": str(len(row["groups"])), "groups": ", ".join(row["groups"]) or "–"}
        for row in rows
    ]  # fmt: skip


def _counts(outcomes: Outcomes, verdict: Mapping[str, Any]) -> list[tuple[str, str]]:
    known = outcomes.known_groups
    rows = [
        ("entities that the base knows", str(len(known))),
        ("of these, changed", str(len(outcomes.changed_groups))),
        ("of these, changed on the second wording as well", str(len(outcomes.confirmed_groups))),
        ("entities that the base does not know (reported, never pooled)",
         str(len(outcomes.unknown_groups))),
        ("items left out", str(len(verdict.get("excluded") or []))),
    ]  # fmt: skip
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
