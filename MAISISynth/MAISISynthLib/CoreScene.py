"""A MRML scene with its logics on slicer-core, for scripts and tests that run outside the application."""

from __future__ import annotations

import tempfile
from functools import cache
from types import SimpleNamespace

import slicer


def startScene() -> slicer.vtkMRMLScene:
    """A new empty scene that is ``slicer.mrmlScene``, with what ``slicer.util`` needs of ``slicer.modules``.

    Inside the application this is the application's own scene, as it is. ``slicer.app`` is not imitated, so code can
    tell where it runs.
    """
    if hasattr(slicer, "app"):
        return slicer.mrmlScene
    scene = slicer.vtkMRMLScene()
    applicationLogic = slicer.vtkSlicerApplicationLogic()
    applicationLogic.SetMRMLScene(scene)
    colors = applicationLogic.GetColorLogic()
    colors.SetMRMLScene(scene)
    colors.AddDefaultColorNodes()
    logics = {
        "Colors": colors,
        "Volumes": slicer.vtkSlicerVolumesLogic(),
        "Segmentations": slicer.vtkSlicerSegmentationsModuleLogic(),
    }
    for name, logic in logics.items():
        logic.SetMRMLApplicationLogic(applicationLogic)
        logic.SetMRMLScene(scene)
        applicationLogic.SetModuleLogic(name, logic)
    _setCache(scene)
    slicer.mrmlScene = scene
    slicer.modules = SimpleNamespace(
        **{name.lower(): SimpleNamespace(logic=lambda logic=logic: logic) for name, logic in logics.items()},
        applicationLogic=applicationLogic,  # kept alive with the scene
    )
    return scene


@cache
def _cacheFolder() -> tempfile.TemporaryDirectory:
    """One for this process, removed with it. Slicer adds up all files in it, so it must not be the common one."""
    return tempfile.TemporaryDirectory(prefix="maisi-cache-", ignore_cleanup_errors=True)


def _setCache(scene: slicer.vtkMRMLScene) -> None:
    """Reading an .mrb needs a place to unpack it."""
    manager = slicer.vtkCacheManager()
    manager.SetRemoteCacheDirectory(_cacheFolder().name)
    manager.SetMRMLScene(scene)
    dataInputOutput = slicer.vtkDataIOManager()
    dataInputOutput.SetCacheManager(manager)
    scene.SetCacheManager(manager)
    scene.SetDataIOManager(dataInputOutput)
