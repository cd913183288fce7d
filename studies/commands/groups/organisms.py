"""`interp organisms`: models whose place and kind of change are known. Only typer is imported here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interp.untrusted.reading import printable
from studies.commands.options import (
    MACHINE,
    MODELS,
    FirstSeed,
    Json,
    KeptError,
    Quiet,
    Verbose,
    Worlds,
    register,
)

if TYPE_CHECKING:
    from studies.organisms.family.cards import Entry

organisms = typer.Typer(
    help="Models whose place and kind of change are known by construction: build, list, card.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Models = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the organisms that are made (default: the user's cache).",
        rich_help_panel=MODELS,
    ),
]


def build(
    family: Annotated[
        list[str] | None,
        typer.Option(
            help="development, held-out, coverage, experts, or fresh (16 organisms of a world nobody "
            "has looked at); give it again for more (default: development).",
            rich_help_panel=MODELS,
        ),
    ] = None,
    seeds: Worlds = None,
    first_seed: FirstSeed = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only this organism; give it again for more.", rich_help_panel=MODELS),
    ] = None,
    models: Models = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Processes that train at a time.", rich_help_panel=MACHINE)
    ] = 1,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train the organisms that are missing.

    A minute or two each, a few for the base of a world. What has a card is there; a killed call goes on
    with the same line, inside of a training too. Equal seeds give equal weights on one machine.
    """
    from studies.organisms.catalogue import folder_of
    from studies.organisms.family.members import DEVELOPMENT, make, members

    wanted = [m for name in family or [DEVELOPMENT] for m in members(name, seeds, first_seed)]
    wanted = [m for m in dict.fromkeys(wanted) if not only or m.name in only]
    if not wanted:
        raise typer.BadParameter(
            f"--only must name organisms of {', '.join(family or [DEVELOPMENT])}, got "
            f"{', '.join(only or [])}; the page on the scorecard names the regimes"
        )
    root = folder_of(models)
    made: dict[str, bool] = {}
    try:
        for member, installed in make(wanted, root, jobs=jobs):
            name = f"{member.shape}-{member.seed}/{member.name}"
            made[name] = installed
            typer.echo(f"{name}: {'installed' if installed else 'NOT installed'}")
    except KeyboardInterrupt as error:
        raise KeptError(
            f"interrupted; what was made is kept in {root}; the same command goes on from there"
        ) from error
    typer.echo(f"{sum(made.values())} of {len(made)} reached their gates; they are in {root}")


def list_(models: Models = None, as_json: Json = False) -> None:
    """List the organisms that are there, with what is true of each.

    Shipped ones, and those made, world by world: name, place and content by construction, and whether
    the installation gate was reached.
    """
    from studies.organisms.catalogue import folder_of
    from studies.organisms.family.cards import entries

    there = entries(folder_of(models))
    if as_json:
        typer.echo(json.dumps([{**_row(f), "about": f.about} for f in there], indent=1))
        return
    width = max(len(found.name) for found in there)
    for world in dict.fromkeys(found.world for found in there):
        typer.echo(f"{world}:")
        for found in (f for f in there if f.world == world):
            row = _row(found)
            truth = f"{row['where'] or '–':<11}  {row['what'] or '–':<9}"
            lost = "" if found.card["installed"] else "  NOT installed"
            typer.echo(printable(f"  {found.name:<{width}}  {truth}{lost}".rstrip()))


def _row(found: Entry) -> dict[str, object]:
    """What a script wants to know of one."""
    card = found.card
    return {
        "name": found.name, "world": found.world, "where": card.get("where"),
        "what": card.get("what"), "installed": card["installed"], "folder": str(found.model),
    }  # fmt: skip


def card(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A shipped organism, or WORLD/NAME as list tells it.")
    ],
    models: Models = None,
    as_json: Json = False,
) -> None:
    """What is known of one organism: truth, gates reached, masks verified.

    The change outside of the mask is read from the weights when this is called.
    """
    from studies.organisms.catalogue import folder_of
    from studies.organisms.family.cards import entry

    found = entry(name, folder_of(models))
    if as_json:
        typer.echo(json.dumps({**found.card, "moved_outside_now": found.moved_outside()}, indent=1))
        return
    for line in found.told():
        typer.echo(printable(line))


register(
    organisms, "build", build, "interp organisms build --jobs 2",
    "interp organisms build --family fresh --seeds 1 --jobs 2",
)  # fmt: skip
register(organisms, "list", list_, "interp organisms list", "interp organisms list --models DIR --json")
register(
    organisms, "card", card, "interp organisms card organism-edited-low",
    "interp organisms card llama-0/evasive-coupled",
)  # fmt: skip
