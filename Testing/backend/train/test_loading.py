"""Batches of small prepared folders: their tensors, their crops, their order, and files that are broken."""

from __future__ import annotations

import logging
from itertools import islice

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from helpers.prepared_folder import an_item, write_prepared
from maisi.errors import InputError
from maisi.models.intensity import IntensityScale
from maisi.train.data.loading import batches, held_out
from maisi.train.data.settings import DataConfig

LARGE = (32, 16, 16)


@pytest.fixture(scope="module")
def a_folder(tmp_path_factory):
    """Five small items and three large ones to train with, two of fold 0, and one of an MR."""
    items = [an_item(n, region=(1, 2)) for n in range(5)] + [an_item(n, LARGE) for n in range(5, 8)]
    items += [an_item(8, fold=0), an_item(9, fold=0), an_item(10, modality=9, dataset="theirs")]
    return write_prepared(tmp_path_factory.mktemp("prepared"), items)


@pytest.fixture(scope="module")
def a_folder_of_pairs(tmp_path_factory):
    """Three images with lesions, and two of them without, one of which is in the held-out fold for others' sake."""
    items = [an_item(n, pair=f"item{n + 3}") for n in range(3)] + [an_item(n, ids=(1,), fold=n - 3) for n in (3, 4)]
    return write_prepared(tmp_path_factory.mktemp("pairs"), items)


def take(stream, count: int) -> list[dict]:
    return list(islice(iter(stream), count))


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name]
        for name, value in one.items()
    )


def test_latents_come_with_spacing_modality_and_region(a_folder):
    config = DataConfig(prepared=a_folder, batch=3, sample_latents=False)
    stream = batches(config, "latent", 0, 1, seed=1)
    seen = take(stream, stream.steps_per_epoch)
    assert sorted(id_ for batch in seen for id_ in batch["id"]) == sorted(f"item{n}" for n in (*range(8), 10))
    for batch in seen:
        assert batch["latent"].dtype == torch.float32
        assert batch["modality"].tolist() == [9 if id_ == "item10" else 1 for id_ in batch["id"]]
        assert batch["spacing"].tolist() == [[1.5, 1.5, 2.0]] * len(batch["id"])
        small = batch["latent"].shape[2:] == (4, 4, 4)
        assert small or batch["latent"].shape[1:] == (4, 8, 4, 4)
        for id_, latent, region in zip(batch["id"], batch["latent"], batch["region"].tolist(), strict=True):
            assert torch.equal(latent, load_file(a_folder / f"latents/{id_}.safetensors")["mean"].float())
            assert region == ([1, 2] if int(id_[4:]) < 5 else [0, 3])


def test_a_latent_is_drawn_anew_each_time_from_mean_and_deviation(a_folder):
    config = DataConfig(prepared=a_folder, datasets=["theirs"])
    stream = batches(config, "latent", 0, 1, seed=1)
    drawn = torch.stack([batch["latent"][0] for batch in take(stream, 400)])
    stored = load_file(a_folder / "latents/item10.safetensors")
    torch.testing.assert_close(drawn.mean(0), stored["mean"].float(), atol=0.25, rtol=0)
    torch.testing.assert_close(drawn.std(0), stored["sigma"].float(), atol=0.15, rtol=0.1)


def test_labels_stay_aligned_with_latents_in_crops_around_lesions(a_folder):
    config = DataConfig(prepared=a_folder, crop=(2, 2, 2), lesion_crop=1.0, sample_latents=False, batch=8)
    for batch in take(batches(config, "paired", 0, 1, seed=1), 6):
        assert batch["latent"].shape[1:] == (4, 2, 2, 2)
        assert batch["labels"].shape[1:] == (1, 8, 8, 8)
        for id_, latent, labels, healed in zip(
            batch["id"], batch["latent"], batch["labels"], batch["healed"], strict=True
        ):
            whole = np.load(a_folder / f"labels/{id_}.npz")["labels"]
            mean = load_file(a_folder / f"latents/{id_}.safetensors")["mean"].float()
            places = [
                p
                for p in np.ndindex(*(n - 1 for n in mean.shape[1:]))
                if torch.equal(mean[:, p[0] : p[0] + 2, p[1] : p[1] + 2, p[2] : p[2] + 2], latent)
            ]
            assert len(places) == 1
            box = tuple(slice(4 * n, 4 * n + 8) for n in places[0])
            assert np.array_equal(whole[box], labels[0].numpy())
            assert (labels == 26).any()
            assert not (healed == 26).any()
            assert torch.equal(healed[labels != 26], labels[labels != 26])


