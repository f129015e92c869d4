"""How long does one edit of a tumor take on a large CT, and how long the Segment Editor's own way?

python Testing/benchmarks/edit.py [--size 512 512 256] [--radius 20] [--runs 10]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import slicer

from maisi.labels import find_label
from maisi.masks.phantom import phantom
from maisi.volume import LabelVolume
from MAISISynthLib.CoreScene import startScene
from MAISISynthLib.LabelMapping import mapSegments
from MAISISynthLib.SceneIO import addSegmentation, imageArray
from MAISISynthLib.SegmentVoxels import SegmentVoxels
from MAISISynthLib.TumorEdit import MAX_UNDO, TumorEdit

COARSE = 4  # the phantom is made at a fourth of the resolution
FIELD_OF_VIEW = (384.0, 320.0, 384.0)  # mm


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=3, default=(512, 512, 256), help="voxels along I, J, K")
    parser.add_argument("--radius", type=float, default=20.0, help="mm")
    parser.add_argument("--runs", type=int, default=10)
    args = parser.parse_args()
    node = anatomyNode(tuple(args.size))
    scene = node.GetScene()
    editor = scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    editor.SetAndObserveSegmentationNode(node)
    count = node.GetSegmentation().GetNumberOfSegments()
    print(f"{args.size[0]} x {args.size[1]} x {args.size[2]} voxels, {count} segments, a tumor of {args.radius:g} mm")
    logic = editorLogic(scene, node, editor)
    own, overwriting = TumorEdit(node), TumorEdit(node, editor)
    inEditor = TumorEdit(node, editor, logic.SaveStateForUndo)
    for name, tumors, undo, redo in (
        ("organs stay whole", own, own.undo, own.redo),
        ("overwriting organs, as the editor does at first", overwriting, overwriting.undo, overwriting.redo),
        ("the same in the undo history of the Segment Editor", inEditor, logic.Undo, logic.Redo),
    ):
        print(f"{name}:")
        report(tumors, liverCenter(node), args.radius, args.runs, {"undo": undo, "redo": redo})
    seconds = [editorsOwn(logic, node, liverCenter(node), args.radius) for _run in range(2)]
    print(f"the Segment Editor's own modify call: {min(seconds) * 1000:.0f} ms")


def anatomyNode(size: tuple[int, int, int]) -> slicer.vtkMRMLSegmentationNode:
    """A phantom at this size, as a segmentation in one layer."""
    coarse = tuple(n // COARSE for n in size)
    spacing = np.divide(FIELD_OF_VIEW, coarse)
    array = phantom(4, coarse, tuple(spacing), center_z=0.0).array
    for axis in range(3):
        array = array.repeat(COARSE, axis)
    return addSegmentation(startScene(), LabelVolume(array, np.diag([*spacing / COARSE, 1.0])), "CT")


def liverCenter(node: slicer.vtkMRMLSegmentationNode) -> np.ndarray:
    """``[3]`` RAS mm inside the liver."""
    voxels = SegmentVoxels(node)
    liver = next(s for s, label in mapSegments(node).ids.items() if label == find_label("liver"))
    box = voxels.occupied(liver)
    index = np.argwhere(voxels.read(liver, box))
    index = index[np.abs(index - index.mean(0)).sum(1).argmin()] + [s.start for s in box]
    return voxels.grid.worldAffine[:3, :3] @ index + voxels.grid.worldAffine[:3, 3]


def report(
    tumors: TumorEdit, position: np.ndarray, radius: float, runs: int, history: dict[str, Callable[[], object]]
) -> None:
    """Print the times of each act; ``history``: how to undo and redo."""
    segmentIds: list[str] = []
    print(f"  place (first) {timed(lambda: segmentIds.append(tumors.place(position, radius))):8.1f} ms")
    (segmentId,) = segmentIds
    acts: dict[str, Callable[[int], object]] = {
        "grow": lambda run: tumors.grow(segmentId, 0.5),
        "move": lambda run: tumors.move(segmentId, (3 * (-1) ** run, 2, 0)),
        "reshape": lambda run: tumors.reshape(segmentId, run),
        **{name: lambda _run, act=act: act() for name, act in history.items()},
        "measure": lambda run: tumors.measure(segmentId),
    }
    for name, act in acts.items():
        kept = MAX_UNDO - 1 if name in history else runs  # no more states than the history keeps
        milliseconds = [timed(lambda act=act, run=run: act(run)) for run in range(min(runs, kept))]
        low, middle, high = np.percentile(milliseconds, (0, 50, 100))
        print(f"  {name:13s} {middle:8.1f} ms median   {low:.1f} shortest, {high:.1f} longest")
    tumors.remove(segmentId)


def timed(act: Callable[[], object]) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    act()
    return 1000 * (time.perf_counter() - start)


def editorLogic(scene: slicer.vtkMRMLScene, node, editor) -> slicer.vtkSlicerSegmentEditorLogic:
    """The Segment Editor without its window."""
    logic = slicer.vtkSlicerSegmentEditorLogic()
    logic.SetMRMLScene(scene)
    logic.SetSegmentEditorNode(editor)
    logic.SetSegmentationNode(node)
    logic.SetMaximumNumberOfUndoStates(MAX_UNDO)
    return logic


def editorsOwn(logic: slicer.vtkSlicerSegmentEditorLogic, node, position: np.ndarray, radius: float) -> float:
    """Seconds that the Segment Editor takes to write the same ball into a segment, inside the liver."""
    segmentId = node.GetSegmentation().AddEmptySegment("", "tumor")
    logic.SetCurrentSegmentID(segmentId)
    logic.UpdateReferenceGeometryImage()
    start = time.perf_counter()
    logic.SaveStateForUndo()
    logic.ResetModifierLabelmapToDefault()
    logic.UpdateMaskLabelmap()
    grid, modifier = SegmentVoxels(node).grid, logic.GetModifierLabelmap()
    index = np.linalg.inv(grid.worldAffine) @ [*position, 1]
    low, high = (np.round(index[:3] + sign * radius / grid.spacing).astype(int) for sign in (-1, 1))
    imageArray(modifier)[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = 1
    modifier.Modified()
    logic.ModifySegmentByLabelmap(node, segmentId, modifier, logic.ModificationModeAdd, False, False)
    seconds = time.perf_counter() - start
    node.GetSegmentation().RemoveSegment(segmentId)
    return seconds


if __name__ == "__main__":
    main()
