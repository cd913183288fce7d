"""The sweep engine against other implementations of the same definition."""

from __future__ import annotations

import pytest
import tiny
import torch
import transformer_lens.patching as reference
from hypothesis import HealthCheck, given, settings, strategies as st
from transformer_lens import utilities

from interp.activations import collect
from interp.metrics import Metric, logit_difference
from interp.models.loading import load_model, wrap
from interp.sites import Kind, Site
from patching.context import intervened
from patching.engine import schedule
from patching.engine.schedule import MAX_BYTES, BlockCost
from patching.engine.sweeping import sweep
from patching.engine.unedited import Baseline
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Add, Mean, Replace, Scale, Zero

CLOSE = 1e-4
RESIDUAL = (Kind.RESID_PRE, Kind.ATTN_OUT, Kind.MLP_OUT, Kind.RESID_POST)


def tight(model, examples):
    """The least a sweep may be given: one prompt and one edited copy at a time."""
    shape, width = BlockCost.of(model), int(examples.lengths.max())
    return 2 * shape.row_bytes(width, 0) + width * shape.kept_bytes


def roomy(model, examples):
    """What a sweep is given when nothing is said."""
    return MAX_BYTES


def grid(model, contrast, sites, source):
    """One cell per site and position that writes the source's activation."""
    width = contrast.clean.tokens.shape[1]
    return [
        Cell((Edit(s, tiny.one_position(contrast.corrupted, p), Replace(source[s].values)),))
        for s in sites
        for p in range(width)
    ]


def hooked(model, examples, edits, metric):
    """The metric of a full forward with the edits attached, prompts one by one, unpadded."""
    found = []
    for i in range(len(examples)):
        row = torch.tensor([i])
        real = examples.mask[i].nonzero()[:, 0]
        tokens = examples.tokens[i, real][None]
        cut = [
            Edit(e.site, e.where[i, real][None], _Row(e.intervention, i, real, e.where.shape[1]))
            for e in edits
        ]
        with intervened(model, cut) as inside:
            logits = inside.logits(tokens)[:, int(metric.positions[i]) - int(real[0])]
        logits = logits if metric.tokens is None else logits[:, metric.tokens]
        found.append(metric(logits, row)[0])
    return torch.stack(found)


class _Row:
    """An intervention made for padded examples, seen by one unpadded example."""

    def __init__(self, intervention, row, real, width):
        self.parts = intervention, row, real, width

    def __call__(self, act, example):
        intervention, row, real, width = self.parts
        full = act.new_zeros(1, width, *act.shape[2:])
        full[:, real] = act
        return intervention(full, torch.tensor([row]))[:, real]


@pytest.fixture(params=["whole prompts", "a pass for each first position", "packed"])
def layout(request, monkeypatch):
    """Prices under which the schedule always chooses one layout."""
    monkeypatch.setattr(schedule, "CALL_FLOPS", 1e18 if request.param == "whole prompts" else 0.0)
    monkeypatch.setattr(schedule, "PACKED_PRICE", -1e-9 if request.param == "packed" else 1e9)


def test_every_family_can_run_above_a_kept_prefix(family_model):
    run = Baseline.of(family_model, tiny.contrast(5, 5).clean, torch.arange(2))
    assert sorted(run.past) == list(range(family_model.n_layers))
    assert run.packable
    assert all(k.shape[2] == v.shape[2] == 5 for k, v in run.past.values())


