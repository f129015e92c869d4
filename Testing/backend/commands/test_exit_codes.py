"""How ``maisi`` ends: exit codes, errors of ours, as a program; and the whole way once with real networks."""

import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from helpers.command_line import refused, run_maisi
from maisi import cli
from maisi.errors import Cancelled, InputError, OutOfMemoryError, WeightsError
from maisi.files import read_image, read_labels


def test_devices_lists_the_cpu(capsys):
    assert cli.main(["devices"]) == 0
    assert "cpu" in capsys.readouterr().out


@pytest.mark.parametrize("error", [InputError("a"), WeightsError("a"), OutOfMemoryError("a")])
def test_expected_errors_are_one_sentence(folder, fake, capsys, error):
    fake.error = error
    assert cli.main(["synthesize", "labels.nii.gz", "-o", "out.nii.gz"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "maisi: a"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Cancelled("a")])
def test_a_stop_is_told_and_leaves_nothing(folder, fake, capsys, error):
    fake.error = error
    assert cli.main(["synthesize", "labels.nii.gz", "-o", "out.nii.gz"]) == 130
    assert "stopped" in capsys.readouterr().err
    assert not Path("out.nii.gz").exists()


def test_our_own_errors_show_where_they_happened(folder, fake, capsys):
    fake.error = ZeroDivisionError("oops")
    assert cli.main(["synthesize", "labels.nii.gz", "-o", "out.nii.gz"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_the_demo_without_slicer_core_says_what_is_missing(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "MAISISynthLib.Demo", None)
    monkeypatch.setitem(sys.modules, "slicer", None)
    monkeypatch.setattr("builtins.__import__", _without_slicer(__import__))
    assert "slicer-core" in refused(capsys, "demo", "-o", str(tmp_path))


def _without_slicer(real):
    def imported(name, *rest):
        if name.startswith("MAISISynthLib"):
            raise ModuleNotFoundError("No module named 'slicer'", name="slicer")
        return real(name, *rest)

    return imported


def test_the_demo_gets_its_folder(monkeypatch, tmp_path):
    asked = []
    module = types.ModuleType("MAISISynthLib.Demo")
    module.main = asked.append
    monkeypatch.setitem(sys.modules, "MAISISynthLib", types.ModuleType("MAISISynthLib"))
    monkeypatch.setitem(sys.modules, "MAISISynthLib.Demo", module)
    assert cli.main(["demo", "-o", str(tmp_path)]) == 0
    assert asked == [tmp_path]


# ---- as a process


def test_the_module_runs_as_a_program_without_torch(folder):
    done = run_maisi("check", "ct.nii.gz", "labels.nii.gz")
    assert done.returncode == 0
    assert "liver" in done.stdout
    script = "import sys, maisi.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0


def test_bad_input_of_the_program_has_exit_code_2(folder):
    done = run_maisi("check", "absent.nii.gz", "labels.nii.gz")
    assert done.returncode == 2
    assert done.stderr.strip() == "maisi: There is no file absent.nii.gz."


SHIPPED = Path(cli.__file__).parents[1] / "Resources" / "Models" / "embedded.json"


@pytest.fixture(
    params=[
        "tiny",
        pytest.param("embedded", marks=pytest.mark.skipif(not SHIPPED.exists(), reason="no model ships yet")),
    ]
)
def model(request, a_tiny_model):
    return request.param


def test_the_whole_way_synthesizes_edits_repeats_and_checks(folder, model, capsys):
    """A CT, then the same with a lesion, then the same again; far from the lesion not one voxel differs."""
    settings = ("--steps", "2", "--seed", "1", "--model", model)
    assert cli.main(["synthesize", "labels.nii.gz", "-o", "first.nii.gz", *settings]) == 0
    assert cli.main(["edit", "first.nii.gz", "labels.nii.gz", "after.nii.gz", "-o", "second.nii.gz", *settings]) == 0
    first, second = read_image("first.nii.gz"), read_image("second.nii.gz")
    assert first.same_grid(read_labels("labels.nii.gz"))
    assert np.array_equal(first.array[20:], second.array[20:])
    assert not np.array_equal(first.array[8:12, 8:12, 8:12], second.array[8:12, 8:12, 8:12])
    assert cli.main(["repeat", "second.json", "-o", "third/"]) == 0
    assert "identical to the first one" in capsys.readouterr().out
    assert len(list(Path("third").glob("*.dcm"))) == second.shape[2]
    assert cli.main(["check", "second.nii.gz", "after.nii.gz", "--json"]) == 0


def test_latents_of_one_image_are_the_beginning_of_the_next(folder, a_tiny_model):
    settings = ("--steps", "4", "--model", a_tiny_model)
    assert cli.main(["synthesize", "labels.nii.gz", "-o", "a.nii.gz", "--save-latents", "a.npy", *settings]) == 0
    start = ("--latents", "a.npy", "--strength", "0.25")
    assert (
        cli.main(["synthesize", "labels.nii.gz", "-o", "b.nii.gz", "--save-latents", "b.npy", *start, *settings]) == 0
    )
    first, second = np.load("a.npy"), np.load("b.npy")
    assert first.shape == second.shape == (4, *(n // 4 for n in (32, 32, 32)))
    assert np.abs(first - second).max() > 0


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one child")
def test_control_c_stops_a_long_run(folder, a_tiny_model):
    command = [sys.executable, "-m", "maisi", "synthesize", "labels.nii.gz", "-o", "out.nii.gz", "--steps", "1000"]
    process = subprocess.Popen([*command, "--model", a_tiny_model], stderr=subprocess.PIPE, text=True)
    while "sample" not in (line := process.stderr.readline()):
        assert line, "the program ended before its first step"
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert not Path("out.nii.gz").exists()
