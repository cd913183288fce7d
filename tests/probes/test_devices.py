"""No reader mixes devices: the rules of a GPU, imitated on a machine without one."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from probe_toys import READERS, sample
from torch import Tensor
from two_devices import CUDA, Imitated, far

import probes
from interp.activations import Activations

PATH = (0.1, 1.0)


def planted(move: Callable[[Tensor], Tensor], **changes: Any) -> Activations:
    """80 entities with the label along the first feature, on another device."""
    a = sample(n=80)
    a.values[:, 0] += 4.0 * a.labels
    return sample(n=80, **{"values": move(a.values), "labels": move(a.labels), **changes})


def others() -> Activations:
    """80 other entities."""
    return planted(far, groups=tuple(f"h{i}" for i in range(80)))


CALLS: dict[str, Callable[[Activations], Any]] = READERS | {
    **{name: lambda a, name=name: probes.fit(a, estimator=name) for name in probes.ESTIMATORS},
    "reference": lambda a: probes.fit(a, estimator=probes.Logistic(backend="sklearn")),
    "logistic_path": lambda a: probes.fit(a, estimator=probes.Logistic(c=PATH)),
    "ridge_path": lambda a: probes.fit(a, estimator=probes.RidgeClassifier(alpha=PATH)),
    "k_sparse_path": lambda a: probes.fit(a, estimator=probes.KSparse(k=2, c=PATH)),
    "posterior": lambda a: probes.posterior(a, seed=0),
    "surface": lambda a: probes.cross_validate(a, surface=torch.rand(80, 3), seed=0),
    "erasing": lambda a: probes.leace(a).apply(a.values) - probes.inlp(a).apply(a.values),
    "predicting": lambda a: probes.fit_quantity(a).predict(a.values) + a.values[:, 0],
    "quantities": lambda a: probes.cross_validate_quantity(a, estimator=probes.Ridge(PATH), seed=0),
    "fit_labels": lambda a: probes.fit_labels(a, {"parity": [0, 1] * 40}),
    "control_directions": lambda a: probes.control_directions(a, repeats=3, seed=0),
    "train_test": lambda a: probes.train_test(a, others(), seed=0),
    "transfer": lambda a: probes.transfer(a, a, others(), repeats=2, seed=0),
    "generalisation": lambda a: probes.generalisation({"a": a, "b": others()}, seed=0),
}


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sites would be read on threads, which the imitation does not follow."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)


#: Those that take their time under the imitation.
LONG = ("erasing", "inlp")


@pytest.mark.parametrize(
    "reader", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in CALLS]
)
def test_every_reader_runs_to_its_end_where_two_devices_would_raise(reader: str) -> None:
    # Only that nothing is raised: what readers give is tested elsewhere, and what raises below.
    with Imitated():
        assert CALLS[reader](planted(far)) is not None


@pytest.mark.parametrize("reader", [*probes.ESTIMATORS, "contrast_consistent"])
def test_a_probe_stays_with_its_activations_and_computes_the_same(reader: str) -> None:
    at = planted(lambda value: value)
    plain = CALLS[reader](at)
    with Imitated():
        away = planted(far)
        probe = CALLS[reader](away)
        guess = probe.predict(away.values)
        devices = {x.device for x in (probe.weight, probe.bias, probe.direction().vector, guess)}
    assert devices == {CUDA} and torch.allclose(probe.weight, plain.weight)
    assert torch.equal(guess, plain.predict(at.values))


def test_the_imitation_refuses_what_a_gpu_refuses() -> None:
    there, here = far(torch.arange(3)), torch.arange(3)
    with Imitated():
        assert there.device == CUDA == (there[here] + 1).device == here.to(there).device
        assert there.cpu().device == here.device
        for call in (lambda: here[there], lambda: there + here, lambda: there.numpy()):
            with pytest.raises((RuntimeError, TypeError), match="cuda:0"):
                call()
