"""What one method alone would have said of place and kind: the baselines a verdict must beat.

Each is read as it is commonly read, by a rule declared here, and always answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

import patching
import probes
from interp.activations import Activations, collect
from interp.evidence import Evidence
from interp.examples import Examples
from interp.facts.types import FactSet
from interp.metrics import token_contrast
from interp.models.pair import ModelPair
from interp.sites import Site, boundaries
from interp.verdict.outcomes import Outcomes
from patching.weights.parameters import Parameters

#: Distinct outputs up to which a change is called a behaviour.
FEW_OUTPUTS = 3
#: Share of changed outputs that a mean difference must bring about to be called a behaviour.
BROUGHT_ABOUT = 0.5
#: Balanced accuracy up to which a probe is said to read nothing of a two-valued attribute.
UNREAD = 0.75
#: Attributes whose commonest value a probe looks for; the first that the facts have.
PARTS = ("region", "continent")
#: Share of an effect from which last-token patching is said to restore it.
RESTORED = 0.5


@dataclass(frozen=True, eq=False)
class Changed:
    """The changed questions of a comparison, as single methods look at them.

    Attributes:
        pair: the two models.
        outcomes: what both said.
        evidence: of the comparison.
        facts: what was asked.
    """

    pair: ModelPair
    outcomes: Outcomes
    evidence: Evidence
    facts: FactSet

    @cached_property
    def rows(self) -> tuple[Examples, list[int], list[int]]:
        """The questions on the estimating form, with the base's and the tuned model's token."""
        table = self.outcomes.table
        chosen = table["group"].isin(self.outcomes.confirmed_groups)
        table = table[chosen & (table["form"] == self.outcomes.estimating_form)]
        texts, groups = table["text"].tolist(), table["group"].tolist()
        starts = [text.index(group) for text, group in zip(texts, groups, strict=True)]
        spans = [(s, s + len(group)) for s, group in zip(starts, groups, strict=True)]
        examples = Examples.from_text(self.pair.base, texts, subjects=spans, groups=groups)
        return examples, table["base_token"].tolist(), table["tuned_token"].tolist()

    @cached_property
    def states(self) -> tuple[Mapping[Site, Activations], Mapping[Site, Activations]]:
        """Residual streams of both models at the last position, by boundary."""
        sites = boundaries(self.pair.base.n_layers)
        return tuple(collect(m, self.rows[0], sites) for m in (self.pair.base, self.pair.tuned))  # type: ignore[return-value]

    @property
    def steps(self) -> list[tuple[Tensor, Tensor]]:
        """States of base and tuned model, boundary by boundary."""
        base, tuned = self.states
        return [(base[site].values, tuned[site].values) for site in base]


def _half(by_block: Sequence[float] | Float[np.ndarray, " block"]) -> str:
    """The half in which more of something lies."""
    middle = len(by_block) // 2
    return "lower" if sum(by_block[:middle]) > sum(by_block[middle:]) else "upper"


def _kind(is_behaviour: bool) -> str:
    return "behaviour" if is_behaviour else "knowledge"


def weight_change(changed: Changed) -> str:
    """The half whose weights moved most: Σ ‖ΔW‖² over its blocks."""
    parameters = Parameters(changed.pair)
    squares = np.zeros(changed.pair.base.n_layers)
    for slot in (parameters.slots[i] for i in parameters.of_blocks()):
        if slot.live and slot.layer is not None:
            squares[slot.layer] += float((slot.value("tuned") - slot.value("base")).square().sum())
    return _half(squares)


def single_grafts(changed: Changed) -> str:
    """The half of the one block whose tuned weights change the base's answer most."""
    examples, base, tuned = changed.rows
    contrast = token_contrast(examples, base, tuned)
    sets = [patching.Blocks((block,)) for block in range(changed.pair.base.n_layers)]
    rows = patching.graft(changed.pair, examples, contrast, sets, repeats=0).where(model="base")
    grafted = rows[rows["condition"] == "grafted"].groupby("layer")["value"].mean()
    strongest = int(grafted.index[int(grafted.to_numpy().argmin())])
    return "lower" if strongest < changed.pair.base.n_layers // 2 else "upper"


