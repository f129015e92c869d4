"""Every variant end to end with small networks of its architecture; where sampling begins; retries; memory."""

from __future__ import annotations

import re

import numpy as np
import pytest

from helpers.small_variants import RELEASED, write_small_variant
from maisi import engine, planning, synthesis
from maisi.checks.hu import OrganReading
from maisi.errors import InputError, OutOfMemoryError
from maisi.volume import LabelVolume


@pytest.fixture(scope="module")
def small_models(tmp_path_factory):
    """A models folder with a small model of each released variant."""
    folder = tmp_path_factory.mktemp("small")
    for name in RELEASED:
        write_small_variant(folder, name)
    return folder


@pytest.fixture
def small(small_models, monkeypatch):
    """The names of the small models."""
    monkeypatch.setenv("MAISI_MODELS", str(small_models))
    engine.free_networks()
    return {name: f"small-{name}" for name in RELEASED}


@pytest.fixture
def an_abdomen():
    """Body, liver with a tumor, spleen; 40 x 32 x 32 voxels of 3 mm."""
    array = np.full((40, 32, 32), 200, np.uint8)
    array[:3] = 0
    array[6:26, 6:26, 4:28] = 1
    array[12:18, 12:18, 10:18] = 26
    array[28:36, 6:16, 6:20] = 3
    return LabelVolume(array, np.diag([3.0, 3.0, 3.0, 1.0]))


@pytest.mark.parametrize("name", ["rflow-ct", "ddpm-ct"])
def test_from_a_mask(small, an_abdomen, name):
    solver = {"solver": "ddim", "steps": 4} if name == "ddpm-ct" else {"steps": 2}
    result = synthesis.synthesize(an_abdomen, model=small[name], device="cpu", **solver)
    assert result.image.same_grid(an_abdomen)
    assert (result.image.array[an_abdomen.array == 0] == -1000).all()
    assert np.ptp(result.image.array[an_abdomen.array > 0]) > 50
    assert result.latents.shape == (4, 16, 8, 8), "40 voxels are padded to 64"
    other = np.where(an_abdomen.array == 26, 1, an_abdomen.array).astype(np.uint8)
    again = synthesis.synthesize(LabelVolume(other, an_abdomen.affine), model=small[name], device="cpu", **solver)
    assert (again.image.array != result.image.array).any()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("rflow-ct", {}),
        ("ddpm-ct", {"solver": "ddim", "regions": ["chest", "abdomen"]}),
        ("rflow-mr", {"modality": "t2"}),
        ("rflow-mr-brain", {"modality": "flair"}),
    ],
)
def test_without_a_mask(small, name, options):
    spacing = (1.5, 1.5, 2.0)
    result = synthesis.generate((64, 32, 32), spacing, model=small[name], steps=2, seed=3, device="cpu", **options)
    assert result.image.shape == (64, 32, 32)
    assert result.image.spacing.tolist() == pytest.approx(spacing)
    assert np.ptp(result.image.array) > 20
    assert result.info["checks"] == [], "there is nothing to check it against"
    if "mr" in name:
        assert result.image.array.min() >= 0
    again = synthesis.generate((64, 32, 32), spacing, model=small[name], steps=2, seed=3, device="cpu", **options)
    assert np.array_equal(again.image.array, result.image.array)


def test_the_modality_changes_the_image(small):
    t1, t2 = (
        synthesis.generate((32, 32, 32), (2, 2, 2), model=small["rflow-mr"], steps=1, modality=m, device="cpu").image
        for m in ("t1", "t2")
    )
    assert (t1.array != t2.array).any()


def test_ddpm_runs_its_1000_steps(small):
    result = synthesis.generate((32, 32, 32), (2, 2, 2), model=small["ddpm-ct"], regions=["head"], device="cpu")
    assert result.info["steps"] == 1000
    assert np.isfinite(result.latents).all()


def test_guidance_changes_a_lesion_more_than_elsewhere(small, an_abdomen):
    plain, guided = (
        synthesis.synthesize(an_abdomen, model=small["rflow-ct"], steps=2, guidance=g, device="cpu").image.array
        for g in (0, 4)
    )
    assert (plain != guided).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "small-rflow-mr"}, "without a label map only"),
        ({"model": "small-rflow-ct", "solver": "ddim"}, "'ddim' does not fit .* euler, adams-bashforth, heun"),
        ({"model": "small-ddpm-ct", "solver": "heun"}, "'heun' does not fit .* ddpm, ddim"),
        ({"model": "small-rflow-ct", "modality": "t1"}, "no 't1' images"),
        ({"model": "small-rflow-ct", "flavor": 1}, "no option called flavor"),
    ],
)
def test_what_does_not_fit_the_model_is_told(small, an_abdomen, options, message):
    with pytest.raises(InputError, match=message):
        synthesis.synthesize(an_abdomen, device="cpu", **options)


