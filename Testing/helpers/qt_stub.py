"""Just enough of Qt and of Slicer's Python layer to run the panels' code; nothing is drawn.

The widgets are those that a module's .ui file names. Like PythonQt, a widget refuses properties and signals that its
class does not have; like Qt, it tells its listeners when a property of note changes. This is no test of real widgets.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import vtk

from MAISISynthLib.SingletonNodes import parameterNode
from MAISISynthLib.SynthesisChoices import Choices
from MAISITrainLib.TrainChoices import TrainChoices

ROOT = Path(__file__).parents[2]
CHOICES = {"MAISISynth": Choices, "MAISITrain": TrainChoices}  # the fields of each module's parameter node
ANY = {"enabled", "visible", "toolTip"}
# class -> property -> the signal that tells of it, or None
PROPERTIES: dict[str, dict[str, str | None]] = {
    "QLabel": {"text": None},
    "QPushButton": {"text": None, "checked": "toggled(bool)"},
    "QCheckBox": {"checked": "toggled(bool)"},
    "QSpinBox": {"value": "valueChanged(int)", "maximum": None},
    "QComboBox": {"currentIndex": None},
    "QProgressBar": {"value": None, "maximum": None},
    "QLineEdit": {"text": "textChanged(QString)", "placeholderText": None},
    "QPlainTextEdit": {"plainText": None},
    "QTableWidget": {},
    "QTimer": {"interval": None, "singleShot": None, "active": None},
    "ctkCollapsibleButton": {"collapsed": None},
    "ctkSliderWidget": {"value": "valueChanged(double)"},
    "ctkPathLineEdit": {"currentPath": "currentPathChanged(QString)"},
    "qMRMLNodeComboBox": {},
    "qMRMLWidget": {},
    "qMRMLSegmentEditorWidget": {
        "unorderedEffectsVisible": None,
        "segmentationNodeSelectorVisible": None,
        "sourceVolumeNodeSelectorVisible": None,
        "autoShowSourceVolumeNode": None,
    },
}
SIGNALS = {
    "QPushButton": {"clicked(bool)"},
    "QComboBox": {"activated(int)"},
    "QLineEdit": {"editingFinished()"},
    "QTableWidget": {"itemSelectionChanged()"},
    "QTimer": {"timeout()"},
    "qMRMLNodeComboBox": {"currentNodeChanged(vtkMRMLNode*)"},
    "QFactory": {"effectRegistered(QString)"},
}
NUMBERS = {"bool": lambda text: text == "true", "number": int, "double": float}


class StubObject:
    """A Qt object of class ``kind``."""

    def __init__(self, kind: str, **values: Any) -> None:
        initial = {"text": "", "checked": False, "value": 0, "plainText": "", "currentPath": "", "active": False}
        known = {name: value for name, value in initial.items() if name in PROPERTIES.get(kind, {})}
        vars(self).update(kind=kind, slots=[], blocked=False, enabled=True, visible=True, collapsed=False)
        vars(self).update(known | values)

    def __setattr__(self, name: str, value: Any) -> None:
        assert name in ANY | set(PROPERTIES[self.kind]), f"{self.kind} has no property {name}"
        changed = vars(self).get(name) != value
        vars(self)[name] = value
        signal = PROPERTIES[self.kind].get(name)
        if changed and signal:
            self.emit(signal, value)

    def connect(self, signal: str, slot) -> None:
        told = {notify for notify in PROPERTIES.get(self.kind, {}).values() if notify}
        assert signal in told | SIGNALS.get(self.kind, set()), f"{self.kind} has no signal {signal}"
        self.slots.append((signal, slot))

    def disconnect(self, signal: str, slot) -> bool:
        connected = (signal, slot) in self.slots
        if connected:
            self.slots.remove((signal, slot))
        return connected

    def blockSignals(self, blocked: bool) -> bool:
        before = self.blocked
        vars(self)["blocked"] = blocked
        return before

    def emit(self, signal: str, *arguments: Any) -> None:
        for wanted, slot in list(self.slots):
            if wanted == signal and not self.blocked:
                slot(*arguments)

    def moveCursor(self, where: str) -> None:
        vars(self)["cursor"] = where

    def click(self) -> None:
        assert self.enabled
        assert self.visible
        self.emit("clicked(bool)", False)


class StubNodeComboBox(StubObject):
    """A node selector; ``setCurrentNode`` tells its listeners, as the real one does."""

    def __init__(self, **values: Any) -> None:
        super().__init__("qMRMLNodeComboBox", node=None, **values)

    def currentNode(self):
        return self.node

    def setCurrentNode(self, node) -> None:
        if node is not self.node:
            vars(self)["node"] = node
            self.emit("currentNodeChanged(vtkMRMLNode*)", node)


class StubComboBox(StubObject):
    """Entries with data; ``choose`` is what a user does."""

    def __init__(self, **values: Any) -> None:
        super().__init__("QComboBox", items=[], currentIndex=-1, **values)

    @property
    def count(self) -> int:
        return len(self.items)

    def clear(self) -> None:
        self.items.clear()
        self.currentIndex = -1

    def addItem(self, text: str, data: Any = None) -> None:
        self.items.append((text, data))

    def itemData(self, index: int) -> Any:
        return self.items[index][1]

    def choose(self, data: Any) -> None:
        self.currentIndex = [item[1] for item in self.items].index(data)
        self.emit("activated(int)", self.currentIndex)


class StubTable(StubObject):
    """Rows of text."""

    def __init__(self, **values: Any) -> None:
        super().__init__("QTableWidget", rows=[], row=-1, **values)

    def setRowCount(self, count: int) -> None:
        self.rows[:] = [{} for _row in range(count)]
        vars(self)["row"] = min(self.row, count - 1)

    def setItem(self, row: int, column: int, item: str) -> None:
        self.rows[row][column] = item

    def setCellWidget(self, row: int, column: int, widget: StubObject) -> None:
        self.rows[row][column] = widget

    def cellWidget(self, row: int, column: int) -> StubObject:
        return self.rows[row][column]

    def currentRow(self) -> int:
        return self.row

    def selectRow(self, row: int) -> None:
        vars(self)["row"] = row
        self.emit("itemSelectionChanged()")

    def resizeColumnsToContents(self) -> None:
        """Nothing is drawn."""

    def texts(self) -> list[list[str]]:
        return [[row[column] for column in sorted(row)] for row in self.rows]


class StubEditor(StubObject):
    """The Segment Editor's widget: remembers what it was told, in order."""

    METHODS = (
        "setEffectNameOrder", "setMaximumNumberOfUndoStates", "setMRMLSegmentEditorNode", "setMRMLScene",
        "installKeyboardShortcuts", "uninstallKeyboardShortcuts", "setActiveEffect", "removeViewObservations",
        "updateWidgetFromMRML", "updateEffectList", "setSegmentationNode", "setSourceVolumeNode",
    )  # fmt: skip

    def __init__(self, **values: Any) -> None:
        super().__init__("qMRMLSegmentEditorWidget", calls=[], **values)

    def __getattr__(self, name: str):
        if name not in self.METHODS:
            raise AttributeError(name)
        return lambda *arguments: self.calls.append((name, *arguments))

    def segmentationNode(self):
        return self._last("setSegmentationNode")

    def sourceVolumeNode(self):
        return self._last("setSourceVolumeNode")

    def _last(self, name: str):
        return next((call[1] for call in reversed(self.calls) if call[0] == name), None)


