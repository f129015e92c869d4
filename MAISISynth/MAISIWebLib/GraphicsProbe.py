"""Whether pictures can be drawn here. Without OpenGL, VTK ends the process, so a child tries it first."""

from __future__ import annotations

import subprocess
import sys

from maisi.errors import InputError
from MAISILib.Translate import _

DRAW = """
import vtk
window = vtk.vtkRenderWindow()
window.SetOffScreenRendering(1)
window.AddRenderer(vtk.vtkRenderer())
window.Render()
"""


def requireGraphics(python: str = sys.executable) -> None:
    """Raises InputError: nothing can be drawn on this machine; the sentence tells what to install."""
    try:
        drawn = subprocess.run([python, "-c", DRAW], capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        drawn = False
    if not drawn:
        text = _(
            "Nothing can be drawn here: OpenGL is missing. On Debian or Ubuntu install it with "
            "'apt-get install libgl1 libegl1'; elsewhere a graphics driver or Mesa."
        )
        raise InputError(text)
