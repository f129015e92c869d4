"""MAISITrain in the application itself: real widgets, a real panel. Run by ctest in a build of the extension, or
``Slicer --testing --python-script Testing/Slicer/test_MAISITrainInSlicer.py``; elsewhere it is skipped.
"""

from __future__ import annotations

import tempfile
import time
import unittest
from pathlib import Path

try:
    import slicer

    IN_APPLICATION = hasattr(slicer, "app")
except ImportError:
    IN_APPLICATION = False


@unittest.skipUnless(IN_APPLICATION, "needs the 3D Slicer application")
class MAISITrainInSlicer(unittest.TestCase):
    """What stand-ins for Qt cannot show. Nothing is trained, and no package is installed."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()
        slicer.util.selectModule("MAISITrain")
        self.panel = slicer.modules.maisitrain.widgetRepresentation().self().panel
        self.ui = self.panel.ui

    def test_module_is_loaded_with_its_panel(self) -> None:
        assert slicer.modules.maisitrain.title == "MAISI Train"
        assert self.ui.presetComboBox.count > 5
        assert not self.ui.startButton.enabled

    def test_form_has_a_widget_for_every_setting(self) -> None:
        from MAISITrainLib.StartPresenter import FormRow
        from MAISITrainLib.TrainingForm import Field

        fields = (Field("run.seed", "integer", "The seed"), Field("run.precision", "choice", "", choices=("a", "b")))
        for _again in range(2):
            self.panel.start.showForm([FormRow(field, "b") for field in fields])
        assert self.ui.formTable.rowCount == 2
        assert self.ui.formTable.cellWidget(0, 1).text == "b"
        assert self.ui.formTable.cellWidget(1, 1).currentIndex == 1

    def test_a_training_is_followed_and_plotted(self) -> None:
        from maisi.train.metrics import append_row
        from maisi.train.run_folder import RunFolder

        with tempfile.TemporaryDirectory() as folder:
            run = RunFolder(Path(folder) / "run")
            run.create({"config": {"stage": "diffusion"}})
            append_row(run.metrics, {"split": "train", "step": 1, "loss": 1.0})
            self.panel.start.runStarted(str(run.path))
            end = time.monotonic() + 20
            while not self.ui.runLabel.text and time.monotonic() < end:
                slicer.app.processEvents()
            assert self.ui.runLabel.text.startswith("Step 0")
            self.ui.plotButton.click()
            assert self.panel.runs.presenter.chart.GetNumberOfPlotSeriesNodes() == 2
            self.ui.forgetButton.click()

    def test_choices_are_kept_in_the_scene_and_come_back(self) -> None:
        self.ui.logScaleCheckBox.checked = True
        self.ui.smoothingSlider.value = 0.5
        with tempfile.TemporaryDirectory() as folder:
            assert slicer.util.saveScene(f"{folder}/scene.mrb")
            slicer.mrmlScene.Clear()
            assert not self.ui.logScaleCheckBox.checked
            slicer.util.loadScene(f"{folder}/scene.mrb")
        assert (self.ui.logScaleCheckBox.checked, self.ui.smoothingSlider.value) == (True, 0.5)

    def test_reload_keeps_the_module_working(self) -> None:
        slicer.util.reloadScriptedModule("MAISITrain")
        assert hasattr(slicer.modules.MAISITrainWidget, "panel")


if __name__ == "__main__":
    unittest.main()
