"""Contrast-consistent search finds a planted truth without labels, and nothing where there is none."""

import pytest
import torch

from interp.activations import Activations
from interp.sites import Kind, Site
from probes.contrast import contrast_consistent

SITE = Site(Kind.RESID_PRE, 3)


def pairs(strength: float, n: int = 300, d: int = 20) -> tuple[Activations, Activations, torch.Tensor]:
    """Affirmed and denied forms that differ in wording (a loud offset) and in truth."""
    generator = torch.Generator().manual_seed(0)
    u, wording = torch.nn.functional.normalize(torch.randn(2, d, generator=generator), dim=1)
    labels = torch.randint(2, (n,), generator=generator)
    topic = torch.randn(n, d, generator=generator)
    sign = (2 * labels - 1)[:, None] * strength * u
    noise = 0.3 * torch.randn(2, n, d, generator=generator)
    groups = tuple(f"g{i // 2}" for i in range(n))
    affirmed = topic + sign + noise[0]
    denied = topic - sign + noise[1] + 20 * wording
    return Activations(SITE, affirmed, groups, labels), Activations(SITE, denied, groups, labels), u


def test_the_planted_truth_is_found_without_labels() -> None:
    affirmed, denied, u = pairs(strength=2.0)
    probe = contrast_consistent(affirmed, denied)
    assert probe.score is not None and probe.score > 0.9
    assert probe.direction().vector @ u > 0.8
    flipped = Activations(SITE, affirmed.values, affirmed.groups, 1 - affirmed.labels)
    other = Activations(SITE, denied.values, denied.groups, 1 - denied.labels)
    turned = contrast_consistent(flipped, other)
    assert torch.allclose(turned.weight, -probe.weight)  # labels turn the sign and nothing else
    guess = probe.predict(affirmed.values)
    assert (guess == affirmed.labels).double().mean() > 0.85


def test_nothing_is_found_where_nothing_is_planted() -> None:
    affirmed, denied, _ = pairs(strength=0.0)
    probe = contrast_consistent(affirmed, denied)
    assert probe.score is not None and abs(probe.score - 0.5) < 0.12


def test_the_two_forms_must_match() -> None:
    affirmed, denied, _ = pairs(strength=1.0)
    shorter = Activations(SITE, denied.values[:-1], denied.groups[:-1], denied.labels[:-1])
    with pytest.raises(ValueError, match="one row per group entry|same examples"):
        contrast_consistent(affirmed, shorter)
    elsewhere = Activations(Site(Kind.RESID_PRE, 4), denied.values, denied.groups, denied.labels)
    with pytest.raises(ValueError, match="contrast pairs need two classes at one site"):
        contrast_consistent(affirmed, elsewhere)
    with pytest.raises(ValueError, match="restarts must be at least 1, got 0"):
        contrast_consistent(affirmed, denied, restarts=0)
