"""Readers say what a table lacks; figures keep their tokens, boundaries and names."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import probes
from interp import figures
from interp.activations import Activations
from interp.contrasts import Contrast
from interp.evidence import Evidence
from interp.figures import probes as probe_figures, tables as summaries
from interp.metrics import logit_difference
from interp.sites import Kind, Site, boundaries
from patching.methods.grids import patch_sites


def states(sites, n=40) -> list[Activations]:
    """Two classes that lie apart on the first coordinate, at every site."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % 2
    groups = tuple(f"g{i // 2}" for i in range(n))
    values = torch.randn(n, 4, generator=generator)
    values[:, 0] += 2.0 * labels
    return [Activations(site, values, groups, labels) for site in sites]


@pytest.fixture(scope="module")
def probed() -> Evidence:
    return probes.cross_validate(states([Site(Kind.RESID_PRE, 1)]), seed=0, draws=2)


READERS = {
    "accuracy": probes.accuracy,
    "selectivity": probes.selectivity,
    "scores": probes.scores,
    "explained": probes.explained,
    "explained beyond": probes.explained_beyond,
    "compression": probes.compression,
    "generalisation": probes.generalisation_matrix,
    "transfer": probes.read_transfer,
    "believed": lambda e: probes.believed_and_said(e, e),
    "probe curves": summaries.probe_curves,
    "transfer curves": summaries.transfer_curves,
    "handover curves": summaries.handover_curves,
    "handover pairs": lambda e: summaries.handover_pairs(e, smallest=0.1),
    "patch grid": lambda e: summaries.patch_grid(e, smallest=0.1),
    "cross patch": summaries.cross_patch_curves,
    "shift": lambda e: summaries.shift_curves(e, ["a"]),
}


@pytest.mark.parametrize("name", READERS)
def test_a_reader_that_finds_none_of_its_rows_says_what_makes_them(name):
    held = Evidence.build([1.0, 2.0], method="ablate", condition="ablated", unit="logits", group="g")
    for table, shown in ((held, "'ablate' (2 rows)"), (held.concat([]), "no rows at all")):
        with pytest.raises(ValueError, match="expected one made by (probes|patching)") as refused:
            READERS[name](table)
        assert shown in str(refused.value) and "\n" not in str(refused.value)


def test_scores_can_be_had_from_cross_validation(probed):
    found = probes.scores(probed)
    one = states([Site(Kind.RESID_PRE, 1)])
    apart = probes.scores(probes.margins(one, seed=0, draws=2))
    for table in (found, apart):
        auroc = table[(table["measure"] == "auroc") & (table["condition"] == "probe")]
        assert float(auroc["estimate"].iloc[0]) > 0.85
    mine, theirs = (t[t["condition"] == "probe"]["estimate"].to_numpy(float) for t in (found, apart))
    np.testing.assert_allclose(mine, theirs, rtol=1e-5)
    # The margins are those of the same folds: their signs are the rows of correctness.
    rows = probed.beside.where(method="margin", condition="probe").set_index("example")
    right = ((rows["value"] > 0) == (rows["strength"] == 1)).astype(float)
    said = probed.where(method="probe", condition="probe").set_index("example")["value"]
    assert (right == said.loc[right.index]).all()
    three = states([Site(Kind.RESID_PRE, 1)])[0]
    labels = torch.arange(40) % 3
    several = Activations(three.site, three.values, three.groups, labels)
    with pytest.raises(ValueError, match="no rows of method 'margin'.*of two classes"):
        probes.scores(probes.cross_validate(several, seed=0, draws=1))


def test_every_fifth_boundary_keeps_its_number():
    sites = boundaries(12)[::4]
    table = summaries.probe_curves(probes.cross_validate(states(sites), seed=0, draws=1, controls=()))
    assert table["layer"].tolist() == [0, 4, 8, 12]
    every_second = probes.cross_validate(states(boundaries(4)[::2]), seed=0, draws=1, controls=())
    assert summaries.probe_curves(every_second)["layer"].tolist() == [0, 2, 4]
    whole = probes.cross_validate(states(boundaries(3)), seed=0, draws=1, controls=())
    for counted in (whole, whole.by_boundary(3)):
        assert summaries.probe_curves(counted)["layer"].tolist() == [0, 1, 2, 3]


def test_any_grid_has_its_tokens_and_its_model_on_the_figure(tiny_pair):
    model = tiny_pair("gpt2").tuned
    pairs = Contrast.from_text(
        model,
        ["The capital of land1 land2 is", "In land4 the"],
        ["The capital of land3 land5 is", "In land6 the"],
        ["city1", "city4"],
        ["city3", "city6"],
    )
    sites = [Site(Kind.MLP_OUT, layer) for layer in range(3)]
    grid = summaries.patch_grid(patch_sites(model, pairs, sites, logit_difference(pairs)), smallest=0.0)
    assert grid["pair"].unique().tolist() == ["land1 land2 ← land3 land5", "land4 ← land6"]
    assert set(grid["model"]) == {"tuned"} and set(grid["kind"]) == {"mlp_out"}
    one = grid[grid["example"] == 1]
    assert sorted(one["position"].unique()) == [0, 1, 2]
    figure = figures.patch_heatmap(one)
    assert list(figure.layout.yaxis.ticktext) == ["In", "land4 | land6", "the"]
    assert "Patching the tuned: land4 ← land6" in figure.layout.title.text
    assert "mlp_out" in figure.layout.xaxis.title.text
    with pytest.raises(ValueError, match="shows one example, got .* of 2; expected"):
        figures.patch_heatmap(grid)
    with pytest.raises(ValueError, match="got 0 rows"):
        figures.patch_heatmap(grid[:0])


def test_a_score_bears_its_own_name(probed):
    table = summaries.probe_curves(probed)
    assert (
        probe_figures.probe_curves(table, attribute="truth").layout.yaxis.title.text
        == "balanced accuracy"
    )
    scores = probes.scores(probed).rename(columns={"groups": "n"})
    with pytest.raises(ValueError, match="one measure, got .*expected one"):
        probe_figures.probe_curves(scores, attribute="truth")
    auroc = scores[scores["measure"] == "auroc"]
    assert probe_figures.probe_curves(auroc, attribute="truth").layout.yaxis.title.text == "AUROC"
    with pytest.raises(ValueError, match="no rows; expected"):
        probe_figures.probe_curves(pd.DataFrame(columns=table.columns), attribute="truth")
