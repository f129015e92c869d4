"""Known error text -> one sentence that tells the user what to do."""

from __future__ import annotations

import re

from MAISILib.Translate import _

# The first pattern that is found wins, so the particular ones stand before the general ones.
_ADVICE = (
    (
        r"out of memory|can't allocate memory|cannot allocate memory|not enough memory|MemoryError|SIGKILL",
        _("Memory ran out: close other programs, choose a coarser or smaller segmentation grid, or another device."),
    ),
    (
        r"No module named '(torch|monai|einops|scipy|numpy|nibabel|SimpleITK|safetensors|tqdm)",
        _("A Python package is missing: install the packages that MAISI needs, or choose a Python that has them."),
    ),
    (
        r"No module named '?maisi",
        _("MAISI's own files were not found: install the extension again."),
    ),
    (
        r"no kernel image is available|is not compatible with the current PyTorch",
        _("The installed PyTorch does not support this GPU: install another PyTorch build, or choose the device cpu."),
    ),
    (
        r"driver version is insufficient|NVIDIA driver .* too old|Found no NVIDIA driver",
        _("Update the NVIDIA driver, or choose the device cpu."),
    ),
    (
        r"not compiled with CUDA",
        _("The installed PyTorch is the CPU build: install a CUDA build of PyTorch, or choose the device cpu."),
    ),
    (
        r"DLL load failed|WinError (126|127|193|1114)|cannot open shared object file",
        _(
            "A system library of PyTorch is missing: on Windows install the Microsoft Visual C++ "
            "Redistributable, elsewhere install PyTorch again."
        ),
    ),
    (
        r"No space left on device|WinError 112",
        _("The disk is full: free some space, in the folder for temporary files too."),
    ),
    (
        r"SSLError|CERTIFICATE_VERIFY_FAILED|ProxyError|Max retries exceeded|Could not resolve host|getaddrinfo failed",
        _("The network could not be reached: check proxy and VPN settings, or copy the files by hand."),
    ),
    (
        r"Permission denied|WinError 5\b|Read-only file system",
        _("A file or folder may not be written or run: check its permissions, or choose another folder."),
    ),
)


def advise(text: str) -> str:
    """Advice for an error message or log lines, or "" when the text is not known."""
    return next((advice for pattern, advice in _ADVICE if re.search(pattern, text, re.IGNORECASE)), "")
