"""The outcomes table: what both models said to every question, and which facts the base knows."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pandas as pd

from interp.evidence import Evidence
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.models.tokens import common_start
from interp.verdict.outcomes import Outcomes
from studies.comparison.answers import Answers, PairAnswers, right_prompts
from studies.comparison.questions import FORMS, Queries


def outcomes_of(pair: ModelPair, answers: PairAnswers) -> Outcomes:
    """The table of what was answered, with the facts that were never tuned marked.

    Those are the facts declared so, and the facts of another relation that a reference adds.
    Facts that the base answers on some forms only, or begins to answer, are listed with what it says.
    The output contrast of changed facts is not known yet, see `with_output_contrast`.

    Args:
        pair: the models, whose tokenizers write out what each said.
        answers: what was asked, and what both models answered.

    Returns:
        One row per fact and form.

    Raises:
        ValueError: if the tuned model leaves known answers within what all answers begin with, where
            no contrast between answers can be read.
    """
    _require_leads(pair, answers)
    tables = [_table(pair, answers)]
    if answers.reference is not None:
        other = _table(pair, answers.reference)
        other["untuned"] = True
        relation = answers.reference.queries.facts.name
        other["group"] = [f"{g} ({relation})" for g in other["group"]]
        tables.append(other)
    base, tuned, queries = answers.base, answers.tuned, answers.queries
    excluded = [*queries.excluded, *_half_known(pair.base, queries, base)]
    identical = base.digest == tuned.digest and base.logp == tuned.logp
    return Outcomes(pd.concat(tables, ignore_index=True), excluded, identical)


def with_output_contrast(outcomes: Outcomes, causal: Evidence) -> Outcomes:
    """The outcomes with each changed fact's output contrast, read from the stitch baselines.

    Args:
        outcomes: what was said.
        causal: holds method ``stitch``, condition ``baseline``, metric ``output`` of both models.

    Returns:
        The same table with `metric_base` and `metric_tuned` in logits, NaN where not changed.
    """
    rows = causal.where(method="stitch", condition="baseline", metric="output")
    table = outcomes.table.copy()
    keys = list(zip(table["group"], table["form"], strict=True))
    for role in ("base", "tuned"):
        baseline = rows[rows["model"] == role]
        places = zip(baseline["group"], baseline["template"], strict=True)
        values = dict(zip(places, baseline["value"], strict=True))
        table[f"metric_{role}"] = [values.get(key, float("nan")) for key in keys]
    return replace(outcomes, table=table)


def few_known(
    model: Model, queries: Queries, answers: Answers, least: int, tuned: Answers | None = None
) -> str:
    """One line for a base that knows too few facts: how many per template, and what it says instead.

    Args:
        model: the base.
        queries: what was asked.
        answers: what it answered.
        least: how many known facts are needed.
        tuned: what the tuned model answered; where it knows clearly more, the two may be swapped.

    Returns:
        The message of an error.
    """
    right, parts = right_prompts(queries, answers.tokens, answers.leads), []
    declared = {fact.group for fact in queries.facts.facts if fact.untuned}
    known, beside = len(answers.known - declared), len(answers.known & declared)
    more = f" ({beside} more {'is' if beside == 1 else 'are'} declared untuned)" if beside else ""
    for form in sorted(set(queries.examples.templates)):
        prompts = [i for i, t in enumerate(queries.examples.templates) if t == form]
        wrong = [i for i in prompts if not right[i]]
        words = Counter(answer_text(model, queries, answers, i) for i in wrong).most_common(3)
        instead = ", ".join(f"“{word}” ({count})" for word, count in words)
        template = queries.facts.templates[FORMS.index(form)]
        parts.append(
            f"{template!r} gets {len(prompts) - len(wrong)} of {len(prompts)}"
            + (f", and otherwise mostly {instead}" if wrong else "")
        )
    theirs = 0 if tuned is None else len(tuned.known - declared)
    advice = "give templates right behind which the answer comes, or facts it knows"
    if theirs >= max(least, 2 * known):
        asked = len(set(queries.examples.groups) - declared)
        swapped = f"the tuned model gives {theirs} of {asked}: are --base and --tuned swapped?"
        advice = f"{swapped} If not, {advice}"
    return (
        f"the base gives the right answer first for {known} of the facts of "
        f"{queries.facts.name!r} on every form{more}; at least {least} are needed (12 for a verdict): "
        f"{'; '.join(parts)}; {advice}"
    )


def answer_text(model: Model, queries: Queries, answers: Answers, i: int) -> str:
    """What a model answered to prompt i, lead included, in its own tokenizer's letters."""
    tokens = answers.leads[i]
    if tokens == queries.leads[i]:
        tokens = (*tokens, *answers.tokens[i])
    return model.tokenizer.decode(list(tokens)).strip()


