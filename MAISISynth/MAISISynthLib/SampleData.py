"""The small labelled case that comes with the extension, and its place in Slicer's Sample Data module.

``python -m MAISISynthLib.SampleData FILE`` makes it again.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import slicer

from maisi.errors import InputError
from maisi.masks.phantom import phantom
from MAISILib.Translate import _
from MAISISynthLib.CoreScene import startScene
from MAISISynthLib.SceneIO import addSegmentation

RESOURCES = Path(__file__).parents[1] / "Resources"
SAMPLE = RESOURCES / "SampleData" / "MAISIDemoAnatomy.seg.nrrd"
THUMBNAIL = RESOURCES / "Icons" / "MAISIDemoAnatomy.png"
NAME = "MAISIDemoAnatomy"
SEED, SHAPE, SPACING, CENTER_Z = 4, (112, 92, 112), (3.3, 3.2, 3.3), -40.0


def registerSampleData() -> None:
    """Offer the case in the Sample Data module; call once the application has started."""
    from SampleData import SampleDataLogic

    SampleDataLogic.registerCustomSampleDataSource(
        category="MAISI",
        sampleName=NAME,
        sampleDescription=_("Labelled anatomy, chest to pelvis"),
        uris=SAMPLE.as_uri(),  # it comes along: nothing is downloaded
        fileNames=SAMPLE.name,
        nodeNames=NAME,
        loadFileType="SegmentationFile",
        checksums="SHA256:" + hashlib.sha256(SAMPLE.read_bytes()).hexdigest(),
        thumbnailFileName=str(THUMBNAIL),
    )


def loadSample(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLSegmentationNode:
    """Add the case to the scene, with or without the application: organs with names, colors and terminology."""
    return loadSegmentation(scene, SAMPLE, NAME)


def loadSegmentation(scene: slicer.vtkMRMLScene, path: Path, name: str) -> slicer.vtkMRMLSegmentationNode:
    """Add a ``.seg.nrrd`` to the scene with all that its segments say.

    Raises:
        InputError: the file is missing or damaged.
    """
    if not path.is_file():
        raise InputError(_("{path} does not exist.").format(path=path))
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    if not storage.ReadData(node):
        scene.RemoveNode(node)
        raise InputError(_("{path} cannot be read as a segmentation; it may be damaged.").format(path=path))
    node.CreateDefaultDisplayNodes()
    return node


def writeSample(path: Path) -> None:
    """Make the case: procedural anatomy without lesions. Raises InputError: the file cannot be written."""
    node = addSegmentation(startScene(), phantom(SEED, SHAPE, SPACING, CENTER_Z), NAME)
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    if not storage.WriteData(node):
        raise InputError(_("{path} cannot be written; choose a folder that you may write to.").format(path=path))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path, help="file to write, ending in .seg.nrrd")
    writeSample(parser.parse_args().file)
