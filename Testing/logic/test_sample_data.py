"""The case that comes along, its place in the Sample Data module, and the tutorial that uses it."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.request import urlretrieve

import numpy as np
import pytest

from helpers import pretend_worker
from helpers.slicer_core import slicer
from maisi.errors import InputError
from MAISILib.Worker import Worker
from MAISISynthLib import SampleData
from MAISISynthLib.LabelMapping import mapSegments
from MAISISynthLib.SceneIO import readLabels
from MAISISynthLib.SynthesisLogic import MAISISynthLogic
from MAISISynthLib.TumorEdit import TumorEdit

TUTORIAL = Path(__file__).parents[2] / "Resources" / "Tutorial" / "tutorial.py"


def labelsOf(node) -> np.ndarray:
    return readLabels(node, mapSegments(node).ids).array


def test_it_is_registered_so_that_nothing_is_downloaded(monkeypatch, tmp_path):
    registered = []
    logic = SimpleNamespace(registerCustomSampleDataSource=lambda **source: registered.append(source))
    monkeypatch.setitem(sys.modules, "SampleData", SimpleNamespace(SampleDataLogic=logic))
    SampleData.registerSampleData()
    (source,) = registered
    assert (source["category"], source["loadFileType"]) == ("MAISI", "SegmentationFile")
    urlretrieve(source["uris"], tmp_path / source["fileNames"])  # what the Sample Data module does
    digest = hashlib.sha256((tmp_path / source["fileNames"]).read_bytes()).hexdigest()
    assert source["checksums"] == f"SHA256:{digest}"
    assert Path(source["thumbnailFileName"]).is_file()


def test_it_is_understood_completely_and_is_what_its_recipe_makes(a_scene, tmp_path):
    node = SampleData.loadSample(a_scene)
    mapping = mapSegments(node)
    assert mapping.unmapped == []
    assert len(mapping.organs) > 60
    assert mapping.lesionCount == 0
    labels = labelsOf(node)
    SampleData.writeSample(tmp_path / "again.seg.nrrd")
    again = SampleData.loadSegmentation(slicer.mrmlScene, tmp_path / "again.seg.nrrd", "again")
    assert np.array_equal(labels, labelsOf(again))


def test_a_damaged_file_leaves_no_node(a_scene, tmp_path):
    (tmp_path / "a.seg.nrrd").write_text("no")
    with pytest.raises(InputError, match="may be damaged"):
        SampleData.loadSegmentation(a_scene, tmp_path / "a.seg.nrrd", "a")
    assert slicer.util.getNodesByClass("vtkMRMLSegmentationNode") == []


def test_the_tutorial_runs_and_its_scene_can_be_edited_again(a_scene, tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("tutorial", TUTORIAL)
    tutorial = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tutorial)
    logic = MAISISynthLogic(Worker(arguments=pretend_worker.COMMAND))
    path = tutorial.tutorial(tmp_path / "new", logic)
    logic.worker.close()
    said = capsys.readouterr().out
    assert "lung tumor" in said
    assert "of the voxels changed" in said
    slicer.mrmlScene.Clear(0)
    assert slicer.mrmlScene.ReadFromMRB(str(path), True)
    (node,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    tumors = TumorEdit(node)
    assert len(tumors.lesions()) == 2
    tumors.grow(next(iter(tumors.lesions())), 1)


def test_the_tutorial_is_one_file_that_a_console_can_execute():
    """``exec`` of its text, with no ``__file__``, defines everything and needs no argument."""
    namespace = {"__name__": "console"}
    exec(compile(TUTORIAL.read_text(encoding="utf-8"), "tutorial.py", "exec"), namespace)
    assert callable(namespace["tutorial"])
