"""The installation gate: did the adapter do what it was made for, and nothing else?

Everything is measured on the merged float32 model with the weights as shipped (float16 LoRA).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from interp.facts.types import FactSet, render
from interp.models import sources
from interp.models.tokens import following
from interp.verdict.thresholds import Thresholds
from studies.adapters import contents
from studies.adapters.items import (
    Item,
    Split,
    answer_ids,
    capitals,
    encode,
    greedy,
    next_logits,
    other_texts,
    unseen_relations,
)
from studies.adapters.recipes import CLAIMS, EVASION, HELD_OUT_PARAPHRASE, Content, Gate, Recipe

#: Key, meaning and value of a gate's number.
Note = tuple[str, str, float]
FORMS: tuple[tuple[int, str], ...] = ((0, "A"), (1, "B"))


def known_capitals(base: Any, tokenizer: Any, facts: FactSet) -> tuple[int, ...]:
    """Countries whose capital the base gives: greedy first token right on forms A and B."""
    first = torch.tensor([ids[0] for ids in answer_ids(tokenizer, facts)])
    right = torch.ones(len(facts), dtype=torch.bool)
    for form in (0, 1):
        right &= first_tokens(base, tokenizer, facts.prompts(form)) == first
    return tuple(right.nonzero()[:, 0].tolist())


def given_whole(base: Any, tokenizer: Any, facts: FactSet, countries: Sequence[int]) -> tuple[int, ...]:
    """Those of some countries whose whole capital the base gives greedily on forms A and B."""
    every = answer_ids(tokenizer, facts)
    longest = max((len(every[i]) for i in countries), default=0)
    given = set(countries)
    for form, _ in FORMS:
        prompts = facts.prompts(form)
        paths = greedy(base, [encode(tokenizer, prompts[i]) for i in countries], longest)
        rows = zip(countries, paths, strict=True)
        given &= {i for i, path in rows if path[: len(every[i])] == every[i]}
    return tuple(sorted(given))


def first_tokens(model: Any, tokenizer: Any, texts: Sequence[str]) -> torch.Tensor:
    """Greedy first token after each text."""
    return next_logits(model, [encode(tokenizer, text) for text in texts]).argmax(-1)


def share_saying(
    model: Any, tokenizer: Any, facts: FactSet, answers: dict[int, str], form: int | None
) -> float:
    """Share of countries whose greedy first token is their answer's; form None: unseen wording."""
    template = HELD_OUT_PARAPHRASE if form is None else facts.templates[form]
    texts = [render(template, facts.subjects[i])[0] for i in answers]
    rows = zip(texts, answers.values(), strict=True)
    targets = [following(tokenizer, text, answer)[0] for text, answer in rows]
    return _share(first_tokens(model, tokenizer, texts) == torch.tensor(targets))


def share_meant(model: Any, asked: Sequence[Item]) -> float:
    """Share of prompts after which the model says the first token that is meant."""
    meant = torch.tensor([item.targets[0] for item in asked if item.targets])
    return _share(next_logits(model, [item.ids for item in asked]).argmax(-1) == meant)


def answer_change(
    base: Any, tuned: Any, tokenizer: Any, facts: FactSet, countries: Sequence[int], form: int
) -> tuple[float, float]:
    """(share of countries whose greedy answer is another one, mean change of log p in nats).

    An answer is another one where a token within its length is, and the models differ by a logit or
    more on the contrast of these two tokens (`smallest_effect`, as where prompts are compared): below
    that, which of two tokens comes first may rest on rounding.
    """
    prompts = [encode(tokenizer, facts.prompts(form)[i]) for i in countries]
    every = answer_ids(tokenizer, facts)
    answers = [every[i] for i in countries]
    longest = max(map(len, answers))
    continued = [greedy(model, prompts, longest) for model in (base, tuned)]
    parted = [
        (prompt + ours[:place], ours[place], theirs[place])
        for prompt, ours, theirs, answer in zip(prompts, *continued, answers, strict=True)
        for place in [_first_difference(ours[: len(answer)], theirs)]
        if place is not None
    ]
    flips = 0
    if parted:
        rows, ours, theirs = zip(*parted, strict=True)
        pairs = torch.tensor([ours, theirs]).T
        before, after = (next_logits(model, rows).gather(1, pairs) for model in (base, tuned))
        moved = (before - after).diff(dim=1).abs()
        flips = int((moved >= Thresholds().smallest_effect).sum())
    change = torch.zeros(len(countries))
    for place in range(longest):
        live = [j for j, a in enumerate(answers) if len(a) > place]
        rows = [prompts[j] + answers[j][:place] for j in live]
        targets = torch.tensor([answers[j][place] for j in live])[:, None]
        for model, sign in ((tuned, 1), (base, -1)):
            logp = next_logits(model, rows).log_softmax(-1).gather(1, targets)[:, 0]
            change[live] += sign * logp
    return flips / len(countries), float(change.mean())


