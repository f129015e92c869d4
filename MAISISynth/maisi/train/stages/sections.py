"""The parts of a configuration that belong to the stages, by the name of the stage. No torch.

Defaults are the paper's numbers where it tells them (FACTS 5); what the released code does otherwise is an option.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from maisi.train.section import Section


class NetworkConfig(Section):
    """Which networks are trained, and from where they start."""

    model: str = Field("rflow-ct", description="Model whose networks and intensities are used (see: maisi models)")
    networks: dict[str, dict[str, Any]] = Field({}, description="Sizes that differ from the model's, by network")
    card: dict[str, Any] = Field({}, description='Other entries of the card\'s "model" that differ')
    weights: dict[str, str] = Field(
        {},
        description='Start by network (autoencoder, unet, controlnet, mask_autoencoder): "model" for the model\'s '
        "weights, a weight file, or the folder of a run. What is trained and not named starts at random, a ControlNet "
        "as a copy of its UNet",
    )


class AutoencoderConfig(Section):
    """The autoencoder: reconstruction, KL divergence, perceptual and adversarial loss (MAISI-v1)."""

    reconstruction: Literal["l1", "l2"] = Field("l1", description="Reconstruction error")
    kl_weight: NonNegativeFloat = Field(1e-7, description="Of the KL divergence; raise it if latent_std leaves 0.9-1.1")
    perceptual_weight: NonNegativeFloat = Field(0.3, description="Of the perceptual loss; 0: none")
    perceptual_network: str = Field(
        "efficientnet-lite0",
        description="Network of the perceptual loss: efficientnet-lite0 (no download), squeeze (paper; is downloaded), "
        "alex, vgg, resnet50, radimagenet_resnet50, or a file",
    )
    perceptual_share: float = Field(0.2, gt=0, le=1, description="Share of the slices of each plane it looks at")
    adversarial_weight: NonNegativeFloat = Field(0.1, description="Of the adversarial loss; 0: no discriminator")
    adversarial_from: float = Field(0.0, ge=0, lt=1, description="Part of the training that passes before it begins")
    discriminator_channels: PositiveInt = Field(32, description="Channels of the discriminator's first layer")
    discriminator_layers: PositiveInt = Field(3, description="Layers of the discriminator")
    edge_weight: NonNegativeFloat = Field(0.0, description="Of the L1 of differences of neighbors; 0: none")
    window_weight: NonNegativeFloat = Field(0.0, description="Of the L1 within the window; 0: none")
    window: tuple[float, float] = Field((-150.0, 250.0), description="The window in HU, or in units of the image")
    freeze: Literal["none", "encoder"] = Field("none", description="encoder: latents stay as they are; decoder only")
    initialization: Literal["random", "haar"] = Field(
        "random", description="haar: begins as a linear code of the mean and the slopes of 4x4x4 voxels"
    )
    initial_sigma: NonNegativeFloat = Field(0.0, description="Latents' standard deviation at the start; 0: as it comes")

    @model_validator(mode="after")
    def _window_is_one(self) -> AutoencoderConfig:
        if self.window[0] >= self.window[1]:
            raise ValueError("the window must begin below its end")
        return self


class DiffusionConfig(Section):
    """The diffusion UNet. The paper's three stages are three configurations of it."""

    loss: Literal["squared", "absolute"] = Field("squared", description="squared: paper; absolute: released code")
    times: Literal["stretched", "uniform"] = Field(
        "stretched", description="Training times of rectified flow: as the model's schedule has them, or evenly spread"
    )
    contrast_dropout: float = Field(
        0.1, ge=0, le=1, description="Chance that a contrast becomes its modality (CT 2-7 -> 1, MR 9 and more -> 8)"
    )
    modality_dropout: float = Field(0.1, ge=0, le=1, description="Chance that a modality becomes unknown (0)")
    scale_factor: PositiveFloat | Literal["auto"] = Field(
        "auto",
        description="Of the latents; auto: that of the weights it starts from, else of the prepared data set, else "
        "1 / standard deviation of the first batches",
    )
    scale_batches: PositiveInt = Field(32, description="Number of batches for that standard deviation")
    channel_scale: list[PositiveFloat] = Field(
        [], description="Multiplies the errors of each channel of the latents; empty: all count alike"
    )


