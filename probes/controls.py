"""Controls: what a probe reaches when there is nothing to read, or something trivial to read.

* ``shuffled``: the training labels permuted over groups, scored on the real held-out labels.
* ``control_task``: labels with the same statistics assigned at random to groups, scored on those
  same random labels (Hewitt & Liang, 1909.03368). Their selectivity is measured on unseen tokens of
  seen types; here held-out groups are unseen types, so a control task can only be guessed, and
  accuracy(real) − accuracy(control task) says how far the probe is above guessing under the same
  label statistics, folds and sample size. It does not measure how much a probe could memorise.
* ``random_features``: Gaussian features of the same dimension. With token counts at hand each token
  has a random vector and an example is the sum over its tokens; without, each example has its own.
* ``surface``: the probe on token counts and length alone; ``surface_NAME`` for several trivial
  readers (see `surface_features`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from sklearn.feature_extraction.text import CountVectorizer
from torch import Tensor

from interp._aliases import formerly
from interp.activations import Activations
from interp.directions import Direction, Subspace
from probes.data import labelled_sites
from probes.estimators.class_means import MassMean

CONTROLS = ("shuffled", "control_task", "random_features")

#: Features of one trivial reader, or of several by name.
Surface = Tensor | Mapping[str, Tensor]


def permute_over_groups(
    labels: np.ndarray, groups: np.ndarray, draws: int, generator: np.random.Generator
) -> np.ndarray:
    """Labels permuted over groups, shape (draws, example), with the same label statistics over groups.

    Where groups differ in size the shares of examples move with them. Groups of one label swap labels
    among themselves, whatever their size. Groups that hold several labels (a true and a false statement
    of one entity) swap label sets with groups of equal size and are then permuted inside. A permutation
    of single examples would break up the groups and make the null too narrow.

    Args:
        labels: one per example.
        groups: the group of each example.
        draws: number of permutations.
        generator: of random numbers.
    """
    permuted = np.empty((draws, len(labels)), dtype=labels.dtype)
    members = [np.flatnonzero(groups == g) for g in np.unique(groups)]
    constant = [m for m in members if (labels[m] == labels[m[0]]).all()]
    if constant:
        block = np.array([labels[m[0]] for m in constant])
        drawn = generator.permuted(np.tile(block, (draws, 1)), axis=1)
        size = [len(m) for m in constant]
        permuted[:, np.concatenate(constant)] = np.repeat(drawn, size, axis=1)
    mixed = [m for m in members if (labels[m] != labels[m[0]]).any()]
    for size in sorted({len(m) for m in mixed}):
        rows = np.stack([m for m in mixed if len(m) == size])
        order = generator.permuted(np.tile(np.arange(len(rows)), (draws, 1)), axis=1)
        drawn = generator.permuted(labels[rows][order], axis=2)
        permuted[:, rows.reshape(-1)] = drawn.reshape(draws, rows.size)
    return permuted


def random_features(
    n: int, d: int, generator: np.random.Generator, surface: Float[Tensor, "example feature"] | None
) -> Float[Tensor, "example d"]:
    """Gaussian features: a vector per token, summed over the example, or a vector per example."""
    if surface is None:
        return torch.from_numpy(generator.standard_normal((n, d)))
    vectors = torch.from_numpy(generator.standard_normal((surface.shape[1], d)))
    return surface.double().cpu() @ vectors


def bag_of_tokens(
    tokens: Int[Tensor, "example position"], mask: Bool[Tensor, "example position"]
) -> Float[Tensor, "example feature"]:
    """Counts of each token that occurs, one row per example, and its length as the last column.

    What a probe reads from these alone needs no model. A word that occurs in one example only tells
    nothing of others.

    Args:
        tokens: token ids.
        mask: True where there is a token and no padding.

    Returns:
        Counts and length, in tokens.

    Example:
        >>> import interp, probes
        >>> model = interp.load_model("organism-base")
        >>> examples = interp.Examples.from_text(model, interp.load_facts("world").prompts(0)[:8])
        >>> bag = probes.bag_of_tokens(examples.tokens, examples.mask)
        >>> bool((bag[:, -1] == examples.mask.sum(1)).all()), bool((bag[:, :-1].sum(0) > 0).all())
        (True, True)
    """
    vocabulary, code = torch.unique(tokens, return_inverse=True)
    counts = torch.zeros(len(tokens), len(vocabulary), dtype=torch.float32)
    counts.scatter_add_(1, code.cpu(), mask.float().cpu())
    used = counts.sum(0) > 0
    return torch.cat([counts[:, used], mask.sum(1, keepdim=True).float().cpu()], dim=1)


def surface_features(
    tokens: Int[Tensor, "example position"],
    mask: Bool[Tensor, "example position"],
    *,
    answers: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
) -> dict[str, Float[Tensor, "example feature"]]:
    """What a reader sees who looks at no meaning: one set of features per trivial reader.

    Give the whole mapping to `cross_validate`.

    Args:
        tokens: token ids.
        mask: True where there is a token and no padding.
        answers: the answer of each example.
        names: the name of each example's entity.

    Returns:
        Features by reader. ``tokens``: `bag_of_tokens`. ``length``: number of tokens. ``frequency``:
        mean, largest and last of log(1 + token number); tokenisers number their merges from the most
        frequent on, so this stands in for how rare the words are, roughly and without a corpus. With
        `answers` also ``answer``: their length in characters and in words. With `names` also
        ``letters``: counts of their one to three letters in a row, beginnings and ends of words
        marked; this reader meets new names, tokens do not.

    Raises:
        ValueError: if there is not one answer, or one name, per example.

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> examples = interp.Examples.from_text(model, facts.prompts(0))
        >>> features = probes.surface_features(
        ...     examples.tokens, examples.mask, answers=facts.answers, names=facts.subjects
        ... )
        >>> sorted(features), tuple(features["frequency"].shape)
        (['answer', 'frequency', 'length', 'letters', 'tokens'], (128, 3))
    """
    for argument, entries in (("answers", answers), ("names", names)):
        if entries is not None and len(entries) != len(tokens):
            raise ValueError(
                f"{argument} must have one entry per example, {len(tokens)}; got {len(entries)}"
            )
    present = mask.float().cpu()
    rarity = (1 + tokens.cpu().double()).log().float() * present
    last = (present * torch.arange(1, present.shape[1] + 1)).argmax(1, keepdim=True)
    mean = rarity.sum(1) / present.sum(1).clamp(min=1)
    features = {
        "tokens": bag_of_tokens(tokens, mask),
        "length": present.sum(1, keepdim=True),
        "frequency": torch.stack([mean, rarity.amax(1), rarity.gather(1, last)[:, 0]], 1),
    }
    if answers is not None:
        sizes = [(float(len(a)), float(len(a.split()))) for a in answers]
        features["answer"] = torch.tensor(sizes)
    if names is not None:
        counted: Any = CountVectorizer(analyzer="char_wb", ngram_range=(1, 3)).fit_transform(names)
        features["letters"] = torch.from_numpy(counted.toarray()).float()
    return features


def trivial_readers(surface: Surface | None, n: int) -> dict[str, Tensor]:
    """Features of trivial readers by condition: ``surface``, or ``surface_NAME`` of several.

    Args:
        surface: features of one reader, or of several by name.
        n: number of examples.

    Raises:
        ValueError: if a reader's features are no finite matrix of n rows.
    """
    if surface is None:
        return {}
    if isinstance(surface, Tensor):
        readers = {"surface": surface}
    else:
        readers = {f"surface_{name}": features for name, features in surface.items()}
    for name, features in readers.items():
        if features.ndim != 2 or len(features) != n:
            raise ValueError(
                f"{name} must be a matrix of one row per example, {n}; got {tuple(features.shape)}"
            )
        if not bool(torch.isfinite(features).all()):
            raise ValueError(f"{name} must be finite, got NaN or infinity; drop or fill those rows")
    return readers


def _control_weights(activations: Activations, draws: int, seed: int) -> Float[Tensor, "draw class d"]:
    """Class means of control-task labels."""
    data = labelled_sites(activations)
    generator = np.random.default_rng(seed)
    labels = permute_over_groups(data.labels, data.groups, draws, generator)
    weight, _ = MassMean().solve(activations.values, torch.from_numpy(labels), data.n_classes)
    return weight


@formerly(draws="repeats")
def control_directions(
    activations: Activations, *, repeats: int = 99, seed: int = 0
) -> Sequence[Direction]:
    """Mass-mean directions of control-task labels: the placebo for a causal test at this site.

    Random directions are far too weak a placebo, since they miss the directions in which the
    activations vary; a control-task direction differs from a probe's by nothing but the labels.

    Args:
        activations: of two classes, [example, d].
        repeats: number of directions.
        seed: of the permutations of the labels over groups.

    Returns:
        One direction of unit length per draw, at the site and position of the activations.

    Raises:
        ValueError: if there are more than two classes (use `control_subspaces`).

    Source: Hewitt & Liang, 1909.03368 (control tasks).

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> south = [region == "south" for region in facts.attribute("region")]
        >>> examples = interp.Examples.from_text(
        ...     model, facts.prompts(0), groups=facts.groups, labels=south
        ... )
        >>> site = interp.boundary(3, 6)
        >>> states = interp.collect(model, examples, site)[site]
        >>> placebos = probes.control_directions(states, repeats=9)
        >>> len(placebos), placebos[0].site == site
        (9, True)
    """
    weight = _control_weights(activations, repeats, seed)
    if weight.shape[1] != 2:
        raise ValueError(f"a direction needs two classes, got {weight.shape[1]}; use control_subspaces")
    vectors = (weight[:, 1] - weight[:, 0]).to(activations.values.dtype)
    site, position = activations.site, activations.position
    return [Direction(site, v, position, f"control_task draw {i}") for i, v in enumerate(vectors)]


@formerly(draws="repeats")
def control_subspaces(
    activations: Activations, *, repeats: int = 99, seed: int = 0
) -> Sequence[Subspace]:
    """Spans of control-task class means (rank: classes − 1), the placebo of `probe.subspace()`.

    Args:
        activations: of two classes or more, [example, d].
        repeats: number of subspaces.
        seed: of the permutations of the labels over groups.

    Returns:
        One subspace per draw, at the site and position of the activations.

    Raises:
        ValueError: on malformed activations or labels.

    Source: Hewitt & Liang, 1909.03368 (control tasks).

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> third = [i % 3 for i in range(len(facts))]
        >>> examples = interp.Examples.from_text(
        ...     model, facts.prompts(0), groups=facts.groups, labels=third
        ... )
        >>> site = interp.boundary(3, 6)
        >>> states = interp.collect(model, examples, site)[site]
        >>> [tuple(space.basis.shape) for space in probes.control_subspaces(states, repeats=2)]
        [(64, 2), (64, 2)]
    """
    weight = _control_weights(activations, repeats, seed)
    bases = (weight[:, 1:] - weight[:, :1]).mT.to(activations.values.dtype)
    site, position = activations.site, activations.position
    return [Subspace(site, b, position, f"control_task draw {i}") for i, b in enumerate(bases)]
