"""Prompts as tokens with named places.

Everything is checked when the object is made, so that everything downstream may rely on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from interp import columns
from interp._doors import held
from interp.arguments import reader_of
from interp.columns import Index
from interp.models.tokens import continued, encode, find_name, following, token_span

if TYPE_CHECKING:
    from interp.models.model import Model


@held
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
        texts: Iterable[Any],
        *,
        subjects: Iterable[Any] | None = None,
        groups: Iterable[Any] | None = None,
        templates: Iterable[Any] | None = None,
        labels: Iterable[Any] | float | int | None = None,
        suffixes: Iterable[Sequence[int]] | None = None,
        add_special_tokens: bool = True,
    ) -> Examples:
        """Tokenise prompts with the model's tokenizer and locate each subject's tokens.

        Columns may be lists, arrays or columns of a data frame; their order counts, not their index.
        Tokens that the tokenizer would put behind a prompt, such as an end of sequence, are left out.

        Args:
            model: whose tokenizer and context length are used.
            texts: the prompts; a single text is one prompt.
            subjects: a name in each prompt (its last occurrence as words of its own is taken) or its
                half-open character range; becomes the span "subject".
            groups: the entity each is about; the prompts themselves by default.
            templates: the query form of each; "A" by default.
            labels: a number or a truth value for each.
            suffixes: token ids appended to each prompt after tokenisation.
            add_special_tokens: False for text that already carries them (a chat template).

        Raises:
            ValueError: if a prompt exceeds the context, or does not contain its subject; for a column
                of another length, or entries of another kind.
        """
        prompts = columns.texts("texts", texts)
        n, tokenizer, device = len(prompts), reader_of(model), model.device
        if not n:
            raise ValueError("no examples: expected at least one prompt, got none; check filters")
        extra = [()] * n if suffixes is None else columns.entries("suffixes", suffixes, n)
        ids = [
            [*encode(tokenizer, text, special=bool(add_special_tokens)), *columns.ids("suffixes", more)]
            for text, more in zip(prompts, extra, strict=True)
        ]
        _check_lengths(prompts, ids, model.context)
        tokens = torch.zeros(n, max(map(len, ids)), dtype=torch.long)
        for i, row in enumerate(ids):
            tokens[i, : len(row)] = torch.tensor(row)
        lengths = torch.tensor([len(row) for row in ids])
        spans = {
            "all": torch.stack([torch.zeros_like(lengths), lengths], 1),
            "last": torch.stack([lengths - 1, lengths], 1),
        }
        if subjects is not None:
            asked = [subjects] if isinstance(subjects, str) else subjects
            places = [
                token_span(model.tokenizer, text, _place(text, subject), special=add_special_tokens)
                for text, subject in zip(prompts, columns.entries("subjects", asked, n), strict=True)
            ]
            spans["subject"] = torch.tensor(places)
        return cls(
            tokens.to(device),
            (torch.arange(tokens.shape[1])[None] < lengths[:, None]).to(device),
            tuple(prompts),
            tuple(prompts) if groups is None else columns.names("groups", groups, n),
            {name: span.to(device) for name, span in spans.items()},
            ("A",) * n if templates is None else columns.names("templates", templates, n),
            None if labels is None else columns.numbers("labels", labels, n, device),
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
        name = str(name)
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
        if not isinstance(name, str) or name not in self.spans:
            raise ValueError(f"no span {name!r}; expected one of {sorted(self.spans)}")
        at = torch.arange(self.tokens.shape[1], device=self.tokens.device)[None]
        return (at >= self.spans[name][:, :1]) & (at < self.spans[name][:, 1:])

    def subset(self, index: Index) -> Examples:
        """These examples, in this order; columns are kept, so tensors made for all still fit.

        Args:
            index: row numbers, or a mask with one truth value per example.

        Raises:
            ValueError: for rows that do not exist, or a mask of another length.
        """
        chosen = columns.chosen_rows(index, len(self), self.tokens.device)
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


def _check_lengths(texts: Sequence[str], ids: Sequence[Sequence[int]], context: int | None) -> None:
    """Refuse prompts without tokens, and prompts longer than the model reads."""
    for i, (text, row) in enumerate(zip(texts, ids, strict=True)):
        if not row:
            raise ValueError(f"prompt {i} has no tokens: got {text!r}; give some text")
        if context is not None and len(row) > context:
            raise ValueError(
                f"prompt {i} has {len(row)} tokens, the model reads at most {context}; "
                f"shorten {text[:40]!r}…"
            )


def _place(text: str, subject: Any) -> tuple[int, int]:
    """The subject's character range: where its name stands, or as given."""
    if isinstance(subject, str):
        return find_name(text, subject)
    pair = list(subject) if isinstance(subject, Iterable) else []
    if len(pair) != 2:
        raise ValueError(
            f"a subject must be a name in its prompt or a character range (start, stop); "
            f"got {subject!r} for {text!r}; give one of these"
        )
    return int(pair[0]), int(pair[1])


def first_token(model: Model, text: str, *, prompt: str | None = None) -> int:
    """The first token id of a continuation in running text, without special tokens.

    Args:
        model: whose tokenizer is used.
        text: the continuation. Without a prompt it is taken as it stands, so that " Paris" begins
            with a space and "Paris" does not.
        prompt: what it follows; a space is put between the two where running text has one.

    Raises:
        ValueError: if the text has no tokens.
    """
    if prompt is None:
        ids = continued(model.tokenizer, text)
    else:
        ids = following(model.tokenizer, prompt, text)
    if not ids:
        raise ValueError(f"answer {text!r} has no tokens; expected some text")
    return ids[0]
