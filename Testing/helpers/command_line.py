"""Running ``maisi`` in this process and in one of its own."""

from __future__ import annotations

import subprocess
import sys
import types

import numpy as np

from maisi import cli
from maisi.files import write_volume
from maisi.options import Options
from maisi.volume import ImageVolume, LabelVolume

AFFINE = np.diag([-3.0, 3.0, 4.0, 1.0])
SHAPE = (24, 24, 20)


def refused(capsys, *arguments: str) -> str:
    """The one sentence that bad ``arguments`` get, after the exit code has been seen to be 2."""
    try:
        code = cli.main(arguments)
    except SystemExit as stop:
        code = stop.code
    said = capsys.readouterr()
    assert code == 2, said
    assert said.out == ""
    *need, line = said.err.splitlines()
    assert line.startswith("maisi: ")
    assert all(told.startswith("Model ") for told in need)  # the need may stand before it, nothing else
    return line


def refused_at_work(capsys, *arguments: str) -> str:
    """The sentence, at the end, of ``arguments`` that were good enough to begin with; exit code 2 was seen."""
    assert cli.main(arguments) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("maisi: ")
    return line


def run_maisi(*arguments: str, **options) -> subprocess.CompletedProcess:
    """``python -m maisi ...`` as a process."""
    command = [sys.executable, "-m", "maisi", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def write_labels(path, array: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    """A label map file."""
    write_volume(path, LabelVolume(array, affine))


class FakeSynthesis:
    """Takes the place of the networks: everything becomes 40 HU plus the seed; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict] = []
        self.error = None

    def synthesize(self, labels, *, progress, cancelled=None, noise=None, latents=None, strength=1.0, **options):
        options = Options.from_json(options)
        self.asked.append({"labels": labels, "noise": noise, "latents": latents, "strength": strength})
        self.asked[-1] |= options.to_json()
        if self.error is not None:
            raise self.error
        for step in range(options.steps or 3):
            progress("sample", step + 1, options.steps or 3)
        progress("decode", 1, 1)
        image = ImageVolume(np.full(labels.shape, 40 + options.seed, np.int16), labels.affine)
        info = {
            "options": options.to_json(), "model": options.model, "model_sha256": self.checksum(options.model),
            "device": "cpu", "seed": options.seed, "seconds": 1.0, "notices": ["mind the body"],
            "checks": [{"passed": True}, {"passed": False}],
        }  # fmt: skip
        made = np.full((4, 2, 2, 2), options.seed, np.float32)
        return types.SimpleNamespace(image=image, info=info, latents=made)

    def checksum(self, model):
        from maisi.models.variants import get_variant

        return get_variant(model).checksum

    def edit(self, image, before, after, **settings):
        result = self.synthesize(after, **settings)
        self.asked[-1] |= {"image": image, "before": before}
        return result

    def generate(self, shape, spacing, **settings):
        result = self.synthesize(ImageVolume(np.zeros(shape, np.int16), np.diag([*spacing, 1.0])), **settings)
        self.asked[-1] |= {"shape": shape, "spacing": spacing}
        result.info["checks"] = []
        return result
