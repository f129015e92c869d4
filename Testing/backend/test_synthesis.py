"""The main job with real code and a tiny network: grid, determinism, background, edits, cancel, memory, bad input."""

import numpy as np
import pytest

from helpers.tiny_model import write_tiny_model
from maisi import editing, engine, planning, synthesis
from maisi.errors import Cancelled, InputError, OutOfMemoryError
from maisi.volume import ImageVolume, LabelVolume


def test_the_result_is_on_the_grid_of_the_labels(a_tiny_model, a_torso_with_a_liver):
    result = synthesis.synthesize(a_torso_with_a_liver, model=a_tiny_model)
    assert result.image.same_grid(a_torso_with_a_liver)
    assert result.image.array.dtype == np.int16


def test_outside_the_body_there_is_air(a_tiny_model, a_torso_with_a_liver):
    image = synthesis.synthesize(a_torso_with_a_liver, model=a_tiny_model).image
    assert (image.array[a_torso_with_a_liver.array == 0] == -1000).all()
    assert (image.array[a_torso_with_a_liver.array > 0] > -1000).any()


def test_the_seed_decides_the_image(a_tiny_model, a_torso_with_a_liver):
    first, again, other = (
        synthesis.synthesize(a_torso_with_a_liver, model=a_tiny_model, seed=s).image.array for s in (3, 3, 4)
    )
    assert (first == again).all()
    assert (first != other).any()


def test_the_label_map_decides_the_image(a_tiny_model, a_torso_with_a_liver, a_torso_with_a_liver_lesion):
    without = synthesis.synthesize(a_torso_with_a_liver, model=a_tiny_model).image.array
    with_lesion = synthesis.synthesize(a_torso_with_a_liver_lesion, model=a_tiny_model).image.array
    assert (without != with_lesion).any()


def test_a_model_that_was_replaced_is_loaded_anew(a_torso_with_a_liver, tmp_path, monkeypatch):
    monkeypatch.setenv("MAISI_MODELS", str(tmp_path))
    images = []
    for strength in (1.0, 1000.0):
        write_tiny_model(tmp_path, "mine", mask_strength=strength)
        images.append(synthesis.synthesize(a_torso_with_a_liver, model="mine").image.array)
    assert (images[0] != images[1]).any()


def test_progress_names_each_stage_and_every_step(a_tiny_model, a_torso_with_a_liver):
    events = []
    synthesis.synthesize(a_torso_with_a_liver, model=a_tiny_model, steps=3, progress=lambda *e: events.append(e))
    assert [e for e in events if e[0] == "sample"] == [("sample", n, 3) for n in (1, 2, 3)]
    assert list(dict.fromkeys(e[0] for e in events)) == ["load", "sample", "decode", "check"]


def test_the_result_tells_how_it_was_made(a_tiny_model, a_torso_with_a_liver):
    info = synthesis.synthesize(a_torso_with_a_liver, model=a_tiny_model, seed=5, steps=2, device="cpu").info
    assert {k: info[k] for k in ("model", "seed", "steps", "device")} == {
        "model": "tiny",
        "seed": 5,
        "steps": 2,
        "device": "cpu",
    }
    assert len(info["model_sha256"]) == 64
    assert {c["name"] for c in info["checks"]} >= {"liver", "spleen"}


def test_a_missing_body_is_added_and_told(a_tiny_model, a_torso_with_a_liver):
    organs = np.where(a_torso_with_a_liver.array == 200, 0, a_torso_with_a_liver.array).astype(np.uint8)
    info = synthesis.synthesize(LabelVolume(organs, a_torso_with_a_liver.affine), model=a_tiny_model).info
    assert any("body" in notice.lower() for notice in info["notices"])


@pytest.mark.parametrize("step", [1, 2, 3])
def test_cancel_stops_between_steps(a_tiny_model, a_torso_with_a_liver, step):
    done = []
    with pytest.raises(Cancelled):
        synthesis.synthesize(
            a_torso_with_a_liver,
            model=a_tiny_model,
            steps=4,
            progress=lambda stage, n, _: done.append(n) if stage == "sample" else None,
            cancelled=lambda: len(done) >= step,
        )
    assert len(done) == step


def test_a_volume_that_does_not_fit_is_refused_before_the_start(a_tiny_model, a_torso_with_a_liver, monkeypatch):
    monkeypatch.setattr(planning, "free_memory_gb", lambda device: 0.1)
    with pytest.raises(OutOfMemoryError, match=r"needs about .* GB.*coarser"):
        synthesis.synthesize(a_torso_with_a_liver, model=a_tiny_model)


