"""Seconds of what is fitted beside the models: pushes and probes, each measured at one boundary."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from interp.activations import Activations, collect
from interp.contrasts import Contrast
from interp.evidence import Evidence
from interp.examples import Examples
from interp.models.alike import alike
from interp.models.pair import ModelPair
from interp.sites import Site, boundaries
from interp.verdict.thresholds import Thresholds
from patching.methods.pushes import FOLDS, Parts, push_at, reading_places
from patching.methods.slots import ridge_cross_fitted
from studies.comparison.known_questions import KnownQuestions
from studies.comparison.prompts.labels import read_labels
from studies.comparison.questions import Queries
from studies.comparison.representational import (
    POSITIONS,
    Attribute,
    asked_facts,
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
    """Seconds of the pushes where tuning moves anything, and of the gate: one boundary's, on noise.

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
        ridge_cross_fitted(features, features[:, :1], folds[:, None] != folds)
    same = alike(pair.base, pair.tuned)
    moved = [site for site in boundaries(pair.base.n_layers) if not same.same_at(site)]
    return (time.perf_counter() - begun) * len(moved)


@dataclass(frozen=True, eq=False)
class Readings:
    """What probing would read.

    Attributes:
        entities: the prompts whose attributes are probed.
        statements: those whose truth is; None for none.
        claims: the pairs on which an attribute is tested, one entry for each.
        rows: of evidence, claims left out.
        seconds: of the probes, forwards and claims left out.
        sample: the rows that were made on the way.
    """

    entities: Examples
    statements: Examples | None
    claims: tuple[Contrast, ...]
    rows: int
    seconds: float
    sample: Evidence


def readings(
    pair: ModelPair,
    queries: Queries,
    questions: KnownQuestions,
    form: str,
    thresholds: Thresholds,
    seed: int,
) -> Readings:
    """Probe every attribute at one position and as many boundaries as run at once; scale to all.

    States are collected at every boundary, as the job does once for each position.

    Args:
        pair: base and tuned model.
        queries: everything that was asked.
        questions: the questions about known facts.
        form: the form that is read.
        thresholds: how much is measured.
        seed: of splits and controls.
    """
    every = boundaries(pair.base.n_layers)
    few, templates = _spread(every, torch.get_num_threads()), queries.examples.templates
    entities = queries.examples.subset([i for i, t in enumerate(templates) if t == form])
    base, tuned = (
        collect(model, entities, every, positions=POSITIONS[-1]) for model in (pair.base, pair.tuned)
    )

    def of_attribute(attribute: Attribute, sites: Sequence[Site]) -> list[Evidence]:
        labelled = [i for i, g in enumerate(entities.groups) if g in attribute.label]
        surface = trivial_features(entities.subset(labelled), named=True)
        base_states, tuned_states = (
            labelled_states({site: part[site] for site in sites}, entities, attribute)
            for part in (base, tuned)
        )
        return read_attribute(base_states, tuned_states, surface, attribute.name, thresholds, seed)

    chosen = attributes(asked_facts(queries.facts, queries.examples.groups), thresholds)[0]
    claims = [direct for a in chosen if (direct := hold_out(questions, a, seed)[1]) is not None]
    work: list[tuple[int, Callable[[Sequence[Site]], list[Evidence]]]] = [
        (len(POSITIONS), partial(of_attribute, attribute)) for attribute in chosen
    ]
    statements = statement_examples(pair, queries, questions, thresholds, seed)
    if statements is not None:
        work.append((1, partial(_of_statements, pair, statements, thresholds, seed)))
    seconds, rows, made = 0.0, 0.0, []
    growth = _growth(work[0][1], every, few) if work else 1.0
    for times, read in work:
        begun = time.perf_counter()
        made += (parts := read(few))
        seconds += (time.perf_counter() - begun) * growth * times
        rows += sum(map(len, parts)) * len(every) / len(few) * times
    begun = time.perf_counter()
    sample = Evidence.concat(made).by_boundary(pair.base.n_layers).with_provenance()
    joined = Evidence.concat([sample]).with_provenance()  # probes and interventions, then their origin
    seconds += (time.perf_counter() - begun) * rows / max(1, len(joined))
    return Readings(entities, statements, tuple(claims), round(rows), seconds, sample)


def label_readings(pair: ModelPair, examples: Examples, seed: int) -> tuple[float, int]:
    """Seconds of the probes of labels, forwards left out, and the rows they leave; told on noise.

    Args:
        pair: the models, of whose width the states are.
        examples: the prompts, with their labels as numbers.
        seed: of splits, controls and the noise.
    """
    every, shape = boundaries(pair.base.n_layers), (len(examples), pair.base.d_model)
    few, generator = _spread(every, torch.get_num_threads()), torch.Generator().manual_seed(seed)

    def read(sites: Sequence[Site]) -> list[Evidence]:
        base, tuned = (
            [
                Activations(
                    site, torch.randn(shape, generator=generator), examples.groups, model=model.role
                )
                for site in sites
            ]
            for model in (pair.base, pair.tuned)
        )
        return read_labels(base, tuned, examples, seed, lambda _: None)

    growth, begun = _growth(read, every, few), time.perf_counter()
    rows = sum(map(len, read(few)))
    seconds = (time.perf_counter() - begun) * growth
    return seconds, round(rows * len(every) / len(few))


def _of_statements(
    pair: ModelPair, statements: Examples, thresholds: Thresholds, seed: int, sites: Sequence[Site]
) -> list[Evidence]:
    """The truth of the statements at some boundaries."""
    return read_statements(pair, statements, sites, thresholds, seed)


def _growth(
    read: Callable[[Sequence[Site]], list[Evidence]], every: Sequence[Site], few: Sequence[Site]
) -> float:
    """How many times longer all boundaries take than a few: some of the work is done once for all."""
    taken = []
    for sites in (few, _spread(every, 3 * len(few))):
        begun = time.perf_counter()
        read(sites)
        taken.append((time.perf_counter() - begun, len(sites)))
    (short, fewer), (long, more) = taken
    each = max(0.0, long - short) / max(1, more - fewer)
    return (short + each * (len(every) - fewer)) / short


def _spread(sites: Sequence[Site], count: int) -> list[Site]:
    """So many of the boundaries, evenly spread over the depth."""
    count = min(count, len(sites))
    return [sites[len(sites) * (2 * i + 1) // (2 * count)] for i in range(count)]
