"""Files of torch.save that others wrote: tensors, numbers and texts alone, nothing that runs."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch

from interp.untrusted.reading import check_size, inside, reason


def read_tensors(path: Path, limit: int) -> dict[str, Any]:
    """The dictionary of tensors, numbers and texts in a .pt file.

    Args:
        path: the file.
        limit: in bytes, of the file and of what it unpacks to.

    Raises:
        ValueError: one line, if it is no ordinary file, larger, or holds anything else.
    """
    inside(path.parent, path.name)
    check_size(path, limit)
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > limit:
            raise ValueError(f"it unpacks to {unpacked:,} bytes")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # every kind that zip files and the restricted reader have
        raise ValueError(
            f"{path} is no file of tensors alone ({reason(error, 120)}); write it in another format"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} must hold tensors by name; got {type(content).__name__}; write it again"
        )
    return content
