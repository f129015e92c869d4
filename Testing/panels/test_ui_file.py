"""The .ui files, read as XML: they fit the panels' code and Slicer's rules, as far as that can be seen without Qt."""

from __future__ import annotations

import ast
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
MODULES = ("MAISISynth", "MAISITrain")
INPUTS = (
    "qMRMLNodeComboBox",
    "qMRMLSegmentEditorWidget",
    "ctkSliderWidget",
    "ctkPathLineEdit",
    "QSpinBox",
    "QPushButton",
    "QPlainTextEdit",
    "QLineEdit",
    "QComboBox",
    "QCheckBox",
    "QTableWidget",
)
# What Slicer's parameter node wrapper can connect: the type of the field as it is written -> widget classes.
CONNECTORS = {
    "Optional[slicer.vtkMRMLSegmentationNode]": {"qMRMLNodeComboBox"},
    "Optional[slicer.vtkMRMLScalarVolumeNode]": {"qMRMLNodeComboBox"},
    "int": {"QSpinBox", "QSlider", "ctkSliderWidget"},
    "bool": {"QCheckBox"},
    "float": {"ctkSliderWidget", "QDoubleSpinBox"},
    "Solver": {"QComboBox"},
    "str": {"QLineEdit", "QTextEdit"},
}
UNCONNECTED = {"MAISISynth": {"model"}, "MAISITrain": {"run", "figure"}}  # their lists are made as the panel runs


@pytest.fixture(scope="module", params=MODULES)
def module(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def ui(module):
    return ElementTree.parse(ROOT / module / "Resources" / "UI" / f"{module}.ui").getroot()


@pytest.fixture(scope="module")
def panels(module) -> list[Path]:
    return sorted((ROOT / module / f"{module}Lib").glob("*Panel.py"))


@pytest.fixture(scope="module")
def parameters(module) -> str:
    """The source of the parameter node."""
    return (ROOT / module / f"{module}Lib" / "ParameterNode.py").read_text(encoding="utf-8")


def properties(widget) -> dict[str, str]:
    return {p.get("name"): "".join(p.itertext()).strip() for p in widget.findall("property")}


def usedBy(panel: Path) -> set[str]:
    """The widgets that a panel's code names as ``ui.name`` or ``self.ui.name``."""
    tree = ast.walk(ast.parse(panel.read_text(encoding="utf-8")))
    return {n.attr for n in tree if isinstance(n, ast.Attribute) and ast.unparse(n.value) in ("ui", "self.ui")}


def fieldsOf(parameters: str) -> dict[str, str]:
    """Name -> type, as it is written, of the fields of the parameter node."""
    tree = ast.parse(parameters)
    (wrapped,) = (node for node in tree.body if isinstance(node, ast.ClassDef))
    fields = {}
    for field in (node for node in wrapped.body if isinstance(node, ast.AnnAssign)):
        annotation = field.annotation
        if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Annotated":
            annotation = annotation.slice.elts[0]
        fields[field.target.id] = ast.unparse(annotation)
    return fields


def test_names_are_unique(ui):
    names = [element.get("name") for tag in ("widget", "layout", "spacer") for element in ui.iter(tag)]
    assert sorted(names) == sorted(set(names))


def test_every_widget_that_a_panel_uses_exists(ui, panels):
    names = {widget.get("name") for widget in ui.iter("widget")}
    assert {panel.stem: usedBy(panel) - names for panel in panels if usedBy(panel) - names} == {}


def test_every_input_is_used_by_a_panel_or_connected_with_the_parameter_node(ui, panels):
    used = set().union(*map(usedBy, panels))
    inputs = [w for w in ui.iter("widget") if w.get("class") in INPUTS]
    assert [w.get("name") for w in inputs if w.get("name") not in used and not connected(w)] == []


def connected(widget) -> str | None:
    return properties(widget).get("SlicerParameterName")


def test_parameter_names_are_fields_that_the_widget_can_be_connected_with(module, ui, parameters):
    fields = fieldsOf(parameters)
    names = []
    for widget in ui.iter("widget"):
        if name := connected(widget):
            assert widget.get("class") in CONNECTORS[fields[name]], name
            names.append(name)
    assert sorted(names) == sorted(set(fields) - UNCONNECTED[module])


def test_parameter_node_has_the_fields_of_the_choices(module, parameters):
    pytest.importorskip("slicer", reason="slicer-core is not installed: run `make setup`")
    from MAISISynthLib.SynthesisChoices import Choices
    from MAISITrainLib.TrainChoices import TrainChoices

    choices = {"MAISISynth": Choices, "MAISITrain": TrainChoices}[module]
    assert list(fieldsOf(parameters)) == list(choices.__dataclass_fields__)


def test_parameter_node_has_the_ranges_of_the_widgets(ui, parameters):
    for widget in ui.iter("widget"):
        if widget.get("class") == "QSpinBox" and connected(widget):
            assert f"{connected(widget)}: Annotated[int, WithinRange(0, {properties(widget)['maximum']})]" in parameters


def test_every_input_has_a_tooltip(ui):
    inputs = [w for w in ui.iter("widget") if w.get("class") in INPUTS]
    assert [w.get("name") for w in inputs if not properties(w).get("toolTip")] == []


def test_every_mrml_widget_gets_the_scene(ui):
    receivers = {
        connection.findtext("receiver")
        for connection in ui.iter("connection")
        if connection.findtext("signal") == "mrmlSceneChanged(vtkMRMLScene*)"
        and connection.findtext("slot") == "setMRMLScene(vtkMRMLScene*)"
    }
    selectors = {w.get("name") for w in ui.iter("widget") if w.get("class", "").startswith("qMRMLNode")}
    assert selectors == receivers
    assert "segmentEditorWidget" not in receivers, "it must have its parameter node before the scene"


def test_custom_widgets_are_declared(ui):
    used = {w.get("class") for w in ui.iter("widget") if not w.get("class").startswith("Q")}
    assert used == {element.findtext("class") for element in ui.iter("customwidget")}


def test_tab_order_names_every_input_once(ui):
    inputs = {w.get("name") for w in ui.iter("widget") if w.get("class") in INPUTS} - {"segmentEditorWidget"}
    tabs = [tab.text for tab in ui.iter("tabstop")]
    assert sorted(tabs) == sorted(inputs)


def test_tables_cannot_be_edited_and_select_rows(ui):
    for widget in ui.iter("widget"):
        if widget.get("class") == "QTableWidget":
            given = properties(widget)
            assert given["editTriggers"] == "QAbstractItemView::NoEditTriggers"
            assert given["selectionBehavior"] == "QAbstractItemView::SelectRows"
            assert widget.findall("column")


def test_no_colors_of_its_own(ui):
    """Slicer has a dark mode."""
    assert not [p for p in ui.iter("property") if p.get("name") in ("styleSheet", "palette")]


def test_selectors_do_not_create_or_delete_nodes(ui):
    for widget in ui.iter("widget"):
        if widget.get("class") == "qMRMLNodeComboBox":
            given = properties(widget)
            assert (given["addEnabled"], given["removeEnabled"]) == ("false", "false")
