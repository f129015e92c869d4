"""3D Slicer module "MAISI Train": trainings from data to a model. Thin: the work is in MAISITrainLib and maisi."""

import sys

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

from MAISITrainLib.TrainingLogic import MAISITrainLogic

__all__ = ["MAISITrain", "MAISITrainLogic", "MAISITrainTest", "MAISITrainWidget"]

OUR_PACKAGES = ("maisi", "MAISILib", "MAISISynthLib", "MAISITrainLib")


class MAISITrain(ScriptedLoadableModule):
    """What the application shows about the module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("MAISI Train")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Image Synthesis")]
        self.parent.dependencies = ["MAISISynth"]
        self.parent.contributors = ["MAISI for 3D Slicer contributors"]
        self.parent.helpText = _(
            "Trains the networks of MAISI Synth on your own data: checks and prepares a data set, starts trainings on "
            "this computer or a SLURM cluster, follows their curves and previews, and makes models of them. Trainings "
            "go on when 3D Slicer is closed. Not for clinical use."
        )
        self.parent.acknowledgementText = _(
            "The method is MAISI-v2 (NVIDIA, MONAI): a latent rectified-flow model with a ControlNet for label maps."
        )


class MAISITrainWidget(ScriptedLoadableModuleWidget):
    """The frame around the panel."""

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        from MAISITrainLib.MAISITrainPanel import MAISITrainPanel
        from MAISITrainLib.ParameterNode import trainParameters

        widget = slicer.util.loadUI(self.resourcePath("UI/MAISITrain.ui"))
        self.layout.addWidget(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.panel = MAISITrainPanel(slicer.util.childWidgetVariables(widget), MAISITrainLogic(), trainParameters)
        if self.parent.isEntered:  # a reload does not call enter()
            self.enter()

    def enter(self):
        self.panel.enter()

    def exit(self):
        self.panel.exit()

    def cleanup(self):
        self.panel.cleanup()

    def onReload(self):
        """Reload our packages too, not only this file."""
        for name in [name for name in sys.modules if name.split(".")[0] in OUR_PACKAGES]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)


class MAISITrainTest(ScriptedLoadableModuleTest):
    """Run by "Reload and Test": a training that somebody else writes is found and drawn. Nothing is trained."""

    def runTest(self):
        import tempfile
        from pathlib import Path

        from maisi.train.metrics import append_row
        from maisi.train.run_folder import RunFolder
        from MAISITrainLib.LossPlots import LossPlots

        slicer.mrmlScene.Clear()
        with tempfile.TemporaryDirectory() as folder:
            run = RunFolder(Path(folder) / "run")
            run.create({"config": {"stage": "diffusion"}})
            for step in range(1, 101):
                append_row(run.metrics, {"split": "train", "step": step, "loss": 1 / step})
            self.delayDisplay(_("Reading a training"))
            rows = MAISITrainLogic().attach(run.path).view.rows
        plots = LossPlots(slicer.mrmlScene)
        plots.show("run", rows, "loss", logScale=True)
        slicer.modules.plots.logic().ShowChartInLayout(plots.chart)
        table = plots.chart.GetNthPlotSeriesNode(0).GetTableNode()
        assert table.GetNumberOfRows() == 100
        self.delayDisplay(_("Test passed"))
