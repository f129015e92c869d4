"""The reference's way from mask to image, as a plain loop over MONAI's classes (MAISI_FACTS 1.3-1.7, 2.5-2.7).

Used as the other side of ``engine.py``: mask embedding in every step, float32 weights (under autocast on CUDA), group
norms in loops over groups, convolutions split in four, overlapping decoder windows stitched on the host.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from monai.apps.generation.maisi.networks.controlnet_maisi import ControlNetMaisi
from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi
from monai.inferers import SlidingWindowInferer
from monai.networks.schedulers.rectified_flow import RFlowScheduler
from torch import Tensor


@dataclass
class Times:
    """Seconds of each denoising step, of the whole denoising and of decoding."""

    steps: list[float] = field(default_factory=list)
    denoise: float = 0.0
    decode: float = 0.0


class ReferenceLoop:
    """Networks of ``rflow-ct`` and the loop over them.

    Args:
        config: of the networks, by role. states: state dicts, by role. scale_factor: of the latents.
        window, overlap: of the decoder.
    """

    def __init__(
        self,
        config: dict,
        states: dict[str, dict[str, Tensor]],
        scale_factor: float,
        device: torch.device,
        window: Sequence[int],
        overlap: float,
    ) -> None:
        self.scale_factor, self.device, self.window, self.overlap = scale_factor, device, window, overlap
        cuda = device.type == "cuda"
        common = {"spatial_dims": 3, "in_channels": 4, "use_flash_attention": cuda}
        networks = {
            "autoencoder": AutoencoderKlMaisi(
                spatial_dims=3,
                in_channels=1,
                out_channels=1,
                latent_channels=4,
                attention_levels=[False] * 3,
                with_encoder_nonlocal_attn=False,
                with_decoder_nonlocal_attn=False,
                use_convtranspose=False,
                norm_float16=cuda,
                num_splits=4,
                dim_split=1,
                **config["autoencoder"],
            ),
            "unet": DiffusionModelUNetMaisi(**common, out_channels=4, include_spacing_input=True, **config["unet"]),
            "controlnet": ControlNetMaisi(**common, conditioning_embedding_in_channels=8, **config["controlnet"]),
        }
        for role, network in networks.items():
            network.load_state_dict(states[role])
            network.eval().to(device)
        self.autoencoder, self.unet, self.controlnet = networks.values()

    @torch.no_grad()
    def run(
        self, labels: np.ndarray, spacing: np.ndarray, noise: Tensor, steps: int
    ) -> tuple[Tensor, np.ndarray, Times]:
        """Latents before the division by the scale factor, and HU ``[I, J, K]``, from ``noise`` ``[1, 4, i, j, k]``."""
        with torch.autocast("cuda", dtype=torch.float16, enabled=self.device.type == "cuda"):
            times = Times()
            started = time.perf_counter()
            latents = self.denoise(labels, spacing, noise, steps, times)
            times.denoise = time.perf_counter() - started
            started = time.perf_counter()
            hu = self.to_hu(self.decode(latents / self.scale_factor), labels)
            times.decode = time.perf_counter() - started
        return latents.float().cpu(), hu, times

    def to_hu(self, image: Tensor, labels: np.ndarray) -> np.ndarray:
        """0...1 as HU, with air where ``labels`` is 0."""
        hu = (torch.clip(image, 0, 1) * 2000 - 1000)[0, 0].float().numpy()
        hu[labels == 0] = -1000
        return hu

    @torch.no_grad()
    def at_once(self, latents: Tensor) -> Tensor:
        """What ``decode`` gives without windows."""
        return self.autoencoder.decode_stage_2_outputs(latents.to(self.device)).cpu()

    def denoise(self, labels: np.ndarray, spacing: np.ndarray, noise: Tensor, steps: int, times: Times) -> Tensor:
        """Latents after ``steps`` Euler steps."""
        cuda = self.device.type == "cuda"
        kind = torch.float16 if cuda else torch.float32
        mask = torch.from_numpy(labels.astype(np.int64)).to(self.device)
        bits = ((mask[..., None] >> torch.arange(8, device=self.device)) & 1).permute(3, 0, 1, 2)[None].to(kind)
        scaled = torch.tensor(spacing[None] * 100, dtype=kind, device=self.device)
        modality = torch.ones(1, dtype=torch.long, device=self.device)
        scheduler = RFlowScheduler(1000, use_discrete_timesteps=False, use_timestep_transform=True, scale=1.4)
        scheduler.set_timesteps(steps, input_img_size_numel=noise[0, 0].numel())
        following = [*scheduler.timesteps[1:], torch.tensor(0, dtype=scheduler.timesteps.dtype)]
        x = noise.to(self.device, kind)
        for t, next_t in zip(scheduler.timesteps, following, strict=True):
            started = time.perf_counter()
            now = torch.Tensor((t,)).to(self.device)
            down, middle = self.controlnet(x, now, bits, class_labels=modality)
            velocity = self.unet(
                x,
                now,
                class_labels=modality,
                spacing_tensor=scaled,
                down_block_additional_residuals=down,
                mid_block_additional_residual=middle,
            )
            x, _ = scheduler.step(velocity, t, x, next_t)
            if cuda:
                torch.cuda.synchronize()
            times.steps.append(time.perf_counter() - started)
        return x

    def decode(self, latents: Tensor) -> Tensor:
        """0...1 ``[1, 1, I, J, K]`` on the host."""
        size = [min(w, n) for w, n in zip(self.window, latents.shape[2:], strict=True)]
        if latents[0, 0].numel() <= np.prod(self.window):
            return self.at_once(latents)
        inferer = SlidingWindowInferer(
            roi_size=size,
            sw_batch_size=1,
            mode="gaussian",
            overlap=self.overlap,
            sw_device=self.device,
            device=torch.device("cpu"),
            progress=False,
        )
        return inferer(inputs=latents, network=self.autoencoder.decode_stage_2_outputs)
