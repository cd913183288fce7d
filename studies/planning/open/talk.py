"""What it costs to continue prompts with two models: forwards, generated tokens, vocabularies read.

The calls are those of the jobs, batch by batch, told from the lengths of prompts and continuations.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import chain
from typing import TypeVar

import torch

from interp.examples import Examples
from interp.generation import continued_together, generate
from interp.models.alike import alike
from interp.models.model import Model
from interp.models.pair import ModelPair
from patching.engine.block_cost import BlockCost
from studies.comparison.next_tokens import BATCH, final_states, next_tokens
from studies.comparison.prompts.along import ALIVE
from studies.planning.plans import Cost
from studies.scanning.measuring import parted

Key = TypeVar("Key")

#: Prompts, and tokens after each, by which the price of a token is told.
PROMPTS, STEPS, REPEATS = 8, 6, 2

#: Tensors [position, vocabulary] that are alive at once where a first choice is read.
READ_ALIVE = 3


@dataclass(frozen=True)
class Line:
    """Seconds of calls that grow with their size.

    Attributes:
        each: of a call, whatever is in it.
        per: of each unit in it.
    """

    each: float
    per: float

    @classmethod
    def through(cls, small: tuple[int, float], large: tuple[int, float]) -> Line:
        """The line through two measurements (size, seconds)."""
        (few, short), (many, long) = small, large
        per = max(0.0, long - short) / max(1, many - few)
        return cls(max(0.0, short - few * per), per)

    def seconds(self, calls: int, units: int) -> float:
        """The time of so many calls with so many units in all."""
        return calls * self.each + units * self.per


@dataclass(frozen=True)
class TalkRates:
    """What continuing and reading takes.

    Attributes:
        cost: of a block.
        vocabulary: number of tokens.
        forward: of a forward by its tokens.
        step: of one more token of every prompt of a batch, by the prompts.
        read: of the first choice and the log p of a token, by the positions read together.
        compare: of two models' whole distributions, by the positions read together.
        max_bytes: memory for activations.
        apart: how many blocks the tuned model has from the first that tuning changed on.
    """

    cost: BlockCost
    vocabulary: int
    forward: Line
    step: Line
    read: Line
    compare: Line
    max_bytes: int
    apart: int

    @classmethod
    @torch.no_grad()
    def measured(cls, pair: ModelPair, examples: Examples, tokens: int, max_bytes: int) -> TalkRates:
        """Measure them on prompts of the commonest length, repeated."""
        model, same = pair.base, max(examples.by_length(), key=len)
        names = ("forward", "step", "read", "compare")
        told: dict[str, list[tuple[int, float]]] = {name: [] for name in names}
        for rows in (1, PROMPTS):
            batch = examples.subset([int(same[i % len(same)]) for i in range(rows)])
            read = batch.tokens.gather(1, batch.columns(torch.arange(rows, device=same.device)))
            width = read.shape[1]
            more = min(tokens - 1, STEPS)
            first, all_of = (_taken(partial(generate, model, batch, tokens=1 + n)) for n in (0, more))
            told["step"].append((rows, max(0.0, all_of - first) / max(1, more)))
            last = min(width, tokens)
            states = final_states(model, read, last)
            whole = _taken(partial(final_states, model, read, last))
            told["forward"].append((rows * width, whole))
            flat, wanted = states.flatten(0, 1), read[:, -last:].flatten()
            first_choice = _taken(partial(next_tokens, model, flat, wanted, max_bytes=max_bytes))
            told["read"].append((rows * last, first_choice))
            told["compare"].append((rows * last, _taken(partial(_compare, model, states, wanted))))
        lines = {name: Line.through(*measured) for name, measured in told.items()}
        apart = model.n_layers - max(alike(pair.base, pair.tuned).below, 0)
        return cls(BlockCost.of(model), model.vocabulary, max_bytes=max_bytes, apart=apart, **lines)

    def together(self, width: int) -> int:
        """How many prompts of so many tokens go through a forward together."""
        return max(1, min(BATCH, self.max_bytes // 2 // self.cost.row_bytes(width, 0)))


@dataclass
class Talk:
    """The calls of some work.

    Attributes:
        forwards: (rows, width) of each unedited forward.
        beside: (rows, width) of those of the tuned model behind the base's on the same prompts, which
            enter the blocks from the first that tuning changed on.
        steps: (rows, steps) of each generation behind its first token.
        read: positions of each reading of first choices.
        compared: positions of each comparison of two models.
    """

    forwards: list[tuple[int, int]] = field(default_factory=list)
    beside: list[tuple[int, int]] = field(default_factory=list)
    steps: list[tuple[int, int]] = field(default_factory=list)
    read: list[int] = field(default_factory=list)
    compared: list[int] = field(default_factory=list)

    def continued(self, widths: Sequence[int], said: Sequence[int]) -> None:
        """Generate behind prompts of these widths; a batch ends with its longest."""
        for rows in continued_together(widths, BATCH):
            width = widths[rows[0]]
            self.forwards.append((len(rows), width))
            self.steps.append((len(rows), max(widths[i] - width + said[i] for i in rows) - 1))

    def both(
        self,
        widths: Sequence[int],
        said: Sequence[int],
        together: Callable[[int], int],
        *,
        compared: bool,
    ) -> None:
        """Read continuations with both models, for their first choices or to compare the two whole."""
        for (width, length), members in _alike(list(zip(widths, said, strict=True))):
            for rows in _split(members, together(width + length)):
                self.forwards.append((len(rows), width + length - 1))
                self.beside.append((len(rows), width + length - 1))
                positions = len(rows) * length
                if compared:
                    self.compared.append(positions)
                else:
                    self.read += [positions] * 2

    def ends(self, widths: Sequence[int], together: Callable[[int], int], times: int = 2) -> None:
        """Read what comes next behind texts, so many times."""
        for width, members in _alike(widths):
            for rows in _split(members, together(width)):
                self.forwards += [(len(rows), width)] * times
                self.read += [len(rows)] * times

    def add(self, other: Talk) -> None:
        """Add the calls of other work."""
        for calls in fields(self):
            getattr(self, calls.name).extend(getattr(other, calls.name))

    def cost(self, rates: TalkRates) -> Cost:
        """What these calls cost."""
        share = rates.apart / rates.cost.layers
        tokens = sum(rows * width for rows, width in self.forwards)
        beside = sum(rows * width for rows, width in self.beside)
        later = sum(rows * steps for rows, steps in self.steps)
        steps = sum(steps for _, steps in self.steps)
        seconds = (
            rates.forward.seconds(len(self.forwards), tokens)
            + share * rates.forward.seconds(len(self.beside), beside)
            + rates.step.seconds(steps, later)
            + rates.read.seconds(len(self.read), sum(self.read))
            + rates.compare.seconds(len(self.compared), sum(self.compared))
        )
        return Cost(
            forwards=len(self.forwards) + len(self.beside) + steps,
            layer_tokens=rates.cost.layers * (tokens + later) + rates.apart * beside,
            peak_bytes=self._peak(rates),
            seconds=seconds,
        )

    def _peak(self, rates: TalkRates) -> int:
        """Bytes of the largest call."""
        whole, half = 4 * rates.vocabulary, rates.max_bytes // 2
        sizes = chain(
            (rows * rates.cost.row_bytes(width, 0) for rows, width in self.forwards),
            (min(half, READ_ALIVE * whole * positions) for positions in self.read),
            (min(half, ALIVE * whole * positions) for positions in self.compared),
        )
        return max(sizes, default=0)


def _compare(model: Model, states: torch.Tensor, wanted: torch.Tensor) -> None:
    """Read states out twice and compare the two distributions, as two models' are."""
    flat = states.flatten(0, 1)
    log_p = [model.readout(flat).float().log_softmax(-1) for _ in ("base", "tuned")]
    parted([log_p[0], log_p[1].roll(1, -1)], wanted)


def _taken(run: Callable[[], object]) -> float:
    """Seconds of a call, the least of a few."""
    seconds = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def _alike(keys: Sequence[Key]) -> Iterable[tuple[Key, list[int]]]:
    """Each key with the indices at which it stands."""
    groups: dict[Key, list[int]] = {}
    for i, key in enumerate(keys):
        groups.setdefault(key, []).append(i)
    return groups.items()


def _split(members: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Runs of at most so many."""
    return (members[start : start + size] for start in range(0, len(members), size))
