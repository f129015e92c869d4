"""The widgets of the Synthesize panel."""

from __future__ import annotations

from trame.widgets import html
from trame.widgets.vuetify3 import VAlert, VBtn, VProgressLinear, VSwitch, VTextField

from MAISILib.Translate import _
from MAISIWebLib.SynthesisTool import SynthesisTool


def synthesisCard(tool: SynthesisTool) -> None:
    """What was recognized, seed and extent, the one button that starts and cancels, progress, and how it ended."""
    name = tool.state.name
    with html.Div(classes="pa-3"):
        html.Div(f"{{{{ {name.status} }}}}", classes="caption status", id="status")
        with html.Div(classes="d-flex align-center mt-2", style="gap:8px"):
            VTextField(
                v_model_number=(name.seed,),
                label=_("Seed"),
                type="number",
                min=0,
                density="compact",
                variant="outlined",
                hide_details=True,
                style="max-width:150px",
                disabled=(f"!{name.choosable} || ({name.hasBefore} && !{name.whole})",),
                append_inner_icon="mdi-dice-multiple-outline",
                click_appendInner=tool.dice,
            )
            VSwitch(
                v_model=(name.whole,),
                label=_("Whole image"),
                density="compact",
                color="primary",
                hide_details=True,
                disabled=(f"!{name.choosable}",),
                v_if=(name.hasBefore,),
                classes="flex-grow-0 nowrap",
                id="whole",
            )
        VBtn(
            text=(name.button,),
            prepend_icon=(f"{name.running} ? 'mdi-stop' : 'mdi-creation'",),
            color=(f"{name.running} ? 'error' : 'primary'",),
            variant="flat",
            block=True,
            classes="mt-3",
            disabled=(f"!{name.enabled}",),
            click=tool.press,
            id="synthesize",
        )
        with html.Div(v_if=(name.running,), classes="mt-2", id="progress"):
            VProgressLinear(
                model_value=(name.percent,), indeterminate=(name.busy,), color="primary", height=6, rounded=True
            )
            html.Div(f"{{{{ {name.progress} }}}}", classes="caption mt-1")
        html.Div(f"{{{{ {name.outcome} }}}}", v_if=(name.outcome,), classes="caption status mt-2", id="outcome")
        VAlert(
            text=(name.log,),
            v_if=(name.log,),
            type="error",
            icon=False,
            variant="tonal",
            density="compact",
            classes="mt-2 log",
        )
