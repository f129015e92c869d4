"""What is said when the workbench cannot be started."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: run `make setup`")
from maisi.errors import InputError
from MAISIWebLib.GraphicsProbe import requireGraphics
from MAISIWebLib.Launch import HOST, usablePort


def maisiWeb(*arguments: str, without: str = "") -> subprocess.CompletedProcess:
    """Run ``maisi web`` to its end, in a Python that cannot import ``without``."""
    code = f"import sys; sys.modules[{without!r}] = None; from maisi.cli import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run([sys.executable, "-c", code, "web", *arguments], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("package", ["trame_slicer", "slicer", "aiohttp"])
def test_a_missing_package_is_told_with_what_to_install(package):
    pytest.importorskip("trame_slicer", reason='the browser workbench is not installed: pip install -e ".[web]"')
    run = maisiWeb(without=package)
    assert run.returncode == 2
    assert package in run.stderr
    assert 'pip install "maisi[web]"' in run.stderr
    assert "Traceback" not in run.stderr


def test_a_port_that_is_taken_is_told_before_anything_is_loaded():
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        run = maisiWeb("--port", str(other.getsockname()[1]))
    assert run.returncode == 2
    assert "choose another with --port" in run.stderr


@pytest.mark.parametrize("port", [70000, -1])
def test_a_port_that_does_not_exist_is_told(port):
    with pytest.raises(InputError, match=f"Port {port} cannot be used"):
        usablePort(port)


def test_a_free_port_is_found():
    assert 1024 <= usablePort(0) < 65536


def test_a_machine_that_cannot_draw_is_told_what_to_install(tmp_path):
    with pytest.raises(InputError, match="libgl1 libegl1"):
        requireGraphics(python=str(tmp_path / "no-python"))
    dies = tmp_path / "dies"
    dies.write_text("#!/bin/sh\nkill -SEGV $$\n")
    dies.chmod(0o755)
    with pytest.raises(InputError, match="OpenGL is missing"):
        requireGraphics(python=str(dies))
