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
        self.widget = slicer.modules.maisisynth.widgetRepresentation().self()
        self.ui = self.widget.panel.ui

    def test_module_is_loaded_with_its_panel(self) -> None:
        assert slicer.modules.maisisynth.title == "MAISI Synth"
        assert not self.ui.synthesizeButton.enabled

    def test_panel_follows_the_selected_segmentation(self) -> None:
        from MAISISynthLib.Demo import anatomyScene

        self.ui.segmentationSelector.setCurrentNode(anatomyScene(slicer.mrmlScene))
        assert self.ui.synthesizeButton.enabled
        assert "1 lesion" in self.ui.statusLabel.text

    def test_new_ct_is_offered_for_editing_and_a_plain_volume_is_not(self) -> None:
        import numpy as np

        slicer.util.addVolumeFromArray(np.zeros((4, 4, 4), np.int16), name="Plain")
        assert self.ui.beforeSelector.nodeCount() == 0

    def test_scene_can_be_closed_with_the_panel_open(self) -> None:
        from MAISISynthLib.Demo import anatomyScene

        self.ui.segmentationSelector.setCurrentNode(anatomyScene(slicer.mrmlScene))
        slicer.mrmlScene.Clear()
        slicer.app.processEvents()
        assert not self.ui.synthesizeButton.enabled

    def test_reload_keeps_the_module_working(self) -> None:
        slicer.util.reloadScriptedModule("MAISISynth")
        assert hasattr(slicer.modules.MAISISynthWidget, "panel")


if __name__ == "__main__":
    unittest.main()
