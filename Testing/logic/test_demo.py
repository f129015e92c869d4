"""The demo from end to end, with a pretended network: what it writes, and that the lesion edit is a proper one."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK

from helpers import pretend_worker
from helpers.fake_worker import fakeWorker
from helpers.slicer_core import slicer
from maisi.errors import InputError, MaisiError
from MAISILib.Worker import Worker
from MAISISynthLib import Demo
from MAISISynthLib.DemoPicture import OUTLINE
from MAISISynthLib.LabelMapping import mapSegments
from MAISISynthLib.SceneIO import readLabels
from MAISISynthLib.SynthesisLogic import MAISISynthLogic


@pytest.fixture(scope="module")
def a_demo(tmp_path_factory):
    pytest.importorskip("slicer", reason="slicer-core is not installed: run `make setup`")
    folder = tmp_path_factory.mktemp("demo")
    logic = MAISISynthLogic(Worker(arguments=pretend_worker.COMMAND))
    written = Demo.main(folder / "new" / "folder", logic=logic)
    logic.worker.close()
    return {path.name: path for path in written}


def test_demo_writes_everything(a_demo):
    names = ["ct_after.nii.gz", "ct_before.nii.gz", "demo.png", "scene.mrb", "segmentation.seg.nrrd"]
    assert sorted(a_demo) == names
    assert all(path.stat().st_size > 1000 for path in a_demo.values())


def test_demo_changes_the_ct_only_around_the_lesion(a_demo):
    paths = (a_demo["ct_before.nii.gz"], a_demo["ct_after.nii.gz"])
    before, after = (SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))) for path in paths)
    assert before.shape == Demo.SHAPE[::-1]
    changed = before != after
    assert 0 < changed.mean() < 0.02
    shapes = SimpleITK.LabelShapeStatisticsImageFilter()
    shapes.Execute(SimpleITK.ConnectedComponent(SimpleITK.GetImageFromArray(changed.astype(np.uint8)), True))
    assert max(shapes.GetNumberOfPixels(i) for i in shapes.GetLabels()) > 0.95 * changed.sum()


def test_demo_scene_can_be_opened_and_its_segments_are_recognized(a_demo, a_scene):
    assert a_scene.ReadFromMRB(str(a_demo["scene.mrb"]), True)
    (segmentation,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert mapSegments(segmentation).unmapped == []
    synthetic = [n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if n.GetAttribute("MAISI.Synthetic")]
    assert len(synthetic) == 2


def test_demo_picture_shows_the_lesion_outlined_in_every_plane(a_demo):
    picture = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(a_demo["demo.png"])))
    outlined = (picture == OUTLINE).all(axis=-1)
    thirds = [outlined[: picture.shape[0] // 3], outlined[picture.shape[0] // 3 : 2 * picture.shape[0] // 3]]
    assert all(third.sum() > 200 for third in thirds)
    assert thirds[1].sum() > 1.3 * thirds[0].sum(), "the lesion has grown"


def test_growing_the_lesion_heals_the_liver_and_leaves_no_hole(a_scene):
    segmentation = Demo.anatomyScene(a_scene)
    before = readLabels(segmentation, mapSegments(segmentation).ids).array
    Demo.growLesion(segmentation)
    after = readLabels(segmentation, mapSegments(segmentation).ids).array
    assert (after == Demo.LESION).sum() > 2 * (before == Demo.LESION).sum() > 0
    left = (before == Demo.LESION) & (after != Demo.LESION)
    assert left.any(), "the lesion has moved"
    assert (after[left] == Demo.LIVER).all()
    changed = before != after
    assert np.isin(before[changed], (Demo.LIVER, Demo.LESION)).all(), "no other organ gives way"


def test_a_folder_that_cannot_be_written_is_refused_in_a_sentence(a_scene, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file/inside cannot be written"):
        Demo.main(tmp_path / "file" / "inside")


def test_a_failed_synthesis_is_told_in_a_sentence(a_scene, tmp_path):
    worker = Worker(arguments=fakeWorker("broken"))
    with pytest.raises(MaisiError, match="A Python package is missing"):
        Demo.main(tmp_path, logic=MAISISynthLogic(worker))
    worker.close()