def test_equals_the_loops_of_transformer_lens(family_model, layout):
    model, pairs = family_model, tiny.contrast(6, 6)
    n, width = pairs.clean.tokens.shape
    sites = [Site(kind, layer) for kind in RESIDUAL for layer in range(model.n_layers)]
    source = collect(model, pairs.clean, sites, positions="all")
    cells = grid(model, pairs, sites, source)
    swept = sweep(model, pairs.corrupted, cells, {"pair": logit_difference(pairs)})
    ours = swept.values["pair"].reshape(len(RESIDUAL), model.n_layers, width, n)

    def metric(logits):
        row = torch.arange(n)
        return (logits[row, -1, pairs.answers] - logits[row, -1, pairs.foils]).mean()

    _, cache = model.bridge.run_with_cache(pairs.clean.tokens)
    loops = (
        reference.get_act_patch_resid_pre,
        reference.get_act_patch_attn_out,
        reference.get_act_patch_mlp_out,
        lambda *given: reference.generic_activation_patch(
            *given,
            patch_setter=reference.layer_pos_patch_setter,
            activation_name="resid_post",
            index_axis_names=("layer", "pos"),
        ),
    )
    for mine, loop in zip(ours, loops, strict=True):
        theirs = loop(model.bridge, pairs.corrupted.tokens, cache, metric)
        assert (mine.mean(-1) - theirs).abs().max() <= CLOSE
        # The comparison has something to find: cells differ, and a rolled grid does not agree.
        assert (mine.mean(-1).roll(1, 1) - theirs).abs().max() > 0.05


def test_one_head_equals_the_loop_of_transformer_lens(tiny_model):
    for family in ("gpt2", "llama"):
        model, pairs = tiny_model(family), tiny.contrast(5, 5)
        n, width = pairs.clean.tokens.shape
        heads = range(4)
        sites = [Site(Kind.Z, layer, head) for layer in range(model.n_layers) for head in heads]
        source = collect(model, pairs.clean, sites, positions="all")
        swept = sweep(
            model,
            pairs.corrupted,
            grid(model, pairs, sites, source),
            {"pair": logit_difference(pairs)},
        )
        ours = swept.values["pair"].reshape(model.n_layers, len(heads), width, n).mean(-1)
        _, cache = model.bridge.run_with_cache(pairs.clean.tokens)
        row = torch.arange(n)
        theirs = reference.get_act_patch_attn_head_out_by_pos(
            model.bridge,
            pairs.corrupted.tokens,
            cache,
            lambda lg: (lg[row, -1, pairs.answers] - lg[row, -1, pairs.foils]).mean(),  # noqa: B023
        )
        assert (ours.transpose(1, 2) - theirs).abs().max() <= CLOSE
        assert (ours - ours.mean()).abs().max() > 0.05


@pytest.fixture
def rounded_by_place(family_model, monkeypatch):
    """The model on a machine whose kernels round by the place of a row, and coarsely.

    Every row of what leaves a block, and of the logits, is scaled by a factor of its place.
    """

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


def test_as_many_prompts_as_positions(family_model):
    # Tensors that a block receives are per prompt or per position; here the sizes agree.
    pairs = tiny.contrast(5, 5, 5, 5, 5)
    metric = logit_difference(pairs)
    site = Site(Kind.ATTN_OUT, 1)
    source = collect(family_model, pairs.clean, [site], positions="all")
    cells = grid(family_model, pairs, [site], source)
    swept = sweep(family_model, pairs.corrupted, cells, {"pair": metric})
    expected = torch.stack([hooked(family_model, pairs.corrupted, c.edits, metric) for c in cells])
    assert (swept.values["pair"] - expected).abs().max() <= CLOSE


def test_patching_the_only_differing_position_at_layer_0_gives_the_clean_run(family_model):
    clean = tiny.token_rows(6, 6)
    corrupted = [[*row[:2], 7 if row[2] != 7 else 8, *row[3:]] for row in clean]
    pairs = type(tiny.contrast(3))(
        tiny.examples(clean), tiny.examples(corrupted), torch.tensor([5, 6]), torch.tensor([9, 8])
    )
    site = Site(Kind.RESID_PRE, 0)
    source = collect(family_model, pairs.clean, [site], positions="all")
    metric = {"pair": logit_difference(pairs)}
    swept = sweep(family_model, pairs.corrupted, grid(family_model, pairs, [site], source), metric)
    wanted = sweep(family_model, pairs.clean, [], metric).baseline["pair"]
    assert (swept.values["pair"][2] - wanted).abs().max() <= 1e-6
    assert torch.equal(swept.values["pair"][1], swept.baseline["pair"])
    assert (swept.baseline["pair"] - wanted).abs().min() > 1e-3


