"""Device, precision and threads: what `auto` means on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from rnnctl.errors import UsageError
from rnnctl.tasks.base import Arithmetic


def find_device(name: str) -> torch.device:
    """The device of that name; `auto` is a GPU if there is one. UsageError if it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {name}: {reason}", hint="use --device cpu") from None
    return device


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bf16 matrix products are a gain there: GPUs since Ampere, CPUs with bf16 units."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and _cpu_has_bf16()


def _cpu_has_bf16() -> bool:
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    # oneDNN computes bf16 on any AVX512 machine, but slower than fp32 without these units.
    flags = _cpu_flags()
    return bool(flags & {"avx512_bf16", "amx_bf16"})


def _cpu_flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text("ascii", "replace")
    except OSError:
        return set()
    for line in text.splitlines():
        if line.startswith("flags"):
            return set(line.split())
    return set()


def find_arithmetic(device_name: str, precision: str) -> Arithmetic:
    """Device and precision for the settings; bf16 under `auto` only where it is faster."""
    device = find_device(device_name)
    bf16 = precision == "bf16" or (precision == "auto" and has_fast_bf16(device))
    return Arithmetic(device, bf16)


def set_threads(threads: int | None) -> int:
    """Use that many CPU threads (None: as they are); return how many torch uses now."""
    if threads is not None:
        torch.set_num_threads(threads)
        threadpool_limits(threads, "blas")  # numpy's, which steps a single stream
    return torch.get_num_threads()


def available_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1
