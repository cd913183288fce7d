"""The columns that each method fills are those that docs/evidence/patching.md names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import tiny
import torch

import interp
import patching
from interp import Direction, Evidence, Kind, Site
from interp.evidence.schema import COLUMNS, FORMER
from interp.models.loading import wrap
from patching.circuits.scores.edges import Method

PAGE = Path(__file__).parents[2] / "docs" / "evidence" / "patching.md"
EVERY_ROW = {"model", "method", "condition", "metric", "unit", "example", "group", "template", "value"}
SITES = [Site(Kind.RESID_PRE, 1), Site(Kind.Z, 1, 2)]
GRID = {"positions": ("each", "subject")}


def told(page: str) -> dict[str, tuple[set[str], set[str]]]:
    """Method -> its conditions and its columns, as the table of a page says."""
    rows = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("|")][2:]
    split = [[cell.strip() for cell in row] for row in rows]
    return {r[0]: (set(r[2].split(", ")), set(r[4].split(", "))) for r in split}


def filled(evidence: Evidence) -> set[str]:
    """Columns that hold something in some row, but for what the table fills for former readers."""
    table = evidence.table.astype(object)
    for former, sources in FORMER.items():
        for source in sources:
            both = table[former].notna() & table[source].notna()
            copied = [
                bool(k and a == b) for k, a, b in zip(both, table[former], table[source], strict=True)
            ]
            table[former] = table[former].mask(copied)
    return {name for name in COLUMNS if table[name].notna().any()} - EVERY_ROW


def differs(page: str, evidence: dict[str, Evidence]) -> dict[str, object]:
    """Methods whose rows are not what the page says, with what they are."""
    expected, seen = told(page), {}
    for method, table in evidence.items():
        conditions = set(table.table["condition"].dropna().unique())
        if expected.get(method) != (conditions, filled(table)):
            seen[method] = conditions, filled(table)
    return seen


def direction(site: Site, position: str = "last") -> Direction:
    generator = torch.Generator().manual_seed(0)
    return Direction(site, torch.randn(tiny.WIDTH, generator=generator), position)


def contrasts(model, pairs, metric) -> dict[str, list[Evidence]]:
    """What is measured of pairs, by one model."""
    residual, line = SITES[0], direction(SITES[0])
    claim = patching.ClaimToTest("size", 1, line, controls=[line], later=[line])
    tuned, prompts = replace(wrap(tiny.hf_model("gpt2", 1), model.tokenizer), role="tuned"), pairs.clean
    head = Direction(Site(Kind.Z, 1, 2), torch.ones(8))
    heads, neurons = interp.every_head(Kind.Z, 3, 4), Site(Kind.MLP_POST, 1)
    last = Site(Kind.RESID_POST, 2)
    few = {"repeats": 1}
    return {
        "patch": [
            patching.patch_sites(model, pairs, SITES, metric, donor=tuned, **GRID),
            patching.patch_sites(model, pairs, residual, metric, subspace=line.subspace(), **few),
        ],
        "handover": [patching.handover(model, pairs, metric)],
        "ablate": [
            patching.ablate(model, prompts, SITES, metric, how="zero", **GRID),
            patching.ablate(model, prompts, residual, metric, how=line, **few),
        ],
        "steer": [
            patching.steer(model, prompts, line, metric, strengths=1.0, **GRID, **few),
            patching.steer(model, prompts, head, metric, strengths=1.0, **few),
        ],
        "trace": [patching.causal_trace(model, prompts, Kind.MLP_OUT, metric, **GRID, **few)],
        "knockout": [patching.knock_out(model, prompts, metric, **few)],
        "path_patch": [patching.path_patch(model, pairs, SITES[1], last, metric, **GRID)],
        "claim": [patching.swap_and_remove(model, pairs, [claim], metric, **few)],
        "attribute": [patching.attribute(model, pairs, [*SITES, neurons], metric, **GRID)],
        "attribute_edges": [patching.attribute_edges(model, pairs, metric, top=400)],
        "screen": [patching.screen_then_verify(model, pairs, heads, metric, k=2, sample=4, **GRID)],
    }


def circuits(model, pairs, metric) -> dict[str, list[Evidence]]:
    """What is measured of circuits."""
    names = patching.circuits
    methods = get_args(Method)
    scores = {m: names.score_edges(model, pairs, metric, method=m, steps=1) for m in methods}
    screen, few = scores["eap"], scores["eap"].top(12, absolute=True)
    return {
        "circuit": [
            names.evaluate(model, pairs, screen, metric, sizes=(0.5,), complement=True),
            names.run_circuits(model, pairs, few, metric),
            names.completeness(model, pairs, few, metric, draws=1),
            names.minimality(model, pairs, few, metric),
        ],
        "circuit_edges": [found.evidence(top=3) for found in scores.values()],
        "circuit_nodes": [names.score_nodes(model, pairs, metric).evidence()],
    }


def comparisons(pair, pairs, metric) -> dict[str, list[Evidence]]:
    """What is measured of two models."""
    prompts, line = pairs.clean, direction(SITES[0]).subspace()
    ids = [[3, 9, 6, entity, 7, 4] for entity in range(20, 40)]
    asked = tiny.examples(ids, subject=[(3, 4)] * 20)
    said, answers = (m.logits(asked.tokens)[:, -1].argmax(1) for m in (pair.tuned, pair.base))
    few = interp.Thresholds(placebo_shifts=2, placebo_groups=2)
    sets = [patching.Blocks((1,)), patching.Heads(((0, 1),))]
    return {
        "cross_patch": [
            patching.cross_patch(pair, prompts, metric, sites=SITES, **GRID),
            patching.cross_patch(
                pair, prompts, metric, sites=SITES[0], subspace=line, positions="last", repeats=1
            ),
        ],
        "carriers": [patching.carriers(pair, prompts, metric, k=2)],
        "stitch": [patching.stitch(pair, prompts, metric)],
        "shift": [
            patching.shared_shift(
                pair, asked, torch.arange(20) < 12, said, answers,
                installed={2: torch.arange(3)}, null=pair.tuned, thresholds=few,
            ),
        ],
        "graft": [
            patching.graft(pair, prompts, metric, sets, repeats=1),
            patching.component_responsibility(pair, prompts, metric),
        ],
    }  # fmt: skip


@pytest.fixture(scope="module")
def evidence(tiny_model, tiny_pair) -> dict[str, Evidence]:
    pairs = tiny.contrast(7, 7)
    metric = interp.logit_difference(pairs)
    model = tiny_model("gpt2")
    parts = contrasts(model, pairs, metric) | circuits(model, pairs, metric)
    parts |= comparisons(tiny_pair("gpt2"), pairs, metric)
    return {method: Evidence.concat(several) for method, several in parts.items()}


def test_every_method_fills_the_columns_that_the_page_names(evidence):
    page = PAGE.read_text(encoding="utf-8")
    assert set(told(page)) == set(evidence)
    for method, table in evidence.items():
        assert set(table.table["method"]) == {method}
    assert not differs(page, evidence)


def test_a_page_that_names_another_column_or_condition_is_found_out(evidence):
    page = PAGE.read_text(encoding="utf-8")
    for right, wrong in (
        ("source_span, span, draw, window", "span, draw, window"),
        ("donor, layer, span |", "donor, layer, span, draw |"),
        ("restored, corrupted, clean", "restored, clean"),
    ):
        assert right in page and len(differs(page.replace(right, wrong, 1), evidence)) == 1


def test_former_readers_find_the_draw_in_seed_and_the_window_in_strength(evidence):
    for method in ("patch", "ablate", "trace", "knockout", "claim", "graft"):
        table = evidence[method].table
        assert table["draw"].notna().any() and table["seed"].equals(table["draw"]), method
    traced = evidence["trace"].where(condition="restored")
    assert (traced["strength"] == 1.0).all() and (traced["window"] == 1).all()
    assert evidence["steer"].where(condition="steered")["draw"].isna().all()
