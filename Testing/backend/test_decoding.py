"""Latents <-> images: whole equals tiled, background, int16, cancel; and the reference's windows."""

import numpy as np
import pytest
import torch

from helpers.tiny_model import NETWORKS, fill_zeros
from maisi.decoding import background, decode, decode_box, encode, encode_distribution
from maisi.errors import Cancelled, InputError
from maisi.mask_embedding import embed_box, embed_in_tiles
from maisi.models.intensity import IntensityScale
from maisi.models.networks import build_networks, mask_bits
from maisi.models.variants import get_variant
from maisi.models.weights import Networks
from maisi.tiling.tiles import Tiles
from maisi.volume import ImageVolume, LabelVolume
from maisi.windows import IMAGE_ONLY, Window, decode_compatible

SHAPE = (7, 9, 5)
TILES = Tiles(4, ((2, "cpu"), (3, "cpu"), (8, "cpu")))


def networks_of(variant, intensity=None, image="ct") -> Networks:
    torch.manual_seed(0)
    built = build_networks(NETWORKS)
    fill_zeros(built)
    for network in built.values():
        network.eval().requires_grad_(False)
    last = built["autoencoder"].decoder.blocks[-1].conv.conv
    torch.nn.init.normal_(last.weight, std=0.05)
    torch.nn.init.constant_(last.bias, 0.5)  # most voxels within 0...1
    object.__setattr__(variant, "image", image)
    object.__setattr__(variant, "intensity", intensity or IntensityScale())
    return Networks(variant, **built, device=torch.device("cpu"), scale_factor=1.0)


@pytest.fixture
def networks(a_tiny_model):
    return networks_of(get_variant(a_tiny_model))


@pytest.fixture
def mr_networks(a_tiny_model):
    return networks_of(get_variant(a_tiny_model), IntensityScale((0.0, 1000.0), (0.0, 1.0), unbounded=True), "mr")


@pytest.fixture
def latents():
    return torch.randn(1, 4, *SHAPE, generator=torch.Generator().manual_seed(1)) * 2


@pytest.fixture
def labels():
    """A body in the middle and background around, on the grid of ``latents``."""
    array = np.zeros([4 * n for n in SHAPE], np.uint8)
    array[5:20, 6:30, 2:18] = 200
    return LabelVolume(array, np.diag([2.0, 3.0, 4.0, 1.0]))


def test_a_decode_in_tiles_is_the_whole_one(networks, latents, labels):
    whole, tiled = (decode(networks, latents, labels, tiles=tiles) for tiles in (None, TILES))
    assert whole.array.dtype == tiled.array.dtype == np.int16
    assert whole.same_grid(labels)
    assert len(np.unique(whole.array)) > 100
    difference = np.abs(whole.array.astype(int) - tiled.array)
    assert difference.max() <= 1  # where a value lies between two integers
    assert (difference > 0).mean() < 1e-3


@pytest.mark.parametrize("tiles", [None, TILES])
def test_a_part_is_decoded_as_in_the_whole(networks, latents, labels, tiles):
    gathered = {}
    whole = decode(networks, latents, labels, tiles=tiles, gathered=gathered).array
    box = (slice(2, 5), slice(0, 6), slice(3, 5))
    part = decode_box(networks, latents, box, gathered, labels.array, size=2)
    expected = whole[tuple(slice(4 * s.start, 4 * s.stop) for s in box)]
    assert np.abs(part.astype(int) - expected).max() <= 1
    assert (part == expected).mean() > 0.999


