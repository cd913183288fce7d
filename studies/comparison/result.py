"""Comparison: everything that comparing two models found, and how it is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

from interp._files import write_text
from interp.display.html import Shown
from interp.evidence import Evidence
from interp.progress import stage
from interp.report.page import Written, write_report
from interp.runs.checksums import write_checksums
from interp.verdict.outcomes import Outcomes
from interp.verdict.result import Verdict, plain


@dataclass(frozen=True, eq=False)
class Comparison(Shown):
    """Everything one comparison found.

    Attributes:
        outcomes: what both models said to every question.
        evidence: every measurement, one tidy table.
        verdict: the judgement, with the numbers behind it.
        provenance: models, facts, versions, seed.
        base: the base's name.
        tuned: the tuned model's name.
    """

    outcomes: Outcomes
    evidence: Evidence
    verdict: Verdict
    provenance: Mapping[str, Any]
    base: str
    tuned: str

    def __repr__(self) -> str:
        """The two models and the verdict's sentence; the tables are left out."""
        return f"Comparison({self.base} -> {self.tuned}: {self.verdict.sentence})"

    def _repr_html_(self) -> str:
        """The two models and the top of the report, for a notebook."""
        title = f"<p>{escape(self.tuned)} compared with {escape(self.base)}</p>"
        return title + self.verdict._repr_html_()

    def save_verdict(self, folder: Path) -> Path:
        """Write verdict.json alone, before parts that take long; `save` writes it anew.

        Args:
            folder: made where there is none.
        """
        Path(folder).mkdir(parents=True, exist_ok=True)
        data = self.verdict.to_dict()
        data["provenance"] = {**data["provenance"], **plain(dict(self.provenance))}
        text = json.dumps(data, indent=1, ensure_ascii=False)
        return write_text(Path(folder) / "verdict.json", text)

    def save(self, folder: str | Path, *, svg: bool = True, csv: bool = False) -> Written:
        """Write report.html, verdict.json, the evidence, the figures and their checksums into a folder.

        Args:
            folder: a new or empty folder.
            svg: whether figures are written as SVG too.
            csv: whether the evidence is written as CSV too; `interp export` makes it later.

        Returns:
            The report's path and the files beside it.

        Raises:
            ValueError: if the folder holds a report already, or cannot be written.
        """
        stage("writing")
        written = write_report(
            self.verdict,
            self.outcomes,
            self.evidence,
            Path(folder),
            provenance=self.provenance,
            base=self.base,
            tuned=self.tuned,
            svg=svg,
            csv=csv,
        )
        return replace(written, files=(*written.files, write_checksums(Path(folder))))
