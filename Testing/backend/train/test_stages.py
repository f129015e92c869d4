"""Each stage on made-up batches: it learns, and gradients go where they should and nowhere else."""

from __future__ import annotations

import pytest
import torch

from helpers.tiny_stages import (
    BEGIN,
    CPU,
    END,
    NETWORKS,
    generator,
    healed,
    latent_batch,
    lower_loss,
    random_labels,
    tiny_config,
    tiny_stage,
    write_random_weights,
)
from maisi.errors import InputError, WeightsError
from maisi.models.checkpoint import read_checkpoint
from maisi.models.mask_networks import CLASS_IDS, classes_of, ids_of
from maisi.models.variants import get_variant
from maisi.train.stages.autoencoder import AutoencoderStage
from maisi.train.stages.controlnet import copy_matching
from maisi.train.stages.latent import forget_modality, standard_deviation
from maisi.train.stages.mask_generator import organ_sizes, organ_volumes, scale_of_sizes
from maisi.train.stages.start import Start

# ---- diffusion


@pytest.mark.parametrize("model", ["embedded", "ddpm-ct"])
@pytest.mark.parametrize("loss", ["squared", "absolute"])
def test_diffusion_learns_a_batch(tmp_path, model, loss):
    stage = tiny_stage(four_levels(tiny_config("diffusion", tmp_path, model, loss=loss, scale_factor=1.0)))
    first, last = lower_loss(stage, latent_batch())
    assert last < 0.9 * first
    assert all(p.grad is not None for p in stage.parameters_of("network"))


def four_levels(config):
    """Released models have four levels."""
    if config.network.model == "embedded":
        return config
    levels = {"num_channels": [8, 8, 8, 8], "num_head_channels": [0, 0, 8, 8], "norm_num_groups": 4}
    sizes = {**NETWORKS, "unet": levels, "controlnet": {**levels, "conditioning_embedding_num_channels": [4, 4, 8]}}
    sizes["autoencoder"] = {"num_channels": [8, 8, 8], "norm_num_groups": 4}
    return config.model_copy(update={"network": config.network.model_copy(update={"networks": sizes})})


def test_latents_are_scaled_and_the_export_tells_how(tmp_path):
    stage = tiny_stage(tiny_config("diffusion", tmp_path, scale_factor=0.5))
    batch = latent_batch()
    noisy = stage.noisy(batch, generator())
    noise = torch.randn(batch["latent"].shape, generator=after_times(stage, batch))
    torch.testing.assert_close(noisy.target, 0.5 * batch["latent"] - noise)
    (path,) = stage.export(tmp_path)
    state, factor = read_checkpoint(path)
    assert factor == 0.5
    assert state.keys() == stage.unet.state_dict().keys()


@pytest.mark.parametrize("name", ["diffusion", "controlnet"])
def test_channels_of_the_latents_can_count_differently(tmp_path, a_unet, name):
    """Errors of twice the size are squared errors of four times the size."""
    weights = {"unet": str(a_unet)} if name == "controlnet" else {}
    options = {"scale_factor": 1.0} | ({"contrastive": {"weight": 0.0}} if weights else {})
    plain = tiny_stage(tiny_config(name, tmp_path, weights=weights, **options))
    doubled = tiny_stage(tiny_config(name, tmp_path, weights=weights, channel_scale=[2.0] * 4, **options))
    losses = [stage("network", latent_batch(), generator(), BEGIN)[0] for stage in (plain, doubled)]
    torch.testing.assert_close(losses[1], 4 * losses[0])
    with pytest.raises(InputError, match="channel_scale has 3 numbers; the latents have 4"):
        tiny_stage(tiny_config(name, tmp_path, weights=weights, channel_scale=[1.0] * 3, **options))


def test_sizes_that_cannot_be_halved_get_a_sentence(tmp_path):
    stage = tiny_stage(tiny_config("diffusion", tmp_path, scale_factor=1.0))
    with pytest.raises(InputError, match="--multiple 16"):
        stage.noisy({**latent_batch(), "latent": torch.zeros(1, 4, 8, 8, 6)}, generator())