class StubTimer(StubObject):
    """A timer that rings when the test calls ``ring``."""

    def __init__(self) -> None:
        super().__init__("QTimer")

    def start(self) -> None:
        self.active = True

    def stop(self) -> None:
        self.active = False

    def ring(self) -> None:
        assert self.active
        if vars(self).get("singleShot"):
            self.active = False
        self.emit("timeout()")


class StubParameters:
    """A parameter node: the fields of the choices, kept beside the real MRML node, connected as the .ui file says.

    The real wrapper caches values, so that observers of one wrapper would see old values after a change through
    another: here that is refused. ``connected``: wrapper by node, of those that are connected with widgets.
    """

    def __init__(self, module: str, node, values: dict[str, Any], connected: dict[Any, StubParameters]) -> None:
        vars(self).update(module=module, node=node, values=values, widgets={}, connected=connected)

    def __getattr__(self, name: str) -> Any:
        return self.values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        assert name in CHOICES[self.module].__dataclass_fields__
        assert self.connected.get(self.node, self) is self, "a change through another wrapper"
        if self.values[name] != value:
            self.values[name] = value
            self.node.Modified()

    def StartModify(self) -> bool:
        return self.node.StartModify()

    def EndModify(self, before: bool) -> None:
        self.node.EndModify(before)

    def AddObserver(self, *arguments):
        return self.node.AddObserver(*arguments)

    def RemoveObserver(self, tag) -> None:
        self.node.RemoveObserver(tag)

    def connectGui(self, ui) -> int:
        self.connected[self.node] = self
        for element in _elements(self.module):
            if name := element.findtext("property[@name='SlicerParameterName']/string"):
                self.widgets[name] = widget = getattr(ui, element.get("name"))
                self._toWidget(name, widget)
                for signal in (*filter(None, PROPERTIES[widget.kind].values()), *SIGNALS.get(widget.kind, ())):
                    if signal != "activated(int)":
                        widget.connect(signal, lambda value, name=name: setattr(self, name, value))
        return self.node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_event: self._toWidgets())

    def disconnectGui(self, tag: int) -> None:
        del self.connected[self.node]
        self.node.RemoveObserver(tag)
        for widget in self.widgets.values():
            widget.slots[:] = [slot for slot in widget.slots if slot[1].__module__ != __name__]
        self.widgets.clear()

    def _toWidgets(self) -> None:
        for name, widget in self.widgets.items():
            self._toWidget(name, widget)

    def _toWidget(self, name: str, widget: StubObject) -> None:
        if widget.kind == "qMRMLNodeComboBox":
            widget.setCurrentNode(self.values[name])
        elif widget.kind in ("QSpinBox", "QCheckBox", "ctkSliderWidget"):
            setattr(widget, "checked" if widget.kind == "QCheckBox" else "value", self.values[name])


