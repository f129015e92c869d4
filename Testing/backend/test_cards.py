"""The cards of the released models: the networks, checksums, licenses and grids of FACTS 1 and 7."""

import pytest
import torch

from maisi.errors import InputError
from maisi.geometry import plan_grid
from maisi.models.licenses import LICENSES
from maisi.models.networks import build_networks
from maisi.models.variants import get_variant, read_variant, variants

RELEASED = ("ddpm-ct", "rflow-ct", "rflow-mr", "rflow-mr-brain")
# Parameters in millions, and tensors (FACTS 1.3-1.5).
AUTOENCODER = (20.945, 130)
FLOW_UNET, FLOW_CONTROLNET = (180.501, 435), (72.037, 231)
DDPM_UNET, DDPM_CONTROLNET = (169.371, 372), (68.645, 196)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ddpm-ct", {"autoencoder": AUTOENCODER, "unet": DDPM_UNET, "controlnet": DDPM_CONTROLNET}),
        ("rflow-ct", {"autoencoder": AUTOENCODER, "unet": FLOW_UNET, "controlnet": FLOW_CONTROLNET}),
        ("rflow-mr", {"autoencoder": AUTOENCODER, "unet": FLOW_UNET}),
        ("rflow-mr-brain", {"autoencoder": AUTOENCODER, "unet": FLOW_UNET}),
    ],
)
def test_the_networks_have_the_published_size(name, expected):
    with torch.device("meta"):
        built = build_networks(get_variant(name).networks)
    found = {
        role: (round(sum(p.numel() for p in network.parameters()) / 1e6, 3), len(network.state_dict()))
        for role, network in built.items()
    }
    assert found == expected


@pytest.mark.parametrize("name", RELEASED)
def test_every_network_has_its_file(name):
    variant = get_variant(name)
    assert [file.role for file in variant.weights] == list(variant.networks)
    for file in variant.weights:
        assert file.repository.startswith("nvidia/NV-Generate-")
        assert file.path == f"models/{file.file}"
        assert file.sha256 is None or len(bytes.fromhex(file.sha256)) == 32
        assert file.license in LICENSES


def test_the_published_checksums():
    known = {file.file: file.sha256[:8] for v in variants().values() for file in v.weights if file.sha256}
    released = {name: start for name, start in known.items() if name.endswith(".pt")}
    assert released == {
        "autoencoder_v1.pt": "1f8a7a05",
        "diff_unet_3d_rflow-ct.pt": "cfc1ec59",
        "controlnet_3d_rflow-ct.pt": "2f16d7a6",
    }


def test_the_mr_body_model_is_for_research_only():
    assert {name: LICENSES[get_variant(name).license].research_only for name in RELEASED} == {
        "ddpm-ct": False,
        "rflow-ct": False,
        "rflow-mr": True,
        "rflow-mr-brain": False,
    }


@pytest.mark.parametrize(
    ("name", "largest", "modality", "code", "guidance", "steps"),
    [
        ("ddpm-ct", (512, 512, 768), None, None, 0, 1000),
        ("rflow-ct", (512, 512, 768), "ct", 1, 0, 30),
        ("rflow-mr", (512, 512, 128), "dwi", 13, 15, 30),
        ("rflow-mr-brain", (512, 512, 256), "flair skull-stripped", 31, 2, 30),
    ],
)
def test_limits_and_defaults(name, largest, modality, code, guidance, steps):
    variant = get_variant(name)
    assert variant.modality_code(modality) == code
    assert (variant.guidance, variant.schedule.steps) == (guidance, steps)
    assert plan_grid(largest, _spaced(0.7), variant.grid).model_shape == largest
    larger = plan_grid((largest[0], largest[1], largest[2] + 128), _spaced(0.7), variant.grid)
    assert larger.resampled  # made to fit


def _spaced(mm):
    return torch.diag(torch.tensor([mm, mm, mm, 1.0], dtype=torch.float64)).numpy()


@pytest.mark.parametrize("name", RELEASED)
def test_every_recommended_field_of_view_fits(name):
    variant = get_variant(name)
    for fov in variant.fields_of_view:
        assert min(fov.mm[:2]) >= variant.grid.recommended_fov_min_mm, fov.name
        assert max(fov.mm[:2]) <= variant.grid.recommended_fov_max_mm, fov.name


def test_values_of_mr_have_no_upper_limit_and_those_of_ct_have():
    bright = torch.tensor([-0.5, 0.0, 0.5, 1.4])
    assert get_variant("rflow-mr").intensity.to_hu(bright).tolist() == pytest.approx([0, 0, 500, 1400])
    assert get_variant("rflow-ct").intensity.to_hu(bright).tolist() == pytest.approx([-1000, -1000, 0, 1000])


def test_a_broken_card_gets_a_sentence(tmp_path):
    card = tmp_path / "broken.json"
    card.write_text('{"name": "x"}')
    with pytest.raises(InputError, match="model card"):
        read_variant(card)


def test_unknown_models_are_answered_with_the_known_ones():
    with pytest.raises(InputError, match="rflow-ct"):
        get_variant("nope")
