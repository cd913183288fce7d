"""Responsibility, place, block span, handover and k* on profiles with known answers."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from verdict_cases import fake_case, fraction

from interp.evidence import Evidence
from interp.verdict.boundaries import handover_layer, installed_boundary
from interp.verdict.profile import Profile, part_names, profile, responsibility
from interp.verdict.thresholds import Thresholds
from interp.verdict.where import block_span, locate


def made(below_u, below_v, n=30, effect=-9.0, spread=1.0, seed=0) -> Profile:
    """Groups whose share below boundary k is below_u[k] and below_v[k], with some noise."""
    rng = np.random.default_rng(seed)
    base = rng.normal(6, 1, n)
    delta = rng.normal(effect, spread, n)
    u = (base + delta)[:, None] - delta[:, None] * np.asarray(below_u)[None]
    v = base[:, None] + delta[:, None] * np.asarray(below_v)[None]
    return Profile(tuple(f"g{i:02d}" for i in range(n)), base, base + delta, u, v)


def label(below_u, below_v=None, *, selected=False, **how) -> str:
    found = made(below_u, below_u if below_v is None else below_v, **how)
    return locate(found, Thresholds(), kappa=None, selected=selected).label


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 8), st.integers(1, 5), st.integers(0, 2**32 - 1), st.floats(0.01, 100.0))
def test_responsibility_is_complete(n_layers: int, n_groups: int, seed: int, scale: float):
    """Whatever the stitched metrics are, the parts of every group sum to m(T) - m(B)."""
    rng = np.random.default_rng(seed)
    boundaries = list(range(n_layers + 1))
    parts, ends = [], {}
    for g in range(n_groups):
        values = scale * rng.normal(size=2 * (n_layers + 1) + 2)
        n = n_layers + 1
        parts.append(
            Evidence.build(
                values,
                method="stitch",
                metric="output",
                group=f"g{g}",
                template="B",
                model=["base"] * n + ["tuned"] * n + ["base", "tuned"],
                condition=["stitched"] * 2 * n + ["baseline"] * 2,
                layer=[*boundaries, *boundaries, None, None],
            )
        )
        ends[f"g{g}"] = values[-1] - values[-2]
    table = responsibility(Evidence.concat(parts), "output")
    assert list(table["part"][: n_layers + 2]) == part_names(n_layers)
    for column in ("value", "order_u", "order_v"):
        sums = table.groupby("group")[column].sum()
        assert sums.to_numpy() == pytest.approx([ends[g] for g in sums.index], abs=1e-4 * scale)


def test_responsibility_without_rows_says_what_to_run():
    with pytest.raises(ValueError, match="stitch"):
        responsibility(Evidence.concat([]), "output")


def test_responsibility_finds_the_blocks_that_did_it():
    outcomes, _, causal = fake_case("edited_low", 30, 12, claims=False)
    table = responsibility(causal, "output", groups=outcomes.changed_groups)
    shares = table.groupby("part", sort=False)["value"].mean()
    expected = np.diff(fraction("low", 12))
    assert (shares / shares.sum()).to_numpy()[1:-1] == pytest.approx(expected, abs=0.02)


def test_places():
    assert label(fraction("low", 12)) == "lower"
    assert label(fraction("high", 12)) == "upper"
    assert label(fraction("spread", 12)) == "distributed"
    # On either side of the declared cut-offs.
    assert label([0, 0.79, 1], spread=0.0) == "distributed"
    assert label([0, 0.81, 1], spread=0.0) == "lower"
    assert label([0, 0.19, 1], spread=0.0) == "upper"


def test_both_orders_must_agree():
    assert label([0, 0.9, 1], [0, 0.9, 1]) == "lower"
    assert label([0, 0.5, 1], [0, 0.9, 1]) == "undetermined"
    assert label([0, 0.05, 1], [0, 0.95, 1]) == "undetermined"


def test_a_change_that_neither_half_makes_alone_is_coupled():
    # U (base below, tuned above) gives nothing, nor does V: everything is interaction.
    assert label([0, 0.95, 1], [0, 0.05, 1]) == "coupled"
    assert label([0, 0.6, 1], [0, 0.45, 1], spread=0.0) == "distributed"
    # Either half makes it alone: the orders disagree the other way, which is no coupling.
    other = locate(made([0, 0.05, 1], [0, 0.95, 1]), Thresholds(), kappa=None, selected=False)
    assert other.label == "undetermined" and "either half" in other.reasons[0]
    # A place is named first where both orders give it.
    assert label([0, 1.0, 1], [0, 0.82, 1], spread=0.0) == "lower"


def test_a_change_in_the_middle_blocks_is_named_by_its_span():
    middle = np.clip((np.arange(31) - 10) / 10, 0, 1)
    assert label(middle) == "middle"
    # One block further than the middle half of the blocks, it is not.
    wide = np.clip((np.arange(31) - 6) / 17, 0, 1)
    assert label(wide) == "distributed"


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(2, 8), st.integers(0, 2**32 - 1))
def test_interaction_and_portable_share_recompute_from_the_four_cells(n_layers, n_groups, seed):
    rng = np.random.default_rng(seed)
    base, tuned = rng.normal(size=n_groups), rng.normal(size=n_groups) + 9
    u, v = rng.normal(size=(2, n_groups, n_layers + 1))
    cells = Profile(tuple(f"g{i}" for i in range(n_groups)), base, tuned, u, v)
    found = locate(cells, Thresholds(), kappa=None, selected=False)
    delta = (tuned - base).mean()
    for k, cell in enumerate(found.boundaries):
        interaction = (tuned - u[:, k] - v[:, k] + base).mean()
        assert cell.interaction.estimate == pytest.approx(interaction)
        gap = cell.share_u.estimate - cell.share_v.estimate
        assert delta * gap == pytest.approx(interaction)
        ratio = (1 - cell.share_u.estimate) / (1 - cell.share_v.estimate)
        assert cell.portable.estimate == pytest.approx(ratio)
    assert found.at_cut == found.boundaries[found.cut]


def test_groups_of_one_unit_are_averaged_before_they_count():
    cells = made([0, 0.5, 1], [0, 0.5, 1], n=4)
    pooled = cells.pooled({"g00": "x", "g01": "x", "g02": "y"})
    assert pooled.groups == ("x", "y", "g03")
    assert pooled.base == pytest.approx([cells.base[:2].mean(), cells.base[2], cells.base[3]])
    assert cells.pooled({}).groups == cells.groups


def test_reasons_that_force_undetermined():
    low = fraction("low", 12)
    assert label(low, n=12) == "lower"
    assert label(low, n=11) == "undetermined"
    assert label(low, effect=0.1, spread=6.0) == "undetermined"
    assert label(low, selected=True) == "undetermined"
    # Blocks that undo each other: 1 -> 1.8 -> 1 has Σ|c| / |Σc| = 2.6.
    assert label([0, 1.0, 1.0, 1.8, 1.0]) == "undetermined"
    assert label([0, 1.0, 1.0, 1.2, 1.0]) == "lower"


@pytest.mark.parametrize(("at", "term"), [(0, "embedding"), (-1, "unembedding")])
def test_terms_outside_the_blocks_are_named(at: int, term: str):
    share = np.array([0.0, 0.9, 0.95, 1.0])
    share[at] = 0.4 if at == 0 else 0.7
    share = np.maximum.accumulate(share) if at == 0 else np.minimum(share, 0.7)
    found = locate(made(share, share), Thresholds(), kappa=None, selected=False)
    assert (found.label, found.term) == ("undetermined", term)


def test_block_span_recovers_a_mask():
    t = Thresholds()
    assert block_span(np.r_[np.zeros(20), np.full(10, 0.1)], t) == (20, 29)
    assert block_span(np.r_[np.full(10, 0.1), np.zeros(20)], t) == (0, 9)
    assert block_span(np.r_[0.0, 1.0, 0.0], t) == (1, 1)
    assert block_span(np.zeros(3), t) is None


def test_share_before_handover_is_reported_and_never_the_label():
    share = fraction("high", 12)
    found = locate(made(share, share), Thresholds(), kappa=10, selected=False)
    assert found.label == "upper"
    assert found.share_before_handover is not None
    assert found.share_before_handover.estimate == pytest.approx(0.5)


def test_handover_is_found_and_needs_enough_pairs():
    _, _, causal = fake_case("null", 60, 30, claims=False)
    found = handover_layer(causal)
    assert (found.estimate, found.low, found.high) == (24, 24, 24)
    rows = causal.where(method="handover")
    few = Evidence(rows[rows["example"] < 25])
    assert handover_layer(few).estimate is None and "too few" in handover_layer(few).reason
    assert handover_layer(Evidence.concat([])).estimate is None


def test_handover_of_shuffled_boundaries_is_none():
    _, _, causal = fake_case("null", 60, 30, claims=False)
    rows = causal.where(method="handover", span="last").copy()
    patched = rows["condition"] == "patched"
    rng = np.random.default_rng(0)
    rows.loc[patched, "value"] = rng.permutation(rows.loc[patched, "value"].to_numpy())
    assert handover_layer(Evidence(rows)).estimate is None


def test_installed_boundary_is_chosen_on_the_other_half():
    found = made([0, 0.5, 0.95, 1.0], [0, 0.5, 0.95, 1.0])
    chosen = installed_boundary(found, found.groups)
    assert chosen.boundaries == (2, 2) and chosen.last == 2 and chosen.layers == (2,)
    assert sorted(chosen.halves[0] + chosen.halves[1]) == sorted(found.groups)
    # Make one half install later: the other half, chosen on it, is read later.
    late = np.isin(found.groups, chosen.halves[0])
    v = found.tuned_below.copy()
    v[late, 2] = found.base[late]
    moved = Profile(found.groups, found.base, found.tuned, found.tuned_above, v)
    assert installed_boundary(moved, found.groups).boundaries == (2, 3)


def test_installed_boundary_never_reached_is_none():
    found = made([0, 0.3, 0.6], [0, 0.3, 0.6])
    chosen = installed_boundary(found, found.groups)
    assert chosen.boundaries == (None, None) and chosen.last is None
    with pytest.raises(ValueError, match="at least two groups"):
        installed_boundary(found, ["g00"])


def test_profile_leaves_out_incomplete_groups():
    outcomes, _, causal = fake_case("edited_low", 30, 6, claims=False)
    rows = causal.where(method="stitch", metric="output")
    gone = rows[(rows["group"] == outcomes.changed_groups[0]) & (rows["layer"] == 3)].index
    found = profile(Evidence(rows.drop(gone)), "output")
    assert found is not None
    assert set(outcomes.changed_groups) - set(found.groups) == {outcomes.changed_groups[0]}
