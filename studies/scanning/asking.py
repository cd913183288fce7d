"""A scan's prompts part by part: each part is continued by both models and read along by both.

A part is a few prompts of similar length. It rests on nothing but itself, so the parts are the units
of a run: kept one by one, and dealt out to shards.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from interp.generation import continued_together
from interp.models.pair import ModelPair
from interp.progress import counted
from interp.runs.run import require_whole, series, unkept
from studies.comparison.next_tokens import BATCH
from studies.comparison.prompts.divergence import Continued, Site, examples_of
from studies.comparison.prompts.rendering import Rendered
from studies.scanning.measuring import Measured, continued_and_measured

#: Prompts of a part at most: as many as are continued together.
PART = BATCH

#: The sources that determine what is said and measured.
CODE = (
    "interp.models",
    "interp.generation",
    "studies.comparison.next_tokens",
    "studies.comparison.prompts.along",
    "studies.comparison.prompts.divergence",
    "studies.scanning.asking",
    "studies.scanning.measuring",
)


def parts_of(pair: ModelPair, rendered: Rendered) -> list[list[int]]:
    """The parts of a scan, as indices of its prompts.

    Args:
        pair: whose tokenizer tells the lengths.
        rendered: the prompts.
    """
    return continued_together(examples_of(pair, rendered).lengths.tolist(), PART)


def ask(pair: ModelPair, rendered: Rendered, *, max_bytes: int) -> tuple[Continued, Measured]:
    """Continue every prompt with both models, and read both continuations with both.

    Args:
        pair: base and tuned.
        rendered: the prompts.
        max_bytes: memory for activations and logits beside the models.

    Returns:
        What both say and how far they part, one entry for each prompt.

    Raises:
        ShareDone: in a shard, which ends here: findings are of all prompts.
    """
    n, parts = len(rendered.texts), parts_of(pair, rendered)
    inputs = (rendered.texts, rendered.special, rendered.tokens, max_bytes)
    kept = series("prompts of a scan", CODE, pair.base, pair.tuned, *inputs)
    said: dict[str, list[Any]] = {name: [None] * n for name in _SAID}
    measured = Measured.blank(n, min(pair.base.vocabulary, pair.tuned.vocabulary))
    with counted(n, "asking both", "prompts") as step:
        for number, rows in enumerate(parts):
            made = kept.unit(number, partial(asked, pair, rendered.subset(rows), max_bytes))
            if made is not None:
                for name, column in said.items():
                    for i, value in zip(rows, made[name], strict=True):
                        column[i] = value
                measured.put(rows, made["measured"])
            step(len(rows))
    require_whole()
    return _continued(said), measured


#: What is kept of what both say, one entry for each prompt.
_SAID = ("base", "tuned", "sites", "logp_base", "logp_tuned", "identical")


@torch.no_grad()
def asked(pair: ModelPair, rendered: Rendered, max_bytes: int) -> dict[str, Any]:
    """One part, as it is kept."""
    with unkept():
        said, measured = continued_and_measured(pair, rendered, max_bytes=max_bytes)
    return {
        "base": [list(ids) for ids in said.base],
        "tuned": [list(ids) for ids in said.tuned],
        "sites": [
            None if site is None else [list(site.prefix), site.base, site.tuned, site.gap]
            for site in said.sites
        ],
        "logp_base": list(said.logp_base),
        "logp_tuned": list(said.logp_tuned),
        "identical": [said.identical] * len(rendered.texts),
        "measured": vars(measured).copy(),
    }


def _continued(said: dict[str, list[Any]]) -> Continued:
    """What both say, from what is kept of it."""
    return Continued(
        base=tuple(tuple(ids) for ids in said["base"]),
        tuned=tuple(tuple(ids) for ids in said["tuned"]),
        sites=tuple(None if s is None else Site(tuple(s[0]), *s[1:]) for s in said["sites"]),
        logp_base=tuple(said["logp_base"]),
        logp_tuned=tuple(said["logp_tuned"]),
        identical=all(said["identical"]),
    )
