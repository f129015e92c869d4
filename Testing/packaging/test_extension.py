"""What the Extensions Index and Slicer's packaging ask for, as far as it can be checked without building."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = ("MAISISynth", "MAISITrain")
LEFT_OUT = ("__pycache__", ".egg-info", "CMakeLists.txt", ".ruff_cache", ".pytest_cache")
SCHEMA_FIELDS = {
    "$schema": str,
    "build_dependencies": list,
    "build_subdirectory": str,
    "category": str,
    "enabled": bool,
    "scm_revision": str,
    "scm_type": str,
    "scm_url": str,
    "tier": int,
}


def cmakeList(module: str, name: str) -> list[str]:
    """The entries of a ``set(name ...)`` in a module's CMakeLists.txt."""
    text = (ROOT / module / "CMakeLists.txt").read_text(encoding="utf-8")
    body = re.search(rf"set\({name}\n(.*?)\n\s*\)", text, re.DOTALL).group(1)
    return [line.strip().replace("${MODULE_NAME}", module) for line in body.splitlines() if line.strip()]


def installed(module: str) -> list[str]:
    """All files of a module that Slicer installs."""
    return cmakeList(module, "MODULE_PYTHON_SCRIPTS") + cmakeList(module, "MODULE_PYTHON_RESOURCES")


def tree(module: str) -> set[str]:
    """Every file of the module folder that is to be installed."""
    folder = ROOT / module
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {file for file in files if not any(part in file for part in LEFT_OUT)}


def extensionSetting(name: str) -> str:
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    return re.search(rf'set\(EXTENSION_{name} "(.*?)"\)', text, re.DOTALL).group(1)


def pngSize(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n", f"{path.name} is not a PNG"
    return struct.unpack(">II", head[16:24])


@pytest.mark.parametrize("module", MODULES)
def test_cmake_lists_equal_the_tree(module):
    listed, files = installed(module), tree(module)
    assert sorted(files - set(listed)) == [], "files that would be missing in the package"
    assert sorted(set(listed) - files) == [], "listed files that do not exist"
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize("module", MODULES)
def test_cmake_lists_are_sorted_by_kind(module):
    assert all(file.endswith(".py") for file in cmakeList(module, "MODULE_PYTHON_SCRIPTS"))
    assert not any(file.endswith(".py") for file in cmakeList(module, "MODULE_PYTHON_RESOURCES"))
    assert not any(".." in file or file.startswith("/") for file in installed(module))


def test_modules_are_installed_into_one_folder_without_a_clash():
    listed = [file for module in MODULES for file in installed(module)]
    assert sorted(listed) == sorted(set(listed))


@pytest.mark.parametrize("module", MODULES)
def test_modules_are_built(module):
    assert f"add_subdirectory({module})" in (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("module", MODULES)
def test_no_stray_python_file_is_taken_for_a_module(module):
    """Slicer tries every .py file directly in a module folder as a module."""
    assert [path.stem for path in (ROOT / module).glob("*.py")] == [module]


@pytest.fixture(scope="module")
def an_installed_copy(tmp_path_factory) -> Path:
    """The listed files alone, as Slicer installs them: one flat folder, relative paths kept."""
    folder = tmp_path_factory.mktemp("qt-scripted-modules")
    for module in MODULES:
        for file in installed(module):
            target = folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / module / file, target)
    return folder


def runIn(folder: Path, code: str) -> subprocess.CompletedProcess:
    """A Python that sees the copy and installed libraries, but neither the source tree nor an editable install."""
    guard = f"""
import sys
ours = {[str(ROOT / module) for module in MODULES]!r}
sys.path = [{str(folder)!r}, *(path for path in sys.path if not any(place in path for place in ours))]
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in str(finder)]
"""
    command = [sys.executable, "-c", guard + code]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=120)


def test_everything_imports_from_the_installed_copy(an_installed_copy):
    pytest.importorskip("slicer", reason="slicer-core is not installed: run `make setup`")
    pytest.importorskip("torch", reason="torch is not installed: run `make setup`")
    code = f"""
import importlib, importlib.util, pathlib
elsewhere = ("SegmentEditorTumorLib", *(() if importlib.util.find_spec("trame_slicer") else ("MAISIWebLib",)))
folder = pathlib.Path({str(an_installed_copy)!r})
for path in sorted(folder.rglob("*.py")):
    name = ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")
    skipped = ("Panel", "Pump", "Widget", "ParameterNode", "__main__")
    if name in {MODULES!r} or name.startswith(elsewhere) or name.endswith(skipped):
        continue
    module = importlib.import_module(name)
    assert pathlib.Path(module.__file__).is_relative_to(folder), module.__file__
print("all imported")
"""
    run = runIn(an_installed_copy, code)
    assert run.stdout.endswith("all imported\n"), run.stderr


def test_shipped_files_are_found_in_the_installed_copy(an_installed_copy):
    code = """
from MAISILib.ResourcePaths import REQUIREMENTS
from MAISITrainLib.Requirements import FILE
from maisi.labels import LABELS
from maisi.train.presets import titles
print(REQUIREMENTS.is_file(), FILE.is_file(), len(LABELS) > 100, "controlnet" in titles())
"""
    run = runIn(an_installed_copy, code)
    assert run.stdout.split() == ["True"] * 4, run.stderr


def test_catalog_entry_is_as_the_index_wants_it():
    path = ROOT / "Resources" / "MAISI.json"
    text = path.read_text(encoding="utf-8")
    entry = json.loads(text)
    assert set(entry) <= set(SCHEMA_FIELDS), "additional properties are forbidden"
    assert {"$schema", "category", "scm_url"} <= set(entry)
    assert all(isinstance(entry[key], SCHEMA_FIELDS[key]) for key in entry)
    assert entry["$schema"].endswith("slicer-extension-catalog-entry-schema-v1.0.1.json#")
    assert entry["tier"] in (1, 3, 5)
    assert "\r" not in text


def test_catalog_entry_and_cmake_agree():
    entry = json.loads((ROOT / "Resources" / "MAISI.json").read_text(encoding="utf-8"))
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert re.search(r"project\((\w+)\)", text).group(1) == "MAISI", "the name of the JSON file"
    assert entry["scm_url"].removesuffix(".git") == extensionSetting("HOMEPAGE")
    depends = [] if extensionSetting("DEPENDS") == "NA" else extensionSetting("DEPENDS").split(";")
    assert entry["build_dependencies"] == depends


@pytest.mark.parametrize("setting", ["ICONURL", "SCREENSHOTURLS"])
def test_pictures_of_the_catalog_exist_here(setting):
    urls = extensionSetting(setting).split()
    assert urls
    for url in urls:
        path = ROOT / url.split("/main/")[1]
        width, height = pngSize(path)
        assert min(width, height) >= 128


@pytest.mark.parametrize("module", MODULES)
def test_modules_have_an_icon(module):
    assert pngSize(ROOT / module / "Resources" / "Icons" / f"{module}.png") == (128, 128)


def test_license_is_apache_2():
    text = (ROOT / "LICENSE.txt").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_repository_stays_small():
    """The index allows 100 MB."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    sizes = {
        file: (ROOT / file).stat().st_size for file in listed.stdout.split("\0") if file and (ROOT / file).exists()
    }
    assert sum(sizes.values()) < 60e6, sorted(sizes, key=sizes.get)[-5:]
