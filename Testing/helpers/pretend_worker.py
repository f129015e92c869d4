"""The real worker process with a pretended synthesis in it: run this file with the arguments of ``maisi.worker``.

The ``model`` of a request says what the synthesis does, see ``ACTS``. No network is involved, so it is quick.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np

from maisi import worker
from maisi.errors import Cancelled, InputError, OutOfMemoryError, WeightsError
from maisi.volume import ImageVolume

COMMAND = (__file__, "--own-group")


@dataclass
class PretendedResult:
    image: ImageVolume
    info: dict = field(default_factory=dict)


@dataclass(frozen=True)
class PretendedExpectation:
    memory_gb: float
    seconds: float
    device: str
    runs: int


class PretendedPast:
    def __init__(self) -> None:
        self.noted = []

    def note(self, expected, seconds) -> None:
        self.noted.append(seconds)


PAST = PretendedPast()


class Stopwatch:
    seconds = 1.0

    def take(self, stage, step, total) -> None:
        """Nothing is measured."""


def takeSteps(progress, cancelled, seconds: float) -> None:
    for step in range(1, 5):
        if cancelled():
            raise Cancelled("Cancelled.")
        time.sleep(seconds)
        progress("sample", step, 4)


def printEverywhere(labels) -> None:
    """As careless libraries do: print, write to the file descriptor, run a program, read from stdin."""
    print("printed by Python")
    os.write(1, b"written to descriptor 1\n")
    subprocess.run([sys.executable, "-c", "print('printed by a child')"], check=True)
    print(f"stdin holds {sys.stdin.read()!r}")


def startGrandchildAndHang(labels) -> None:
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print(f"grandchild {grandchild.pid}", file=sys.stderr, flush=True)
    time.sleep(600)


def raiseGpuMemory(labels) -> None:
    import torch

    raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nSee documentation.")


def askTooMuch(labels) -> None:
    import torch

    torch.empty(2**50)


def removeFolder(labels) -> None:
    shutil.rmtree(Path(labels.array.filename).parent)


def raising(error: Exception):
    def act(labels):
        raise error

    return act


ACTS = {
    "printing": printEverywhere,
    "grandchild": startGrandchildAndHang,
    "gpu-memory": raiseGpuMemory,
    "cpu-memory": askTooMuch,
    "python-memory": raising(MemoryError()),
    "planned-memory": raising(OutOfMemoryError("This grid needs 40 GB and the device has 8 GB; use a smaller one.")),
    "weights": raising(WeightsError("unet.safetensors is damaged; download it again.")),
    "input": raising(InputError("The label map is empty; draw a segment first.")),
    "defect": raising(ZeroDivisionError("division by zero\nin a dark corner")),
    "folder-gone": removeFolder,
}


def synthesize(labels, *, progress, cancelled, model="embedded", seed=0, **_) -> PretendedResult:
    """HU = 10 x label id + seed."""
    takeSteps(progress, cancelled, seconds=0.25 if model == "slow" else 0.0)
    ACTS.get(model, lambda labels: None)(labels)
    hu = (labels.array.astype(np.int16) * 10 + seed).astype(np.int16)
    info = {"model": model}
    if model == "no-json":
        info["seconds"] = float("nan")
    return PretendedResult(ImageVolume(hu, labels.affine), info)


def edit(image, before, after, **options) -> PretendedResult:
    """The image, with the pretended synthesis where the labels changed."""
    result = synthesize(after, **options)
    changed = before.array != after.array
    return PretendedResult(ImageVolume(np.where(changed, result.image.array, image.array), image.affine), result.info)


def pretend(name: str, **functions) -> None:
    """Put a module with ``functions`` in the place of ``maisi.NAME``."""
    module = ModuleType(f"maisi.{name}")
    vars(module).update(functions)
    sys.modules[f"maisi.{name}"] = module
    setattr(sys.modules["maisi"], name, module)


def expect(shape, affine, options, edit=False) -> PretendedExpectation:
    """GB = first size, seconds = second size; "planned-memory" does not fit."""
    if options.model == "planned-memory":
        ACTS[options.model](None)
    runs = len(PAST.noted)
    return PretendedExpectation(float(shape[0]), float(shape[1]), f"cpu, edit: {edit}", runs)


if __name__ == "__main__":
    pretend("expectation", expect=expect, PAST=PAST, Stopwatch=Stopwatch)
    pretend("synthesis", synthesize=synthesize)
    pretend("editing", edit=edit)
    worker.main()
