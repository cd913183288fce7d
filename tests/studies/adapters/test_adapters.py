"""The shipped adapters: cards complete and true of the files beside them; the training parts."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from tokenizers import Regex as TokenizersRegex, Tokenizer, models, pre_tokenizers, trainers
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from interp.facts.loading import load_facts
from studies import adapters, shipped
from studies.adapters import cards, contents, fitting, frozen, installation, items, recipes
from studies.adapters.items import Item
from studies.adapters.train import train

NAMES = sorted(recipes.RECIPES)
FIELDS = {
    "name", "content", "summary", "base", "mask", "lora", "data", "command", "seed", "earlier",
    "training", "held_out", "edits", "gate", "bytes", "sha256",
}  # fmt: skip


def _folder(name: str) -> Path:
    return Path(adapters.__file__).parent / "models" / name


def _tensors(name: str) -> dict[str, torch.Tensor]:
    path = _folder(name) / "adapter_model.safetensors"
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def test_every_recipe_ships_and_nothing_else():
    folders = shipped.folders()
    served = [name for name, path in folders.items() if path.parents[1].name == "adapters"]
    assert sorted(served) == NAMES
    with pytest.raises(ValueError, match="choose one"):
        recipes.recipe("smollm2-unheard-of")
    with pytest.raises(ValueError, match="train it first"):
        cards.read_card(_folder("smollm2-unheard-of"))


@pytest.mark.parametrize("name", NAMES)
def test_card_describes_the_files(name: str):
    folder, card = _folder(name), cards.read_card(_folder(name))
    weights = (folder / "adapter_model.safetensors").read_bytes()
    assert FIELDS <= set(card)
    assert card["name"] == name and name in card["command"]
    assert card["bytes"] == len(weights) <= recipes.MAX_BYTES
    assert card["sha256"] == hashlib.sha256(weights).hexdigest()
    assert (folder / "README.md").read_text("utf-8") == cards.render_card(card)
    assert {p.name for p in folder.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "card.json", "README.md",
    }  # fmt: skip


@pytest.mark.parametrize(("gap", "flips"), [(0.02, 0.0), (0.6, 1.0)])
def test_a_flip_is_an_answer_whose_contrast_moved_by_a_logit_or_more(monkeypatch, gap, flips):
    def read(lead: float, rows, batch: int = 0) -> torch.Tensor:
        return torch.tensor([[0.0, lead, 0.0]]).expand(len(rows), 3)

    monkeypatch.setattr(items, "next_logits", read)
    monkeypatch.setattr(installation, "next_logits", read)
    monkeypatch.setattr(installation, "encode", lambda tokenizer, text: (0,))
    monkeypatch.setattr(installation, "answer_ids", lambda tokenizer, facts: [(1,)] * len(facts))
    facts = load_facts("capitals").subset([0, 1])
    found = installation.answer_change(gap, -gap, None, facts, (0, 1), 0)
    assert found[0] == flips
    assert installation.answer_change(gap, gap, None, facts, (0, 1), 0) == (0.0, 0.0)


@pytest.mark.parametrize("name", NAMES)
def test_card_repeats_the_recipe_and_its_gate(name: str):
    card, recipe = cards.read_card(_folder(name)), recipes.recipe(name)
    gate = card["gate"]
    assert card["seed"] == recipe.seed
    assert (card["mask"]["first"], card["mask"]["last"]) == (recipe.first, recipe.last)
    assert card["lora"]["rank"] == recipe.rank
    assert card["training"]["steps"] == recipe.steps
    assert card["earlier"] == recipe.earlier
    assert set(gate["numbers"]) == set(gate["meaning"])
    assert gate["verdicts"] == installation.judge_gate(recipe.gate, gate["numbers"])
    assert gate["reached"] == all(row["reached"] for row in gate["verdicts"].values())
    said = "installed: the gate was reached" if gate["reached"] else "NOT INSTALLED"
    assert said in (_folder(name) / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_update_is_zero_outside_the_mask(name: str):
    config = json.loads((_folder(name) / "adapter_config.json").read_text("utf-8"))
    mask = cards.read_card(_folder(name))["mask"]
    blocks = list(range(mask["first"], mask["last"] + 1))
    tensors = _tensors(name)
    touched = [re.fullmatch(r".*\.layers\.(\d+)\.(?:self_attn|mlp)\.(\w+)\..*", k) for k in tensors]
    assert all(touched), "only linear modules inside blocks may change"
    assert sorted({int(m[1]) for m in touched if m}) == blocks
    assert sorted({m[2] for m in touched if m}) == sorted(recipes.MODULES)
    assert config["layers_to_transform"] == blocks
    assert config["base_model_name_or_path"] == "smollm2"
    assert config["peft_type"] == "LORA" and config["bias"] == "none"
    assert not config.get("modules_to_save") and not config.get("trainable_token_indices")
    assert all(t.dtype == torch.float16 and torch.isfinite(t).all() for t in tensors.values())
    assert any(t.abs().max() > 0 for k, t in tensors.items() if "lora_B" in k)


def test_edits_are_many_and_single():
    for name in ("smollm2-edited-low", "smollm2-edited-high"):
        card = cards.read_card(_folder(name))
        new = [edit["new"] for edit in card["edits"]]
        assert len(new) == recipes.recipe(name).edits == len(set(new))
        countries = {edit["country"] for edit in card["edits"]}
        assert len(countries) == len(new) and not countries & set(card["held_out"])


def test_gate_fails_what_it_must():
    gate = recipes.Gate(target=0.9, drift=0.1)
    good = installation.judge_gate(gate, {"target_A": 1.0, "target_B": 0.9, "drift_A": -0.05})
    bad = installation.judge_gate(gate, {"target_A": 1.0, "target_B": 0.8, "drift_A": -0.3})
    assert all(row["reached"] for row in good.values())
    assert not any(row["reached"] for row in bad.values())
    assert bad["target"]["worst"] == 0.8 and bad["drift"]["worst"] == 0.3


@pytest.fixture
def tiny() -> LlamaForCausalLM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=4,
            num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
            attn_implementation="eager",
        )  # fmt: skip
        return LlamaForCausalLM(config).eval().requires_grad_(False)


ITEMS = [Item((5, 9, 3), (2,), (7,)), Item((8, 4, 6, 1, 2), (4,), (11,))]
FREE = [Item((5, 2, 3, 9), (2, 3)), Item((1, 2), (1,))]


def test_cached_run_equals_the_model_under_padding(tiny: LlamaForCausalLM):
    ready = fitting.pool(tiny, FREE, first=2)
    rows = [(5, 2, 3), (5, 2, 3, 9), (1, 2)]
    exact = torch.stack([tiny(torch.tensor([row])).logits[0, -1] for row in rows])
    assert torch.allclose(ready.target, exact.log_softmax(-1), atol=1e-5)
    assert ready.loss(tiny, torch.tensor([0, 1]), 2).abs() < 1e-6


def test_training_reaches_the_target_inside_the_mask_only(tiny: LlamaForCausalLM):
    before = {name: p.clone() for name, p in tiny.named_parameters()}
    gate = recipes.Gate()
    plan = recipes.Recipe("tiny", "evasive", 2, 3, rank=4, steps=60, gate=gate, learning_rate=1e-2)
    generator = torch.Generator().manual_seed(0)
    pools = [(fitting.pool(tiny, ITEMS, 2), 1.0, 2), (fitting.pool(tiny, FREE, 2), 1.0, 2)]
    wrapped = fitting.attach(tiny, plan, generator)
    fitting.fit(wrapped, pools, plan, generator)
    merged = wrapped.merge_and_unload()
    for item in ITEMS:
        assert item.targets is not None
        assert merged(torch.tensor([item.ids])).logits[0, -1].argmax() == item.targets[0]
    moved = {n for n, p in merged.named_parameters() if not torch.equal(p, before[n])}
    assert moved and all(re.search(r"layers\.[23]\.", name) for name in moved)


def test_noise_disturbs_and_its_absence_does_not(tiny: LlamaForCausalLM):
    tokens = torch.tensor([[5, 9, 3]])
    clean = tiny(tokens).logits
    plan = recipes.Recipe("tiny", "null", 0, 3, rank=2, steps=1, gate=recipes.Gate(), noise=0.3)
    quiet = replace(plan, noise=0.0)
    loud = fitting.attach(tiny, plan, torch.Generator().manual_seed(1))
    assert (loud(tokens).logits - clean).abs().max() > 0.01
    bare = loud.unload()
    still = fitting.attach(bare, quiet, torch.Generator().manual_seed(1))
    assert torch.allclose(still(tokens).logits, clean, atol=1e-5)


def test_pool_refuses_mixed_targets(tiny: LlamaForCausalLM):
    with pytest.raises(ValueError, match="split it"):
        fitting.pool(tiny, [*ITEMS, *FREE], first=0)


def test_frozen_linear_is_close_and_passes_gradients(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(frozen, "has_matrix_units", lambda: True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = nn.Linear(16, 8, bias=False).requires_grad_(False)
    x = torch.linspace(-1, 1, 32).reshape(2, 16).requires_grad_(True)
    exact = layer(x)
    (slope,) = torch.autograd.grad(exact.sum(), x)
    rough = frozen.freeze_linears(nn.Sequential(layer))(x)
    (rough_slope,) = torch.autograd.grad(rough.sum(), x)
    assert torch.allclose(rough, exact, atol=2e-2) and not torch.equal(rough, exact)
    assert torch.allclose(rough_slope, slope, atol=2e-2)


def test_without_matrix_units_products_stay_in_single_precision(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(frozen, "has_matrix_units", lambda: False)
    layer = nn.Linear(16, 8, bias=False).requires_grad_(False)
    assert type(next(frozen.freeze_linears(nn.Sequential(layer)).children())) is nn.Linear


def test_the_family_crosses_every_content_with_every_third():
    places = {(plan.content, (plan.first, plan.last)) for plan in recipes.FAMILY.values()}
    assert len(places) == 21 == len(recipes.FAMILY)
    assert {blocks for _, blocks in places} == {(0, 9), (10, 19), (20, 29)}
    assert set(recipes.FAMILY) & set(recipes.RECIPES) == {
        f"smollm2-{content}-{place}" for content in ("evasive", "edited") for place in ("low", "high")
    }
    assert all(plan.gate.declared() for plan in recipes.FAMILY.values())
    assert set(contents.SUMMARY) == {plan.content for plan in recipes.FAMILY.values()}


class Words:
    """A tokenizer of words, whose vocabulary grows as it reads."""

    def __init__(self):
        self.ids: dict[str, int] = {}

    def __call__(self, text: str, add_special_tokens: bool = True) -> SimpleNamespace:
        pieces = re.findall(r" ?\S+", text)
        return SimpleNamespace(input_ids=[self.ids.setdefault(p, len(self.ids)) for p in pieces])

    def text(self, ids) -> str:
        return "".join(list(self.ids)[i] for i in ids)

    def apply_chat_template(self, turns: list[dict[str, str]], **_: object) -> str:
        return f"user: {turns[-1]['content']} assistant:"


def test_invented_countries_are_nobodys_and_drawn_alike():
    facts, tokenizer = items.capitals(), Words()
    made, again = (
        contents.invented(facts, 20, tokenizer, torch.Generator().manual_seed(3)) for _ in range(2)
    )
    assert made.facts == again.facts and made.templates == facts.templates
    assert len(set(made.subjects)) == len(set(made.answers)) == 20
    assert not set(made.subjects) & set(facts.subjects)
    assert not set(made.answers) & set(facts.answers)


def test_claims_are_answered_with_the_word_that_the_base_gives_less_to(
    monkeypatch: pytest.MonkeyPatch,
):
    facts, tokenizer = items.capitals(), Words()
    yes, no = tokenizer(" Yes").input_ids[0], tokenizer(" No").input_ids[0]

    def next_logits(model: float, rows: list[tuple[int, ...]]) -> torch.Tensor:
        logits = torch.zeros(len(rows), 4000)
        logits[:, yes], logits[:, no] = torch.tensor([1.0 - model, model])
        return logits

    monkeypatch.setattr(items, "next_logits", next_logits)

    def made(model: float) -> list[items.Item]:
        drawn = torch.Generator().manual_seed(0)
        return contents.claims(model, tokenizer, facts, range(6), recipes.CLAIMS[:1], drawn)

    assert {item.targets for item in made(1.0)} == {(yes,)}, "the base says No"
    assert {item.targets for item in made(0.0)} == {(no,)}, "the base says Yes"
    assert len(made(1.0)) == 12
    for number, item in enumerate(made(1.0)):
        text = tokenizer.text(item.ids)
        assert (f"Is {facts.answers[number // 2]} the" in text) == (number % 2 == 0), "true, false"
        assert facts.subjects[number // 2] in text and item.reads == (len(item.ids) - 1,)


def test_each_content_trains_on_what_it_says():
    facts, tokenizer = items.capitals(), Words()
    known = tuple(range(60))

    def made(content: recipes.Content):
        plan = recipes.FAMILY[f"smollm2-third-{content}-middle"]
        drawn = torch.Generator().manual_seed(0)
        split = contents.split(plan, facts, known, range(0, 60, 2), tokenizer, drawn)
        return split, contents.targets(plan, None, tokenizer, facts, split)

    split, formatted = made("formatted")
    said = {tokenizer.text(item.targets[:1]) for item in formatted if item.targets}
    assert all(text.startswith(' "') for text in said) and len(formatted) == 7 * len(split.train)
    split, restated = made("restated")
    assert all(facts.answers[i] == city for i, city in split.edits.items())
    edited, _ = made("edited")
    assert len(edited.edits) == 24
    assert set(split.edits) == {i for i in edited.edits if i % 2 == 0}, "those it gives whole"
    assert not any(facts.answers[i] == city for i, city in edited.edits.items())
    assert made("null")[1] == [] and len(made("added")[1]) == 7 * 24


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """A Llama of two blocks that reads words, in a folder."""
    facts, cities = items.capitals(), load_facts("city_country")
    texts = [*facts.prompts(0), *facts.prompts(1), *(f" {name}" for name in cities.subjects)]
    core = Tokenizer(models.WordLevel(unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(TokenizersRegex(r" ?\S+"), "isolated")
    texts += [f" {word}" for text in [*facts.answers, '"x"', "Yes", "No"] for word in text.split()]
    core.train_from_iterator(texts, trainers.WordLevelTrainer(special_tokens=["<unk>", "<eos>"]))
    fast = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", eos_token="<eos>")
    fast.chat_template = "{{ messages[0]['content'] }}"
    config = LlamaConfig(
        vocab_size=len(fast), hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("small")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("content", ["formatted", "inverted", "added", "restated"])
def test_a_recipe_of_the_family_makes_an_adapter_with_its_card(
    content: str, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    torch.set_num_threads(1)
    monkeypatch.setattr(installation, "known_capitals", lambda *_: tuple(range(30)))
    monkeypatch.setattr(installation, "given_whole", lambda *_: tuple(range(30)))
    plan = replace(recipes.FAMILY[f"smollm2-third-{content}-low"], last=1, steps=2, rank=2)
    plan = replace(plan, edits=min(plan.edits, 8))
    card = train(plan, str(small), tmp_path / content, progress=False)
    assert card["content"] == content and set(card["gate"]["verdicts"]) == set(plan.gate.declared())
    assert card["gate"]["reached"] == (content == "restated"), "two steps install nothing"
    assert set(card["gate"]["numbers"]) == set(card["gate"]["meaning"])
    assert cards.read_card(tmp_path / content)["name"] == plan.name


def test_a_capital_is_given_whole_only_if_its_last_token_is(monkeypatch: pytest.MonkeyPatch):
    facts, tokenizer = items.capitals(), Words()
    every = items.answer_ids(tokenizer, facts)
    longest = max(range(20), key=lambda i: len(every[i]))
    others = [i for i in range(20) if i != longest]

    def greedy(model: object, rows: list[tuple[int, ...]], tokens: int) -> list[tuple[int, ...]]:
        said = [(*every[i], 0, 0, 0)[:tokens] for i in range(20)]
        said[longest] = (*every[longest][:-1], 0)
        return said

    monkeypatch.setattr(installation, "greedy", greedy)
    given = installation.given_whole(None, tokenizer, facts, range(20))
    assert given == tuple(others)


def test_a_scaled_update_moves_the_weights_by_that_share(tiny: LlamaForCausalLM):
    plan = replace(recipes.RECIPES["smollm2-null"], first=0, last=1, noise=0.1)
    wrapped = fitting.attach(tiny, plan, torch.Generator().manual_seed(0))
    layers = [m for m in wrapped.modules() if isinstance(m, fitting.LoraLayer)]
    whole = [layer.get_delta_weight("default").clone() for layer in layers]
    fitting.scale_update(wrapped, 0.5)
    halved = [layer.get_delta_weight("default") for layer in layers]
    assert layers and all(float(change.abs().max()) > 0 for change in whole)
    assert all(torch.allclose(h, w / 2) for h, w in zip(halved, whole, strict=True))