def after_times(stage, batch):
    """The generator as it is when the noise is drawn."""
    used = generator()
    stage.process.times(batch["latent"], used)
    return used


def test_conditions_are_those_of_sampling(tmp_path):
    batch = latent_batch()
    conditions = tiny_stage(tiny_config("diffusion", tmp_path, scale_factor=1.0)).conditions(batch, generator())
    assert conditions.spacing.tolist() == [[250.0] * 3]
    assert conditions.top is None
    stage = tiny_stage(four_levels(tiny_config("diffusion", tmp_path, "ddpm-ct", scale_factor=1.0)))
    conditions = stage.conditions(batch, generator())
    assert conditions.modality is None
    assert conditions.top.tolist() == [[0, 100, 0, 0]]
    assert conditions.bottom.tolist() == [[0, 0, 100, 0]]


def test_modalities_are_forgotten():
    codes = torch.tensor([0, 1, 2, 7, 8, 9, 33])
    assert forget_modality(codes, 1, 0, generator()).tolist() == [0, 1, 1, 1, 8, 8, 8]
    assert forget_modality(codes, 0, 1, generator()).sum() == 0
    assert forget_modality(codes, 0, 0, generator()).tolist() == codes.tolist()
    many = torch.full((4000,), 2)
    forgotten = forget_modality(many, 0.1, 0.1, generator())
    assert (forgotten == 1).float().mean() == pytest.approx(0.09, abs=0.02)
    assert (forgotten == 0).float().mean() == pytest.approx(0.1, abs=0.02)


def test_fine_tuning_keeps_the_scale_factor(tmp_path):
    config = tiny_config("diffusion", tmp_path, weights={"unet": str(tmp_path)})
    write_random_weights(tmp_path, config, "unet", scale_factor=1.25)
    assert tiny_stage(config).scale_factor.item() == 1.25


def test_the_scale_factor_of_a_models_card_is_kept(tmp_path):
    config = tiny_config("diffusion", tmp_path, weights={"unet": "model"})
    whole = config.network.model_copy(update={"networks": {}})
    assert Start.of(whole).state("unet").scale_factor == get_variant("embedded").scale_factor


def test_the_standard_deviation_is_that_of_all_values_together():
    some = [torch.randn((2, 3)) + 5, torch.randn((4, 5)) * 3]
    expected = torch.cat([t.flatten() for t in some]).std(unbiased=False).item()
    assert standard_deviation(some) == pytest.approx(expected, rel=1e-6)


# ---- ControlNet


@pytest.fixture
def a_unet(tmp_path):
    """The folder of a run that trained a UNet."""
    return write_random_weights(tmp_path / "unet", tiny_config("diffusion", tmp_path), "unet")


def controlnet_config(tmp_path, a_unet, **settings):
    return tiny_config("controlnet", tmp_path, weights={"unet": str(a_unet)}, initial_output=0.05, **settings)


@pytest.mark.parametrize("target", ["paper", "code"])
def test_controlnet_learns_a_batch(tmp_path, a_unet, target):
    stage = tiny_stage(controlnet_config(tmp_path, a_unet, contrastive={"target": target}))
    first, last = lower_loss(stage, latent_batch(2), steps=6)
    assert last < first


def test_gradients_reach_the_controlnet_only(tmp_path, a_unet):
    stage = tiny_stage(controlnet_config(tmp_path, a_unet))
    stage("network", latent_batch(2), generator(), BEGIN)[0].backward()
    assert all(p.grad is not None for p in stage.controlnet.parameters())
    assert all(p.grad is None and not p.requires_grad for p in stage.unet.parameters())
    assert not any(name.startswith("unet") for name in stage.state_dict())
    stage.train()
    assert not stage.unet.training


