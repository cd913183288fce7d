"""Prompts as tokens with named places: `Examples`, and aligned pairs of them: `Contrast`.

Alignment is checked when the objects are made, so that everything downstream may rely on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Int
from torch import Tensor

if TYPE_CHECKING:
    from interp.models import Model

Index = Sequence[int] | Int[Tensor, " chosen"]


@dataclass(frozen=True, eq=False)
class Examples:
    """Tokenised prompts with padding, named spans and groups.

    Attributes:
        tokens: ids, [example, position].
        mask: True where a token is real; padding may stand on either side.
        texts: the prompts as given.
        groups: the entity each prompt is about, never split between train and test.
        spans: name -> half-open [start, stop) per example, in padded coordinates; "all" and "last"
            always, "subject" where subjects were given.
        templates: the query form each prompt was rendered from.
        labels: one number per example, where a task has labels.

    Raises:
        ValueError: if the parts disagree in length, or a span leaves the real tokens.
    """

    tokens: Int[Tensor, "example position"]
    mask: Bool[Tensor, "example position"]
    texts: tuple[str, ...]
    groups: tuple[str, ...]
    spans: Mapping[str, Int[Tensor, "example 2"]]
    templates: tuple[str, ...]
    labels: Tensor | None = None

    def __post_init__(self) -> None:
        """Check that everything is per example and every span holds real tokens."""
        n = self.tokens.shape[0]
        if n == 0:
            raise ValueError("no examples: expected at least one prompt, got none; check filters")
        for name, part in (
            ("mask", self.mask),
            ("texts", self.texts),
            ("groups", self.groups),
            ("templates", self.templates),
            ("labels", self.labels),
        ):
            if part is not None and len(part) != n:
                raise ValueError(f"{name} must have one entry per example, {n}; got {len(part)}")
        for name, span in self.spans.items():
            start, stop = span[:, 0], span[:, 1]
            real = self.mask.cumsum(1)
            ends = torch.cat([torch.zeros_like(real[:, :1]), real], 1)
            inside = ends.gather(1, stop[:, None]) - ends.gather(1, start[:, None])
            if not bool(((stop > start) & (inside[:, 0] == stop - start)).all()):
                raise ValueError(
                    f"span {name!r} must hold at least one real token in every example; "
                    "check that the subject occurs in the prompt"
                )

    @classmethod
    def from_text(
        cls,
        model: Model,
        texts: Sequence[str],
        *,
        subjects: Sequence[str | tuple[int, int]] | None = None,
        groups: Sequence[str] | None = None,
        templates: Sequence[str] | None = None,
        labels: Sequence[float] | None = None,
        suffixes: Sequence[Sequence[int]] | None = None,
        add_special_tokens: bool = True,
    ) -> Examples:
        """Tokenise prompts with the model's tokenizer and locate each subject's tokens.

        Args:
            model: whose tokenizer and context length are used.
            texts: the prompts.
            subjects: a substring of each prompt (its last occurrence is taken) or its half-open
                character range; becomes the span "subject".
            groups: the entity each is about; the prompts themselves by default.
            templates: the query form of each; "A" by default.
            labels: a number for each.
            suffixes: token ids appended to each prompt after tokenisation.
            add_special_tokens: False for text that already carries them (a chat template).

        Raises:
            ValueError: if a prompt exceeds the context, or does not contain its subject.
        """
        if not texts:
            raise ValueError("no examples: expected at least one prompt, got none; check filters")
        for name, part in (("subjects", subjects), ("suffixes", suffixes)):
            if part is not None and len(part) != len(texts):
                raise ValueError(
                    f"{name} must have one entry per prompt, {len(texts)}; got {len(part)}"
                )
        rows, subject_spans = [], []
        for i, text in enumerate(texts):
            encoded = model.tokenizer(
                text,
                add_special_tokens=add_special_tokens,
                return_offsets_mapping=subjects is not None,
            )
            ids = list(encoded.input_ids) + list(suffixes[i] if suffixes else ())
            if not ids:
                raise ValueError(f"prompt {i} has no tokens: got {text!r}; give some text")
            if model.context is not None and len(ids) > model.context:
                raise ValueError(
                    f"prompt {i} has {len(ids)} tokens, the model reads at most {model.context}; "
                    f"shorten {text[:40]!r}…"
                )
            rows.append(ids)
            if subjects is not None:
                subject_spans.append(_subject_span(text, subjects[i], encoded.offset_mapping))
        width = max(map(len, rows))
        tokens = torch.zeros(len(rows), width, dtype=torch.long)
        for i, ids in enumerate(rows):
            tokens[i, : len(ids)] = torch.tensor(ids)
        lengths = torch.tensor([len(r) for r in rows])
        spans = {
            "all": torch.stack([torch.zeros_like(lengths), lengths], 1),
            "last": torch.stack([lengths - 1, lengths], 1),
        }
        if subjects is not None:
            spans["subject"] = torch.tensor(subject_spans)
        device = model.device
        return cls(
            tokens.to(device),
            (torch.arange(width)[None] < lengths[:, None]).to(device),
            tuple(texts),
            tuple(groups) if groups is not None else tuple(texts),
            {name: span.to(device) for name, span in spans.items()},
            tuple(templates) if templates is not None else ("A",) * len(rows),
            None if labels is None else torch.tensor(labels, device=device),
        )

    def __len__(self) -> int:
        """Number of examples."""
        return self.tokens.shape[0]

    @property
    def lengths(self) -> Int[Tensor, " example"]:
        """Number of real tokens of each example."""
        return self.mask.sum(1)

    def position(self, name: str) -> Int[Tensor, " example"]:
        """One position per example: "last", "subject_last" or "subject_first" of a span.

        Raises:
            ValueError: if no span bears the name.
        """
        if name == "last":
            return self.spans["last"][:, 0]
        span, _, end = name.rpartition("_")
        if span in self.spans and end in ("first", "last"):
            return self.spans[span][:, 0] if end == "first" else self.spans[span][:, 1] - 1
        raise ValueError(
            f"no position {name!r}; expected 'last' or one of "
            f"{[f'{s}_{e}' for s in self.spans for e in ('first', 'last') if s != 'last']}"
        )

    def span_mask(self, name: str) -> Bool[Tensor, "example position"]:
        """True at the positions of a named span.

        Raises:
            ValueError: if no span bears the name.
        """
        if name not in self.spans:
            raise ValueError(f"no span {name!r}; expected one of {sorted(self.spans)}")
        at = torch.arange(self.tokens.shape[1], device=self.tokens.device)[None]
        return (at >= self.spans[name][:, :1]) & (at < self.spans[name][:, 1:])

    def subset(self, index: Index) -> Examples:
        """These examples, in this order; columns are kept, so tensors made for all still fit."""
        chosen = torch.as_tensor(index, dtype=torch.long, device=self.tokens.device)
        where = chosen.tolist()
        return Examples(
            self.tokens[chosen],
            self.mask[chosen],
            tuple(self.texts[i] for i in where),
            tuple(self.groups[i] for i in where),
            {name: span[chosen] for name, span in self.spans.items()},
            tuple(self.templates[i] for i in where),
            None if self.labels is None else self.labels[chosen],
        )

    def by_length(self) -> list[Int[Tensor, " chosen"]]:
        """Indices of the examples, grouped so that each group needs no padding."""
        lengths = self.lengths
        return [(lengths == n).nonzero()[:, 0] for n in lengths.unique()]


@dataclass(frozen=True, eq=False)
class Contrast:
    """Clean and corrupted prompts aligned token by token, with answer and foil token ids.

    Raises:
        ValueError: if a pair differs in length or in the place of a shared span, or an answer
            equals its foil.
    """

    clean: Examples
    corrupted: Examples
    answers: Int[Tensor, " example"]
    foils: Int[Tensor, " example"]

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
        self._refuse(self.answers == self.foils, "share one token as answer and foil")

    def _refuse(self, bad: Bool[Tensor, " example"], why: str) -> None:
        if bool(bad.any()):
            i = int(bad.nonzero()[0, 0])
            raise ValueError(
                f"pair {i} cannot be contrasted: {self.clean.texts[i]!r} and "
                f"{self.corrupted.texts[i]!r} {why}; use pairs that align token by token, "
                "such as those of aligned_pairs"
            )

    @classmethod
    def from_text(
        cls,
        model: Model,
        clean: Sequence[str],
        corrupted: Sequence[str],
        answers: Sequence[str],
        foils: Sequence[str],
        *,
        clean_subjects: Sequence[str] | None = None,
        corrupted_subjects: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
    ) -> Contrast:
        """Pairs of prompts with the answer each clean prompt expects and a foil.

        Answers and foils are the strings that would follow the prompt, with their leading space;
        they are scored on their first differing token, which must be the first.

        Raises:
            ValueError: if a pair does not align or its answers begin with the same token.
        """
        entities = groups or clean
        device = model.device
        return cls(
            Examples.from_text(model, clean, subjects=clean_subjects, groups=entities),
            Examples.from_text(model, corrupted, subjects=corrupted_subjects, groups=entities),
            torch.tensor([first_token(model, a) for a in answers], device=device),
            torch.tensor([first_token(model, f) for f in foils], device=device),
        )

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.clean)

    def subset(self, index: Index) -> Contrast:
        """These pairs, in this order."""
        chosen = torch.as_tensor(index, dtype=torch.long, device=self.answers.device)
        return Contrast(
            self.clean.subset(chosen),
            self.corrupted.subset(chosen),
            self.answers[chosen],
            self.foils[chosen],
        )


def aligned_pairs(
    examples: Examples,
    answers: Int[Tensor, " example"],
    *,
    per_example: int = 1,
    apart: Mapping[str, int] | None = None,
) -> tuple[list[int], list[int]]:
    """Indices (clean, corrupted) of examples that align and have different groups and answers.

    Examples align when they share query form, token count and subject span. Within such a class
    each example is paired with the next `per_example` ones in the order given (cyclically), so that
    every entity is about as often clean as corrupted. Examples without a partner are left out.
    With `apart`, the label of the two groups must differ as well.
    """
    label = {g: g for g in examples.groups} if apart is None else apart
    classes: dict[tuple, list[int]] = {}
    subject = examples.spans.get("subject", examples.spans["all"])
    for i in range(len(examples)):
        key = (examples.templates[i], int(examples.lengths[i]), *subject[i].tolist())
        classes.setdefault(key, []).append(i)
    clean, corrupted = [], []
    for members in classes.values():
        for at, i in enumerate(members):
            ring = members[at + 1 :] + members[:at]
            partners = [
                j
                for j in ring
                if label[examples.groups[j]] != label[examples.groups[i]]
                and int(answers[j]) != int(answers[i])
            ][:per_example]
            clean += [i] * len(partners)
            corrupted += partners
    return clean, corrupted


def first_token(model: Model, text: str) -> int:
    """The first token id of a continuation, without special tokens.

    Raises:
        ValueError: if the text has no tokens.
    """
    ids = model.tokenizer(text, add_special_tokens=False).input_ids
    if not ids:
        raise ValueError(f"answer {text!r} has no tokens; expected some text")
    return ids[0]


def group_split(
    groups: Sequence[str], *, share: float = 0.5, seed: int = 0
) -> tuple[list[int], list[int]]:
    """Indices of a train and a test part that share no group.

    Raises:
        ValueError: if either part would be empty.
    """
    unique = sorted(set(groups))
    order = torch.randperm(len(unique), generator=torch.Generator().manual_seed(seed)).tolist()
    cut = round(share * len(unique))
    if not 0 < cut < len(unique):
        raise ValueError(
            f"a split of {share:.0%} leaves one part of {len(unique)} groups empty; "
            "give more groups or another share"
        )
    train = {unique[i] for i in order[:cut]}
    first = [i for i, g in enumerate(groups) if g in train]
    return first, [i for i, g in enumerate(groups) if g not in train]


def _subject_span(
    text: str, subject: str | tuple[int, int], offsets: Sequence[tuple[int, int]]
) -> tuple[int, int]:
    if isinstance(subject, str):
        start = text.rfind(subject)
        if start < 0 or not subject:
            raise ValueError(
                f"prompt {text!r} does not contain its subject {subject!r}; "
                "the template needs {subject} and the subject some text"
            )
        stop = start + len(subject)
    else:
        start, stop = subject
    inside = [i for i, (a, b) in enumerate(offsets) if a < stop and b > start and b > a]
    if not inside:
        raise ValueError(
            f"the subject at characters {start}..{stop} of {text!r} holds no token; "
            "give the range of a word"
        )
    return inside[0], inside[-1] + 1
