"""How much memory this process holds, where the system tells."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import torch

from interp.models.model import Model
from interp.models.pair import ModelPair

#: Of Linux: pages held, the second number.
STATM = Path("/proc/self/statm")


def held_bytes(pair: ModelPair) -> tuple[int, int]:
    """(now, at most so far): of the process on a CPU, of the devices elsewhere.

    Where a system tells neither, the weights stand for both.

    Args:
        pair: the models, whose devices are asked.
    """
    device = pair.base.device
    gpus = [device for device in pair.base.placement.devices if device.type == "cuda"]
    if gpus:
        now = sum(torch.cuda.memory_allocated(gpu) for gpu in gpus)
        return now, sum(torch.cuda.max_memory_allocated(gpu) for gpu in gpus)
    if device.type != "cpu" or find_spec("resource") is None:
        weights = sum(weights_bytes(model) for model in (pair.base, pair.tuned))
        return weights, weights
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    most *= 1 if sys.platform == "darwin" else 1024
    if not STATM.exists():
        return most, most
    return int(STATM.read_text().split()[1]) * resource.getpagesize(), most


def weights_bytes(model: Model) -> int:
    """Bytes of a model's parameters.

    Args:
        model: any.
    """
    parameters = model.bridge.original_model.parameters()
    return sum(p.numel() * p.element_size() for p in parameters)