class ContrastiveConfig(Section):
    """The region-specific contrastive loss (paper, equations 5-9)."""

    target: Literal["paper", "code", "pair"] = Field(
        "paper",
        description="Background part: paper: distance of both predictions; code: of the lesion-free one from the "
        "truth. pair: for counterfactual pairs (data.pairs), the true difference is the target",
    )
    weight: NonNegativeFloat = Field(0.01, description="Lambda in the first part of the training; 0: none")
    later_weight: NonNegativeFloat = Field(0.001, description="Lambda afterwards (released code: as before)")
    switch_at: float = Field(0.5, ge=0, le=1, description="Part of the training after which it changes")
    cap: PositiveFloat = Field(2.0, description="Delta: a larger difference of the predictions earns nothing")
    feature_voxels: NonNegativeInt = Field(
        128**3, description="Latents with more voxels are compared by their ControlNet features, to save memory"
    )


def _description(key: str) -> str | None:
    return DiffusionConfig.model_fields[key].description


class ControlNetConfig(DiffusionConfig):
    """The ControlNet on a frozen UNet, with weighted lesions and the region-specific contrastive loss."""

    contrast_dropout: float = Field(0.0, ge=0, le=1, description=_description("contrast_dropout"))
    modality_dropout: float = Field(0.0, ge=0, le=1, description=_description("modality_dropout"))
    lesion_weight: PositiveFloat = Field(100.0, description="Weight of lesions in the loss; 1: like the rest")
    weighted_labels: list[int] = Field([], description="Ids of those lesions; empty: all that the vocabulary knows")
    normalize_weights: bool = Field(False, description="Divide the weighted loss by the mean weight")
    lesion_sampling: Literal["fraction", "any", "nearest"] = Field(
        "fraction",
        description="Label maps on the latent grid: part of the voxels, any voxel, or the first of 4x4x4 as the "
        "released code, which loses small tumors",
    )
    contrastive: ContrastiveConfig = Field(ContrastiveConfig(), description=ContrastiveConfig.__doc__)
    train_unet: bool = Field(False, description="Train the UNet, too, both from the start")
    without_mask: float = Field(0.1, ge=0, lt=1, description="With train_unet: share of images without a label map")
    initial_output: NonNegativeFloat = Field(
        0.0, description="Spread of the output convolutions of a new ControlNet; 0: it begins without effect, as usual"
    )
    frozen_embedding: bool = Field(False, description="The mask embedding of the ControlNet stays as it starts")


class MaskAutoencoderConfig(Section):
    """The mask generator's autoencoder: 8 bits of the label in, 125 classes out (MAISI-v1)."""

    kl_weight: NonNegativeFloat = Field(1e-7, description="Of the KL divergence")


class MaskDiffusionConfig(Section):
    """The mask generator's diffusion: DDPM on the latents of label maps, conditioned on ten organ sizes."""

    loss: Literal["squared", "absolute"] = Field("squared", description="Error of the predicted noise")
    size_dropout: float = Field(0.0, ge=0, le=1, description="Chance that a size is hidden (-1)")
    scale_batches: PositiveInt = Field(8, description="Batches for the standard deviation of the latents")
    size_cases: PositiveInt = Field(500, description="Label maps that the scale of organ sizes is made from")


SECTIONS: dict[str, type[Section]] = {
    "autoencoder": AutoencoderConfig,
    "diffusion": DiffusionConfig,
    "controlnet": ControlNetConfig,
    "mask_autoencoder": MaskAutoencoderConfig,
    "mask_diffusion": MaskDiffusionConfig,
}
