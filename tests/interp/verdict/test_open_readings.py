"""What a verdict on prompts says of nodes and of labels, from rows whose answer is known."""

import numpy as np
import pytest

from interp.evidence import Evidence
from interp.verdict.prompts.carriers import carriers_of
from interp.verdict.prompts.labels import LABEL, labels_of
from interp.verdict.thresholds import Thresholds

CUTS = Thresholds(draws=200)


def exchanged(group: str, base: float, tuned: float, nodes: dict) -> Evidence:
    """Rows of one prompt: node (kind, layer, head, condition) -> its metric in either model."""
    rows = [
        ("base", "baseline", None, None, None, base),
        ("tuned", "baseline", None, None, None, tuned),
    ]
    for (kind, layer, head, condition), values in nodes.items():
        rows += [
            (role, condition, kind, layer, head, value)
            for role, value in zip(("base", "tuned"), values, strict=True)
        ]
    model, conditions, kinds, layers, heads, values = zip(*rows, strict=True)
    return Evidence.build(
        np.array(values),
        model=np.array(model, dtype=object),
        condition=np.array(conditions, dtype=object),
        kind=np.array(kinds, dtype=object),
        layer=np.array(layers, dtype=object),
        head=np.array(heads, dtype=object),
        method="carriers",
        metric="metric",
        group=group,
        template="B",
    )


def test_shares_of_nodes_are_means_of_the_two_orders_and_small_changes_have_none():
    large = exchanged(
        "large",
        5.0,
        -5.0,
        {
            ("mlp_out", 4, None, "verified"): (0.0, 1.0),  # .5 of the change made, .6 undone
            ("z", 5, 1, "verified"): (4.9, -4.9),
            ("z", 0, 2, "sampled"): (5.2, -5.0),
        },
    )
    small = exchanged("small", 0.3, -0.3, {("mlp_out", 4, None, "verified"): (0.0, 0.0)})
    carriers = carriers_of(Evidence.concat([large, small]), CUTS)
    found = carriers.of["large", "B"]
    assert [(c.node, c.carries) for c in found] == [("MLP 4", True), ("head 5.1", False)]
    assert (found[0].share_order_u, found[0].share_order_v) == pytest.approx((0.5, 0.6))
    assert found[0].share == pytest.approx(0.55) and found[1].share == pytest.approx(0.01)
    assert carriers.of["small", "B"] == ()
    data = carriers.as_dict()
    assert data["prompts"] == 2 and data["drawn"] == 1 and data["beside"] == pytest.approx(0.01)
    assert [(row["node"], row["prompts"]) for row in data["nodes"]] == [("MLP 4", 1)]
    assert carriers.items({"group": "large", "form": "A"}) is None
    assert carriers_of(Evidence.concat([]), CUTS) is None


def probed(
    model: str, condition: str, right: np.ndarray, layer: int, method: str = "probe"
) -> Evidence:
    """Rows of one condition at one boundary, two classes of equally many groups."""
    n = len(right)
    return Evidence.build(
        right.astype(float),
        method=method,
        metric=LABEL,
        model=model,
        condition=condition,
        layer=layer,
        group=np.array([f"g{i}" for i in range(n)], dtype=object),
        example=np.arange(n),
        label=np.arange(n) % 2,
        draw=0 if condition == "control_task" else None,
    )


@pytest.mark.parametrize(
    ("base", "tuned", "word"),
    [
        (1.0, 1.0, "in both models"),
        (1.0, 0.5, "in the base only"),
        (0.5, 1.0, "in the tuned model only"),
        (0.5, 0.5, "in neither model"),
    ],
)
def test_the_word_of_a_label_follows_accuracy_above_the_control_task(base, tuned, word):
    n, rng = 4000, np.random.default_rng(0)
    parts = []
    for layer in range(5):
        for role, accuracy in (("base", base), ("tuned", tuned)):
            parts.append(probed(role, "probe", rng.random(n) < accuracy, layer))
            parts.append(probed(role, "control_task", rng.random(n) < 0.5, layer))
        parts.append(probed("tuned", "frozen", rng.random(n) < 0.5, layer, "transfer"))
        parts.append(probed("tuned", "refit", rng.random(n) < tuned, layer, "transfer"))
    evidence = Evidence.concat(parts).with_provenance(label_classes=["a", "b"])
    labels = labels_of(evidence, CUTS, 0)
    assert labels.word == word and labels.boundary == 3 and labels.classes == ("a", "b")
    at = labels.boundaries[3]
    assert at.base.estimate == pytest.approx(base - 0.5, abs=0.04)
    assert at.frozen.estimate == pytest.approx(0.5, abs=0.04)
    assert at.refit.estimate == pytest.approx(tuned, abs=0.04)
    assert labels_of(Evidence.concat([]), CUTS, 0) is None


def test_of_few_groups_nothing_is_said_of_a_label():
    right = {"probe": np.array([1, 1, 1, 0] * 3), "control_task": np.array([1, 0, 0, 1] * 3)}
    parts = [probed(m, c, right[c], k) for m in ("base", "tuned") for c in right for k in (0, 1)]
    assert labels_of(Evidence.concat(parts), CUTS, 0).word == "undetermined"