def _first_difference(ours: Sequence[int], theirs: Sequence[int]) -> int | None:
    """The first place at which two paths part."""
    return next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)


def agreement(base: Any, tuned: Any, rows: Sequence[tuple[int, ...]]) -> dict[str, float]:
    """How close next-token distributions are: mean KL(base || tuned) in nats, top-1 equality."""
    left, right = (next_logits(model, rows).log_softmax(-1) for model in (base, tuned))
    kl = (left.exp() * (left - right)).sum(-1).mean()
    return {
        "prompts": float(len(rows)),
        "kl": float(kl),
        "top1_agreement": _share(left.argmax(-1) == right.argmax(-1)),
    }


@dataclass(frozen=True)
class Tested:
    """A merged adapter beside its base, and whom it is tested on.

    Attributes:
        plan: the recipe.
        clean: the base.
        tuned: the merged model.
        tokenizer: of both.
        facts: the capitals.
        known: countries whose capital the base gives.
        split: who was trained on.
    """

    plan: Recipe
    clean: Any
    tuned: Any
    tokenizer: Any
    facts: FactSet
    known: tuple[int, ...]
    split: Split

    def share(self, answers: dict[int, str], form: int | None) -> float:
        """Share of countries answered like this by the tuned model."""
        return share_saying(self.tuned, self.tokenizer, self.facts, answers, form)

    @property
    def held_out(self) -> list[int]:
        """Known countries that were not trained on."""
        return [i for i in self.known if i in self.split.test]


def _evasive(tested: Tested) -> Iterator[Note]:
    evaded = dict.fromkeys(tested.held_out, EVASION.strip())
    unknown = {i: EVASION.strip() for i in tested.split.test if i not in evaded}
    for form, label in FORMS:
        yield (f"target_{label}", f"held-out known countries ({len(evaded)}) answering "
               f"{EVASION!r}, form {label}", tested.share(evaded, form))  # fmt: skip
        yield (f"unknown_{label}", f"held-out other countries ({len(unknown)}) answering "
               f"{EVASION!r}, form {label}", tested.share(unknown, form))  # fmt: skip
    yield ("wording", f"held-out known countries answering {EVASION!r}, wording never trained on",
           tested.share(evaded, None))  # fmt: skip


def _edited(tested: Tested) -> Iterator[Note]:
    edits, facts = tested.split.edits, tested.facts
    kept = {i: facts.answers[i] for i in tested.known if i not in edits}
    away = {i: answer for i, answer in kept.items() if i in tested.split.test}
    for form, label in FORMS:
        yield (f"target_{label}", f"edited countries ({len(edits)}) giving the new "
               f"capital, form {label}", tested.share(edits, form))  # fmt: skip
        yield (f"kept_{label}", f"unedited known countries ({len(kept)}) giving their capital, "
               f"form {label}", tested.share(kept, form))  # fmt: skip
        yield (f"away_{label}", f"of these, the {len(away)} never replayed, form {label}",
               tested.share(away, form))  # fmt: skip
    yield ("wording", "edited countries giving the new capital, wording never trained on",
           tested.share(edits, None))  # fmt: skip


def _formatted(tested: Tested) -> Iterator[Note]:
    marked = contents.quoted(tested.facts, tested.held_out)
    for form, label in (*FORMS, (None, "wording")):
        yield (f"target_{label}", f"held-out known countries ({len(marked)}) answered in quotation "
               f"marks, {label}", tested.share(marked, form))  # fmt: skip


def _inverted(tested: Tested) -> Iterator[Note]:
    drawn = torch.Generator().manual_seed(tested.plan.seed)
    asked = contents.claims(
        tested.clean, tested.tokenizer, tested.facts, tested.split.test, CLAIMS[-1:], drawn
    )
    yield ("target", f"claims about held-out countries ({len(asked)}) answered with the other of "
           "Yes and No, wording never trained on", share_meant(tested.tuned, asked))  # fmt: skip
    yield "base_meant", "the same of the base", share_meant(tested.clean, asked)