def test_several_edits_of_one_cell_act_together(family_model):
    pairs = tiny.contrast(6, 6)
    metric = logit_difference(pairs)
    heads = [Site(Kind.Z, 1, head) for head in (0, 3)]
    sites = [Site(Kind.RESID_PRE, 0), *heads, Site(Kind.MLP_OUT, 1), Site(Kind.RESID_POST, 2)]
    source = collect(family_model, pairs.clean, sites, positions="all")
    subject = pairs.corrupted.span_mask("subject")
    # Two heads share a hook; two edits share a site at different positions.
    edits = [Edit(s, subject, Replace(source[s].values)) for s in sites]
    edits.append(Edit(sites[0], tiny.one_position(pairs.corrupted, 4), Zero()))
    edits.append(Edit(sites[-1], pairs.corrupted.span_mask("last"), Mean(torch.ones(tiny.WIDTH))))
    edits.append(
        Edit(sites[-1], pairs.corrupted.span_mask("last"), Add(torch.ones(1, 1, tiny.WIDTH), 2.0))
    )
    chosen = [tuple(edits), tuple(edits[1:3]), tuple(edits[:1]), tuple(edits[1:2])]
    swept = sweep(model := family_model, pairs.corrupted, [Cell(c) for c in chosen], {"m": metric})
    for mine, cell in zip(swept.values["m"], chosen, strict=True):
        assert (mine - hooked(model, pairs.corrupted, cell, metric)).abs().max() <= CLOSE
    both, first = swept.values["m"][1], swept.values["m"][3]
    assert (both - first).abs().max() > 1e-3


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_cell_equals_a_hooked_run(tiny_model, data):
    model = tiny_model(data.draw(st.sampled_from(["gpt2", "llama", "gemma3"])))
    lengths = data.draw(st.lists(st.integers(3, 6), min_size=1, max_size=3))
    pairs = tiny.contrast(*lengths, pad=data.draw(st.sampled_from(["left", "right"])))
    metric = logit_difference(pairs)
    shape = pairs.clean.tokens.shape

    def edit():
        kind = data.draw(st.sampled_from([*RESIDUAL, Kind.Z]))
        head = data.draw(st.integers(0, 3)) if kind is Kind.Z else None
        site = Site(kind, data.draw(st.integers(0, 2)), head)
        bits = data.draw(st.lists(st.booleans(), min_size=shape.numel(), max_size=shape.numel()))
        width = 8 if kind is Kind.Z else tiny.WIDTH
        vector = torch.linspace(-1, 1, width)
        clean = collect(model, pairs.clean, [site], positions="all")[site].values
        made = [Replace(clean), Zero(), Mean(vector), Add(vector[None, None], 3.0)]
        # Padding may be named: there is nothing there to write.
        return Edit(site, torch.tensor(bits).reshape(shape), data.draw(st.sampled_from(made)))

    cells = [
        Cell(tuple(edit() for _ in range(data.draw(st.integers(1, 3)))))
        for _ in range(data.draw(st.integers(1, 3)))
    ]
    room = data.draw(st.sampled_from([tight, roomy]))(model, pairs.corrupted)
    swept = sweep(model, pairs.corrupted, cells, {"m": metric}, max_bytes=room)
    for mine, cell in zip(swept.values["m"], cells, strict=True):
        expected = hooked(model, pairs.corrupted, cell.edits, metric)
        assert torch.allclose(mine, expected, rtol=CLOSE, atol=CLOSE)


def test_metrics_read_their_own_positions_and_tokens(tiny_model):
    model, pairs = tiny_model("gpt2"), tiny.contrast(6, 4)
    early = Metric(lambda lg, e: lg[:, 1], "logits", torch.tensor([2, 1]), torch.tensor([4, 9]))
    whole = Metric(lambda lg, e: lg.logsumexp(1), "nats", torch.tensor([5, 3]))
    found = sweep(model, pairs.clean, [], {"early": early, "whole": whole}).baseline
    for i, (at, last) in enumerate(((2, 5), (1, 3))):
        logits = model.logits(pairs.clean.tokens[i : i + 1, : last + 1])[0]
        assert (found["early"][i] - logits[at, 9]).abs() <= 1e-5
        assert (found["whole"][i] - logits[last].logsumexp(0)).abs() <= 1e-5


