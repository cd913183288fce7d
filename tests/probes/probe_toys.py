"""Synthetic activations whose answer is known."""

import numpy as np
import torch

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
