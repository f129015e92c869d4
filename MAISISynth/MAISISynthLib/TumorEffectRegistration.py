"""Makes the effect "Tumor" known to the Segment Editor. Only in the application."""

from __future__ import annotations


def newTumorEffect() -> object:
    """A ``qSlicerSegmentEditorScriptedEffect`` that runs our effect; what its ``clone()`` returns, too."""
    import qSlicerSegmentationsEditorEffectsPythonQt as effects

    # First, so that it stays a package: setPythonSource executes a file of a package that was not imported by then.
    import SegmentEditorTumorLib

    effect = effects.qSlicerSegmentEditorScriptedEffect(None)
    effect.setPythonSource(SegmentEditorTumorLib.SegmentEditorEffect.filePath)
    return effect


def registerTumorEffect() -> None:
    """Call once the application has started; a second registration of the same name is ignored by the factory."""
    newTumorEffect().self().register()
