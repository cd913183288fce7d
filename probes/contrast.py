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
from probes.data import labelled_sites
from probes.estimators.base import two_class
from probes.estimators.choosing import check_count
from probes.linear import LinearProbe
from probes.splits import balance, group_folds, splits_of

_STEPS = 200


def contrast_consistent(
    affirmed: Activations, denied: Activations, *, restarts: int = 10, folds: int = 5, seed: int = 0
) -> LinearProbe:
    """A probe of the affirmed form, found without labels; these only turn its sign.

    mean_i (p(x⁺_i) + p(x⁻_i) − 1)² + min(p(x⁺_i), p(x⁻_i))² is minimised over both forms, each
    standardised by itself. What is found need not be truth: any property that the two forms contradict
    each other in fits as well (2312.10029).

    Args:
        affirmed: activations [example, d] of the affirmed statements; labels say whether they are true.
        denied: those of their denials, in the same order and at the same site.
        restarts: number of searches from random starts, of which the best is taken.
        folds: number of folds for the score.
        seed: of the starts and of the folds.

    Returns:
        A probe for the affirmed form. `score` is the balanced accuracy of ½ (p(x⁺) + 1 − p(x⁻)) on
        groups held out of the search and of the choice of the sign, None with fewer groups than folds.

    Raises:
        ValueError: if the two forms differ in examples or site, hold other than two classes, or are
            malformed, or if there is no restart.

    Source: Burns et al., 2212.03827.

    Example:
        >>> import interp, probes
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> south = [region == "south" for region in facts.attribute("region")]
        >>> site, forms = interp.boundary(6, 6), []
        >>> for form in (0, 1):
        ...     examples = interp.Examples.from_text(
        ...         model, facts.prompts(form), groups=facts.groups, labels=south
        ...     )
        ...     forms.append(interp.collect(model, examples, site)[site])
        >>> probe = probes.contrast_consistent(*forms, restarts=2, folds=2)
        >>> probe.estimator, tuple(probe.weight.shape)
        ('contrast_consistent', (2, 64))
    """
    check_count(restarts, "restarts")
    data = labelled_sites([affirmed, denied])
    if data.n_classes != 2 or affirmed.site != denied.site:
        raise ValueError(
            f"contrast pairs need two classes at one site, got {data.n_classes} classes at "
            f"{affirmed.site} and {denied.site}; collect both forms with the same call"
        )
    true_form, false_form = (a.values.detach().double().cpu() for a in (affirmed, denied))
    score = None
    if len(data.group_names) >= folds:
        correct = np.zeros(len(data))
        fold = group_folds(data.groups, folds, seed=seed, labels=data.labels)
        for train, test in splits_of(fold):
            answers = _answers(true_form, false_form, data.labels, train, restarts, seed)[0]
            correct[test] = (answers[test].numpy() > 0.5) == (data.labels[test] == 1)
        score = float((correct * balance(data.labels, 2)).mean())
    everyone = np.arange(len(data))
    _, weight, bias = _answers(true_form, false_form, data.labels, everyone, restarts, seed)
    solution = two_class(weight)[None], two_class(bias)[None]
    return LinearProbe.of(
        affirmed, solution, estimator="contrast_consistent", classes=data.classes, score=score
    )


def _answers(
    x: Tensor, y: Tensor, labels: np.ndarray, train: np.ndarray, restarts: int, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Probability that each affirmed statement is true; weight and bias for the affirmed form."""
    (a, scale, centre), (b, _, _) = _standardised(x, train), _standardised(y, train)
    weight, bias = _search(a[train], b[train], restarts, seed)
    probability = ((a @ weight + bias).sigmoid() + 1 - (b @ weight + bias).sigmoid()) / 2
    correct = ((probability[train].numpy() > 0.5) == (labels[train] == 1)).mean()
    if correct < 0.5:
        weight, bias, probability = -weight, -bias, 1 - probability
    raw = weight / scale
    return probability, raw, bias - raw @ centre


def _standardised(values: Tensor, train: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """The values standardised by the training rows, their spread and their centre."""
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
