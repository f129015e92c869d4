"""The whole way without the application: draw a liver lesion, synthesize, grow and move it, synthesize the change.

Run with ``maisi demo -o DIR`` or ``python -m MAISISynthLib.Demo DIR``; it needs slicer-core or 3D Slicer.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
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
from MAISISynthLib.LabelMapping import mapSegments
from MAISISynthLib.SceneIO import addSegmentation, readImage, readLabels
from MAISISynthLib.SynthesisLogic import MAISISynthLogic
from MAISISynthLib.TumorEdit import TumorEdit

SHAPE, SPACING, CENTER_Z = (112, 92, 112), (3.3, 3.2, 3.3), -40.0
LIVER, LESION = find_label("liver"), find_label("hepatic tumor")
FIRST_RADII, GROWN_RADII, SHIFT = (14.0, 13.0, 15.0), (25.0, 22.0, 23.0), (8.0, 6.0, -9.0)  # mm


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
    TumorEdit(segmentationNode).add(
        Lesion(LESION, tuple(_middle(anatomy, LIVER)), FIRST_RADII, lobulation=0.12, seed=1)
    )
    return segmentationNode


def growLesion(segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
    """Move the lesion a little and make it larger."""
    tumors = TumorEdit(segmentationNode)
    ((segmentId, lesion),) = tumors.lesions().items()
    tumors.apply(segmentId, replace(lesion.moved(SHIFT), radii=GROWN_RADII))


def _middle(labels: LabelVolume, label: int) -> np.ndarray:
    """``[3]`` RAS mm: the voxel of this label that is nearest to its center of mass."""
    index = np.argwhere(labels.array == label)
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
