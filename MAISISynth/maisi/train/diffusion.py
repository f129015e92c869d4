"""Stage 3: the rectified-flow UNet and the ControlNet, trained together on counterfactual pairs.

Clock of the paper's code: t = 1 (time 1000) is noise, t = 0 data; x_t = (1 - t) x + t noise; the network predicts
v = x - noise (FACTS 1.7). Both images of a pair get the same noise and the same time, and besides the flow loss the
*difference* of the two predictions is compared with the true difference of the two latents: that is what makes a lesion
appear where the mask says and leaves the rest alone. It is the region-specific contrastive idea of MAISI-v2 with the
known answer as the target in place of a fixed margin.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from maisi.models.networks import Conditions, ControlNet, DiffusionUNet
from maisi.train.latents import LatentCase, crop
from maisi.train.loop import Loop
from maisi.train.pool import latent_pool

CT, CT_WITHOUT_CONTRAST = 1, 2  # modality codes, FACTS 2.3


def pair_losses(velocity: Tensor, target: Tensor, lesion: Tensor, lesion_weight: float) -> tuple[Tensor, Tensor]:
    """Flow loss and difference loss of a batch of pairs.

    Args:
        velocity, target: ``[P, 2, 4, i, j, k]``. lesion: ``[P, 1, 1, i, j, k]`` fraction of changed voxels.
        lesion_weight: extra weight of changed voxels.

    Returns:
        (weighted mean squared error of the velocities, of their differences within each pair).
    """
    weight = 1 + lesion_weight * lesion
    flow = ((velocity - target) ** 2 * weight).mean() / weight.mean()
    difference = (velocity[:, 1] - velocity[:, 0]) - (target[:, 1] - target[:, 0])
    return flow, (difference**2 * weight[:, 0]).mean()


def sample_times(count: int, rng: np.random.Generator) -> Tensor:
    """Times 0...1, denser near noise, where the label map decides most."""
    u = rng.random(count)
    return torch.from_numpy(2 * u / (1 + u)).float()


def train_diffusion(
    run: Path,
    unet: DiffusionUNet,
    controlnet: ControlNet,
    latents: Path,
    minutes: float,
    size: int = 16,
    pairs: int = 2,
    lesion_weight: float = 6.0,
    bfloat16: bool = True,
    learning_rate: float = 1e-3,
) -> None:
    """Train both networks in place (resumable in ``run``) and leave the averaged weights in them.

    Args:
        latents: folder of encoded cases. size: crop edge in latent voxels. pairs: pairs per batch.
    """
    pool = latent_pool(latents)
    for block in (*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block):
        torch.nn.init.normal_(next(block.parameters()), std=0.02)
    controlnet.controlnet_cond_embedding.requires_grad_(False)
    for network in (unet, controlnet):
        network.to(memory_format=torch.channels_last_3d)

    def loss(rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        batch = [crop(pool.draw(rng), size, rng) for _ in range(pairs)]
        velocity, target = _predict(unet, controlnet, batch, rng, bfloat16)
        lesion = torch.stack([c.lesion for c in batch])[:, None]
        flow, difference = pair_losses(velocity, target, lesion, lesion_weight)
        return flow + difference, {"flow": flow.item(), "difference": difference.item()}

    loop = Loop(run, {"unet": unet, "controlnet": controlnet}, minutes, learning_rate)
    loop.train(loss)
    loop.averaged()


def _predict(
    unet: DiffusionUNet, controlnet: ControlNet, batch: list[LatentCase], rng: np.random.Generator, bfloat16: bool
) -> tuple[Tensor, Tensor]:
    """Velocities and their targets, ``[P, 2, 4, i, j, k]``."""
    clean = torch.stack([c.latents for c in batch]).float()
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    noise = torch.randn(clean[:, :1].shape, generator=generator).expand_as(clean)
    times = sample_times(len(batch), rng)
    t = times.view(-1, 1, 1, 1, 1, 1)
    noisy = ((1 - t) * clean + t * noise).flatten(0, 1).contiguous(memory_format=torch.channels_last_3d)
    embedding = torch.stack([c.embedding for c in batch]).float().flatten(0, 1)
    time = 1000 * times.repeat_interleave(2)
    spacing = 100 * torch.stack([c.spacing for c in batch]).repeat_interleave(2, 0)
    modality = torch.tensor([CT if c.contrast else CT_WITHOUT_CONTRAST for c in batch]).repeat_interleave(2)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        residuals = controlnet(noisy, time, embedding.contiguous(memory_format=torch.channels_last_3d), modality)
        velocity = unet(noisy, time, Conditions(spacing, modality), residuals)
    return velocity.float().view_as(clean), clean - noise
