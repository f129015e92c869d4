"""An OpenSSH server of our own on a free port of 127.0.0.1, with keys and configuration in a temporary folder."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from helpers import slow_line
from helpers.processes import waitUntil
from MAISILib.Interpreter import Interpreter
from MAISILib.Settings import Settings

SERVER_CONFIGURATION = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
SetEnv HOME={folder}/home TMPDIR={folder}/tmp
AcceptEnv MAISI_MODELS OMP_NUM_THREADS
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
"""

# The other names are the same server, approached wrongly. Nothing else can be reached with this configuration. The
# default key exchange takes twice as long.
CLIENT_CONFIGURATION = """
Host *
    User {user}
    HostName 127.0.0.1
    IdentityAgent none
    IdentitiesOnly yes
    SendEnv MAISI_MODELS OMP_NUM_THREADS
    KexAlgorithms curve25519-sha256
    GlobalKnownHostsFile /dev/null
Host loopback
    Port {port}
    IdentityFile {folder}/key
    UserKnownHostsFile {folder}/known_hosts
Host slow-line
    Port {port}
    IdentityFile {folder}/key
    HostKeyAlias [127.0.0.1]:{port}
    UserKnownHostsFile {folder}/known_hosts
    ProxyCommand {python} {slow_line} {port}
Host stranger
    Port {port}
    IdentityFile {folder}/key
    UserKnownHostsFile /dev/null
Host impostor
    Port {port}
    IdentityFile {folder}/key
    HostKeyAlias impostor
    UserKnownHostsFile {folder}/other_hosts
Host closed-door
    Port {port}
    IdentityFile {folder}/other_key
    UserKnownHostsFile {folder}/known_hosts
Host switched-off
    Port {closed_port}
"""


class LoginRefused(Exception):
    """This user or this machine does not allow such a server."""


class SshServer:
    """A running server; ``folder`` holds the home and the temporary folder that its logins have."""

    def __init__(self, folder: Path, process: subprocess.Popen) -> None:
        self.home, self.tmp = folder / "home", folder / "tmp"
        self._bin = folder / "bin"
        self._process = process

    def interpreter(self, host: str = "loopback", python: str = sys.executable) -> Interpreter:
        """Runs workers on ``host`` of the configuration, with the ``ssh`` that reads it."""
        settings = Settings()
        settings.remoteHost, settings.remotePython = host, python
        return _OwnSsh(settings, self._bin)

    def connections(self) -> list[psutil.Process]:
        """The server's processes that serve one login each."""
        return psutil.Process(self._process.pid).children()

    def leftovers(self) -> list[Path]:
        """What lies of ours in the temporary folder there (torch keeps a cache in it)."""
        return list(self.tmp.glob("maisi-*"))


class _OwnSsh(Interpreter):
    def __init__(self, settings: Settings, folder: Path) -> None:
        super().__init__(settings)
        self._folder = folder

    def environment(self) -> dict[str, str]:
        environment = super().environment()
        return environment | {"PATH": f"{self._folder}{os.pathsep}{environment['PATH']}"}


def sshdProgram() -> str | None:
    """The server's program, which must be called by its full path."""
    return shutil.which("sshd", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))


@contextmanager
def sshServer(folder: Path) -> Iterator[SshServer]:
    """A server during the ``with`` block, which begins when it accepts logins. Raises LoginRefused."""
    for name in ("home", "tmp", "bin"):
        (folder / name).mkdir()
    for name in ("host_key", "other_host_key", "key", "other_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    ports = {"port": _freePort(), "closed_port": _freePort()}
    known = (folder / "host_key.pub").read_text(encoding="utf-8")
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{ports['port']} {known}", encoding="utf-8")
    other = (folder / "other_host_key.pub").read_text(encoding="utf-8")
    (folder / "other_hosts").write_text(f"impostor {other}", encoding="utf-8")
    (folder / "sshd_config").write_text(SERVER_CONFIGURATION.format(folder=folder, **ports), encoding="utf-8")
    programs = {"python": sys.executable, "slow_line": slow_line.__file__}
    client = CLIENT_CONFIGURATION.format(folder=folder, user=getpass.getuser(), **ports, **programs)
    (folder / "ssh_config").write_text(client, encoding="utf-8")
    ssh = folder / "bin" / "ssh"
    ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/ssh_config "$@"\n', encoding="utf-8")
    ssh.chmod(0o755)
    if os.geteuid() == 0:  # sshd insists on it, and the system's service would have made it
        Path("/run/sshd").mkdir(exist_ok=True)
    with open(folder / "sshd.log", "wb") as log:
        process = subprocess.Popen([sshdProgram(), "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log)
    try:
        waitUntil(lambda: b"Server listening" in (folder / "sshd.log").read_bytes() or process.poll() is not None)
        login = subprocess.run([str(ssh), "-o", "BatchMode=yes", "loopback", "true"], stdin=subprocess.DEVNULL)
        if login.returncode != 0:
            last = (folder / "sshd.log").read_text(encoding="utf-8").splitlines()[-1:]
            raise LoginRefused(f"sshd lets nobody in here {last}: run the tests as a user who may log in")
        yield SshServer(folder, process)
    finally:
        process.kill()
        process.wait()


def _freePort() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
