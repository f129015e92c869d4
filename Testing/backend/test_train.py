"""The training of the embedded model: every stage really runs, resumes, and does what its docstring says."""

import json

import numpy as np
import pytest
import torch

from helpers.tiny_model import NETWORKS
from maisi.errors import InputError
from maisi.labels import BODY, LESIONS
from maisi.models.networks import Autoencoder, Conditions, ControlNet, DiffusionUNet, build_networks
from maisi.train.cases import generate, make_case, make_labels, read_case, write_case
from maisi.train.diffusion import pair_losses, sample_times, train_diffusion
from maisi.train.embedding import train_embedding
from maisi.train.latents import crop, encode_cases, encode_mean, read_latents, standardize_latents
from maisi.train.loop import Loop
from maisi.train.pool import random_patch
from maisi.train.recipe import INTENSITY
from maisi.train.render import render_pair
from maisi.train.vae import prepare_autoencoder, train_decoder

SHAPE = (48, 48, 48)


@pytest.fixture(scope="module")
def a_folder_of_cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    for seed in range(3):
        write_case(folder / f"case_{seed:06d}.npz", make_case(seed, [], shape=SHAPE))
    return folder


class TestCases:
    def test_the_pair_differs_by_lesions_only(self):
        for seed in range(6):
            before, after = make_labels(seed, [], shape=SHAPE)
            changed = before.array != after.array
            assert np.isin(after.array[changed], LESIONS).all()
            assert not np.isin(before.array, LESIONS).any()

    def test_the_images_differ_near_lesions_only(self, a_torso_with_a_liver, a_torso_with_a_liver_lesion):
        first, second = render_pair(a_torso_with_a_liver, a_torso_with_a_liver_lesion, np.random.default_rng(0))
        lesion = a_torso_with_a_liver_lesion.array == 26
        far = np.ones(lesion.shape, bool)
        far[9:21, 12:24, 9:21] = False
        assert (first.array[far] == second.array[far]).all()
        assert second.array[lesion].mean() < first.array[lesion].mean() - 25

    def test_tissues_have_their_attenuation(self, a_torso_with_a_liver):
        hu = render_pair(a_torso_with_a_liver, a_torso_with_a_liver, np.random.default_rng(1))[0].array
        labels = a_torso_with_a_liver.array
        assert np.median(hu[labels == 1]) == pytest.approx(106, abs=25)
        assert (hu[labels == 0] == -1000).all()
        assert -140 < np.median(hu[labels == BODY]) < 100

    def test_generation_continues_where_it_stopped(self, tmp_path, monkeypatch):
        made = []
        monkeypatch.setattr(
            "maisi.train.cases.make_case", lambda seed, maps: made.append(seed) or make_case(0, [], shape=SHAPE)
        )
        generate(tmp_path, range(2), [])
        generate(tmp_path, range(3), [])
        assert made == [0, 1, 2]

    def test_a_broken_case_gets_a_sentence(self, tmp_path):
        path = tmp_path / "case_000000.npz"
        path.write_bytes(b"PK\x03\x04 not really")
        with pytest.raises(InputError, match="not a training case"):
            read_case(path)


