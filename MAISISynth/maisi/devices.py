"""Which devices there are, and which one "auto" means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import torch

from maisi.errors import InputError

_GB = 1024**3
_CONTROL_GROUPS, _OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_MEMORY_FILES = (  # limit, use, and the line of memory.stat that tells the cache: version 2, version 1
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available_devices() -> list[dict[str, Any]]:
    """Devices of this machine, best first: name, label, total_gb, free_gb.

    Free memory of a GPU can only be told from within a CUDA context, so this opens one on each.
    """
    return [_describe(name) for name in _names()]


def _names() -> list[str]:
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return [*cuda, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def _describe(name: str) -> dict[str, Any]:
    kind, _, index = name.partition(":")
    if kind == "cuda":
        label = torch.cuda.get_device_name(int(index))
        free, total = torch.cuda.mem_get_info(int(index))
    else:
        label = "Apple GPU" if kind == "mps" else f"CPU, {torch.get_num_threads()} threads"
        free, total = host_memory()
    return {"name": name, "label": label, "total_gb": round(total / _GB, 2), "free_gb": round(free / _GB, 2)}


def host_memory() -> tuple[int, int]:
    """Free and total bytes of the host; of the container, where this process runs in one with a limit."""
    memory = psutil.virtual_memory()
    free, total = memory.available, memory.total
    for limit, used in _container_limits():
        free, total = min(free, max(limit - used, 0)), min(total, limit)
    return free, total


def _container_limits() -> list[tuple[int, int]]:
    """Limit and use in bytes of the control groups (Linux) that hold this process: a container's, a cluster job's.

    File caches, which the kernel gives up when memory is needed, do not count as used.
    """
    found = []
    for folder in _control_groups():
        for limit, used, cache in _MEMORY_FILES:
            try:
                statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                most, now = (int((folder / name).read_text()) for name in (limit, used))  # no limit reads "max"
                found.append((most, now - int(statistics[cache])))
            except (OSError, ValueError, KeyError):
                continue
    return found


def _control_groups() -> list[Path]:
    """Folders of the memory control groups of this process, version 2 and 1, up to the outermost it can see."""
    folders = []
    try:
        lines = _OWN_GROUPS.read_text().splitlines()
    except OSError:
        return []
    for number, controllers, path in (line.split(":", 2) for line in lines):
        if number == "0" or controllers == "memory":
            root = _CONTROL_GROUPS / controllers
            inner = root / path.lstrip("/")
            folders += [folder for folder in (inner, *inner.parents) if folder.is_relative_to(root)]
    return folders


def resolve_device(name: str) -> torch.device:
    """``"auto"`` (the best device), ``"cpu"``, ``"mps"``, ``"cuda"`` or ``"cuda:N"`` as a torch device.

    Raises:
        InputError: this machine has no such device.
    """
    known = _names()
    if name == "auto":
        return torch.device(known[0])
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in known:
        raise InputError(f"There is no device {name!r} here; available: auto, {', '.join(known)}.")
    return torch.device(wanted)


def free_memory_gb(device: torch.device) -> float:
    """Memory of ``device`` in GB that a job could have now; what torch keeps for reuse in this process is free."""
    kept = torch.cuda.memory_reserved(device) / _GB if device.type == "cuda" else 0.0
    return _describe(str(device))["free_gb"] + kept


def computes_in(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether ``device`` really computes convolutions in ``dtype``, rather than emulating them."""
    if dtype == torch.float32:
        return True
    if device.type == "cuda":
        return dtype == torch.float16 or torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "mps":
        return dtype == torch.float16
    has_instructions = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)  # older torch cannot tell
    return dtype == torch.bfloat16 and has_instructions()
