"""Whether a saved comparison of prompts is what its models give: some prompts, asked again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from interp.evidence import Evidence
from interp.facts.prompts.files import PromptSet
from interp.models.pair import ModelPair
from interp.verdict.prompts.controls import OTHER_PAIR
from interp.verdict.thresholds import Thresholds
from patching.methods.stitching import stitch
from studies.comparison.prompts.causal import Readout, stitched_metrics
from studies.comparison.prompts.divergence import continue_both
from studies.comparison.prompts.outputs import GIVEN, changed_outputs, open_outcomes
from studies.comparison.prompts.rendering import Rendered, render
from studies.comparison.questions import Prompt
from studies.comparison.verifying import (
    Agreement,
    agreement,
    differing,
    drawn,
    joined,
    keyed,
    numbered,
)

#: What either model says to a prompt, in the outcomes.
SAID = ("said_base", "said_tuned")


def prompts_measured_again(
    pair: ModelPair,
    prompts: PromptSet,
    evidence: Evidence,
    items: Sequence[Mapping[str, Any]],
    *,
    prompt: Prompt,
    tokens: int | None,
    readout: Readout,
    budget: int,
    draw: int = 0,
    count: int = 4,
) -> Agreement:
    """Ask some changed and some other prompts of a saved comparison again, and stitch the changed ones.

    Args:
        pair: the models it compared.
        prompts: the prompts it asked.
        evidence: what it saved.
        items: what both models said, as verdict.json holds it.
        prompt: as it was asked, "raw" or "chat".
        tokens: how many were generated; None for the usual number.
        readout: whose final norm and unembedding read the stitched cells.
        budget: bytes of memory for activations.
        draw: seed of the sample.
        count: how many prompts of either kind; the changed ones are stitched at every boundary.

    Returns:
        How far texts and cells agree: cells up to rounding, since others share a pass with them. The
        pair of random tokens, drawn for all prompts at once, is left out.

    Raises:
        ValueError: as `render`, and for prompts that the run did not ask.
    """
    rendered = render(pair, prompts, prompt=prompt, tokens=tokens)
    said = {item["group"]: item for item in items if item["form"] == GIVEN}
    stitched = evidence.rows(method="stitch")
    number = dict(zip(stitched["group"].astype(str), stitched["example"].astype(int), strict=True))
    part = sample(rendered, list(number), said, count, draw)
    now = continue_both(pair, part, max_bytes=budget)
    table = open_outcomes(pair, part, now, None, Thresholds()).table
    texts = {
        f"{column} of {row['group']}": row[column]
        for row in table.to_dict("records")
        for column in SAID
    }
    was = {f"{column} of {name}": item[column] for name, item in said.items() for column in SAID}
    parts = [differing(texts, was)]
    changed = changed_outputs(pair, part, now, Thresholds(), seed=0, max_bytes=budget)
    if changed is not None:
        metrics = stitched_metrics(pair, changed, readout)
        metrics.pop(OTHER_PAIR)
        examples = changed.questions.examples
        again = stitch(pair, examples, metrics, max_bytes=budget)
        # A prompt that had not changed has no number, and its cells are none of the saved ones.
        numbers = [number.get(group, -1) for group in examples.groups]
        parts.append(agreement(keyed(numbered(again, numbers)), keyed(stitched), pair))
    return joined(parts)


def sample(
    rendered: Rendered, changed: Sequence[str], said: Mapping[str, Any], count: int, draw: int
) -> Rendered:
    """Some prompts that changed and some others.

    Args:
        rendered: all prompts.
        changed: names of those that changed.
        said: name -> what was saved of each.
        count: how many of either kind.
        draw: seed of the sample.

    Raises:
        ValueError: where the run asked other prompts.
    """
    index = {name: i for i, name in enumerate(rendered.names)}
    strange = [name for name in said if name not in index]
    if strange or len(index) != len(said):
        got = (
            f"a prompt that is not asked now, {strange[0]!r:.60}" if strange else f"{len(said)} prompts"
        )
        raise ValueError(
            f"the run holds {got}; expected the {len(index)} that its file holds now; restore the file"
        )
    others = [name for name in said if name not in set(changed)]
    chosen = [*drawn(changed, count, draw), *drawn(others, count, draw)]
    return rendered.subset([index[name] for name in chosen])
