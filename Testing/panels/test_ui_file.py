"""MAISISynth.ui, read as XML: it fits the panel's code and Slicer's rules, as far as that can be seen without Qt."""

from __future__ import annotations

import ast
from pathlib import Path
from xml.etree import ElementTree

import pytest

MODULE = Path(__file__).parents[2] / "MAISISynth"
PANEL = MODULE / "MAISISynthLib" / "SynthesisPanel.py"
INPUTS = ("qMRMLNodeComboBox", "QSpinBox", "QPushButton", "QPlainTextEdit", "QLineEdit", "QComboBox", "QCheckBox")


@pytest.fixture(scope="module")
def ui():
    return ElementTree.parse(MODULE / "Resources" / "UI" / "MAISISynth.ui").getroot()


def properties(widget) -> dict[str, str]:
    return {p.get("name"): "".join(p.itertext()).strip() for p in widget.findall("property")}


def test_names_are_unique(ui):
    names = [element.get("name") for tag in ("widget", "layout", "spacer") for element in ui.iter(tag)]
    assert sorted(names) == sorted(set(names))


def test_every_widget_that_the_panel_uses_exists(ui):
    widgets = {widget.get("name") for widget in ui.iter("widget")}
    used = {
        node.attr
        for node in ast.walk(ast.parse(PANEL.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self.ui"
    }
    assert used
    assert used <= widgets


def test_every_input_has_a_tooltip(ui):
    without = [
        widget.get("name")
        for widget in ui.iter("widget")
        if widget.get("class") in INPUTS and not properties(widget).get("toolTip")
    ]
    assert without == []


def test_every_mrml_widget_gets_the_scene(ui):
    receivers = {
        connection.findtext("receiver")
        for connection in ui.iter("connection")
        if connection.findtext("signal") == "mrmlSceneChanged(vtkMRMLScene*)"
        and connection.findtext("slot") == "setMRMLScene(vtkMRMLScene*)"
    }
    selectors = {w.get("name") for w in ui.iter("widget") if w.get("class", "").startswith("qMRMLNode")}
    assert selectors == receivers


def test_custom_widgets_are_declared(ui):
    used = {w.get("class") for w in ui.iter("widget") if not w.get("class").startswith("Q")}
    assert used == {element.findtext("class") for element in ui.iter("customwidget")}


def test_tab_order_names_widgets(ui):
    widgets = {widget.get("name") for widget in ui.iter("widget")}
    assert {tab.text for tab in ui.iter("tabstop")} <= widgets


def test_no_colors_of_its_own(ui):
    """Slicer has a dark mode."""
    assert not [p for p in ui.iter("property") if p.get("name") in ("styleSheet", "palette")]


def test_selectors_do_not_create_or_delete_nodes(ui):
    for widget in ui.iter("widget"):
        if widget.get("class") == "qMRMLNodeComboBox":
            given = properties(widget)
            assert (given["addEnabled"], given["removeEnabled"]) == ("false", "false")