# ---- where sampling begins


def test_given_noise_takes_the_place_of_the_seed(small, an_abdomen):
    options = {"model": small["rflow-ct"], "steps": 2, "device": "cpu"}
    noise = np.random.default_rng(0).standard_normal((4, 16, 8, 8)).astype(np.float32)
    first, second = (synthesis.synthesize(an_abdomen, seed=s, noise=noise, **options) for s in (1, 2))
    assert np.array_equal(first.image.array, second.image.array)


@pytest.mark.parametrize("name", ["rflow-ct", "ddpm-ct"])
def test_going_on_from_latents(small, an_abdomen, name):
    options = {"model": small[name], "steps": 8, "device": "cpu"}
    options |= {"solver": "ddim"} if name == "ddpm-ct" else {}
    first = synthesis.synthesize(an_abdomen, seed=1, **options)
    same = synthesis.synthesize(an_abdomen, seed=2, latents=first.latents, strength=0.0, **options)
    assert np.array_equal(same.image.array, first.image.array), "strength 0 decodes what was given"
    distances = [
        np.abs(
            synthesis.synthesize(an_abdomen, seed=2, latents=first.latents, strength=s, **options).latents
            - first.latents
        ).mean()
        for s in (0.0, 0.3, 1.0)
    ]
    assert distances[0] < distances[1] < distances[2]


# ---- quality check and memory


def test_a_failed_check_is_tried_again_with_the_next_seeds(small, an_abdomen, monkeypatch):
    verdicts = iter([(False, False), (True, False), (False, True)])

    def check(image, labels, bands):
        told = zip(("liver", "spleen"), next(verdicts), strict=True)
        return [OrganReading(name, (1,), 0.0, -1.0, 1.0, 99, passed) for name, passed in told]

    monkeypatch.setattr(synthesis, "check_hu", check)
    info = synthesis.synthesize(an_abdomen, model=small["rflow-ct"], steps=1, seed=10, retries=2, device="cpu").info
    assert info["seed"] == 1_000_010, "the first of the best"
    assert info["options"]["seed"] == 10
    assert any(
        "seed 10 (liver, spleen), 2000010 (liver); seed 1000010 was taken" in notice for notice in info["notices"]
    )


def test_memory_that_runs_out_is_tried_again_smaller_and_told(small, monkeypatch):
    real, attempts = engine.decode, []

    def decode(*args, **options):
        attempts.append(options)
        if len(attempts) < 2:
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 99 bytes")
        return real(*args, **options)

    monkeypatch.setattr(engine, "decode", decode)
    body = LabelVolume(np.full((128, 96, 96), 200, np.uint8), np.diag([3.0, 3.0, 3.0, 1.0]))
    info = synthesis.synthesize(body, model=small["rflow-ct"], steps=1, device="cpu").info
    assert len(attempts) == 2
    assert any(re.search("ran out; it was done again with .*tiles", notice) for notice in info["notices"])


def test_memory_that_never_suffices_ends_with_a_sentence(small, an_abdomen, monkeypatch):
    def decode(*_, **__):
        raise MemoryError

    monkeypatch.setattr(engine, "decode", decode)
    with pytest.raises(OutOfMemoryError, match="ran out"):
        synthesis.synthesize(an_abdomen, model=small["rflow-ct"], steps=1, device="cpu")


def test_refused_before_anything_is_loaded(small, an_abdomen, monkeypatch):
    monkeypatch.setattr(planning, "free_memory_gb", lambda device: 0.01)
    monkeypatch.setattr(engine, "load_networks", lambda *_, **__: pytest.fail("loaded"))
    with pytest.raises(OutOfMemoryError, match=r"needs about .* GB, but cpu has only 0.0 GB free"):
        synthesis.synthesize(an_abdomen, model=small["rflow-ct"], device="cpu")


def test_a_run_in_bfloat16_is_near_the_one_in_float32(small, an_abdomen):
    options = {"model": small["rflow-ct"], "steps": 2, "device": "cpu"}
    exact = synthesis.synthesize(an_abdomen, precision="float32", **options)
    try:
        half = synthesis.synthesize(an_abdomen, precision="bfloat16", **options)
    except InputError:
        pytest.skip("this CPU does not compute in bfloat16")
    assert half.info["precision"] == "bfloat16"
    assert np.abs(half.latents - exact.latents).mean() < 0.05 * np.abs(exact.latents).mean()
