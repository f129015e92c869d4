"""Which devices there are, and which one "auto" means."""

from __future__ import annotations

from typing import Any

import psutil
import torch

from maisi.errors import InputError

_GB = 1024**3


def available_devices() -> list[dict[str, Any]]:
    """Devices of this machine, best first: name, label, total_gb, free_gb (None where it cannot be told)."""
    devices = []
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        label = torch.cuda.get_device_name(index)
        devices.append({"name": f"cuda:{index}", "label": label, "total_gb": total / _GB, "free_gb": free / _GB})
    memory = psutil.virtual_memory()
    shared = {"total_gb": memory.total / _GB, "free_gb": memory.available / _GB}
    if torch.backends.mps.is_available():
        devices.append({"name": "mps", "label": "Apple GPU", **shared})
    devices.append({"name": "cpu", "label": f"CPU, {torch.get_num_threads()} threads", **shared})
    return [{k: round(v, 2) if isinstance(v, float) else v for k, v in d.items()} for d in devices]


def resolve_device(name: str) -> torch.device:
    """``"auto"`` (the best device), ``"cpu"``, ``"mps"``, ``"cuda"`` or ``"cuda:N"`` as a torch device.

    Raises:
        InputError: this machine has no such device.
    """
    known = [d["name"] for d in available_devices()]
    if name == "auto":
        return torch.device(known[0])
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in known:
        raise InputError(f"There is no device {name!r} here; available: auto, {', '.join(known)}.")
    return torch.device(wanted)


def free_memory_gb(device: torch.device) -> float:
    """Free memory of ``device`` in GB now."""
    return next(d["free_gb"] for d in available_devices() if d["name"] == str(device))
