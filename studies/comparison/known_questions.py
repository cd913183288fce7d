"""The questions about facts the base knows, each with the tokens the interventions need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from interp.contrasts import Contrast, aligned_pairs
from interp.examples import Examples
from interp.models.pair import ModelPair
from interp.models.tokens import common_start
from interp.verdict.outcomes import Outcomes
from studies.comparison.answers import PairAnswers
from studies.comparison.outcome_table import few_known


@dataclass(frozen=True, eq=False)
class KnownQuestions:
    """The known facts' questions with what the verdict needs of each, one row per group and form.

    The choosing form is left out wherever there is another: nothing is estimated on it.

    Where base and tuned share the first answer tokens, the estimating form is continued by what
    they share, so that the output contrast is read at the first token that differs.

    Attributes:
        examples: the prompts.
        answers: first answer token of each.
        estimating: rows of the form on which output effects are estimated.
        changed: rows of changed groups.
        plain: rows that end where the answer begins (not continued).
        plus: the base's token of the output contrast, chosen on the choosing form.
        minus: the tuned model's.
        target: the token that the tuned model says on the very form of the row.
        differs: rows on whose own form the first tokens differ, the tuned one being a token of both.
        sayable: rows whose two tokens both models have, appended vocabulary left out.
    """

    examples: Examples
    answers: Int[Tensor, " example"]
    estimating: Bool[Tensor, " example"]
    changed: Bool[Tensor, " example"]
    plain: Bool[Tensor, " example"]
    plus: Int[Tensor, " example"]
    minus: Int[Tensor, " example"]
    target: Int[Tensor, " example"]
    differs: Bool[Tensor, " example"]
    sayable: Bool[Tensor, " example"]

    def subset(self, rows: Int[Tensor, " chosen"]) -> KnownQuestions:
        """Some of the questions, in this order."""
        tensors = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "examples"}
        return KnownQuestions(self.examples.subset(rows), **tensors)

    @property
    def output_rows(self) -> Bool[Tensor, " example"]:
        """Where the output contrast is defined."""
        return self.estimating & self.changed & self.sayable

    @property
    def shifted_rows(self) -> Bool[Tensor, " example"]:
        """Changed groups that differ on the estimating form as well, at the first answer token.

        Only there does the tuned model always say its token and the base never. The push is averaged
        position by position, so continued questions stay out of it.
        """
        return self.output_rows & self.plain & self.differs

    @property
    def left_out(self) -> list[tuple[str, str]]:
        """Questions whose output contrast is undefined, each with the reason."""
        reason = "one model says a token that the other has no row for: no contrast of the two exists"
        rows = (self.estimating & self.changed & ~self.sayable).nonzero()[:, 0].tolist()
        return [(self.examples.texts[i], reason) for i in rows]


def known_questions(pair: ModelPair, answers: PairAnswers, outcomes: Outcomes) -> KnownQuestions:
    """Select the known facts' questions and pair each with its tokens.

    Args:
        pair: the models.
        answers: what was asked, and what both models answered.
        outcomes: the table of these answers, which tells the known and the changed groups.

    Returns:
        The questions, in the order asked.

    Raises:
        ValueError: if the base knows fewer than two of the facts.
    """
    queries, base, tuned = answers.queries, answers.base, answers.tuned
    known, changed = set(outcomes.known_groups), set(outcomes.changed_groups)
    if len(known) < 2:
        raise ValueError(few_known(pair.base, queries, base, 2, tuned))
    groups, forms = queries.examples.groups, queries.examples.templates
    choosing, estimating = outcomes.choosing_form, outcomes.estimating_form
    table = outcomes.table[outcomes.table["form"] == choosing].set_index("group")
    shared = {
        group: common_start([base.tokens[i], tuned.tokens[i]])
        for i, group in enumerate(groups)
        if group in changed and forms[i] == choosing
    }
    index = [
        i for i, g in enumerate(groups) if g in known and (outcomes.selected or forms[i] != choosing)
    ]
    suffixes = [shared.get(groups[i], ()) if forms[i] == estimating else () for i in index]
    examples = queries.rendered(pair.base, index, suffixes)
    device = queries.examples.tokens.device

    def chosen(column: str) -> Int[Tensor, " example"]:
        tokens = table[column].to_dict()
        return torch.tensor([int(tokens[g]) for g in examples.groups], device=device)

    spoken, target = (
        torch.tensor([model.tokens[i][0] for i in index], device=device) for model in (base, tuned)
    )
    plus, minus = chosen("base_token"), chosen("tuned_token")
    return KnownQuestions(
        examples,
        answers=chosen("answer_token"),
        estimating=torch.tensor([form == estimating for form in examples.templates], device=device),
        changed=torch.tensor([group in changed for group in examples.groups], device=device),
        plain=torch.tensor([not suffix for suffix in suffixes], device=device),
        plus=plus,
        minus=minus,
        target=target,
        differs=(target != spoken) & pair.sayable(target),
        sayable=pair.sayable(plus) & pair.sayable(minus),
    )


def base_pairs(
    questions: KnownQuestions,
    *,
    most: int,
    groups: Sequence[str] | None = None,
    apart: Mapping[str, int] | None = None,
) -> Contrast | None:
    """Aligned clean/corrupted pairs of known facts on the estimating form; None if none align.

    Args:
        questions: the known facts' questions.
        most: how many pairs at most.
        groups: only these; all when None.
        apart: group -> label; only pairs whose labels differ.

    Returns:
        The pairs, each example with as many partners as it takes to reach `most`.
    """
    rows = (questions.estimating & questions.plain).nonzero()[:, 0].tolist()
    if groups is not None:
        rows = [i for i in rows if questions.examples.groups[i] in set(groups)]
    if not rows:
        return None
    examples, answers = questions.examples.subset(rows), questions.answers[rows]
    clean, corrupted = _pairs(examples, answers, most, apart)
    if not clean:
        return None
    return Contrast(
        examples.subset(clean), examples.subset(corrupted), answers[clean], answers[corrupted]
    )


def _pairs(
    examples: Examples,
    answers: Int[Tensor, " example"],
    most: int,
    apart: Mapping[str, int] | None,
) -> tuple[list[int], list[int]]:
    """Each example with one partner, or with as many as it takes where there are few examples."""
    clean, corrupted = aligned_pairs(examples, answers, apart=apart)
    if len(clean) >= most:
        return clean[:most], corrupted[:most]
    for partners in range(2, len(examples)):
        before = len(clean)
        clean, corrupted = aligned_pairs(examples, answers, per_example=partners, apart=apart)
        if len(clean) >= most or len(clean) == before:
            break
    spread = torch.linspace(0, len(clean) - 1, min(most, len(clean))).round().long().tolist()
    return [clean[i] for i in spread], [corrupted[i] for i in spread]