def test_the_contrastive_part_alone_reaches_the_mask_embedding(tmp_path, a_unet):
    """From a tumor smaller than a latent voxel, too."""
    stage = tiny_stage(controlnet_config(tmp_path, a_unet))
    torch.nn.init.normal_(stage.controlnet.controlnet_cond_embedding.conv_out.conv.weight)  # it begins with zeros
    batch = latent_batch()
    batch["labels"] = batch["healed"].clone()
    batch["labels"][..., 13:15, 13:15, 13:15] = 26
    noisy = stage.noisy(batch, generator())
    inside, _ = stage._contrast(stage._pass(noisy, batch["labels"], None), noisy, batch)
    assert inside < 0
    inside.backward()
    gradient = stage.controlnet.controlnet_cond_embedding.conv_in.conv.weight.grad
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("voxels", [0, 10**9])
def test_the_unets_first_half_runs_once_for_both_passes(tmp_path, a_unet, monkeypatch, voxels):
    stage = tiny_stage(controlnet_config(tmp_path, a_unet, contrastive={"feature_voxels": voxels}))
    calls = {"down": 0, "up": 0}
    for half in calls:
        original = getattr(stage.unet, half)

        def counted(*arguments, half=half, original=original):
            calls[half] += 1
            return original(*arguments)

        monkeypatch.setattr(stage.unet, half, counted)
    stage("network", latent_batch(), generator(), BEGIN)
    assert calls == {"down": 1, "up": 1 if voxels == 0 else 2}


def test_both_passes_equal_whole_passes(tmp_path, a_unet):
    stage = tiny_stage(controlnet_config(tmp_path, a_unet)).eval()
    batch = latent_batch()
    noisy = stage.noisy(batch, generator())
    with torch.no_grad():
        ours = stage._pass(noisy, batch["labels"], None).prediction
        embedded = stage.controlnet.embed_mask(bits(batch["labels"]))
        residuals = stage.controlnet(noisy.x, noisy.times, embedded, noisy.conditions.modality)
        whole = stage.unet(noisy.x, noisy.times, noisy.conditions, residuals)
    torch.testing.assert_close(ours, whole)


def bits(labels):
    return torch.cat([(labels >> bit & 1).float() for bit in range(8)], dim=1)


def test_lambda_falls_at_half(tmp_path, a_unet):
    stage = tiny_stage(controlnet_config(tmp_path, a_unet))
    batch = latent_batch()
    for progress, share in ((BEGIN, 0.01), (END, 0.001)):
        loss, figures = stage("network", batch, generator(), progress)
        contrast = figures["inside"] + figures["outside"]
        assert (loss - figures["flow"]).item() == pytest.approx(share * contrast.item(), rel=1e-3)


def test_without_lesions_the_contrastive_part_is_zero(tmp_path, a_unet):
    stage = tiny_stage(controlnet_config(tmp_path, a_unet))
    batch = latent_batch()
    batch["labels"] = batch["healed"]
    _, figures = stage("network", batch, generator(), BEGIN)
    assert figures["inside"] == figures["outside"] == 0


def test_lesions_weigh_a_hundred_times(tmp_path, a_unet):
    stage = tiny_stage(controlnet_config(tmp_path, a_unet))
    target = torch.zeros((1, 4, 8, 8, 8))
    prediction = target.clone()
    prediction[..., 3, 3, 3] = 1  # within the tumor
    inside = stage._flow_loss(prediction, target, random_labels()).item()
    outside = stage._flow_loss(prediction.flip(2, 3, 4).roll(3, 2), target, random_labels()).item()
    assert inside / outside == pytest.approx(100)


def test_a_new_controlnet_is_a_copy_without_effect(tmp_path, a_unet):
    config = tiny_config("controlnet", tmp_path, weights={"unet": str(a_unet)})
    stage = tiny_stage(config)
    shared = copy_matching(stage.unet, stage.controlnet)
    assert shared > 50
    assert torch.equal(stage.controlnet.conv_in.conv.weight, stage.unet.conv_in.conv.weight)
    batch = latent_batch()
    noisy = stage.noisy(batch, generator())
    with torch.no_grad():
        with_mask = stage._pass(noisy, batch["labels"], None).prediction
        torch.testing.assert_close(with_mask, stage.unet(noisy.x, noisy.times, noisy.conditions))