class TestLoop:
    @staticmethod
    def a_loop(folder, minutes):
        torch.manual_seed(0)
        model = torch.nn.Linear(4, 1)
        loop = Loop(folder, {"model": model}, minutes, learning_rate=1e-2)

        def loss(rng):
            x = torch.from_numpy(rng.normal(size=(16, 4)).astype(np.float32))
            error = ((model(x) - x.sum(1, keepdim=True)) ** 2).mean()
            return error, {"loss": error.item()}

        return loop, loss

    def test_it_learns_logs_and_keeps_a_checkpoint(self, tmp_path):
        loop, loss = self.a_loop(tmp_path, minutes=0.02)
        loop.train(loss)
        rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
        assert rows[-1]["loss"] < rows[0]["loss"]
        assert (tmp_path / "checkpoint.pt").exists()

    def test_a_second_sitting_goes_on_from_the_checkpoint(self, tmp_path):
        loop, loss = self.a_loop(tmp_path, minutes=0.01)
        loop.train(loss)
        again, _ = self.a_loop(tmp_path, minutes=0.01)
        assert again.step == loop.step
        for a, b in zip(loop.parameters, again.parameters, strict=True):
            assert torch.equal(a, b)

    def test_a_stop_file_ends_it(self, tmp_path):
        loop, loss = self.a_loop(tmp_path, minutes=10)
        (tmp_path / "stop").touch()
        loop.train(loss)
        assert loop.step == 0

    def test_a_nan_is_skipped(self, tmp_path):
        loop, _ = self.a_loop(tmp_path, minutes=0.001)
        before = [p.detach().clone() for p in loop.parameters]
        loop.train(lambda rng: (sum(p.sum() for p in loop.parameters) * float("nan"), {}))
        assert all(torch.equal(a, b) for a, b in zip(before, loop.parameters, strict=True))


