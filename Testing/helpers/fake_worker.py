"""A real process that speaks the worker's protocol without torch, and misbehaves on request.

Start it with ``Worker(arguments=fakeWorker())``. The ``model`` of each request says what happens to it (see ``ACTS``;
any other name is answered well). An argument says what happens at the start: "mute" never says hello, "foreign" says
hello in another protocol version, "broken" ends before the hello, "noisy" prints garbage first.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time

import numpy as np

from maisi.protocol import (
    Cancel,
    Estimate,
    Estimated,
    Failure,
    Hello,
    Progress,
    Quit,
    Result,
    Synthesize,
    decode,
    encode,
)

STEPS = 3


def fakeWorker(start: str = "") -> tuple[str, ...]:
    """The arguments of a Python that runs this file."""
    return (__file__, start)


def say(message) -> None:
    print(encode(message), flush=True)


def answerWell(request: Synthesize, cancelled: set[int], stepSeconds: float = 0.0) -> None:
    """A 'CT' that anybody can check: HU = 10 x label id - 1000, as int16, moved by the seed."""
    for step in range(1, STEPS + 1):
        time.sleep(stepSeconds)
        if request.job in cancelled:
            say(Failure(job=request.job, error="cancelled", message="Cancelled."))
            return
        say(Progress(job=request.job, stage="sample", step=step, total=STEPS, seconds_left=1.0, memory_gb=0.5))
    labels = np.load(request.labels, mmap_mode="r")
    np.save(request.output, (labels.astype(np.int16) * 10 - 1000 + request.options["seed"]).astype(np.int16))
    info = {"model_sha256": "0" * 64, "device": "cpu", **request.options, "steps": STEPS}
    say(Result(job=request.job, output=request.output, info={**info, "seconds": 0.1, "notices": [], "checks": []}))


def answerSlowly(request: Synthesize, cancelled: set[int]) -> None:
    answerWell(request, cancelled, stepSeconds=0.2)


def crash(request: Synthesize | Estimate, cancelled: set[int]) -> None:
    print("RuntimeError: CUDA error: no kernel image is available for execution", file=sys.stderr, flush=True)
    os._exit(3)


def hang(request: Synthesize, cancelled: set[int]) -> None:
    time.sleep(600)


def hangWithGrandchild(request: Synthesize, cancelled: set[int]) -> None:
    """Starts a process of its own, prints its id as a log line, and hangs."""
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print(f"grandchild {grandchild.pid}", file=sys.stderr, flush=True)
    time.sleep(600)


def crashWithGrandchild(request: Synthesize, cancelled: set[int]) -> None:
    """The grandchild inherits both pipes, so they stay open when this process is gone."""
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print(f"grandchild {grandchild.pid}", file=sys.stderr, flush=True)
    os._exit(4)


def talkNonsense(request: Synthesize, cancelled: set[int]) -> None:
    sys.stdout.buffer.write(b"\xff\xfe not text\n{}\n[1, 2\n\n" + b"x" * 100_000 + b"\n")
    print("step 1\rstep 2\r", json.dumps({"kind": "result"}), flush=True)
    say(Result(job=request.job + 1000, output="of another job"))
    answerWell(request, cancelled)


def runOutOfMemory(request: Synthesize, cancelled: set[int]) -> None:
    say(Failure(job=request.job, error="oom", message="CUDA out of memory.", trace="Traceback: deep down"))


def refuseInput(request: Synthesize, cancelled: set[int]) -> None:
    say(Failure(job=request.job, error="input", message="The label map is empty; draw something."))


def misunderstand(request: Synthesize, cancelled: set[int]) -> None:
    say(Failure(job=0, error="input", message="The request could not be read."))


def loseConnection(request: Synthesize | Estimate, cancelled: set[int]) -> None:
    """As a relay says it; and then it is slow to end."""
    say(Failure(job=0, error="connection", message="The connection to gpu1 broke off: start again."))
    time.sleep(600)


def answerWithNoise(request: Synthesize, cancelled: set[int]) -> None:
    """A result that cannot be compressed."""
    shape = np.load(request.labels, mmap_mode="r").shape
    np.save(request.output, np.random.default_rng(5).integers(-(2**15), 2**15, shape, np.int16))
    say(Result(job=request.job, output=request.output))


def estimate(request: Estimate) -> None:
    """A second for each voxel along the first axis; "too-large" does not fit."""
    if request.options["model"] in ("crash", "disconnected"):
        ACTS[request.options["model"]](request, set())
    elif request.options["model"] == "too-large":
        sentence = "It needs about 40.0 GB, but cpu has only 1.0 GB free; crop the segmentation."
        say(Failure(request.job, "oom", sentence))
    else:
        say(Estimated(request.job, 1.4, 0.1 if request.edit else float(request.shape[0]), "cpu", 0))


ACTS = {
    "slow": answerSlowly,
    "crash": crash,
    "hang": hang,
    "hang-with-grandchild": hangWithGrandchild,
    "crash-with-grandchild": crashWithGrandchild,
    "garbage": talkNonsense,
    "oom": runOutOfMemory,
    "bad-input": refuseInput,
    "misunderstood": misunderstand,
    "disconnected": loseConnection,
    "noise": answerWithNoise,
}


def main(start: str) -> None:
    requests: queue.Queue[Synthesize | Estimate] = queue.Queue()
    cancelled: set[int] = set()

    def listen() -> None:
        for line in sys.stdin:
            message = decode(line)
            if isinstance(message, (Synthesize, Estimate)):
                requests.put(message)
            elif isinstance(message, Cancel):
                cancelled.add(message.job)
            elif isinstance(message, Quit):
                break
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    if start == "mute":
        print("loading, loading", file=sys.stderr, flush=True)
        time.sleep(600)
    if start == "broken":
        sys.exit("ModuleNotFoundError: No module named 'torch'")
    if start == "foreign":
        print(json.dumps({"v": 99, "kind": "hello", "greeting": "bonjour"}), flush=True)
    if start == "noisy":
        print("Welcome to a library that prints", flush=True)
    say(Hello(version="0", torch="none", devices=[{"name": "cpu", "label": "Fake", "total_gb": 1.0, "free_gb": 1.0}]))
    while True:
        request = requests.get()
        if isinstance(request, Estimate):
            estimate(request)
            continue
        ACTS.get(request.options["model"], answerWell)(request, cancelled)


if __name__ == "__main__":
    main(sys.argv[1])
