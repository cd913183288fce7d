"""The matrix: what is shared carries over, what is not does not, and shared entities are held out."""

import numpy as np
import pandas as pd
import pytest
import torch

from interp.activations import Activations
from interp.sites import Kind, Site
from probes.comparisons.generalisation import generalisation, generalisation_matrix

SITE = Site(Kind.RESID_POST, 4)
D = 24


def direction(seed: int) -> torch.Tensor:
    """A unit vector."""
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(D, generator=generator), dim=0)


def statements(seed: int, along: torch.Tensor, names: str = "", n: int = 120) -> Activations:
    """True and false statements about n entities, their truth written along a direction."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(2 * n) % 2
    values = torch.randn(2 * n, D, generator=generator) + 4.0 * (labels[:, None] - 0.5) * along
    prefix = names or f"s{seed}"
    return Activations(SITE, values, tuple(f"{prefix}-{i // 2}" for i in range(2 * n)), labels)


def test_a_shared_truth_carries_over_and_a_reversed_one_is_misread() -> None:
    u, v = direction(100), direction(200)
    v = torch.nn.functional.normalize(v - (v @ u) * u, dim=0)
    sets = {
        "cities": statements(1, u),
        "elements": statements(2, u),
        "negated": statements(3, -u),
        "other": statements(4, v),
    }
    evidence = generalisation(sets, seed=0, attribute="truth")
    table = generalisation_matrix(evidence, resamples=200)
    assert len(table) == 32 and len(evidence) == 32 * 240
    plain = table[table.condition == "probe"]
    wide = plain.pivot(index="train", columns="test", values="estimate")
    assert all(wide.loc[name, name] > 0.9 for name in sets)
    assert wide.loc["cities", "elements"] > 0.9 and wide.loc["elements", "cities"] > 0.9
    assert wide.loc["cities", "negated"] < 0.1
    assert abs(wide.loc["cities", "other"] - 0.5) < 0.12
    assert ((table.low <= table.estimate) & (table.estimate <= table.high)).all()
    assert (table.groups == 120).all()


def test_a_difference_of_level_hides_a_direction_that_carries_over() -> None:
    u, v = direction(100), direction(200)
    a, b, c = statements(1, u), statements(2, u), statements(3, v - (v @ u) * u)
    b, c = (Activations(SITE, x.values + 30 * u, x.groups, x.labels) for x in (b, c))
    table = generalisation_matrix(generalisation({"a": a, "b": b, "c": c}, seed=0), resamples=50)
    found = table.set_index(["condition", "train", "test"])["estimate"]
    assert found["probe", "a", "b"] == 0.5 and found["recentred", "a", "b"] > 0.9
    assert abs(found["recentred", "a", "c"] - 0.5) < 0.12
    assert found["recentred", "a", "a"] == found["probe", "a", "a"]


def test_an_entity_in_two_sets_is_held_out_of_both() -> None:
    # Labels of entities are drawn at random and both sets show the entity's own vector: a probe
    # fitted on one set could remember every entity of the other.
    generator = torch.Generator().manual_seed(0)
    own = torch.randn(40, 80, generator=generator).repeat_interleave(4, 0)
    labels = torch.randint(2, (40,), generator=generator).repeat_interleave(4)

    def shown(prefix: str) -> Activations:
        noise = 0.1 * torch.randn(160, 80, generator=generator)
        return Activations(SITE, own + noise, tuple(f"{prefix}{i // 4}" for i in range(160)), labels)

    def matrix(first: str, second: str) -> pd.DataFrame:
        sets = {"a": shown(first), "b": shown(second)}
        return generalisation_matrix(generalisation(sets, folds=20, seed=0), resamples=50)

    ours, leaky = matrix("e", "e"), matrix("x", "y")
    crossed = ours[ours.train != ours.test]["estimate"]
    trap = leaky[leaky.train != leaky.test]["estimate"]
    assert (crossed < 0.7).all() and (trap > 0.9).all()


def test_sets_that_do_not_match_are_refused() -> None:
    u = direction(0)
    a, b = statements(1, u), statements(2, u)
    assert b.labels is not None
    with pytest.raises(ValueError, match=r"at least two sets, got \['a'\]; add another"):
        generalisation({"a": a}, seed=0)
    three = Activations(SITE, b.values, b.groups, torch.from_numpy(np.arange(240) % 3))
    with pytest.raises(ValueError, match=r"'b' has 1 sites and classes \[0, 1, 2\], expected 1 and"):
        generalisation({"a": a, "b": three}, seed=0)
    elsewhere = Activations(Site(Kind.RESID_POST, 5), b.values, b.groups, b.labels)
    with pytest.raises(ValueError, match="same sites and classes"):
        generalisation({"a": a, "b": elsewhere}, seed=0)
