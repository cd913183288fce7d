"""What must not change a number: rounding by place, budgets, padding, and writing what is there."""

from __future__ import annotations

import pytest
import tiny
import torch
from sweeps import RESIDUAL, grid, roomy, tight

from interp.activations import collect
from interp.metrics import logit_difference
from interp.models.loading import wrap
from interp.sites import Kind, Site
from patching.engine.reuse import reuse
from patching.engine.schedule import MAX_BYTES
from patching.engine.sweeping import sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Add, Replace, Scale


@pytest.fixture
def rounded_by_place(family_model, monkeypatch):
    """The model on a machine whose kernels round by the place of a row, and coarsely.

    Every row of what leaves a block, and of the logits, is scaled by a factor of its place.
    """

    reuse(family_model)  # as it is without such kernels; remembered

    def scaled(out):
        place = torch.arange(len(out)).reshape(-1, *[1] * (out.ndim - 1))
        return out * (1 + 1e-3 * torch.sin(1.0 + 7.0 * place))

    def leave(block, args, out):
        return (scaled(out[0]), *out[1:]) if isinstance(out, tuple) else scaled(out)

    readout = type(family_model).readout
    monkeypatch.setattr(
        type(family_model), "readout", lambda self, *given: scaled(readout(self, *given))
    )
    handles = [block.register_forward_hook(leave) for block in family_model.bridge.blocks]
    yield family_model
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("budget", [tight, roomy])
def test_writing_what_is_there_changes_nothing_at_all_on_any_machine(rounded_by_place, budget, layout):
    model, pairs = rounded_by_place, tiny.contrast(5, 6, 5)
    everywhere, last = (pairs.corrupted.span_mask(span) for span in ("all", "last"))
    # The second prompt alone, and not along the mean, which a norm takes away.
    second = torch.tensor([0.0, 1.0, 0.0])[:, None, None] * torch.linspace(-1, 1, tiny.WIDTH)
    sites = [Site(kind, layer) for kind in RESIDUAL for layer in range(model.n_layers)]
    inner = [Site(Kind.EMBED, 0), Site(Kind.Z, 1, 2), Site(Kind.PATTERN, 2, 1)]
    still = [Cell((Edit(site, everywhere, Scale(1.0)),)) for site in (*sites, *inner)]
    moved = [Cell((Edit(site, last, Add(second)),)) for site in sites]
    # A later edit that moves a row counts, and one that does not leaves the row alone.
    both = [Cell(first.edits + later.edits) for first, later in zip(still, moved, strict=False)]
    # Kinds of cells alternate, so that every place of a pass holds some of each.
    cells = [cell for kinds in zip(still, moved, both, strict=False) for cell in kinds]
    cells += still[len(sites) :]
    room = budget(model, pairs.corrupted)
    swept = sweep(model, pairs.corrupted, cells, {"m": logit_difference(pairs)}, max_bytes=room)
    effect = (swept.values["m"] - swept.baseline["m"]).abs()
    writes = torch.tensor([True] * len(cells))
    writes[0 : 3 * len(sites) : 3] = False
    writes[3 * len(sites) :] = False
    assert effect[~writes].max() == 0 and effect[writes][:, [0, 2]].max() == 0
    assert effect[writes][:, 1].min() > 0
    # The control: on this machine equal rows in two places do not come out equal.
    alike = model.readout(torch.ones(2, model.d_model))
    assert (alike[0] - alike[1]).abs().max() > 1e-5


