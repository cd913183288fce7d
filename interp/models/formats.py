"""Reading what lies in files: model folders, GGUF files and tokenizers, whole or not at all.

Only safetensors and GGUF are read, never pickles, and no remote code is run. Transformers fills a
weight that it does not find with random numbers and goes on; here that is refused.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from interp.models.named import ADAPTER as ADAPTER_CONFIG
from interp.models.proportion import refuse_outsized
from interp.untrusted.gguf_header import read_header
from interp.untrusted.reading import read_json, reason
from interp.untrusted.weights import check_folder, check_settings, check_tokenizer, count, folder_shapes

#: Files of which any one makes a tokenizer.
_TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer.model", "spiece.model", "tekken.json", "vocab.json", "vocab.txt",
)  # fmt: skip

#: What makes a folder one of an adapter, to transformers too.

#: What a tokenizer is saved with beside those; some tokenizers need nothing else.
_TOKENIZER_CONFIG = "tokenizer_config.json"

#: The name of one part of a GGUF file that was split.
_PART = re.compile(r"-(\d{5})-of-(\d{5})$")

#: How safetensors names weights that are plain floating-point numbers.
_FLOATS = ("F64", "F32", "F16", "BF16")


@dataclass
class Loaded:
    """A transformers model with its tokenizer and what a reader should know about it.

    Attributes:
        model: on the CPU, in evaluation mode.
        tokenizer: the Hugging Face tokenizer, or None where the files hold none.
        name: the source it was read from.
        stored_dtype: the dtype named by the files, before conversion.
        warnings: what a reader of its numbers should know.
    """

    model: nn.Module
    tokenizer: Any
    name: str
    stored_dtype: str
    warnings: list[str] = field(default_factory=list)


@contextmanager
def quiet() -> Iterator[None]:
    """Hide other libraries' progress bars for single tensors and their notices to developers."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        if shown:
            logging.enable_progress_bar()


@quiet()
def from_folder(folder: Path, dtype: torch.dtype) -> Loaded:
    """The model in a folder written by `save_pretrained`, with its tokenizer where it has one.

    Raises:
        ValueError: one line, if anything of it is missing, pickled, quantised or unreadable.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    if not (folder / "config.json").is_file():
        raise ValueError(
            f"{folder} is not a model folder: expected config.json and *.safetensors in it; "
            "give a folder written by save_pretrained"
        )
    if not any(folder.glob("*.safetensors")):
        raise ValueError(
            f"{folder} has no *.safetensors; pickled weights (.bin, .pt) are never loaded; "
            "convert with save_pretrained(safe_serialization=True)"
        )
    check_folder(folder)
    stored = read_json(folder / "config.json")
    check_settings(folder / "config.json", stored)
    held = count(folder_shapes(folder))
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        refuse_outsized(folder / "config.json", config, held)
        model_and_report: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation="eager",
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below, by name
        )
    except Exception as error:
        raise ValueError(
            f"{folder} could not be loaded as a causal language model ({reason(error)}); "
            + (_quantised(folder, stored) or "check config.json and the safetensors")
        ) from error
    model, report = model_and_report
    _refuse_incomplete(folder, model, report)
    loaded = Loaded(model, read_tokenizer(folder), str(folder), _dtype_named(stored))
    unplaced = sorted(report["unexpected_keys"])
    if unplaced:
        loaded.warnings.append(
            f"{len(unplaced)} weights in {folder} have no place in {type(model).__name__} as its "
            f"config.json describes it, such as {unplaced[0]}; they are not used"
        )
    return loaded


@quiet()
def from_gguf(file: Path, dtype: torch.dtype) -> Loaded:
    """The model in a GGUF file, de-quantised.

    Raises:
        ValueError: one line, if it is one part of several, lacks weights, or cannot be read.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    part = _PART.search(file.stem)
    if part is not None and int(part[2]) > 1:
        others = f"{file.stem[: part.start()]}-*-of-{part[2]}{file.suffix}"
        raise ValueError(
            f"{file} is part {int(part[1])} of {int(part[2])} ({others}) and holds only some of the "
            "weights; join them with llama-gguf-split --merge and give the one file"
        )
    if (file.parent / ADAPTER_CONFIG).exists():
        raise ValueError(
            f"{file} lies beside an {ADAPTER_CONFIG}, which would name another model to load; move the "
            "file into a folder of its own"
        )
    header = read_header(file)
    check_settings(file, header.settings)
    try:
        config = AutoConfig.from_pretrained(
            file.parent, gguf_file=file.name, local_files_only=True, trust_remote_code=False
        )
        refuse_outsized(file, config, count(header.shapes))
        model_and_report: Any = AutoModelForCausalLM.from_pretrained(
            file.parent,
            gguf_file=file.name,
            config=config,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            attn_implementation="eager",
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below, by name
        )
    except Exception as error:
        raise ValueError(
            f"{file} could not be read as GGUF ({reason(error)}); give an intact .gguf of an "
            "architecture that transformers can de-quantise"
        ) from error
    quantised, report = model_and_report
    _refuse_incomplete(file, quantised, report)
    tokenizer = read_tokenizer(file)
    # The weights are plain tensors by now; a config without the quantiser lets them be saved.
    config = quantised.config
    for attribute in ("quantization_config", "_pre_quantization_dtype"):
        if hasattr(config, attribute):
            delattr(config, attribute)
    model = type(quantised)._from_config(config, attn_implementation="eager", dtype=dtype)
    model.load_state_dict(quantised.state_dict())
    return Loaded(model.eval(), tokenizer, str(file), "gguf")


