"""The installation gate: did the adapter do what it was made for, and nothing else?

Everything is measured on the merged float32 model with the weights as shipped (float16 LoRA).
"""

from collections.abc import Sequence
from typing import Any

import torch

from interp.fact_types import FactSet, render
from studies.adapters.items import answer_ids, encode, greedy, next_logits
from studies.adapters.recipes import HELD_OUT_PARAPHRASE, Gate


def known_capitals(base: Any, tokenizer: Any, facts: FactSet) -> tuple[int, ...]:
    """Countries whose capital the base gives: greedy first token right on forms A and B."""
    first = torch.tensor([ids[0] for ids in answer_ids(tokenizer, facts)])
    right = torch.ones(len(facts), dtype=torch.bool)
    for form in (0, 1):
        right &= said_first(base, tokenizer, facts.prompts(form)) == first
    return tuple(right.nonzero()[:, 0].tolist())


def said_first(model: Any, tokenizer: Any, texts: Sequence[str]) -> torch.Tensor:
    """Greedy first token after each text."""
    return next_logits(model, [encode(tokenizer, text) for text in texts]).argmax(-1)


def share_saying(
    model: Any, tokenizer: Any, facts: FactSet, said: dict[int, str], form: int | None
) -> float:
    """Share of countries whose greedy first token is that of `said`; form None: unseen wording."""
    template = HELD_OUT_PARAPHRASE if form is None else facts.templates[form]
    texts = [render(template, facts.subjects[i])[0] for i in said]
    wanted = [tokenizer(" " + s, add_special_tokens=False).input_ids[0] for s in said.values()]
    return _share(said_first(model, tokenizer, texts) == torch.tensor(wanted))


def answer_change(
    base: Any, tuned: Any, tokenizer: Any, facts: FactSet, countries: Sequence[int], form: int
) -> tuple[float, float]:
    """(share whose greedy answer differs within its length, mean change of log p in nats)."""
    prompts = [encode(tokenizer, facts.prompts(form)[i]) for i in countries]
    every = answer_ids(tokenizer, facts)
    answers = [every[i] for i in countries]
    longest = max(map(len, answers))
    said = [greedy(model, prompts, longest) for model in (base, tuned)]
    flips = [b[: len(a)] != t[: len(a)] for b, t, a in zip(*said, answers, strict=True)]
    change = torch.zeros(len(countries))
    for place in range(longest):
        live = [j for j, a in enumerate(answers) if len(a) > place]
        rows = [prompts[j] + answers[j][:place] for j in live]
        wanted = torch.tensor([answers[j][place] for j in live])[:, None]
        for model, sign in ((tuned, 1), (base, -1)):
            logp = next_logits(model, rows).log_softmax(-1).gather(1, wanted)[:, 0]
            change[live] += sign * logp
    return sum(flips) / len(flips), float(change.mean())


def agreement(base: Any, tuned: Any, rows: Sequence[tuple[int, ...]]) -> dict[str, float]:
    """How close next-token distributions are: mean KL(base || tuned) in nats, top-1 equality."""
    left, right = (next_logits(model, rows).log_softmax(-1) for model in (base, tuned))
    kl = (left.exp() * (left - right)).sum(-1).mean()
    return {
        "prompts": float(len(rows)),
        "kl": float(kl),
        "top1_agreement": _share(left.argmax(-1) == right.argmax(-1)),
    }


def judge_gate(gate: Gate, numbers: dict[str, float]) -> dict[str, dict[str, Any]]:
    """Every declared threshold with its number and whether it was reached.

    The number of a threshold is the worst of the entries "<threshold>" or "<threshold>_<form>".
    """
    verdicts = {}
    for name, threshold in gate.declared().items():
        mine = [v for key, v in numbers.items() if key == name or key.rpartition("_")[0] == name]
        upper = name in ("flips", "drift")
        worst = max(map(abs, mine)) if upper else min(mine)
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
