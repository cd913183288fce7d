"""Models and tokenizers of every shape: what is trained, what is an answer, what any loader reads."""

import random

import pytest
import torch

import interp
from studies.organisms import lab
from studies.organisms.language import MAIN, RICH
from studies.organisms.shapes import OTHER, SHAPES, Shape, build_model, build_tokenizer
from studies.organisms.world import build_world, draw_corpus

WORLD = build_world(5, RICH, 112)


@pytest.fixture(scope="module", params=SHAPES.values(), ids=SHAPES)
def made(request):
    torch.set_num_threads(1)
    shape: Shape = request.param
    tokenizer = build_tokenizer(shape, RICH)
    model = build_model(shape, len(tokenizer), 0)
    model.set_attn_implementation("eager")
    return shape, model, tokenizer


def test_the_answer_and_the_subject_are_found_whatever_the_tokens(made):
    shape, _, tokenizer = made
    statement = WORLD.statement(MAIN, 0, "Bruno Moreau", "Belmora")
    batch = lab.encode(tokenizer, [statement, WORLD.belief("Bruno Moreau", "Arvik", "no")])
    tokens = [tokenizer.convert_ids_to_tokens(row) for row in batch.tokens.tolist()]
    answers = [
        [token for token, is_answer in zip(row, mask, strict=True) if is_answer]
        for row, mask in zip(tokens, batch.answer.tolist(), strict=True)
    ]
    late = batch.late.amax(1)[0].bool().tolist()
    subject = [token for token, inside in zip(tokens[0], late, strict=True) if inside]
    if shape.tokenizer == "words":
        assert answers == [["Belmora"], ["no"]] and subject == ["Bruno", "Moreau"]
    else:
        assert answers == [["Bel", "##mor", "##a"], ["no"]]
        assert subject == ["Bru", "##no", "Mor", "##eau"]
    assert float(batch.weight[batch.mask == 0].sum()) == 0


def test_every_word_of_the_world_has_tokens(made):
    _, _, tokenizer = made
    corpus = draw_corpus(WORLD, 400, random.Random(0))
    batch = lab.encode(tokenizer, corpus)
    assert not (batch.tokens == tokenizer.unk_token_id).any()
    rows = (tokenizer.convert_ids_to_tokens(row, skip_special_tokens=True) for row in batch.tokens)
    joined = [" ".join(row).replace(" ##", "") for row in rows]
    assert joined == [statement.text.replace(",", " ,").replace("  ,", " ,") for statement in corpus]


def test_a_step_moves_the_open_blocks_and_no_other(made):
    shape, model, tokenizer = made
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rng = random.Random(0)
    lab.trainable(model, shape.blocks("high"))
    lab.fit(
        model,
        lambda: lab.answer_loss(model, lab.encode(tokenizer, draw_corpus(WORLD, 8, rng))),
        steps=1, rate=1e-3, decay=0.0,
    )  # fmt: skip
    moved = {
        lab.block_of(name)
        for name, value in model.state_dict().items()
        if (value != before[name]).any()
    }
    assert moved == set(shape.blocks("high") or ())


def test_a_price_on_looking_early_is_paid_for_early_attention_only(made):
    _, model, tokenizer = made
    batch = lab.encode(tokenizer, draw_corpus(WORLD, 8, random.Random(0)))
    with torch.no_grad():
        assert float(lab.handover_loss(model, batch)) > float(lab.answer_loss(model, batch))


def test_any_loader_opens_the_folder(made, tmp_path):
    shape, model, tokenizer = made
    lab.save(model, tokenizer, tmp_path)
    loaded = interp.load_model(str(tmp_path))
    assert loaded.n_layers == shape.layers
    prompt = WORLD.statement(MAIN, 1, WORLD.entities[0], "Arvik").prompt
    tokens = tokenizer(prompt, return_tensors="pt")["input_ids"]
    stored, _ = lab.load(tmp_path)
    assert torch.allclose(loaded.logits(tokens), stored(tokens).logits, atol=1e-4)


def test_bands_are_thirds_and_the_outer_two_lie_on_either_side_of_the_middle():
    for shape in SHAPES.values():
        low, high = shape.blocks("low"), shape.blocks("high")
        assert low and high and max(low) < shape.layers // 2 <= min(high)
        assert shape.blocks("ends") == low + high and shape.blocks("all") is None
    assert OTHER.blocks("low") == (0, 1) and OTHER.blocks("high") == (6, 7)
