"""Probe sweeps in a resumable run: each site is a unit, and the rows are the same bytes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from probe_toys import Toy, part, planted

import probes
from interp.evidence import Evidence
from interp.runs.run import resumable

TOY = planted(n_groups=24, d=8, layers=3)[0]
TUNED = planted(n_groups=24, d=8, layers=3, seed=1, model="tuned")[0]
HALF = np.arange(48) < 30
SIZE = next(iter(TOY.values())).values[:, 0]
QUANTITY: Toy = {s: replace(a, labels=SIZE) for s, a in TOY.items()}

SWEEPS: dict[str, Callable[[], Evidence]] = {
    "cross_validate": lambda: probes.cross_validate(TOY, repeats=1),
    "train_test": lambda: probes.train_test(part(TOY, HALF), part(TOY, ~HALF), repeats=1),
    "permutation_null": lambda: probes.permutation_null(TOY, permutations=9, planted=2),
    "transfer": lambda: probes.transfer(
        part(TOY, HALF), part(TUNED, HALF), part(TUNED, ~HALF), repeats=2
    ),
    "learning_curve": lambda: probes.learning_curve(TOY, shares=(0.5, 1.0), repeats=1),
    "description_length": lambda: probes.description_length(TOY, repeats=1),
    "held_out_margins": lambda: probes.held_out_margins(TOY, repeats=1),
    "generalisation": lambda: probes.generalisation({"a": TOY, "b": TUNED}),
    "quantity": lambda: probes.cross_validate_quantity(QUANTITY, repeats=1),
}  # fmt: skip


def same(one: Evidence, other: Evidence) -> None:
    pd.testing.assert_frame_equal(one.table, other.table, check_exact=True)
    if one.beside is not None and other.beside is not None:
        same(one.beside, other.beside)


@pytest.mark.parametrize("name", SWEEPS)
def test_a_run_gives_the_rows_of_none_and_makes_each_site_once(name: str, tmp_path: Path):
    plain = SWEEPS[name]()
    with resumable(tmp_path) as run:
        same(SWEEPS[name](), plain)
    units = sorted((tmp_path / "units").iterdir())
    assert run.made == len(units) == 3
    units[1].unlink()
    with resumable(tmp_path) as run:
        same(SWEEPS[name](), plain)
    assert (run.made, run.found) == (1, 2)


@pytest.mark.parametrize("name", ["cross_validate", "permutation_null", "transfer"])
def test_shards_hold_the_rows_of_their_sites(name: str, tmp_path: Path):
    plain = SWEEPS[name]()
    parts = []
    for i in (1, 2):
        with resumable(tmp_path / str(i), shard=f"{i}/2"):
            parts.append(SWEEPS[name]())
    assert sum(map(len, parts)) == len(plain) and all(len(rows) for rows in parts)


def test_other_labels_and_other_seeds_are_other_units(tmp_path: Path):
    other = {s: replace(a, labels=1 - a.labels) for s, a in TOY.items() if a.labels is not None}
    for activations, seed, made in ((TOY, 0, 3), (other, 0, 3), (TOY, 1, 3), (TOY, 0, 0)):
        with resumable(tmp_path) as run:
            probes.cross_validate(activations, controls=[], seed=seed)
        assert run.made == made