@quiet()
def read_tokenizer(source: Path) -> Any:
    """The tokenizer in a folder or a GGUF file; None where a folder has none.

    Raises:
        ValueError: one line, if there is one that cannot be read.
    """
    from transformers import AutoTokenizer

    if is_gguf(source):
        read_header(source)
        file, settings, folder = source.name, {"gguf_file": source.name}, source.parent
    else:
        check_folder(source)
        files = [f for f in (*_TOKENIZER_FILES, _TOKENIZER_CONFIG) if (source / f).is_file()]
        if not files:
            return None
        check_tokenizer(source)
        file, settings, folder = files[0], {}, source
    try:
        return AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True, **settings
        )
    except BaseException as error:
        # The library below answers some contents by a panic, which is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if file == _TOKENIZER_CONFIG:
            return None  # settings of a tokenizer that is kept elsewhere
        raise ValueError(
            f"{source}: {file} cannot be read by tokenizers {version('tokenizers')} and "
            f"transformers {version('transformers')} ({reason(error)}); save it again with these "
            "releases, or install those it was written with"
        ) from error


def is_gguf(source: Path) -> bool:
    """Whether the name is that of a GGUF file, in capitals or not."""
    return source.suffix.lower() == ".gguf"


def _refuse_incomplete(source: Path, model: Any, report: dict[str, Any]) -> None:
    """Refuse weights that the files lack or hold in another shape."""
    missing = sorted(report["missing_keys"])
    if missing:
        raise ValueError(
            f"{source} lacks {len(missing)} weights of {type(model).__name__}, such as "
            f"{missing[0]}; expected all of them; export the model again"
        )
    misfits = sorted(report["mismatched_keys"])
    if misfits:
        name, stored, expected = misfits[0]
        raise ValueError(
            f"{source} holds {len(misfits)} weights of another shape than its configuration says, "
            f"such as {name}: got {tuple(stored)}, expected {tuple(expected)}; export the model again"
        )


def _quantised(folder: Path, stored: dict[str, Any]) -> str | None:
    """What to do about a folder whose config.json says that its weights are quantised."""
    config = stored.get("quantization_config")
    if not config:
        return None
    method = config.get("quant_method", "unknown") if isinstance(config, dict) else "unknown"
    kinds: set[str] = set()
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as tensors:
            kinds.update(tensors.get_slice(name).get_dtype() for name in tensors.keys())
    if kinds <= set(_FLOATS):
        return (
            f"the reason is quantization_config ({method}) in config.json, though the weights beside "
            "it are plain floats; take that entry out"
        )
    return f"its weights are quantised ({method}); give the model before quantisation"


def _dtype_named(stored: dict[str, Any]) -> str:
    """The dtype a configuration names, of the text model where it has several parts."""
    parts = [part for part in (stored, stored.get("text_config")) if isinstance(part, dict)]
    named = (part.get("dtype") or part.get("torch_dtype") for part in parts)
    return str(next(filter(None, named), "unknown"))
