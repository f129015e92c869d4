"""The colors of a signed difference: blue where it fell, red where it rose, nothing where nothing changed."""

from __future__ import annotations

import numpy as np
import slicer

from MAISILib.Translate import _

SINGLETON_TAG = "MAISIDifference"
COLORS = 255  # odd, so that one of them is exactly zero
FALLEN, UNCHANGED, RISEN = (0.13, 0.40, 0.90), (0.90, 0.90, 0.90), (0.90, 0.20, 0.13)


def differenceColors(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLColorTableNode:
    """The scene's one color table of differences; added to the scene when it is not there.

    Its middle is transparent, so that over a CT only what changed is colored. (Slicer knows nothing between.)
    """
    colors = scene.GetSingletonNode(SINGLETON_TAG, "vtkMRMLColorTableNode")
    if colors is None:
        colors = slicer.vtkMRMLColorTableNode()
        colors.SetSingletonTag(SINGLETON_TAG)
        colors.SetName(_("MAISI difference"))
        colors.SetTypeToUser()
        colors.SetNumberOfColors(COLORS)
        for index, position in enumerate(np.linspace(-1, 1, COLORS)):
            strength = abs(position)
            end = np.array(RISEN if position > 0 else FALLEN)
            rgb = (1 - strength) * np.array(UNCHANGED) + strength * end
            colors.SetColor(index, f"{position:+.2f}", *rgb, 1.0 if position else 0.0)
        colors = scene.AddNode(colors)
    return colors
