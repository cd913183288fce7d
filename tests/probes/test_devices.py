"""No reader mixes devices: the rules of a GPU, imitated on a machine without one."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from probe_toys import READERS, sample
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree

import probes
from interp.activations import Activations

CUDA, PATH = torch.device("cuda", 0), (0.1, 1.0)


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


def far(value: Any, yes: bool = True) -> Any:
    """The same, its tensors counted as on the GPU or not."""
    for one in _pytree.tree_leaves(value):
        if isinstance(one, Tensor):
            one.__dict__["far"] = yes
    return value


def is_far(value: Any) -> bool:
    """Whether a device or tensor in it is a GPU's."""
    if isinstance(value, str | torch.device):
        return torch.device(value).type == "cuda"
    return any(getattr(one, "__dict__", {}).get("far", False) for one in _pytree.tree_leaves(value))


class Imitated(TorchFunctionMode):
    """Inside the `with`, operations on CPU tensors keep to what CUDA would allow."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One operation."""
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        if func == Tensor.device.__get__:
            return CUDA if is_far(args[0]) else func(*args)
        if name in ("numpy", "__array__") and is_far(args[0]):
            raise TypeError("numpy cannot hold a tensor on cuda:0")
        if name in ("cpu", "to"):
            given = (*args[1:], *kwargs.values(), *(["cpu"] if name == "cpu" else []))
            place = [x for x in given if isinstance(x, Tensor | torch.device | str)] or [args[0]]
            kinds = [getattr(x, "dtype", x) for x in given]
            kind = next((x for x in kinds if isinstance(x, torch.dtype)), args[0].dtype)
            same = is_far(place[0]) == is_far(args[0]) and kind == args[0].dtype
            return args[0] if same else far(args[0].clone().to(kind), is_far(place[0]))
        used = (*args, kwargs)
        if name in ("__getitem__", "__setitem__"):
            if is_far(args[1]) and not is_far(args[0]):
                raise RuntimeError("a tensor on the CPU is indexed by one on cuda:0")
            used = (args[0], *args[2:])
        place = is_far(used)
        if kwargs.get("device") is not None:
            place, kwargs["device"] = is_far(kwargs["device"]), "cpu"
        elif place and any(
            isinstance(x, Tensor) and x.ndim and not is_far(x) for x in _pytree.tree_leaves(used)
        ):
            raise RuntimeError(f"{name}: tensors on cuda:0 and on the CPU")
        return far(func(*args, **kwargs), place)


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sites would be read on threads, which the imitation does not follow."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)


@pytest.mark.parametrize("reader", CALLS)
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