@pytest.mark.parametrize("budget", [tight, roomy])
def test_a_self_patch_changes_nothing_but_for_rounding(family_model, budget, layout):
    model, pairs = family_model, tiny.contrast(5, 6, 5)
    max_bytes = budget(model, pairs.corrupted)
    sites = [Site(kind, layer) for kind in RESIDUAL for layer in range(model.n_layers)]
    own = collect(model, pairs.corrupted, sites, positions="all")
    metric = {"pair": logit_difference(pairs)}
    where = pairs.corrupted.span_mask("all")
    cells = [Cell((Edit(s, where, Replace(own[s].values)),)) for s in sites]
    swept = sweep(model, pairs.corrupted, cells, metric, max_bytes=max_bytes)
    assert tiny.same(swept.values["pair"], swept.baseline["pair"].expand_as(swept.values["pair"]))
    # The same cells with the other prompt's activations do change it.
    other = collect(model, pairs.clean, sites, positions="all")
    cells = [Cell((Edit(s, where, Replace(other[s].values)),)) for s in sites]
    swept = sweep(model, pairs.corrupted, cells, metric, max_bytes=max_bytes)
    assert (swept.values["pair"] - swept.baseline["pair"]).abs().max() > 0.05


def test_the_budget_changes_no_number(family_model, layout):
    pairs = tiny.contrast(4, 5, 4)
    sites = [Site(Kind.RESID_PRE, 0), Site(Kind.MLP_OUT, 1)]
    source = collect(family_model, pairs.clean, sites, positions="all")
    cells = grid(family_model, pairs, sites, source)
    metric = {"pair": logit_difference(pairs)}
    least = tight(family_model, pairs.corrupted)
    runs = [
        sweep(family_model, pairs.corrupted, cells, metric, max_bytes=room)
        for room in (least, 4 * least, MAX_BYTES)
    ]
    for other in runs[1:]:
        assert (other.values["pair"] - runs[0].values["pair"]).abs().max() <= 1e-5
        assert (other.baseline["pair"] - runs[0].baseline["pair"]).abs().max() <= 1e-5


@pytest.mark.parametrize("pad", ["left", "right"])
def test_padded_examples_give_what_each_gives_alone(family_model, pad, layout):
    lengths = (4, 7, 5, 7)
    together = tiny.contrast(*lengths, pad=pad)
    site = Site(Kind.RESID_PRE, 1)

    def subject_patch(pairs):
        source = collect(family_model, pairs.clean, [site], positions="all")[site].values
        edit = Edit(site, pairs.corrupted.span_mask("subject"), Replace(source))
        return sweep(family_model, pairs.corrupted, [Cell((edit,))], {"pair": logit_difference(pairs)})

    swept = subject_patch(together)
    for i, length in enumerate(lengths):
        alone = together.subset([i])
        # Cut the padding away altogether.
        start = int(alone.clean.spans["all"][0, 0])
        rows = [
            [part.tokens[0, start : start + length].tolist()] for part in (alone.clean, alone.corrupted)
        ]
        bare = type(alone)(
            *(tiny.examples(r, subject=[(1, 3)]) for r in rows), alone.answers, alone.foils
        )
        one = subject_patch(bare)
        assert (swept.values["pair"][0, i] - one.values["pair"][0, 0]).abs() <= 1e-5
        assert (swept.baseline["pair"][i] - one.baseline["pair"][0]).abs() <= 1e-5
    assert (swept.values["pair"][0] - swept.baseline["pair"]).abs().min() > 1e-3


def test_bfloat16_runs_and_self_patches_to_nothing_but_rounding(tokenizer):
    model = wrap(tiny.hf_model("llama").to(torch.bfloat16), tokenizer)
    pairs, site = tiny.contrast(5, 5), Site(Kind.RESID_PRE, 1)
    own = collect(model, pairs.clean, [site], positions="all")
    cells = grid(model, pairs, [site], own)
    still = [Cell((Edit(site, pairs.clean.span_mask("all"), Scale(1.0)),))]
    swept = sweep(model, pairs.clean, cells + still, {"m": logit_difference(pairs)})
    assert swept.values["m"].dtype == torch.float32
    effect = (swept.values["m"] - swept.baseline["m"]).abs()
    # Eight bits of mantissa, three blocks: a few units in the last place of logits of order one.
    size = max(1.0, float(model.logits(pairs.clean.tokens).abs().max()))
    assert effect[:-1].max() <= 16 * torch.finfo(torch.bfloat16).eps * size
    assert effect[-1].max() == 0
