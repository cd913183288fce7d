"""The logit lens: what the final norm and the unembedding make of every boundary's state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.activations import Activations, collect
from interp.arguments import at_least_one
from interp.display.html import Shown
from interp.evidence import Evidence
from interp.examples import Examples
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.models.tokens import following
from interp.progress import tracked
from interp.sites import boundaries

#: Rows that are read out at once: their logits are [row, vocabulary].
ROWS_AT_ONCE = 64


@dataclass(frozen=True, eq=False, repr=False)
class LogitLens(Shown):
    """What a model's unembedding reads at every boundary.

    Attributes:
        table: a row for each token shown, with columns model, example, group, boundary, position (the
            token's column), at (the token that stands there), rank (1 is the likeliest), token, id,
            probability, log_prob and answer (whether it is the given answer's first token).
        texts: the prompts.
        n_layers: number of blocks; boundary n_layers is the model's own output.
    """

    table: pd.DataFrame
    texts: tuple[str, ...]
    n_layers: int

    def __repr__(self) -> str:
        """What was read, on one line."""
        models = ", ".join(map(str, self.table["model"].unique()))
        return (
            f"LogitLens({len(self.texts)} prompts; boundaries 0–{self.n_layers} of {models}; "
            f"{len(self.table):,} rows)"
        )

    def _rows_shown(self) -> tuple[Sequence[str], Iterable[Sequence[Any]], int]:
        likeliest = self.grid(example=0)
        rows = likeliest.reset_index().to_numpy().tolist()
        return [str(name) for name in likeliest.reset_index().columns], rows[::-1], len(rows)

    def __str__(self) -> str:
        """The likeliest token at each boundary of the first prompt, the output on top."""
        return f"{self.texts[0]}\n{self.grid(example=0)[::-1].to_string()}"

    def grid(self, *, example: int = 0, column: str = "token") -> pd.DataFrame:
        """Likeliest token of one prompt: boundaries down; models and positions across.

        Args:
            example: number of the prompt.
            column: what a cell shows: token, probability or log_prob.

        Raises:
            ValueError: for a prompt that was not read.
        """
        rows = self.table[(self.table["rank"] == 1) & (self.table["example"] == example)]
        if not len(rows):
            raise ValueError(
                f"example got {example}; expected one of 0..{len(self.texts) - 1}, the prompts"
            )
        rows = rows.drop_duplicates(["model", "boundary", "position"])
        place = rows["position"].astype(str) + " " + rows["at"]
        order = rows.assign(place=place).sort_values(["model", "position"], kind="stable")
        columns = order[["model", "place"]].drop_duplicates()
        table = order.pivot(index="boundary", columns=["model", "place"], values=column)
        return table.reindex(columns=pd.MultiIndex.from_frame(columns))

    @property
    def evidence(self) -> Evidence:
        """Rows of method ``logit_lens``: log_prob (nats) and rank of the answers, by boundary.

        Raises:
            ValueError: if no answers were given.
        """
        rows = self.table[self.table["answer"]]
        if not len(rows):
            raise ValueError(
                "a lens has evidence of answers, got none; expected logit_lens(…, answers=[…])"
            )
        return Evidence.concat(
            Evidence.build(
                rows[column].to_numpy(float),
                method="logit_lens",
                metric=column,
                unit=unit,
                model=rows["model"].to_numpy(),
                kind="resid_pre",
                layer=rows["boundary"].to_numpy(),
                position=rows["position"].to_numpy(),
                example=rows["example"].to_numpy(),
                group=rows["group"].to_numpy(),
            )
            for column, unit in (("log_prob", "nats"), ("rank", "rank"))
        )


def logit_lens(
    model: Model | ModelPair,
    prompts: Examples | str | Sequence[str],
    *,
    answers: str | Sequence[str] | None = None,
    positions: str | int = "last",
    top: int = 5,
    batch_size: int = 64,
) -> LogitLens:
    """Read every boundary of the residual stream with the model's own final norm and unembedding.

    logits_k = softcap(W_U · norm(h_k) + b_U): what the model would say if the blocks above boundary k
    did nothing. At the last boundary these are the model's own logits.

    Args:
        model: one model, or a pair, whose two stand beside each other.
        prompts: texts, or examples.
        answers: one for each prompt, or one for all, as they follow it in running text; their first
            token gets a row of its own wherever it is not among the likeliest.
        positions: which tokens are read, as `collect` takes them: "last", "each", a named span, or a
            number that counts each prompt's tokens.
        top: how many of the likeliest tokens are kept.
        batch_size: prompts per forward.

    Returns:
        A table with a row for each model, prompt, position, boundary and token; printed, it shows the
        likeliest tokens, and `figures.logit_lens` draws it.

    Raises:
        ValueError: for answers of another number than the prompts, or without a token; for positions
            that a prompt has not got.

    Source:
        nostalgebraist (2020); what such a lens misses, 2303.08112.

    Note:
        A token that a boundary's state does not show may still be carried there: blocks above can read
        what the unembedding cannot.

    Example:
        >>> import interp
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> lens = interp.logit_lens(model, facts.prompts(0)[:2], answers=facts.answers[:2], top=1)
        >>> last = lens.table[lens.table["boundary"] == model.n_layers]
        >>> last["rank"].tolist(), last["answer"].tolist()
        ([1, 1], [True, True])
    """
    models = (model.base, model.tuned) if isinstance(model, ModelPair) else (model,)
    listed = [prompts] if isinstance(prompts, str) else prompts
    examples = listed if isinstance(listed, Examples) else Examples.from_text(models[0], list(listed))
    wanted = _answer_tokens(models[0], examples, answers)
    if positions == "all":
        positions = "each"
    kept = min(at_least_one("top", top), models[0].vocabulary)
    tables = []
    for one in models:
        states = collect(
            one, examples, boundaries(one.n_layers), positions=positions, batch_size=batch_size
        )
        for boundary, read in enumerate(tracked(list(states.values()), "logit lens", "boundaries")):
            whole = _with_index(read, examples, positions)
            tables += [part.assign(boundary=boundary) for part in _read(one, whole, wanted, kept)]
    table = pd.concat(tables, ignore_index=True)
    places = zip(table["example"], table["position"], strict=True)
    table["at"] = [int(examples.tokens[i, column]) for i, column in places]
    decode = {i: models[0].tokenizer.decode([i]) for i in {*table["id"], *table["at"]}}
    table["token"], table["at"] = table["id"].map(decode), table["at"].map(decode)
    table["group"] = [examples.groups[i] for i in table["example"]]
    columns = ["model", "example", "group", "boundary", "position", "at", "rank", "token", "id"]
    table = table[[*columns, "probability", "log_prob", "answer"]]
    return LogitLens(table, examples.texts, models[0].n_layers)


def _answer_tokens(
    model: Model, examples: Examples, answers: str | Sequence[str] | None
) -> list[int] | None:
    """The first token of each prompt's answer; None where none are given."""
    if answers is None:
        return None
    several = [answers] * len(examples) if isinstance(answers, str) else list(answers)
    if len(several) != len(examples):
        raise ValueError(
            f"answers got {len(several)}; expected one for each of {len(examples)} prompts, or one text"
        )
    tokens = []
    for text, answer in zip(examples.texts, several, strict=True):
        ids = following(model.tokenizer, text, str(answer))
        if not ids:
            raise ValueError(f"answers got {answer!r}, which has no tokens; expected a word")
        tokens.append(int(ids[0]))
    return tokens


def _with_index(read: Activations, examples: Examples, positions: str | int) -> Activations:
    """The activations with the example and column of every row."""
    if read.example_index is not None:
        return read
    every = torch.arange(len(examples))
    return replace(read, example_index=every, token_index=examples.columns_at(positions).cpu())


def _read(
    model: Model, states: Activations, answers: Sequence[int] | None, top: int
) -> Iterator[pd.DataFrame]:
    """The likeliest tokens of each row of states, and the answers', a few rows at a time."""
    assert states.example_index is not None and states.token_index is not None
    example, position = states.example_index.cpu(), states.token_index.cpu()
    for rows in torch.arange(len(states)).split(ROWS_AT_ONCE):
        log_p = log_probabilities(model, states.values[rows.to(states.values.device)])
        best, ids = log_p.topk(top, dim=1)
        ranks = torch.arange(1, top + 1).expand(len(rows), -1)
        row = rows[:, None].expand(-1, top)
        own = None if answers is None else torch.tensor([answers[i] for i in example[rows].tolist()])
        if own is not None:  # ties are ranked by id, as topk's own order is not declared
            theirs = log_p.gather(1, own[:, None])
            rank = 1 + (log_p > theirs).sum(1, keepdim=True)
            best, ids = torch.cat([best, theirs], 1), torch.cat([ids, own[:, None]], 1)
            ranks, row = torch.cat([ranks, rank], 1), torch.cat([row, rows[:, None]], 1)
        flat = row.flatten()
        table = pd.DataFrame(
            {
                "model": model.role, "example": example[flat].tolist(),
                "position": position[flat].tolist(), "rank": ranks.flatten().tolist(),
                "id": ids.flatten().tolist(), "probability": best.exp().flatten().tolist(),
                "log_prob": best.flatten().tolist(),
            }
        )  # fmt: skip
        table["answer"] = (
            False if own is None else own[flat - rows[0]].numpy() == table["id"].to_numpy()
        )
        yield table.drop_duplicates(["example", "position", "id"])


@torch.no_grad()
def log_probabilities(
    model: Model, states: Float[Tensor, "row d_model"]
) -> Float[Tensor, "row vocabulary"]:
    """Log p of every token as the model's final norm and unembedding read it from the states.

    Args:
        model: whose final norm, unembedding and soft-cap are used.
        states: rows of the residual stream.

    Returns:
        On the CPU, in single precision or better.
    """
    scores = model.readout(states).to(model.metric_dtype)
    return scores.log_softmax(1).cpu()
