"""Synthetic activations whose answer is known."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import probes
from interp.activations import Activations
from interp.sites import Kind, Site

Toy = dict[Site, Activations]


def planted(
    n_groups: int = 60,
    per_group: int = 2,
    d: int = 32,
    strength: float = 4.0,
    layers: int = 2,
    seed: int = 0,
    within: bool = True,
    model: str = "base",
    classes: int = 2,
) -> tuple[Toy, torch.Tensor]:
    """Noise plus strength · label · u at every layer but the first; also returns u.

    `within`: a group holds every label in turn (true and false statements of one entity); otherwise
    all rows of a group have one label (an attribute of the entity).
    """
    generator = torch.Generator().manual_seed(seed)
    group = np.repeat(np.arange(n_groups), per_group)
    turn = np.tile(np.arange(per_group), n_groups)
    labels = torch.from_numpy((turn if within else group) % classes)
    u = torch.randn(classes, d, generator=generator)
    u = u / u.norm(dim=1, keepdim=True)
    names = tuple(f"g{g:03d}" for g in group)
    out = {}
    for layer in range(layers):
        values = torch.randn(len(group), d, generator=generator) + 10.0
        if layer > 0:
            signal = u[labels] if classes > 2 else labels[:, None] * u[1]
            values = values + strength * signal
        site = Site(Kind.RESID_PRE, layer)
        out[site] = Activations(site, values, names, labels, "last", model)
    return out, u[1]


def part(toy: Toy, keep: np.ndarray, model: str | None = None) -> Toy:
    """The chosen examples of every site."""
    out = {}
    for site, a in toy.items():
        assert a.labels is not None
        groups = tuple(np.array(a.groups)[keep].tolist())
        index = torch.from_numpy(np.flatnonzero(keep))
        out[site] = Activations(
            site, a.values[index], groups, a.labels[index], a.position, model or a.model
        )
    return out


def halves(toy: Toy) -> tuple[Toy, Toy]:
    """Train and test examples without a shared group."""
    first = next(iter(toy.values()))
    names = sorted(set(first.groups))
    keep = np.isin(np.array(first.groups), names[: len(names) // 2])
    return part(toy, keep), part(toy, ~keep)


def correlated(n: int, d: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Correlated rows with an offset, class means apart, and labels."""
    generator = np.random.default_rng(seed)
    y = np.arange(n) % classes
    x = generator.normal(size=(n, d)) @ generator.normal(size=(d, d)) + 20.0
    return x + 3 * generator.normal(size=(classes, d))[y], y


def draw(labels: np.ndarray) -> torch.Tensor:
    """One draw of labels or quantities."""
    return torch.from_numpy(labels)[None]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Between two vectors."""
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


SITE = Site(Kind.RESID_PRE, 0)
READERS: dict[str, Callable[[Activations], Any]] = {
    "fit": lambda a: probes.fit(a),
    "cross_validate": lambda a: probes.cross_validate(a, seed=0),
    "held_out_margins": lambda a: probes.held_out_margins(a, seed=0),
    "learning_curve": lambda a: probes.learning_curve(a, seed=0),
    "description_length": lambda a: probes.description_length(a, seed=0),
    "permutation_null": lambda a: probes.permutation_null(a, permutations=9, planted=1, seed=0),
    "leace": lambda a: probes.leace(a),
    "inlp": lambda a: probes.inlp(a),
    "check_erasure": lambda a: probes.check_erasure(a, seed=0),
    "fit_quantity": lambda a: probes.fit_quantity(a),
    "contrast_consistent": lambda a: probes.contrast_consistent(a, a),
}


def sample(n: int = 24, **changes: Any) -> Activations:
    """Well-formed activations, then changed."""
    values = torch.randn(n, 5, generator=torch.Generator().manual_seed(0))
    fields = {"values": values, "groups": tuple(f"g{i}" for i in range(n))}
    return Activations(SITE, **{**fields, "labels": torch.arange(n) % 2, **changes})
