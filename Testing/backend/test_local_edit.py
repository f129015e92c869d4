"""Local re-synthesis: windows, trajectories and kept runs; equal to the whole where the window is the whole."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maisi import editing, synthesis
from maisi.errors import InputError
from maisi.runs import RUNS, RunStore
from maisi.sampling import local
from maisi.sampling.local import RAMP, region_of
from maisi.sampling.trajectory import Patched, Recorded, Straight, window
from maisi.volume import ImageVolume, LabelVolume


@pytest.fixture(autouse=True)
def no_runs_of_other_tests():
    RUNS.clear()


@pytest.fixture
def a_synthetic_ct(a_vivid_model, a_torso_with_a_liver):
    return synthesis.synthesize(a_torso_with_a_liver, model=a_vivid_model, seed=3).image


@pytest.fixture
def a_real_ct(a_torso_with_a_liver):
    noise = np.random.default_rng(0).normal(0, 12, a_torso_with_a_liver.shape)
    hu = np.where(a_torso_with_a_liver.array == 0, -1000, 40) + noise
    return ImageVolume(hu.astype(np.int16), a_torso_with_a_liver.affine)


def beyond(before, after, margin):
    """Voxels that an edit must not touch."""
    from scipy import ndimage

    return ndimage.distance_transform_edt(before.array == after.array, sampling=before.spacing) > margin


class TestWithTheRun:
    def test_a_window_over_everything_is_the_whole_synthesis(
        self, a_vivid_model, a_synthetic_ct, a_torso_with_a_liver, a_torso_with_a_liver_lesion, monkeypatch
    ):
        monkeypatch.setattr(local, "RAMP", 99)
        before = RUNS.find(a_synthetic_ct.array).latents
        labels = (a_torso_with_a_liver, a_torso_with_a_liver_lesion)
        edited = editing.edit(a_synthetic_ct, *labels, model=a_vivid_model)
        fresh = synthesis.synthesize(a_torso_with_a_liver_lesion, model=a_vivid_model, seed=3)
        change = np.abs(fresh.latents - before).max()
        assert change > 0.02
        assert np.abs(RUNS.find(edited.image.array).latents - fresh.latents).max() < 0.01 * change
        assert edited.info["method"] == "local"

    def test_beyond_the_margin_nothing_changes_and_inside_something_does(
        self, a_vivid_model, a_synthetic_ct, a_torso_with_a_liver, a_torso_with_a_liver_lesion
    ):
        result = editing.edit(a_synthetic_ct, a_torso_with_a_liver, a_torso_with_a_liver_lesion, model=a_vivid_model)
        far = beyond(a_torso_with_a_liver, a_torso_with_a_liver_lesion, result.info["margin_mm"])
        assert (result.image.array[far] == a_synthetic_ct.array[far]).all()
        assert (result.image.array != a_synthetic_ct.array)[~far].any()
        assert not any("kept run" in notice for notice in result.info["notices"])

    def test_the_seed_of_the_run_counts(
        self, a_vivid_model, a_synthetic_ct, a_torso_with_a_liver, a_torso_with_a_liver_lesion
    ):
        labels = (a_torso_with_a_liver, a_torso_with_a_liver_lesion)
        results = [editing.edit(a_synthetic_ct, *labels, model=a_vivid_model, seed=s, steps=s) for s in (3, 5)]
        assert (results[0].image.array == results[1].image.array).all()
        assert results[1].info["seed"] == 3

    def test_edits_follow_one_another_and_lead_back(
        self, a_vivid_model, a_synthetic_ct, a_torso_with_a_liver, a_torso_with_a_liver_lesion
    ):
        there = editing.edit(a_synthetic_ct, a_torso_with_a_liver, a_torso_with_a_liver_lesion, model=a_vivid_model)
        back = editing.edit(there.image, a_torso_with_a_liver_lesion, a_torso_with_a_liver, model=a_vivid_model)
        assert back.info["notices"] == there.info["notices"]
        lesion = a_torso_with_a_liver_lesion.array == 26  # in the margin both blend, twice
        change = there.image.array.astype(int) - a_synthetic_ct.array
        assert np.abs(change[lesion]).max() > 10
        assert np.abs(back.image.array.astype(int) - a_synthetic_ct.array)[lesion].max() <= 1

    def test_an_edit_that_the_model_cannot_see(self, a_vivid_model, a_torso_with_a_liver):
        fine = LabelVolume(
            a_torso_with_a_liver.array.repeat(2, 0).repeat(2, 1).repeat(2, 2),
            a_torso_with_a_liver.affine @ np.diag([0.4, 0.4, 0.4, 1]),
        )
        ct = synthesis.synthesize(fine, model=a_vivid_model).image
        array = fine.array.copy()
        array[21, 21, 21] = 26  # between the centers of two voxels of the model, which are 2 mm apart
        with pytest.raises(InputError, match="smaller than the voxels of the model"):
            editing.edit(ct, fine, LabelVolume(array, fine.affine), model=a_vivid_model)


class TestWithoutTheRun:
    @pytest.mark.parametrize("why", ["dropped", "of another model"])
    def test_a_synthetic_ct_whose_run_cannot_be_followed_is_edited_like_a_real_one(
        self, a_vivid_model, a_synthetic_ct, a_torso_with_a_liver, a_torso_with_a_liver_lesion, why
    ):
        model = "tiny" if why == "of another model" else a_vivid_model
        if why == "dropped":
            RUNS.clear()
        result = editing.edit(a_synthetic_ct, a_torso_with_a_liver, a_torso_with_a_liver_lesion, model=model)
        assert (result.info["model"], result.info["method"]) == (model, "local")
        assert "There is no kept run of this CT, so the edit started from the CT itself." in result.info["notices"]
        far = beyond(a_torso_with_a_liver, a_torso_with_a_liver_lesion, result.info["margin_mm"])
        assert (result.image.array[far] == a_synthetic_ct.array[far]).all()
        assert (result.image.array != a_synthetic_ct.array)[~far].any()

    def test_a_real_ct_keeps_every_voxel_beyond_the_margin(
        self, a_vivid_model, a_real_ct, a_torso_with_a_liver, a_torso_with_a_liver_lesion
    ):
        result = editing.edit(a_real_ct, a_torso_with_a_liver, a_torso_with_a_liver_lesion, model=a_vivid_model)
        far = beyond(a_torso_with_a_liver, a_torso_with_a_liver_lesion, result.info["margin_mm"])
        assert (result.image.array[far] == a_real_ct.array[far]).all()
        assert (result.image.array != a_real_ct.array)[~far].any()
        assert any("kept run" in notice for notice in result.info["notices"])

    def test_only_the_host_organ_needs_a_label(self, a_vivid_model, a_real_ct, a_torso_with_a_liver):
        array = np.where(a_torso_with_a_liver.array == 1, 1, 0).astype(np.uint8)
        before = LabelVolume(array, a_torso_with_a_liver.affine)
        array = array.copy()
        array[12:18, 15:21, 12:18] = 26
        result = editing.edit(a_real_ct, before, LabelVolume(array, before.affine), model=a_vivid_model)
        assert any("body outline" in notice for notice in result.info["notices"])

    def test_values_that_are_not_hu(self, a_vivid_model, a_real_ct, a_torso_with_a_liver, a_torso_with_a_liver_lesion):
        shifted = ImageVolume((a_real_ct.array + 1024).clip(0).astype(np.int16), a_real_ct.affine)
        with pytest.raises(InputError, match="Hounsfield"):
            editing.edit(shifted, a_torso_with_a_liver, a_torso_with_a_liver_lesion, model=a_vivid_model)


class TestRunStore:
    class ARun:
        nbytes = 10

    def test_the_least_recently_used_are_dropped(self):
        store = RunStore(budget=25)
        images = [np.full((2, 2, 2), n) for n in range(3)]
        runs = [self.ARun() for _ in images]
        for image, run in zip(images[:2], runs[:2], strict=True):
            store.remember(image, run)
        assert store.find(images[0]) is runs[0]
        store.remember(images[2], runs[2])
        assert [store.find(image) for image in images] == [runs[0], None, runs[2]]

    def test_what_exceeds_the_budget_is_not_kept(self):
        store = RunStore(budget=5)
        store.remember(np.zeros((2, 2, 2)), self.ARun())
        assert store.find(np.zeros((2, 2, 2))) is None

    def test_another_image_has_no_run(self):
        store = RunStore(budget=100)
        store.remember(np.zeros((2, 2, 2)), self.ARun())
        assert store.find(np.ones((2, 2, 2))) is None


@given(
    st.lists(st.tuples(st.integers(2, 12), st.integers(0, 40), st.integers(1, 9)), min_size=3, max_size=3),
)
def test_regions_hold_the_ramp_and_fit_the_networks(axes):
    shape = tuple(4 * size for size, _, _ in axes)
    inner = tuple(
        slice(min(start, n - 1), min(min(start, n - 1) + length, n))
        for (_, start, length), n in zip(axes, shape, strict=True)
    )
    region = region_of(inner, shape)
    for core, box, size in zip(inner, region.box, shape, strict=True):
        assert 0 <= box.start <= max(core.start - RAMP, 0)
        assert min(core.stop + RAMP, size) <= box.stop <= size
        assert box.start % 4 == box.stop % 4 == 0
    weight = window(region.box, region.inner, shape)
    assert weight.shape == tuple(s.stop - s.start for s in region.box)
    assert (
        weight[tuple(slice(i.start - b.start, i.stop - b.start) for i, b in zip(inner, region.box, strict=True))] == 1
    ).all()
    if region.box[0].start > 0:
        assert (weight[0] == 0).all()
    if region.box[2].stop < shape[2]:
        assert (weight[..., -1] == 0).all()


def test_a_patched_trajectory_differs_in_its_box_only():
    base = Recorded([torch.zeros(4, 8, 8, 8, dtype=torch.float16)])
    patched = Patched(base, (slice(2, 6), slice(2, 6), slice(4, 8)), [torch.ones(4, 4, 4, 4, dtype=torch.float16)])
    states = patched.states(0, 1000.0, (slice(0, 4), slice(3, 8), slice(0, 8)))
    assert states.sum() == 4 * 2 * 3 * 4
    assert states[:, 2:, :3, 4:].all()
    assert base.calls[0].sum() == 0


def test_the_straight_way_goes_from_the_image_to_noise():
    clean, noise = torch.zeros(4, 4, 4, 4), torch.ones(4, 4, 4, 4)
    straight = Straight(clean, noise, (slice(8, 12),) * 3)
    box = (slice(9, 11),) * 3
    assert [straight.states(0, t, box).mean().item() for t in (0.0, 250.0, 1000.0)] == [0.0, 0.25, 1.0]
