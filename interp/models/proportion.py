"""What settings describe beside what files hold, before memory is taken for it.

A configuration of a few bytes can ask for any number of weights; a library makes them all and only then
finds that the files hold others. Here they are counted first, on a device without memory.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from interp.untrusted.weights import check_proportion


def refuse_outsized(source: Path, config: Any, held: int) -> None:
    """Refuse a configuration that describes far more numbers than its files hold.

    Args:
        source: where the configuration stands, for the message.
        config: of transformers.
        held: how many numbers the files hold.

    Raises:
        ValueError: one line with both.
    """
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            config, attn_implementation="eager", trust_remote_code=False
        )
    check_proportion(source, _numbers(model), held)


def refuse_outsized_adapter(source: Path, model: Any, config: Any, held: int) -> None:
    """Refuse an adapter's settings that describe far more numbers than its file and the base hold.

    Args:
        source: where the settings stand, for the message.
        model: the base, which is left as it is.
        config: of peft.
        held: how many numbers the adapter's file holds.

    Raises:
        ValueError: one line with both.
    """
    import peft

    config = deepcopy(config)
    if hasattr(config, "init_lora_weights"):
        config.init_lora_weights = True  # the others read weights, which are not there, to start from
    try:
        with torch.device("meta"):
            bare = type(model)(deepcopy(model.config))
            before = _numbers(bare)
            wrapped = peft.PeftModel(bare, config, low_cpu_mem_usage=True)  # pyright: ignore[reportArgumentType]
    except Exception:  # said where the adapter itself is made
        return
    check_proportion(source, _numbers(wrapped) - 2 * before, held)


def _numbers(model: torch.nn.Module) -> int:
    """Numbers of four bytes that a model's parameters and buffers take."""
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) // 4
