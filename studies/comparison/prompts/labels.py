"""What probes read of the labels of prompts, in base and tuned model, and whether it carries over."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from interp.activations import Activations, collect_both
from interp.columns import group_split
from interp.evidence import Evidence
from interp.examples import Examples
from interp.models.pair import ModelPair
from interp.progress import counted
from interp.sites import boundaries
from interp.verdict.prompts.labels import LABEL
from interp.verdict.thresholds import Thresholds
from probes.comparisons.transfer import transfer
from probes.cross_validation import cross_validate
from probes.splits import SmallSample
from studies.comparison.prompts.rendering import Rendered
from studies.comparison.representational import trivial_features


def label_evidence(
    pair: ModelPair, rendered: Rendered, thresholds: Thresholds, *, seed: int = 0
) -> Evidence:
    """Held-out accuracy for the labels at the last token of every prompt, boundary by boundary.

    Prompts as given are read, changed or not. Folds hold whole groups out.

    Args:
        pair: base and tuned.
        rendered: the prompts, with their labels.
        thresholds: how many groups a label needs.
        seed: of splits and controls.

    Returns:
        Methods ``probe`` (both models, each with a control task, the base with a trivial reader) and
        ``transfer``, by boundary; empty where no prompt has a label. Provenance "not_probed" says why
        labels were left out.
    """
    examples, classes, reasons = label_examples(pair, rendered, thresholds)
    if examples is None:
        return Evidence.concat([]).with_provenance(not_probed=reasons)
    with counted(4, "probing labels", "readings") as step:
        both = collect_both(pair, examples, boundaries(pair.base.n_layers), ["last"])
        base, tuned = (list(both[m.role, "last"].values()) for m in (pair.base, pair.tuned))
        step(1)
        parts = read_labels(base, tuned, examples, seed, step)
    made = Evidence.concat(parts).by_boundary(pair.base.n_layers)
    return made.with_provenance(not_probed=reasons, label_classes=classes)


def label_examples(
    pair: ModelPair, rendered: Rendered, thresholds: Thresholds
) -> tuple[Examples | None, list[str], list[str]]:
    """The prompts whose label is probed, the labels, and a sentence on those that are not.

    Args:
        pair: whose tokenizer spells them.
        rendered: the prompts, with their labels.
        thresholds: how many groups a label needs.

    Returns:
        None in place of prompts where no two labels are there.
    """
    rows, classes, reasons = labelled(rendered, thresholds)
    if len(classes) < 2:
        return None, classes, reasons
    examples = Examples.from_text(
        pair.base,
        [rendered.texts[i] for i in rows],
        groups=[rendered.units[i] for i in rows],
        labels=[float(classes.index(str(rendered.prompts[i].label))) for i in rows],
        add_special_tokens=rendered.special,
    )
    return examples, classes, reasons


def read_labels(
    base: Sequence[Activations],
    tuned: Sequence[Activations],
    examples: Examples,
    seed: int,
    step: Callable[[int], object],
) -> list[Evidence]:
    """Probes of the labels in both models, and from the base into the tuned one.

    Args:
        base: the base's states, site by site.
        tuned: the tuned model's.
        examples: the prompts, with their labels as numbers.
        seed: of splits and controls.
        step: is told of every reading that is done.
    """
    assert examples.labels is not None  # they were made with them
    labels = examples.labels.long()
    base, tuned = ([replace(one, labels=labels) for one in states] for states in (base, tuned))
    same: dict[str, Any] = {"attribute": LABEL, "seed": seed}
    controls: dict[str, Any] = {"controls": ("control_task",), "repeats": 3}
    train, test = group_split(examples.groups, share=0.7, seed=seed)
    parts = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SmallSample)  # the fewest groups are declared
        surface = trivial_features(examples, named=False)
        parts.append(cross_validate(base, surface=surface, **controls, **same))
        step(1)
        parts.append(cross_validate(tuned, **controls, **same))
        step(1)
        parts.append(
            transfer(
                [states.subset(train) for states in base],
                [states.subset(train) for states in tuned],
                [states.subset(test) for states in tuned],
                repeats=2,
                **same,
            )
        )
        step(1)
    return parts


def labelled(rendered: Rendered, thresholds: Thresholds) -> tuple[list[int], list[str], list[str]]:
    """Prompts whose label is probed, the labels, and a sentence on those that are not.

    Args:
        rendered: the prompts.
        thresholds: the fewest groups on each side.
    """
    units: dict[str, set[str]] = {}
    for i, prompt in enumerate(rendered.prompts):
        if prompt.label is not None:
            units.setdefault(prompt.label, set()).add(rendered.units[i])
    if not units:
        return [], [], []
    least = thresholds.attribute_side
    counts = Counter({label: len(of) for label, of in units.items()})
    classes = sorted(label for label, n in counts.items() if n >= least)
    few = [f"{label!r} ({n})" for label, n in sorted(counts.items()) if n < least]
    reasons = []
    if len(classes) < 2:
        shown = ", ".join(f"{label!r} ({n})" for label, n in counts.most_common(4))
        reasons = [
            f"The labels were not probed: two need at least {least} groups of prompts each, and there "
            f"are {shown}; give more prompts with labels, or merge labels"
        ]
    elif few:
        reasons = [
            f"Labels of fewer than {least} groups of prompts were not probed: {', '.join(few[:4])}"
            + (f" and {len(few) - 4} more" if len(few) > 4 else "")
            + "; give more of these, or merge labels"
        ]
    rows = [i for i, prompt in enumerate(rendered.prompts) if prompt.label in classes]
    return rows, classes, reasons
