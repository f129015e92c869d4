"""The widgets that compare two CTs: a strip below the views."""

from __future__ import annotations

from trame.widgets import html
from trame.widgets.vuetify3 import VBtn, VBtnToggle, VSelect, VSlider, VTooltip

from MAISILib.Translate import _
from MAISIWebLib.Buttons import iconButton
from MAISIWebLib.CompareTool import WINDOWS, CompareTool

NAMES = {"soft": _("Soft"), "liver": _("Liver"), "lung": _("Lung"), "bone": _("Bone")}


def compareStrip(tool: CompareTool) -> None:
    """Which two CTs, the slider between them, and the HU window."""
    name = tool.state.name
    with html.Div(classes="d-flex align-center px-3 strip", style="gap:12px"):
        with html.Div(v_if=(f"{name.items}.length > 1",), classes="d-flex align-center flex-grow-1", style="gap:12px"):
            _choice(_("Before"), name.before, name.items)
            VSlider(
                v_model=(name.fade,),
                min=0,
                max=100,
                step=1,
                hide_details=True,
                density="compact",
                color="primary",
                thumb_size=16,
                disabled=(f"{name.before} === {name.after}",),
                id="fade",
            )
            _choice(_("After"), name.after, name.items)
            iconButton("mdi-swap-horizontal", _("Switch between the two"), click=tool.flicker, id="flicker")
        html.Div(
            _("The CT before and after a change can be compared here."), classes="caption flex-grow-1", v_else=True
        )
        with VBtnToggle(v_model=(name.window,), mandatory=True, density="compact", variant="tonal", divided=True):
            for key, (width, level) in WINDOWS.items():
                with VBtn(NAMES[key], value=key, size="small"):
                    text = _("Window {width}, level {level} HU").format(width=width, level=level)
                    VTooltip(text, activator="parent", location="top")


def _choice(label: str, model: str, items: str) -> None:
    VSelect(
        v_model=(model,),
        items=(items,),
        label=label,
        density="compact",
        variant="outlined",
        hide_details=True,
        style="flex:0 1 230px;min-width:120px",
    )
