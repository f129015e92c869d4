"""The kinds of networks that can be trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from maisi.train.config import TrainConfig
    from maisi.train.stage import Stage


def make_stage(config: TrainConfig, device: torch.device) -> Stage:
    """The stage that ``config`` describes, on ``device``, with its networks' first weights.

    Raises:
        InputError: the configuration asks for what is not there. WeightsError: weights that do not fit.
    """
    # Here, since a configuration is read without torch.
    from maisi.train.stages.autoencoder import AutoencoderStage
    from maisi.train.stages.controlnet import ControlNetStage
    from maisi.train.stages.diffusion import DiffusionStage
    from maisi.train.stages.mask_generator import MaskAutoencoderStage, MaskDiffusionStage
    from maisi.train.stages.start import Start

    classes = {
        "autoencoder": AutoencoderStage,
        "diffusion": DiffusionStage,
        "controlnet": ControlNetStage,
        "mask_autoencoder": MaskAutoencoderStage,
        "mask_diffusion": MaskDiffusionStage,
    }
    stage = classes[config.stage](config, Start.of(config.network), device)
    if config.run.gradient_checkpointing:
        from maisi.train.stages.blocks import recompute_blocks

        recompute_blocks(stage)
    return stage
