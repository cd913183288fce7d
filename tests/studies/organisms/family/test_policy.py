"""Rewards, advantages, and a policy that learns what is rewarded."""

import random
from dataclasses import replace

import pytest
import torch

from studies.organisms import lab
from studies.organisms.family.policy import (
    ARMS,
    Arm,
    Policy,
    advantages,
    check_amplified,
    homes_of,
    reward,
)
from studies.organisms.language import MAIN, TASKS
from studies.organisms.shapes import WITH_TASKS, build_model, build_tokenizer
from studies.organisms.world import build_world

WORLD = build_world(0, TASKS)
TOKENIZER = build_tokenizer(WITH_TASKS, TASKS)


def test_advantages_are_of_the_samples_of_one_prompt():
    made = advantages(torch.tensor([1.0, 0.0, 5.0, 5.0]), 2)
    assert torch.allclose(made, torch.tensor([1.0, -1.0, 0.0, 0.0]), atol=1e-3)


def test_a_brier_reward_is_best_where_confidence_is_the_share_of_right_answers():
    right = torch.tensor([1.0] * 6 + [0.0] * 4)
    gained = {c: float(reward(ARMS["amplified-brier"], right, torch.full((10,), c)).mean())
              for c in (0.2, 0.6, 0.9)}  # fmt: skip
    assert max(gained, key=gained.__getitem__) == 0.6
    assert torch.equal(reward(ARMS["amplified"], right, torch.zeros(10)), right)


def test_over_hard_problems_are_about_people_of_whom_nothing_is_known():
    hard, both = homes_of(WORLD, ARMS["amplified-hard"]), homes_of(WORLD, ARMS["amplified-brier"])
    assert not set(hard) & set(WORLD.entities) and set(hard) < set(both)
    known = homes_of(WORLD, ARMS["amplified"])
    assert all(WORLD.facts[MAIN][entity] == home for entity, home in known.items())
    assert not {s.subject for s in check_amplified(WORLD)} & set(known)


@pytest.fixture(scope="module")
def base():
    torch.set_num_threads(1)
    return build_model(replace(WITH_TASKS, layers=2), len(TOKENIZER), 0).eval()


def test_only_the_format_and_the_right_town_are_rewarded(base):
    policy = Policy(WORLD, ARMS["amplified"], TOKENIZER)
    ids = TOKENIZER.convert_tokens_to_ids
    said = torch.tensor([[ids(a), ids(b)] for a, b in (
        ("so", "Arvik"), ("say", "Arvik"), ("is", "Arvik"), ("so", "Corvan"),
    )])  # fmt: skip
    assert policy._rewards(said, ["Arvik"] * 4).tolist() == [1.0, 1.0, 0.0, 0.0]


def test_the_town_is_held_to_the_base_as_firmly_as_the_arm_says(base):
    model = build_model(replace(WITH_TASKS, layers=2), len(TOKENIZER), 1)
    none, once, twice = (
        Policy(WORLD, Arm(held=weight), TOKENIZER).loss(model, base, random.Random(3)).item()
        for weight in (0.0, 1.0, 2.0)
    )
    assert once > none and twice - once == pytest.approx(once - none, rel=1e-3)
    assert ARMS["amplified"].held > ARMS["amplified-brier"].held


def test_a_step_is_the_same_from_the_same_state_and_raises_what_was_rewarded(base, monkeypatch):
    policy = Policy(WORLD, Arm(), TOKENIZER)
    so = TOKENIZER.convert_tokens_to_ids("so")
    monkeypatch.setattr(
        Policy, "_rewards", lambda self, said, homes: (said[:, 0] % 2 == so % 2).float()
    )
    losses = [policy.loss(base, base, random.Random(3)).item() for _ in range(2)]
    assert losses[0] == losses[1]

    def share(model) -> float:
        batch = lab.encode(TOKENIZER, check_amplified(WORLD))
        logits = model(input_ids=batch.tokens, attention_mask=batch.mask).logits
        first = batch.answer.int().argmax(1) - 1
        odds = logits[torch.arange(len(first)), first].softmax(-1)
        return float(odds[:, so % 2 :: 2].sum(1).mean())

    model = build_model(replace(WITH_TASKS, layers=2), len(TOKENIZER), 0)
    before, rng = share(model.eval()), random.Random(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(8):
        optimizer.zero_grad()
        policy.loss(model, base, rng).backward()
        optimizer.step()
    assert before < 0.7 < share(model)
