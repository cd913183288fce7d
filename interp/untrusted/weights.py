"""Folders with weights that others wrote: what lies in them, looked at before any library reads it.

Only headers are read here. A header is refused where a number in it is out of all proportion to the
file it stands in, and a name where it leads out of the folder.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from interp.untrusted.limits import HEADER, PARTS, SETTINGS, SPARE_NUMBERS, SPARE_TIMES, TOKENIZER
from interp.untrusted.reading import check_size, inside, parse_json, read_json

#: Name -> shape of every tensor of a file.
Shapes = dict[str, tuple[int, ...]]

#: Endings of the files that are read of a folder with a model or an adapter.
_READ = (".json", ".safetensors", ".model", ".txt", ".jinja")

#: Files of a tokenizer that may be larger than settings are.
_LARGE = ("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt", "tekken.json")

#: What a setting is called that says how many parts of a kind there are, which are made one by one.
_COUNT = re.compile(r"(layer|block|expert)s?(_count)?$|^(n|num)_(hidden_)?(layer|block|expert)")

_INDEX = "model.safetensors.index.json"


def check_folder(folder: Path) -> None:
    """Refuse a folder of which a file that would be read is a link out of it, or too large.

    Args:
        folder: with a model or an adapter.

    Raises:
        ValueError: one line that names the file.
    """
    templates = folder / "additional_chat_templates"
    inside(folder, templates.name)
    for path in sorted([*folder.iterdir(), *templates.glob("*.jinja")]):
        if path.suffix not in _READ or path.is_dir():
            continue
        inside(folder, str(path.relative_to(folder)))
        if path.suffix != ".safetensors":
            large = path.name in _LARGE or path.suffix == ".model"
            check_size(path, TOKENIZER if large else SETTINGS)


def check_tokenizer(folder: Path) -> None:
    """Refuse a tokenizer whose settings name other files than its own.

    Args:
        folder: with a tokenizer.

    Raises:
        ValueError: one line that names the setting.
    """
    file = folder / "tokenizer_config.json"
    settings = read_json(file) if file.is_file() else {}
    names = settings.get("fast_tokenizer_files") or []
    bare = isinstance(names, list) and all(isinstance(n, str) and Path(n).name == n for n in names)
    for name, wrong in (
        ("init_inputs", settings.get("init_inputs")),
        ("fast_tokenizer_files", not bare),
    ):
        if wrong:
            raise ValueError(
                f"{file} says {name} = {str(settings[name])[:80]!r}, which may name other files; "
                "expected none; save the tokenizer again"
            )


def folder_shapes(folder: Path) -> Shapes:
    """Name and shape of every tensor in a folder's safetensors, as their headers give them.

    Args:
        folder: with a model.

    Raises:
        ValueError: one line, if the index names a file outside the folder, or a header is unsound.
    """
    index = folder / _INDEX
    if index.is_file():
        files = read_json(index).get("weight_map")
        if not isinstance(files, dict) or not all(isinstance(name, str) for name in files.values()):
            raise ValueError(
                f"{index} must give a file for each weight under weight_map; write it again"
            )
        for name in sorted(set(files.values())):
            if Path(name).name != name or not name.endswith(".safetensors"):
                raise ValueError(
                    f"{index} names the file {name!r:.80}; expected a .safetensors file beside it; do "
                    "not use files of this source"
                )
            inside(folder, name)
    shapes: Shapes = {}
    for path in sorted(folder.glob("*.safetensors")):
        shapes |= tensor_shapes(path)
    return shapes


def tensor_shapes(path: Path) -> Shapes:
    """Name and shape of every tensor in a safetensors file, as its header gives them.

    Args:
        path: the file; its weights are not read.

    Raises:
        ValueError: one line, if the header is too long for the file or for anyone, or unsound.
    """
    inside(path.parent, path.name)
    size = path.stat().st_size if path.is_file() else 0
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(HEADER, size - 8):
                raise ValueError(f"its header says it has {length:,} bytes, the file has {size:,}")
            header = parse_json(file.read(length))
        if not isinstance(header, dict):
            raise ValueError("its header is no JSON object")
        header.pop("__metadata__", None)
        return {name: _shape(name, entry, size - 8 - length) for name, entry in header.items()}
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is no safetensors file ({error}); export it again") from error


def count(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """How many numbers tensors hold.

    Args:
        shapes: of each tensor.
    """
    return sum(math.prod(shape) for shape in shapes.values())


def check_settings(source: Path, settings: Any) -> None:
    """Refuse settings that ask for endless parts, before anything is built from them.

    Args:
        source: where they stand, for the message.
        settings: what a configuration says.

    Raises:
        ValueError: one line that names the setting.
    """
    for name, value in _numbers(settings):
        if _COUNT.search(name) and value > PARTS:
            raise ValueError(
                f"{source} says {name} = {value:.4g}; expected at most {PARTS:,}; do not use files of "
                "this source"
            )


def check_proportion(source: Path, described: int, held: int) -> None:
    """Refuse settings that describe far more numbers than the files beside them hold.

    Args:
        source: where the settings stand, for the message.
        described: how many numbers a model or adapter with these settings has.
        held: how many stand in the files.

    Raises:
        ValueError: one line with both.
    """
    if described > SPARE_TIMES * held + SPARE_NUMBERS:
        raise ValueError(
            f"{source} describes {described:,} numbers, its files hold {held:,}; expected about as "
            "many; export it again"
        )


def _shape(name: str, entry: Any, room: int) -> tuple[int, ...]:
    """A tensor's shape, if it is one and its bytes lie in the file."""
    told: dict[str, Any] = entry if isinstance(entry, dict) else {}
    shape: Any = told.get("shape")
    ends: Any = told.get("data_offsets")
    sound = all(
        isinstance(part, list) and all(type(n) is int and 0 <= n < 2**63 for n in part)
        for part in (shape, ends)
    )
    if not sound or len(ends) != 2 or not ends[0] <= ends[1] <= room:
        raise ValueError(f"the place of {name!r:.80} lies outside the file")
    return tuple(shape)


def _numbers(settings: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Every number in settings, with the name under which it stands."""
    if isinstance(settings, bool):
        return
    if isinstance(settings, int | float):
        yield name, settings
    elif isinstance(settings, dict):
        for key, value in settings.items():
            yield from _numbers(value, str(key))
    elif isinstance(settings, list):
        for value in settings:
            yield from _numbers(value)