class TestJointTraining:
    def test_both_networks_learn_and_some_images_have_no_mask(self, tmp_path):
        stage = tiny_stage(
            tiny_config("controlnet", tmp_path, train_unet=True, without_mask=0.5, initial_output=0.05, scale_factor=1)
        )
        stage("network", latent_batch(2), generator(), BEGIN)[0].backward()
        assert all(p.grad is not None for p in stage.parameters_of("network"))
        assert {path.name for path in stage.export(tmp_path)} == {"unet.safetensors", "controlnet.safetensors"}
        noisy = stage.noisy(latent_batch(), generator())
        many = noisy._replace(x=noisy.x.expand(1000, -1, -1, -1, -1))
        assert stage._kept(many, generator()).mean().item() == pytest.approx(0.5, abs=0.05)

    def test_an_image_without_its_mask_has_no_contrast(self, tmp_path):
        stage = tiny_stage(
            tiny_config("controlnet", tmp_path, train_unet=True, without_mask=0.99, initial_output=0.05, scale_factor=1)
        )
        torch.nn.init.normal_(stage.controlnet.controlnet_cond_embedding.conv_out.conv.weight)
        _, figures = stage("network", latent_batch(), generator(), BEGIN)
        assert figures["inside"] == figures["outside"] == 0

    def test_pairs_learn_their_difference(self, tmp_path):
        contrastive = {"target": "pair", "weight": 1.0, "later_weight": 1.0}
        stage = tiny_stage(
            tiny_config(
                "controlnet",
                tmp_path,
                pairs=True,
                train_unet=True,
                initial_output=0.05,
                scale_factor=1,
                lesion_weight=7,
                normalize_weights=True,
                contrastive=contrastive,
            )
        )
        one = latent_batch()
        latent = torch.stack([one["latent"], one["latent"] + (one["labels"] == 26).float()[:, :, ::4, ::4, ::4]], 1)
        batch = {**one, "latent": latent, "labels": torch.stack([one["healed"], one["labels"]], 1)}
        _, before = stage("network", batch, generator(), BEGIN)
        lower_loss(stage, batch, steps=15)
        _, after = stage("network", batch, generator(), BEGIN)
        assert after["difference"] < 0.9 * before["difference"]
        assert stage.validate(batch, generator()).keys() == {"score", "flow", "difference"}

    def test_pairs_and_their_target_belong_together(self, tmp_path, a_unet):
        with pytest.raises(InputError, match="belong together"):
            tiny_stage(controlnet_config(tmp_path, a_unet, pairs=True))


def test_a_controlnet_needs_a_unet(tmp_path):
    with pytest.raises(InputError, match=r"network\.weights\.unet"):
        tiny_stage(tiny_config("controlnet", tmp_path, scale_factor=1))


# ---- autoencoder


def an_image(seed=0):
    coarse = torch.rand((1, 1, 4, 4, 4), generator=generator(seed))
    return {"image": torch.nn.functional.interpolate(coarse, size=(16, 16, 16), mode="trilinear")}


PLAIN = {"perceptual_weight": 0, "adversarial_weight": 0}
SMALL_DISCRIMINATOR = {"discriminator_channels": 4, "discriminator_layers": 1}


