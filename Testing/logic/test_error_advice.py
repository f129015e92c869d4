"""Error texts as they are met in the wild get the advice that helps."""

from __future__ import annotations

import pytest

from MAISILib.ChildProcess import describeExit
from MAISILib.ErrorAdvice import advise


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB.", "Memory ran out"),
        ("RuntimeError: [enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory", "Memory ran"),
        ("The MAISI worker ended unexpectedly (signal SIGKILL).", "Memory ran out"),
        ("ModuleNotFoundError: No module named 'torch'", "install the packages"),
        ("ModuleNotFoundError: No module named 'monai.networks'", "install the packages"),
        ("/usr/bin/python: No module named maisi", "install the extension again"),
        ("ModuleNotFoundError: No module named 'maisi.worker'", "install the extension again"),
        ("RuntimeError: CUDA error: no kernel image is available for execution on the device", "another PyTorch build"),
        ("The NVIDIA driver on your system is too old (found version 11040).", "Update the NVIDIA driver"),
        ("RuntimeError: Found no NVIDIA driver on your system.", "Update the NVIDIA driver"),
        ("AssertionError: Torch not compiled with CUDA enabled", "CPU build"),
        ("OSError: [WinError 126] The specified module could not be found. c10.dll", "Redistributable"),
        ("ImportError: libcudnn.so.9: cannot open shared object file", "install PyTorch again"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("requests.exceptions.SSLError: HTTPSConnectionPool: Max retries exceeded", "proxy"),
        ("PermissionError: [Errno 13] Permission denied: '/opt/x'", "permissions"),
    ],
)
def test_known_error_has_advice(text, words):
    assert words in advise(text)


def test_unknown_error_has_none():
    assert advise("something nobody has seen") == ""


@pytest.mark.parametrize(
    ("code", "text"), [(3, "exit code 3"), (0, "exit code 0"), (-9, "signal SIGKILL"), (-100, "signal 100")]
)
def test_exit_codes_are_told_in_words(code, text):
    assert describeExit(code) == text
