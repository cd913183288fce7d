"""What tuning adds to the state: the push of each prompt, predicted from other prompts.

δ_i = h_T,i - h_B,i, position by position. Predictions are cross-fitted by ridge from the base's own
state, never from prompts that have the predicted state too; means leave the prompt itself out. Where
many prompts share the tuned model's token they are a part of their own: over a mixture of two changes
a common push is too weak for either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.activations import collect, collect_both
from interp.examples import Examples
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.sites import Site, boundaries
from patching.engine.beginnings import common_to_all, levelled
from patching.methods.slots import Layout, predict_by_slot

#: Folds of the cross-fitted predictions.
FOLDS = 5

#: The part of the entities whose tuned token too few share; fewer than a part needs have none of
#: their own, and take what all entities have in common.
REST, COMMON = -1, -2

#: Tensors as large as one boundary's states that are alive while it is tested.
ALIVE = 12


@dataclass(frozen=True, eq=False)
class Push:
    """Everything the test writes, at one boundary, over the changed prompts.

    Attributes:
        predicted: the push predicted from all other entities, [example, position, d].
        by_part: the push predicted from the entities of the same part.
        mean: the leave-one-out mean of the push, over the same part.
        class_state: the tuned state replaced by its part's mean, the control that destroys the fact.
        tuned: the tuned state.
        moved: whether tuning added anything here; where it did not, the push is zero.
    """

    predicted: Float[Tensor, "example position d"]
    by_part: Float[Tensor, "example position d"]
    mean: Float[Tensor, "example position d"]
    class_state: Float[Tensor, "example position d"]
    tuned: Float[Tensor, "example position d"]
    moved: bool


@dataclass(frozen=True, eq=False)
class Parts:
    """Which part each changed prompt belongs to, and how each is dealt into folds.

    Attributes:
        label: the tuned token where enough prompts share it, else `REST` or `COMMON`.
        fold: fold of each prompt among all.
        fold_in_part: fold of each prompt among its part; in the rest, one token is in one fold.
        said: the tuned token of each prompt.
        least: how many prompts of one token are a part.
    """

    label: Int[Tensor, " example"]
    fold: Int[Tensor, " example"]
    fold_in_part: Int[Tensor, " example"]
    said: Int[Tensor, " example"]
    least: int

    @classmethod
    def of(cls, said: Int[Tensor, " example"], least: int, generator: torch.Generator) -> Parts:
        """Deal prompts into parts and folds; tokens that fewer than `least` share are the rest."""
        order = torch.randperm(len(said), generator=generator).to(said.device)
        inverse, label = said.unique(return_inverse=True)[1], part_of(said, least)
        inside = torch.zeros_like(said)
        for part in label.unique():
            members = label == part
            dealt = inverse[members].unique(return_inverse=True)[1]
            if part != REST:
                dealt = order[members].argsort().argsort()
            inside[members] = dealt % FOLDS
        return cls(label, order % FOLDS, inside, said, least)

    def predict(
        self,
        features: Float[Tensor, "example f"],
        layout: Layout,
        slots: Float[Tensor, "example slot d"],
    ) -> tuple[Float[Tensor, "example slot d"], Float[Tensor, "example slot d"]]:
        """Cross-fitted predictions from all other prompts, and from those of the same part.

        What is no part, or holds one token only among the rest, takes the common prediction.
        """
        common = predict_by_slot(features, slots, layout, self.fold, self.said, self.least)
        by_part = common.clone()
        labels = self.label.unique()
        for part in labels if len(labels) > 1 else ():
            members = (self.label == part).nonzero()[:, 0]
            folds, said = self.fold_in_part[members], self.said[members]
            if part != COMMON and len(folds.unique()) > 1:
                inside = layout.subset(members)
                by_part[members] = predict_by_slot(
                    features[members], slots[members], inside, folds, said, self.least
                )
        return common, by_part

    def others_mean(
        self, layout: Layout, slots: Float[Tensor, "example slot d"]
    ) -> Float[Tensor, "example slot d"]:
        """Leave-one-out mean over the other prompts of the part, or over all where there is none."""
        of_part = layout.others_mean(slots, self.label)
        everyone = layout.others_mean(slots, torch.zeros_like(self.label))
        return of_part.where((self.label != COMMON)[:, None, None], everyone)


def part_of(said: Int[Tensor, " example"], least: int) -> Int[Tensor, " example"]:
    """The part of each prompt.

    The tuned token where at least so many prompts share it. The others are `REST` where they are as
    many, or all there is, and `COMMON` where they are fewer.
    """
    inverse, counts = said.unique(return_inverse=True, return_counts=True)[1:]
    rest = counts[inverse] < least
    few = bool(rest.sum() < least) and not bool(rest.all())
    return said.where(~rest, COMMON if few else REST)


def read_with(label: Int[Tensor, " example"]) -> Int[Tensor, " example"]:
    """The part at whose boundary each prompt is read: `COMMON` goes with the largest."""
    parts = label[label != COMMON]
    return label.where(label != COMMON, parts.mode().values)


def pushes(
    pair: ModelPair, examples: Examples, parts: Parts, max_bytes: int
) -> Iterator[dict[int, Push]]:
    """The push at every boundary, by boundary, as many at once as half of the memory holds."""
    for sites in read_together(pair.base, examples, max_bytes):
        both = collect_both(pair, examples, list(sites.values()), ["all"])
        base, tuned = (both[role, "all"] for role in (pair.base.role, pair.tuned.role))
        yield {
            k: push_at(examples, base[site].values, tuned[site].values, parts)
            for k, site in sites.items()
        }


def read_together(model: Model, examples: Examples, max_bytes: int) -> list[dict[int, Site]]:
    """The boundaries in runs whose states fit half of the memory together."""
    sites = boundaries(model.n_layers)
    step = max(1, int(max_bytes / 2 / states_bytes(model, examples)) // ALIVE)
    return [dict(enumerate(sites[start : start + step], start)) for start in range(0, len(sites), step)]


def states_bytes(model: Model, examples: Examples) -> int:
    """Bytes of one boundary's states, padding included."""
    item = 4 if model.dtype != torch.float64 else 8
    return examples.tokens.numel() * model.d_model * item


