"""What this machine can do, asked by everybody: processor, cores, devices, precision.

A processor has a *level*: the widest vector instructions that rnnctl has fast code for.

    generic      any processor
    avx2         256-bit vectors with fused multiply-add (x86 since 2013)
    avx512       512-bit vectors
    avx512bf16   the same, with products of bf16 numbers
    neon         128-bit vectors of 64-bit Arm

`RNNCTL_CPU` caps the level, so that one machine can run, and test, what lesser ones run. It never
raises it. Levels are found in the processor's flags; whether bf16 products work is found by trying
them, since PyTorch's build has a say in it too.

Nothing here imports torch until a function needs it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnctl import __version__
from rnnctl.errors import UsageError

if TYPE_CHECKING:
    import torch


CAP = "RNNCTL_CPU"
LEVELS = ("generic", "neon", "avx2", "avx512", "avx512bf16")  # each runs what those before it run
_NEEDS = {  # flags as Linux spells them
    "avx2": {"avx2", "fma"},
    "avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl"},
    "avx512bf16": {"avx512_bf16"},
}
# What makes the libraries behave as on the lesser machine: PyTorch's own kernels, oneDNN's, MKL's,
# those of numpy's OpenBLAS, and what numba compiles (for a level of x86-64, in LLVM's names). Each
# reads its variable once, when it is first used.
_LIBRARY_CAPS = {
    "generic": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "OPENBLAS_CORETYPE": "Nehalem",
        "NUMBA_CPU_NAME": "x86-64",
        "NUMBA_CPU_FEATURES": "",
    },
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "NUMBA_CPU_NAME": "x86-64-v3",
        "NUMBA_CPU_FEATURES": "",
    },
    "avx512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"},
}


@cache
def levels() -> tuple[str, ...]:
    """The levels of this processor, lowest first, whatever `RNNCTL_CPU` says."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return ("generic", "neon")
    flags, found = _flags(), ["generic"]
    for name, needed in _NEEDS.items():
        if not needed <= flags:
            break
        found.append(name)
    return tuple(found)


def level() -> str:
    """The level to use: the processor's highest that `RNNCTL_CPU` allows.

    Raises UsageError for a value of `RNNCTL_CPU` that is no level.
    """
    cap = _cap()
    if cap is None:
        return levels()[-1]
    return [name for name in levels() if not outranks(name, cap)][-1]


def outranks(level: str, other: str) -> bool:
    """Whether a level has instructions that another one lacks."""
    return LEVELS.index(level) > LEVELS.index(other)


def capped() -> bool:
    """Whether `RNNCTL_CPU` keeps something from being used that this processor has."""
    return level() != levels()[-1]


def _cap() -> str | None:
    name = os.environ.get(CAP, "").strip().lower()
    if name and name not in LEVELS:
        raise UsageError(
            f"{CAP}={name} is not a processor level that rnnctl knows",
            hint=f"use one of {', '.join(LEVELS)}, or unset it to use all that this machine has",
        )
    return name or None


def library_caps() -> dict[str, str]:
    """Variables of the environment that make the libraries keep to `RNNCTL_CPU` as well.

    They must be set before PyTorch is loaded. Raises UsageError as `level` does.
    """
    return dict(_LIBRARY_CAPS.get(level(), {})) if capped() else {}


def cap_libraries() -> None:
    """Set `library_caps`, but for those that are set already; nothing where it is too late."""
    caps = library_caps()
    if "torch" not in sys.modules:
        for name, value in caps.items():
            os.environ.setdefault(name, value)


def compiled_for() -> str | None:
    """The processor that numba compiles for where it is capped, in LLVM's name; else None."""
    return library_caps().get("NUMBA_CPU_NAME")


@cache
def _flags() -> frozenset[str]:
    """What the processor says that it can do, in Linux's names; of x86 only."""
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text("ascii", "replace").splitlines():
            if line.startswith("flags"):
                return frozenset(line.split())
        return frozenset()
    import torch  # it looks in its own way on Windows and macOS

    told = {
        "avx2": torch.cpu._is_avx2_supported(),
        "avx512": torch.cpu._is_avx512_supported(),
        "avx512bf16": torch.cpu._is_avx512_bf16_supported(),
        "amx_bf16": torch.cpu._is_amx_tile_supported(),
    }
    return frozenset().union(*(_NEEDS.get(name, {name}) for name, there in told.items() if there))


def has_matrix_units() -> bool:
    """Whether bf16 products have units of their own (Intel's AMX), which oneDNN uses best."""
    return level() == "avx512bf16" and "amx_bf16" in _flags()


def has_fast_bf16(device: torch.device | str = "cpu") -> bool:
    """Whether bf16 matrix products work there and are faster than those in fp32.

    GPUs since Ampere; CPUs with instructions for them. Other CPUs compute them by detours.
    """
    import torch

    kind = torch.device(device).type
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return kind == "cpu" and level() == "avx512bf16" and _multiplies_bf16()


