"""The colors and names of MAISI labels as a color table of the scene."""

from __future__ import annotations

import slicer

from maisi.labels import LABELS
from MAISILib.Translate import _

SINGLETON_TAG = "MAISILabels"


def labelColors(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLColorTableNode:
    """The scene's one color table of MAISI labels; added to the scene when it is not there."""
    colors = scene.GetSingletonNode(SINGLETON_TAG, "vtkMRMLColorTableNode")
    if colors is None:
        colors = slicer.vtkMRMLColorTableNode()
        colors.SetSingletonTag(SINGLETON_TAG)
        colors.SetName(_("MAISI labels"))
        colors.SetTypeToUser()
        colors.SetNumberOfColors(max(LABELS) + 1)
        for label in LABELS.values():
            rgb = (channel / 255 for channel in label.color)
            colors.SetColor(label.id, label.name, *rgb, 1.0 if label.id else 0.0)
        colors = scene.AddNode(colors)
    return colors
