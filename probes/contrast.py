"""Contrast-consistent search: a truth direction found without labels.

Each statement is given in two forms that contradict each other ("… is true", "… is not true"). A
reader p(x) = σ(w·x̃ + b) is sought for which the two answers add up to one and are not undecided,

    mean_i (p(x⁺_i) + p(x⁻_i) − 1)² + min(p(x⁺_i), p(x⁻_i))²,

where x̃ is standardised within each form, so that the wording itself cannot be read. Labels only turn
the sign. What is found need not be truth: any property that the two forms contradict each other in
fits as well (2312.10029).

Source: Burns et al., 2212.03827.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.activations import Activations
from probes.data import problem
from probes.estimators.choosing import check_count
from probes.linear import LinearProbe, weight_dtype
from probes.splits import balance, group_folds, splits_of

_STEPS = 200


def contrast_consistent(
    affirmed: Activations, denied: Activations, *, restarts: int = 10, folds: int = 5, seed: int = 0
) -> LinearProbe:
    """A probe for the affirmed form; `labels` say whether the affirmed statement is true.

    `score` is the balanced accuracy of ½ (p(x⁺) + 1 − p(x⁻)) on groups held out of the search and
    of the choice of the sign, None with fewer groups than folds.

    Raises:
        ValueError: if the two forms differ in examples or site, hold other than two classes, or are
            malformed, or if there is no restart.
    """
    check_count(restarts, "restarts")
    known = problem([affirmed, denied])
    if known.n_classes != 2 or affirmed.site != denied.site:
        raise ValueError(
            f"contrast pairs need two classes at one site, got {known.n_classes} classes at "
            f"{affirmed.site} and {denied.site}; collect both forms with the same call"
        )
    x, y = (a.values.detach().double().cpu() for a in (affirmed, denied))
    score = None
    if len(known.names) >= folds:
        correct = np.zeros(len(known.labels))
        fold = group_folds(known.groups, folds, seed=seed, labels=known.labels)
        for train, test in splits_of(fold):
            chance = _answers(x, y, known.labels, train, restarts, seed)[0]
            correct[test] = (chance[test].numpy() > 0.5) == (known.labels[test] == 1)
        score = float((correct * balance(known.labels, 2)).mean())
    everyone = np.arange(len(known.labels))
    _, weight, bias = _answers(x, y, known.labels, everyone, restarts, seed)
    weight, bias = (
        torch.stack([-x / 2, x / 2]).to(affirmed.values.device, weight_dtype(affirmed.values))
        for x in (weight, bias)
    )
    return LinearProbe(
        affirmed.site, weight, bias, "contrast_consistent", known.classes, score, affirmed.position
    )


def _answers(
    x: Tensor, y: Tensor, labels: np.ndarray, train: np.ndarray, restarts: int, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Probability that each affirmed statement is true; weight and bias for the affirmed form."""
    (a, scale, centre), (b, _, _) = _standardised(x, train), _standardised(y, train)
    weight, bias = _search(a[train], b[train], restarts, seed)
    chance = ((a @ weight + bias).sigmoid() + 1 - (b @ weight + bias).sigmoid()) / 2
    right = ((chance[train].numpy() > 0.5) == (labels[train] == 1)).mean()
    if right < 0.5:
        weight, bias, chance = -weight, -bias, 1 - chance
    raw = weight / scale
    return chance, raw, bias - raw @ centre


def _standardised(values: Tensor, train: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    centre, spread = values[train].mean(0), values[train].std(0, correction=0)
    scale = torch.where(spread > 1e-12 * spread.max(), spread, torch.inf)
    return (values - centre) / scale, scale, centre


def _search(
    a: Float[Tensor, "pair d"], b: Float[Tensor, "pair d"], restarts: int, seed: int
) -> tuple[Float[Tensor, " d"], Float[Tensor, ""]]:
    """The best of several searches from random starts, all in one run of L-BFGS."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(a.shape[1], restarts, generator=generator, dtype=torch.float64)
    weight = (start / start.norm(dim=0)).requires_grad_()
    bias = torch.zeros(restarts, dtype=torch.float64, requires_grad=True)

    def losses() -> Tensor:
        p, q = (a @ weight + bias).sigmoid(), (b @ weight + bias).sigmoid()
        return ((p + q - 1).square() + torch.minimum(p, q).square()).mean(0)

    optimiser = torch.optim.LBFGS(
        [weight, bias], max_iter=_STEPS, history_size=20, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = losses().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimiser.step(closure)
    best = int(losses().detach().argmin())
    return weight.detach()[:, best], bias.detach()[best]
