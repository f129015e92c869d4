"""The nodes of which a module has one in every scene."""

from __future__ import annotations

import slicer

TAG = "MAISISynth"


def parameterNode(scene: slicer.vtkMRMLScene, tag: str = TAG) -> slicer.vtkMRMLScriptedModuleNode:
    """The node that keeps the choices of module ``tag`` in the scene, as ``ScriptedLoadableModuleLogic`` makes it."""
    node = singletonNode(scene, "vtkMRMLScriptedModuleNode", tag)
    node.SetAttribute("ModuleName", tag)
    node.SetName(tag)
    return node


def editorNode(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLSegmentEditorNode:
    """The settings of the embedded Segment Editor.

    They are not those of the Segment Editor module: two widgets on one node would both react to every mouse event.
    """
    return singletonNode(scene, "vtkMRMLSegmentEditorNode")


def singletonNode(scene: slicer.vtkMRMLScene, className: str, tag: str = TAG) -> slicer.vtkMRMLNode:
    """The one node of this class and tag; it is made where there is none."""
    node = scene.GetSingletonNode(tag, className)
    if node is None:
        node = getattr(slicer, className)()
        node.SetSingletonTag(tag)
        node = scene.AddNode(node)
    return node
