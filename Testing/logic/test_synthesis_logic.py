"""The module's logic on a real scene, with real worker processes whose networks are only pretended."""

from __future__ import annotations

import gc
import json
import weakref

import numpy as np
import pytest

from helpers import pretend_worker
from helpers.fake_worker import fakeWorker
from helpers.processes import waitUntil
from helpers.slicer_core import addSegmentation, addVolume, contents, segmentNamed, setSegment, slicer
from maisi.errors import InputError
from maisi.labels import find_label
from maisi.options import Options
from MAISILib.Job import JobCancelled, JobError
from MAISILib.Worker import Worker
from MAISISynthLib import SynthesisJob as synthesisJob
from MAISISynthLib.History import runs
from MAISISynthLib.LabelMapping import LESION_TAG, mapSegments
from MAISISynthLib.SceneIO import readImage, readLabelmap
from MAISISynthLib.SynthesisLogic import MAISISynthLogic, requestOf

SPLEEN, TUMOR = find_label("spleen"), find_label("hepatic tumor")


@pytest.fixture
def a_logic():
    """With the fake worker: HU = 10 x label - 1000 + seed; the name of the model says how it misbehaves."""
    logic = MAISISynthLogic(Worker(arguments=fakeWorker(), cancelTimeout=0.5))
    yield logic
    logic.worker.close()


@pytest.fixture
def an_editing_logic():
    """With the real worker process and a pretended network: HU = 10 x label + seed, edits only where labels changed."""
    logic = MAISISynthLogic(Worker(arguments=pretend_worker.COMMAND))
    yield logic
    logic.worker.close()


@pytest.fixture
def folders(monkeypatch, tmp_path):
    """Where jobs keep their temporary files; must be empty in the end."""
    monkeypatch.setattr(synthesisJob.tempfile, "tempdir", str(tmp_path))
    return tmp_path


def pollToTheEnd(job) -> None:
    """As the panel's timer does."""
    waitUntil(lambda: (job.poll(), job.done)[1])


# ---- before the start


def test_estimate_tells_memory_and_time_of_this_grid(a_logic, a_segmentation_with_liver_and_tumor):
    estimate = a_logic.estimate(a_segmentation_with_liver_and_tumor, steps=9)
    assert (estimate.done, estimate.memoryGb, estimate.seconds) == (False, None, None)
    pollToTheEnd(estimate)
    assert (estimate.memoryGb, estimate.seconds, estimate.error) == (1.4, 24.0, "")


def test_estimate_of_a_change_takes_its_model_from_the_ct(a_logic, a_segmentation_with_liver_and_tumor):
    before = a_logic.synthesize(a_segmentation_with_liver_and_tumor, seed=7)
    estimate = a_logic.estimate(a_segmentation_with_liver_and_tumor, before=before).wait(20)
    assert (estimate.edit, estimate.seconds) == (True, 0.1)
    assert estimate._job.request.options["seed"] == 7


def test_estimate_of_a_job_that_does_not_fit_is_its_refusal(a_logic, a_segmentation_with_liver_and_tumor):
    estimate = a_logic.estimate(a_segmentation_with_liver_and_tumor, model="too-large")
    pollToTheEnd(estimate)
    assert estimate.error.startswith("It needs about 40.0 GB, but cpu has only 1.0 GB free")
    assert (estimate.refused, estimate.seconds) == (True, None)
    estimate = a_logic.estimate(a_segmentation_with_liver_and_tumor, model="disconnected")
    pollToTheEnd(estimate)
    assert (estimate.refused, estimate.error) == (True, "The connection to gpu1 broke off: start again.")
    estimate = a_logic.estimate(a_segmentation_with_liver_and_tumor, model="crash")
    pollToTheEnd(estimate)
    assert (estimate.refused, bool(estimate.error)) == (False, True)


def test_estimate_refuses_what_the_synthesis_refuses(a_logic, a_scene, a_segmentation_with_liver_and_tumor):
    with pytest.raises(InputError, match="Choose a segmentation"):
        a_logic.estimate(None)
    with pytest.raises(InputError, match="number of steps"):
        a_logic.estimate(a_segmentation_with_liver_and_tumor, steps=-1)


def test_estimate_that_is_not_wanted_leaves_the_worker_alone(a_logic, a_segmentation_with_liver_and_tumor):
    running = a_logic.startSynthesis(a_segmentation_with_liver_and_tumor, model="slow")
    waiting = a_logic.estimate(a_segmentation_with_liver_and_tumor)
    waiting.cancel()
    assert (waiting.done, waiting.error, waiting.seconds) == (True, "", None)
    running.wait(20)
    process = a_logic.worker._process.pid
    asked = a_logic.estimate(a_segmentation_with_liver_and_tumor)
    asked.cancel()
    assert (asked.done, asked.poll()) == (True, False)
    assert a_logic.estimate(a_segmentation_with_liver_and_tumor).wait(20).seconds == 24.0
    assert a_logic.worker._process.pid == process


