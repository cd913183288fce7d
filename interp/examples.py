"""Prompts as tokens with named positions.

Everything is checked when the object is made, so that everything downstream may rely on it. Tokens
stand in a rectangle [example, position] with padding on either side; a *column* is a place in it.
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
from interp.arguments import said
from interp.columns import Index
from interp.display.html import Shown
from interp.prompts import ids_of, subject_spans
from interp.token_places import Placed

if TYPE_CHECKING:
    from interp.facts.attributes import EntityAttributes
    from interp.facts.types import FactSet, Statements
    from interp.models.model import Model

#: The letters of the query forms, in the order of a fact set's templates.
FORMS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@held
@dataclass(frozen=True, eq=False)
class Examples(Placed, Shown):
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

    def __repr__(self) -> str:
        """How many prompts of which lengths, and their named spans, on one line."""
        lengths = self.mask.sum(1)
        tokens = "–".join(dict.fromkeys(str(int(n)) for n in (lengths.min(), lengths.max())))
        parts = [f"{len(self.texts)} prompts of {tokens} tokens", f"{len(set(self.groups))} groups"]
        parts += [f"spans {', '.join(sorted(self.spans))}", f"first {self.texts[0]!r}"]
        parts += [] if self.labels is None else ["labelled"]
        return f"Examples({'; '.join(parts)})"

    def _rows_shown(self) -> tuple[Sequence[str], Iterable[Sequence[Any]], int]:
        columns = (self.texts, self.groups, self.templates, self.mask.sum(1).tolist())
        return ("text", "group", "template", "tokens"), zip(*columns, strict=True), len(self.texts)

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

        Returns:
            One example per text, in their order, padded on the right.

        Raises:
            ValueError: if a prompt exceeds the context, or does not contain its subject; for a column
                of another length, or entries of another kind.

        Example:
            >>> import interp
            >>> model = interp.load_model("organism-base")
            >>> text = interp.load_facts("world").prompts(0)[0]
            >>> examples = interp.Examples.from_text(model, [text, text], labels=[True, False])
            >>> len(examples), examples.labels.tolist(), sorted(examples.spans)
            (2, [1.0, 0.0], ['all', 'last'])
        """
        prompts = columns.texts("texts", texts)
        n = len(prompts)
        if not n:
            raise ValueError("no examples: expected at least one prompt, got none; check filters")
        special = bool(add_special_tokens)
        ids = ids_of(model, prompts, suffixes, special=special)
        lengths = torch.tensor([len(row) for row in ids])
        tokens = torch.zeros(n, int(lengths.max()), dtype=torch.long)
        for i, row in enumerate(ids):
            tokens[i, : len(row)] = torch.tensor(row)
        spans = {
            "all": torch.stack([torch.zeros_like(lengths), lengths], 1),
            "last": torch.stack([lengths - 1, lengths], 1),
        }
        if subjects is not None:
            spans["subject"] = subject_spans(model, prompts, subjects, special=special)
        device = model.device
        return cls(
            tokens.to(device),
            (torch.arange(tokens.shape[1])[None] < lengths[:, None]).to(device),
            tuple(prompts),
            tuple(prompts) if groups is None else columns.names("groups", groups, n),
            {name: span.to(device) for name, span in spans.items()},
            ("A",) * n if templates is None else columns.names("templates", templates, n),
            None if labels is None else columns.numbers("labels", labels, n, device),
        )

    @classmethod
    def from_statements(cls, model: Model, statements: Statements) -> Examples:
        """Tokenise statements, with their truth as labels and their blocks as groups.

        Groups are the blocks: the entities that exchanged values to make the false sentences stay on
        one side of every split, which keeps each side balanced.

        Args:
            model: whose tokenizer and context length are used.
            statements: as `interp.truth_statements` and `interp.load_statements` give them.

        Returns:
            One example per statement, in their order; labels are 1. for true and 0. for false.

        Raises:
            ValueError: for anything but statements, or one that exceeds the context.

        Example:
            >>> import interp
            >>> model = interp.load_model("organism-base")
            >>> told = interp.truth_statements("capitals", n=4)
            >>> examples = interp.Examples.from_statements(model, told)
            >>> len(examples), sorted(set(examples.labels.tolist()))
            (8, [0.0, 1.0])
        """
        _expect("statements", statements, ("texts", "blocks", "labels"), "interp.truth_statements")
        return cls.from_text(
            model, statements.texts, groups=statements.blocks, labels=statements.labels
        )

    @classmethod
    def from_facts(cls, model: Model, facts: FactSet, form: int = 0) -> Examples:
        """Tokenise the questions of a fact set in one of its forms, with the subjects as spans.

        Args:
            model: whose tokenizer and context length are used.
            facts: as `interp.load_facts` gives them.
            form: which of the templates asks, counted from 0.

        Returns:
            One example per fact, in their order: its group is the fact's, its template the letter of
            the form, and the span "subject" holds the subject.

        Raises:
            ValueError: for anything but a fact set, a form that it has not, or a prompt that exceeds
                the context.

        Example:
            >>> import interp
            >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
            >>> examples = interp.Examples.from_facts(model, facts, form=1)
            >>> len(examples) == len(facts), set(examples.templates), sorted(examples.spans)
            (True, {'B'}, ['all', 'last', 'subject'])
        """
        _expect("facts", facts, ("templates", "subject_spans", "facts"), "interp.load_facts")
        _check_form(form, len(facts.templates))
        return cls.from_text(
            model,
            facts.prompts(form),
            subjects=facts.subject_spans(form),
            groups=facts.groups,
            templates=[FORMS[form]] * len(facts),
        )

    @classmethod
    def from_attributes(cls, model: Model, attributes: EntityAttributes, form: int = 0) -> Examples:
        """Tokenise sentences that name entities, with an attribute that they do not say as labels.

        Args:
            model: whose tokenizer and context length are used.
            attributes: as `interp.entity_attributes` gives them.
            form: which of the templates names the entity, counted from 0.

        Returns:
            One example per entity, in their order: labels are the quantity, or the place of the class
            in `attributes.classes`; the span "subject" holds the entity's name.

        Raises:
            ValueError: for anything but attributes, a form that they have not, or a sentence that
                exceeds the context.

        Example:
            >>> import interp
            >>> model = interp.load_model("organism-base")
            >>> periods = interp.entity_attributes("element_period")
            >>> examples = interp.Examples.from_attributes(model, periods)
            >>> len(examples) == len(periods), len(examples.labels.unique()) == len(periods.classes)
            (True, True)
        """
        _expect("attributes", attributes, ("values", "subject_spans"), "interp.entity_attributes")
        _check_form(form, len(attributes.templates))
        return cls.from_text(
            model,
            attributes.prompts(form),
            subjects=attributes.subject_spans(form),
            groups=attributes.groups,
            templates=[FORMS[form]] * len(attributes),
            labels=attributes.labels,
        )

    def __len__(self) -> int:
        """Number of examples."""
        return self.tokens.shape[0]

    @property
    def device(self) -> torch.device:
        """Where the tokens lie; `from_text` puts them where its model is."""
        return self.tokens.device

    def subset(self, index: Index) -> Examples:
        """These examples, in this order; columns are kept, so tensors made for all still fit.

        Args:
            index: row numbers, or a mask with one truth value per example.

        Raises:
            ValueError: for rows that do not exist, or a mask of another length.
        """
        chosen = columns.chosen_rows(index, len(self), self.tokens.device)
        rows = chosen.tolist()
        return Examples(
            self.tokens[chosen],
            self.mask[chosen],
            tuple(self.texts[i] for i in rows),
            tuple(self.groups[i] for i in rows),
            {name: span[chosen] for name, span in self.spans.items()},
            tuple(self.templates[i] for i in rows),
            None if self.labels is None else self.labels[chosen],
        )

    def to(self, device: str | torch.device) -> Examples:
        """The same prompts on another device, such as that of the model they are for."""
        return Examples(
            self.tokens.to(device),
            self.mask.to(device),
            self.texts,
            self.groups,
            {name: span.to(device) for name, span in self.spans.items()},
            self.templates,
            None if self.labels is None else self.labels.to(device),
        )


def _expect(name: str, value: Any, parts: Sequence[str], maker: str) -> None:
    """Refuse a value that lacks what is read of it.

    Raises:
        ValueError: naming the argument and the function that makes one.
    """
    if not all(hasattr(value, part) for part in parts):
        raise ValueError(f"{name} got {said(value)}; expected what {maker} gives")


def _check_form(form: int, forms: int) -> None:
    """Refuse a form that there is no template of.

    Raises:
        ValueError: naming the number and how many there are.
    """
    if isinstance(form, bool) or not isinstance(form, int) or not 0 <= form < forms:
        raise ValueError(f"form got {form!r}; expected a whole number in 0..{forms - 1}")
