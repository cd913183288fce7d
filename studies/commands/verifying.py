"""`interp verify`: whether a finished run is as it was saved, and as its models give it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from interp.progress import announce
from studies.commands.options import STATISTICS, Quiet, Run
from studies.commands.work import Work

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

    Every file is compared with its checksum. Then the models that the run names are loaded, some of
    its stitched and patched cells are measured again, and must agree up to rounding. Ends with 2
    where anything differs.
    """
    from interp.runs.checksums import differences

    here = Path(folder).expanduser()
    changed = differences(here)
    if changed:
        raise ValueError(f"{folder}: {'; '.join(changed[:LISTED])}{_more(changed)}")
    typer.echo("files: all as they were saved")
    if files:
        return
    from interp.facts.loading import load_facts
    from interp.models.loading import load_pair
    from studies.comparison.verifying import measured_again
    from studies.runs import evidence_of, verdict_of

    work = Work.of(here)
    if work.prompts is not None:
        raise ValueError(
            f"{folder} compares prompts, of which no cell is measured again yet; its files are all as "
            "they were saved; add --files to verify these alone"
        )
    announce(f"loading {work.base} and {work.tuned} …")
    pair = load_pair(work.base, work.tuned, device=work.device, dtype=work.dtype)
    _require_same_models(pair, verdict_of(here)["provenance"])
    agreement = measured_again(
        pair, load_facts(work.asked), evidence_of(here),
        prompt="chat" if work.prompt == "chat" else "raw", seed=work.seed,
        budget=int(work.budget * 2**30), draw=seed,
    )  # fmt: skip
    if agreement.apart:
        raise ValueError(
            f"{folder}: {len(agreement.apart)} of {agreement.cells} cells differ: "
            f"{'; '.join(agreement.apart[:LISTED])}{_more(agreement.apart)}"
        )
    typer.echo(
        f"cells: {agreement.cells} measured again, the largest difference {agreement.largest:.2g}"
        if agreement.cells
        else "cells: none, the two models answer identically"
    )


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
