"""The representational half of the main job: what probes read in base and tuned model."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from interp.activations import Activations, collect_both
from interp.columns import group_split
from interp.contrasts import Contrast
from interp.evidence import Evidence
from interp.examples import Examples
from interp.facts.pairing import statements_of
from interp.facts.types import FactSet
from interp.metrics import logit_difference
from interp.models.pair import ModelPair
from interp.progress import counted
from interp.sites import Site, boundaries
from interp.verdict.thresholds import Thresholds
from patching.methods.claims import ClaimToTest, swap_and_remove
from probes.comparisons.transfer import transfer
from probes.controls import control_directions, surface_features
from probes.cross_validation import cross_validate
from probes.linear import fit
from probes.measures.permutation import permutation_null
from probes.splits import FEWEST_GROUPS, SMALLEST_SHARE, SmallSample
from studies.comparison.known_questions import KnownQuestions, base_pairs
from studies.comparison.questions import Queries

POSITIONS = ("subject_last", "last")

CLAIM_PAIRS = 12

STATEMENTS = 120


@dataclass(frozen=True)
class Attribute:
    """A yes/no property of entities.

    Attributes:
        name: as shown.
        label: entity -> its side, 0 or 1; entities without one are left out.
        placebo: whether no answer depends on it.
    """

    name: str
    label: dict[str, int]
    placebo: bool


def attributes(
    facts: FactSet, thresholds: Thresholds | None = None
) -> tuple[tuple[Attribute, ...], tuple[str, ...]]:
    """Split every column of a fact set in two: its most balanced value against the rest.

    Args:
        facts: the fact set; a column is one of its attributes.
        thresholds: the fewest entities on either side.

    Returns:
        The attributes, those no answer depends on (placebos) last, and a sentence for every column
        that has none, saying why.
    """
    thresholds = thresholds or Thresholds()
    least = thresholds.attribute_side
    splits, reasons = [], []
    for name in facts.attribute_names:
        column = zip(facts.groups, facts.attribute(name), strict=True)
        values = {group: value for group, value in column if value is not None}
        counts = Counter(values.values())
        if not counts:
            continue
        # Ties go to the first value in order, so that rows may come in any order.
        value = min(sorted(counts, key=str), key=lambda v: abs(2 * counts[v] - len(values)))
        smaller = min(counts[value], len(values) - counts[value])
        if smaller < least:
            reasons.append(
                f"The column {name!r} was not probed: its best balanced value, {value!r}, splits "
                f"{len(values)} entities into {counts[value]} and {len(values) - counts[value]}, and "
                f"either side needs {least}; give more facts, or merge values"
            )
            continue
        label = {g: int(v == value) for g, v in values.items()}
        splits.append(Attribute(f"{name} = {value}", label, name in facts.placebos))
    return tuple(sorted(splits, key=lambda attribute: attribute.placebo)), tuple(reasons)


def asked_facts(facts: FactSet, groups: Sequence[str]) -> FactSet:
    """The facts of these groups: those that could not be asked have no states to be probed."""
    asked = set(groups)
    return facts.subset([i for i, group in enumerate(facts.groups) if group in asked])


def on_few(attribute: Attribute) -> str:
    """The note on an attribute whose smaller side is too small for its accuracy; empty for others."""
    sides = Counter(attribute.label.values())
    fewest, n = min(sides[0], sides[1]), len(attribute.label)
    if fewest >= FEWEST_GROUPS and 2 * fewest >= SMALLEST_SHARE * n:
        return ""
    return (
        f"The attribute {attribute.name!r} was probed on {n} entities of which {fewest} are on its "
        "smaller side, so its balanced accuracy is uncertain; give more of these, or merge values"
    )


def probe_evidence(
    pair: ModelPair,
    queries: Queries,
    questions: KnownQuestions,
    form: str,
    *,
    thresholds: Thresholds,
    seed: int = 0,
    max_bytes: int,
) -> tuple[Evidence, Evidence]:
    """(what is readable, whether it is used): probes with controls, transfer, and claims.

    Args:
        pair: base and tuned model.
        queries: everything that was asked, whose attributes are probed.
        questions: the questions about known facts, from which claims take their pairs.
        form: the form that is read.
        thresholds: how much must be measured, and where claims are tested.
        seed: of splits, controls and placebos.
        max_bytes: memory for activations beside the models; changes no number.

    Returns:
        Methods ``probe``, ``readable`` and ``transfer`` of both models by boundary, its provenance
        listing under "not_probed" why any column was left out and under "probed_on_few" which
        attributes have a small side; and the method of `swap_and_remove` on the base.
    """
    index = [i for i, t in enumerate(queries.examples.templates) if t == form]
    entities = queries.examples.subset(index)
    sites = boundaries(pair.base.n_layers)
    states = collect_both(pair, entities, sites, POSITIONS)
    readable, used = [], []
    chosen, reasons = attributes(asked_facts(queries.facts, entities.groups), thresholds)
    with counted(len(chosen) * len(POSITIONS) + 1, "probing", "readings") as step:
        for attribute in chosen:
            labelled = [i for i, g in enumerate(entities.groups) if g in attribute.label]
            surface = trivial_features(entities.subset(labelled), named=True)
            held, direct = hold_out(questions, attribute, seed)
            for position in POSITIONS:
                base = labelled_states(states["base", position], entities, attribute)
                tuned = labelled_states(states["tuned", position], entities, attribute)
                readable += read_attribute(base, tuned, surface, attribute.name, thresholds, seed)
                if direct is not None:
                    k = claim_boundary(pair.base.n_layers, position, thresholds)
                    claims = [_claim(base, sites[k:], attribute, k, held, thresholds, seed)]
                    metric = logit_difference(direct)
                    used.append(
                        swap_and_remove(
                            pair.base, direct, claims, metric, seed=seed, max_bytes=max_bytes
                        )
                    )
                step(1)
        statements = statement_examples(pair, queries, questions, thresholds, seed)
        if statements is not None:
            readable += read_statements(pair, statements, sites, thresholds, seed)
        step(1)
    boundary_rows = Evidence.concat(readable).by_boundary(pair.base.n_layers)
    few = [note for attribute in chosen if (note := on_few(attribute))]
    boundary_rows = boundary_rows.with_provenance(not_probed=list(reasons), probed_on_few=few)
    return boundary_rows, Evidence.concat(used)


def claim_boundary(n_layers: int, position: str, thresholds: Thresholds) -> int:
    """Where a claim is tested, fixed beforehand: where facts are looked up, and where they arrive."""
    subject = position == "subject_last"
    depth = thresholds.claim_depth_subject if subject else thresholds.claim_depth_last
    return max(1, round(depth * n_layers))


def hold_out(
    questions: KnownQuestions, attribute: Attribute, seed: int
) -> tuple[frozenset[str], Contrast | None]:
    """Entities kept for the causal pairs, never seen by the probe, and those pairs.

    Pairs differ in the attribute; the probe is trained on every other entity.
    """
    known = sorted({g for g in questions.examples.groups if g in attribute.label})
    if len(known) < 4:
        return frozenset(), None
    _, test = group_split(known, share=0.5, seed=seed)
    held = frozenset(known[i] for i in test)
    return held, base_pairs(questions, most=CLAIM_PAIRS, groups=sorted(held), apart=attribute.label)


def labelled_states(
    states: dict[Site, Activations], entities: Examples, attribute: Attribute
) -> dict[Site, Activations]:
    """The states of the entities that have the attribute, labelled by it."""
    labelled = [i for i, g in enumerate(entities.groups) if g in attribute.label]
    labels = torch.tensor([attribute.label[entities.groups[i]] for i in labelled])
    return {site: replace(a.subset(labelled), labels=labels) for site, a in states.items()}


def _claim(
    states: dict[Site, Activations],
    sites: Sequence[Site],
    attribute: Attribute,
    k: int,
    held: frozenset[str],
    thresholds: Thresholds,
    seed: int,
) -> ClaimToTest:
    """The claim at the first of these boundaries; the others are the later ones."""
    directions = [
        fit(_without(states[site], held), estimator="mass_mean", seed=seed).direction()
        for site in sites
    ]
    trained = _without(states[sites[0]], held)
    controls = control_directions(trained, repeats=thresholds.control_draws, seed=seed)
    return ClaimToTest(attribute.name, k, directions[0], tuple(controls), tuple(directions))


def _without(states: Activations, groups: frozenset[str]) -> Activations:
    """The states of all other groups."""
    return states.subset([i for i, g in enumerate(states.groups) if g not in groups])


def read_attribute(
    base: dict[Site, Activations],
    tuned: dict[Site, Activations],
    surface: Mapping[str, Tensor],
    name: str,
    thresholds: Thresholds,
    seed: int,
) -> list[Evidence]:
    """Held-out accuracy with its controls, its chance distribution, and transfer base -> tuned.

    Args:
        base: labelled states of the base.
        tuned: the same of the tuned model.
        surface: what trivial readers see, by name.
        name: of the attribute.
        thresholds: how many label draws there are.
        seed: of splits and controls.
    """
    train, test = group_split(next(iter(base.values())).groups, share=0.7, seed=seed)
    base_train, tuned_train = _subset(base, train), _subset(tuned, train)
    tuned_test = _subset(tuned, test)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SmallSample)  # `on_few` tells of it among the run's notes
        return [
            cross_validate(base, surface=surface, attribute=name, repeats=1, seed=seed),
            cross_validate(tuned, controls=(), attribute=name, seed=seed),
            permutation_null(base, permutations=thresholds.label_draws, attribute=name, seed=seed),
            transfer(base_train, tuned_train, tuned_test, repeats=2, attribute=name, seed=seed),
        ]


def _subset(states: dict[Site, Activations], index: Sequence[int]) -> dict[Site, Activations]:
    """These examples at every site."""
    return {site: a.subset(index) for site, a in states.items()}


def trivial_features(examples: Examples, *, named: bool) -> dict[str, Tensor]:
    """What readers of no meaning see: the tokens, and where a name is read its letters."""
    names = examples.groups if named else None
    read = surface_features(examples.tokens, examples.mask, names=names)
    return {name: read[name] for name in ("tokens", "letters") if name in read}


def statement_examples(
    pair: ModelPair, queries: Queries, questions: KnownQuestions, thresholds: Thresholds, seed: int
) -> Examples | None:
    """Statements about the known facts, labelled by their truth; None where they are too few."""
    known = set(questions.examples.groups)
    facts = queries.facts.subset([i for i, f in enumerate(queries.facts.facts) if f.group in known])
    if (
        len(facts) < thresholds.statement_facts
        or max(Counter(facts.answers).values()) > len(facts) // 2
    ):
        return None
    return Examples.from_statements(pair.base, statements_of(facts, most=STATEMENTS, seed=seed))


def read_statements(
    pair: ModelPair, examples: Examples, sites: Sequence[Site], thresholds: Thresholds, seed: int
) -> list[Evidence]:
    """Truth of the statements in both models, and its transfer."""
    truth = None if examples.labels is None else examples.labels.long()
    both = collect_both(pair, examples, sites, ["last"])
    base, tuned = (
        {
            site: replace(states, labels=truth, position="statement end")
            for site, states in both[model.role, "last"].items()
        }
        for model in (pair.base, pair.tuned)
    )
    surface = trivial_features(examples, named=False)
    return read_attribute(base, tuned, surface, "truth", thresholds, seed)
