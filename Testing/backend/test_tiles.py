"""Exact tiles: any tiles and cuts give the numbers of the whole, because the statistics are those of the whole."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from helpers.tiny_model import NETWORKS, fill_zeros
from maisi.models.fast import accelerate, use_native_kernels
from maisi.models.networks import build_networks
from maisi.models.norms import Statistics
from maisi.tiling.chain import Chain, decoder_chain, embedding_chain, encoder_chain
from maisi.tiling.tiles import Tiles, intervals, passes, run_tiles

AUTOENCODER = {"num_channels": [4, 8, 8], "num_res_blocks": [1, 2, 1], "norm_num_groups": 2, "norm_eps": 1e-6}


def randomized(network: nn.Module) -> nn.Module:
    """Weights and biases that make every layer matter."""
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.3)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def an_autoencoder():
    return randomized(build_networks({"autoencoder": AUTOENCODER})["autoencoder"])


@pytest.fixture(scope="module")
def latents():
    """Odd, anisotropic, and brighter to one end, so that no part has the statistics of the whole."""
    return torch.randn(1, 4, 7, 11, 5, generator=torch.Generator().manual_seed(0)) + torch.linspace(-3, 3, 11)[:, None]


def tiled(chain: Chain, x: torch.Tensor, tiles: Tiles, **options) -> torch.Tensor:
    """``chain`` of ``x`` in tiles; every output voxel must be written once."""
    coarsest = [n // chain.scales[0] for n in x.shape[2:]]
    shape = (1, chain.channels[-1], *(n * chain.scales[-1] for n in coarsest))
    result, written = torch.full(shape, torch.nan, dtype=x.dtype), torch.zeros(shape[2:])

    def write(box, values):
        result[(..., *box)] = values
        written[box] += 1

    run_tiles(chain, tiles, coarsest, lambda box: x[(..., *box)], write, **options)
    assert (written == 1).all()
    return result


def all_cuts(chain: Chain) -> tuple:
    return tuple((k, "cpu") for k in range(1, len(chain.layers)))


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference relative to the range of ``b``."""
    return float((a.float() - b.float()).abs().max() / (b.max() - b.min()))


@pytest.mark.parametrize(
    ("size", "cuts"),
    [(size, "all") for size in (1, 2, 3, 4, 5, 8, 11)] + [(size, "none") for size in (4, 6, 11)],
)
@torch.inference_mode()
def test_a_tiled_decode_is_the_whole_decode(an_autoencoder, latents, size, cuts):
    chain = decoder_chain(an_autoencoder)
    tiles = Tiles(size, all_cuts(chain) if cuts == "all" else ())
    assert difference(tiled(chain, latents, tiles), an_autoencoder.decode(latents)) < 1e-5


@pytest.mark.parametrize(
    ("size", "cuts"),
    [(size, "all") for size in (1, 2, 3, 5, 11)] + [(size, "none") for size in (4, 6)],
)
@torch.inference_mode()
def test_a_tiled_encode_is_the_whole_encode(an_autoencoder, size, cuts):
    image = torch.rand(1, 1, 28, 44, 20) + torch.linspace(-3, 3, 44)[:, None]
    chain = encoder_chain(an_autoencoder)
    tiles = Tiles(size, all_cuts(chain) if cuts == "all" else ())
    assert difference(tiled(chain, image, tiles), an_autoencoder.encode(image)[0]) < 1e-5


@pytest.mark.parametrize("size", [1, 2, 3, 5, 9])
@torch.inference_mode()
def test_a_tiled_mask_embedding_is_the_whole_one(size):
    networks = build_networks({"controlnet": NETWORKS["controlnet"]})
    fill_zeros(networks)
    embedding = networks["controlnet"].controlnet_cond_embedding
    bits = torch.randint(0, 2, (1, 8, 20, 36, 12)).float()
    assert difference(tiled(embedding_chain(embedding), bits, Tiles(size)), embedding(bits)) < 1e-5


@settings(max_examples=20, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    size=st.integers(2, 8),
    wanted=st.sets(st.integers(1, 12)),
    encoding=st.booleans(),
)
@torch.inference_mode()
def test_any_shape_tile_and_cuts_give_the_whole(an_autoencoder, shape, size, wanted, encoding):
    chain = encoder_chain(an_autoencoder) if encoding else decoder_chain(an_autoencoder)
    opening = {k for k, layer in enumerate(chain.layers) if layer.opens}
    cuts = [k for k in sorted(wanted) if k < len(chain.layers) and (k - 1 not in opening or k - 1 in wanted)]
    x = torch.randn(1, chain.channels[0], *(n * chain.scales[0] for n in shape))
    whole = an_autoencoder.encode(x)[0] if encoding else an_autoencoder.decode(x)
    torch.testing.assert_close(
        tiled(chain, x, Tiles(size, tuple((k, "cpu") for k in cuts))), whole, rtol=1e-4, atol=1e-4
    )