class _Stop:
    def __init__(self, error):
        self.error = error

    def __call__(self, act, example):
        raise self.error("stopped")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_stopped_sweep_leaves_the_model_as_it_was(tiny_model, error):
    model, pairs = tiny_model("llama"), tiny.contrast(5)
    before, hooks = model.logits(pairs.clean.tokens), tiny.hooks_left(model)
    cell = Cell((Edit(Site(Kind.MLP_OUT, 1), pairs.clean.span_mask("all"), _Stop(error)),))
    with pytest.raises(error, match="stopped"):
        sweep(model, pairs.clean, [cell], {"m": logit_difference(pairs)})
    assert tiny.hooks_left(model) == hooks
    assert tiny.same(model.logits(pairs.clean.tokens), before)


def test_mistakes_are_named_in_one_line(tiny_model):
    model, pairs = tiny_model("gpt2"), tiny.contrast(5, 5)
    where, metric = pairs.clean.span_mask("all"), logit_difference(pairs)

    def one(site, where=where):
        return [Cell((Edit(site, where, Zero()),))]

    mean = Metric(lambda lg, e: lg.mean(), "logits", metric.positions)
    site = Site(Kind.RESID_PRE, 0)
    for match, cells, metrics, room in (
        ("do not average", one(site), {"m": mean}, MAX_BYTES),
        ("blocks 0..2", one(Site(Kind.RESID_PRE, 3)), {"m": metric}, MAX_BYTES),
        ("heads 0..3", one(Site(Kind.Z, 0, 4)), {"m": metric}, MAX_BYTES),
        (r"shape \(2, 5\); got \(2, 4\)", one(site, where[:, :4]), {"m": metric}, MAX_BYTES),
        ("one prompt of 5 tokens", one(site), {"m": metric}, 1000),
    ):
        with pytest.raises(ValueError, match=match) as caught:
            sweep(model, pairs.clean, cells, metrics, max_bytes=room)
        assert "\n" not in str(caught.value)


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


def test_the_reference_names_its_hooks_as_we_do(tiny_model):
    model = tiny_model("gpt2")
    for kind in RESIDUAL:
        assert utilities.get_act_name(str(kind), 1) == Site(kind, 1).hook_name
        assert Site(kind, 1).hook_name in model.bridge.hook_dict


@pytest.mark.real
def test_on_a_real_model():
    model, pairs = load_model("smollm2"), tiny.contrast(4)
    metric = logit_difference(pairs)
    sites = [Site(Kind.RESID_PRE, layer) for layer in range(model.n_layers)]
    source = collect(model, pairs.clean, sites, positions="all")
    swept = sweep(model, pairs.corrupted, grid(model, pairs, sites, source), {"m": metric})
    _, cache = model.bridge.run_with_cache(pairs.clean.tokens)
    theirs = reference.get_act_patch_resid_pre(
        model.bridge,
        pairs.corrupted.tokens,
        cache,
        lambda lg: (lg[:, -1, pairs.answers] - lg[:, -1, pairs.foils]).mean(),
    )
    ours = swept.values["m"].reshape(theirs.shape)
    assert ((ours - theirs).abs() / theirs.abs().clamp(min=1)).max() <= CLOSE
    assert theirs.std() > 0.5
    # Writing what the pass itself holds changes nothing at all; a source from another pass carries
    # that pass's rounding.
    where = pairs.corrupted.span_mask("all")
    own = collect(model, pairs.corrupted, sites, positions="all")
    same = [Cell((Edit(s, where, Add(torch.zeros(model.d_model))),)) for s in sites]
    again = [Cell((Edit(s, where, Replace(own[s].values)),)) for s in sites]
    for room in (tight(model, pairs.corrupted), MAX_BYTES):
        swept = sweep(model, pairs.corrupted, same + again, {"m": metric}, max_bytes=room)
        moved = (swept.values["m"] - swept.baseline["m"]).abs().squeeze(1)
        assert moved[: len(sites)].max() == 0
        assert moved[len(sites) :].max() <= CLOSE * max(1.0, float(swept.baseline["m"].abs()))
