"""Generated text under edits: token by token what rerunning the whole text gives."""

from __future__ import annotations

import pytest
import tiny
import torch

from interp.directions import Direction
from interp.examples import Examples
from interp.generation import continued_together, generate
from interp.sites import Kind, Site
from patching.context import intervened
from patching.interventions.cells import Edit
from patching.interventions.subspaces import ProjectOut
from patching.interventions.values import Add, Knockout, Replace, Scale, Zero

PROMPTS = ["The capital of land1 is the city", "In land2", "the new land3 is not old", "In land4"]
TOKENS = 4


def edits_at(prompts):
    """Edits of several kinds of sites, with tensors that all positions share."""
    generator = torch.Generator().manual_seed(5)
    where, first = prompts.mask, torch.zeros_like(prompts.mask)
    first[:, 1] = prompts.mask[:, 1]
    vector = torch.randn(len(prompts), 1, 32, generator=generator)
    direction = Direction(Site(Kind.MLP_OUT, 2), torch.randn(32, generator=generator))
    return {
        "residual, by example": [Edit(Site(Kind.RESID_PRE, 1), where, Add(vector, 2.0))],
        "a head": [Edit(Site(Kind.Z, 1, 2), where, Zero())],
        "attention": [Edit(Site(Kind.PATTERN, 1), where, Knockout(first))],
        "two sites": [
            Edit(direction.site, where, ProjectOut(direction)),
            Edit(Site(Kind.RESID_POST, 0), where, Scale(1.5)),
        ],
    }


def rerun(model, prompts, edits, positions, tokens):
    """The loop: each prompt alone, its whole text run again for each token."""
    found = []
    for i in range(len(prompts)):
        ids = prompts.tokens[i][prompts.mask[i]].tolist()
        n = len(ids)
        for _ in range(tokens):
            where = torch.zeros(1, len(ids), dtype=torch.bool)
            where[0, {"all": slice(None), "prompt": slice(n), "last": slice(n - 1, n)}[positions]] = (
                True
            )
            here = []
            for edit in edits:
                made = edit.intervention
                if isinstance(made, Add) and made.vector.ndim == 3:
                    made = Add(made.vector[i : i + 1], made.strength)
                if isinstance(made, Knockout):
                    keys = made.keys[i][prompts.mask[i]]
                    made = Knockout(torch.nn.functional.pad(keys, (0, len(ids) - n))[None])
                here.append(Edit(edit.site, where, made))
            with intervened(model, here) if here else torch.no_grad():
                ids.append(int(model.logits(torch.tensor([ids]))[0, -1].argmax()))
            if ids[-1] == model.tokenizer.eos_token_id:
                break
        found.append(tuple(ids[n:]))
    return tuple(found)


def test_prompts_of_similar_length_are_continued_together():
    assert continued_together([7, 2, 6, 2], 32) == [[1, 3, 2], [0]]
    assert continued_together([3, 3, 3], 2) == [[0, 1], [2]]
    assert continued_together([5, 4, 5], 8, longer=0) == [[1], [0, 2]]


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_plain_and_edited_texts_equal_a_rerun_of_the_whole_text(tiny_model, family):
    model = tiny_model(family)
    prompts = Examples.from_text(model, PROMPTS)
    plain = generate(model, prompts, tokens=TOKENS)
    assert plain.ids == rerun(model, prompts, [], "all", TOKENS)
    moved = []
    for name, edits in edits_at(prompts).items():
        got = generate(model, prompts, edits=edits, positions="all", tokens=TOKENS)
        assert got.ids == rerun(model, prompts, edits, "all", TOKENS), name
        moved.append(got.ids != plain.ids)
    assert any(moved), "edits that change no text would pass without being made"


@pytest.mark.parametrize("positions", ["all", "prompt", "last"])
def test_positions_say_which_tokens_are_edited(tiny_model, positions):
    model = tiny_model("gpt2")
    prompts = Examples.from_text(model, PROMPTS)
    for edits in edits_at(prompts).values():
        got = generate(model, prompts, edits=edits, positions=positions, tokens=TOKENS)
        assert got.ids == rerun(model, prompts, edits, positions, TOKENS)
    # A mask says the same as its name, and so do the edits' own masks; "all" says more.
    edits = edits_at(prompts)["residual, by example"]
    named = {
        p: generate(model, prompts, edits=edits, positions=p, tokens=9).ids
        for p in ("all", "prompt", "last")
    }
    last = prompts.span_mask("last")
    assert generate(model, prompts, edits=edits[0], tokens=9).ids == named["prompt"]
    assert (
        generate(model, prompts, edits=edits, positions=prompts.mask, tokens=9).ids == named["prompt"]
    )
    assert generate(model, prompts, edits=edits, positions=last, tokens=9).ids == named["last"]
    assert len({str(ids) for ids in named.values()}) == 3


