"""The whole way without the application: draw a liver lesion, synthesize, grow and move it, synthesize the change.

Run with ``maisi demo -o DIR`` or ``python -m MAISISynthLib.Demo DIR``; it needs slicer-core or 3D Slicer.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import slicer
import vtk

from maisi.errors import InputError, MaisiError
from maisi.labels import find_label
from maisi.masks.lesion import Lesion
from maisi.masks.phantom import phantom
from maisi.volume import LabelVolume
from MAISILib.Job import JobError
from MAISILib.Translate import _
from MAISISynthLib.CoreScene import startScene
from MAISISynthLib.DemoPicture import savePicture
from MAISISynthLib.LabelMapping import describeSegment, mapSegments
from MAISISynthLib.SceneIO import addSegmentation, imageArray, readImage, readLabels
from MAISISynthLib.SynthesisLogic import MAISISynthLogic

SHAPE, SPACING, CENTER_Z = (112, 92, 112), (3.3, 3.2, 3.3), -40.0
LIVER, LESION = find_label("liver"), find_label("hepatic tumor")
FIRST = {"radii": (14.0, 13.0, 15.0), "shift": (0.0, 0.0, 0.0)}  # mm
GROWN = {"radii": (25.0, 22.0, 23.0), "shift": (8.0, 6.0, -9.0)}


def main(outDir: str | Path, seed: int = 4, logic: MAISISynthLogic | None = None) -> list[Path]:
    """Write the CT before and after, the segmentation, the scene and a picture; returns their paths.

    Raises:
        InputError: the folder cannot be written. MaisiError: the synthesis failed; both with a sentence.
    """
    folder, start = Path(outDir), time.monotonic()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(_cannotWrite(folder)) from error
    scene = startScene()
    logic = logic or MAISISynthLogic()

    print("Labelled anatomy as a segmentation, a liver lesion drawn on it ...", flush=True)
    segmentationNode = anatomyScene(scene, seed)
    lesionBefore = _lesionMask(segmentationNode)
    try:
        print("Synthesizing the CT ...", flush=True)
        before = logic.synthesize(segmentationNode, seed=seed)
        print("The lesion is moved and grown; synthesizing the change ...", flush=True)
        growLesion(segmentationNode)
        after = logic.resynthesize(before, segmentationNode)
    except JobError as error:
        raise MaisiError(str(error)) from error

    with _quietly():
        written = _save(folder, {"ct_before": before, "ct_after": after}, segmentationNode, scene)
    written.append(folder / "demo.png")
    savePicture(written[-1], readImage(before), readImage(after), lesionBefore, _lesionMask(segmentationNode))
    print(f"Wrote, after {time.monotonic() - start:.0f} s:", *written, sep="\n  ", flush=True)
    return written


def anatomyScene(scene: slicer.vtkMRMLScene, seed: int = 4) -> slicer.vtkMRMLSegmentationNode:
    """A segmentation of procedural anatomy with names, colors and terminology, and a small lesion in the liver."""
    anatomy = phantom(seed, SHAPE, SPACING, CENTER_Z)
    segmentationNode = addSegmentation(scene, anatomy, "Demo anatomy")
    segment = slicer.vtkSegment()
    describeSegment(segment, LESION)
    segmentationNode.GetSegmentation().AddSegment(segment, str(LESION))
    drawLesion(segmentationNode, **FIRST)
    return segmentationNode


def growLesion(segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
    """Move the lesion a little and make it larger."""
    drawLesion(segmentationNode, **GROWN)


def drawLesion(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    radii: tuple[float, float, float],
    shift: tuple[float, float, float],
) -> None:
    """Replace the lesion by another one, as a user would with the Segment Editor: heal the liver, draw inside it.

    Args:
        radii: mm. shift: mm from the middle of the liver.
    """
    mapping = mapSegments(segmentationNode)
    segmentOf = {label: segmentId for segmentId, label in mapping.ids.items()}
    labels = readLabels(segmentationNode, mapping.ids)
    lesion = Lesion(LESION, tuple(_middle(labels, (LIVER, LESION)) + shift), radii, np.eye(3), lobulation=0.12, seed=1)
    editor = _Editor(segmentationNode)
    editor.add(segmentOf[LIVER], labels.array == LESION)
    editor.add(segmentOf[LESION], lesion.rasterize(labels), inside=segmentOf[LIVER])


class _Editor:
    """The Segment Editor without its widgets."""

    def __init__(self, segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
        scene = segmentationNode.GetScene()
        self._segmentationNode = segmentationNode
        self._parameters = scene.GetSingletonNode("MAISIDemo", "vtkMRMLSegmentEditorNode")
        if self._parameters is None:
            self._parameters = slicer.vtkMRMLSegmentEditorNode()
            self._parameters.SetSingletonTag("MAISIDemo")
            self._parameters = scene.AddNode(self._parameters)
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._logic.SetMRMLScene(scene)
        self._logic.SetSegmentEditorNode(self._parameters)
        self._logic.SetSegmentationNode(segmentationNode)

    def add(self, segmentId: str, mask: np.ndarray, inside: str = "") -> None:
        """Add ``[I, J, K]`` voxels to a segment and take them from the others; only those ``inside`` a segment."""
        modes = slicer.vtkMRMLSegmentationNode
        self._parameters.SetMaskMode(modes.EditAllowedInsideSingleSegment if inside else modes.EditAllowedEverywhere)
        self._parameters.SetMaskSegmentID(inside)
        self._logic.SetCurrentSegmentID(segmentId)
        self._logic.UpdateReferenceGeometryImage()
        self._logic.ResetModifierLabelmapToDefault()
        self._logic.UpdateMaskLabelmap()
        modifier = self._logic.GetModifierLabelmap()
        imageArray(modifier)[...] = mask
        modifier.Modified()
        self._logic.ModifySegmentByLabelmap(
            self._segmentationNode, segmentId, modifier, self._logic.ModificationModeAdd, False, False
        )


def _middle(labels: LabelVolume, ids: tuple[int, ...]) -> np.ndarray:
    """``[3]`` RAS mm: the voxel of these labels that is nearest to their center of mass."""
    index = np.argwhere(np.isin(labels.array, ids))
    nearest = index[np.linalg.norm((index - index.mean(0)) * labels.spacing, axis=1).argmin()]
    return labels.affine[:3, :3] @ nearest + labels.affine[:3, 3]


def _lesionMask(segmentationNode: slicer.vtkMRMLSegmentationNode) -> np.ndarray:
    return readLabels(segmentationNode, mapSegments(segmentationNode).ids).array == LESION


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the lines that MRML prints about every file it writes; whether it could is told by return values."""
    shown, silent = vtk.vtkOutputWindow.GetInstance(), vtk.vtkFileOutputWindow()
    silent.SetFileName(os.devnull)
    vtk.vtkOutputWindow.SetInstance(silent)
    try:
        yield
    finally:
        vtk.vtkOutputWindow.SetInstance(shown)


def _save(
    folder: Path,
    volumes: dict[str, slicer.vtkMRMLScalarVolumeNode],
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    scene: slicer.vtkMRMLScene,
) -> list[Path]:
    nodes = {folder / f"{name}.nii.gz": node for name, node in volumes.items()}
    nodes[folder / "segmentation.seg.nrrd"] = segmentationNode
    for path, node in nodes.items():
        storage = node.CreateDefaultStorageNode()
        storage.SetFileName(str(path))
        if not storage.WriteData(node):
            raise InputError(_cannotWrite(path))
    scenePath = folder / "scene.mrb"
    if not scene.WriteToMRB(str(scenePath), None):
        raise InputError(_cannotWrite(scenePath))
    return [*nodes, scenePath]


def _cannotWrite(path: Path) -> str:
    return _("{path} cannot be written; choose a folder that you may write to.").format(path=path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", help="folder to write into")
    main(parser.parse_args().folder)
