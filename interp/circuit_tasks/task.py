"""A task as one tokenizer asks it: what methods of `patching` take, and how well a model does it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from interp import columns
from interp._doors import checked
from interp.circuit_tasks.checking import Asked
from interp.circuit_tasks.items import TaskItem
from interp.columns import Index
from interp.contrasts import Contrast
from interp.display.html import Shown
from interp.examples import Examples
from interp.metrics.answers import logit_difference
from interp.metrics.base import Metric
from interp.metrics.sets import probability_difference

if TYPE_CHECKING:
    from interp.models.model import Model

_BATCH = 16  # prompts whose logits are in memory at once


@dataclass(frozen=True, eq=False)
class Task(Shown):
    """Prompts with counterfactuals of equal length, their answers, and what is measured.

    Attributes:
        name: of the task.
        items: what is asked, as text.
        contrast: clean and corrupted prompts aligned token by token, with one answer and one foil each.
        answers: every right first token of each clean prompt.
        foils: every token that they are compared with.
        dropped: why items were left out for this tokenizer -> how many.
    """

    name: str
    items: tuple[TaskItem, ...]
    contrast: Contrast
    answers: tuple[tuple[int, ...], ...]
    foils: tuple[tuple[int, ...], ...]
    dropped: Mapping[str, int]

    @classmethod
    @checked
    def of(cls, model: Model, name: str, asked: Sequence[Asked], dropped: Mapping[str, int]) -> Task:
        """A task of items that the model's tokenizer can ask.

        Args:
            model: whose tokenizer asks, and on whose device the tokens lie.
            name: of the task.
            asked: the items.
            dropped: why others were left out, and how many.
        """
        items = tuple(one.item for one in asked)
        sides = [
            Examples.from_text(
                model,
                texts,
                suffixes=[one.lead for one in asked],
                groups=[item.group or item.clean for item in items],
                templates=[item.template for item in items],
            )
            for texts in ([item.clean for item in items], [item.corrupted for item in items])
        ]
        first = torch.tensor([(one.answers[0], one.foils[0]) for one in asked], device=model.device)
        contrast = Contrast(sides[0], sides[1], first[:, 0], first[:, 1])
        answers, foils = tuple(one.answers for one in asked), tuple(one.foils for one in asked)
        return cls(name, items, contrast, answers, foils, dict(dropped))

    @property
    def metric(self) -> Metric:
        """logit(answer) − logit(foil); where there are several of either, Σ p(answers) − Σ p(foils)."""
        if all(len(ids) == 1 for ids in (*self.answers, *self.foils)):
            return logit_difference(self.contrast)
        return probability_difference(self.contrast.clean, self.answers, self.foils)

    @property
    def groups(self) -> tuple[str, ...]:
        """What each prompt is resampled with."""
        return self.contrast.clean.groups

    def __len__(self) -> int:
        """Number of prompts."""
        return len(self.items)

    def __repr__(self) -> str:
        """How many prompts of what length, and the first, on one line."""
        lengths = sorted(set(self.contrast.clean.lengths.tolist()))
        tokens = "–".join(dict.fromkeys(str(n) for n in (lengths[0], lengths[-1])))
        left = f"; {sum(self.dropped.values())} dropped" if self.dropped else ""
        first = f"{self.items[0].clean!r} -> {self.items[0].answers[0]!r}"
        return f"Task({self.name!r}: {len(self)} prompts of {tokens} tokens{left}; first {first})"

    def _rows_shown(self) -> tuple[Sequence[str], Iterable[Sequence[Any]], int]:
        rows = ((i.clean, i.corrupted, ", ".join(i.answers), ", ".join(i.foils)) for i in self.items)
        return ("clean", "corrupted", "answers", "foils"), rows, len(self)

    def subset(self, index: Index) -> Task:
        """These prompts, in this order.

        Args:
            index: row numbers, or a mask with one truth value per prompt.

        Raises:
            ValueError: for rows that do not exist, or a mask of another length.
        """
        rows = columns.chosen_rows(index, len(self)).tolist()
        return replace(
            self,
            items=tuple(self.items[i] for i in rows),
            contrast=self.contrast.subset(rows),
            answers=tuple(self.answers[i] for i in rows),
            foils=tuple(self.foils[i] for i in rows),
        )

    @torch.no_grad()
    def performance(self, model: Model) -> pd.DataFrame:
        """How well a model does the task, prompt by prompt.

        Args:
            model: which reads the prompts; its tokenizer is the one that the task was made for.

        Returns:
            One row per prompt: its `group`, the metric of its `clean` and its `corrupted` run, whether
            the clean run `prefers` the answer (metric above 0), and whether its first choice over the
            whole vocabulary `says` an answer.
        """
        metric, n = self.metric, len(self)
        values = {side: torch.empty(n) for side in ("clean", "corrupted")}
        says = torch.zeros(n, dtype=torch.bool)
        for side in values:
            examples: Examples = getattr(self.contrast, side)
            for rows in (part for alike in examples.by_length() for part in alike.split(_BATCH)):
                length = int(examples.lengths[rows[0]])
                logits = model.logits(examples.tokens[rows, :length])[:, -1]
                kept = logits if metric.tokens is None else logits[:, metric.tokens]
                values[side][rows.cpu()] = metric(kept, rows).float().cpu()
                if side == "clean":
                    for row, token in zip(rows.tolist(), logits.argmax(1).tolist(), strict=True):
                        says[row] = token in self.answers[row]
        return pd.DataFrame(
            {
                "group": self.groups,
                "clean": values["clean"].numpy(),
                "corrupted": values["corrupted"].numpy(),
                "prefers": (values["clean"] > 0).numpy(),
                "says": says.numpy(),
            }
        )
