"""A tumor, its CT, a larger tumor, and what that changed: the tutorial as a script.

In 3D Slicer's Python console: ``exec(open("/path/to/tutorial.py").read())``. Without 3D Slicer, after
``pip install -e ".[slicer]"``: ``python Resources/Tutorial/tutorial.py [FOLDER]``. It takes about half a minute.
"""

import sys
import tempfile
from pathlib import Path

import slicer

from maisi.labels import LABELS
from MAISISynthLib.Compare import compare
from MAISISynthLib.CoreScene import startScene
from MAISISynthLib.SampleData import loadSample
from MAISISynthLib.SynthesisLogic import MAISISynthLogic
from MAISISynthLib.TumorEdit import TumorEdit

IN_THE_LIVER = (62.0, 12.0, -40.0)  # RAS mm
IN_A_LUNG = (75.0, -10.0, 75.0)


def tutorial(folder, logic=None):
    """Make everything and save it to ``folder``; returns the scene's path."""
    scene = startScene()  # in the application: its own scene
    logic = logic or MAISISynthLogic()

    # 1. A labelled case: 78 organs, no tumor. Your own segmentation does as well.
    segmentationNode = loadSample(scene)

    # 2. Place tumors. The organ at the place decides what kind they are; they stay inside it.
    tumors = TumorEdit(segmentationNode)
    liverTumor = tumors.place(IN_THE_LIVER, radius=12)
    tumors.place(IN_A_LUNG, radius=9, lobulation=0.25, spiculation=0.4)
    report(tumors)

    # 3. Synthesize the CT. In your own scripts, startSynthesis() does the same without waiting.
    before = logic.synthesize(segmentationNode, seed=7)

    # 4. Grow and move a tumor. Each line is one step of tumors.undo().
    tumors.grow(liverTumor, 7)
    tumors.move(liverTumor, (-10, 5, 0))
    report(tumors)

    # 5. Synthesize the change: everything else stays as it is, to the bit.
    after = logic.resynthesize(before, segmentationNode)

    # 6. Measure.
    comparison, _difference = compare(before, after)
    print(f"{comparison.changedFraction:.1%} of the voxels changed, by up to {comparison.largest:.0f} HU")
    for label in (1, 26):
        old, new = comparison.samples[label]
        print(f"  {LABELS[label].name}: {old.mean:.0f} HU before, {new.mean:.0f} HU after")

    # 7. Save everything. The scene opens in 3D Slicer and with `maisi web`, and its tumors can be edited again.
    path = Path(folder) / "tutorial.mrb"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not scene.WriteToMRB(str(path), None):
        raise OSError(f"{path} could not be written")
    print(f"Saved {path}")
    if hasattr(slicer, "app"):
        slicer.util.setSliceViewerLayers(background=before, foreground=after, foregroundOpacity=1.0)
    return path


def report(tumors):
    """Print the size of every tumor."""
    for segmentId, lesion in tumors.lesions().items():
        size = tumors.measure(segmentId)
        print(f"{LABELS[lesion.label].name}: {size.diameterMm:.0f} mm, {size.volumeMl:.1f} ml")


if __name__ == "__main__":
    asScript = "__file__" in globals() and len(sys.argv) > 1
    tutorial(sys.argv[1] if asScript else Path(tempfile.gettempdir()) / "maisi-tutorial")
