"""What was said to prompts of any kind: the table of outputs, and what is asked of interventions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.examples import Examples
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.verdict.outcomes import Outcomes
from interp.verdict.thresholds import Thresholds
from studies.comparison.known_questions import KnownQuestions
from studies.comparison.next_tokens import last_logits
from studies.comparison.prompts.divergence import Continued, Site
from studies.comparison.prompts.rendering import Rendered, fits

#: Query forms: as given, where tokens are chosen, and the words in which effects are read.
GIVEN, READING = "A", "B"

#: So many of the base's first choices are candidates for the pair of random tokens.
TOP = 20


@dataclass(frozen=True, eq=False)
class Changed:
    """The prompts whose outputs changed, at their sites, in the words in which effects are read.

    Attributes:
        questions: one row for each, the contrast's tokens chosen on the prompt as given.
        spoken: the base's first choice on the form that is read.
        pair: two other of the base's first tokens at the same place, drawn at random.
        units: what each is resampled with.
        unread: (text, reason) of those that have no such form.
    """

    questions: KnownQuestions
    spoken: Int[Tensor, " example"]
    pair: Int[Tensor, "example 2"]
    units: tuple[str, ...]
    unread: tuple[tuple[str, str], ...]


def is_changed(site: Site | None, thresholds: Thresholds) -> bool:
    """Whether a site is a change and not a near tie: its contrast differs by the smallest effect."""
    return site is not None and abs(site.gap) >= thresholds.smallest_effect


def changed_outputs(
    pair: ModelPair,
    rendered: Rendered,
    said: Continued,
    thresholds: Thresholds,
    *,
    seed: int,
    max_bytes: int,
) -> Changed | None:
    """The changed prompts at their sites, each in a form that its tokens were not chosen on.

    Where no prompt has such a form, they are read as given, and every word is `selected`.

    Args:
        pair: base and tuned.
        rendered: the prompts.
        said: what both models said, and where they part.
        thresholds: tell near ties from changes.
        seed: of the random pair of tokens.
        max_bytes: memory for activations beside the models.

    Returns:
        The prompts; None where none changed.
    """
    changed = [i for i, site in enumerate(said.sites) if is_changed(site, thresholds)]
    if not changed:
        return None
    texts = {i: _readable(pair, rendered, said, i) for i in changed}
    selected = not any(texts.values())
    rows = [i for i in changed if selected or texts[i]]
    sites = [_site(said, i) for i in rows]
    examples = Examples.from_text(
        pair.base,
        [rendered.texts[i] if selected else str(texts[i]) for i in rows],
        groups=[rendered.names[i] for i in rows],
        templates=[GIVEN if selected else READING] * len(rows),
        suffixes=[site.prefix for site in sites],
        add_special_tokens=rendered.special,
    )
    of_base, of_tuned = (last_logits(m, examples, max_bytes) for m in (pair.base, pair.tuned))
    device = examples.tokens.device
    plus, minus = (
        torch.tensor([getattr(site, name) for site in sites], device=device)
        for name in ("base", "tuned")
    )
    spoken, target = of_base.argmax(1), of_tuned.argmax(1)
    everyone = torch.ones(len(rows), dtype=torch.bool, device=device)
    questions = KnownQuestions(
        examples,
        answers=plus,
        estimating=everyone,
        changed=everyone,
        plain=everyone,
        plus=plus,
        minus=minus,
        target=target,
        differs=(target != spoken) & pair.sayable(target),
        sayable=pair.sayable(plus) & pair.sayable(minus),
    )
    why = "it has no paraphrase, and no neutral frame that fits and that the tokenizer spells"
    unread = tuple((rendered.texts[i], why) for i in changed if i not in set(rows))
    units = tuple(rendered.units[i] for i in rows)
    return Changed(questions, spoken, other_pairs(of_base, plus, minus, seed), units, unread)


def open_outcomes(
    pair: ModelPair,
    rendered: Rendered,
    said: Continued,
    changed: Changed | None,
    thresholds: Thresholds,
) -> Outcomes:
    """The table of outputs: one row for each prompt as given, one more where its effect is read.

    Args:
        pair: the models, whose tokenizers write out what each said.
        rendered: the prompts.
        said: what both models said, and where they part.
        changed: those whose outputs changed, as they are read.
        thresholds: tell near ties from changes.
    """
    rows = [
        {
            "text": rendered.texts[i],
            "group": rendered.names[i],
            "form": GIVEN,
            "answer": _shown(pair.base, [said.base[i][0] if site is None else site.base]),
            "said_base": _shown(pair.base, said.base[i]),
            "said_tuned": _shown(pair.tuned, said.tuned[i]),
            "differs": is_changed(site, thresholds),
            "answer_token": said.base[i][0] if site is None else site.base,
            "base_token": said.base[i][0] if site is None else site.base,
            "tuned_token": said.base[i][0] if site is None else site.tuned,
            "logp_base": said.logp_base[i],
            "logp_tuned": said.logp_tuned[i],
            "unit": rendered.units[i],
            "site": told_site(pair, site, thresholds),
        }
        for i, site in enumerate(said.sites)
    ]
    if changed is not None and READING in changed.questions.examples.templates:
        rows += _reading_rows(pair, changed, {row["group"]: row for row in rows})
    table = pd.DataFrame(rows).assign(
        known=True, closed_base=False, closed_tuned=False, metric_base=float("nan"),
        metric_tuned=float("nan"),
    )  # fmt: skip
    unread = () if changed is None else changed.unread
    return Outcomes(table, (*rendered.excluded, *unread), said.identical, open=True)


def _reading_rows(
    pair: ModelPair, changed: Changed, given: dict[str, dict[str, object]]
) -> list[dict[str, object]]:
    """Rows of the form on which effects are read: what either model says next there."""
    questions = changed.questions
    rows = []
    columns = zip(questions.examples.texts, questions.examples.groups, strict=True)
    for i, (text, group) in enumerate(columns):
        spoken, target = int(changed.spoken[i]), int(questions.target[i])
        rows.append(
            {
                **given[group],
                "text": text,
                "form": READING,
                "said_base": _shown(pair.base, [spoken]),
                "said_tuned": _shown(pair.tuned, [target]),
                "differs": bool(questions.differs[i]),
                "tuned_token": target,
            }
        )
    return rows


def _readable(pair: ModelPair, rendered: Rendered, said: Continued, i: int) -> str | None:
    """The text on which the effects of a changed prompt are read, where there is one that fits."""
    text = rendered.readings[i]
    if text is None or not fits(pair, text, _site(said, i).prefix, special=rendered.special):
        return None
    return text


def _site(said: Continued, i: int) -> Site:
    site = said.sites[i]
    assert site is not None  # only of changed prompts
    return site


def other_pairs(
    logits: Float[Tensor, "example token"],
    plus: Int[Tensor, " example"],
    minus: Int[Tensor, " example"],
    seed: int,
) -> Int[Tensor, "example 2"]:
    """Two of the base's first tokens at each place, drawn at random, neither of them the contrast's.

    Args:
        logits: of the base at each place.
        plus: the base's token of the contrast.
        minus: the tuned model's.
        seed: of the draw.
    """
    own = torch.stack([plus, minus], 1).clamp(max=logits.shape[1] - 1)
    best = logits.scatter(1, own, -torch.inf).topk(min(TOP, logits.shape[1] - 2), 1).indices
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.stack([torch.randperm(best.shape[1], generator=generator)[:2] for _ in best])
    return best.gather(1, drawn.to(best.device))


def _shown(model: Model, ids: Sequence[int]) -> str:
    """Tokens as text, without the token that ends a text."""
    return str(model.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()


def told_site(pair: ModelPair, site: Site | None, thresholds: Thresholds) -> str:
    """Where two continuations part, in words.

    Args:
        pair: whose tokenizers write the tokens.
        site: where they part; None where they do not.
        thresholds: tell near ties from changes.
    """
    if site is None:
        return "both say the same"
    tokens = [
        repr(str(m.tokenizer.decode([t])))
        for m, t in ((pair.base, site.base), (pair.tuned, site.tuned))
    ]
    tie = "" if is_changed(site, thresholds) else f"; a near tie ({site.gap:.2f} logits)"
    return f"after {len(site.prefix)} tokens: {tokens[0]} | {tokens[1]}{tie}"