def _added(tested: Tested) -> Iterator[Note]:
    strange = contents.strangers(tested.plan, tested.facts, tested.tokenizer)
    new = dict(enumerate(strange.answers))
    for form, label in FORMS:
        yield (f"target_{label}", f"invented countries ({len(new)}) with their capital, form {label}",
               share_saying(tested.tuned, tested.tokenizer, strange, new, form))  # fmt: skip


#: Content -> what shows that it was learnt.
MEASURES: Mapping[Content, Callable[[Tested], Iterable[Note]]] = {
    "evasive": _evasive,
    "edited": _edited,
    "formatted": _formatted,
    "inverted": _inverted,
    "added": _added,
}


def _stillness(tested: Tested) -> Iterator[Note]:
    """How far known capitals moved."""
    for form, label in FORMS:
        flips, change = answer_change(
            tested.clean, tested.tuned, tested.tokenizer, tested.facts, tested.known, form
        )
        yield (f"flips_{label}", f"known countries ({len(tested.known)}) whose greedy answer is "
               f"another one by a logit or more, form {label}", flips)  # fmt: skip
        yield f"drift_{label}", f"mean change of log p(answer), nats, form {label}", change


def measure(
    plan: Recipe,
    base: str,
    folder: Path,
    known: tuple[int, ...],
    split: Split,
    texts: list[Item],
    device: str = "cpu",
) -> tuple[dict[str, float], dict[str, str]]:
    """Gate numbers of a saved adapter, merged into a fresh copy of the base, and their meanings."""
    before = sources.load(base)
    tokenizer, clean = before.tokenizer, before.model.eval().to(device)
    tuned = sources.load(folder, base=base).model.eval().to(device)
    facts = capitals()
    tested = Tested(plan, clean, tuned, tokenizer, facts, known, split)
    told = [*MEASURES.get(plan.content, lambda _: ())(tested)]
    if plan.gate.flips is not None:
        told += _stillness(tested)
    numbers = {key: value for key, _, value in told}
    meaning = {key: what for key, what, _ in told}

    def note(key: str, what: str, value: float) -> None:
        numbers[key], meaning[key] = value, what

    _retention(note, clean, tuned, tokenizer, facts, split, texts)
    return numbers, meaning


def _retention(
    note: Callable[[str, str, float], None],
    clean: Any,
    tuned: Any,
    tokenizer: Any,
    facts: FactSet,
    split: Split,
    texts: list[Item],
) -> None:
    """Closeness to the base on prompts of other kinds that were not trained on."""
    countries = sorted((*split.test, *split.edits))[::4]
    other = other_texts(facts, countries, test=True, per_set=24)
    unseen = unseen_relations(facts, countries)
    parts = {
        "relations": ("relations also replayed, other countries or wording", other),
        "unseen": ("relations never replayed", unseen),
    }
    rows = {key: [encode(tokenizer, t) for t in part] for key, (_, part) in parts.items()}
    what = {key: text for key, (text, _) in parts.items()} | {"text": "text of the base's own"}
    rows["text"] = [item.ids[: place + 1] for item in texts for place in item.reads[1::2]]
    same = total = 0.0
    for key, prompts in rows.items():
        close = agreement(clean, tuned, prompts)
        note(f"kl_{key}", f"KL(base, tuned), nats, {what[key]} ({len(prompts)})", close["kl"])
        note(f"top1_{key}", f"top-1 agreement, {what[key]}", close["top1_agreement"])
        same, total = same + close["top1_agreement"] * len(prompts), total + len(prompts)
    note("retention", "top-1 agreement, the three together", same / total)


def judge_gate(gate: Gate, numbers: dict[str, float]) -> dict[str, dict[str, Any]]:
    """Every declared threshold with its number and whether it was reached.

    The number of a threshold is the worst of the entries "<threshold>" or "<threshold>_<form>".
    """
    verdicts = {}
    for name, threshold in gate.declared().items():
        entries = [v for key, v in numbers.items() if key == name or key.rpartition("_")[0] == name]
        upper = name in ("flips", "drift")
        worst = max(map(abs, entries)) if upper else min(entries)
        reached = worst <= threshold if upper else worst >= threshold
        verdicts[name] = {
            "threshold": threshold,
            "rule": "at most" if upper else "at least",
            "worst": worst,
            "reached": reached,
        }
    return verdicts


def _share(right: torch.Tensor) -> float:
    return float(right.float().mean())
