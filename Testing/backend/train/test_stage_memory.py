"""Memory: the contrastive loss on features against that on outputs, and recomputed activations."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from helpers.tiny_stages import BEGIN, generator, latent_batch, tiny_config, tiny_stage, write_random_weights

# Peak memory only ever grows, so the form that should need less runs first.
_MEASURE = """
import resource, sys
from pathlib import Path
import torch
from helpers.tiny_stages import BEGIN, generator, tiny_config, tiny_stage, write_random_weights

folder = Path(sys.argv[1])
write_random_weights(folder, tiny_config("diffusion", folder), "unet")
size = 20
labels = torch.full((1, 1, *[4 * size] * 3), 1, dtype=torch.uint8)
healed = labels.clone()
labels[..., 20:60, 20:60, 20:60] = 26
batch = {"latent": torch.randn(1, 4, *[size] * 3), "spacing": torch.ones(1, 3), "modality": torch.ones(1).long(),
         "labels": labels, "healed": healed}
for voxels, weight in ((0, 0.0), (0, 0.01), (10**9, 0.01)):
    contrastive = {"feature_voxels": voxels, "weight": weight}
    config = tiny_config("controlnet", folder, weights={"unet": str(folder)}, contrastive=contrastive)
    loss, _ = tiny_stage(config)("network", batch, generator(), BEGIN)
    loss.backward()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is read as on Linux")
def test_the_loss_on_features_needs_less_memory(tmp_path):
    child, paths = [sys.executable, "-c", _MEASURE, str(tmp_path)], os.pathsep.join(sys.path)
    told = subprocess.check_output(child, text=True, env={**os.environ, "PYTHONPATH": paths})
    plain, features, outputs = map(float, told.split())
    print(f"peak MB: without the loss {plain:.0f}, on features {features:.0f}, on outputs {outputs:.0f}")
    assert outputs - plain > 1.2 * (features - plain)


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
