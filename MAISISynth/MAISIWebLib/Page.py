"""The page: title bar, tools on the left, views. Everything it needs comes from this server."""

from __future__ import annotations

import base64
from pathlib import Path

from trame.ui.vuetify3 import VAppLayout
from trame.widgets import client, html
from trame.widgets.vuetify3 import (
    VAppBar,
    VBtn,
    VBtnToggle,
    VChip,
    VDivider,
    VList,
    VListItem,
    VMain,
    VMenu,
    VNavigationDrawer,
    VSelect,
    VSnackbar,
    VTab,
    VTabs,
)
from trame_server import Server
from trame_slicer.app.ui.segmentation import SegmentEditorUI
from trame_slicer.core import LayoutManager

from MAISILib.Translate import _
from MAISIWebLib.Buttons import iconButton
from MAISIWebLib.CompareCard import compareStrip
from MAISIWebLib.Downloads import CT
from MAISIWebLib.SegmentTool import lesionItems
from MAISIWebLib.SynthesisCard import synthesisCard
from MAISIWebLib.TumorCard import tumorCard
from MAISIWebLib.Views import ALL, AXIAL, SLICES

ICON = Path(__file__).parents[1] / "Resources" / "Icons" / "MAISISynth.png"
COLORS = {
    "background": "#0b0e12",
    "surface": "#151a21",
    "surface-light": "#232b35",
    "primary": "#4db6e6",
    "warning": "#f2b84b",
    "error": "#e5686d",
    "on-surface": "#dbe3ec",
}
THEME = {"theme": {"defaultTheme": "maisi", "themes": {"maisi": {"dark": True, "colors": COLORS}}}}
STYLE = """
html { overflow: hidden; }
.caption { font-size: 12px; color: #93a1b0; line-height: 1.35; }
.status { white-space: pre-line; }
.heading { font-size: 11px; letter-spacing: .09em; text-transform: uppercase; color: #93a1b0; padding: 10px 12px 0; }
.rows { max-height: 180px; overflow-y: auto; background: transparent; }
.log { white-space: pre-wrap; font-size: 11px; max-height: 160px; overflow-y: auto; }
.strip { height: 56px; flex: none; background: #151a21; border-top: 1px solid #232b35; }
.nowrap .v-label { white-space: nowrap; font-size: 12px; }
.layout-grid-item { border-color: #232b35 !important; }
.v-btn { text-transform: none; letter-spacing: 0; }
"""
DRAWER_WIDTH = 330


def iconUri() -> str:
    """The extension's icon, for the tab of the browser; trame would fetch one from outside."""
    return "data:image/png;base64," + base64.b64encode(ICON.read_bytes()).decode()


class Page:
    """The widgets, bound to the tools of a ``Workbench``."""

    def __init__(self, server: Server, workbench, layoutManager: LayoutManager) -> None:
        self._workbench = workbench
        self._name = workbench.state.name
        with VAppLayout(server, vuetify_config=THEME) as self.layout:
            client.Style(STYLE)
            with VAppBar(density="compact", flat=True, border=True):
                self._titleBar()
            with VNavigationDrawer(permanent=True, width=DRAWER_WIDTH), html.Div(classes="d-flex flex-column h-100"):
                self._tools()
            with VMain(), html.Div(style="height:calc(100vh - 48px)", classes="d-flex flex-column"):
                with html.Div(classes="d-flex flex-grow-1", style="min-height:0"):
                    layoutManager.initialize_layout_grid(self.layout)
                compareStrip(workbench.compare)

    def _titleBar(self) -> None:
        html.Img(src=("trame__favicon",), width=26, height=26, classes="ml-3 mr-2")
        html.Div("MAISI Synth", classes="text-subtitle-1 font-weight-medium")
        html.Div(f"{{{{ {self._name.title} }}}}", classes="caption ml-4 text-truncate")
        html.Div(classes="flex-grow-1")
        VChip(_("Not for clinical use"), size="small", color="warning", variant="tonal", classes="mr-4")
        undo = self._workbench.segments.editorState.name
        tool = self._workbench.segments
        iconButton("mdi-undo", _("Undo"), click=tool.undo, disabled=(f"!{undo.can_undo}",), id="undo")
        iconButton("mdi-redo", _("Redo"), click=tool.redo, disabled=(f"!{undo.can_redo}",), id="redo")
        with VBtnToggle(
            v_model=(self._name.layout,), mandatory=True, density="compact", variant="text", classes="mx-3"
        ):
            for value, icon, text in (
                (SLICES, "mdi-view-column-outline", _("Three slices")),
                (ALL, "mdi-view-grid-outline", _("Slices and 3D")),
                (AXIAL, "mdi-square-outline", _("Axial slice only")),
            ):
                iconButton(icon, text, value=value, id=f"layout-{value}")
        iconButton(
            (f"{self._name.filled} ? 'mdi-circle-half-full' : 'mdi-circle-outline'",),
            _("Segments as outlines or filled"),
            click=f"{self._name.filled} = !{self._name.filled}",
            id="filled",
        )
        self._downloads()

    def _downloads(self) -> None:
        with VMenu(location="bottom end"):
            with html.Template(v_slot_activator="{ props }"):
                VBtn(
                    _("Download"),
                    v_bind="props",
                    prepend_icon="mdi-download",
                    size="small",
                    variant="tonal",
                    classes="mx-3",
                    loading=(self._name.saving,),
                    id="download",
                )
            with VList(density="compact"):
                for title, name, save in self._workbench.downloads():
                    VListItem(
                        title=title,
                        subtitle=name,
                        click=self._download(name, save),
                        disabled=(f"'{name}' === '{CT}' && !{self._workbench.compare.state.name.after}",),
                        id=f"get-{name}",
                    )
        VSnackbar(f"{{{{ {self._name.message} }}}}", v_model=(self._name.failed,), color="error", id="message")

    def _download(self, name: str, save) -> str:
        trigger = self._workbench.server.trigger_name(save)
        return f"utils.download('{name}', trigger('{trigger}'), 'application/octet-stream')"

    def _tools(self) -> None:
        with VTabs(v_model=(self._name.tab,), density="compact", grow=True, color="primary", style="flex:none"):
            VTab(_("Tumors"), value="tumors", id="tab-tumors")
            VTab(_("Segments"), value="segments", id="tab-segments")
        VDivider()
        with html.Div(classes="flex-grow-1", style="overflow-y:auto;min-height:0"):
            with html.Div(v_if=(f"{self._name.tab} === 'tumors'",)):
                tumorCard(self._workbench.tumors)
            with html.Div(v_if=(f"{self._name.tab} === 'segments'",), classes="h-100 d-flex flex-column"):
                self._segments()
        VDivider()
        html.Div(_("Synthesize"), classes="heading")
        synthesisCard(self._workbench.synthesis)

    def _segments(self) -> None:
        tool = self._workbench.segments
        with html.Div(classes="d-flex align-center px-3 pt-3", style="gap:8px"):
            VSelect(
                v_model=(tool.state.name.kind,),
                items=("lesion_items", lesionItems()),
                density="compact",
                variant="outlined",
                hide_details=True,
                label=_("New tumor"),
                style="min-width:0",
            )
            VBtn(_("Paint"), prepend_icon="mdi-brush", click=tool.paintNew, variant="tonal", id="paint-new")
        with html.Div(style="flex:1;min-height:420px"):
            tool.connect(SegmentEditorUI())
