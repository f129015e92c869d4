"""`python -m maisi.train STAGE --run DIR ...`: the stages that make the embedded model, each resumable.

    cases        label maps, lesions and their renderings     --labels DIR --first SEED --count N
    autoencoder  the fixed encoder, the decoder's beginning
    decoder      the decoder                                  --real DIR --minutes M
    embedding    head start of the mask embedding             --minutes M
    latents      encode all cases
    diffusion    UNet and ControlNet                          --minutes M --size N --pairs N
    export       safetensors and model card                   --out DIR --facts FILE

``decoder`` and ``diffusion`` do not wait for each other.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from maisi.body import with_body
from maisi.files import read_labels
from maisi.models.networks import Autoencoder, ControlNet, DiffusionUNet
from maisi.train.cases import generate
from maisi.train.diffusion import train_diffusion
from maisi.train.embedding import train_embedding
from maisi.train.export import export_model
from maisi.train.latents import encode_cases
from maisi.train.recipe import INTENSITY, NETWORKS
from maisi.train.vae import prepare_autoencoder, train_decoder

STAGES = ("cases", "autoencoder", "decoder", "embedding", "latents", "diffusion", "export")


def main() -> None:
    """Run one stage."""
    args = _arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    globals()[f"_{args.stage}"](args)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m maisi.train", description=__doc__.splitlines()[0])
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--run", type=Path, required=True, help="folder of this training; everything goes there")
    parser.add_argument("--labels", type=Path, help="folder with label_maisi.nii.gz files to deform (cases)")
    parser.add_argument("--real", type=Path, help="folder with ct.nii.gz files (decoder)")
    parser.add_argument("--first", type=int, default=0, help="seed of the first case")
    parser.add_argument("--count", type=int, default=100, help="number of cases")
    parser.add_argument("--minutes", type=float, default=20.0, help="training time of the stage over all sittings")
    parser.add_argument("--size", type=int, default=16, help="crop edge in latent voxels (diffusion)")
    parser.add_argument("--patch", type=int, default=48, help="cube edge in voxels (decoder)")
    parser.add_argument("--batch", type=int, default=2, help="cubes per batch (decoder)")
    parser.add_argument("--pairs", type=int, default=2, help="pairs per batch (diffusion)")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, help="models folder (export)")
    parser.add_argument("--name", default="embedded")
    parser.add_argument("--facts", type=Path, help="JSON with title, license, training, metrics ... (export)")
    return parser.parse_args()


def _cases(args: argparse.Namespace) -> None:
    paths = sorted(args.labels.rglob("label_maisi.nii.gz")) if args.labels else []
    maps = [with_body(read_labels(path))[0] for path in paths]
    generate(args.run / "cases", range(args.first, args.first + args.count), maps)


def _autoencoder(args: argparse.Namespace) -> None:
    network = Autoencoder(**NETWORKS["autoencoder"])
    prepare_autoencoder(network, INTENSITY, sorted((args.run / "cases").glob("case_??????.npz"))[:60])
    torch.save(network.state_dict(), args.run / "autoencoder.pt")


def _decoder(args: argparse.Namespace) -> None:
    network = _read_autoencoder(args.run / "autoencoder.pt")
    options = {"learning_rate": args.learning_rate, "patch": args.patch, "batch": args.batch}
    train_decoder(args.run / "decoder", network, INTENSITY, args.run / "cases", args.real, args.minutes, **options)
    torch.save(network.state_dict(), args.run / "decoder" / "final.pt")


def _embedding(args: argparse.Namespace) -> None:
    network = ControlNet(**NETWORKS["controlnet"])
    train_embedding(args.run / "embedding", network, INTENSITY, args.run / "cases", args.minutes)
    torch.save(network.controlnet_cond_embedding.state_dict(), args.run / "embedding" / "final.pt")


def _latents(args: argparse.Namespace) -> None:
    autoencoder = _read_autoencoder(args.run / "autoencoder.pt")
    encode_cases(args.run / "cases", args.run / "latents", autoencoder, _read_controlnet(args), INTENSITY)


def _diffusion(args: argparse.Namespace) -> None:
    unet, controlnet = DiffusionUNet(**NETWORKS["unet"]), _read_controlnet(args)
    options = {"size": args.size, "pairs": args.pairs, "learning_rate": args.learning_rate}
    train_diffusion(args.run / "diffusion", unet, controlnet, args.run / "latents", args.minutes, **options)
    state = {"unet": unet.state_dict(), "controlnet": controlnet.state_dict()}
    torch.save(state, args.run / "diffusion" / "final.pt")


def _export(args: argparse.Namespace) -> None:
    autoencoder = _read_autoencoder(args.run / "decoder" / "final.pt")
    state = torch.load(args.run / "diffusion" / "final.pt", weights_only=True)
    unet, controlnet = DiffusionUNet(**NETWORKS["unet"]), ControlNet(**NETWORKS["controlnet"])
    unet.load_state_dict(state["unet"])
    controlnet.load_state_dict(state["controlnet"])
    networks = {"autoencoder": autoencoder, "unet": unet, "controlnet": controlnet}
    print(export_model(args.out, args.name, networks, json.loads(args.facts.read_text())))


def _read_autoencoder(path: Path) -> Autoencoder:
    network = Autoencoder(**NETWORKS["autoencoder"])
    network.load_state_dict(torch.load(path, weights_only=True))
    return network


def _read_controlnet(args: argparse.Namespace) -> ControlNet:
    network = ControlNet(**NETWORKS["controlnet"])
    embedding = torch.load(args.run / "embedding" / "final.pt", weights_only=True)
    network.controlnet_cond_embedding.load_state_dict(embedding)
    return network


if __name__ == "__main__":
    main()
