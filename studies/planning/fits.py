"""Seconds of what is fitted beside the models: pushes and probes, each measured at one boundary."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from interp.activations import collect
from interp.contrasts import Contrast
from interp.examples import Examples
from interp.models.pair import ModelPair
from interp.sites import Site, boundaries
from interp.verdict.thresholds import Thresholds
from patching.methods.pushes import FOLDS, Parts, push_at, reading_places
from patching.methods.slots import ridge_cross_fitted
from studies.comparison.known_questions import KnownQuestions
from studies.comparison.questions import Queries
from studies.comparison.representational import (
    POSITIONS,
    attributes,
    hold_out,
    labelled_states,
    read_attribute,
    read_statements,
    statement_examples,
    trivial_features,
)
from studies.planning.work import ShiftRows


def pushing_seconds(
    pair: ModelPair, rows: ShiftRows, said: torch.Tensor, thresholds: Thresholds, seed: int
) -> float:
    """Seconds of the pushes at all boundaries, and of the gate: one boundary's, on states of noise.

    Args:
        pair: the models, of whose width and dtype the states are.
        rows: what the test would run on.
        said: the tuned model's token for each changed prompt.
        thresholds: when a token is a part.
        seed: of the folds and the noise.
    """
    generator = torch.Generator().manual_seed(seed)
    changed, everyone = rows.changed, rows.everyone
    shape = (*changed.tokens.shape, pair.base.d_model)
    like = {"dtype": pair.base.dtype, "device": changed.tokens.device}
    base, tuned = (torch.randn(shape, generator=generator).to(**like) for _ in range(2))
    begun = time.perf_counter()
    push_at(changed, base, tuned, Parts.of(said, thresholds.part_groups, generator))
    if min(len(changed), len(everyone) - len(changed)) >= FOLDS:
        width = pair.base.d_model * len(reading_places(everyone))
        features = torch.randn(len(everyone), width, generator=generator).to(**like)
        folds = (torch.arange(len(everyone)) % FOLDS).to(features.device)
        ridge_cross_fitted(features, features[:, :1], folds)
    return (time.perf_counter() - begun) * (pair.base.n_layers + 1)


@dataclass(frozen=True, eq=False)
class Readings:
    """What probing would read.

    Attributes:
        entities: the prompts whose attributes are probed.
        statements: those whose truth is; None for none.
        claims: the pairs on which an attribute is tested, one entry for each.
        rows: of evidence, claims left out.
        seconds: of the probes, forwards and claims left out.
    """

    entities: Examples
    statements: Examples | None
    claims: tuple[Contrast, ...]
    rows: int
    seconds: float


def readings(
    pair: ModelPair,
    queries: Queries,
    questions: KnownQuestions,
    form: str,
    thresholds: Thresholds,
    seed: int,
) -> Readings:
    """Probe every attribute at one position and as many boundaries as run at once; scale to all.

    Args:
        pair: base and tuned model.
        queries: everything that was asked.
        questions: the questions about known facts.
        form: the form that is read.
        thresholds: how much is measured.
        seed: of splits and controls.
    """
    every = boundaries(pair.base.n_layers)
    sites = _spread(every, torch.get_num_threads())
    share = len(every) / len(sites)
    templates = queries.examples.templates
    entities = queries.examples.subset([i for i, t in enumerate(templates) if t == form])
    base, tuned = (
        collect(model, entities, sites, positions=POSITIONS[-1]) for model in (pair.base, pair.tuned)
    )
    claims, rows, seconds = [], 0.0, 0.0
    for attribute in attributes(queries.facts, thresholds)[0]:
        direct = hold_out(questions, attribute, seed)[1]
        claims += [] if direct is None else [direct]
        begun = time.perf_counter()
        labelled = [i for i, g in enumerate(entities.groups) if g in attribute.label]
        surface = trivial_features(entities.subset(labelled), named=True)
        states = (labelled_states(part, entities, attribute) for part in (base, tuned))
        made = read_attribute(*states, surface, attribute.name, thresholds, seed)
        seconds += (time.perf_counter() - begun) * share * len(POSITIONS)
        rows += sum(map(len, made)) * share * len(POSITIONS)
    statements = statement_examples(pair, queries, questions, thresholds, seed)
    if statements is not None:
        begun = time.perf_counter()
        made = read_statements(pair, statements, sites, thresholds, seed)
        seconds += (time.perf_counter() - begun) * share
        rows += sum(map(len, made)) * share
    return Readings(entities, statements, tuple(claims), round(rows), seconds)


def _spread(sites: Sequence[Site], count: int) -> list[Site]:
    """So many of the boundaries, evenly spread over the depth."""
    count = min(count, len(sites))
    return [sites[len(sites) * (2 * i + 1) // (2 * count)] for i in range(count)]
