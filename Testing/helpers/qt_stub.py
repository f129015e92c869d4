"""Just enough of Qt and of Slicer's Python layer to run the panel's code; nothing is drawn.

Like PythonQt, a widget refuses properties and signals that its class does not have. This is no test of real widgets.
"""

from __future__ import annotations

from types import ModuleType, SimpleNamespace

SIGNALS = {
    "qMRMLNodeComboBox": {"currentNodeChanged(vtkMRMLNode*)"},
    "QPushButton": {"clicked(bool)"},
    "QTimer": {"timeout()"},
}
PROPERTIES = {
    "QLabel": {"text"},
    "QPushButton": {"text", "enabled", "toolTip"},
    "QSpinBox": {"value", "maximum", "enabled"},
    "QProgressBar": {"value", "maximum", "visible"},
    "QPlainTextEdit": {"plainText"},
    "ctkCollapsibleButton": {"collapsed"},
    "qMRMLNodeComboBox": {"enabled"},
    "QTimer": {"interval", "singleShot", "active"},
}


class StubObject:
    """A Qt object of class ``kind``."""

    def __init__(self, kind: str, **values) -> None:
        vars(self).update(kind=kind, slots=[], node=None, attributes=[], **values)

    def __setattr__(self, name: str, value) -> None:
        assert name in PROPERTIES[self.kind], f"{self.kind} has no property {name}"
        vars(self)[name] = value

    def connect(self, signal: str, slot) -> None:
        assert signal in SIGNALS[self.kind], f"{self.kind} has no signal {signal}"
        self.slots.append(slot)

    def emit(self, *arguments) -> None:
        for slot in self.slots:
            slot(*arguments)


class StubNodeComboBox(StubObject):
    """A node selector; ``setCurrentNode`` tells its listeners, as the real one does."""

    def __init__(self) -> None:
        super().__init__("qMRMLNodeComboBox", enabled=True)

    def addAttribute(self, *attribute: str) -> None:
        self.attributes.append(attribute)

    def currentNode(self):
        return self.node

    def setCurrentNode(self, node) -> None:
        vars(self)["node"] = node
        self.emit(node)


class StubTimer(StubObject):
    """A timer that rings when the test calls ``emit``."""

    def __init__(self) -> None:
        super().__init__("QTimer", active=False)

    def start(self) -> None:
        self.active = True

    def stop(self) -> None:
        self.active = False


def stubUi() -> SimpleNamespace:
    """The widgets of MAISISynth.ui."""
    return SimpleNamespace(
        segmentationSelector=StubNodeComboBox(),
        beforeSelector=StubNodeComboBox(),
        seedSpinBox=StubObject("QSpinBox", value=0, maximum=999999, enabled=True),
        diceButton=StubObject("QPushButton"),
        statusLabel=StubObject("QLabel"),
        synthesizeButton=StubObject("QPushButton"),
        progressBar=StubObject("QProgressBar"),
        progressLabel=StubObject("QLabel"),
        logCollapsibleButton=StubObject("ctkCollapsibleButton", collapsed=True),
        logText=StubObject("QPlainTextEdit", plainText=""),
    )


def stubModules() -> dict[str, ModuleType]:
    """Modules that only the application has, by name."""

    class Base:
        def __init__(self, parent=None) -> None:
            self.parent = parent

    qt = ModuleType("qt")
    qt.QTimer = StubTimer
    i18n = ModuleType("slicer.i18n")
    i18n.tr = lambda text: text
    i18n.translate = lambda _context, text: text
    base = ModuleType("slicer.ScriptedLoadableModule")
    for name in ("ScriptedLoadableModule", "ScriptedLoadableModuleWidget", "ScriptedLoadableModuleTest"):
        setattr(base, name, type(name, (Base,), {}))
    return {"qt": qt, "slicer.i18n": i18n, "slicer.ScriptedLoadableModule": base}