@pytest.mark.parametrize(
    "error", [RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate"), MemoryError()]
)
def test_memory_that_runs_out_during_the_job_is_said(a_tiny_model, a_torso_with_a_liver, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(engine, "decode", fail)
    with pytest.raises(OutOfMemoryError, match="ran out"):
        synthesis.synthesize(a_torso_with_a_liver, model=a_tiny_model)


def test_other_errors_are_not_taken_for_memory(a_tiny_model, a_torso_with_a_liver, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(engine, "decode", fail)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        synthesis.synthesize(a_torso_with_a_liver, model=a_tiny_model)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"seed": -1}, "seed"),
        ({"steps": 0}, "steps"),
        ({"model": "nonsense"}, "no model called 'nonsense'; available: .*tiny"),
        ({"device": "cuda:99"}, "no device 'cuda:99'"),
    ],
)
def test_bad_requests_get_a_sentence(a_tiny_model, a_torso_with_a_liver, options, sentence):
    with pytest.raises(InputError, match=sentence):
        synthesis.synthesize(a_torso_with_a_liver, **{"model": a_tiny_model, **options})


def test_an_empty_label_map_gets_a_sentence(a_tiny_model, a_torso_with_a_liver):
    empty = LabelVolume(np.zeros_like(a_torso_with_a_liver.array), a_torso_with_a_liver.affine)
    with pytest.raises(InputError, match="empty"):
        synthesis.synthesize(empty, model=a_tiny_model)


class TestEdit:
    @pytest.fixture
    def a_ct(self, a_torso_with_a_liver):
        array = np.random.default_rng(0).normal(40, 200, a_torso_with_a_liver.shape).astype(np.int16)
        return ImageVolume(array, a_torso_with_a_liver.affine)

    @pytest.mark.parametrize("margin", [0.0, 4.0, 9.0])
    def test_beyond_the_margin_every_voxel_is_identical(
        self, a_tiny_model, a_ct, a_torso_with_a_liver, a_torso_with_a_liver_lesion, margin
    ):
        result = editing.edit(
            a_ct, a_torso_with_a_liver, a_torso_with_a_liver_lesion, model=a_tiny_model, margin_mm=margin
        )
        far = np.ones(a_ct.shape, bool)
        reach = int(margin // 3.0)
        far[12 - reach : 18 + reach, 15 - reach : 21 + reach, 12 - reach : 18 + reach] = False
        assert (result.image.array[far] == a_ct.array[far]).all()
        assert result.image.array.dtype == a_ct.array.dtype

    def test_inside_the_edit_the_new_ct_is_taken(
        self, a_tiny_model, a_ct, a_torso_with_a_liver, a_torso_with_a_liver_lesion
    ):
        fresh = synthesis.synthesize(a_torso_with_a_liver_lesion, model=a_tiny_model, seed=2).image.array
        edited = editing.edit(
            a_ct, a_torso_with_a_liver, a_torso_with_a_liver_lesion, model=a_tiny_model, seed=2, method="full"
        )
        lesion = a_torso_with_a_liver_lesion.array == 26
        assert (edited.image.array[lesion] == fresh[lesion]).all()
        assert edited.info["edited_voxels"] == lesion.sum()

    def test_a_lesion_at_the_border_of_the_image(self, a_tiny_model, a_ct, a_torso_with_a_liver):
        array = a_torso_with_a_liver.array.copy()
        array[36, 31, 0] = 26
        after = LabelVolume(array, a_torso_with_a_liver.affine)
        assert editing.edit(a_ct, a_torso_with_a_liver, after, model=a_tiny_model).info["edited_voxels"] == 1

    def test_no_change_gets_a_sentence(self, a_tiny_model, a_ct, a_torso_with_a_liver):
        with pytest.raises(InputError, match="Nothing was edited"):
            editing.edit(a_ct, a_torso_with_a_liver, a_torso_with_a_liver, model=a_tiny_model)

    def test_other_grids_get_a_sentence(self, a_tiny_model, a_ct, a_torso_with_a_liver, a_torso_with_a_liver_lesion):
        moved = a_ct.affine.copy()
        moved[0, 3] += 1.0
        with pytest.raises(InputError, match="different grids"):
            editing.edit(
                ImageVolume(a_ct.array, moved), a_torso_with_a_liver, a_torso_with_a_liver_lesion, model=a_tiny_model
            )
