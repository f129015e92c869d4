"""The module in the application itself: real widgets, a real panel. Run by ctest in a build of the extension, or
``Slicer --testing --python-script Testing/Slicer/test_MAISISynthInSlicer.py``; elsewhere it is skipped.
"""

from __future__ import annotations

import unittest

try:
    import slicer

    IN_APPLICATION = hasattr(slicer, "app")
except ImportError:
    IN_APPLICATION = False


@unittest.skipUnless(IN_APPLICATION, "needs the 3D Slicer application")
class MAISISynthInSlicer(unittest.TestCase):
    """What stand-ins for Qt cannot show."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()
        slicer.util.selectModule("MAISISynth")
        self.panel = slicer.modules.maisisynth.widgetRepresentation().self().panel
        self.ui = self.panel.ui

    def test_module_is_loaded_with_its_panel(self) -> None:
        assert slicer.modules.maisisynth.title == "MAISI Synth"
        assert not self.ui.synthesizeButton.enabled

    def test_panel_follows_the_selected_segmentation(self) -> None:
        from MAISISynthLib.Demo import anatomyScene

        self.ui.segmentationSelector.setCurrentNode(anatomyScene(slicer.mrmlScene))
        assert self.ui.synthesizeButton.enabled
        assert "1 lesion" in self.ui.statusLabel.text
        assert self.ui.segmentEditorWidget.segmentationNode() is self.ui.segmentationSelector.currentNode()

    def test_choices_are_kept_in_the_scene_and_come_back(self) -> None:
        import tempfile

        self.ui.seedSpinBox.value = 77
        self.ui.solverComboBox.setCurrentText("heun")
        self.ui.autoUpdateCheckBox.checked = True
        with tempfile.TemporaryDirectory() as folder:
            assert slicer.util.saveScene(f"{folder}/scene.mrb")
            slicer.mrmlScene.Clear()
            assert (self.ui.seedSpinBox.value, self.ui.autoUpdateCheckBox.checked) == (0, False)
            slicer.util.loadScene(f"{folder}/scene.mrb")
        choices = self.panel.inputs.presenter.choices
        assert (choices.seed, choices.solver.value, choices.autoUpdate) == (77, "heun", True)

    def test_editor_offers_our_tools_only(self) -> None:
        names = list(self.ui.segmentEditorWidget.availableEffectNames())
        assert "Paint" in names
        assert self.ui.segmentEditorWidget.mrmlSegmentEditorNode().GetSingletonTag() == "MAISISynth"
        assert not self.ui.segmentEditorWidget.unorderedEffectsVisible

    def test_compare_layouts_have_linked_views(self) -> None:
        import numpy as np

        before, after = (slicer.util.addVolumeFromArray(np.zeros((4, 4, 4), np.int16), name=n) for n in "AB")
        self.panel.compare.setPair(before, after)
        self.ui.threePlanesButton.click()
        names = list(slicer.app.layoutManager().sliceViewNames())
        assert {"MAISIBeforeAxial", "MAISIAfterCoronal"} <= set(names)
        shown = slicer.app.layoutManager().sliceWidget("MAISIAfterAxial").mrmlSliceCompositeNode()
        assert shown.GetBackgroundVolumeID() == after.GetID()
        self.ui.usualViewsButton.click()

    def test_scene_can_be_closed_with_the_panel_open(self) -> None:
        from MAISISynthLib.Demo import anatomyScene

        self.ui.segmentationSelector.setCurrentNode(anatomyScene(slicer.mrmlScene))
        self.ui.segmentEditorWidget.setActiveEffectByName("Paint")
        slicer.mrmlScene.Clear()
        slicer.app.processEvents()
        assert not self.ui.synthesizeButton.enabled

    def test_reload_keeps_the_module_working(self) -> None:
        slicer.util.reloadScriptedModule("MAISISynth")
        assert hasattr(slicer.modules.MAISISynthWidget, "panel")


if __name__ == "__main__":
    unittest.main()