def test_a_part_of_the_mask_is_embedded_as_in_the_whole(networks, labels):
    masks = labels.array[None]
    box = (slice(1, 4), slice(0, 9), slice(2, 5))
    whole = embed_in_tiles(networks, masks, torch.float32, Tiles(16))
    part = embed_box(networks, masks, torch.float32, box)
    torch.testing.assert_close(part, whole[(..., *box)], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tiles", [None, TILES])
def test_background_is_air_inside_is_the_rounded_network(networks, latents, labels, tiles):
    image = decode(networks, latents, labels, tiles=tiles).array
    with torch.inference_mode():
        unit = networks.autoencoder.decode(latents)[0, 0].numpy()
    assert (image[labels.array == 0] == -1000).all()
    expected = np.clip(unit, 0, 1) * 2000 - 1000
    inside = labels.array > 0
    assert np.abs(image[inside] - expected[inside]).max() <= 0.5 + 2e-3


@pytest.mark.parametrize("tiles", [None, TILES])
def test_mr_has_no_upper_limit_and_a_background_of_zero(mr_networks, latents, labels, tiles):
    image = decode(mr_networks, latents * 50, labels, tiles=tiles).array
    assert background(mr_networks.variant) == 0
    assert (image[labels.array == 0] == 0).all()
    assert image.min() == 0
    assert image.max() > 1000


@pytest.mark.parametrize("tiles", [None, TILES])
def test_without_labels_nothing_becomes_background(networks, latents, labels, tiles):
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    image = decode(networks, latents, affine=affine, tiles=tiles)
    assert np.array_equal(image.affine, affine)
    assert image.shape == labels.shape
    assert (image.array[labels.array == 0] != -1000).any()


@pytest.mark.parametrize("tiles", [Tiles(3), Tiles(5), Tiles(4, ((1, "cpu"), (4, "cpu")))])
def test_an_encode_in_tiles_is_the_whole_one(networks, labels, tiles):
    hu = np.random.default_rng(0).integers(-1000, 1000, labels.shape).astype(np.int16)
    hu[:10] = 700
    image = ImageVolume(hu, labels.affine)
    whole = encode(networks, image)
    assert whole.shape == (1, 4, *SHAPE)
    assert whole.dtype == torch.float32
    torch.testing.assert_close(encode(networks, image, tiles=tiles), whole, rtol=1e-4, atol=1e-5)
    with torch.inference_mode():
        unit = torch.from_numpy((hu.astype(np.float32) + 1000) / 2000)[None, None]
        torch.testing.assert_close(networks.autoencoder.encode(unit)[0], whole, rtol=1e-4, atol=1e-5)


def test_an_image_of_the_wrong_size_is_not_encoded(networks):
    with pytest.raises(InputError, match="multiple of 4"):
        encode(networks, ImageVolume(np.zeros((32, 30, 32), np.int16), np.eye(4)))


def test_masks_are_embedded_in_tiles_as_in_the_whole(networks, labels):
    masks = np.stack([labels.array, np.where(labels.array > 0, 26, 1).astype(np.uint8)])
    with torch.inference_mode():
        whole = networks.controlnet.embed_mask(mask_bits(torch.from_numpy(masks)[:, None]))
    tiled = embed_in_tiles(networks, masks, torch.float32, Tiles(3))
    torch.testing.assert_close(tiled, whole, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(tiled[0], tiled[1])


@pytest.mark.parametrize("tiles", [None, TILES])
def test_a_decode_can_be_cancelled_and_tells_its_progress(networks, latents, labels, tiles):
    told = []
    decode(networks, latents, labels, tiles=tiles, progress=lambda *step: told.append(step))
    assert told[-1] == ("decode", len(told), len(told))
    wanted = len(told) // 2
    told.clear()
    with pytest.raises(Cancelled):
        decode(
            networks,
            latents,
            labels,
            tiles=tiles,
            progress=lambda *step: told.append(step),
            cancelled=lambda: len(told) == wanted,
        )
    assert len(told) == wanted


# ---- the reference's windows


@pytest.mark.parametrize(
    ("latents", "window", "overlap", "count", "redundancy"),  # FACTS 7.4
    [
        ((64, 64, 32), (96, 96, 96), 0.25, 1, 1.0),
        ((64, 64, 64), (48, 48, 64), 0.6666, 4, 2.25),
        ((128, 128, 32), (64, 64, 32), 0.5, 9, 2.25),
        ((64, 64, 64), (64, 64, 64), 0.25, 1, 1.0),
        ((128, 128, 32), (80, 80, 32), 0.4, 4, 1.56),
        ((128, 128, 128), (64, 64, 48), 0.4, 36, 3.38),
        ((128, 128, 128), (80, 80, 48), 0.4, 16, 2.34),
        ((128, 128, 128), (80, 80, 80), 0.4, 8, 1.95),
        ((128, 128, 192), (80, 80, 96), 0.4, 12, 2.34),
        ((64, 64, 64), (48, 48, 48), 0.6666, 8, 3.38),
        ((128, 128, 192), (80, 80, 80), 0.4, 16, 2.60),
        ((128, 128, 32), (80, 80, 80), 0.4, 4, 1.56),
    ],
)
def test_the_windows_are_those_of_the_reference(latents, window, overlap, count, redundancy):
    used = Window(window, overlap)
    assert len(used.places(latents)) == count
    assert used.redundancy(latents) == pytest.approx(redundancy, abs=0.006)


def test_voxels_count_not_axes_for_decoding_at_once():
    window = Window((48, 48, 48), 0.6666)
    assert window.is_direct((96, 48, 24))  # longer than the window along one axis
    assert window.is_direct((48, 48, 48))
    assert not window.is_direct((48, 48, 49))


def test_monai_visits_the_places_that_are_told(networks, labels):
    visited = []
    window = Window((4, 4, 4), 0.4)

    def look(latents):
        visited.append(latents.shape[2:])
        return torch.nn.functional.interpolate(latents[:, :1], scale_factor=4)

    window.inferer(SHAPE, torch.device("cpu"), torch.device("cpu"))(inputs=torch.rand(1, 4, *SHAPE), network=look)
    assert len(visited) == len(window.places(SHAPE))
    assert set(visited) == {(4, 4, 4)}


def test_a_compatible_image_from_a_mask_is_float_clipped_and_not_rounded(networks, latents, labels):
    image = decode_compatible(networks, latents * 5, labels, window=Window((4, 4, 4), 0.4))
    assert image.array.dtype == np.float32
    assert image.array.min() == -1000
    assert image.array.max() <= 1000
    assert (image.array[labels.array == 0] == -1000).all()
    assert (image.array % 1 != 0).any()


def test_compatible_windows_normalize_by_themselves(networks, latents, labels):
    direct, windows = (
        decode_compatible(networks, latents, labels, window=Window((n, n, n), 0.4)).array for n in (12, 4)
    )
    whole = decode(networks, latents, labels).array
    assert np.abs(direct - whole).max() < 1  # rounding only
    assert np.abs(windows - whole).max() > 20


def test_a_compatible_image_without_a_mask_is_truncated_to_int16(networks, latents):
    image = decode_compatible(networks, latents * 5, affine=np.eye(4)).array
    with torch.inference_mode():
        unit = networks.autoencoder.decode(latents * 5)[0, 0]
    assert IMAGE_ONLY.is_direct(SHAPE)
    assert image.dtype == np.int16
    assert np.array_equal(image, np.trunc((unit * 2000 - 1000).clip(-1000, 1000).numpy()))


def test_a_compatible_mr_is_scaled_by_1000_from_zero_up(mr_networks, latents, labels):
    image = decode_compatible(mr_networks, latents * 50, labels).array
    with torch.inference_mode():
        unit = mr_networks.autoencoder.decode(latents * 50)[0, 0].numpy()
    inside = labels.array > 0
    assert (image[~inside] == 0).all()
    assert np.array_equal(image[inside], (unit.clip(0) * 1000)[inside])
    assert image.max() > 1000


@pytest.mark.parametrize("tiles", [Tiles(3), Tiles(4, ((1, "cpu"), (4, "cpu")))])
def test_mean_and_deviation_of_latents_in_tiles_are_those_of_the_whole(networks, tiles):
    unit = torch.rand((1, 1, *(4 * n for n in SHAPE)), generator=torch.Generator().manual_seed(3))
    network, device = networks.autoencoder, networks.device
    with torch.inference_mode():
        expected = network.encode(unit)
    for given in (None, tiles):
        for found, whole in zip(encode_distribution(network, unit, device, given), expected, strict=True):
            torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-5)
    assert expected[1].std() > 0
