"""The machine that a benchmark runs on, in words."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch
from threadpoolctl import threadpool_info


def described(device: torch.device | None = None) -> str:
    """One line: processor, threads, PyTorch and its vector kernels, OpenBLAS's kernels, load, GPU."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    kernels = sorted(
        {str(pool["architecture"]) for pool in threadpool_info() if "architecture" in pool}
    )
    gpu = f", {torch.cuda.get_device_name(device)}" if device and device.type == "cuda" else ""
    return (
        f"{names[0] if names else platform.processor()}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__} ({torch.backends.cpu.get_cpu_capability()}), "
        f"OpenBLAS {'/'.join(kernels) or 'not loaded'}, load {os.getloadavg()[0]:.1f}{gpu}"
    )