class StubParameterNodes:
    """Gives the parameter node of a scene, always with the values it had."""

    def __init__(self, module: str = "MAISISynth") -> None:
        self._module = module
        self._values: dict[Any, dict[str, Any]] = {}
        self._connected: dict[Any, StubParameters] = {}

    def __call__(self, scene) -> StubParameters:
        node = parameterNode(scene, self._module)
        values = self._values.setdefault(node, vars(CHOICES[self._module]()).copy())
        return StubParameters(self._module, node, values, self._connected)


def stubUi(module: str = "MAISISynth") -> SimpleNamespace:
    """The widgets of a module's .ui file by name, with the values that stand there."""
    kinds = {
        "qMRMLNodeComboBox": StubNodeComboBox,
        "QComboBox": StubComboBox,
        "QTableWidget": StubTable,
        "qMRMLSegmentEditorWidget": StubEditor,
    }
    widgets = {}
    for element in _elements(module):
        kind, values = element.get("class"), {}
        for given in element.findall("property"):
            if given.get("name") in ANY | set(PROPERTIES[kind]):
                value = given[0]
                values[given.get("name")] = NUMBERS.get(value.tag, str)(value.text or "")
        widgets[element.get("name")] = kinds[kind](**values) if kind in kinds else StubObject(kind, **values)
    return SimpleNamespace(**widgets)


def _elements(module: str) -> Iterator[ElementTree.Element]:
    return ElementTree.parse(ROOT / module / "Resources" / "UI" / f"{module}.ui").iter("widget")


def stubModules() -> dict[str, ModuleType]:
    """Modules that only the application has, by name."""

    class Base:
        def __init__(self, parent=None) -> None:
            self.parent = parent

    qt = ModuleType("qt")
    qt.QTimer = StubTimer
    qt.QTableWidget, qt.QTableWidgetItem = StubTable, str
    qt.QComboBox, qt.QLineEdit, qt.QWidget = StubComboBox, lambda: StubObject("QLineEdit"), StubObject
    qt.clipboard = []
    qt.cursors = []
    qt.QApplication = SimpleNamespace(
        clipboard=lambda: SimpleNamespace(setText=qt.clipboard.append),
        setOverrideCursor=qt.cursors.append,
        restoreOverrideCursor=qt.cursors.pop,
    )
    qt.Qt = SimpleNamespace(WaitCursor="wait")
    qt.QTextCursor = SimpleNamespace(End="end")
    qt.opened = []
    qt.QDesktopServices = SimpleNamespace(openUrl=qt.opened.append)
    qt.QUrl = SimpleNamespace(fromLocalFile=str)
    i18n = ModuleType("slicer.i18n")
    i18n.tr = lambda text: text
    i18n.translate = lambda _context, text: text
    base = ModuleType("slicer.ScriptedLoadableModule")
    for name in ("ScriptedLoadableModule", "ScriptedLoadableModuleWidget", "ScriptedLoadableModuleTest"):
        setattr(base, name, type(name, (Base,), {}))
    return {"qt": qt, "slicer.i18n": i18n, "slicer.ScriptedLoadableModule": base}
