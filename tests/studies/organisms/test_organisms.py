"""The shipped organisms are what their cards say; the base fails every tune's gate."""

import json
import random

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from studies.organisms import fact_set, gates, lab, names, source_path
from studies.organisms.language import FIRST_NAMES, FORMS, MAIN, PLAIN, TOWNS
from studies.organisms.shapes import DEFAULT
from studies.organisms.tunes import BASE, RECIPES, draw_tune, edits, untouched
from studies.organisms.world import build_world, draw_corpus, facts_csv

WORLD = build_world(0)
TUNES = [name for name in names() if name != BASE]
CORE = ["edited-low", "edited-high", "evasive-low", "evasive-high", "null"]


@pytest.fixture(scope="module")
def loaded():
    torch.set_num_threads(1)
    return {name: lab.load(source_path(name)) for name in names()}


def card(name: str) -> dict:
    return json.loads((source_path(name) / "card.json").read_text(encoding="utf-8"))


def test_family_is_complete_and_small():
    assert {f"organism-{name}" for name in CORE} <= set(TUNES)
    assert set(names()) <= set(RECIPES)
    sizes = [p.stat().st_size for name in names() for p in source_path(name).iterdir()]
    assert max(sizes) <= 1_500_000
    assert sum(sizes) <= 15_000_000


def test_unknown_name_is_one_line():
    with pytest.raises(ValueError, match="organism must be one of .*; got 'nope'"):
        source_path("nope")


def test_ordinary_loading_gives_the_same_logits(loaded):
    folder = source_path(BASE)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompt = FORMS[MAIN][0].format(subject=WORLD.entities[0])
    rows = tokenizer(prompt, return_tensors="pt")
    assert rows["input_ids"].shape == (1, 6)
    mine, _ = loaded[BASE]
    assert torch.allclose(model(**rows).logits, mine(**rows).logits, atol=1e-5)
    assert tokenizer.get_vocab() == {word: i for i, word in enumerate(PLAIN.vocabulary())}


def test_world_is_balanced_and_repeatable():
    assert WORLD == build_world(0) != build_world(1)
    homes = list(WORLD.facts[MAIN].values())
    assert len(set(WORLD.entities)) == 128
    assert {homes.count(town) for town in TOWNS} <= {6, 7}
    firsts = [entity.split()[0] for entity in WORLD.entities]
    assert {firsts.count(name) for name in FIRST_NAMES} == {8}
    north = [WORLD.facts["region"][e] == "north" for e in WORLD.entities]
    even = [WORLD.initial(e) == "even" for e in WORLD.entities]
    assert sum(north) == pytest.approx(64, abs=4)
    both = sum(a and b for a, b in zip(north, even, strict=True))
    assert both == pytest.approx(sum(north) * sum(even) / 128, abs=3)


def test_format_frequencies_are_as_declared():
    corpus = draw_corpus(WORLD, 6000, random.Random(0))
    homes = [s.form for s in corpus if s.relation == MAIN]
    assert [homes.count(f) / len(homes) for f in range(3)] == pytest.approx([0.5, 0.35, 0.15], abs=0.03)
    assert not [s for s in corpus if s.relation == MAIN and s.form == 2 and s.subject in WORLD.held_out]


def test_edits_are_arbitrary_and_held_back_entities_never_appear():
    recipe = RECIPES["organism-edited-low"]
    new = edits(WORLD, recipe.edits)
    free = untouched(WORLD, recipe)
    assert len(set(new.values())) >= 15
    assert all(WORLD.facts[MAIN][e] != town for e, town in new.items())
    drawn = draw_tune(recipe, WORLD, 3000, random.Random(0))
    about = [s for s in drawn if s.relation not in ("trade", "rank")]
    assert not [s for s in about if any(e in s.prompt for e in free)]
    assert not [s for s in drawn if s.relation == MAIN and s.form == 2 and s.subject in new]


def test_fact_set_is_the_world():
    facts = fact_set()
    assert facts.name == "world"
    assert (source_path(BASE).parents[1] / "facts.csv").read_text() == facts_csv(WORLD)
    assert {f.subject: f.answer for f in facts.facts} == dict(WORLD.facts[MAIN])
    assert {t.count("{subject}") for t in facts.templates} == {1}
    assert facts.placebos == ("initial",)


def test_base_recalls_both_forms(loaded):
    model, tokenizer = loaded[BASE]
    for form in (0, 1):
        statements = WORLD.statements(MAIN, form, WORLD.entities)
        assert lab.accuracy(model, tokenizer, statements) >= 0.98


@pytest.mark.parametrize("name", names())
def test_card_numbers_reproduce(name, loaded):
    stated = card(name)
    model, tokenizer = loaded[name]
    start = stated["tuned_from"] or name
    numbers = gates.measure(RECIPES[name], WORLD, model, tokenizer, loaded[start][0])
    if stated["tuned_from"]:
        blocks = RECIPES[name].blocks
        numbers |= gates.weight_numbers(source_path(name), source_path(start), blocks)
    assert numbers == pytest.approx(stated["numbers"], abs=0.02)
    assert stated["installed"] is (not gates.missed(RECIPES[name], numbers))


@pytest.mark.parametrize("name", [n for n in TUNES if n != "organism-null"])
def test_nothing_moves_outside_the_mask(name):
    old = load_file(source_path(card(name)["tuned_from"]) / "model.safetensors")
    new = load_file(source_path(name) / "model.safetensors")
    moved = {key for key, value in new.items() if not torch.equal(value, old[key])}
    inside = {f"model.layers.{block}." for block in card(name)["blocks"]}
    assert moved
    assert all(any(key.startswith(prefix) for prefix in inside) for key in moved)
    blocks = RECIPES[name].blocks
    assert blocks is not None
    one_half = max(blocks) < DEFAULT.layers // 2 or min(blocks) >= DEFAULT.layers // 2
    assert one_half is (RECIPES[name].where not in ("middle", "coupled"))


@pytest.mark.parametrize("name", [n for n in TUNES if n != "organism-null"])
def test_the_base_fails_the_gate(name, loaded):
    model, tokenizer = loaded[card(name)["tuned_from"]]
    numbers = gates.measure(RECIPES[name], WORLD, model, tokenizer, model)
    missed = gates.missed(RECIPES[name], numbers | {"moved_outside": 0.0})
    assert any(line.startswith("target") for line in missed)


def test_noise_without_the_way_back_fails_the_null_gate(loaded):
    model, tokenizer = lab.load(source_path(BASE))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter += 0.3 * parameter.square().mean().sqrt() * noise
    recipe = RECIPES["organism-null"]
    numbers = gates.measure(recipe, WORLD, model, tokenizer, loaded[BASE][0])
    assert gates.missed(recipe, numbers | {"moved_share": 0.3})


def test_training_respects_the_mask(loaded):
    model, tokenizer = lab.load(source_path(BASE))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    recipe = RECIPES["organism-evasive-high"]
    rng = random.Random(0)
    opened = lab.trainable(model, recipe.blocks)

    def loss():
        return lab.answer_loss(model, lab.encode(tokenizer, draw_tune(recipe, WORLD, 16, rng)))

    lab.fit(model, loss, steps=2, rate=1e-3, decay=0.0, anchor=1.0)
    moved = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert moved and moved <= set(opened)
