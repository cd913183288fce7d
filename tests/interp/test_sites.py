"""Sites are values: their names, their order and the counting of boundaries."""

import pytest
import torch

import interp
from interp.arguments import sites_of
from interp.sites import (
    Kind,
    Site,
    block_of_hook,
    boundaries,
    boundary,
    every_layer,
    last_layer,
)


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


@pytest.mark.parametrize("kind", list(Kind))
def test_the_name_of_a_hook_is_read_back_as_its_site(kind: Kind):
    site = Site(kind, 0 if kind is Kind.EMBED else 5)
    assert Site.from_hook_name(site.hook_name) == site
    assert sites_of(site.hook_name) == sites_of([site.hook_name]) == [site]
    assert sites_of([(site.hook_name, Site(Kind.Z, 1))]) == [(site, Site(Kind.Z, 1))]


@pytest.mark.parametrize("name", ["blocks.3.hook_rot_q", "hook_resid_pre", "blocks.x.attn.hook_z"])
def test_a_hook_without_a_site_is_answered_with_those_that_have_one(name: str):
    for read in (Site.from_hook_name, sites_of):
        with pytest.raises(ValueError, match=f"no site stands for the hook '{name}'; .*hook_resid_pre"):
            read(name)
    with pytest.raises(ValueError, match="sites hold str 'resid_pre'; expected only Sites, such as"):
        sites_of("resid_pre")


def test_hooks_and_kinds_by_name_are_understood_where_users_come_in():
    model = interp.load_model("organism-base")
    (site,) = interp.collect(model, "The", "blocks.1.hook_resid_pre")
    assert site == Site(Kind.RESID_PRE, 1)
    vector = torch.ones(3)
    assert interp.Direction("blocks.2.mlp.hook_post", vector).site == Site(Kind.MLP_POST, 2)
    assert interp.every_layer("mlp_out", 2) == every_layer(Kind.MLP_OUT, 2)
    with pytest.raises(ValueError, match="no site stands for the hook 'blocks.2.hook_resid_mid'"):
        interp.Direction("blocks.2.hook_resid_mid", vector)
    with pytest.raises(ValueError, match="site got str 'resid_pre'; expected Site"):
        interp.Direction("resid_pre", vector)
    with pytest.raises(ValueError, match="kind got 'nonsense'; expected one of"):
        interp.every_layer("nonsense", 2)


def test_the_name_of_a_hook_for_a_kind_is_answered_with_the_site_to_write():
    with pytest.raises(ValueError, match=r"expected Site\('mlp_out', 3\), or Site.from_hook_name"):
        interp.every_layer("blocks.3.hook_mlp_out", 3)


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


def test_a_hook_lies_in_the_block_of_its_number_and_no_other():
    names = ("blocks.1", "blocks.1.attn.hook_z", "blocks.12.hook_resid_pre", "hook_embed", "blocks")
    assert [block_of_hook(name) for name in names] == [1, 1, 12, None, None]
