"""Which code made a unit: hashes of sources, and versions of packages."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

#: Packages on which numbers depend.
PACKAGES = ("interp", "torch", "transformers", "transformer-lens", "scikit-learn", "numpy", "scipy")


@cache
def code_of(*names: str) -> str:
    """The hash of the sources of modules, and of all modules of packages.

    Args:
        *names: dotted names.

    Returns:
        A hexadecimal hash.
    """
    digest = hashlib.blake2b(digest_size=20)
    for name in sorted(names):
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise ValueError(f"{name} is no module with a source; give the dotted name of one")
        origin = Path(spec.origin)
        files = sorted(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]
        for file in files:
            digest.update(f"{name} {file.relative_to(origin.parent).as_posix()}\n".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


@cache
def packages() -> dict[str, str]:
    """Versions of the packages on which numbers depend, by name."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from a folder that was not installed
            found[name] = "not installed"
    return found