# ---- a whole CT


def test_synthesize_returns_a_ct_on_the_grid_of_the_segmentation(
    a_logic, a_segmentation_with_liver_and_tumor, a_liver_with_tumor, folders
):
    volume = a_logic.synthesize(a_segmentation_with_liver_and_tumor, seed=7)
    image = readImage(volume)
    assert image.same_grid(a_liver_with_tumor, tolerance_mm=1e-9)
    assert np.array_equal(image.array, a_liver_with_tumor.array.astype(np.int16) * 10 - 1000 + 7)
    assert np.array_equal(readLabelmap(volume).array, a_liver_with_tumor.array)
    assert list(folders.iterdir()) == [], "no temporary file is left"


def test_result_tells_what_it_is_and_how_it_was_made(a_logic, a_segmentation_with_liver_and_tumor):
    a_segmentation_with_liver_and_tumor.GetSegmentation().AddEmptySegment("", "puzzle")
    volume = a_logic.synthesize(a_segmentation_with_liver_and_tumor, seed=7, steps=3)
    assert volume.GetName() == "Case SYNTHETIC CT"
    assert volume.GetAttribute("MAISI.Synthetic") == "1"
    request = json.loads(volume.GetAttribute("MAISI.Request"))
    assert request.pop("edit") is False
    assert Options.from_json(request) == Options(seed=7, steps=3)
    assert volume.GetAttribute("MAISI.Model") == "embedded"
    assert volume.GetAttribute("MAISI.ModelSha256") == "0" * 64
    assert any("'puzzle'" in notice for notice in json.loads(volume.GetAttribute("MAISI.Info"))["notices"])
    assert requestOf(volume)["seed"] == 7


def test_the_scene_gets_the_ct_with_its_labels_and_nothing_else_changes(
    a_scene, a_logic, a_segmentation_with_liver_and_tumor
):
    before = contents(a_scene)
    segmentationTime = a_segmentation_with_liver_and_tumor.GetSegmentation().GetMTime()
    volume = a_logic.synthesize(a_segmentation_with_liver_and_tumor)
    after = contents(a_scene)
    assert {node: after[node] for node in before} == before
    assert a_segmentation_with_liver_and_tumor.GetSegmentation().GetMTime() == segmentationTime
    assert set(after) - set(before) == {volume.GetID(), volume.GetNodeReferenceID("MAISI.Labels")}


def test_a_second_ct_has_a_name_of_its_own(a_logic, a_segmentation_with_liver_and_tumor):
    first = a_logic.synthesize(a_segmentation_with_liver_and_tumor)
    second = a_logic.synthesize(a_segmentation_with_liver_and_tumor)
    assert first.GetName() != second.GetName()
    assert "SYNTHETIC" in second.GetName()


def test_start_synthesis_does_not_wait(a_logic, a_segmentation_with_liver_and_tumor):
    job = a_logic.startSynthesis(a_segmentation_with_liver_and_tumor, model="slow")
    assert not job.done
    assert job.volumeNode is None
    waitUntil(lambda: job.poll() and job.progress)
    assert job.state == "running"
    assert job.wait(20) is job.volumeNode
    assert (job.state, job.error) == ("done", "")


def test_a_job_that_is_over_is_forgotten(a_logic, a_segmentation_with_liver_and_tumor):
    """The scene must not keep it, with all its arrays, alive."""
    job = a_logic.startSynthesis(a_segmentation_with_liver_and_tumor)
    job.wait(20)
    remembered = weakref.ref(job)
    del job
    gc.collect()
    assert remembered() is None


def test_an_edit_of_the_segmentation_during_the_run_does_not_matter(
    a_logic, a_segmentation_with_liver_and_tumor, a_liver_with_tumor
):
    job = a_logic.startSynthesis(a_segmentation_with_liver_and_tumor, model="slow")
    a_segmentation_with_liver_and_tumor.GetSegmentation().RemoveAllSegments()
    assert np.array_equal(readLabelmap(job.wait(20)).array, a_liver_with_tumor.array)


