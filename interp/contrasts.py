"""Pairs of prompts aligned token by token, and how to choose them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from interp import columns
from interp._doors import checked, held
from interp.arguments import frames_inside, reader_of
from interp.columns import Index
from interp.display.html import Shown
from interp.evidence.pairs import pair_name as pair_name, split_pair as split_pair
from interp.examples import Examples
from interp.models.tokens import common_start, following, require_answer

if TYPE_CHECKING:
    from interp.models.model import Model


@held
@dataclass(frozen=True, eq=False)
class Contrast(Shown):
    """Clean and corrupted prompts aligned token by token, with answer and foil token ids.

    Attributes:
        clean: the prompts whose answers are expected.
        corrupted: the prompts they are contrasted with, equally long, spans at the same positions.
        answers: the token id that each clean prompt expects.
        foils: the token id that it is compared with.

    Raises:
        ValueError: if a pair differs in length or in the place of a shared span, or an answer
            equals its foil.
    """

    clean: Examples
    corrupted: Examples
    answers: Int[Tensor, " example"]
    foils: Int[Tensor, " example"]

    def __repr__(self) -> str:
        """How many pairs, and the first of them, on one line."""
        first = f"{self.clean.texts[0]!r} against {self.corrupted.texts[0]!r}"
        return f"Contrast({len(self)} pairs of {self.clean.tokens.shape[1]} tokens; first {first})"

    def _rows_shown(self) -> tuple[Sequence[str], Iterable[Sequence[Any]], int]:
        texts = zip(self.clean.texts, self.corrupted.texts, strict=True)
        return ("clean", "corrupted"), texts, len(self)

    def __post_init__(self) -> None:
        """Check the alignment."""
        n = len(self.clean)
        for name, part in (
            ("corrupted", self.corrupted),
            ("answers", self.answers),
            ("foils", self.foils),
        ):
            if len(part) != n:
                raise ValueError(f"{name} must have one entry per clean prompt, {n}; got {len(part)}")
        self._refuse(self.clean.lengths != self.corrupted.lengths, "have different token counts")
        for name in self.clean.spans.keys() & self.corrupted.spans.keys():
            moved = (self.clean.spans[name] != self.corrupted.spans[name]).any(1)
            self._refuse(moved, f"have their {name!r} at different positions")
        self._refuse(
            self.answers == self.foils,
            "have equal answers (answer and foil are one token)",
            "give two answers that differ",
        )

    def _refuse(
        self,
        bad: Bool[Tensor, " example"],
        why: str,
        advice: str = "use pairs that align token by token, such as those of aligned_pairs",
    ) -> None:
        if bool(bad.any()):
            i = int(bad.nonzero()[0, 0])
            raise ValueError(
                f"pair {i} cannot be contrasted: {self.clean.texts[i]!r} and "
                f"{self.corrupted.texts[i]!r} {why}; {advice}"
            )

    @classmethod
    def from_text(
        cls,
        model: Model,
        clean: Iterable[Any],
        corrupted: Iterable[Any],
        answers: Iterable[Any],
        foils: Iterable[Any],
        *,
        clean_subjects: Iterable[Any] | None = None,
        corrupted_subjects: Iterable[Any] | None = None,
        groups: Iterable[Any] | None = None,
        clean_groups: Iterable[Any] | None = None,
        corrupted_groups: Iterable[Any] | None = None,
    ) -> Contrast:
        """Pairs of prompts with the answer each clean prompt expects and a foil.

        Answers and foils are tokenised as they follow the clean prompt in running text, and scored on
        the first token in which the two differ: what both begin with is appended to both prompts.

        Args:
            model: whose tokenizer and context length are used.
            clean: the prompts; a single text is one prompt.
            corrupted: the prompts they are contrasted with, equally long in tokens.
            answers: what each clean prompt expects, with or without its leading space.
            foils: what it is compared with, likewise.
            clean_subjects: a name in each clean prompt, or its character range.
            corrupted_subjects: the same of the corrupted prompts.
            groups: the entity each pair is about, for both sides.
            clean_groups: the entity of each clean prompt; by default `groups`, or the prompts.
            corrupted_groups: the same of the corrupted prompts.

        Returns:
            The pairs, in the order given.

        Raises:
            ValueError: if a pair does not align or its answers have the same tokens.

        Warns:
            UserWarning: if the prompts of a pair have fewer than half of their tokens in common,
                position by position: what is written at a position then stands for something else
                there. Pairs whose subjects are given align at them, and are not warned of.

        Example:
            >>> import interp
            >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
            >>> prompts, answers = facts.prompts(0), facts.answers
            >>> other = next(i for i, answer in enumerate(answers) if answer != answers[0])
            >>> pair = interp.Contrast.from_text(
            ...     model, prompts[0], prompts[other], answers[0], answers[other]
            ... )
            >>> len(pair)
            1
        """
        prompts = columns.texts("clean", clean)
        n = len(prompts)
        if not n:
            raise ValueError("no pairs: expected at least one clean prompt, got none; check filters")
        wanted = _answers(model, prompts, "answers", answers)
        unwanted = _answers(model, prompts, "foils", foils)
        equal = next((i for i, ids in enumerate(wanted) if ids == unwanted[i]), None)
        if equal is not None:
            said = model.tokenizer.decode(list(wanted[equal])).strip()
            raise ValueError(
                f"answers and foils of pair {equal} are equal, {said!r}, behind {prompts[equal]!r}; "
                "expected two answers that differ: give as foil what the corrupted prompt expects"
            )
        leads, heads = [], []
        for pair in zip(wanted, unwanted, strict=True):
            lead = common_start(pair)
            # An answer that ends where the other goes on has no token of its own to compare.
            ended = len(lead) == min(map(len, pair))
            leads.append(() if ended else lead)
            heads.append([ids[len(leads[-1])] for ids in pair])
        tokens = torch.tensor(heads, device=model.device).reshape(-1, 2)
        made = cls(
            Examples.from_text(
                model, prompts, subjects=clean_subjects, suffixes=leads,
                groups=groups if clean_groups is None else clean_groups,
            ),
            Examples.from_text(
                model, columns.texts("corrupted", corrupted, n), subjects=corrupted_subjects,
                suffixes=leads, groups=groups if corrupted_groups is None else corrupted_groups,
            ),
            tokens[:, 0],
            tokens[:, 1],
        )  # fmt: skip
        made._warn_of_strangers()
        return made

    def _warn_of_strangers(self) -> None:
        """Say which pair shares hardly a token, unless subjects say where the two align."""
        if "subject" in self.clean.spans and "subject" in self.corrupted.spans:
            return
        mask = self.clean.mask
        shared = ((self.clean.tokens == self.corrupted.tokens) & mask).sum(1)
        strange = (2 * shared < mask.sum(1)).nonzero()[:, 0].tolist()
        if strange:
            i = strange[0]
            warnings.warn(
                f"{len(strange)} of {len(self)} pairs share fewer than half of their tokens, position "
                f"by position; pair {i}, {self.clean.texts[i][:60]!r} and "
                f"{self.corrupted.texts[i][:60]!r}, shares {int(shared[i])} of {int(mask[i].sum())}: "
                "give prompts of one wording, or clean_subjects and corrupted_subjects that align",
                stacklevel=frames_inside(),
            )

    @classmethod
    @checked
    def pairs(
        cls,
        examples: Examples,
        answers: Int[Tensor, " example"] | Sequence[int],
        *,
        per_example: int = 1,
        apart: Mapping[str, int] | None = None,
    ) -> Contrast:
        """Pair examples that align and differ in group and answer; each is the other's foil.

        Args:
            examples: the prompts.
            answers: the token id of each one's answer, such as `interp.first_token` gives.
            per_example: with how many others each example is paired, as `aligned_pairs` does.
            apart: a label of each group; the two of a pair differ in it as well.

        Returns:
            The pairs: `answers` are those of the clean prompts, `foils` those of the corrupted ones.

        Raises:
            ValueError: if no two examples align, or `answers` have another length.

        Example:
            >>> import interp
            >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
            >>> examples = interp.Examples.from_facts(model, facts)
            >>> answers = [interp.first_token(model, a, prompt=p)
            ...            for a, p in zip(facts.answers, examples.texts)]
            >>> pairs = interp.Contrast.pairs(examples, answers)
            >>> bool((pairs.clean.lengths == pairs.corrupted.lengths).all())
            True
            >>> any(a == b for a, b in zip(pairs.clean.groups, pairs.corrupted.groups))
            False
        """
        tokens = columns.ids("answers", columns.entries("answers", answers, len(examples)))
        ids = torch.tensor(tokens, device=examples.tokens.device)
        clean, corrupted = aligned_pairs(examples, ids, per_example=per_example, apart=apart)
        if not clean:
            raise ValueError(
                f"no two of {len(examples)} examples can be paired; expected some that share form, "
                "token count and place of the subject and differ in group and answer: give more "
                "examples, or pairs of your own by Contrast.from_text"
            )
        return cls(examples.subset(clean), examples.subset(corrupted), ids[clean], ids[corrupted])

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.clean)

    @property
    def device(self) -> torch.device:
        """Where the tokens lie; `pairs` leaves them where its examples are."""
        return self.corrupted.device

    def to(self, device: str | torch.device) -> Contrast:
        """The same pairs on another device, such as that of the model they are for."""
        clean, corrupted = self.clean.to(device), self.corrupted.to(device)
        return Contrast(clean, corrupted, self.answers.to(device), self.foils.to(device))

    def subset(self, index: Index) -> Contrast:
        """These pairs, in this order.

        Args:
            index: row numbers, or a mask with one truth value per pair.

        Raises:
            ValueError: for rows that do not exist, or a mask of another length.
        """
        chosen = columns.chosen_rows(index, len(self), self.answers.device)
        return Contrast(
            self.clean.subset(chosen),
            self.corrupted.subset(chosen),
            self.answers[chosen],
            self.foils[chosen],
        )


def _answers(
    model: Model, prompts: Sequence[str], name: str, texts: Iterable[Any]
) -> list[tuple[int, ...]]:
    """The ids of each answer behind its prompt."""
    answers = []
    for prompt, answer in zip(prompts, columns.texts(name, texts, len(prompts)), strict=True):
        ids = following(reader_of(model), prompt, answer)
        require_answer(reader_of(model), answer, ids)
        answers.append(ids)
    return answers


def aligned_pairs(
    examples: Examples,
    answers: Int[Tensor, " example"],
    *,
    per_example: int = 1,
    apart: Mapping[str, int] | None = None,
) -> tuple[list[int], list[int]]:
    """Choose pairs of examples that align and have different groups and answers.

    Examples align when they share query form, token count and subject span. Within such a class
    each example is paired with the next `per_example` ones in the order given (cyclically), so that
    every entity is about as often clean as corrupted.

    Args:
        examples: the prompts.
        answers: the token id of each one's answer.
        per_example: with how many others each example is paired.
        apart: a label of each group; the two of a pair differ in it as well.

    Returns:
        (clean, corrupted): row numbers of the examples, pair by pair; examples without a partner are
        left out.

    Example:
        >>> import interp, torch
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> examples = interp.Examples.from_facts(model, facts).subset(range(8))
        >>> clean, corrupted = interp.aligned_pairs(examples, torch.arange(8))
        >>> len(clean) == len(corrupted), any(i == j for i, j in zip(clean, corrupted))
        (True, False)
    """
    label = {group: group for group in examples.groups} if apart is None else apart
    classes: dict[tuple, list[int]] = {}
    subject = examples.spans.get("subject", examples.spans["all"])
    for i in range(len(examples)):
        key = (examples.templates[i], int(examples.lengths[i]), *subject[i].tolist())
        classes.setdefault(key, []).append(i)
    clean, corrupted = [], []
    for members in classes.values():
        for turn, i in enumerate(members):
            partners = [
                j
                for j in members[turn + 1 :] + members[:turn]
                if label[examples.groups[j]] != label[examples.groups[i]]
                and int(answers[j]) != int(answers[i])
            ][:per_example]
            clean += [i] * len(partners)
            corrupted += partners
    return clean, corrupted
