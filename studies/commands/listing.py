"""`interp list`: everything that can be named."""

from __future__ import annotations

import json

import typer

from studies.commands.options import Json


def list_(as_json: Json = False) -> None:
    """List models, adapters, facts, tasks of circuits, and the sets that probes are trained on."""
    from interp.circuit_tasks.loading import task_names
    from interp.facts.attributes import attribute_sets
    from interp.facts.loading import fact_names
    from interp.facts.truth import truth_sets
    from interp.models import named
    from studies.circuit_truth.catalogue import known_circuit_names

    adapters = [name for name in named.names() if named.is_adapter(name)]
    models = [name for name in named.names() if name not in adapters]
    if as_json:
        named = {
            "models": models, "adapters": adapters, "facts": fact_names(),
            "truth_sets": list(truth_sets()), "attribute_sets": list(attribute_sets()),
            "tasks": task_names(), "known_circuits": known_circuit_names(),
        }  # fmt: skip
        typer.echo(json.dumps(named, indent=1))
        return
    width = max(map(len, named.names()))
    for title, names in (
        ("models", [f"{name:<{width}}  {named.summary(name)}".rstrip() for name in models]),
        (
            "adapters (applied to --base)",
            [f"{name:<{width}}  {named.summary(name)}".rstrip() for name in adapters],
        ),
        ("facts", fact_names()),
        ("tasks of circuits", task_names()),
        ("models whose circuit is known", known_circuit_names()),
        ("truth sets", [str(card) for card in truth_sets().values()]),
        ("attribute sets", [str(card) for card in attribute_sets().values()]),
    ):
        typer.echo(f"{title}:")
        for name in names:
            typer.echo(f"  {name}")