def test_pairs_are_the_same_image_without_and_with_lesions(a_folder_of_pairs):
    config = DataConfig(prepared=a_folder_of_pairs, pairs=True, batch=2)
    (batch,) = take(batches(config, "paired", 0, 1, seed=1), 1)
    assert sorted(batch["id"]) == ["item0", "item1"]  # the third one's partner is not there
    assert batch["latent"].shape == (2, 2, 4, 4, 4, 4)
    assert batch["labels"].shape == (2, 2, 1, 16, 16, 16)
    assert not (batch["labels"][:, 0] == 26).any()
    assert (batch["labels"][:, 1] == 26).any(dim=(1, 2, 3, 4)).all()
    for id_, latents in zip(batch["id"], batch["latent"], strict=True):
        drawn = []
        for one, latent in zip((f"item{int(id_[4:]) + 3}", id_), latents, strict=True):
            stored = load_file(a_folder_of_pairs / f"latents/{one}.safetensors")
            drawn.append((latent - stored["mean"].float()) / stored["sigma"].float())
        torch.testing.assert_close(*drawn, atol=1e-3, rtol=1e-2)
        assert drawn[0].std() > 0.8


def test_crops_of_pairs_are_of_one_place_with_what_differs(a_folder_of_pairs):
    config = DataConfig(prepared=a_folder_of_pairs, pairs=True, crop=(2, 2, 2), lesion_crop=1.0)
    for batch in take(batches(config, "paired", 0, 1, seed=1), 8):
        without, with_lesion = batch["labels"][0, :, 0]
        assert with_lesion.shape == (8, 8, 8)
        assert (with_lesion == 26).any()
        assert torch.equal(without[with_lesion != 26], with_lesion[with_lesion != 26])


@pytest.mark.parametrize("kind", ["latent", "paired", "labels", "image"])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_that_goes_on_is_the_one_that_was_not_stopped(a_folder, kind, workers):
    config = DataConfig(prepared=a_folder, batch=2, crop=(2, 2, 2), patch=(8, 8, 8), workers=workers)
    whole = take(batches(config, kind, 1, 2, seed=5), 12)
    stopped = batches(config, kind, 1, 2, seed=5)
    first = take(stopped, 5)
    other = batches(config.model_copy(update={"workers": 0}), kind, 1, 2, seed=5)
    other.load_state_dict(stopped.state_dict())
    rest = take(other, 7)
    assert all(same(*both) for both in zip(first + rest, whole, strict=True))
    assert not same(whole[0], take(batches(config, kind, 1, 2, seed=6), 1)[0])


def test_an_iterator_that_is_left_is_taken_up_again(a_folder):
    config = DataConfig(prepared=a_folder)
    whole, broken = (batches(config, "latent", 0, 1, seed=2) for _ in range(2))
    parts = take(broken, 3) + take(broken, 4)
    assert all(same(*both) for both in zip(parts, take(whole, 7), strict=True))


