"""The adapters of SmolLM2 in thirds: where each lies, and making those that are missing."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from interp.progress import counted
from studies.adapters.recipes import RECIPES
from studies.processes import processes

#: Folders of the adapters that ship.
MODELS = Path(__file__).parent / "models"
#: Name of the family, and of its folder among those of the worlds.
ADAPTERS = "smollm2"


def folder_of_adapter(name: str, root: Path) -> Path:
    """Folder of an adapter, a shipped one or one that is made.

    Args:
        name: of its recipe.
        root: folder of all models that are made.
    """
    return MODELS / name if name in RECIPES else root / ADAPTERS / name


def make_adapters(names: Sequence[str], root: Path, *, jobs: int = 1) -> None:
    """Train the adapters that are missing; a killed call goes on where it was.

    Args:
        names: of recipes.
        root: folder of all models that are made.
        jobs: processes at a time.
    """
    missing = [name for name in names if not (folder_of_adapter(name, root) / "card.json").exists()]
    with counted(len(missing), "training", "adapters") as step:
        if jobs == 1:
            for name in missing:
                _make_one(name, root)
                step(1)
            return
        with processes(jobs) as pool:
            for begun in [pool.submit(_make_one, name, root) for name in missing]:
                begun.result()
                step(1)


def _make_one(name: str, root: Path) -> None:
    """Train an adapter beside its place and move it there whole."""
    import torch

    from interp.runs.run import current, resumable
    from studies.adapters.recipes import recipe
    from studies.adapters.train import train

    torch.set_num_threads(1)
    folder = folder_of_adapter(name, root)
    kept, unfinished = root / "training" / name, folder.with_name(f".{name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    # Inside of a run, that run keeps the training.
    with resumable(kept) if current() is None else nullcontext():
        train(recipe(name), out=unfinished, progress=False)
    unfinished.rename(folder)
    shutil.rmtree(kept, ignore_errors=True)
