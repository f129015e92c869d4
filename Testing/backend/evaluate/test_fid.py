"""2.5D FID: equal to MONAI's, of the right slices, cached by content and settings, the same on several processes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import FIDMetric
from scipy import ndimage

from helpers.command_line import refused, refused_at_work
from helpers.small_cts import noise_ct, write_ct
from maisi import cli
from maisi.evaluate.feature_cache import Extractor
from maisi.evaluate.fid import fid, frechet_distance
from maisi.evaluate.slices import SliceSettings, on_grid, stacks
from maisi.volume import ImageVolume


@pytest.mark.parametrize(("a", "b"), [(40, 60), (200, 12), (12, 9)])
def test_the_distance_is_monais(a, b):
    generator = torch.Generator().manual_seed(a)
    first = torch.randn(a, 8, generator=generator)
    second = torch.randn(b, 8, generator=generator) * 1.3 + 0.4
    assert frechet_distance(first, second) == pytest.approx(float(FIDMetric()(first, second)), rel=1e-6)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 30), st.integers(2, 30), st.integers(0, 2**31))
def test_the_distance_is_symmetric_and_0_for_equals(n, m, seed):
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(n, 5, generator=generator), torch.randn(m, 5, generator=generator)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9, abs=1e-9)
    assert frechet_distance(a, a + 3) == pytest.approx(45, rel=1e-6)


def test_slices_are_the_central_ones_scaled_over_their_stack():
    hu = np.full((8, 10, 12), -2000, np.int16)
    hu[2:6, :, :] = np.arange(10, dtype=np.int16)[None, :, None] * 100
    hu[3, 5, 6] = 3000
    found = stacks(ImageVolume(hu, np.diag([2.0, 2.0, 2.0, 1.0])), SliceSettings(center=0.5))
    assert {plane: stack.shape for plane, stack in found.items()} == {
        "xy": (6, 8, 10), "yz": (4, 10, 12), "zx": (5, 8, 12),
    }  # fmt: skip
    # yz: I from 2 to 5, values 0 to 1000 (the window) -> 0 ... 1; xy has air, so -1000 ... 1000
    assert found["yz"][0, 5, 0] == pytest.approx(0.5)
    assert found["xy"][0, 2, 5] == pytest.approx(0.75)
    assert found["xy"][3, 3, 5] == pytest.approx(1.0)


def test_a_window_of_soft_tissue_leaves_the_rest_out():
    hu = np.array([-1000.0, 0.0, 50.0, 900.0], np.float32).reshape(4, 1, 1) * np.ones((4, 4, 4), np.float32)
    narrow = stacks(ImageVolume(hu, np.eye(4)), SliceSettings(center=1, window=(-200, 300)))["yz"]
    np.testing.assert_allclose(narrow[:, 0, 0], [0, 0.4, 0.5, 1], atol=1e-6)


def test_volumes_are_turned_resampled_padded_and_cropped():
    rng = np.random.default_rng(0)
    hu = rng.integers(-500, 500, (6, 8, 10)).astype(np.int16)
    turned = ImageVolume(hu[::-1].transpose(1, 0, 2), np.eye(4)[:, [1, 0, 2, 3]] @ np.diag([2.0, -2.0, 2.0, 1.0]))
    np.testing.assert_array_equal(on_grid(turned, SliceSettings()), hu)
    framed = on_grid(turned, SliceSettings(size=(10, 4, 10)))
    assert framed.shape == (10, 4, 10)
    np.testing.assert_array_equal(framed[2:8], hu[:, 2:6])
    assert (framed[:2] == -1000).all()
    assert on_grid(turned, SliceSettings(size=(10, 4, 10), pad=False)).shape == (6, 4, 10)
    assert on_grid(turned, SliceSettings(size=(10, 4, 10), crop=False)).shape == (10, 8, 10)
    assert on_grid(turned, SliceSettings(spacing=(1.0, 4.0, 2.0))).shape == (12, 4, 10)


def test_equal_sets_are_at_0_and_others_are_not(two_sets, a_network, tmp_path):
    extractor = Extractor(a_network, cache=tmp_path / "cache", device="cpu")
    real, synthetic = (sorted(folder.iterdir()) for folder in two_sets)
    assert fid(real, real, extractor)["fid"]["mean"] == pytest.approx(0, abs=1e-6)
    result = fid(real, synthetic, extractor)
    assert result["fid"]["mean"] == pytest.approx(np.mean([result["fid"][p] for p in ("xy", "yz", "zx")]))
    assert result["fid"]["mean"] > 1e-4
    assert result["slices"]["real"] == {"xy": 24, "yz": 36, "zx": 30}
    assert result["network"].startswith("small (")


def test_degradations_rank_as_they_should(an_efficientnet_cache, tmp_path):
    """Rendered anatomy against itself with more and more noise, and with more and more blur."""
    from maisi.masks.phantom import phantom
    from maisi.train.embedded.render import render_pair

    labels = phantom(3, (64, 64, 24), (5.0, 5.0, 5.0))
    hu = render_pair(labels, labels, np.random.default_rng(0))[0].array.astype(float)
    noise = np.random.default_rng(1).standard_normal(hu.shape)
    versions = {"as it is": hu, "again": hu + 2 * noise}
    versions |= {f"noise {n}": hu + n * noise for n in (30, 120)}
    versions |= {f"blur {n}": ndimage.gaussian_filter(hu, n) for n in (0.6, 1.5)}
    files = {name: [write_ct(tmp_path / name / "ct.nii.gz", version)] for name, version in versions.items()}
    extractor = Extractor(cache=an_efficientnet_cache, device="cpu")
    found = {name: fid(files["as it is"], file, extractor)["fid"]["mean"] for name, file in files.items()}
    assert found["as it is"] < 1e-6
    assert found["again"] < found["noise 30"] < found["noise 120"]
    assert found["again"] < found["blur 0.6"] < found["blur 1.5"]


def test_features_are_computed_once_and_anew_when_something_changes(two_sets, a_network, tmp_path):
    image = tmp_path / "real" / "0.nii.gz"
    extractor = Extractor(a_network, cache=tmp_path / "cache", device="cpu")
    assert _computes(extractor, image)
    assert not _computes(extractor, image)
    assert not _computes(Extractor(a_network, cache=tmp_path / "cache", device="cpu", batch=1), image)
    for other in (SliceSettings(center=0.4), SliceSettings(window=(-200, 300)), SliceSettings(spacing=(3, 3, 4))):
        assert _computes(Extractor(a_network, other, tmp_path / "cache", "cpu"), image)
    moved = image.rename(tmp_path / "moved.nii.gz")
    assert not _computes(extractor, moved)
    write_ct(moved, noise_ct(99))
    assert _computes(extractor, moved)
    extractor.place(moved).write_bytes(b"damaged")
    assert _computes(extractor, moved)


def test_a_detached_header_does_not_hide_other_voxels(a_network, tmp_path):
    image = tmp_path / "ct.mhd"
    extractor = Extractor(a_network, cache=tmp_path / "cache", device="cpu")
    places = set()
    for seed in range(2):
        _write_detached(image, noise_ct(seed))
        places.add(extractor.place(image))
    assert len(places) == 2


def test_slices_in_small_batches_give_the_same(two_sets, a_network, tmp_path):
    image = tmp_path / "real" / "0.nii.gz"
    found = [
        Extractor(a_network, cache=tmp_path / f"cache{batch}", device="cpu", batch=batch).features(image)
        for batch in (1, 5, 100)
    ]
    for planes in found[1:]:
        for plane, features in planes.items():
            torch.testing.assert_close(features, found[0][plane])


def test_two_processes_give_what_one_gives(two_sets, a_network, tmp_path, one_thread):
    command = ["evaluate", "fid", *map(str, two_sets), "--network", a_network, "--device", "cpu", "--center", "1"]
    for name, more in (("one", []), ("two", ["--nproc", "2"])):
        out = ["--cache", str(tmp_path / name), "--json", str(tmp_path / f"{name}.json")]
        assert cli.main([*command, *out, *more]) == 0
    one, two = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "two"))
    assert one["fid"] == two["fid"]
    assert sorted(p.name for p in (tmp_path / "one").iterdir()) == sorted(p.name for p in (tmp_path / "two").iterdir())


def test_a_process_that_fails_says_why(two_sets, a_network, tmp_path, one_thread, capsys):
    (two_sets[0] / "bad.nii.gz").write_bytes(b"nothing")
    command = ["evaluate", "fid", *map(str, two_sets), "--network", a_network, "--cache", str(tmp_path / "cache")]
    assert "bad.nii.gz cannot be read" in refused_at_work(capsys, *command)
    told = refused_at_work(capsys, *command, "--nproc", "2")
    assert "ended too early" in told
    assert "bad.nii.gz cannot be read" in told


def test_a_single_slice_is_no_set(two_sets, a_network, tmp_path, capsys):
    command = ["evaluate", "fid", *map(str, two_sets), "--network", a_network, "--cache", str(tmp_path / "cache")]
    for folder in two_sets:
        for case in (1, 2):
            (folder / f"{case}.nii.gz").unlink()
    assert "a single slice" in refused_at_work(capsys, *command, "--center", "0.01")


def test_a_job_is_written_and_done(two_sets, a_network, tmp_path, monkeypatch):
    from maisi.evaluate.__main__ import main

    job, cache = tmp_path / "job.json", tmp_path / "cache"
    command = ["evaluate", "fid", *map(str, two_sets), "--network", a_network, "--cache", str(cache)]
    assert cli.main([*command, "--job", str(job), "--spacing", "4,4,4"]) == 0
    assert not cache.exists()
    monkeypatch.setattr("sys.argv", ["maisi.evaluate", str(job)])
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
        assert main() == 0
        assert len(list(cache.iterdir())) == 3 * (rank + 1)


def test_the_table_names_its_network(two_sets, a_network, tmp_path, capsys):
    assert (
        cli.main(["evaluate", "fid", *map(str, two_sets), "--network", a_network, "--cache", str(tmp_path / "c")]) == 0
    )
    said = capsys.readouterr()
    assert said.out.splitlines()[1].startswith("small (")
    assert "note:" not in said.err  # more slices than features


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("absent real", "no folder absent"),
        ("real empty", "no image in empty"),
        ("real real --network absent.pt", "no feature network absent.pt"),
        ("real real --center 0", "fraction of slices"),
        ("real real --spacing 0,1,1", "spacing must be three numbers"),
        ("real real --spacing 1,1", "spacing must be three numbers"),
        ("real real --window 3 1", "lower to a higher"),
        ("real real --spacing fine", "--spacing"),
        ("real real --batch 0", "at least 1"),
        ("real real --nproc 0", "from 1 to 256"),
        ("real real --cache real/0.nii.gz", "cannot be written"),
        ("real real --device cuda:77", "cuda:77"),
    ],
)
def test_bad_input_gets_one_sentence(two_sets, a_network, tmp_path, capsys, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for case in (1, 2):
        (two_sets[0] / f"{case}.nii.gz").unlink()
    usual = [] if "--network" in arguments else ["--network", a_network]
    usual += [] if "--cache" in arguments else ["--cache", "cache"]
    assert sentence in refused(capsys, "evaluate", "fid", *arguments.split(), *usual)


def _computes(extractor, image) -> bool:
    """Whether the features were computed, and were not there before."""
    calls = []
    hook = extractor.loaded.register_forward_hook(lambda *_: calls.append(1))
    extractor.features(image)
    hook.remove()
    return bool(calls)


def _write_detached(path, hu) -> None:
    import SimpleITK as sitk

    sitk.WriteImage(sitk.GetImageFromArray(hu.astype(np.int16)), path)
