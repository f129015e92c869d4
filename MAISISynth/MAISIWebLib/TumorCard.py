"""The widgets of the Tumor panel."""

from __future__ import annotations

from trame.widgets import html
from trame.widgets.vuetify3 import VAlert, VBtn, VIcon, VList, VListItem, VMenu, VSlider, VTooltip

from MAISILib.Translate import _
from MAISIWebLib.Buttons import iconButton
from MAISIWebLib.TumorTool import TURN, TumorTool

STEP = 2.0  # mm
BUTTON = {"variant": "tonal", "rounded": True, "classes": "flex-grow-1"}


def tumorCard(tool: TumorTool) -> None:
    """Place button with its size, the list of lesions, and what can be done to the selected one."""
    name = tool.state.name
    with html.Div(classes="pa-3"):
        VBtn(
            text=(f"{name.placing} ? '{_('Click inside an organ')}' : '{_('Place a tumor')}'",),
            prepend_icon="mdi-target",
            color=(f"{name.placing} ? 'warning' : 'primary'",),
            variant="flat",
            block=True,
            click=f"{name.placing} = !{name.placing}",
            id="place",
        )
        with html.Div(classes="d-flex align-center mt-3"):
            html.Div(_("Radius"), classes="caption mr-3")
            VSlider(
                v_model=(name.radius,),
                min=3,
                max=40,
                step=1,
                hide_details=True,
                density="compact",
                color="primary",
                thumb_size=14,
                id="radius",
            )
            html.Div(f"{{{{ {name.radius} }}}} mm", classes="caption ml-3 text-right", style="min-width:44px")
        with VList(density="compact", classes="mt-2 rows", v_if=(f"{name.rows}.length",)):
            _rows(tool)
        html.Div(_("No tumor yet."), classes="caption mt-3", v_else=True)
        with html.Div(classes="d-flex mt-2", style="gap:6px", v_if=(name.selected,)):
            for id_, icon, text, act in (
                ("shrink", "mdi-minus", _("Shrink by 2 mm"), lambda: tool.grow(-STEP)),
                ("grow", "mdi-plus", _("Grow by 2 mm"), lambda: tool.grow(STEP)),
                ("reshape", "mdi-dice-multiple-outline", _("Another shape"), tool.reshape),
                ("duplicate", "mdi-content-duplicate", _("The same tumor once more, beside it"), tool.duplicate),
            ):
                iconButton(icon, text, click=act, **BUTTON, id=id_)
            _turns(tool)
        html.Div(
            _(
                "Drag a tumor to move it, and a yellow dot of the selected one to stretch it; "
                "Shift and the mouse wheel grow or shrink it."
            ),
            classes="caption mt-3",
            v_if=(name.selected,),
        )
        VAlert(
            text=(name.message,),
            v_if=(name.message,),
            type="warning",
            variant="tonal",
            density="compact",
            classes="mt-3",
            id="tumor-message",
        )


def _turns(tool: TumorTool) -> None:
    """A button with a choice of the plane in which to turn."""
    planes = (  # seen as the views show them: from the feet, from the front, from the left
        ("axial", _("In the axial plane"), (0, 0, 1)),
        ("coronal", _("In the coronal plane"), (0, -1, 0)),
        ("sagittal", _("In the sagittal plane"), (1, 0, 0)),
    )
    with VMenu(location="bottom end"):
        with (
            html.Template(v_slot_activator="{ props }"),
            VBtn(v_bind="props", icon=True, size="small", id="turn", **BUTTON),
        ):
            VIcon("mdi-rotate-right")
            VTooltip(
                _("Turn clockwise by {degrees:g} degrees").format(degrees=TURN), activator="parent", open_delay=400
            )
        with VList(density="compact"):
            for plane, title, axis in planes:
                VListItem(title=title, click=(tool.rotate, str(list(axis))), id=f"turn-{plane}")


def _rows(tool: TumorTool) -> None:
    name = tool.state.name
    with VListItem(
        v_for=f"row in {name.rows}",
        key="row.segmentId",
        active=(f"row.segmentId === {name.selected}",),
        title=("row.name",),
        subtitle=("row.size",),
        lines="two",
        click=(tool.select, "[row.segmentId]"),
        rounded=True,
    ):
        with html.Template(v_slot_prepend=True):
            VIcon("mdi-circle", color=("row.color",), size="small")
        with html.Template(v_slot_append=True):
            iconButton("mdi-delete-outline", _("Remove"), click_stop=(tool.remove, "[row.segmentId]"))
