"""Reading text and JSON that others wrote, from inside one folder and within limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from interp.untrusted.limits import DEPTH, MIB, SETTINGS


def read_bytes(path: Path, limit: int) -> bytes:
    """Contents of an ordinary file of at most `limit` bytes; nothing of a larger one is read.

    Args:
        path: the file.
        limit: in bytes.

    Raises:
        ValueError: one line, if it is no ordinary file, larger, or cannot be read.
    """
    check_size(path, limit)
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)  # it may have grown, and some files tell no size
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); check the file") from error
    if len(content) > limit:
        raise _too_large(path, len(content), limit)
    return content


def check_size(path: Path, limit: int) -> int:
    """Size of an ordinary file in bytes.

    Args:
        path: the file.
        limit: in bytes.

    Raises:
        ValueError: one line, if it is no ordinary file or larger.
    """
    if not path.is_file():
        raise ValueError(f"{path} must be an existing file; got none, or a folder or device; check it")
    size = path.stat().st_size
    if size > limit:
        raise _too_large(path, size, limit)
    return size


def read_text(path: Path, limit: int) -> str:
    """Text of a UTF-8 file of at most `limit` bytes, without its byte-order mark.

    Args:
        path: the file.
        limit: in bytes.

    Raises:
        ValueError: one line, if it is no ordinary file, larger, or not UTF-8.
    """
    content = read_bytes(path, limit)
    try:
        # As a text file reads: every end of line becomes a line feed.
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path.name} must be UTF-8 text; got byte {error.object[error.start]:#04x} at offset "
            f"{error.start}: save it as UTF-8"
        ) from error


def read_json(path: Path, limit: int = SETTINGS, *, unique: bool = False) -> dict[str, Any]:
    """The object that a JSON file holds.

    Args:
        path: the file.
        limit: in bytes.
        unique: whether a name that an object gives twice is refused; else its last value counts.

    Raises:
        ValueError: one line, if it is no ordinary file, larger, no JSON, nested too deep, or holds
            anything but an object.
    """
    text = read_text(path, limit)
    try:
        content = parse_json(text, unique=unique)
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); write it again") from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} must hold a JSON object; got {type(content).__name__}; write it again"
        )
    return content


def parse_json(text: str | bytes, *, unique: bool = False) -> Any:
    """What JSON says, if it is nested no deeper than `DEPTH`.

    Args:
        text: a whole document.
        unique: whether a name that an object gives twice is refused.

    Raises:
        ValueError: one line, if it is no JSON, nested deeper, or gives a name twice that must be
            unique.
    """
    try:
        content = json.loads(text, object_pairs_hook=_once if unique else None)
    except RecursionError as error:
        raise ValueError(f"nested deeper than {DEPTH}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is no UTF-8") from error
    level = [content]
    for _ in range(DEPTH + 1):
        level = [part for whole in level for part in _parts(whole)]
        if not level:
            return content
    raise ValueError(f"nested deeper than {DEPTH}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names differ.

    Raises:
        ValueError: with the first that comes twice.
    """
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r:.60} comes twice")
        found[name] = value
    return found


def inside(folder: Path, name: str) -> Path:
    """Path of a file in a folder, which it does not leave: not by its name and not by a link.

    A snapshot in the cache of the Hugging Face hub links to files of the same repository, which
    counts as inside.

    Args:
        folder: the only place from which files are read.
        name: of the file, as the user or another file gives it.

    Raises:
        ValueError: one line, if the name is absolute or goes up, or a link leads out of the folder.
    """
    asked = Path(name)
    if not name or "\0" in name or asked.is_absolute() or ".." in asked.parts or "\\" in name:
        raise ValueError(
            f"{folder} names the file {name!r:.80}; expected a name inside the folder, without .. and "
            "no absolute path; do not use files of this source"
        )
    try:
        root, target = folder.resolve(), (folder / asked).resolve()
    except (OSError, RuntimeError) as error:  # a circle of links
        raise ValueError(
            f"{folder / asked} is a link that leads nowhere; put the file there"
        ) from error
    hub = root.parent.name == "snapshots" and root.parents[1].name.startswith("models--")
    if not target.is_relative_to(root.parents[1] if hub else root):
        raise ValueError(
            f"{folder / asked} is a link out of its folder, to {target}; files are read from one "
            "folder only; copy the file into it"
        )
    return folder / asked


def reason(error: BaseException, limit: int = 240) -> str:
    """What an error says, on one line that ends with a whole word."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, KeyError):
        text = f"no {text}"
    if len(text) <= limit:
        return text
    return text[: text.rfind(" ", 0, limit) if " " in text[:limit] else limit].rstrip(" ,;:") + " …"


def printable(value: Any) -> Any:
    """Text, or lists and objects of it, in which no character commands a terminal.

    Args:
        value: what a file of others holds; numbers stay as they are.
    """
    if isinstance(value, str):
        return "".join(
            c if c in "\n\t" or ord(c) >= 0xA0 or " " <= c < "\x7f" else repr(c)[1:-1] for c in value
        )
    if isinstance(value, dict):
        return {printable(key): printable(part) for key, part in value.items()}
    return [printable(part) for part in value] if isinstance(value, list) else value


def _parts(whole: Any) -> Any:
    if isinstance(whole, dict):
        return whole.values()
    return whole if isinstance(whole, list) else ()


def _too_large(path: Path, size: int, limit: int) -> ValueError:
    return ValueError(
        f"{path} is too large: got {size / MIB:,.0f} MiB, at most {limit // MIB:,} MiB are read; "
        "split the file or leave out what is not needed"
    )