def test_segments_without_voxels_are_noticed(a_logic, a_segmentation_with_liver_and_tumor):
    a_segmentation_with_liver_and_tumor.GetSegmentation().AddEmptySegment("", "Pancreas")
    job = a_logic.startSynthesis(a_segmentation_with_liver_and_tumor)
    job.wait(20)
    assert job.notices == ["No voxels of: 'Pancreas' (empty, or covered by other segments)."]


# ---- changing a CT


@pytest.fixture
def a_case(an_editing_logic, a_segmentation_with_liver_and_tumor):
    """A CT and its segmentation, in which the spleen has shrunk since."""
    before = an_editing_logic.synthesize(a_segmentation_with_liver_and_tumor, seed=5)
    return before, a_segmentation_with_liver_and_tumor


def shrinkSpleen(segmentation, labels, grid) -> np.ndarray:
    mask = labels.array == SPLEEN
    mask[:20] = False
    setSegment(segmentation, segmentNamed(segmentation, "Spleen"), mask, grid)
    return (labels.array == SPLEEN) & ~mask


def test_resynthesis_changes_only_where_the_segments_changed(an_editing_logic, a_case, a_liver_with_tumor, a_volume):
    before, segmentation = a_case
    old = readImage(before).array
    changed = shrinkSpleen(segmentation, a_liver_with_tumor, a_volume)
    after = an_editing_logic.resynthesize(before, segmentation)
    new = readImage(after).array
    assert after is not before
    assert np.array_equal(new[~changed], old[~changed])
    assert (new[changed] != old[changed]).all()
    assert np.array_equal(readImage(before).array, old), "the earlier CT is kept"
    assert requestOf(after)["edit"]
    assert requestOf(after)["seed"] == 5, "the same noise as before"


def test_resynthesis_can_follow_resynthesis_and_a_saved_scene(
    an_editing_logic, a_case, a_liver_with_tumor, a_volume, a_scene, tmp_path
):
    before, segmentation = a_case
    old = readImage(before).array
    changed = shrinkSpleen(segmentation, a_liver_with_tumor, a_volume)
    an_editing_logic.resynthesize(before, segmentation)
    a_scene.WriteToMRB(str(tmp_path / "scene.mrb"), None)
    a_scene.Clear(0)
    a_scene.ReadFromMRB(str(tmp_path / "scene.mrb"), True)
    volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    after = next(volume for volume in volumes if '"edit": true' in (volume.GetAttribute("MAISI.Request") or ""))
    segmentation = slicer.util.getNode("Case")
    grid = addVolume(np.zeros(old.shape, np.int16), a_liver_with_tumor.affine, "Grid")
    setSegment(segmentation, segmentNamed(segmentation, "Spleen"), a_liver_with_tumor.array == SPLEEN, grid)
    back = readImage(an_editing_logic.resynthesize(after, segmentation))
    assert back.same_grid(a_liver_with_tumor), "saving turns this grid around, the segmentation's counts"
    assert np.array_equal(back.array, old)
    assert changed.any()


@pytest.mark.parametrize("attribute", ["", "not JSON", "[1, 2]"])
def test_a_ct_whose_request_was_lost_can_still_be_changed(
    an_editing_logic, a_case, a_liver_with_tumor, a_volume, attribute
):
    before, segmentation = a_case
    before.SetAttribute("MAISI.Request", attribute)
    shrinkSpleen(segmentation, a_liver_with_tumor, a_volume)
    after = an_editing_logic.resynthesize(before, segmentation)
    assert (requestOf(after)["seed"], requestOf(after)["model"]) == (0, "embedded")


