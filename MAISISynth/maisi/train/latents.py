"""Between the stages: cases encoded once into latents and mask embeddings, so that diffusion training stays small."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from maisi.models.intensity import IntensityScale
from maisi.models.networks import COMPRESSION, Autoencoder, ControlNet, mask_bits
from maisi.train.cases import read_case


@dataclass(frozen=True)
class LatentCase:
    """A case in latent space; the first axis is 0 without, 1 with lesions.

    Attributes:
        latents: half ``[2, 4, i, j, k]``. embedding: half ``[2, C, i, j, k]``.
        lesion: float ``[1, i, j, k]``: fraction of each latent voxel in which the two label maps differ.
        spacing: ``[3]`` mm of the image grid. contrast: portal-venous or not.
    """

    latents: Tensor
    embedding: Tensor
    lesion: Tensor
    spacing: Tensor
    contrast: bool


def standardize_latents(network: Autoencoder, scale: IntensityScale, cases: list[Path]) -> None:
    """Make each latent channel zero-mean and unit-variance inside the body, by folding it into the 1x1x1 convolutions.

    The network's reconstruction does not change. The reference has one ``scale_factor`` instead (FACTS 1.8).
    """
    samples = []
    for path in cases:
        case = read_case(path)
        latents = encode_mean(network, scale, torch.from_numpy(case.hu[1]))
        inside = F.avg_pool3d(torch.from_numpy(case.labels[1] > 0).float()[None], COMPRESSION)[0] > 0.5
        samples.append(latents[:, inside])
    values = torch.cat(samples, dim=1)
    mean, std = values.mean(1), values.std(1)
    with torch.no_grad():
        shape = (-1, 1, 1, 1, 1)
        mu, sigma, post = (
            c.conv for c in (network.quant_conv_mu, network.quant_conv_log_sigma, network.post_quant_conv)
        )
        post.bias += (post.weight[:, :, 0, 0, 0] * mean).sum(1)
        post.weight *= std.view(1, -1, 1, 1, 1)
        mu.weight /= std.view(shape)
        mu.bias.copy_((mu.bias - mean) / std)
        sigma.bias -= 2 * torch.log(std)  # the layer gives log variance


@torch.no_grad()
def encode_mean(network: Autoencoder, scale: IntensityScale, hu: Tensor) -> Tensor:
    """Mean latents ``[4, i, j, k]`` of HU ``[4i, 4j, 4k]``."""
    return network.encode(scale.to_unit(hu)[None, None])[0][0].float()


@torch.no_grad()  # not inference mode: the networks are trained further
def encode_cases(
    cases: Path,
    latents: Path,
    autoencoder: Autoencoder,
    controlnet: ControlNet,
    scale: IntensityScale,
    bfloat16: bool = True,
) -> None:
    """Encode every case of a folder that ``latents`` does not hold yet."""
    latents.mkdir(parents=True, exist_ok=True)
    for network in (autoencoder, controlnet):
        network.to(memory_format=torch.channels_last_3d)
    for path in sorted(cases.glob("case_??????.npz")):
        target = latents / f"{path.stem}.pt"
        if target.exists():
            continue
        case = read_case(path)
        labels = torch.from_numpy(case.labels)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            latents_of_pair = [encode_mean(autoencoder, scale, torch.from_numpy(hu)) for hu in case.hu]
            embedding_of_pair = [controlnet.embed_mask(mask_bits(m[None, None])) for m in labels]
        state = {
            "latents": torch.stack(latents_of_pair).half(),
            "embedding": torch.cat(embedding_of_pair).half(),
            "lesion": F.avg_pool3d((labels[0] != labels[1]).float()[None], COMPRESSION),
            "spacing": torch.from_numpy(case.spacing).float(),
            "contrast": case.contrast,
        }
        torch.save(state, target.with_suffix(".part"))
        target.with_suffix(".part").replace(target)


def read_latents(path: Path) -> LatentCase:
    """One encoded case."""
    return LatentCase(**torch.load(path, weights_only=True))


def crop(case: LatentCase, size: int, rng: np.random.Generator) -> LatentCase:
    """A cube of at most ``size`` latent voxels, more often than not around a lesion."""
    shape = np.array(case.lesion.shape[1:])
    sizes = np.minimum(size, shape)
    hits = torch.nonzero(case.lesion[0])
    if len(hits) and rng.random() < 0.7:
        center = hits[rng.integers(len(hits))].numpy() + rng.integers(-4, 5, 3)
        corner = (center - sizes // 2).clip(0, shape - sizes)
    else:
        corner = np.array([rng.integers(n + 1) for n in shape - sizes])
    box = (slice(None), *(slice(int(c), int(c + n)) for c, n in zip(corner, sizes, strict=True)))
    pair = (slice(None), *box)
    return LatentCase(case.latents[pair], case.embedding[pair], case.lesion[box], case.spacing, case.contrast)
