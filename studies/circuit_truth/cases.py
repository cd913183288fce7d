"""What the trained models compute: variables, where each is kept, and which edges tell it tokens.

Inputs are `BOS` and tokens 0 … n−1; the answer is read at the last token. A case is a small program
over whole sequences, [row, position], whose variables stand at nodes of a transformer. An edge is true
where a variable is computed from another one or from the input's tokens. What a head needs to know of
positions is the same in both prompts of a pair, so its queries and keys count only where they compare
tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

#: Variables by name, each [row, position].
Values = Mapping[str, Tensor]
_BOS = -1


@dataclass(frozen=True)
class Case:
    """A program and its place in a transformer.

    Attributes:
        summary: what it computes.
        layers: of the transformer.
        size: how many different tokens there are.
        length: tokens of an input behind `BOS`.
        answers: how many different answers.
        variables: name -> (node, function of the variables before it); "tokens" is given, −1 at `BOS`.
        output: the answer at every position, from the variables.
        edges: the true edges.
    """

    summary: str
    layers: int
    size: int
    length: int
    answers: int
    variables: Mapping[str, tuple[str, Callable[[Values], Tensor]]]
    output: Callable[[Values], Tensor]
    edges: tuple[str, ...]

    def run(self, tokens: Tensor, given: Values | None = None) -> tuple[dict[str, Tensor], Tensor]:
        """Every variable, and the answer at the last token.

        Args:
            tokens: [row, position], −1 at `BOS`.
            given: variables that are set and not computed.
        """
        values: dict[str, Tensor] = {"tokens": tokens}
        for name, (_, compute) in self.variables.items():
            chosen = (given or {}).get(name)
            values[name] = compute(values) if chosen is None else chosen
        return values, self.output(values)[:, -1]

    @property
    def nodes(self) -> dict[str, str]:
        """Variable -> node that keeps it."""
        return {name: node for name, (node, _) in self.variables.items()}


def _first(of: str, place: int = 1) -> Callable[[Values], Tensor]:
    """A variable's value at one position, at every position from there on; −1 before."""

    def compute(values: Values) -> Tensor:
        moved = values[of][:, place, None].expand_as(values[of]).clone()
        moved[:, :place] = _BOS
        return moved

    return compute


def _previous(of: str) -> Callable[[Values], Tensor]:
    """A variable's value one position before; −1 at the first."""

    def compute(values: Values) -> Tensor:
        return torch.cat([torch.full_like(values[of][:, :1], _BOS), values[of][:, :-1]], 1)

    return compute


def _sum(one: str, two: str, size: int) -> Callable[[Values], Tensor]:
    """The sum of two variables modulo a size."""
    return lambda values: (values[one] + values[two]) % size


def _copied(values: Values) -> Tensor:
    """The token at the latest position whose previous token is the one here; 5 if there is none."""
    tokens, before = values["tokens"], values["before"]
    match = (before[:, None, :] == tokens[:, :, None]) & (before[:, None, :] >= 0)
    causal = torch.ones(match.shape[1:], dtype=torch.bool).tril()
    score = torch.where(match & causal, torch.arange(tokens.shape[1]), -1)
    latest, place = score.max(2)
    copied = tokens[torch.arange(len(tokens))[:, None], place]
    return torch.where(latest >= 0, copied, torch.full_like(copied, 5))


CASES: dict[str, Case] = {
    "first-equal": Case(
        "whether the last token is the first one again",
        2, 4, 5, 2,
        {
            "first": ("a0.h1", _first("tokens")),
            "equal": ("m1", lambda v: (v["first"] == v["tokens"]).long()),
        },
        lambda v: v["equal"],
        ("input->a0.h1<v>", "input->m1", "a0.h1->m1", "m1->logits"),
    ),
    "previous-sum": Case(
        "the sum of the last two tokens modulo 4",
        2, 4, 5, 4,
        {
            "before": ("a0.h2", _previous("tokens")),
            "sum": ("m0", _sum("before", "tokens", 4)),
        },
        lambda v: v["sum"],
        ("input->a0.h2<v>", "input->m0", "a0.h2->m0", "m0->logits"),
    ),
    "two-moved": Case(
        "the sum of the first two tokens modulo 4",
        2, 4, 5, 4,
        {
            "first": ("a0.h0", _first("tokens")),
            "second": ("a0.h3", _first("tokens", 2)),
            "sum": ("m1", _sum("first", "second", 4)),
        },
        lambda v: v["sum"],
        ("input->a0.h0<v>", "input->a0.h3<v>", "a0.h0->m1", "a0.h3->m1", "m1->logits"),
    ),
    "relayed": Case(
        "the token two before, moved one position at a time by two heads",
        2, 4, 5, 4,
        {
            "before": ("a0.h1", _previous("tokens")),
            "earlier": ("a1.h3", _previous("before")),
        },
        lambda v: v["earlier"],
        ("input->a0.h1<v>", "a0.h1->a1.h3<v>", "a1.h3->logits"),
    ),
    "turned-and-moved": Case(
        "the first token, turned round, plus the last one modulo 4",
        3, 4, 5, 4,
        {
            "turned": ("m0", lambda v: (3 - v["tokens"]) % 4),
            "moved": ("a1.h2", _first("turned")),
            "sum": ("m2", _sum("moved", "tokens", 4)),
        },
        lambda v: v["sum"],
        ("input->m0", "m0->a1.h2<v>", "a1.h2->m2", "input->m2", "m2->logits"),
    ),
    "gated": Case(
        "the token before, where the last token is the first one again; 4 elsewhere",
        2, 4, 5, 5,
        {
            "first": ("a0.h0", _first("tokens")),
            "equal": ("m0", lambda v: (v["first"] == v["tokens"]).long()),
            "before": ("a1.h1", _previous("tokens")),
            "gated": ("m1", lambda v: torch.where(v["equal"] == 1, v["before"], 4)),
        },
        lambda v: v["gated"],
        (
            "input->a0.h0<v>", "a0.h0->m0", "input->m0", "input->a1.h1<v>", "m0->m1", "a1.h1->m1",
            "m1->logits",
        ),
    ),
    "apart": Case(
        "the first token less the one before the last, modulo 4",
        3, 4, 5, 4,
        {
            "first": ("a0.h2", _first("tokens")),
            "before": ("a1.h0", _previous("tokens")),
            "apart": ("m2", lambda v: (v["first"] - v["before"]) % 4),
        },
        lambda v: v["apart"],
        ("input->a0.h2<v>", "input->a1.h0<v>", "a0.h2->m2", "a1.h0->m2", "m2->logits"),
    ),
    "induction": Case(
        "the token that followed the last one before; 5 where there was none",
        2, 5, 6, 6,
        {
            "before": ("a0.h0", _previous("tokens")),
            "copied": ("a1.h1", _copied),
        },
        lambda v: v["copied"],
        ("input->a0.h0<v>", "a0.h0->a1.h1<k>", "input->a1.h1<q>", "input->a1.h1<v>", "a1.h1->logits"),
    ),
}  # fmt: skip