class TestPatientsCt:
    @pytest.fixture
    def a_patients_ct(self, a_segmentation_with_liver_and_tumor, a_liver_with_tumor):
        return addVolume(np.full(a_liver_with_tumor.shape, 40, np.int16), a_liver_with_tumor.affine, "Patient")

    def test_a_placed_lesion_is_what_is_new(
        self, an_editing_logic, a_patients_ct, a_segmentation_with_liver_and_tumor, a_liver_with_tumor
    ):
        segmentation = a_segmentation_with_liver_and_tumor
        [tumor] = [segmentId for segmentId, label in mapSegments(segmentation).ids.items() if label == TUMOR]
        segmentation.GetSegmentation().GetSegment(tumor).SetTag(LESION_TAG, "{}")
        after = readImage(an_editing_logic.resynthesize(a_patients_ct, segmentation)).array
        tumor = a_liver_with_tumor.array == TUMOR
        assert (after[tumor] != 40).all()
        assert (after[~tumor] == 40).all()
        assert (slicer.util.arrayFromVolume(a_patients_ct) == 40).all()

    def test_a_label_map_from_before_tells_what_is_new(
        self, an_editing_logic, a_patients_ct, a_segmentation_with_liver_and_tumor, a_liver_with_tumor
    ):
        old = np.where(a_liver_with_tumor.array == SPLEEN, 0, a_liver_with_tumor.array)
        node = addVolume(old.astype(np.int16), a_liver_with_tumor.affine, "Before")
        after = readImage(
            an_editing_logic.resynthesize(a_patients_ct, a_segmentation_with_liver_and_tumor, labelsBefore=node)
        ).array
        assert ((after != 40) == (a_liver_with_tumor.array == SPLEEN)).all()

    def test_values_that_are_not_hu_are_refused(
        self, a_scene, a_patients_ct, a_segmentation_with_liver_and_tumor, a_liver_with_tumor
    ):
        """By the real worker, before it loads anything."""
        slicer.util.arrayFromVolume(a_patients_ct)[:] = 1064
        old = np.where(a_liver_with_tumor.array == SPLEEN, 0, a_liver_with_tumor.array)
        labels = addVolume(old.astype(np.int16), a_liver_with_tumor.affine, "Before")
        logic, before = MAISISynthLogic(Worker()), contents(a_scene)
        with pytest.raises(JobError, match=r"^The CT does not seem to be in Hounsfield units: .* rescale it first\.$"):
            logic.resynthesize(a_patients_ct, a_segmentation_with_liver_and_tumor, labelsBefore=labels)
        logic.worker.close()
        assert contents(a_scene) == before

    def test_without_either_nothing_tells_what_is_new(
        self, an_editing_logic, a_patients_ct, a_segmentation_with_liver_and_tumor
    ):
        with pytest.raises(InputError, match="place a lesion with the Tumor tool"):
            an_editing_logic.resynthesize(a_patients_ct, a_segmentation_with_liver_and_tumor)


def test_a_change_tells_what_it_is_a_change_of(a_scene, an_editing_logic, a_case, a_liver_with_tumor, a_volume):
    before, segmentation = a_case
    shrinkSpleen(segmentation, a_liver_with_tumor, a_volume)
    after = an_editing_logic.resynthesize(before, segmentation)
    assert [(run.volumeNode, run.before) for run in runs(a_scene)] == [(before, None), (after, before)]


def test_an_unchanged_segmentation_is_refused(an_editing_logic, a_case):
    before, segmentation = a_case
    with pytest.raises(InputError, match="is as it was when 'Case SYNTHETIC CT' was made: edit it first"):
        an_editing_logic.resynthesize(before, segmentation)


def test_another_grid_is_refused(an_editing_logic, a_case, an_oblique_affine):
    before, segmentation = a_case
    other = addVolume(np.zeros((24, 20, 15), np.int16), an_oblique_affine, "Other")
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(other)
    with pytest.raises(InputError, match="is on another grid than the segmentation"):
        an_editing_logic.resynthesize(before, segmentation)


def test_a_ct_whose_labels_were_deleted_is_refused(a_scene, an_editing_logic, a_case):
    before, segmentation = a_case
    a_scene.RemoveNode(before.GetNodeReference("MAISI.Labels"))
    with pytest.raises(InputError, match="no label map with 'Case SYNTHETIC CT'"):
        an_editing_logic.resynthesize(before, segmentation)


# ---- bad input: one sentence, nothing changed


def test_an_empty_segmentation_is_refused(a_scene, a_logic, a_volume):
    node = addSegmentation(a_volume)
    before = contents(a_scene)
    with pytest.raises(InputError, match="'Case' has no segments"):
        a_logic.synthesize(node)
    node.GetSegmentation().AddEmptySegment("", "Segment_1")
    with pytest.raises(InputError, match="No segment of 'Case' was recognized"):
        a_logic.synthesize(node)
    node.GetSegmentation().AddEmptySegment("", "Liver")
    with pytest.raises(InputError, match="'Case' is empty"):
        a_logic.synthesize(node)
    assert set(contents(a_scene)) == set(before)
    assert a_logic.worker.hello is None, "no process was started for it"


def test_no_segmentation_is_refused(a_logic):
    with pytest.raises(InputError, match="Choose a segmentation"):
        a_logic.synthesize(None)


def test_a_missing_temporary_folder_is_told(a_scene, a_logic, a_segmentation_with_liver_and_tumor, folders):
    folders.rmdir()
    with pytest.raises(InputError, match="The folder for temporary files cannot be used"):
        a_logic.synthesize(a_segmentation_with_liver_and_tumor)