class TestAutoencoder:
    def test_it_learns_a_batch_against_a_discriminator(self, tmp_path):
        pytest.importorskip("efficientnet_lite_pytorch")
        stage = tiny_stage(tiny_config("autoencoder", tmp_path, **SMALL_DISCRIMINATOR))
        assert stage.players == ("network", "discriminator")
        first, last = lower_loss(stage, an_image(), steps=6)
        assert last < first
        _, figures = stage("network", an_image(), generator(), BEGIN)
        assert figures.keys() == {"reconstruction", "kl", "perceptual", "adversarial", "latent_std"}
        assert stage.validate(an_image(), generator())["psnr"] > 5
        path, _ = stage.export(tmp_path / "run" / "weights")
        assert read_checkpoint(path).state.keys() == stage.autoencoder.state_dict().keys()
        weights = {"autoencoder": str(tmp_path / "run")}
        again = tiny_stage(tiny_config("autoencoder", tmp_path, weights=weights, **SMALL_DISCRIMINATOR), seed=7)
        for mine, other in zip(again.parameters(), stage.parameters(), strict=True):
            assert torch.equal(mine, other)

    def test_players_have_their_own_parameters(self, tmp_path):
        stage = tiny_stage(tiny_config("autoencoder", tmp_path, perceptual_weight=0, **SMALL_DISCRIMINATOR))
        network, discriminator = (set(stage.parameters_of(player)) for player in stage.players)
        assert not network & discriminator
        assert network | discriminator == set(stage.parameters())
        stage("network", an_image(), generator(), BEGIN)
        stage("discriminator", an_image(), generator(), BEGIN)[0].backward()
        assert all(p.grad is None for p in network)
        assert all(p.grad is not None for p in discriminator)

    def test_the_discriminator_sees_the_images_just_made(self, tmp_path, monkeypatch):
        stage = tiny_stage(tiny_config("autoencoder", tmp_path, perceptual_weight=0, **SMALL_DISCRIMINATOR))
        batch, made = an_image(), []
        original = stage._reconstruct
        monkeypatch.setattr(stage, "_reconstruct", lambda *a: made.append(1) or original(*a))
        stage("network", batch, generator(), BEGIN)
        stage("discriminator", batch, generator(), BEGIN)
        assert len(made) == 1
        stage("discriminator", an_image(1), generator(), BEGIN)
        assert len(made) == 2

    def test_a_frozen_encoder_keeps_its_latents(self, tmp_path):
        stage = tiny_stage(tiny_config("autoencoder", tmp_path, freeze="encoder", **PLAIN))
        batch = an_image()
        before = stage.autoencoder.encode(batch["image"])[0]
        first, last = lower_loss(stage, batch, steps=6)
        assert last < first
        assert torch.equal(before, stage.autoencoder.encode(batch["image"])[0])

    def test_sigma_begins_as_told(self, tmp_path):
        stage = tiny_stage(tiny_config("autoencoder", tmp_path, initial_sigma=0.05, **PLAIN))
        sigma = stage.autoencoder.encode(an_image()["image"])[1]
        torch.testing.assert_close(sigma, torch.full_like(sigma, 0.05))

    def test_the_window_is_in_hu(self, tmp_path):
        settings = {**PLAIN, "window_weight": 1.0, "window": (-150, 250)}
        stage = tiny_stage(tiny_config("autoencoder", tmp_path, **settings))
        unit = stage.start.variant.intensity.to_unit(torch.tensor([-150.0, 250.0]))
        image = unit.mean().expand(1, 1, 8, 8, 8)
        _, window = stage._fit(image + (unit[1] - unit[0]) / 10, image, generator())["window"]
        assert window.item() == pytest.approx(0.1, rel=1e-3)

    def test_a_missing_feature_network_gets_a_sentence(self, tmp_path):
        with pytest.raises(InputError, match="no feature network"):
            tiny_stage(tiny_config("autoencoder", tmp_path, perceptual_network="nowhere.pt"))


# ---- mask generator


