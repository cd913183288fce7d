"""Training in a resumable run: killed between or within stretches it ends in the same weights."""

import random
from pathlib import Path

import pytest
import torch
from torch import nn

from interp.runs.run import resumable, series
from studies import training
from studies.training import Shuffled, Training

STEPS = 10


class Killed(BaseException):
    """Stands for the end of the process."""


def trained(kill_at: int | None = None, done: list[int] | None = None) -> list[torch.Tensor]:
    """A small regression trained with every kind of draw; the parameters behind the last step."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 4, generator=generator)
    net = nn.Linear(4, 1)
    with torch.no_grad():
        net.weight.copy_(torch.ones(1, 4))
        net.bias.zero_()
    parameters = list(net.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 1 / (t + 1))
    words, batches = random.Random(1), Shuffled(len(x), 6, generator)
    kept = series("regression", ("studies.training",), parameters)

    def step(number: int) -> None:
        if number == kill_at:
            raise Killed
        if done is not None:
            done.append(number)
        target = words.random() + torch.randn((), generator=generator)
        loss = (net(x[next(batches)]) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    Training(parameters, optimizer, schedule, [words, generator, batches]).run(STEPS, step, kept)
    return [p.detach().clone() for p in parameters]


@pytest.mark.parametrize("kill_at", range(STEPS))
def test_a_killed_training_ends_in_the_same_weights(kill_at: int, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(training, "STRETCH", 4)
    plain = trained()
    with pytest.raises(Killed), resumable(tmp_path):
        trained(kill_at)
    done: list[int] = []
    with resumable(tmp_path):
        again = trained(done=done)
    assert done == list(range(kill_at - kill_at % 4, STEPS)), "no stretch is made twice"
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))
    with resumable(tmp_path):
        assert all(torch.equal(a, b) for a, b in zip(plain, trained(0), strict=True)), "all is there"


def test_batches_are_every_index_in_turn():
    batches = Shuffled(5, 5, torch.Generator().manual_seed(0))
    first, second = next(batches), next(batches)
    assert first.sort().values.tolist() == second.sort().values.tolist() == [0, 1, 2, 3, 4]
    assert first.tolist() != second.tolist()