def test_images_come_in_the_networks_range_and_mr_as_it_is(a_folder):
    scale = IntensityScale((-1000.0, 0.0, 1000.0), (0.0, 0.8, 1.0))
    config = DataConfig(prepared=a_folder, patch=(16, 16, 16), augment=False, sizes=[(16, 16, 16)])
    for batch in take(batches(config, "image", 0, 1, 1, scale), 6):
        stored = np.load(a_folder / f"images/{batch['id'][0]}.npy").astype(np.float32)
        mr = batch["modality"].item() > 7
        expected = stored if mr else np.interp(stored, scale.hu, scale.unit)
        np.testing.assert_allclose(batch["image"][0, 0].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("mode", ["original", "fixed", "rand_zoom"])
def test_patches_have_the_size_that_was_asked_for(a_folder, mode):
    config = DataConfig(prepared=a_folder, patch=(24, 12, 8), spacing_mode=mode, spacing=(1.0, 3.0, 2.0), batch=4)
    for batch in take(batches(config, "image", 0, 1, seed=1), 6):
        assert batch["image"].shape[1:] == (1, 24, 12, 8)
        assert torch.isfinite(batch["image"]).all()


def test_one_spacing_resamples(a_folder, tmp_path):
    """A ramp of 10 HU a voxel at 2 mm becomes one of 5 HU at 1 mm."""
    write_prepared(tmp_path, [an_item(0)])
    ramp = np.broadcast_to((10 * np.arange(16, dtype=np.int16))[None, None], (16, 16, 16))
    np.save(tmp_path / "images/item0.npy", ramp)
    config = DataConfig(
        prepared=tmp_path, patch=(8, 8, 12), spacing_mode="fixed", spacing=(1.5, 1.5, 1.0), augment=False
    )
    (batch,) = take(batches(config, "image", 0, 1, seed=1), 1)
    steps = torch.diff(batch["image"][0, 0, 4, 4, 1:-1]) * 2000
    torch.testing.assert_close(steps, torch.full_like(steps, 5.0), atol=0.05, rtol=0)


def test_intensity_augmentation_stays_within_what_was_meant(a_folder):
    """The reference's factors of 0.9 to 1.1 double the image (defect B27)."""
    config = DataConfig(prepared=a_folder, patch=(16, 16, 16), sizes=[(16, 16, 16)], datasets=["ours"])
    for batch in take(batches(config, "image", 0, 1, seed=1), 40):
        assert batch["image"].max() < 1.1 + 0.05 + 1e-5
        assert batch["image"].min() > -0.05 - 1e-5


def test_tumors_change_only_where_that_was_asked_for(a_folder):
    plain = DataConfig(prepared=a_folder, sizes=[(16, 16, 16)])
    changed = plain.model_copy(update={"augment_tumors": True})
    stored = {n: np.load(a_folder / f"labels/item{n}.npz")["labels"] for n in range(11)}

    def sames(config, kind):
        seen = take(batches(config, kind, 0, 1, seed=1), 6)
        return [np.array_equal(b["labels"][0, 0].numpy(), stored[int(b["id"][0][4:])]) for b in seen]

    assert all(sames(plain, "labels"))
    assert not all(sames(changed, "labels"))
    assert all(sames(changed, "paired"))


def test_held_out_items_are_shared_and_always_the_same(a_folder):
    config = DataConfig(prepared=a_folder, crop=(2, 2, 2))
    one, two = (list(held_out(config, "paired", rank, 2)) for rank in (0, 1))
    assert [batch["id"] for batch in one + two] == [["item8"], ["item9"]]
    assert all(same(*both) for both in zip(one, held_out(config, "paired", 0, 2), strict=True))
    assert list(held_out(config.model_copy(update={"fold": None}), "paired", 0, 1)) == []
    few = held_out(config.model_copy(update={"validation_items": 1}), "latent", 0, 1)
    assert [batch["id"] for batch in few] == [["item8"]]
    assert not any(id_ in ("item8", "item9") for b in take(batches(config, "latent", 0, 1, 1), 30) for id_ in b["id"])


def test_broken_files_are_left_out_told_once_and_counted(tmp_path, caplog):
    write_prepared(tmp_path, [an_item(n) for n in range(4)])
    (tmp_path / "latents/item1.safetensors").write_bytes(b"nothing")
    (tmp_path / "latents/item2.safetensors").unlink()
    stream = batches(DataConfig(prepared=tmp_path, batch=3), "latent", 0, 1, seed=1)
    with caplog.at_level(logging.WARNING):
        seen = take(stream, 12)
    assert {id_ for batch in seen for id_ in batch["id"]} == {"item0", "item3"}
    assert stream.skipped.keys() == {"item1", "item2"}
    assert len(caplog.records) == 2
    for number in (0, 3):
        (tmp_path / f"latents/item{number}.safetensors").unlink()
    with pytest.raises(InputError, match="can be read"):
        take(stream, 3)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"datasets": ["others"]}, "no source called 'others'"),
        ({"weights": {"others": 2.0}}, "no source called 'others'"),
        ({"sizes": [(8, 8, 8)]}, "nothing to train with"),
        ({"weights": {"ours": 0.0, "theirs": 0.0}}, "weights .* are 0"),
        ({"pairs": True}, "pairs"),
    ],
)
def test_what_leaves_nothing_to_train_with_is_told(a_folder, change, says):
    with pytest.raises(InputError, match=says):
        batches(DataConfig(prepared=a_folder, **change), "paired", 0, 1, seed=1)


@pytest.mark.parametrize(
    ("config", "sizes"),
    [
        ({"batch": 3}, (3, 3)),
        ({"batch_voxels": 8192}, (2, 1)),
        ({"batch_voxels": 100}, (1, 1)),
        ({"batch": 3, "batch_table": {"16x16x16": 4}}, (4, 3)),
        ({"batch_voxels": 8192, "batch_table": {"32x16x16": 5}}, (2, 5)),
    ],
)
def test_the_size_of_a_batch_follows_the_size_of_its_images(config, sizes, tmp_path):
    made = DataConfig(prepared=tmp_path, **config)
    assert (made.batch_size((16, 16, 16)), made.batch_size(LARGE)) == sizes
