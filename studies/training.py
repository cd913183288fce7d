"""Training that survives: stretches of steps, each a unit of the open run with the state behind it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from interp.runs.run import Series

#: Steps of one stretch: what a killed training makes again at most.
STRETCH = 200


@dataclass(eq=False)
class Shuffled:
    """Endless batches of shuffled indices.

    Attributes:
        count: how many indices there are.
        size: of a batch.
        generator: draws the orders.
        left: indices that were drawn and not yet given.
    """

    count: int
    size: int
    generator: torch.Generator
    left: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))

    def __next__(self) -> Tensor:
        """The next batch."""
        while len(self.left) < self.size:
            order = torch.randperm(self.count, generator=self.generator)
            self.left = torch.cat([self.left, order])
        batch, self.left = self.left[: self.size], self.left[self.size :]
        return batch


@dataclass(eq=False)
class Training:
    """Everything that changes from step to step.

    Attributes:
        parameters: those that are trained.
        optimizer: of these parameters.
        schedule: of its learning rate.
        draws: what random numbers and batches come from.
    """

    parameters: Sequence[Tensor]
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    draws: Sequence[random.Random | torch.Generator | Shuffled] = ()

    def run(self, steps: int, step: Callable[[int], None], kept: Series) -> None:
        """Do the steps that the open run does not hold, and end in the state behind the last.

        Args:
            steps: how many there are.
            step: does one, given its number.
            kept: units of this training, named by what determines it from its first step on.
        """
        for number, start in enumerate(range(0, steps, STRETCH)):
            made: list[int] = []

            def stretch(begin: int = start, made: list[int] = made) -> dict[str, Any]:
                for n in range(begin, min(begin + STRETCH, steps)):
                    step(n)
                made.append(begin)
                return self._state() if kept.kept else {}

            held = kept.unit(number, stretch, dealt=False)
            if held is not None and not made:
                self._restore(held)

    def _state(self) -> dict[str, Any]:
        """The state as tensors, numbers and texts."""
        return {
            "parameters": list(self.parameters),
            "optimizer": [dict(self.optimizer.state.get(p, {})) for p in self.parameters],
            "rates": [group["lr"] for group in self.optimizer.param_groups],
            "schedule": self.schedule.state_dict(),
            "draws": [_drawn(draw) for draw in self.draws],
        }

    @torch.no_grad()
    def _restore(self, held: dict[str, Any]) -> None:
        """Go to a state that was kept."""
        for parameter, value, moments in zip(
            self.parameters, held["parameters"], held["optimizer"], strict=True
        ):
            parameter.copy_(value)
            self.optimizer.state[parameter] = {
                # Moments stay with the parameter; the count of steps, one number, on the CPU.
                name: moment.to(parameter.device) if moment.ndim else moment
                for name, moment in moments.items()
            }
        for group, rate in zip(self.optimizer.param_groups, held["rates"], strict=True):
            group["lr"] = rate
        self.schedule.load_state_dict(held["schedule"])
        for draw, state in zip(self.draws, held["draws"], strict=True):
            if isinstance(draw, random.Random):
                draw.setstate(state)
            elif isinstance(draw, torch.Generator):
                draw.set_state(state)
            else:
                draw.left = state


def _drawn(draw: random.Random | torch.Generator | Shuffled) -> Any:
    """The state of what random numbers or batches come from."""
    if isinstance(draw, random.Random):
        return draw.getstate()
    return draw.get_state() if isinstance(draw, torch.Generator) else draw.left
