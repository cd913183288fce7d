"""`interp figures DIR`: the standard figures of a finished comparison, for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def figures(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished `interp compare`.")],
    venue: Annotated[str, typer.Option(help="icml, neurips, iclr or acl: width and font.")] = "icml",
    columns: Annotated[int, typer.Option(min=1, max=2, help="Columns that a figure spans.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Where they go (default: DIR/paper).")] = None,
    format: Annotated[str, typer.Option(help="pdf, svg or png.")] = "pdf",
    seed: Annotated[int, typer.Option(min=0, help="Of the resampling.")] = 0,
) -> None:
    """Write the figures of a finished comparison for a paper, with their data and captions."""
    from interp.figures.paper.venues import width_and_size
    from interp.report.gallery import gallery
    from interp.untrusted.reading import reason
    from studies.runs import evidence_of, outcomes_of, verdict_of

    width_and_size(venue, columns)
    if format not in ("pdf", "svg", "png"):
        raise ValueError(f"--format must be pdf, svg or png; got {format!r}; choose one")
    verdict = verdict_of(folder)
    evidence = evidence_of(folder)
    try:
        drawn = gallery(verdict, outcomes_of(verdict), evidence, seed=seed)
    except Exception as error:  # what others wrote may fit together in no way that can be drawn
        raise ValueError(
            f"{folder} cannot be drawn ({reason(error)}); run the comparison again"
        ) from error
    target = folder / "paper" if out is None else out
    for shown in drawn:
        written = shown.figure.save(target / f"{shown.name}.{format}", venue=venue, columns=columns)
        typer.echo(str(written[0]))
