"""What belongs to this machine and not to the scene: which Python, which computer, which device."""

from __future__ import annotations

from typing import Any, Protocol

AUTO = "auto"  # the device: whichever is best there


class Store(Protocol):
    """Where settings are kept; a QSettings object is one."""

    def value(self, key: str, default: Any) -> Any:
        """The stored value, or ``default``."""

    def setValue(self, key: str, value: Any) -> None:
        """Store a value."""


class MemoryStore:
    """Settings that last as long as this object; for scripts and tests."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def value(self, key: str, default: Any) -> Any:
        return self._values.get(key, default)

    def setValue(self, key: str, value: Any) -> None:
        self._values[key] = value


class Settings:
    """The settings by name. In the application: ``Settings(slicer.app.userSettings())``."""

    def __init__(self, store: Store | None = None) -> None:
        self._store = MemoryStore() if store is None else store

    @property
    def python(self) -> str:
        """Python executable that runs MAISI; "" for the application's own."""
        return str(self._store.value("MAISI/Python", ""))

    @python.setter
    def python(self, path: str) -> None:
        self._store.setValue("MAISI/Python", str(path))

    @property
    def remoteHost(self) -> str:
        """The machine that computes, as for ssh (``gpu1``, ``me@gpu1``, ``ssh://me@gpu1:2222``); "" for this one."""
        return str(self._store.value("MAISI/RemoteHost", "")).strip()

    @remoteHost.setter
    def remoteHost(self, host: str) -> None:
        self._store.setValue("MAISI/RemoteHost", str(host))

    @property
    def remotePython(self) -> str:
        """The Python of the remote machine, as its shell understands it."""
        return str(self._store.value("MAISI/RemotePython", "")).strip() or "python3"

    @remotePython.setter
    def remotePython(self, command: str) -> None:
        self._store.setValue("MAISI/RemotePython", str(command))

    @property
    def usesOwnPython(self) -> bool:
        """Whether MAISI runs in the application's own Python, whose packages then count."""
        return not (self.python or self.remoteHost)

    @property
    def device(self) -> str:
        """ "auto", "cpu", "cuda:0", "mps" ..."""
        return str(self._store.value("MAISI/Device", AUTO))

    @device.setter
    def device(self, name: str) -> None:
        self._store.setValue("MAISI/Device", name)
