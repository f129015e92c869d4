"""What a job will need is what its plan says, corrected by what such jobs took."""

from __future__ import annotations

import time

import numpy as np
import pytest

from maisi import expectation, local_edit, planning
from maisi.errors import InputError, OutOfMemoryError
from maisi.expectation import Experience, Stopwatch, expect
from maisi.options import Options

GRID = np.diag([2.0, 2.0, 2.0, 1.0])


@pytest.fixture(autouse=True)
def no_past(monkeypatch):
    monkeypatch.setattr(expectation, "PAST", Experience())
    monkeypatch.setattr(planning, "_throughput", lambda *_: 1e10)


@pytest.fixture
def options(a_tiny_model):
    return Options(model=a_tiny_model, device="cpu")


def test_a_whole_image_needs_what_its_plan_says(options):
    plan = planning.plan((64, 64, 64), GRID, options)
    expected = expect((64, 64, 64), GRID, options)
    assert (expected.memory_gb, expected.seconds) == (plan.memory_gb, plan.seconds)
    assert (expected.device, expected.precision, expected.runs) == ("cpu", "float32", 0)


def test_an_edit_needs_less_whatever_the_size_of_the_image(options):
    whole = expect((256, 256, 256), GRID, options)
    edit = expect((256, 256, 256), GRID, options, edit=True)
    assert edit.seconds < whole.seconds / 5
    assert edit.memory_gb < whole.memory_gb
    assert edit.seconds == expect((192, 224, 288), GRID, options, edit=True).seconds


@pytest.mark.parametrize("how", [{"method": "full"}, {"compatible": True}])
def test_an_edit_that_cannot_be_local_needs_what_a_whole_image_does(a_tiny_model, how):
    options = Options(model=a_tiny_model, device="cpu", **how)
    assert expect((64, 64, 64), GRID, options, edit=True) == expect((64, 64, 64), GRID, options)


def test_past_runs_correct_the_time_of_their_kind(options):
    before = expect((64, 64, 64), GRID, options)
    for ratio in (2.0, 3.0, 50.0):  # the last one while something else was going on
        expectation.PAST.note(before, ratio * before.seconds)
    after = expect((64, 64, 64), GRID, options)
    assert (after.seconds, after.runs) == (pytest.approx(3 * before.seconds), 3)
    edit = expect((64, 64, 64), GRID, options, edit=True)
    assert (edit.runs, edit.seconds) == (0, pytest.approx(3 * edit.planned)), "the best that is known"
    expectation.PAST.note(edit, edit.planned)
    assert expect((64, 64, 64), GRID, options, edit=True).seconds == edit.planned
    larger = expect((128, 64, 64), GRID, options)
    assert larger.seconds == pytest.approx(3 * larger.planned)
    for _run in range(expectation.RUNS_KEPT):
        expectation.PAST.note(before, before.planned)
    assert expect((64, 64, 64), GRID, options).seconds == before.seconds, "old runs are forgotten"


def test_what_does_not_fit_is_refused_with_the_sentence_of_the_job(options, monkeypatch):
    monkeypatch.setattr(planning, "free_memory_gb", lambda _device: 0.2)
    with pytest.raises(OutOfMemoryError, match=r"needs about .* GB, but cpu has only 0\.2 GB free; crop"):
        expect((64, 64, 64), GRID, options)
    with pytest.raises(InputError, match="The field of view"):
        expect((4, 4, 4), GRID, options)


def test_nothing_is_loaded(options, monkeypatch):
    from maisi import engine

    monkeypatch.setattr(engine, "load_networks", None)
    monkeypatch.setattr(local_edit, "loaded_networks", None)
    assert expect((64, 64, 64), GRID, options).seconds > 0


def test_stopwatch_leaves_loading_out_and_shares_the_rest_among_the_tries(monkeypatch):
    times = iter([0.0, 1.0, 5.0, 6.0, 6.0, 14.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(times))
    watch = Stopwatch()
    for stage, step in (("load", 0), ("load", 1), ("sample", 1), ("load", 0), ("load", 1), ("check", 1)):
        watch.take(stage, step, 1)
    assert watch.seconds == 5.0