def push_at(
    examples: Examples,
    base: Float[Tensor, "example position d"],
    tuned: Float[Tensor, "example position d"],
    parts: Parts,
) -> Push:
    """Estimate the push at one boundary from both models' states there."""
    layout = Layout.of(examples)
    base, tuned = (levelled(examples, part.nan_to_num(0.0)) for part in (base, tuned))
    push, beginning = tuned - base, common_to_all(examples)[..., None]
    by_slot = layout.gather(push)
    # Where all prompts begin alike their states are one: there is nothing to predict or to average.
    class_state = tuned.where(beginning, layout.scatter(_part_mean(layout, tuned, parts)))
    if not by_slot.any():
        nothing = torch.zeros_like(tuned)
        return Push(nothing, nothing, nothing, class_state, tuned, moved=False)
    row = torch.arange(len(examples), device=base.device)
    features = torch.cat([base[row, examples.position(p)] for p in reading_places(examples)], 1)
    common, of_part = parts.predict(features, layout, by_slot)
    predicted, by_part, mean = (
        push.where(beginning, layout.scatter(slots))
        for slots in (common, of_part, parts.others_mean(layout, by_slot))
    )
    return Push(predicted, by_part, mean, class_state, tuned, moved=True)


def reading_places(examples: Examples) -> list[str]:
    """Where the base's state is read: the last token, and the subject's last and first where there are.

    In low blocks each token of a name tells of itself alone, so that what hangs on the first one, such
    as an echo of it, is in no state at the last.
    """
    if "subject" not in examples.spans:
        return ["last"]
    of_one = torch.equal(examples.position("subject_first"), examples.position("subject_last"))
    return ["last", "subject_last", *([] if of_one else ["subject_first"])]


def _part_mean(
    layout: Layout, tuned: Float[Tensor, "example position d"], parts: Parts
) -> Float[Tensor, "example slot d"]:
    """The mean of the tuned states of each prompt's part, the prompt itself left out."""
    slots = layout.gather(tuned)
    of_part = parts.others_mean(layout, slots)
    # A slot no other prompt of the part has: any other prompt's mean, so identity never leaks.
    anyone = layout.others_mean(slots, torch.zeros_like(parts.label))
    lonely = (of_part == 0).all(-1, keepdim=True)
    return of_part.where(~lonely, anyone)


def null_shift(
    base: Model, null: Model, examples: Examples, installed: Mapping[int, Tensor]
) -> dict[int, Float[Tensor, "example position d"]]:
    """The leave-one-out mean of what a null tune adds, at each boundary, for the prompts read there."""
    sites = boundaries(base.n_layers)
    wanted = [sites[k] for k in installed]
    ours = collect(base, examples, wanted, positions="all")
    theirs = collect(null, examples, wanted, positions="all")
    layout = Layout.of(examples)
    everyone = torch.zeros(len(examples), dtype=torch.long, device=examples.tokens.device)
    shifts = {}
    for k, members in installed.items():
        delta = (theirs[sites[k]].values - ours[sites[k]].values).nan_to_num(0.0)
        mean = layout.scatter(layout.others_mean(layout.gather(delta), everyone))
        shifts[k] = mean[members]
    return shifts
