"""The noise of a real CT on what an edit puts into it."""

import numpy as np
import pytest
from scipy import ndimage

from maisi.texture import noise_level, noise_within, with_own_texture

SPACING = np.array([1.0, 1.0, 3.0])
SHAPE = (40, 40, 12)


@pytest.fixture
def rng():
    return np.random.default_rng(4)


@pytest.fixture
def a_lesion():
    mask = np.zeros(SHAPE, bool)
    mask[14:26, 14:26, 3:9] = True
    return mask


def ct_noise(rng, level):
    """Noise that is smooth over a voxel, as that of a CT."""
    noise = ndimage.gaussian_filter(rng.standard_normal(SHAPE), (0.6, 0.6, 0))
    return (level * noise / noise.std()).astype(np.float32)


def everywhere():
    return np.ones(SHAPE, bool)


class TestNoiseLevel:
    def test_white_noise(self, rng):
        inner = ndimage.binary_erosion(everywhere())  # at the image's border less is compared
        assert noise_level(12 * rng.standard_normal(SHAPE), inner, SPACING) == pytest.approx(12, rel=0.05)

    @pytest.mark.parametrize("axis", [0, 1])
    def test_edges_and_slopes_are_no_noise(self, rng, axis):
        image = 300.0 * (np.indices(SHAPE)[axis] > 19) + 20.0 * np.indices(SHAPE)[axis]
        noise = rng.standard_normal(SHAPE)
        assert noise_level(image + noise, everywhere(), SPACING) == pytest.approx(1, rel=0.1)

    def test_thick_slices_are_not_compared(self):
        image = 100.0 * (np.indices(SHAPE)[2] % 2)
        assert noise_level(image, everywhere(), SPACING) == 0


class TestWithOwnTexture:
    @pytest.mark.parametrize("strength", [0.4, 1.0, 2.0])
    def test_a_lesion_gets_the_noise_of_its_host(self, rng, a_lesion, strength):
        """Also where the scan has less or more noise at the place of the lesion."""
        noise = ct_noise(rng, 15) * np.where(a_lesion, strength, 1)
        base = np.full(SHAPE, 100, np.float32)
        values = base - 40 * a_lesion
        result = with_own_texture(
            base + noise, base, values, a_lesion, noise_within(base + noise, ~a_lesion, SPACING), SPACING
        )
        host = noise_level(result, ~a_lesion, SPACING)
        assert noise_level(result, a_lesion, SPACING) == pytest.approx(host, rel=0.1)
        assert result[a_lesion].mean() == pytest.approx(60, abs=3)

    def test_the_rest_is_the_scan_itself(self, rng, a_lesion):
        base = np.full(SHAPE, 100, np.float32)
        image = base + ct_noise(rng, 15)
        result = with_own_texture(image, base, base - 40 * a_lesion, a_lesion, 15.0, SPACING)
        np.testing.assert_allclose(result[~a_lesion], image[~a_lesion], atol=1e-4)

    def test_a_vessel_does_not_run_through_the_lesion(self, rng, a_lesion):
        base = np.full(SHAPE, -850, np.float32)
        image = base + ct_noise(rng, 15)
        image[18:21, :, 5:7] += 800
        result = with_own_texture(image, base, base + 880 * a_lesion, a_lesion, 15.0, SPACING)
        assert result[a_lesion].max() < 30 + 8 * 15  # noise at most; the vessel has 800

    def test_a_lesion_without_a_host_around_it(self, rng, a_lesion):
        base = np.full(SHAPE, 100, np.float32)
        image = base + ct_noise(rng, 15)
        assert noise_within(image, np.zeros(SHAPE, bool), SPACING) is None
        result = with_own_texture(image, base, base, a_lesion, None, SPACING)
        assert np.abs(result - image).max() < 60  # outliers are cut off
        assert np.corrcoef(result[a_lesion], image[a_lesion])[0, 1] > 0.99
