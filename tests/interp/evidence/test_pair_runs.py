"""Pairs of runs are read from any table, in any order; recovery is what one can work out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from interp.evidence import Evidence
from interp.evidence.boundaries import boundary_numbers, last_boundary
from interp.evidence.pairs import pair_name, pair_runs, split_pair
from interp.evidence.recovery import recovery_bounds, recovery_table

#: Metric of the clean and of the corrupted run of each pair.
ENDS = {0: (4.0, -4.0), 1: (6.0, 2.0), 2: (1.0, 0.0)}


def patched(recovery: dict[tuple[int, int], float], groups=("a", "b", "c"), **columns) -> Evidence:
    """Rows of three pairs whose recovery in each (pair, layer) is given."""
    rows = [
        (condition, None, pair, ends[i], f"{groups[pair]} -> {groups[(pair + 1) % 3]}")
        for pair, ends in ENDS.items()
        for i, condition in enumerate(("clean", "corrupted"))
    ]
    for (pair, layer), share in recovery.items():
        clean, corrupted = ENDS[pair]
        value = corrupted + share * (clean - corrupted)
        rows.append(("patched", layer, pair, value, f"{groups[pair]} -> {groups[(pair + 1) % 3]}"))
    condition, layer, example, value, group = zip(*rows, strict=True)
    return Evidence.build(
        value, condition=condition, layer=layer, example=example, group=group,
        method="patch", metric="pair", unit="logits", kind="resid_pre", model="base", **columns,
    )  # fmt: skip


FULL = {(pair, layer): (0.0, 0.5, 1.0)[layer] for pair in ENDS for layer in range(3)}


def test_names_of_pairs_come_apart_as_they_were_put_together():
    assert split_pair(pair_name("Côte d'Ivoire", "Chad")) == ("Côte d'Ivoire", "Chad")
    assert split_pair(pair_name("a", "b -> c")) == ("a", "b -> c")
    assert split_pair("alone") == ("alone", "alone")


def test_runs_of_pairs_do_not_depend_on_the_order_of_the_rows():
    table = patched(FULL).table
    shuffled = table.iloc[np.random.default_rng(0).permutation(len(table))]
    for rows in (table, shuffled):
        runs = pair_runs(rows, ["layer"])
        assert len(runs) == 3 and runs.clean_groups == ("a", "b", "c")
        assert runs.corrupted_groups == ("b", "c", "a")
        assert runs.effect.tolist() == [8.0, 4.0, 1.0]
        assert list(runs.edited.columns) == [0, 1, 2]
        np.testing.assert_allclose(runs.recovery(), [[0.0, 0.5, 1.0]] * 3)


def test_a_pair_without_one_of_its_ends_is_no_pair():
    table = patched(FULL).table
    gone = (table["condition"] == "corrupted") & (table["example"] == 1)
    runs = pair_runs(table[~gone], ["layer"])
    assert runs.edited.index.tolist() == [0, 2]


def test_complete_leaves_out_pairs_that_lack_a_cell():
    holed = {key: share for key, share in FULL.items() if key != (1, 2)}
    runs = pair_runs(patched(holed).table, ["layer"])
    assert np.isnan(runs.edited.loc[1, 2]) and len(runs.complete()) == 2
    assert runs.complete().edited.index.tolist() == [0, 2]


def test_sums_come_before_the_division():
    """Of pairs that differ by 8, 4 and 1 logits only the first recovers: 8/13, not a third."""
    evidence = patched({(pair, 0): float(pair == 0) for pair in ENDS})
    table = recovery_table(evidence)
    assert table["estimate"].tolist() == pytest.approx([8 / 13])
    assert pair_runs(evidence.table, ["layer"]).recovery().mean().item() == pytest.approx(1 / 3)


def test_every_cell_has_one_row_with_the_pairs_in_which_it_exists():
    holed = {key: share for key, share in FULL.items() if key not in ((1, 2), (2, 2))}
    table = recovery_table(patched(holed))
    assert table["layer"].tolist() == [0, 1, 2] and table["n"].tolist() == [3, 3, 1]
    np.testing.assert_allclose(table["estimate"], [0.0, 0.5, 1.0], atol=1e-6)
    assert set(table) == {
        "model", "method", "metric", "condition", "kind", "layer", "estimate", "low", "high", "n",
    }  # fmt: skip
    assert table.loc[2, ["low", "high"]].isna().all(), "one pair has no interval"
    assert table.loc[:1, ["low", "high"]].notna().all().all()


def test_intervals_cover_the_truth_and_one_pair_has_none():
    rng = np.random.default_rng(0)
    n, covered = 24, 0
    names = [f"g{i:02d}" for i in range(n)]
    for draw in range(30):
        size = rng.uniform(4, 8, n)
        values = [*size, *np.zeros(n), *(size * rng.normal(0.4, 0.3, n))]
        evidence = Evidence.build(
            values, condition=["clean"] * n + ["corrupted"] * n + ["patched"] * n, layer=0,
            example=[*range(n)] * 3, group=list(map(pair_name, names, names[::-1])) * 3,
            method="patch", metric="pair", model="base",
        )  # fmt: skip
        row = recovery_table(evidence, resamples=400, seed=draw).iloc[0]
        covered += row["low"] <= 0.4 <= row["high"]
    assert covered >= 25
    single = patched({(0, 0): 1.0}).rows(example=0)
    assert np.isnan(recovery_table(Evidence(single)).loc[0, "low"])


def test_a_pair_of_one_entity_weighs_as_often_as_it_was_drawn():
    """Drawn as entities or as pairs, pairs that share nothing have the same interval."""
    alone = patched(FULL | {(0, 0): 0.9}, groups=("a", "a", "a")).table
    names = {0: "a", 1: "b", 2: "c"}
    single = alone.assign(group=[names[e] for e in alone["example"]])
    runs = pair_runs(single, ["layer"])
    assert runs.clean_groups == runs.corrupted_groups == ("a", "b", "c")
    _, low, high = recovery_bounds(runs, resamples=500)
    assert low[0] < high[0]


def test_draws_of_one_pair_are_averaged_first():
    evidence = Evidence.build(
        [1.0, 0.0, 0.2, 0.4], condition=["clean", "corrupted", "placebo", "placebo"],
        draw=[None, None, 0, 1], example=0, group="a -> b", layer=[None, None, 3, 3],
        method="patch", metric="pair",
    )  # fmt: skip
    table = recovery_table(evidence)
    assert len(table) == 1 and table.loc[0, "estimate"] == pytest.approx(0.3)


def test_models_and_metrics_are_kept_apart():
    both = Evidence.concat([patched(FULL), Evidence(patched(FULL).table.assign(model="tuned"))])
    table = recovery_table(both)
    assert table.groupby("model", observed=True)["layer"].count().to_dict() == {"base": 3, "tuned": 3}


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("clean", "unedited runs beside the edited ones; got no rows of condition clean"),
        ("corrupted", "unedited runs beside the edited ones; got no rows of condition corrupted"),
        ("patched", "got rows of patch; expected some made by patching"),
    ],
)
def test_without_both_ends_and_an_edit_there_is_no_recovery(gone: str, said: str):
    table = patched(FULL).table
    with pytest.raises(ValueError, match=said):
        recovery_table(Evidence(table[table["condition"] != gone]))


def test_boundaries_count_what_follows_a_block_once():
    rows = pd.DataFrame({"kind": ["resid_pre", "resid_pre", "resid_post"], "layer": [0, 1, 1]})
    assert boundary_numbers(rows).tolist() == [0, 1, 2]
    counted = rows.assign(layer=[0, 1, 2])
    assert boundary_numbers(counted, counted=2).tolist() == [0, 1, 2]
    assert boundary_numbers(counted).tolist() == [0, 1, 3], "the control: counted twice"
    assert last_boundary(rows, {}) == 2 and last_boundary(rows, {"boundaries": 7}) == 7
    assert last_boundary(rows[2:], {}) is None
