"""What is drawn over a view in the browser: its name, the patient's sides, the slider through the slices."""

from __future__ import annotations

import numpy as np
import slicer
from trame.widgets import html
from trame_server import Server
from trame_slicer.app.logic.slice_view_logic import connect_slice_view_slider_to_state
from trame_slicer.app.ui.slider import Slider
from trame_slicer.views import AbstractView, SliceView

from MAISILib.Translate import _
from MAISIWebLib.Buttons import iconButton

CORNERS = {
    "left": "left:10px;top:50%",
    "right": "right:10px;top:50%",
    "top": "left:50%;top:8px",
    "bottom": "left:50%;bottom:34px",
}
TEXT = "position:absolute;pointer-events:none;user-select:none;text-shadow:0 0 4px #000,0 0 2px #000;"


def sliceOverlay(server: Server, _viewId: str, view: SliceView) -> None:
    """Over a slice view."""
    node = view.get_view_node()
    color = "#" + "".join(f"{round(255 * channel):02x}" for channel in node.GetLayoutColor())
    html.Div(
        node.GetOrientation(),
        style=f"{TEXT}left:12px;top:8px;font-size:13px;font-weight:600;letter-spacing:.04em;color:{color}",
    )
    for side, letter in sideLetters(slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())).items():
        html.Div(letter, style=f"{TEXT}{CORNERS[side]};font-size:13px;color:#c8d2dc;opacity:.85")
    _resetButton(view)
    with html.Div(style="position:absolute;bottom:0;left:8px;right:8px"):
        Slider(
            typed_state=connect_slice_view_slider_to_state(server, view),
            density="compact",
            thumb_size=12,
            track_size=2,
            color=color,
        )


def surfaceOverlay(_server: Server, _viewId: str, view: AbstractView) -> None:
    """Over the 3D view."""
    html.Div("3D", style=f"{TEXT}left:12px;top:8px;font-size:13px;font-weight:600;color:#9fb3c8")
    _resetButton(view)


def sideLetters(sliceToRas: np.ndarray) -> dict[str, str]:
    """Which side of the patient is left, right, top and bottom on the screen."""
    letters = {}
    for (plus, minus), direction in zip((("right", "left"), ("top", "bottom")), sliceToRas[:3, :2].T, strict=True):
        axis = int(np.abs(direction).argmax())
        positive = ("R", "A", "S")[axis]
        negative = ("L", "P", "I")[axis]
        towards = direction[axis] > 0
        letters[plus], letters[minus] = (positive, negative) if towards else (negative, positive)
    return letters


def _resetButton(view: AbstractView) -> None:
    iconButton(
        "mdi-fit-to-screen-outline",
        _("Show everything"),
        size="x-small",
        color="#9fb3c8",
        click=view.reset_view,
        style="position:absolute;right:6px;top:4px",
    )
