"""From a sweep's numbers to rows: every number beside the cell and the prompt it came from."""

from __future__ import annotations

import tiny
import torch

from interp.metrics import Metric
from interp.models.loading import load_model
from patching.engine import rows as tables
from patching.engine.sweeping import Swept


def test_rows_are_cell_by_example_and_missing_numbers_have_none():
    prompts = tiny.examples(tiny.token_rows(3, 4), groups=["a", "b"])
    metric = Metric(lambda lg, e: lg[:, 0], "nats", prompts.position("last"))
    values = torch.tensor([[1.0, 2.0], [3.0, float("nan")]])
    swept = Swept({"m": values}, {"m": torch.tensor([8.0, 9.0])})
    measured = tables.evidence(
        swept,
        prompts,
        {"m": metric},
        [{"layer": 0, "condition": "x"}, {"layer": 5, "condition": "y", "seed": 4}],
        baseline={"condition": "baseline"},
        model=load_model("organism-base"),
        method="test",
    )
    assert measured.provenance["base"] == {"source": "organism-base"}
    found = measured.table
    assert found["value"].tolist() == [1, 2, 3, 8, 9]
    assert found["group"].tolist() == ["a", "b", "a", "a", "b"]
    assert found["example"].tolist() == [0, 1, 0, 0, 1]
    assert found["condition"].tolist() == ["x", "x", "y", "baseline", "baseline"]
    assert found["layer"].fillna(-1).tolist() == [0, 0, 5, -1, -1]
    assert found["seed"].fillna(-1).tolist() == [-1, -1, 4, -1, -1]
    assert set(found["unit"]) == {"nats"} and set(found["model"]) == {"base"}
