"""Files of the scene for the browser: the CT, the segmentation, everything as one scene."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import slicer

from maisi.errors import InputError
from MAISILib.Translate import _

SCENE, CT, SEGMENTATION = "scene.mrb", "ct.nii.gz", "segmentation.seg.nrrd"


def sceneFile(scene: slicer.vtkMRMLScene) -> bytes:
    """The whole scene as an .mrb, which 3D Slicer and ``maisi web`` open."""
    with TemporaryDirectory(prefix="maisi-") as folder:
        path = Path(folder) / SCENE
        return _read(path, scene.WriteToMRB(str(path), None))


def nodeFile(node: slicer.vtkMRMLStorableNode, name: str) -> bytes:
    """One node in the format of ``name``'s ending."""
    with TemporaryDirectory(prefix="maisi-") as folder:
        path = Path(folder) / name
        storage = node.CreateDefaultStorageNode()
        storage.SetFileName(str(path))
        return _read(path, storage.WriteData(node))


def _read(path: Path, written: bool) -> bytes:
    if not written:
        raise InputError(_("{name} could not be written: free some space for temporary files.").format(name=path.name))
    return path.read_bytes()
