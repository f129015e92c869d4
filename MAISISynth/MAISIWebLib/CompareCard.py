"""The widgets of the Compare panel."""

from __future__ import annotations

from trame.widgets import html
from trame.widgets.vuetify3 import VBtn, VBtnToggle, VSelect, VSlider, VTooltip

from MAISILib.Translate import _
from MAISIWebLib.Buttons import iconButton
from MAISIWebLib.CompareTool import WINDOWS, CompareTool

NAMES = {"soft": _("Soft"), "liver": _("Liver"), "lung": _("Lung"), "bone": _("Bone")}


def compareCard(tool: CompareTool) -> None:
    """Which two CTs, the slider between them, and the HU window."""
    name = tool.state.name
    with html.Div(classes="px-3 py-2"):
        with html.Div(v_if=(f"{name.items}.length > 1",)):
            with html.Div(classes="d-flex", style="gap:8px"):
                _choice(_("Before"), name.before, name.items)
                _choice(_("After"), name.after, name.items)
            with html.Div(classes="d-flex align-center mt-2", v_if=(f"{name.before} !== {name.after}",)):
                html.Div(_("Before"), classes="caption mr-3")
                VSlider(
                    v_model=(name.fade,),
                    min=0,
                    max=100,
                    step=1,
                    hide_details=True,
                    density="compact",
                    color="primary",
                    thumb_size=14,
                    id="fade",
                )
                html.Div(_("After"), classes="caption ml-3")
                iconButton("mdi-swap-horizontal", _("Switch between the two"), click=tool.flicker, id="flicker")
        with VBtnToggle(
            v_model=(name.window,), mandatory=True, density="compact", variant="tonal", divided=True, classes="mt-2 w-100"
        ):
            for key, (width, level) in WINDOWS.items():
                with VBtn(NAMES[key], value=key, size="small", classes="flex-grow-1"):
                    VTooltip(
                        _("Window {width}, level {level} HU").format(width=width, level=level),
                        activator="parent",
                        location="bottom",
                    )


def _choice(label: str, model: str, items: str) -> None:
    VSelect(
        v_model=(model,),
        items=(items,),
        label=label,
        density="compact",
        variant="outlined",
        hide_details=True,
        style="min-width:0",
    )
