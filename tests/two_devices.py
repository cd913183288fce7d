"""The rules of a GPU, imitated on a machine without one: operations do not mix devices."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree

CUDA = torch.device("cuda", 0)


def far(value: Any, yes: bool = True) -> Any:
    """The same, its tensors counted as on the GPU or not; what shares memory shares the mark."""
    for one in _tensors(value):
        if one.layout is torch.strided:
            one.untyped_storage().far = yes  # pyright: ignore[reportAttributeAccessIssue]
    return value


def is_far(value: Any) -> bool:
    """Whether a device or tensor in it is a GPU's."""
    if isinstance(value, str | torch.device):
        return torch.device(value).type == "cuda"
    return any(
        getattr(one.untyped_storage(), "far", False)
        for one in _tensors(value)
        if one.layout is torch.strided
    )


def _tensors(value: Any) -> list[Tensor]:
    return [one for one in _pytree.tree_leaves(value) if isinstance(one, Tensor)]


class Imitated(TorchFunctionMode):
    """Inside the `with`, operations on CPU tensors keep to what CUDA would allow."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One operation."""
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        if func == Tensor.device.__get__:
            return CUDA if is_far(args[0]) else func(*args)
        if func == Tensor.data.__set__:  # a weight is moved in place
            return func(*args)
        if name in ("numpy", "__array__") and is_far(args[0]):
            raise TypeError("numpy cannot hold a tensor on cuda:0")
        if name in ("cpu", "to"):
            return _moved(args, kwargs, name)
        if func is torch.autograd.grad:  # of places on any device, each gradient on its own
            slopes = func(*args, **kwargs)
            pairs = zip(
                slopes, args[1] if isinstance(args[1], tuple | list) else [args[1]], strict=True
            )
            return tuple(far(slope, is_far(place)) for slope, place in pairs)
        used = (*args, kwargs)
        if name in ("__getitem__", "__setitem__"):
            if is_far(args[1]) and not is_far(args[0]):
                raise RuntimeError("a tensor on the CPU is indexed by one on cuda:0")
            used = (args[0], *args[2:])
        place = is_far(used)
        if kwargs.get("device") is not None:
            if torch.device(kwargs["device"]).type == "meta":
                return func(*args, **kwargs)
            place, kwargs["device"] = is_far(kwargs["device"]), "cpu"
        elif place and any(x.ndim and not is_far(x) for x in _tensors(used)):
            raise RuntimeError(f"{name}: tensors on cuda:0 and on the CPU")
        return far(func(*args, **kwargs), place)


def _moved(args: Any, kwargs: dict[str, Any], name: str) -> Tensor:
    """A tensor brought to a device or a dtype, itself where it is there and no copy is wanted."""
    given = (*args[1:], *kwargs.values(), *(["cpu"] if name == "cpu" else []))
    place = [x for x in given if isinstance(x, Tensor | torch.device | str)] or [args[0]]
    kinds = [getattr(x, "dtype", x) for x in given]
    kind = next((x for x in kinds if isinstance(x, torch.dtype)), args[0].dtype)
    same = is_far(place[0]) == is_far(args[0]) and kind == args[0].dtype and not kwargs.get("copy")
    return args[0] if same else far(args[0].clone().to(kind), is_far(place[0]))
