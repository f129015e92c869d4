"""The previews of a training as volumes of the scene: the newest ones replace the older."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import slicer

from MAISILib.Translate import _
from MAISISynthLib.SceneIO import LEVEL, SYNTHETIC, WINDOW

PREVIEW = "MAISI.Preview"  # node attribute: which preview, such as "sample"
SOURCE = "MAISI.PreviewFile"  # node attribute: the file it shows
ORIGINAL = "original"  # the name of the preview that is a real image, beside its reconstruction
_FILE = re.compile(r"step_(\d+)_(.+)\.nii\.gz")


def newestPreviews(files: Sequence[Path]) -> dict[str, tuple[int, Path]]:
    """Name -> step and file of the newest preview of each name; other files are left out."""
    matches = [(match, file) for file in files if (match := _FILE.fullmatch(file.name))]
    newest: dict[str, tuple[int, Path]] = {}
    for match, file in sorted(matches, key=lambda found: int(found[0][1])):
        newest[match[2]] = int(match[1]), file
    return newest


class PreviewVolumes:
    """The previews of the training that is watched; those of another one leave the scene."""

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self._scene = scene

    def show(self, run: str, files: Sequence[Path]) -> list[slicer.vtkMRMLScalarVolumeNode]:
        """Bring the newest previews into the scene; returns their nodes, in the order of their names.

        A file that cannot be read, as on a share that is gone, leaves what is there.
        """
        newest = newestPreviews(files)
        known = {node.GetAttribute(PREVIEW): node for node in self.nodes()}
        for name in known.keys() - newest.keys():
            self._scene.RemoveNode(known.pop(name))
        nodes = [self._take(run, name, *newest[name], known.get(name)) for name in sorted(newest)]
        return [node for node in nodes if node is not None]

    def nodes(self) -> list[slicer.vtkMRMLScalarVolumeNode]:
        """All previews in the scene."""
        volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode", self._scene)
        return [node for node in volumes if node.GetAttribute(PREVIEW)]

    def clear(self) -> None:
        """Remove them from the scene."""
        for node in self.nodes():
            self._scene.RemoveNode(node)

    def _take(
        self, run: str, name: str, step: int, file: Path, node: slicer.vtkMRMLScalarVolumeNode | None
    ) -> slicer.vtkMRMLScalarVolumeNode | None:
        """Read ``file`` into ``node``, or into a new one."""
        if node is not None and node.GetAttribute(SOURCE) == str(file):
            return node
        read = slicer.vtkMRMLScalarVolumeNode()
        storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
        storage.SetFileName(str(file))
        if not file.is_file() or not storage.ReadData(read):
            return node
        if node is None:
            node = self._add(name, read)
        else:
            node.SetAndObserveImageData(read.GetImageData())
            node.CopyOrientation(read)
        node.SetName(_("{run} {name}, step {step}").format(run=run, name=name, step=step))
        node.SetAttribute(SOURCE, str(file))
        return node

    def _add(self, name: str, read: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLScalarVolumeNode:
        read.SetAttribute(PREVIEW, name)
        if name != ORIGINAL:
            read.SetAttribute(SYNTHETIC, "1")
        self._scene.AddNode(read)
        read.CreateDefaultDisplayNodes()
        display = read.GetDisplayNode()
        if read.GetImageData().GetScalarRange()[0] < 0:  # HU
            display.AutoWindowLevelOff()
            display.SetWindowLevel(WINDOW, LEVEL)
        return read