def _require_leads(pair: ModelPair, answers: PairAnswers) -> None:
    """Refuse known facts whose lead the tuned model leaves."""
    queries, base, tuned = answers.queries, answers.base, answers.tuned
    known = [i for i, g in enumerate(queries.examples.groups) if g in base.known]
    left = [i for i in known if tuned.leads[i] != queries.leads[i]]
    if left:
        i = left[0]
        groups = {queries.examples.groups[j] for j in left}
        lead = pair.base.tokenizer.decode(list(queries.leads[i]))
        raise ValueError(
            f"{pair.tuned.name} leaves {len(groups)} of the {len(base.known)} known answers of "
            f"{queries.facts.name!r} within {lead!r}, with which every answer begins (it says "
            f"“{answer_text(pair.tuned, queries, tuned, i)}”), so that no contrast between answers can "
            "be read there; give answers that differ from their first token on, such as words"
        )


def _table(pair: ModelPair, answers: PairAnswers) -> pd.DataFrame:
    """One row per prompt, its output contrast still unknown."""
    queries, base, tuned = answers.queries, answers.base, answers.tuned
    groups, first = queries.examples.groups, queries.first.tolist()
    rows = []
    for i, (base_tokens, tuned_tokens) in enumerate(zip(base.tokens, tuned.tokens, strict=True)):
        # Of facts that are not continued the shorter answer ends where it leaves the other.
        same = len(common_start([base_tokens, tuned_tokens]))
        differs = same < len(base_tokens) or base.leads[i] != tuned.leads[i]
        place = min(same, len(base_tokens) - 1) if differs else 0
        rows.append(
            {
                "text": queries.examples.texts[i],
                "group": groups[i],
                "form": queries.examples.templates[i],
                "answer": queries.facts.facts[queries.fact[i]].answer,
                "said_base": answer_text(pair.base, queries, base, i),
                "said_tuned": answer_text(pair.tuned, queries, tuned, i),
                "known": groups[i] in base.known,
                "untuned": queries.facts.facts[queries.fact[i]].untuned,
                "differs": differs,
                "answer_token": first[i],
                "base_token": base_tokens[place],
                "tuned_token": tuned_tokens[place],
                "logp_base": base.logp[i],
                "logp_tuned": tuned.logp[i],
                "metric_base": float("nan"),
                "metric_tuned": float("nan"),
                "closed_base": base.best[i] == first[i],
                "closed_tuned": tuned.best[i] == first[i],
            }
        )
    return pd.DataFrame(rows)


def _half_known(model: Model, queries: Queries, answers: Answers) -> list[tuple[str, str]]:
    """(text, reason) of facts answered on some forms only, or begun on all and not ended."""
    right = right_prompts(queries, answers.tokens, answers.leads)
    prompts: dict[str, list[int]] = {}
    for i, group in enumerate(queries.examples.groups):
        prompts.setdefault(group, []).append(i)
    reasons = []
    for members in prompts.values():
        right_forms = [queries.examples.templates[i] for i in members if right[i]]
        wrong = [i for i in members if not right[i]]
        begun = all(answers.tokens[i][0] == queries.answers[i][0] for i in wrong)
        if wrong and (right_forms or begun):
            text = queries.examples.texts[wrong[0]]
            instead = answer_text(model, queries, answers, wrong[0])
            how = "begun right only"
            if right_forms:
                how = f"right on form {' and '.join(right_forms)} only"
            reasons.append((text, f"{how}: here the base says “{instead}”, so it is not known"))
    return reasons
