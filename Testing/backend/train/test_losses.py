"""Losses against plain transcriptions of the paper's equations and against what theory says."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from helpers.tiny_stages import generator
from maisi.sampling.schedule import flow_steps
from maisi.sampling.solvers import ddim, ddpm_times, euler
from maisi.train.losses.contrastive import feature_contrast, pair_difference, region_contrast
from maisi.train.losses.flow import Ddpm, RectifiedFlow, noise_process, prediction_loss
from maisi.train.losses.perceptual import PerceptualLoss
from maisi.train.losses.regions import changed_regions, coarser, lesion_weight
from maisi.train.losses.vae import edge_error, kl_divergence, reconstruction_error, window_error

# ---- noise: the clock of maisi.sampling


@pytest.fixture
def some_data():
    return torch.randn((2, 4, 6, 5, 7), generator=generator(3))


class TestRectifiedFlow:
    def test_a_perfect_predictor_samples_the_data(self, some_data):
        process, noise = RectifiedFlow(), torch.randn(some_data.shape, generator=generator(4))
        velocity = process.target(some_data, noise)
        *_, sampled = euler(lambda x, time: velocity, noise, flow_steps(4, 6 * 5 * 7, "volume", "clean"))
        torch.testing.assert_close(sampled, some_data, atol=1e-5, rtol=0)

    def test_noise_is_at_1000_and_data_at_0(self, some_data):
        noise, ends = torch.randn_like(some_data), torch.tensor([1000.0, 0.0])
        mixed = RectifiedFlow().add_noise(some_data, noise, ends)
        torch.testing.assert_close(mixed, torch.stack([noise[0], some_data[1]]))

    def test_times_follow_the_grid_of_sampling(self):
        latents = torch.zeros(()).expand(4000, 1, 64, 64, 32)
        times = RectifiedFlow().times(latents, generator())
        quarter = flow_steps(4, 64 * 64 * 32, "volume", "clean")[1].time
        assert (times > quarter).float().mean() == pytest.approx(0.25, abs=0.03)
        even = RectifiedFlow(None).times(latents, generator())
        assert (even > 750).float().mean() == pytest.approx(0.25, abs=0.03)


class TestDdpm:
    def test_a_perfect_predictor_samples_the_data(self, some_data):
        process, noise = Ddpm(), torch.randn(some_data.shape, generator=generator(4))
        times = ddpm_times(50)
        start = process.add_noise(some_data, noise, torch.full((2,), float(times[0])))
        *_, sampled = ddim(lambda x, time: process.target(some_data, noise), start, times)
        torch.testing.assert_close(sampled, some_data, atol=1e-3, rtol=0)

    def test_it_predicts_the_noise_at_whole_times(self, some_data):
        noise = torch.randn_like(some_data)
        process = noise_process("ddpm")
        times = process.times(some_data, generator())
        assert (process.target(some_data, noise) == noise).all()
        assert (times == times.round()).all()
        assert ((times >= 0) & (times < 1000)).all()


def test_prediction_loss_is_of_paper_or_code(some_data):
    other = some_data + 0.5
    assert prediction_loss(other, some_data).item() == pytest.approx(0.25)
    assert prediction_loss(other, some_data, "absolute").item() == pytest.approx(0.5)
    weight = torch.ones((2, 1, 6, 5, 7))
    weight[0] = 3
    assert prediction_loss(other, some_data, "absolute", weight).item() == pytest.approx(1.0)
    assert prediction_loss(other, some_data, "absolute", weight, normalized=True).item() == pytest.approx(0.5)


# ---- regions


def nearest(mask: Tensor) -> Tensor:
    return torch.nn.functional.interpolate(mask, scale_factor=0.25, mode="nearest")


@st.composite
def label_pairs(draw):
    """Two label maps that differ in some boxes."""
    labels = torch.ones((2, 1, 16, 16, 16), dtype=torch.uint8)
    changed = labels.clone()
    for _ in range(draw(st.integers(0, 3))):
        corner = [draw(st.integers(0, 15)) for _ in range(3)]
        size = [draw(st.integers(1, 6)) for _ in range(3)]
        box = tuple(slice(c, c + s) for c, s in zip(corner, size, strict=True))
        changed[(draw(st.integers(0, 1)), 0, *box)] = 26
    return changed, labels


@settings(max_examples=25, deadline=None)
@given(label_pairs())
def test_regions_are_those_of_the_definition(pair):
    labels, healed = pair
    changed = (labels != healed).float()
    dilated = torch.nn.functional.max_pool3d(changed, 3, 1, 1)
    exact = changed_regions(labels, healed, "nearest")
    assert torch.equal(exact.inside, nearest(changed))
    assert torch.equal(exact.outside, 1 - nearest(dilated))
    blocks = changed_regions(labels, healed)
    assert blocks.inside.sum().item() * 64 == pytest.approx(changed.sum().item())
    assert torch.equal(blocks.outside, 1 - torch.nn.functional.max_pool3d(dilated, 4))
    assert torch.equal(changed_regions(labels, healed, "any").inside, (blocks.inside > 0).float())
    assert ((blocks.inside > 0) & (blocks.outside > 0)).sum() == 0


def test_regions_become_coarser_without_losing_the_lesion():
    labels = torch.ones((1, 1, 32, 32, 32), dtype=torch.uint8)
    labels[0, 0, 5, 5, 5] = 26
    regions = coarser(changed_regions(labels, torch.ones_like(labels)), (2, 2, 2))
    assert regions.inside[0, 0, 0, 0, 0] == pytest.approx(1 / 64 / 64)
    assert regions.outside.sum() == 7


@pytest.mark.parametrize(("sampling", "expected"), [("fraction", 1 + 99 / 64), ("any", 100), ("nearest", 1)])
def test_a_single_voxel_weighs(sampling, expected):
    labels = torch.ones((1, 1, 8, 8, 8), dtype=torch.uint8)
    labels[0, 0, 6, 6, 6] = 26
    assert lesion_weight(labels, [26], 100, sampling)[0, 0, 1, 1, 1].item() == pytest.approx(expected)


# ---- the contrastive loss


def paper(v1: Tensor, v2: Tensor, c1: Tensor, c2: Tensor, delta: float) -> tuple[float, float]:
    """Equations 5-9 for one image, with loops; masks at the size of the predictions (FACTS 5.4).

    m = 1(c1 != c2); D = mean of |v1 - v2| over m; L_roi = ReLU(-D + delta) - delta; m- = 1 - dilate(m);
    L_bg = mean of |v1 - v2| over m-.
    """
    channels, *shape = v1.shape
    m = (c1 != c2).tolist()

    def near(i: int, j: int, k: int) -> bool:
        ranges = [range(max(n - 1, 0), min(n + 2, size)) for n, size in zip((i, j, k), shape, strict=True)]
        return any(m[a][b][c] for a in ranges[0] for b in ranges[1] for c in ranges[2])

    roi, background = [], []
    for i in range(shape[0]):
        for j in range(shape[1]):
            for k in range(shape[2]):
                values = [abs(float(v1[c, i, j, k]) - float(v2[c, i, j, k])) for c in range(channels)]
                if m[i][j][k]:
                    roi += values
                if not near(i, j, k):
                    background += values
    distance = sum(roi) / len(roi) if roi else 0.0
    return max(0.0, -distance + delta) - delta, sum(background) / len(background)


class TestRegionContrast:
    @pytest.fixture
    def predictions(self):
        return torch.randn((2, 2, 4, 6, 6, 6), generator=generator(8)) * 2

    @pytest.mark.parametrize("delta", [0.5, 2.0, 50.0])
    def test_it_is_the_papers(self, predictions, delta):
        c2 = torch.ones((2, 1, 6, 6, 6), dtype=torch.uint8)
        c1 = c2.clone()
        c1[0, 0, 2:4, 1:4, 3] = 26
        c1[1, 0, 5, 0, 0] = 128
        # Each voxel blown up to the 4 x 4 x 4 of a latent voxel; the dilation is then one of latents in `paper`.
        inside = (c1 != c2).float()
        regions = type(changed_regions(c1, c2))(inside, 1 - torch.nn.functional.max_pool3d(inside, 3, 1, 1))
        ours = region_contrast(*predictions, regions, delta)
        images = zip(predictions[0], predictions[1], c1[:, 0], c2[:, 0], strict=True)
        theirs = [paper(v1, v2, a, b, delta) for v1, v2, a, b in images]
        for our, their in zip(ours, zip(*theirs, strict=True), strict=True):
            assert our.item() == pytest.approx(sum(their) / 2, abs=1e-4)

    def test_the_codes_background_is_compared_with_the_truth(self, predictions):
        first, second = predictions
        truth = torch.randn_like(first)
        labels = torch.ones((2, 1, 24, 24, 24), dtype=torch.uint8)
        regions = changed_regions(labels, labels)
        inside, outside = region_contrast(first, second, regions, truth=truth)
        assert outside.item() == pytest.approx((second - truth).abs().mean().item(), rel=1e-4)
        assert inside.item() == 0

    def test_beyond_the_cap_nothing_is_earned(self):
        labels = torch.ones((1, 1, 8, 8, 8), dtype=torch.uint8)
        changed = labels.clone()
        changed[..., :4] = 26
        regions = changed_regions(changed, labels)
        first = torch.full((1, 4, 2, 2, 2), 3.0, requires_grad=True)
        inside, _ = region_contrast(first, torch.zeros(1, 4, 2, 2, 2), regions, cap=2.0)
        inside.backward()
        assert inside.item() == -2
        assert first.grad.abs().sum() == 0

    @pytest.mark.parametrize(("sampling", "reached"), [("fraction", True), ("any", True), ("nearest", False)])
    def test_a_tumor_smaller_than_a_latent_voxel_gives_a_gradient(self, sampling, reached):
        labels = torch.ones((1, 1, 16, 16, 16), dtype=torch.uint8)
        tiny = labels.clone()
        tiny[..., 5:7, 5:7, 5:7] = 26
        first = torch.rand((1, 4, 4, 4, 4), requires_grad=True)
        region_contrast(first, torch.zeros(1, 4, 4, 4, 4), changed_regions(tiny, labels, sampling))[0].backward()
        assert (first.grad.abs().sum() > 0) == reached

    def test_levels_count_the_same_whatever_their_scale(self, predictions):
        labels = torch.ones((2, 1, 24, 24, 24), dtype=torch.uint8)
        changed = labels.clone()
        changed[..., 8:16, 8:16, 8:16] = 26
        regions = changed_regions(changed, labels)
        first, second = predictions
        small = feature_contrast([first, first * 100], [second, second * 100], regions)
        alone = feature_contrast([first], [second], regions)
        torch.testing.assert_close(torch.stack(small), torch.stack(alone), rtol=1e-3, atol=0)


def test_pairs_are_right_when_their_difference_is():
    target = torch.randn((3, 2, 4, 2, 2, 2), generator=generator())
    weight = torch.rand((3, 1, 2, 2, 2))
    assert pair_difference(target + 7, target, weight).item() == pytest.approx(0, abs=1e-10)
    lesionless = target[:, :1].expand_as(target)
    true = (target[:, 1] - target[:, 0]).square()
    expected = (true * weight).sum() / weight.sum() / 4
    assert pair_difference(lesionless, target, weight).item() == pytest.approx(expected.item(), rel=1e-5)


# ---- the autoencoder's


def test_kl_is_torchs():
    mean, sigma = torch.randn((2, 4, 3, 3, 3)), torch.rand((2, 4, 3, 3, 3)) + 0.1
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mean, sigma), normal(0.0, 1.0)).flatten(1).sum(1).mean()
    assert kl_divergence(mean, sigma).item() == pytest.approx(expected.item(), rel=1e-4)


def test_errors_of_images():
    ramp = torch.linspace(0, 1, 16).view(1, 1, 16, 1, 1).expand(1, 1, 16, 16, 16)
    flat = torch.full_like(ramp, 0.5)
    assert reconstruction_error(ramp + 0.1, ramp).item() == pytest.approx(0.1)
    assert reconstruction_error(ramp + 0.1, ramp, "l2").item() == pytest.approx(0.01)
    assert edge_error(ramp + 0.1, ramp).item() == pytest.approx(0, abs=1e-6)
    assert edge_error(flat, ramp).item() == pytest.approx(1 / 15)
    assert window_error(torch.full_like(flat, 0.9), flat, 0.4, 0.6).item() == pytest.approx(0.5)
    assert window_error(flat * 0, flat * 0 + 0.3, 0.4, 0.6).item() == 0


@pytest.fixture(scope="module")
def a_loss():
    pytest.importorskip("efficientnet_lite_pytorch")
    return PerceptualLoss(share=0.5)


class TestPerceptualLoss:
    def test_it_is_zero_for_the_same_and_more_for_less_alike(self, a_loss):
        image = torch.rand((1, 1, 32, 40, 36), generator=generator())
        noise = torch.randn(image.shape, generator=generator(1))
        near, far = (a_loss(image + s * noise, image, generator()).item() for s in (0.02, 0.3))
        assert a_loss(image, image, generator()).item() == pytest.approx(0, abs=1e-6)
        assert 0 < near < far

    def test_gradients_reach_the_image_and_the_generator_decides(self, a_loss):
        image = torch.rand((1, 1, 32, 32, 32), requires_grad=True)
        target = torch.rand((1, 1, 32, 32, 32))
        loss = a_loss(image, target, generator(1))
        loss.backward()
        assert math.isfinite(loss.item())
        assert image.grad.abs().sum() > 0
        assert a_loss(image, target, generator(1)).item() == loss.item()
        assert a_loss(image, target, generator(2)).item() != loss.item()
