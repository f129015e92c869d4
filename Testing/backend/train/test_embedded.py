"""The embedded model's data and its autoencoder's beginning do what their docstrings say."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from maisi.labels import BODY, LESIONS
from maisi.models.networks import Autoencoder
from maisi.models.variants import get_variant
from maisi.train.config import load_config
from maisi.train.data import batches
from maisi.train.embedded import dataset
from maisi.train.embedded.cases import make_labels
from maisi.train.embedded.dataset import write_cases, write_real
from maisi.train.embedded.haar import begin_as_filter_bank
from maisi.train.embedded.latents import write_latents
from maisi.train.embedded.render import render_pair
from maisi.train.embedded.tissues import NATIVE, PORTAL_VENOUS
from maisi.train.prepared import read_items, read_settings

SHAPE = (48, 44, 40)
AUTOENCODER = {"num_channels": [12, 16, 24], "num_res_blocks": [1, 1, 2], "norm_num_groups": 1, "norm_eps": 100.0}


@pytest.fixture(scope="module")
def a_folder_of_cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    write_cases(folder, range(3), {}, shape=SHAPE)
    return folder


class TestRendering:
    def test_a_pair_of_label_maps_differs_by_lesions_only(self):
        for seed in range(6):
            before, after, name = make_labels(seed, {}, shape=SHAPE)
            changed = before.array != after.array
            assert np.isin(after.array[changed], LESIONS).all()
            assert not np.isin(before.array, LESIONS).any()
            assert name == "phantom"

    def test_the_images_differ_near_lesions_only(self, a_torso_with_a_liver, a_torso_with_a_liver_lesion):
        first, second = render_pair(a_torso_with_a_liver, a_torso_with_a_liver_lesion, np.random.default_rng(0))
        lesion = a_torso_with_a_liver_lesion.array == 26
        far = ndimage.distance_transform_edt(~lesion) > 3
        assert (first.array[far] == second.array[far]).all()
        assert second.array[lesion].mean() < first.array[lesion].mean() - 25

    @pytest.mark.parametrize(("modality", "liver"), [(PORTAL_VENOUS, 106), (NATIVE, 58)])
    def test_the_phase_decides_the_liver(self, a_torso_with_a_liver, modality, liver):
        hu = render_pair(a_torso_with_a_liver, a_torso_with_a_liver, np.random.default_rng(1), modality)[0].array
        labels = a_torso_with_a_liver.array
        assert np.median(hu[labels == 1]) == pytest.approx(liver, abs=15)
        assert -140 < np.median(hu[labels == BODY]) < 100
        assert (hu[ndimage.distance_transform_edt(labels == 0) > 3] == -1000).all()

    def test_homogeneous_tissue_is_as_noisy_as_in_real_scans(self, a_torso_with_a_liver):
        hu = render_pair(a_torso_with_a_liver, a_torso_with_a_liver, np.random.default_rng(2))[0].array.astype(float)
        inside = ndimage.binary_erosion(a_torso_with_a_liver.array == 1, iterations=2)
        assert 6 < (hu - ndimage.uniform_filter(hu, 5))[inside].std() < 22


class TestDataSet:
    def test_it_is_one_that_trainings_read(self, a_folder_of_cases):
        items = {item.id: item for item in read_items(a_folder_of_cases)}
        assert {id_: item.pair for id_, item in items.items() if item.pair} == {
            f"case_00000{n}b": f"case_00000{n}a" for n in range(3)
        }
        item = items["case_000001b"]
        image = np.load(a_folder_of_cases / item.image)
        assert image.shape == item.shape == SHAPE
        assert image.dtype == np.int16
        assert {item.modality for item in items.values()} <= {PORTAL_VENOUS, NATIVE}

    def test_generation_continues_where_it_stopped(self, tmp_path, monkeypatch):
        write_cases(tmp_path, range(1), {}, shape=SHAPE)
        before = (tmp_path / "images/case_000000b.npy").stat().st_mtime_ns
        monkeypatch.setattr(dataset, "render_pair", _fails_on_the_second(dataset.render_pair))
        with pytest.raises(KeyboardInterrupt):
            write_cases(tmp_path, range(3), {}, shape=SHAPE)
        assert [item.case for item in read_items(tmp_path)] == ["case_000000"] * 2 + ["case_000001"] * 2
        assert (tmp_path / "images/case_000000b.npy").stat().st_mtime_ns == before

    def test_real_cts_are_resampled_and_padded(self, tmp_path):
        path = tmp_path / "patient" / "ct.nii.gz"
        path.parent.mkdir()
        nib.save(nib.Nifti1Image(np.full((60, 50, 20), 40, np.int16), np.diag([1.5, 1.5, 5.0, 1.0])), path)
        write_real(tmp_path / "set", [path])
        for item in read_items(tmp_path / "set"):
            assert all(n % 4 == 0 and n >= 32 for n in item.shape)
            image = np.load(tmp_path / "set" / item.image)
            assert image.max() == 40
            assert (image == 40).sum() * item.spacing[0] ** 3 == pytest.approx(90 * 75 * 100, rel=0.1)


def _fails_on_the_second(render):
    calls = []

    def fails(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return render(*arguments)

    return fails


class TestFilterBank:
    @pytest.fixture
    def an_autoencoder(self, a_folder_of_cases):
        torch.manual_seed(0)
        network = Autoencoder(**AUTOENCODER).eval()
        images = [np.load(a_folder_of_cases / item.image)[:40, :40, :40] for item in read_items(a_folder_of_cases)]
        units = get_variant("embedded").intensity.to_unit(torch.from_numpy(np.stack(images))[:, None])
        begin_as_filter_bank(network, units)
        return network

    @torch.no_grad()
    def test_latents_are_mean_and_slopes(self, an_autoencoder):
        ramp = torch.linspace(0, 1, 32)
        shapes = [[1, 1, *(32 if a == axis else 1 for a in range(3))] for axis in range(3)]
        ramps = torch.cat([ramp.view(shape).expand(1, 1, 32, 32, 32) for shape in shapes])
        slopes = an_autoencoder.encode(ramps)[0][:, 1:, 4, 4, 4]
        assert slopes.argmax(1).tolist() == [0, 1, 2]

    @torch.no_grad()
    def test_latents_and_images_do_not_depend_on_the_air_around(self, an_autoencoder):
        body = torch.full((1, 1, 48, 48, 48), 0.5)
        surrounded = F.pad(body, (32,) * 6)
        alone, in_air = (an_autoencoder.encode(x)[0] for x in (body, surrounded))
        torch.testing.assert_close(alone[0, :, 6, 6, 6], in_air[0, :, 14, 14, 14], atol=1e-3, rtol=0)
        images = an_autoencoder.decode(alone)[0, 0, 24, 24, 24], an_autoencoder.decode(in_air)[0, 0, 56, 56, 56]
        assert abs(images[0] - images[1]) < 0.01  # of the range; about 7 HU of soft tissue

    @torch.no_grad()
    def test_the_decoder_begins_as_interpolation(self, an_autoencoder):
        smooth = F.interpolate(torch.rand(1, 1, 4, 4, 4), size=(48, 48, 48), mode="trilinear")
        error = an_autoencoder.decode(an_autoencoder.encode(smooth)[0]) - smooth
        assert error[..., 8:-8, 8:-8, 8:-8].abs().mean() < 0.03


def test_latents_of_the_cases_come_in_pairs(a_folder_of_cases, tmp_path):
    from safetensors.torch import save_file

    network = Autoencoder(**AUTOENCODER)
    begin_as_filter_bank(network, torch.rand(2, 1, 32, 32, 32))
    (tmp_path / "weights").mkdir()
    save_file(network.state_dict(), tmp_path / "weights" / "autoencoder.safetensors")
    config = {"network": {"model": "embedded", "networks": {"autoencoder": AUTOENCODER}}}
    (tmp_path / "run.json").write_text(json.dumps({"config": config}))
    write_latents(a_folder_of_cases, tmp_path)
    assert read_settings(a_folder_of_cases).scale_factor == 1.0
    changes = [f"data.prepared={a_folder_of_cases}", "data.fold=null", "data.crop=[6, 6, 6]"]
    data = load_config("embedded-controlnet", changes).data
    batch = next(iter(batches(data, "paired", 0, 1, 0, get_variant("embedded").intensity)))
    assert batch["latent"].shape == (2, 2, 4, 6, 6, 6)
    assert batch["labels"].shape == (2, 2, 1, 24, 24, 24)


@pytest.mark.parametrize("name", ["embedded-decoder", "embedded-controlnet", "embedded-finish"])
def test_configurations_are_valid(name):
    assert load_config(name).network.model == "embedded"
