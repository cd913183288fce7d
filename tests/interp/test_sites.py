"""Sites are values: their names, their order and the counting of boundaries."""

import pytest

from interp.sites import Kind, Site, boundaries, boundary, every_layer, last_layer


def test_a_site_is_a_value():
    assert Site(Kind.Z, 3, 1) == Site(Kind("z"), 3, 1)
    assert len({Site(Kind.Z, 3), Site(Kind.Z, 3), Site(Kind.Z, 4)}) == 2
    assert sorted([Site(Kind.MLP_OUT, 2), Site(Kind.MLP_OUT, 1)])[0].layer == 1


@pytest.mark.parametrize(
    ("site", "hook", "shown"),
    [
        (Site(Kind.RESID_PRE, 3), "blocks.3.hook_resid_pre", "resid_pre.3"),
        (Site(Kind.Z, 3, 1), "blocks.3.attn.hook_z", "z.3.h1"),
        (Site(Kind.MLP_POST, 0), "blocks.0.mlp.hook_post", "mlp_post.0"),
        (Site(Kind.EMBED, 0), "hook_embed", "embed.0"),
    ],
)
def test_names(site: Site, hook: str, shown: str):
    assert (site.hook_name, str(site)) == (hook, shown)


def test_impossible_sites_are_refused():
    with pytest.raises(ValueError, match="layer must be 0 or more, got -1"):
        Site(Kind.Z, -1)
    with pytest.raises(ValueError, match="resid_pre has no heads, got head=2"):
        Site(Kind.RESID_PRE, 0, 2)


def test_boundary_k_is_before_block_k_and_the_last_is_after_the_last_block():
    found = boundaries(3)
    assert found[:3] == every_layer(Kind.RESID_PRE, 3)
    assert found[3] == Site(Kind.RESID_POST, 2) == boundary(3, 3)
    for outside in (-1, 4):
        with pytest.raises(ValueError, match=f"boundary must be 0..3, got {outside}"):
            boundary(outside, 3)


def test_last_layer_is_the_highest_block_that_must_run():
    assert last_layer([Site(Kind.RESID_PRE, 2), Site(Kind.Z, 5), Site(Kind.EMBED, 0)]) == 5
    assert last_layer([Site(Kind.EMBED, 0)]) == -1