@cache
def _multiplies_bf16() -> bool:
    """Whether oneDNN as it is built here makes a product and an LSTM's step in bf16."""
    import torch

    try:
        weight = torch.ones(16, 16, dtype=torch.bfloat16)
        torch.ops.mkldnn._reorder_linear_weight(weight, 16)
        # Tried, for a build of PyTorch without oneDNN says the same of the processor.
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            torch.nn.LSTM(16, 16)(torch.ones(1, 1, 16))
    except (RuntimeError, AttributeError):
        return False
    return True


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Where and in which precision a model computes."""

    device: torch.device
    bf16: bool
    note: str = ""  # what to tell the user where it is not what the settings say

    def context(self) -> AbstractContextManager[Any]:
        """`torch.autocast` in bf16, or nothing."""
        import torch

        return torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()

    @property
    def dtype(self) -> str:
        return "bfloat16 products, float32 weights" if self.bf16 else "float32"


def find_device(name: str) -> torch.device:
    """The device of that name; `auto` is a GPU if there is one. UsageError if it is not there."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {name}: {reason}", hint="use --device cpu") from None
    return device


def find_arithmetic(device_name: str, precision: str, *, insist: bool = True) -> Arithmetic:
    """Device and precision for the settings; bf16 under `auto` only where it is faster.

    Raises UsageError for `bf16` where there is no fast bf16; not with `insist` False, for a run
    that began on another machine: then it is fp32, with a note that says so.
    """
    device = find_device(device_name)
    if precision == "fp32" or has_fast_bf16(device):
        return Arithmetic(device, precision != "fp32")
    if precision == "auto":
        return Arithmetic(device, bf16=False)
    here = f"this machine ({described()})" if device.type == "cpu" else f"the device {device}"
    reason = f"{here} has no fast bf16 products"
    if insist:
        raise UsageError(
            f"--precision bf16: {reason}", hint="use --precision auto or --precision fp32"
        )
    return Arithmetic(
        device, bf16=False, note=f"{reason}: the training was begun in bf16 and continues in fp32"
    )


def set_threads(threads: int | None) -> int:
    """Use that many CPU threads (None: as they are); return how many torch uses now."""
    import torch
    from threadpoolctl import threadpool_limits

    if threads is not None:
        torch.set_num_threads(threads)
        threadpool_limits(threads, "blas")  # numpy's, which steps a single stream
    return torch.get_num_threads()


def available_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def load() -> float | None:
    """Processes of this machine that compute or wait for a core, a mean over the last minute.

    None where the system does not tell (Windows).
    """
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


@cache
def processor() -> str:
    """The processor's name as its maker gives it, as far as the system tells."""
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def described() -> str:
    """The processor's level in words, and whether it is capped: "avx2, capped by RNNCTL_CPU"."""
    return f"{level()}, capped by {CAP}" if capped() else level()


def facts() -> dict[str, str]:
    """What every result says of the machine and the versions, in the names of `Environment`.

    The version of torch is among them where torch is loaded, that is, where something was computed.
    """
    torch = sys.modules.get("torch")
    return {
        "rnnctl": __version__,
        **({"torch": str(torch.__version__)} if torch is not None else {}),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": described(),
    }


# -- memory --------------------------------------------------------------------------------------

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8
_KEPT_BYTES = 1 << 30  # bytes; temporaries below this size stay in the heap
_TOP_PAD = 64 << 20
_FLOOR = 1 << 30  # bytes; a process that holds less is left alone
_PAGE = 4096


@cache
def _libc() -> Any:
    """The C library where it is glibc, else None."""
    # musl and others have no mallopt, or another one.
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def keep_memory() -> bool:
    """Keep up to 1 GB of freed memory for reuse, for the whole process. Call once at start-up.

    Returns whether it took effect: elsewhere than on glibc this does nothing.
    """
    if _libc() is None:
        return False
    settings = (
        (_M_MMAP_THRESHOLD, _KEPT_BYTES),
        (_M_TRIM_THRESHOLD, _KEPT_BYTES),
        (_M_TOP_PAD, _TOP_PAD),
        (_M_ARENA_MAX, 1),  # what one thread has freed serves the others too
    )
    return all(_libc().mallopt(name, value) == 1 for name, value in settings)


@dataclass(slots=True)
class MemoryBound:
    """Gives freed memory back to the system when a process holds over twice what it needs.

    Steps of many shapes leave freed pieces that fit no later step, and together they would grow to
    several GB. What is needed is seen one step after giving back, so that steps which really need
    much do not give it back each time.
    """

    limit: int = _FLOOR
    _given_back: bool = False

    def after_step(self) -> None:
        """Call between steps, when temporaries are freed."""
        held = _resident()
        if self._given_back:
            self.limit, self._given_back = max(_FLOOR, 2 * held), False
        elif held > self.limit:
            _give_back()
            self._given_back = True


def _resident() -> int:
    """Bytes of this process in memory; 0 where not known."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * _PAGE if _libc() and status.exists() else 0


def _give_back() -> None:
    _libc().malloc_trim(0)
