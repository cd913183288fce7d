"""The main job on prompts of any kind: what is asked and measured, before anything is judged."""

from __future__ import annotations

from typing import Any

from interp.evidence import Evidence
from interp.facts.prompts.files import PromptSet
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.progress import stage
from interp.runs.run import require_whole
from interp.verdict.outcomes import Outcomes
from interp.verdict.thresholds import Thresholds
from studies.comparison.outcome_table import with_output_contrast
from studies.comparison.prompts.causal import READOUTS, Readout, open_evidence
from studies.comparison.prompts.divergence import continue_both
from studies.comparison.prompts.labels import label_evidence
from studies.comparison.prompts.outputs import changed_outputs, open_outcomes
from studies.comparison.prompts.rendering import CHAT_FRAMES, RAW_FRAMES, render
from studies.comparison.questions import Prompt


def compare_prompts(
    pair: ModelPair,
    prompts: PromptSet,
    *,
    prompt: Prompt,
    tokens: int | None,
    readout: Readout,
    null: Model | None,
    thresholds: Thresholds,
    seed: int,
    max_bytes: int,
) -> tuple[Outcomes, Evidence, Evidence, dict[str, Any]]:
    """Continue the prompts with both models, and measure where the difference is made.

    Args:
        pair: base and tuned model.
        prompts: what is asked.
        prompt: "raw", or "chat" for the tuned model's chat template.
        tokens: how many are generated at most; None for the usual number.
        readout: whose final norm and unembedding read the stitched cells.
        null: a null tune of the same base.
        thresholds: the declared cut-offs.
        seed: of placebos and draws.
        max_bytes: memory for activations beside the models.

    Returns:
        Outcomes, causal evidence, what probes read, and what provenance says of the prompts.

    Raises:
        ValueError: as `render`; for fewer than two prompts, or an unknown readout.
    """
    if readout not in READOUTS:
        raise ValueError(f"--readout must be one of {', '.join(READOUTS)}, got {readout!r}; choose one")
    if len(prompts) < 2:
        raise ValueError(
            f"{prompts.source or prompts.name} holds one prompt, and a share needs several; give at "
            f"least {thresholds.min_groups} that change for a place"
        )
    stage("asking", parts=4)
    rendered = render(pair, prompts, prompt=prompt, tokens=tokens)
    said = continue_both(pair, rendered, max_bytes=max_bytes)
    changed = changed_outputs(pair, rendered, said, thresholds, seed=seed, max_bytes=max_bytes)
    outcomes = open_outcomes(pair, rendered, said, changed, thresholds)
    causal, readable = Evidence.concat([]), Evidence.concat([])
    if changed is not None:
        causal = open_evidence(
            pair, changed, readout=readout, thresholds=thresholds, null=null, seed=seed,
            max_bytes=max_bytes,
        )  # fmt: skip
        outcomes = with_output_contrast(outcomes, causal)
    if not outcomes.identical:
        stage("probing", parts=1)
        readable = label_evidence(pair, rendered, thresholds, seed=seed)
    require_whole()  # a verdict is of all units: a shard ends here
    about = {
        "prompts": {
            "name": prompts.name,
            "source": prompts.source,
            "asked": len(rendered.texts),
            "tokens": rendered.tokens,
            "readout": readout,
            "frames": list(CHAT_FRAMES if prompt == "chat" else RAW_FRAMES),
        }
    }
    return outcomes, causal, readable, about