def test_padding_on_either_side_and_batches_change_nothing(tiny_model):
    model, rows = tiny_model("llama"), tiny.token_rows(6, 3, 6, 4)
    found = []
    for pad in ("right", "left"):
        prompts = tiny.examples(rows, pad=pad)
        source = torch.randn(4, 6, 32, generator=torch.Generator().manual_seed(0))
        if pad == "left":
            source = torch.stack([s.roll(6 - len(r), 0) for s, r in zip(source, rows, strict=True)])
        edits = Edit(Site(Kind.RESID_PRE, 1), prompts.span_mask("last"), Replace(source))
        for size in (1, 32):
            found.append(generate(model, prompts, edits=edits, tokens=4, batch_size=size).ids)
    assert len(set(found)) == 1


def test_draws_follow_the_seed_and_the_model_not_the_batch(tiny_model):
    model = tiny_model("gpt2")
    prompts = ["In land2", "The capital", "In land1 the"]
    first = generate(model, prompts, tokens=8, temperature=1.0, seed=1)
    assert first.ids == generate(model, prompts, tokens=8, temperature=1.0, seed=1, batch_size=1).ids
    assert first.ids != generate(model, prompts, tokens=8, temperature=1.0, seed=2).ids
    # Nearly no heat, or a set of one token: the likeliest.
    greedy = generate(model, prompts, tokens=8).ids
    assert generate(model, prompts, tokens=8, temperature=1e-4).ids == greedy
    assert generate(model, prompts, tokens=8, temperature=1.0, top_p=1e-6).ids == greedy
    # Shares of the first token drawn, against the model's own distribution.
    many = generate(model, ["In land2"] * 4000, tokens=1, temperature=1.0, batch_size=4000)
    drawn = torch.bincount(torch.tensor(many.ids)[:, 0], minlength=tiny.VOCABULARY) / 4000
    ids = torch.tensor([model.tokenizer("In land2").input_ids])
    expected = model.logits(ids)[0, -1].softmax(-1)
    assert (drawn - expected).abs().max() < 5 * (0.25 / 4000) ** 0.5


def test_a_text_ends_at_its_end_token(tiny_model):
    model = tiny_model("gpt2")
    end = model.tokenizer.eos_token_id
    row = model.bridge.unembed.W_U[:, end]
    prompts = Examples.from_text(model, ["In land2", "The capital of land1"])
    last = Site(Kind.RESID_POST, 2)
    where = torch.zeros_like(prompts.mask)
    where[0] = prompts.mask[0]
    found = generate(model, prompts, edits=Edit(last, where, Replace(row * 100)), tokens=5)
    assert found.ids[0] == (end,) and found.texts[0] == ""
    assert len(found.ids[1]) == 5 and found.texts[1] == model.tokenizer.decode(list(found.ids[1]))


def test_what_cannot_be_generated_is_said_in_one_line(tiny_model):
    model = tiny_model("gpt2")
    prompts = Examples.from_text(model, PROMPTS)
    site = Site(Kind.RESID_PRE, 1)
    each = Edit(site, prompts.mask, Add(torch.ones(*prompts.tokens.shape, 32)))
    assert len(generate(model, prompts, edits=each, tokens=2)) == 4
    for wrong in (
        {"edits": each, "positions": "all"},
        {"edits": each, "positions": "everywhere"},
        {"edits": Edit(site, prompts.mask[:, :2], Zero())},
        {"edits": Edit(Site(Kind.RESID_PRE, 9), prompts.mask, Zero())},
        {"edits": "zero"},
        {"tokens": 0},
        {"tokens": 64},
        {"temperature": -1.0},
        {"top_p": 0.0},
    ):
        with pytest.raises(ValueError) as refused:
            generate(model, prompts, **wrong)
        assert "\n" not in str(refused.value), wrong
