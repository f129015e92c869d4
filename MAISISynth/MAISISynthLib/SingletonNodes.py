"""The nodes of which the module has one in every scene."""

from __future__ import annotations

import slicer

TAG = "MAISISynth"


def parameterNode(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLScriptedModuleNode:
    """The node that keeps the module's choices in the scene, as ``ScriptedLoadableModuleLogic`` makes it."""
    node = _singleton(scene, "vtkMRMLScriptedModuleNode")
    node.SetAttribute("ModuleName", TAG)
    node.SetName(TAG)
    return node


def editorNode(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLSegmentEditorNode:
    """The settings of the embedded Segment Editor.

    They are not those of the Segment Editor module: two widgets on one node would both react to every mouse event.
    """
    return _singleton(scene, "vtkMRMLSegmentEditorNode")


def _singleton(scene: slicer.vtkMRMLScene, className: str) -> slicer.vtkMRMLNode:
    node = scene.GetSingletonNode(TAG, className)
    if node is None:
        node = getattr(slicer, className)()
        node.SetSingletonTag(TAG)
        node = scene.AddNode(node)
    return node
