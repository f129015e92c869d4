"""3D Slicer module "MAISI Synth": a CT from a segmentation. Thin: the work is in MAISISynthLib, MAISILib and maisi."""

import sys

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

from MAISISynthLib.SampleData import registerSampleData
from MAISISynthLib.SynthesisLogic import MAISISynthLogic
from MAISISynthLib.TumorEffectRegistration import registerTumorEffect

__all__ = ["MAISISynth", "MAISISynthLogic", "MAISISynthTest", "MAISISynthWidget"]

OUR_PACKAGES = ("maisi", "MAISILib", "MAISISynthLib", "SegmentEditorTumorLib")


class MAISISynth(ScriptedLoadableModule):
    """What the application shows about the module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("MAISI Synth")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Image Synthesis")]
        self.parent.dependencies = []
        self.parent.contributors = ["MAISI for 3D Slicer contributors"]
        self.parent.helpText = _(
            "Makes a synthetic CT from a segmentation of organs and tumors, on the segmentation's own grid. After the "
            "tumor has been edited, only its surroundings are made anew. Everything is computed on this computer, or "
            "on a machine of yours that you name. Not for clinical use."
        )
        self.parent.acknowledgementText = _(
            "The method is MAISI-v2 (NVIDIA, MONAI): a latent rectified-flow model with a ControlNet for label maps."
        )
        slicer.app.connect("startupCompleted()", registerTumorEffect)
        slicer.app.connect("startupCompleted()", registerSampleData)


class MAISISynthWidget(ScriptedLoadableModuleWidget):
    """The frame around the panel."""

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        from MAISISynthLib.MAISISynthPanel import MAISISynthPanel
        from MAISISynthLib.ParameterNode import synthesisParameters

        widget = slicer.util.loadUI(self.resourcePath("UI/MAISISynth.ui"))
        self.layout.addWidget(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.panel = MAISISynthPanel(slicer.util.childWidgetVariables(widget), MAISISynthLogic(), synthesisParameters)
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


class MAISISynthTest(ScriptedLoadableModuleTest):
    """Run by "Reload and Test": one synthesis and one local edit with the model that comes with the extension."""

    def runTest(self):
        from MAISISynthLib.Demo import anatomyScene, growLesion

        slicer.mrmlScene.Clear()
        segmentationNode = anatomyScene(slicer.mrmlScene)
        logic = MAISISynthLogic()
        self.delayDisplay(_("Synthesizing a CT"))
        before = logic.synthesize(segmentationNode, seed=1)
        growLesion(segmentationNode)
        self.delayDisplay(_("Synthesizing the grown lesion"))
        after = logic.resynthesize(before, segmentationNode)
        changed = slicer.util.arrayFromVolume(before) != slicer.util.arrayFromVolume(after)
        assert changed.any()
        assert changed.mean() < 0.5
        self.delayDisplay(_("Test passed"))