class TestMaskGenerator:
    def test_classes_are_those_of_the_facts(self):
        assert len(CLASS_IDS) == 125
        assert [CLASS_IDS[c] for c in (0, 2, 15, 18, 111, 121, 122, 123, 124)] == [
            0,
            3,
            17,
            23,
            118,
            128,
            129,
            132,
            200,
        ]
        ids = torch.tensor(CLASS_IDS, dtype=torch.uint8)
        assert torch.equal(ids_of(classes_of(ids)), ids)
        assert ids_of(classes_of(torch.tensor([116, 117, 250], dtype=torch.uint8))).tolist() == [14, 5, 200]

    def test_the_autoencoder_learns_a_batch(self, tmp_path):
        stage = tiny_stage(tiny_config("mask_autoencoder", tmp_path))
        batch = {"labels": random_labels()[..., 4:20, 4:20, 4:20], "spacing": torch.ones((1, 3))}
        first, last = lower_loss(stage, batch, steps=12, rate=2e-2)
        assert last < 0.7 * first
        assert stage.validate(batch, generator())["right"] > 0.3

    def test_diffusion_learns_a_batch(self, tmp_path, monkeypatch):
        batch = {"labels": random_labels(2), "spacing": torch.full((2, 3), 2.0)}
        monkeypatch.setattr("maisi.train.stages.mask_generator._LabelStage.batches", lambda *_: iter([batch] * 9))
        config = tiny_config("mask_diffusion", tmp_path, weights={"mask_autoencoder": str(tmp_path)})
        write_random_weights(tmp_path, config, "mask_autoencoder")
        stage = tiny_stage(config)
        scaled = stage._encode(batch["labels"]) * stage.scale_factor
        assert scaled.std(unbiased=False).item() == pytest.approx(1, rel=1e-4)
        assert not any(name.startswith("mask_autoencoder") for name in stage.state_dict())
        first, last = lower_loss(stage, batch)
        assert last < 0.9 * first

    def test_sizes_are_ranks_among_the_data_and_minus_one_without(self):
        labels = random_labels(2)
        volumes = organ_volumes(labels, torch.tensor([[2.0, 2.0, 2.0], [1.0, 1.0, 1.0]]))
        tumor = 8**3 * 8 / 1000
        assert volumes[0, 7].item() == pytest.approx(tumor)
        assert volumes[1, 7] == 0
        scale = scale_of_sizes(torch.arange(1.0, 102.0)[:, None].expand(-1, 10))
        sizes = organ_sizes(torch.tensor([[0, 1, 51, 101, 500] * 2], dtype=torch.float64), scale)
        assert sizes[0, :5].tolist() == pytest.approx([-1, 0, 0.5, 1, 1], abs=0.011)
        unknown = scale_of_sizes(torch.zeros((3, 10), dtype=torch.float64))
        assert organ_sizes(torch.ones((1, 10)), unknown).tolist() == [[0.0] * 10]


# ---- beginnings


def test_a_networks_beginning_is_checked(tmp_path, a_unet):
    config = tiny_config("diffusion", tmp_path, weights={"unet": str(tmp_path)})
    with pytest.raises(InputError, match="no trained unet"):
        tiny_stage(config)
    wide = config.model_copy(update={"network": config.network.model_copy(update={"weights": {"unet": str(a_unet)}})})
    networks = {"unet": {**NETWORKS["unet"], "num_channels": [16, 16, 32]}}
    wide = wide.model_copy(update={"network": wide.network.model_copy(update={"networks": networks})})
    with pytest.raises(WeightsError, match="does not fit"):
        tiny_stage(wide)
    broken = config.model_copy(update={"network": config.network.model_copy(update={"networks": {"unet": {"x": 1}}})})
    with pytest.raises(InputError, match="sizes"):
        tiny_stage(broken)


def test_a_card_can_be_changed(tmp_path):
    config = tiny_config("diffusion", tmp_path)
    network = config.network.model_copy(update={"card": {"schedule": {"time_scale": 2.0}}})
    start = Start.of(network)
    assert start.variant.schedule.time_scale == 2.0
    assert start.variant.schedule.steps == Start.of(config.network).variant.schedule.steps
    with pytest.raises(InputError, match="card"):
        Start.of(config.network.model_copy(update={"card": {"grid": {"sizes": 3}}}))


def test_weights_of_a_model_are_taken(tmp_path):
    config = tiny_config("autoencoder", tmp_path, **PLAIN, freeze="encoder")
    network = config.network.model_copy(update={"networks": {}, "weights": {"autoencoder": "model"}})
    stage = AutoencoderStage(config.model_copy(update={"network": network}), Start.of(network), CPU)
    image = an_image()["image"]
    assert (stage.autoencoder.decode(stage.autoencoder.encode(image)[0]) - image).abs().mean() < 0.05


def test_healed_labels_have_no_lesion():
    assert not (healed(random_labels()) == 26).any()
