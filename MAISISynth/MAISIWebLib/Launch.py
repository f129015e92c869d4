"""Start the workbench on this computer and tell its address."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from maisi.errors import InputError
from MAISILib.Translate import _
from MAISISynthLib.SynthesisLogic import MAISISynthLogic
from MAISIWebLib.GraphicsProbe import requireGraphics

HOST = "127.0.0.1"


def serve(
    paths: Sequence[str | Path] = (),
    port: int = 0,
    source: str = "maisi",
    logic: MAISISynthLogic | None = None,
    announce: Callable[[str], None] = print,
) -> None:
    """Open a case and serve it until Ctrl+C.

    Args:
        paths, source: see ``Case.openCase``. port: 0 for a free one.
        announce: called with what the user must know, the address above all.

    Raises:
        InputError: the case, the port or this machine cannot be used; the sentence tells why.
    """
    port = usablePort(port)
    requireGraphics()
    os.environ["TRAME_ARGS"] = "--server"  # else trame reads the arguments of maisi
    from MAISIWebLib.Access import Access
    from MAISIWebLib.Case import openCase
    from MAISIWebLib.Workbench import Workbench

    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    workbench, access = Workbench(logic), Access()
    case = openCase(workbench.scene, paths, source)
    workbench.open(case)
    controller = workbench.server.controller
    controller.on_server_bind.add(lambda server: access.protect(server.app))
    text = _(
        "{name} is open at\n\n    http://{host}:{port}/?token={token}\n\nOnly this computer can reach it. Stop: Ctrl+C"
    )
    link = text.format(name=case.name, host=HOST, port=port, token=access.token)
    controller.on_server_ready.add(lambda **_state: announce(link))
    try:
        workbench.server.start(port=port, host=HOST, open_browser=False, show_connection_info=False, timeout=0)
    finally:
        workbench.close()


def usablePort(port: int) -> int:
    """``port``, or a free one for 0. Raises InputError: it is taken, or not allowed."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            text = _("Port {port} cannot be used ({reason}): choose another with --port, or leave it out.")
            raise InputError(text.format(port=port, reason=error)) from error
        return probe.getsockname()[1]