class TestAutoencoderPreparation:
    @pytest.fixture
    def a_prepared_autoencoder(self, a_folder_of_cases):
        torch.manual_seed(0)
        network = Autoencoder(**{**NETWORKS["autoencoder"], "num_channels": [8, 16, 32]}).eval()
        prepare_autoencoder(network, INTENSITY, sorted(a_folder_of_cases.glob("*.npz")))
        return network

    def test_latents_are_mean_and_slopes(self, a_prepared_autoencoder):
        network = a_prepared_autoencoder
        ramp = torch.linspace(0, 1, 32)
        latents = {}
        with torch.no_grad():
            for axis in range(3):
                shape = [1, 1, 1, 1, 1]
                shape[2 + axis] = 32
                latents[axis] = network.encode(ramp.view(shape).expand(1, 1, 32, 32, 32))[0][0, :, 4, 4, 4]
        for axis in range(3):
            slopes = torch.stack([latents[a][1 + axis] for a in range(3)])
            assert slopes.argmax() == axis

    def test_latents_hardly_depend_on_the_air_around(self, a_prepared_autoencoder):
        body = torch.full((1, 1, 32, 32, 32), 0.5)
        surrounded = torch.nn.functional.pad(body, (32,) * 6)
        with torch.no_grad():
            alone = a_prepared_autoencoder.encode(body)[0][0, :, 4, 4, 4]
            in_air = a_prepared_autoencoder.encode(surrounded)[0][0, :, 12, 12, 12]
        assert (alone - in_air).abs().max() < 0.1  # standardized latents: 0.1 is about 8 HU of soft tissue

    def test_sigma_is_the_same_everywhere(self, a_prepared_autoencoder):
        with torch.no_grad():
            sigma = a_prepared_autoencoder.encode(torch.rand(1, 1, 32, 32, 32))[1]
        torch.testing.assert_close(sigma, torch.full_like(sigma, 0.05))

    def test_standardizing_latents_does_not_change_the_reconstruction(self, a_folder_of_cases):
        torch.manual_seed(0)
        network = Autoencoder(**NETWORKS["autoencoder"]).eval()
        cases = sorted(a_folder_of_cases.glob("*.npz"))
        x = torch.rand(1, 1, 32, 32, 32)
        with torch.no_grad():
            before = network.decode(network.encode(x)[0])
            sigma = network.encode(x)[1] / encode_std(network, cases)
            standardize_latents(network, INTENSITY, cases)
            torch.testing.assert_close(network.decode(network.encode(x)[0]), before, rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(network.encode(x)[1], sigma, rtol=1e-3, atol=1e-4)
        case = read_case(cases[0])
        latents = encode_mean(network, INTENSITY, torch.from_numpy(case.hu[1]))
        assert latents.std() == pytest.approx(1, abs=0.7)


def encode_std(network, cases):
    values = []
    for path in cases:
        case = read_case(path)
        latents = encode_mean(network, INTENSITY, torch.from_numpy(case.hu[1]))
        inside = torch.nn.functional.avg_pool3d(torch.from_numpy(case.labels[1] > 0).float()[None], 4)[0] > 0.5
        values.append(latents[:, inside])
    return torch.cat(values, 1).std(1).view(1, -1, 1, 1, 1)


def test_all_stages_run_on_generated_cases(a_folder_of_cases, tmp_path):
    torch.manual_seed(0)
    autoencoder, unet, controlnet = build_networks(NETWORKS).values()
    options = {"minutes": 0.02, "bfloat16": False}
    encoder = [p.clone() for p in autoencoder.encoder.parameters()]
    train_decoder(tmp_path / "decoder", autoencoder, INTENSITY, a_folder_of_cases, None, patch=32, batch=1, **options)
    assert all(torch.equal(a, b) for a, b in zip(encoder, autoencoder.encoder.parameters(), strict=True))
    train_embedding(tmp_path / "embedding", controlnet, INTENSITY, a_folder_of_cases, patch=32, batch=1, **options)
    standardize_latents(autoencoder, INTENSITY, sorted(a_folder_of_cases.glob("*.npz")))
    encode_cases(a_folder_of_cases, tmp_path / "latents", autoencoder, controlnet, INTENSITY)
    frozen = [p.clone() for p in controlnet.controlnet_cond_embedding.parameters()]
    start = [p.clone() for p in unet.parameters()]
    train_diffusion(tmp_path / "diffusion", unet, controlnet, tmp_path / "latents", size=8, pairs=1, **options)
    assert all(
        torch.equal(a, b) for a, b in zip(frozen, controlnet.controlnet_cond_embedding.parameters(), strict=True)
    )
    assert any(not torch.equal(a, b) for a, b in zip(start, unet.parameters(), strict=True))


def test_crops_of_a_case_fit_together(a_folder_of_cases, tmp_path):
    torch.manual_seed(0)
    autoencoder, controlnet = Autoencoder(**NETWORKS["autoencoder"]), ControlNet(**NETWORKS["controlnet"])
    encode_cases(a_folder_of_cases, tmp_path, autoencoder, controlnet, INTENSITY)
    case = read_latents(sorted(tmp_path.glob("*.pt"))[0])
    piece = crop(case, 6, np.random.default_rng(0))
    assert piece.latents.shape == (2, 4, 6, 6, 6)
    assert piece.embedding.shape == (2, 16, 6, 6, 6)
    assert piece.lesion.shape == (1, 6, 6, 6)
    assert crop(case, 99, np.random.default_rng(0)).lesion.shape == (1, 12, 12, 12)


def test_pair_losses_vanish_for_the_truth_and_see_a_missing_lesion():
    target = torch.randn(2, 2, 4, 3, 3, 3)
    lesion = torch.zeros(2, 1, 1, 3, 3, 3)
    lesion[..., 1, 1, 1] = 1
    assert [float(x) for x in pair_losses(target, target, lesion, 5.0)] == [0.0, 0.0]
    blind = target.clone()
    blind[:, 1, :, 1, 1, 1] = blind[:, 0, :, 1, 1, 1]
    wrong_difference = pair_losses(blind, target, lesion, 5.0)[1]
    assert wrong_difference > pair_losses(blind, target, lesion, 0.0)[1] > 0


def test_times_lie_between_data_and_noise_and_lean_to_noise():
    times = sample_times(4000, np.random.default_rng(0))
    assert times.min() >= 0
    assert times.max() <= 1
    assert 0.55 < times.median() < 0.75


def test_patches_from_small_images_are_padded_with_air():
    patch = random_patch(np.zeros((5, 40, 40), np.int16), 16, np.random.default_rng(0))
    assert patch.shape == (16, 16, 16)
    assert (patch == -1000).sum() == 11 * 16 * 16


def test_unet_without_controlnet_makes_images_too():
    unet = DiffusionUNet(**NETWORKS["unet"])
    v = unet(torch.randn(1, 4, 8, 8, 8), torch.tensor([500.0]), Conditions(torch.ones(1, 3), torch.tensor([1])))
    assert v.shape == (1, 4, 8, 8, 8)
