"""The borders between the rooms of the house, read from the source without running it (the import tests do run it)."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SYNTH = ROOT / "MAISISynth"
BACKEND = SYNTH / "maisi"
TRAIN = ROOT / "MAISITrain"
SLICER_FACING = [
    *(SYNTH / name for name in ("MAISILib", "MAISISynthLib", "MAISIWebLib", "SegmentEditorTumorLib")),
    TRAIN / "MAISITrainLib",
]
MODULE_FILES = [SYNTH / "MAISISynth.py", TRAIN / "MAISITrain.py"]
OURS = {"maisi", *(folder.name for folder in SLICER_FACING)}
SLICER = {"slicer", "vtk", "vtkmodules", "qt", "ctk"}
MAY_USE_QT = ("Panel", "Widget", "Effect", "Pump")
LEARNING = {"torch", "monai", "safetensors", "einops"}


def imports(path: Path, atFileScope: bool = False) -> set[str]:
    """Top-level names of what a file imports (relative imports are our own)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if atFileScope else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def sources(*folders: Path) -> list[Path]:
    found = sorted(path for folder in folders for path in folder.rglob("*.py"))
    assert found
    return found


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", sources(BACKEND), ids=name)
def test_backend_knows_nothing_of_slicer(path):
    # `maisi demo` and `maisi web` start what they are named after.
    allowed = {"demo.py": {"MAISISynthLib"}, "web.py": {"MAISIWebLib"}}.get(path.name, set())
    assert not imports(path) & (SLICER | (OURS - {"maisi"}) - allowed)


@pytest.mark.parametrize("path", sources(*SLICER_FACING), ids=name)
def test_slicer_facing_code_has_no_qt_but_in_panels_and_no_deep_learning(path):
    assert not imports(path) & LEARNING
    if not path.stem.endswith(MAY_USE_QT):
        assert not imports(path) & {"qt", "ctk"}


@pytest.mark.parametrize("path", sources(SYNTH / "MAISILib", SYNTH / "MAISISynthLib", TRAIN), ids=name)
def test_the_modules_do_not_know_the_browser(path):
    """trame is no dependency of the extension."""
    assert not imports(path) & {"MAISIWebLib", "trame", "trame_slicer"}


@pytest.mark.parametrize("path", sources(SYNTH / "MAISILib"), ids=name)
def test_the_shared_library_does_not_know_its_users(path):
    assert not imports(path) & {"MAISISynthLib", "MAISITrainLib"}


@pytest.mark.parametrize("path", sources(SYNTH / "MAISISynthLib", SYNTH / "MAISIWebLib"), ids=name)
def test_synthesis_does_not_know_training(path):
    assert "MAISITrainLib" not in imports(path)


@pytest.mark.parametrize("path", MODULE_FILES, ids=name)
def test_module_files_import_nothing_foreign_and_run_nothing(path):
    allowed = set(sys.stdlib_module_names) | OURS | {"slicer", "vtk", "numpy"}
    assert imports(path, atFileScope=True) <= allowed
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        isDefinition = isinstance(node, (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef, ast.Assign))
        isDocstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        assert isDefinition or isDocstring, f"line {node.lineno} runs at import"


@pytest.mark.parametrize("path", MODULE_FILES, ids=name)
def test_module_files_are_thin(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 130


def loadedBy(statement: str, *names: str) -> set[str]:
    """Which of ``names`` a fresh Python has imported after ``statement``."""
    code = f"import sys\n{statement}\nprint(*(set({names!r}) & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (SYNTH, TRAIN)))}
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=SYNTH, env=environment)
    return set(run.stdout.split())


LIGHT = ["maisi", "maisi.protocol", "maisi.labels", "maisi.volume", "maisi.errors", "maisi.models.store", "maisi.cli"]
LIGHT += ["maisi.train.run_folder", "maisi.train.metrics", "maisi.train.prepared", "maisi.train.config"]


@pytest.mark.parametrize("module", LIGHT)
def test_the_light_part_of_the_backend_imports_no_torch(module):
    assert loadedBy(f"import {module}", "torch", "monai", "slicer", "vtk") == set()


def test_protocol_is_standard_library_only():
    assert imports(BACKEND / "protocol.py") <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("path", sources(BACKEND / "remote"), ids=name)
def test_both_ends_of_a_connection_are_standard_library_only(path):
    """Neither the application's Python nor a bare one there needs more to say what is wrong."""
    assert imports(path) <= {*sys.stdlib_module_names, "maisi"}


def test_what_the_application_imports_of_the_backend_needs_only_what_slicer_has():
    """Slicer's Python brings numpy and scipy; the rest is for the child process."""
    pytest.importorskip("slicer", reason="slicer-core is not installed: run `make setup`")
    folders = (SYNTH / "MAISISynthLib", TRAIN / "MAISITrainLib")
    presenters = (f"{folder.name}.{path.stem}" for folder in folders for path in folder.glob("*Presenter.py"))
    statement = "; ".join(f"import {presenter}" for presenter in presenters)
    foreign = ("torch", "monai", "nibabel", "SimpleITK", "tqdm", "psutil", "pydantic", "yaml")
    assert loadedBy(statement, *foreign) == set()


def unmarkedStrings(path: Path) -> list[str]:
    """String literals given to the user without ``_()``: raised as InputError or set as a widget's text."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("InputError", "JobError", "RuntimeError"):
            found += [ast.unparse(a) for a in node.args[:1] if isinstance(a, (ast.Constant, ast.JoinedStr))]
        isText = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute)
        if isText and node.targets[0].attr in ("text", "toolTip", "title", "helpText"):
            found += [ast.unparse(node)] if isinstance(node.value, (ast.Constant, ast.JoinedStr)) else []
    return found


@pytest.mark.parametrize("path", [*sources(*SLICER_FACING), *MODULE_FILES], ids=name)
def test_what_users_read_can_be_translated(path):
    assert unmarkedStrings(path) == []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "_":
            assert isinstance(node.args[0], ast.Constant), f"line {node.lineno}: only literals can be translated"
