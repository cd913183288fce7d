"""The site of change: the first position at which two models' greedy continuations part.

The base continues each prompt; the tuned model reads prompt and continuation in one forward. Up to the
first token at which its own first choice is another, its greedy continuation is the base's, so that
this is the first divergence exactly: c = prompt + common prefix, b the base's token there, t the
tuned model's. A text ends at the first token that ends it for either model: behind that one of them
says nothing, so that nothing there can part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from interp.examples import Examples
from interp.generation import continued_together, ends_of, generate
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.progress import tracked
from interp.runs.run import series
from patching.engine.schedule import MAX_BYTES
from studies.comparison.next_tokens import BATCH
from studies.comparison.prompts.along import See, read_both
from studies.comparison.prompts.rendering import Rendered

#: The sources that determine what is said.
CODE = (
    "interp.models",
    "interp.generation",
    "studies.comparison.prompts.divergence",
)


@dataclass(frozen=True)
class Site:
    """Where the continuations of one prompt part.

    Attributes:
        prefix: the tokens that both say before they part.
        base: the base's token there.
        tuned: the tuned model's.
        gap: how far the two models differ on the contrast of these tokens there, m(B) − m(T), logits.
    """

    prefix: tuple[int, ...]
    base: int
    tuned: int
    gap: float


@dataclass(frozen=True, eq=False)
class Continued:
    """What both models say to every prompt, one entry a prompt.

    Attributes:
        base: the base's greedy tokens.
        tuned: the tuned model's; where the two never part, the same.
        sites: where they part; None where they do not.
        logp_base: log p of the base's continuation under the base, nats.
        logp_tuned: the same under the tuned model.
        identical: whether the two models' logits are equal bit by bit along all continuations.
    """

    base: tuple[tuple[int, ...], ...]
    tuned: tuple[tuple[int, ...], ...]
    sites: tuple[Site | None, ...]
    logp_base: tuple[float, ...]
    logp_tuned: tuple[float, ...]
    identical: bool


def continue_both(
    pair: ModelPair, rendered: Rendered, *, max_bytes: int = MAX_BYTES, see: See | None = None
) -> Continued:
    """Continue every prompt greedily with both models, and find where they part.

    Args:
        pair: base and tuned.
        rendered: the prompts.
        max_bytes: memory for activations and logits beside the models.
        see: is shown both models' logits along the base's continuations, see `read_both`.

    Returns:
        What both say, and every site of change.
    """
    examples = examples_of(pair, rendered)
    ends = ends_of(pair.base) | ends_of(pair.tuned)
    base = [ended(ids, ends) for ids in continuations(pair.base, examples, rendered.tokens)]
    along = read_both(pair, examples, base, max_bytes=max_bytes, see=see)
    sites = [
        _site(said, best, gaps) for said, best, gaps in zip(base, along.best, along.gaps, strict=True)
    ]
    changed = [i for i, site in enumerate(sites) if site is not None]
    tuned = list(base)
    if changed:
        said = continuations(pair.tuned, examples.subset(changed), rendered.tokens)
        for i, ids in zip(changed, said, strict=True):
            tuned[i] = ended(ids, ends)
    return Continued(
        tuple(base), tuple(tuned), tuple(sites), along.logp_base, along.logp_tuned, along.identical
    )


def ended(ids: Sequence[int], ends: set[int]) -> tuple[int, ...]:
    """A continuation up to the first token that ends it, with that token."""
    stop = next((place + 1 for place, token in enumerate(ids) if token in ends), len(ids))
    return tuple(ids[:stop])


def continuations(model: Model, examples: Examples, tokens: int) -> list[tuple[int, ...]]:
    """Greedy tokens of every prompt, with the token that ends a text where one came.

    Args:
        model: who continues.
        examples: the prompts.
        tokens: how many at most.
    """
    batches = continued_together(examples.lengths.tolist(), BATCH)
    kept = series("continuations", CODE, model, examples.tokens, examples.mask, tokens)
    said: list[tuple[int, ...]] = [()] * len(examples)
    for number, rows in enumerate(tracked(batches, f"continuing with {model.role}")):

        def make(rows: list[int] = rows) -> list[list[int]]:
            part = examples.subset(rows)
            return [list(ids) for ids in generate(model, part, tokens=tokens, batch_size=BATCH).ids]

        for i, ids in zip(rows, kept.unit(number, make, dealt=False) or (), strict=True):
            said[i] = tuple(ids)
    return said


def _site(said: Sequence[int], best: Sequence[int], gaps: Sequence[float]) -> Site | None:
    """The first place at which the tuned model's own choice is another; None where there is none."""
    places = zip(said, best, gaps, strict=True)
    found = ((j, *place) for j, place in enumerate(places) if place[0] != place[1])
    return next((Site(tuple(said[:j]), b, t, gap) for j, b, t, gap in found), None)


def examples_of(pair: ModelPair, rendered: Rendered) -> Examples:
    """The prompts as given.

    Args:
        pair: whose tokenizer spells them.
        rendered: the prompts.
    """
    return Examples.from_text(
        pair.base, list(rendered.texts), groups=rendered.names, add_special_tokens=rendered.special
    )