@torch.inference_mode()
def test_tiles_that_normalize_by_themselves_would_differ(an_autoencoder, latents):
    """What the exact tiles are for: the same tiles with their own statistics are far off."""
    whole = an_autoencoder.decode(latents)
    alone = torch.cat([an_autoencoder.decode(part) for part in latents.split(4, dim=3)], dim=3)
    exact = tiled(decoder_chain(an_autoencoder), latents, Tiles(4))
    assert difference(alone, whole) > 0.05
    assert difference(exact, whole) < 1e-5


@torch.inference_mode()
def test_accelerated_networks_can_be_tiled(latents):
    network = randomized(build_networks({"autoencoder": AUTOENCODER})["autoencoder"])
    whole = network.decode(latents)
    chain = decoder_chain(accelerate(network))
    assert difference(tiled(chain, latents, Tiles(4, all_cuts(chain))), whole) < 1e-5


@torch.inference_mode()
def test_in_bfloat16_tiles_are_as_close_as_the_whole(an_autoencoder, latents):
    exact = an_autoencoder.decode(latents)
    half = randomized(build_networks({"autoencoder": AUTOENCODER})["autoencoder"]).bfloat16()
    use_native_kernels(half)
    chain = decoder_chain(half)
    whole = half.decode(latents.bfloat16())
    parts = tiled(chain, latents.bfloat16(), Tiles(3, all_cuts(chain)))
    assert parts.dtype == torch.bfloat16
    assert difference(parts, exact) < 1.5 * difference(whole, exact) + 0.01
    assert difference(parts, exact) < 0.05


def test_cuts_save_recomputation(an_autoencoder):
    chain = decoder_chain(an_autoencoder)

    def layers_run(cuts):
        return sum(last - first for first, last, _ in passes(chain, Tiles(4, cuts)))

    assert layers_run(all_cuts(chain)) == len(chain.layers)
    norms = sum(layer.norm is not None for layer in chain.layers)
    assert len(list(passes(chain, Tiles(4)))) == norms + 1
    assert layers_run(()) > layers_run(((5, "cpu"),)) > layers_run(all_cuts(chain))


def test_progress_counts_every_tile_and_a_check_stops_the_run(an_autoencoder, latents):
    chain, told = decoder_chain(an_autoencoder), []
    tiled(chain, latents, Tiles(6, all_cuts(chain)), progress=lambda *step: told.append(step))
    total = 2 * 2 * len(chain.layers)
    assert told == [(n, total) for n in range(1, total + 1)]

    def stop():
        if len(told) == 3:
            raise InterruptedError

    told.clear()
    with pytest.raises(InterruptedError):
        tiled(chain, latents, Tiles(6), progress=lambda *step: told.append(step), check=stop)
    assert len(told) == 3


def test_a_block_is_cut_in_its_middle_only_after_its_beginning(an_autoencoder, latents):
    chain = decoder_chain(an_autoencoder)
    middle = next(k for k, layer in enumerate(chain.layers) if layer.shortcut is not None)
    with pytest.raises(ValueError, match="needs one before"):
        tiled(chain, latents, Tiles(6, ((middle, "cpu"),)))


@given(length=st.integers(1, 300), largest=st.integers(1, 130))
def test_an_axis_is_divided_evenly_and_completely(length, largest):
    pieces = intervals(length, largest)
    sizes = [b - a for a, b in pieces]
    assert pieces[0][0] == 0
    assert pieces[-1][1] == length
    assert all(one[1] == next_[0] for one, next_ in pairwise(pieces))
    assert max(sizes) <= largest
    assert max(sizes) - min(sizes) <= 1


@settings(max_examples=20, deadline=None)
@given(borders=st.lists(st.integers(1, 9), unique=True), offset=st.sampled_from([0.0, 3.0, 1000.0]))
def test_statistics_of_pieces_are_those_of_the_whole(borders, offset):
    x = torch.randn(1, 6, 10, 4, 5) + offset + torch.arange(6)[:, None, None, None]
    statistics = Statistics(nn.GroupNorm(2, 6))
    for start, stop in pairwise([0, *sorted(borders), 10]):
        statistics.add(x[:, :, start:stop])
    groups = x.double().view(2, -1)
    mean, variance = statistics.of_channels()
    torch.testing.assert_close(mean, groups.mean(1).repeat_interleave(3).float(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(variance, groups.var(1, correction=0).repeat_interleave(3).float(), rtol=1e-4, atol=1e-5)
