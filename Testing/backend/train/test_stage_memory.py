"""Memory: the contrastive loss on features against that on outputs, and recomputed activations."""

from __future__ import annotations

import pytest
import torch

from helpers.tiny_stages import BEGIN, generator, latent_batch, tiny_config, tiny_stage, write_random_weights
from maisi.train.stages import controlnet


@pytest.fixture
def large_volumes(monkeypatch):
    """Every volume counts as one whose mask embedding is computed again."""
    monkeypatch.setattr(controlnet, "KEPT_VOXELS", 0)


def test_the_loss_on_features_keeps_less_for_the_backward_pass(tmp_path, large_volumes):
    """Counted, because the peak of a small process depends on the allocator."""
    write_random_weights(tmp_path, tiny_config("diffusion", tmp_path), "unet")
    labels = torch.full((1, 1, 80, 80, 80), 1, dtype=torch.uint8)
    healed = labels.clone()
    labels[..., 20:60, 20:60, 20:60] = 26
    batch = {**latent_batch(), "latent": torch.randn(1, 4, 20, 20, 20), "labels": labels, "healed": healed}

    def kept(feature_voxels, weight):
        contrastive = {"feature_voxels": feature_voxels, "weight": weight}
        config = tiny_config("controlnet", tmp_path, weights={"unet": str(tmp_path)}, contrastive=contrastive)
        stage, count = tiny_stage(config), Counted()
        with torch.autograd.graph.saved_tensors_hooks(count.pack, lambda tensor: tensor):
            stage("network", batch, generator(), BEGIN)
        return count.bytes

    plain, features, outputs = kept(0, 0.0), kept(0, 0.01), kept(10**9, 0.01)
    print(f"MB: without the loss {plain / 1e6:.0f}, on features {features / 1e6:.0f}, on outputs {outputs / 1e6:.0f}")
    assert plain < features < outputs
    assert features - plain < 0.7 * (outputs - plain)


def test_a_mask_embedding_that_is_computed_again_has_the_same_gradient(tmp_path, monkeypatch):
    write_random_weights(tmp_path, tiny_config("diffusion", tmp_path), "unet")
    config = tiny_config("controlnet", tmp_path, weights={"unet": str(tmp_path)})
    gradients = []
    for voxels in (controlnet.KEPT_VOXELS, 0):
        monkeypatch.setattr(controlnet, "KEPT_VOXELS", voxels)
        stage = tiny_stage(config)
        stage("network", latent_batch(), generator(), BEGIN)[0].backward()
        gradients.append([p.grad for p in stage.controlnet.controlnet_cond_embedding.parameters()])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("stage", ["autoencoder", "controlnet", "mask_autoencoder"])
def test_recomputed_activations_give_the_same_gradients_from_less(tmp_path, stage):
    weights = {}
    if stage == "controlnet":
        write_random_weights(tmp_path, tiny_config("diffusion", tmp_path), "unet")
        weights = {"unet": str(tmp_path)}
    quiet = {"perceptual_weight": 0, "adversarial_weight": 0} if stage == "autoencoder" else {}
    config = tiny_config(stage, tmp_path, weights=weights, **quiet)
    saving = config.model_copy(update={"run": config.run.model_copy(update={"gradient_checkpointing": True})})
    kept, gradients = [], []
    for one in (config, saving):
        made, count = tiny_stage(one), Counted()
        with torch.autograd.graph.saved_tensors_hooks(count.pack, lambda tensor: tensor):
            loss, _ = made("network", {**latent_batch(), "image": torch.rand(1, 1, 16, 16, 16)}, generator(), BEGIN)
        kept.append(count.bytes)
        loss.backward()
        gradients.append([p.grad for p in made.parameters_of("network")])
    torch.testing.assert_close(*gradients)
    assert kept[1] < 0.8 * kept[0]


class Counted:
    """Bytes that the backward pass keeps."""

    def __init__(self) -> None:
        self.bytes = 0

    def pack(self, tensor):
        self.bytes += tensor.numel() * tensor.element_size()
        return tensor