def test_a_full_disk_is_told_and_leaves_no_file(a_logic, a_segmentation_with_liver_and_tumor, folders, monkeypatch):
    def fill(*_arguments) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(synthesisJob.np, "save", fill)
    with pytest.raises(InputError, match="No space left on device"):
        a_logic.synthesize(a_segmentation_with_liver_and_tumor)
    assert list(folders.iterdir()) == []


# ---- ends in the middle


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("crash", "ended unexpectedly"),
        ("oom", "out of memory"),
        ("bad-input", "The label map is empty; draw something."),
    ],
)
def test_a_failure_is_told_and_changes_nothing(
    a_scene, a_logic, a_segmentation_with_liver_and_tumor, folders, model, sentence
):
    before = contents(a_scene)
    with pytest.raises(JobError, match=sentence):
        a_logic.synthesize(a_segmentation_with_liver_and_tumor, model=model)
    assert contents(a_scene) == before
    assert list(folders.iterdir()) == []
    assert a_logic.synthesize(a_segmentation_with_liver_and_tumor), "and the next one works"


def test_a_killed_worker_is_told(a_scene, a_logic, a_segmentation_with_liver_and_tumor):
    import psutil

    before = contents(a_scene)
    job = a_logic.startSynthesis(a_segmentation_with_liver_and_tumor, model="hang")
    waitUntil(lambda: job.poll() and job.state == "running")
    psutil.Process(a_logic.worker._process.pid).kill()
    with pytest.raises(JobError, match="ended unexpectedly"):
        job.wait(20)
    assert job.state == "failed"
    assert contents(a_scene) == before


@pytest.mark.parametrize("moment", ["queued", "starting", "running", "hanging", "finished but not noticed", "done"])
def test_cancel_at_any_moment(a_scene, a_logic, a_segmentation_with_liver_and_tumor, folders, moment):
    first = a_logic.startSynthesis(a_segmentation_with_liver_and_tumor) if moment == "queued" else None
    model = {"running": "slow", "hanging": "hang"}.get(moment, "well")
    job = a_logic.startSynthesis(a_segmentation_with_liver_and_tumor, model=model)
    before = set(contents(a_scene))
    if moment in ("running", "hanging"):
        waitUntil(lambda: job.poll() and job.state == "running")
    if moment == "finished but not noticed":
        output = next(folders.iterdir()) / "ct.npy"
        waitUntil(lambda: a_logic.worker.poll() or output.exists() or job._job.done)
    if moment == "done":
        job.wait(20)
    job.cancel()
    pollToTheEnd(job)
    if moment == "done":
        assert job.state == "done"
    elif moment == "finished but not noticed":
        assert job.state in ("done", "cancelled")
    else:
        assert job.state == "cancelled"
        with pytest.raises(JobCancelled):
            job.wait()
    assert (set(contents(a_scene)) == before) == (job.state != "done")
    if first:
        first.wait(20)
    assert list(folders.iterdir()) == []


def test_scene_closed_during_a_run_keeps_the_ct_out_of_the_new_scene(
    a_scene, a_logic, a_segmentation_with_liver_and_tumor, a_liver_with_tumor, folders
):
    job = a_logic.startSynthesis(a_segmentation_with_liver_and_tumor, model="slow")
    a_scene.Clear(0)
    with pytest.raises(JobError, match="The scene was closed during the synthesis"):
        job.wait(20)
    assert contents(a_scene) == {}
    assert job.image.same_grid(a_liver_with_tumor, tolerance_mm=1e-9), "nothing is lost"
    assert np.array_equal(readImage(job.addToScene()).array, job.image.array)
    assert list(folders.iterdir()) == []


def test_segmentation_removed_during_a_run_does_not_lose_the_ct(a_scene, a_logic, a_segmentation_with_liver_and_tumor):
    job = a_logic.startSynthesis(a_segmentation_with_liver_and_tumor, model="slow")
    a_scene.RemoveNode(a_segmentation_with_liver_and_tumor)
    assert job.wait(20).GetName() == "Case SYNTHETIC CT"
    assert any("was removed during the synthesis" in notice for notice in job.notices)


def test_an_unreadable_result_is_a_failure_and_not_an_exception_in_the_timer(
    a_scene, a_logic, a_segmentation_with_liver_and_tumor, folders
):
    job = a_logic.startSynthesis(a_segmentation_with_liver_and_tumor, model="slow")
    waitUntil(lambda: job.poll() and job.state == "running")
    waitUntil(lambda: a_logic.worker.poll() or job._job.done)
    next(folders.iterdir()).joinpath("ct.npy").write_bytes(b"\x93NUMPY")
    pollToTheEnd(job)
    assert job.state == "failed"
    assert "could not be read" in job.error
