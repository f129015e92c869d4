"""What the workbench opens: a label map or segmentation, perhaps with its CT; a saved scene; or the demo anatomy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import slicer

from maisi.errors import InputError
from maisi.files import ITK, NIFTI, read_image, read_labels
from maisi.volume import ImageVolume, LabelVolume
from MAISILib.Translate import _
from MAISISynthLib.Demo import anatomyScene
from MAISISynthLib.InputCheck import checkInput
from MAISISynthLib.LabelColors import labelColors
from MAISISynthLib.LabelMapping import mapSegments
from MAISISynthLib.NodeGrid import Grid, segmentationGrid, volumeGrid
from MAISISynthLib.SampleData import loadSegmentation
from MAISISynthLib.SceneIO import LABELS_REFERENCE, SYNTHETIC, addSegmentation, addVolume, readLabels
from MAISISynthLib.VoxelOrder import inOrderOf

SCENE = ".mrb"
LABEL_WORDS = ("label", "seg", "mask")  # what tells a label map from a CT in a folder


@dataclass(frozen=True)
class Case:
    """What is worked on.

    Attributes:
        name: for the title. segmentationNode: the one that is edited.
        ctNodes: CTs on its grid, oldest first; the last is the one to change.
    """

    name: str
    segmentationNode: slicer.vtkMRMLSegmentationNode
    ctNodes: tuple[slicer.vtkMRMLScalarVolumeNode, ...] = ()


def openCase(scene: slicer.vtkMRMLScene, paths: Sequence[str | Path] = (), source: str = "maisi") -> Case:
    """Load ``paths`` into the scene: nothing (the demo anatomy), a folder, a scene, or LABELS and perhaps a CT.

    Args:
        source: whose ids stand in a label map, see ``maisi.files.read_labels``.

    Raises:
        InputError: a file is missing or cannot be used; the sentence tells which and why.
    """
    files = [Path(path) for path in paths]
    if not files:
        return _checked(Case(_("Demo anatomy"), anatomyScene(scene)))
    name = files[0].name.partition(".")[0]
    if len(files) == 1 and files[0].is_dir():
        files = filesOfFolder(files[0])
    if files[0].name.endswith(SCENE):
        return _checked(_openScene(scene, files[0]))
    if len(files) > 2:
        raise InputError(_("Give one label map or segmentation, and at most one CT."))
    case = _checked(Case(name, _openLabels(scene, files[0], source)))
    return replace(case, ctNodes=tuple(_openImage(scene, path, case.segmentationNode) for path in files[1:]))


def filesOfFolder(folder: Path) -> list[Path]:
    """The scene of a folder, or its label map and its CT where there is one.

    Raises:
        InputError: there is none, or more than one that it could be.
    """
    scenes = sorted(folder.glob(f"*{SCENE}"))
    if scenes:
        return [_only(scenes, folder, _("scene"))]
    volumes = sorted(path for path in folder.iterdir() if path.name.endswith((*NIFTI, *ITK)))
    labels = [path for path in volumes if any(word in path.name.lower() for word in LABEL_WORDS)]
    if not labels:
        text = _("{folder} holds no label map: its file name must contain 'label' or 'seg' (or end in .seg.nrrd).")
        raise InputError(text.format(folder=folder))
    images = [path for path in volumes if path not in labels]
    return [_only(labels, folder, _("label map")), *([_only(images, folder, _("CT"))] if images else [])]


def _only(paths: list[Path], folder: Path, kind: str) -> Path:
    if len(paths) > 1:
        text = _("{folder} holds {count} files that could be the {kind} ({names}): name the one to open.")
        names = ", ".join(path.name for path in paths)
        raise InputError(text.format(folder=folder, count=len(paths), kind=kind, names=names))
    return paths[0]


def _openLabels(scene: slicer.vtkMRMLScene, path: Path, source: str) -> slicer.vtkMRMLSegmentationNode:
    if not path.name.endswith(".seg.nrrd"):
        return addSegmentation(scene, read_labels(path, source), path.name.partition(".")[0])
    return loadSegmentation(scene, path, path.name.partition(".")[0])


def _openImage(
    scene: slicer.vtkMRMLScene, path: Path, segmentationNode: slicer.vtkMRMLSegmentationNode
) -> slicer.vtkMRMLScalarVolumeNode:
    labels = readLabels(segmentationNode, mapSegments(segmentationNode).ids)
    image = inOrderOf(read_image(path), labels)
    if image.array.dtype != np.int16:
        text = _("{path} holds values that are not whole Hounsfield units: save it as 16-bit integers first.")
        raise InputError(text.format(path=path))
    if not image.same_grid(labels):
        text = _("{path} is on another grid than the label map: resample one onto the other first.")
        raise InputError(text.format(path=path))
    return addCt(scene, image, labels, path.name.partition(".")[0])


def addCt(
    scene: slicer.vtkMRMLScene, image: ImageVolume, labels: LabelVolume, name: str
) -> slicer.vtkMRMLScalarVolumeNode:
    """Add a CT that was not made here, and the label map that is true of it, with which an edit is compared."""
    grid = Grid(image.shape, image.affine, image.affine)
    volume = addVolume(scene, "vtkMRMLScalarVolumeNode", image.array, grid, name)
    labelmap = addVolume(scene, "vtkMRMLLabelMapVolumeNode", labels.array, grid, f"{name} labels")
    labelmap.GetDisplayNode().SetAndObserveColorNodeID(labelColors(scene).GetID())
    volume.SetNodeReferenceID(LABELS_REFERENCE, labelmap.GetID())
    return volume


def _openScene(scene: slicer.vtkMRMLScene, path: Path) -> Case:
    if not path.is_file():
        raise InputError(_("{path} does not exist.").format(path=path))
    here = os.getcwd()
    read = scene.ReadFromMRB(str(path), False)
    os.chdir(here)  # a damaged file leaves the process in a folder that is gone
    if not read:
        raise InputError(_("{path} cannot be read as a scene; it may be damaged.").format(path=path))
    segmentations = slicer.util.getNodesByClass("vtkMRMLSegmentationNode", scene)
    if not segmentations:
        raise InputError(_("{path} holds no segmentation: save a scene with one.").format(path=path))
    node = max(segmentations, key=lambda node: len(mapSegments(node).ids))
    shape = checkInput(node).isValid()[0] and segmentationGrid(node).shape
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode", scene)
    cts = [v for v in volumes if not v.IsA("vtkMRMLLabelMapVolumeNode") and v.GetImageData()]
    cts = [volume for volume in cts if sorted(volumeGrid(volume).shape) == sorted(shape or ())]
    cts.sort(key=lambda volume: volume.GetAttribute(SYNTHETIC) == "1")  # stable: real ones first
    return Case(path.name.partition(".")[0], node, tuple(cts))


def _checked(case: Case) -> Case:
    valid, sentence = checkInput(case.segmentationNode).isValid()
    if not valid:
        raise InputError(sentence)
    return case