def last_token_patching(changed: Changed) -> str:
    """The half in which the tuned state of the last position alone begins to carry the answer."""
    rows = changed.evidence.rows(method="cross_patch", metric="output")
    base, tuned = (
        rows[(rows["condition"] == "baseline") & (rows["model"] == role)]["value"].mean()
        for role in ("base", "tuned")
    )
    patched = rows[(rows["condition"] == "patched") & (rows["model"] == "base")]
    patched = patched[patched["span"] == "last"].groupby("layer")["value"].mean()
    carried = patched.index[(patched - base) / (tuned - base) >= RESTORED]
    middle = changed.pair.base.n_layers // 2
    return "lower" if len(carried) and int(carried.min()) <= middle else "upper"


def state_difference(changed: Changed) -> str:
    """The half over which ‖h_T − h_B‖ / ‖h_B‖ at the last position grows most."""
    sizes = [float(((t - b).norm(dim=1) / b.norm(dim=1)).mean()) for b, t in changed.steps]
    return _half(np.diff(sizes))


def similarity(changed: Changed) -> str:
    """The half over which linear CKA of the two models' states at the last position falls most.

    CKA = ‖XᵀY‖² / (‖XᵀX‖ ‖YᵀY‖), columns centred (1905.00414).
    """

    def cka(x: Tensor, y: Tensor) -> float:
        x, y = x - x.mean(0), y - y.mean(0)
        scale = (x.T @ x).norm() * (y.T @ y).norm()
        return float((x.T @ y).square().sum() / scale) if scale > 0 else 1.0

    return _half(-np.diff([cka(base, tuned) for base, tuned in changed.steps]))


def distinct_outputs(changed: Changed) -> str:
    """A behaviour where the tuned model says few different things."""
    return _kind(len(set(changed.rows[2])) <= FEW_OUTPUTS)


def mean_difference_lens(changed: Changed) -> str:
    """A behaviour where the unembedding reads the tuned token from the mean difference of states."""
    base, tuned = changed.steps[-1]
    mean = (tuned - base).mean(0, keepdim=True)
    said = changed.pair.base.readout(mean).argmax(-1)
    return _kind(float((said == torch.tensor(changed.rows[2])).float().mean()) >= BROUGHT_ABOUT)


def logit_shift(changed: Changed) -> str:
    """A behaviour where the base's logits plus the mean change of logits say the tuned token."""
    base, tuned = (changed.pair.base.readout(s) for s in changed.steps[-1])
    said = (base + (tuned - base).mean(0)).argmax(-1)
    return _kind(float((said == torch.tensor(changed.rows[2])).float().mean()) >= BROUGHT_ABOUT)


def probe_only(changed: Changed) -> str:
    """A behaviour where a probe still reads the old part from the tuned state of the subject."""
    examples, facts = changed.rows[0], changed.facts.facts
    name = next(name for name in PARTS if any(name in fact.attributes for fact in facts))
    part = {fact.group: fact.attributes.get(name) for fact in facts}
    ((commonest, _),) = Counter(part[group] for group in examples.groups).most_common(1)
    labels = torch.tensor([int(part[group] == commonest) for group in examples.groups])
    if min(int(labels.sum()), int((1 - labels).sum())) < 8:
        return "behaviour"
    site = boundaries(changed.pair.base.n_layers)[changed.pair.base.n_layers // 2]
    states = collect(changed.pair.tuned, examples, [site], positions="subject_last")
    held_out = probes.cross_validate(
        {site: states[site].with_labels(labels)}, controls=(), attribute=name
    )
    read = probes.balanced_accuracy(held_out).iloc[0]["estimate"]
    return _kind(float(read) >= UNREAD)


#: Method -> what it says of the place.
PLACES: Mapping[str, Callable[[Changed], str]] = {
    "weight change": weight_change,
    "single-block grafts": single_grafts,
    "last-token patching": last_token_patching,
    "state difference": state_difference,
    "CKA": similarity,
}
#: Method -> what it says of the kind.
KINDS: Mapping[str, Callable[[Changed], str]] = {
    "distinct outputs": distinct_outputs,
    "mean-difference lens": mean_difference_lens,
    "logit shift": logit_shift,
    "probe only": probe_only,
}
