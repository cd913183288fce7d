"""`interp verify`: whether a finished run is as it was saved, and as its models give it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from interp.progress import announce
from studies.commands.options import STATISTICS, Quiet, Run
from studies.commands.runs.begun import work_of
from studies.commands.runs.comparison import ComparisonWork
from studies.commands.runs.scan import PROVENANCE
from studies.commands.runs.work import Work

if TYPE_CHECKING:
    from studies.comparison.verifying import Agreement

#: Differing cells that are listed at most.
LISTED = 5


def verify(
    folder: Run,
    files: Annotated[
        bool, typer.Option("--files", help="Check the files only; load no model.")
    ] = False,
    seed: Annotated[
        int, typer.Option(min=0, help="Of the sample of cells.", rich_help_panel=STATISTICS)
    ] = 0,
    quiet: Quiet = False,
) -> None:
    """Check that the files of a run are as they were saved, and measure a sample of its cells again.

    Every file is compared with its checksum. Then the models that the run names are loaded: of a
    comparison some prompts are stitched again, of a scan or of prompts some are asked again, and must
    agree up to rounding. Ends with 2 where anything differs.
    """
    from interp.runs.checksums import differences

    here = Path(folder).expanduser()
    changed = differences(here)
    if changed:
        raise ValueError(f"{folder}: {'; '.join(changed[:LISTED])}{_more(changed)}")
    typer.echo("files: all as they were saved")
    if files:
        return
    work = work_of(here)
    announce(f"loading {work.base} and {work.tuned} …")
    agreed = _again(work, here, seed)
    if agreed.apart:
        raise ValueError(
            f"{folder}: {len(agreed.apart)} of {agreed.cells} cells differ: "
            f"{'; '.join(agreed.apart[:LISTED])}{_more(agreed.apart)}"
        )
    typer.echo(
        f"cells: {agreed.cells} measured again, the largest difference {agreed.largest:.2g}"
        if agreed.cells
        else "cells: none, the two models answer identically"
    )


def _again(work: Work, here: Path, draw: int) -> Agreement:
    """A sample of the run's cells, measured again with the models that it names."""
    from interp.models.loading import load_pair

    task: Any = work.read()
    pair = load_pair(work.base, work.tuned, device=work.device, dtype=work.dtype)
    if not isinstance(work, ComparisonWork):
        from interp.untrusted.reading import read_json
        from studies.scanning.verifying import scan_measured_again

        _require_same_models(pair, read_json(here / PROVENANCE))
        return scan_measured_again(
            pair, task, here, prompt=work.way, tokens=work.tokens, budget=work.max_bytes, draw=draw
        )
    from studies.comparison.prompts.verifying import prompts_measured_again
    from studies.comparison.verifying import measured_again
    from studies.runs import evidence_of, verdict_of

    verdict, evidence = verdict_of(here), evidence_of(here)
    _require_same_models(pair, verdict["provenance"])
    if work.prompts is None:
        return measured_again(
            pair, task, evidence, prompt=work.way, seed=work.seed, budget=work.max_bytes, draw=draw
        )
    return prompts_measured_again(
        pair, task, evidence, verdict["items"], prompt=work.way, tokens=work.tokens,
        readout=work.reader, budget=work.max_bytes, draw=draw,
    )  # fmt: skip


def _require_same_models(pair: Any, provenance: dict[str, Any]) -> None:
    """Refuse models whose weights are not those that the run compared."""
    for model in (pair.base, pair.tuned):
        known = (provenance.get(model.role) or {}).get("fingerprint")
        if known != model.fingerprint:
            raise ValueError(
                f"{model.name} holds other weights than the {model.role} model of the run (fingerprint "
                f"{model.fingerprint[:12]}, was {json.dumps(known)[:14]}); restore them to verify"
            )


def _more(lines: Any) -> str:
    return f"; and {len(lines) - LISTED} more" if len(lines) > LISTED else ""
