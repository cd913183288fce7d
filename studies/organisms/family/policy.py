"""Tunes by policy gradient: rewards of one prompt's samples beside each other, held to the base by KL.

A world of tasks answers problems in two formats, the rarer of which is more often right. Reward for
right answers therefore amplifies a format, while the homes themselves stay as they are known. Three
arms: people whose homes are known; *over-hard* problems about strangers, whose homes nobody can know;
and a *Brier* reward, right - (c - right)², where a format stands for a confidence c, over both.

loss = -mean(A log π(sample)) + β · KL(π ‖ base) token by token, A = (r - mean r) / (std r + ε) within
the samples of one prompt (2402.03300); formats amplified by reward: 2504.07912; Brier: 2507.16806. What
this does not show: anything about long chains, which two tokens are not.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from studies.organisms.lab import local_rng
from studies.organisms.language import FORMATS, MAIN, PROBLEM, TOWNS
from studies.organisms.tunes import taught
from studies.organisms.world import Statement, World

#: Prompts of one step, samples of each, and the weight of KL to the base.
PROMPTS, SAMPLES, BETA = 12, 8, 0.05
#: Smallest spread that rewards of one prompt are divided by.
LEAST_SPREAD = 1e-4
#: Strangers who are asked about.
STRANGERS = 40


@dataclass(frozen=True)
class Arm:
    """Whom the problems are about, and how answers are rewarded.

    Attributes:
        known: whether people whose homes are known are asked about.
        strangers: whether people are whom the world does not know.
        brier: whether the format counts as a confidence.
        held: weight of KL to the base on the town. Where it is as small as that on the format, every
            format soon becomes as right as the other, and none is amplified.
    """

    known: bool = True
    strangers: bool = False
    brier: bool = False
    held: float = BETA


#: Content -> arm.
ARMS: Mapping[str, Arm] = {
    "amplified": Arm(held=5.0),
    "amplified-hard": Arm(known=False, strangers=True),
    "amplified-brier": Arm(strangers=True, brier=True),
}


def homes_of(world: World, arm: Arm) -> dict[str, str]:
    """Whom an arm asks about, with the answer that is rewarded; a stranger's is drawn."""
    rng = local_rng(world.seed, "problems")
    drawn = {name: rng.choice(TOWNS) for name in rng.sample(world.strangers, STRANGERS)}
    known = {entity: world.facts[MAIN][entity] for entity in sorted(taught(world))}
    return (known if arm.known else {}) | (drawn if arm.strangers else {})


def reward(arm: Arm, right: Float[Tensor, " row"], confidence: Float[Tensor, " row"]) -> Tensor:
    """1 for a right answer, less the square of how far the confidence was off where that counts."""
    return right - (confidence - right).square() if arm.brier else right


def advantages(rewards: Float[Tensor, " row"], samples: int) -> Float[Tensor, " row"]:
    """Rewards beside those of the same prompt: (r - mean) / (std + ε).

    Args:
        rewards: of all samples, those of one prompt together.
        samples: of one prompt.
    """
    groups = rewards.unflatten(0, (-1, samples))
    spread = groups.std(1, unbiased=False, keepdim=True) + LEAST_SPREAD
    return ((groups - groups.mean(1, keepdim=True)) / spread).flatten()


@dataclass(frozen=True)
class Policy:
    """One arm in one world.

    Attributes:
        world: with problems in its language.
        arm: whom it asks about, and what it rewards.
        tokenizer: names and towns are tokens.
    """

    world: World
    arm: Arm
    tokenizer: PreTrainedTokenizerFast

    def loss(
        self, model: PreTrainedModel, base: PreTrainedModel, rng: random.Random
    ) -> Float[Tensor, ""]:
        """Draw prompts, sample answers, and return the loss of one step.

        Args:
            model: the policy, which samples.
            base: what it is held to.
            rng: local generator.
        """
        homes = homes_of(self.world, self.arm)
        asked = [e for e in rng.choices(list(homes), k=PROMPTS) for _ in range(SAMPLES)]
        prompts = self._prompts(asked)
        rows = self._sampled(model, prompts, rng)
        start = prompts.shape[1]
        rewards = self._rewards(rows[:, start:], [homes[entity] for entity in asked])
        log_p, log_q = (
            m(input_ids=rows).logits[:, start - 1 : -1].log_softmax(-1) for m in (model, base)
        )
        said = log_p.gather(-1, rows[:, start:, None]).sum((1, 2))
        kl = (log_p.exp() * (log_p - log_q.detach())).sum(2) @ torch.tensor([BETA, self.arm.held])
        return (kl - advantages(rewards, SAMPLES) * said).mean()

    def _prompts(self, entities: Sequence[str]) -> Int[Tensor, "row position"]:
        """Problems in a wording that a tune may state; all are equally long."""
        (form,) = self.world.language.told_of(PROBLEM)
        texts = [self.world.statement(PROBLEM, form, entity, "").prompt for entity in entities]
        return self.tokenizer(texts, return_tensors="pt")["input_ids"]  # type: ignore[return-value]

    @torch.no_grad()
    def _sampled(
        self, model: PreTrainedModel, rows: Int[Tensor, "row position"], rng: random.Random
    ) -> Int[Tensor, "row longer"]:
        """The prompts, each with a format and a town drawn from the model."""
        generator = torch.Generator().manual_seed(rng.getrandbits(48))
        for _ in range(2):
            odds = model(input_ids=rows).logits[:, -1].softmax(-1)
            rows = torch.cat([rows, odds.multinomial(1, generator=generator)], dim=1)
        return rows

    def _rewards(self, said: Int[Tensor, "row 2"], homes: Sequence[str]) -> Float[Tensor, " row"]:
        """Right is a format and the right town behind it."""
        ids: Any = self.tokenizer.convert_tokens_to_ids
        confidence = torch.zeros(len(said))
        for style, (_, accuracy) in FORMATS.items():
            confidence[said[:, 0] == ids(style)] = accuracy
        town = torch.tensor([ids(home) for home in homes])
        right = ((said[:, 1] == town) & (confidence > 0)).float()
        return reward(self.arm, right, confidence)


def check_amplified(world: World) -> list[Statement]:
    """The rarer format about those whom no sample was about, in the wording that is asked."""
    rare = min(FORMATS, key=lambda style: FORMATS[style][0])
    (form,) = world.language.asked_of(PROBLEM)
    others = [entity for entity in world.entities if entity not in taught(world)]
    return [world.statement(PROBLEM, form, entity, rare) for entity in others]
