"""A scan as the command line asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import typer

from interp.untrusted.reading import printable
from studies.commands.runs.work import Loaded, Work
from studies.comparison.stages import LOADING, SCANNED

if TYPE_CHECKING:
    from interp.facts.prompts.files import PromptSet
    from studies.planning.plans import JobPlan
    from studies.scanning.scanning import Scan

#: The files of the held-out prompts that changed, and of where the scan comes from.
FOUND, PROVENANCE = "prompts.jsonl", "scan.json"


@dataclass(frozen=True, kw_only=True)
class ScanWork(Work):
    """One scan; without a file of prompts the shipped ones are asked."""

    command: ClassVar[str] = "scan"
    page: ClassVar[str] = "scan.html"

    @property
    def title(self) -> str:
        """The work in a few words."""
        return f"scanning {self.tuned} against {self.base}"

    @property
    def stages(self) -> Mapping[str, int]:
        """Its stages and their rough shares of the time."""
        return {**LOADING, **SCANNED}

    def read(self) -> PromptSet:
        """The prompts."""
        from studies.scanning.scanning import prompts_of

        return prompts_of(self.prompts)

    def about(self, loaded: Loaded) -> dict[str, Any]:
        """What its folder is known by."""
        from interp.verdict.thresholds import Thresholds
        from studies.scanning.scanning import job_of

        same = (self.prompt, self.tokens, Thresholds(), self.seed)
        return job_of(loaded.pair, prompts_of_scan(loaded), *same)

    def measured(self, loaded: Loaded, folder: Path | None = None) -> Scan:
        """The scan."""
        from studies.scanning.scanning import scan

        return scan(
            loaded.pair, prompts_of_scan(loaded), prompt=self.way, tokens=self.tokens, seed=self.seed,
            budget=self.max_bytes,
        )  # fmt: skip

    def planned(self, loaded: Loaded) -> JobPlan:
        """What the scan would cost."""
        from studies.planning.open.scans import plan_scan

        return plan_scan(
            loaded.pair, prompts_of_scan(loaded), prompt=self.way, tokens=self.tokens, seed=self.seed,
            budget=self.max_bytes,
        )  # fmt: skip

    def ahead(self, loaded: Loaded) -> JobPlan:
        """What the scan would cost if half of the prompts changed."""
        from studies.planning.open.scans import scan_ahead

        return scan_ahead(
            loaded.pair, prompts_of_scan(loaded), prompt=self.way, tokens=self.tokens, seed=self.seed,
            budget=self.max_bytes,
        )  # fmt: skip

    def saved(self, result: Scan, folder: Path) -> None:
        """Write the page and every table."""
        result.save(folder)

    def tell(self, result: Scan, notes: Sequence[str], folder: Path) -> None:
        """Say what came out."""
        typer.echo(printable(result.sentence))
        for note in notes:
            typer.echo(printable(f"note: {note}"))
        typer.echo(f"prompts: {folder / FOUND} ({len(result.held_out)}, for interp compare)")
        typer.echo(f"scan: {folder / self.page}")


def prompts_of_scan(loaded: Loaded) -> PromptSet:
    """The prompts that were read, which a scan always asks."""
    task: Any = loaded.task
    return task
