"""Transformers trained to keep a case's variables where they belong, and nothing elsewhere.

    loss = behaviour + interchange + 0.4 · strictness

Behaviour: cross entropy of the answer. Interchange: a variable's node takes its output from another
input; the answer must be what the program says with that variable taken from there. Strictness: a node
that keeps no variable takes its output from another input; the answer must stay. Weights off the
circuit are trained as well and are not zero.

Source: Gupta et al., 2407.14494 (strict interchange-intervention training): weights 1 / 1 / 0.4,
learning rate 1e-3, batches of 256, 12,000 samples, at most 500 epochs, stopped where every share is
99.5%.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel

from studies.circuit_truth.cases import Case
from studies.circuit_truth.words import POSITIONS

SAMPLES, BATCH, EPOCHS, RATE = 12_000, 256, 500, 1e-3
BEHAVIOUR, INTERCHANGE, STRICTNESS = 1.0, 1.0, 0.4
GATE = 0.995
WIDTH, HEADS = 32, 4
_CHECKED = 1024  # pairs of inputs on which shares are counted


def build(case: Case, seed: int) -> GPT2LMHeadModel:
    """A random transformer of a case; global generator state is left as it was.

    Args:
        case: which says how many layers and tokens.
        seed: of the weights.
    """
    words = 1 + max(case.size, case.answers) + 1
    config = GPT2Config(
        n_layer=case.layers, n_embd=WIDTH, n_head=HEADS, n_inner=2 * WIDTH,
        n_positions=POSITIONS, vocab_size=words, tie_word_embeddings=False,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=None, eos_token_id=None,
        initializer_range=0.1, activation_function="relu",
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return GPT2LMHeadModel(config)


def run(
    model: Any, tokens: Tensor, replaced: Sequence[tuple[str, Tensor, slice]] = ()
) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits at the last token, and what every head and MLP wrote, [row, position, width].

    Args:
        model: a GPT-2.
        tokens: the program's tokens, −1 at `BOS`; the model's ids are one more.
        replaced: a node, what it writes instead, and in which rows.
    """
    body, length = model.transformer, tokens.shape[1]
    stream = body.wte(tokens + 1) + body.wpe.weight[:length]
    wrote: dict[str, Tensor] = {}
    future = torch.full((length, length), -math.inf).triu(1)
    for layer, block in enumerate(body.h):
        attention = block.attn
        parts = attention.c_attn(block.ln_1(stream)).view(-1, length, 3, HEADS, WIDTH // HEADS)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        pattern = (query @ key.mT / math.sqrt(WIDTH // HEADS) + future).softmax(-1)
        read = (pattern @ value).transpose(0, 1).reshape(HEADS, -1, WIDTH // HEADS)
        heads = read @ attention.c_proj.weight.view(HEADS, -1, WIDTH)
        heads = heads.view(HEADS, -1, length, WIDTH).transpose(0, 1)
        for name, instead, rows in replaced:
            if name.startswith(f"a{layer}."):
                heads = heads.clone()
                heads[rows, int(name.partition("h")[2])] = instead
        wrote |= {f"a{layer}.h{head}": heads[:, head] for head in range(HEADS)}
        stream = stream + heads.sum(1) + attention.c_proj.bias
        hidden = block.mlp(block.ln_2(stream))
        for name, instead, rows in replaced:
            if name == f"m{layer}":
                hidden = hidden.clone()
                hidden[rows] = instead
        wrote[f"m{layer}"] = hidden
        stream = stream + hidden
    return model.lm_head(body.ln_f(stream[:, -1])), wrote


@dataclass
class Alignment:
    """The training of one case.

    Attributes:
        case: the program.
        model: trained in place.
        seed: of inputs and of what is exchanged.
        epoch: how many are done.
        shares: of the last check.
    """

    case: Case
    model: GPT2LMHeadModel
    seed: int
    epoch: int = 0
    shares: dict[str, float] = field(default_factory=dict)

    @property
    def off_circuit(self) -> list[str]:
        """Nodes that keep no variable."""
        kept = set(self.case.nodes.values())
        names = [
            n for i in range(self.case.layers) for n in (*(f"a{i}.h{h}" for h in range(HEADS)), f"m{i}")
        ]
        return [name for name in names if name not in kept]

    def inputs(self, count: int, generator: torch.Generator) -> Tensor:
        """Drawn inputs, −1 at `BOS`."""
        drawn = torch.randint(0, self.case.size, (count, self.case.length), generator=generator)
        return torch.cat([torch.full((count, 1), -1), drawn], 1)

    def losses(self, base: Tensor, other: Tensor, choice: torch.Generator) -> Tensor:
        """The three losses of a batch, weighted."""
        case, n = self.case, len(base)
        logits, wrote = run(self.model, torch.cat([base, other]))
        (_, answers), (values, _) = case.run(base), case.run(other)
        name = _drawn(list(case.nodes), choice)
        _, expected = case.run(base, {name: values[name]})
        node, idle = case.nodes[name], _drawn(self.off_circuit, choice)
        both = [(node, wrote[node][n:], slice(n)), (idle, wrote[idle][n:], slice(n, None))]
        changed, _ = run(self.model, torch.cat([base, base]), both)
        return (
            BEHAVIOUR * cross_entropy(logits[:n], answers + 1)
            + INTERCHANGE * cross_entropy(changed[:n], expected + 1)
            + STRICTNESS * cross_entropy(changed[n:], answers + 1)
        )

    @torch.no_grad()
    def check(self) -> dict[str, float]:
        """Share of right answers: as it is, and with each node's output taken from another input."""
        generator = torch.Generator().manual_seed(10_000 + self.seed)
        base, other = self.inputs(_CHECKED, generator), self.inputs(_CHECKED, generator)
        logits, _ = run(self.model, base)
        _, wrote = run(self.model, other)
        (_, answers), (values, _) = self.case.run(base), self.case.run(other)
        shares = {"behaviour": _right(logits, answers)}
        for name, node in self.case.nodes.items():
            exchanged, _ = run(self.model, base, [(node, wrote[node], slice(None))])
            _, expected = self.case.run(base, {name: values[name]})
            shares[node] = _right(exchanged, expected)
        for idle in self.off_circuit:
            disturbed, _ = run(self.model, base, [(idle, wrote[idle], slice(None))])
            shares[idle] = _right(disturbed, answers)
        return shares

    def train(self, optimiser: torch.optim.Optimizer, go_on: Callable[[], bool]) -> bool:
        """Train until every share passes the gate; whether they do.

        Args:
            optimiser: of the model's parameters.
            go_on: asked before every epoch.
        """
        while self.epoch < EPOCHS and go_on():
            generator = torch.Generator().manual_seed(1000 * self.seed + self.epoch)
            base, other = self.inputs(SAMPLES, generator), self.inputs(SAMPLES, generator)
            for rows in torch.arange(SAMPLES).split(BATCH):
                optimiser.zero_grad()
                self.losses(base[rows], other[rows], generator).backward()
                optimiser.step()
            self.epoch += 1
            self.shares = self.check()
            if self.passes:
                return True
        return self.passes

    @property
    def passes(self) -> bool:
        """Whether every share of the last check passes the gate."""
        return bool(self.shares) and min(self.shares.values()) >= GATE


def _drawn(names: list[str], choice: torch.Generator) -> str:
    return names[int(torch.randint(0, len(names), (1,), generator=choice))]


def _right(logits: Tensor, answers: Tensor) -> float:
    return float((logits.argmax(1) == answers + 1).float().mean())
