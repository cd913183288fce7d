"""Recovery of real patches: nothing before the first difference, everything where all is restored."""

from __future__ import annotations

import numpy as np
import pytest

import patching
from interp.contrasts import Contrast
from interp.evidence import Evidence
from interp.metrics import logit_difference
from interp.sites import Kind, Site, boundaries, every_head
from patching.methods.grids import patch_sites


@pytest.fixture(scope="module")
def model(tiny_model):
    return tiny_model("gpt2")


@pytest.fixture(scope="module")
def pairs(model) -> Contrast:
    """Three pairs whose subjects differ, one of them in two tokens."""
    clean = ["The capital of land1 is", "The capital of land2 is", "The capital of land3 is"]
    corrupted = ["The capital of land4 is", "The capital of land5 is", "The capital of land1 is"]
    subjects = {
        "clean_subjects": ["land1", "land2", "land3"],
        "corrupted_subjects": ["land4", "land5", "land1"],
    }
    answers, foils = ["city1", "city2", "city3"], ["city4", "city5", "city1"]
    return Contrast.from_text(model, clean, corrupted, answers, foils, **subjects)


def test_restoring_the_only_differing_position_at_layer_0_recovers_everything(model, pairs):
    sites = [Site(Kind.RESID_PRE, layer) for layer in range(model.n_layers)]
    table = patching.recovery(patch_sites(model, pairs, sites, logit_difference(pairs)))
    assert table["n"].unique().tolist() == [3]
    first = table[table["layer"] == 0].set_index("position")["estimate"]
    assert first[3] == pytest.approx(1.0, abs=1e-4), "the subject"
    np.testing.assert_allclose(first.drop(3), 0.0, atol=1e-4, err_msg="the control: elsewhere nothing")
    assert not table.duplicated(["layer", "position"]).any()


def test_it_is_what_a_few_lines_of_a_table_give(model, pairs):
    sites, metric = boundaries(model.n_layers), logit_difference(pairs)
    grid = patch_sites(model, pairs, sites, metric, positions="last")
    ends = {name: grid.rows(condition=name)["value"].mean() for name in ("clean", "corrupted")}
    cells = grid.rows(condition="patched").groupby(["kind", "layer"], observed=True)["value"].mean()
    by_hand = (cells - ends["corrupted"]) / (ends["clean"] - ends["corrupted"])
    for row in patching.recovery(grid).to_dict("records"):
        assert row["estimate"] == pytest.approx(by_hand[row["kind"], row["layer"]], abs=1e-5)
    assert len(by_hand) == model.n_layers + 1


def test_every_kind_of_site_has_its_rows(model, pairs):
    heads = every_head(Kind.Z, model.n_layers, 4)
    sites = [*heads, Site(Kind.MLP_OUT, 1), (Site(Kind.ATTN_OUT, 1), Site(Kind.MLP_OUT, 1))]
    grid = patch_sites(model, pairs, sites, logit_difference(pairs), positions=["subject", "last"])
    table = patching.recovery(grid, resamples=50)
    assert len(table) == 2 * len(sites)
    assert table.groupby("kind")["n"].count().to_dict() == {
        "attn_out+mlp_out": 2, "mlp_out": 2, "z": 2 * len(heads),
    }  # fmt: skip
    assert (table["head"].notna() == (table["kind"] == "z")).all()


def test_evidence_of_another_method_is_refused(model, pairs):
    stitched = Evidence.build([1.0], method="stitch", condition="baseline")
    with pytest.raises(ValueError, match="got rows of stitch; expected some made by"):
        patching.recovery(stitched)


def test_both_directions_of_one_grid_keep_apart_and_two_grids_of_one_direction_are_refused(
    model, pairs
):
    metric, site = logit_difference(pairs), Site(Kind.RESID_PRE, 0)
    grids = {
        way: patch_sites(model, pairs, site, metric, positions="subject", direction=way)
        for way in ("denoise", "noise")
    }
    both = patching.recovery(Evidence.concat(list(grids.values()))).set_index("direction")["estimate"]
    assert both["denoise"] == pytest.approx(1.0, abs=1e-4)
    assert both["noise"] == pytest.approx(0.0, abs=1e-4)
    with pytest.raises(ValueError, match="one value for each run of an example; example 0 has several"):
        patching.recovery(Evidence.concat([grids["noise"], grids["noise"]]))


def test_what_was_written_in_is_named(model, pairs):
    metric, site = logit_difference(pairs), Site(Kind.RESID_PRE, 1)
    held = patching.patch_sites(model, pairs, site, metric, positions="last", donor=pairs.corrupted)
    mean = patching.patch_sites(model, pairs, site, metric, positions="last", donor="mean")
    table = patching.recovery(Evidence.concat([held, mean]), resamples=50).set_index("donor")
    assert set(table.index) == {"prompts", "mean"}
    assert table["estimate"]["prompts"] == pytest.approx(0.0, abs=1e-4), "its own states change nothing"
    assert abs(table["estimate"]["mean"]) > 1e-3
