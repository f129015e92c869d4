"""Plans: counted work and memory are the networks' own, ways get smaller until none is left, limits are respected."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.tiny_model import NETWORKS
from maisi import devices, engine, planning, synthesis
from maisi.costs import StageCosts, as_key
from maisi.errors import InputError, OutOfMemoryError
from maisi.metering import meter
from maisi.models.networks import build_networks
from maisi.models.variants import get_variant
from maisi.options import Options
from maisi.tiling.chain import decoder_chain
from maisi.tiling.tile_plan import HOST, pass_cost, plan_tiles
from maisi.tiling.tiles import Tiles, passes

GB = 1024**3
ISOTROPIC = np.diag([1.0, 1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def the_released_decoder():
    """The decoder of the full-size autoencoder, without data."""
    with torch.device("meta"):
        return decoder_chain(
            build_networks({"autoencoder": get_variant("rflow-ct").networks["autoencoder"]})["autoencoder"]
        )


@pytest.fixture
def a_machine(monkeypatch):
    """A machine that is not this one: ``a_machine(gpu=24, host=64)`` in GB; without ``gpu`` a CPU alone."""

    def pretend(gpu: float = 0.0, host: float = 64.0) -> None:
        name = "cuda:0" if gpu else "cpu"
        monkeypatch.setattr(planning, "resolve_device", lambda _: torch.device(name))
        monkeypatch.setattr(planning, "free_memory_gb", lambda device: gpu if device.type == "cuda" else host)
        monkeypatch.setattr(planning, "_throughput", lambda *_: 1e14 if gpu else 1e11)

    return pretend


def plan(*shape: int, model: str = "rflow-ct", affine: np.ndarray = ISOTROPIC, **options) -> planning.Plan:
    return planning.plan(shape, affine, Options(model=model, **options))


# ---- counting


def test_the_decoder_costs_what_was_counted_by_hand(the_released_decoder):
    for shape, tflop in (((32, 32, 32), 6.8), ((64, 64, 64), 54), ((128, 128, 128), 434)):  # docs, "Work"
        costs = StageCosts(as_key(get_variant("rflow-ct").networks), shape, torch.float32, False)
        assert costs.decode.flop / 1e12 == pytest.approx(tflop, rel=0.02)
        alone, _ = pass_cost(the_released_decoder, shape, max(shape), 0, len(the_released_decoder.layers), 4)
        assert alone == pytest.approx(costs.decode.flop, rel=0.01)  # one tile without halo is the whole


def test_the_denoising_networks_cost_what_was_counted_by_hand():
    costs = StageCosts(as_key(get_variant("rflow-ct").networks), (64, 64, 64), torch.float32, True)
    assert costs.step.flop / 1e12 == pytest.approx(2.47 + 0.87 - 0.35, rel=0.02)
    assert costs.embed(None).flop / 1e12 == pytest.approx(0.35, rel=0.02)
    assert costs.weight_bytes("unet") / 2**20 == pytest.approx(688.6, rel=0.01)


def test_memory_is_counted_while_it_is_held():
    def call():
        x = torch.empty(1000, device="meta")  # 4000 bytes
        y = x + 1
        del x
        z = y * 2
        y.add_(1)
        z.view(10, 100)
        return z

    assert meter(call).bytes == 8000


def test_attention_is_counted_as_a_fused_kernel_does_it():
    q, k, v = (torch.empty(1, 2, 1000, 8, device="meta") for _ in range(3))
    cost = meter(lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v))
    assert cost.flop == 4 * 2 * 1000 * 1000 * 8
    assert cost.bytes == q.numel() * 4


# ---- tiles within a budget


def test_less_memory_means_fewer_cuts_or_smaller_tiles_and_more_work(the_released_decoder):
    ways = [plan_tiles(the_released_decoder, (64, 64, 64), 2, "cpu", gb * GB) for gb in (10, 6, 4, 2, 1)]
    assert all(way.device_bytes <= gb * GB for way, gb in zip(ways, (10, 6, 4, 2, 1), strict=True))
    work = [way.flop for way in ways]
    assert work == sorted(work)
    assert len(ways[-1].tiles.cuts) < len(ways[0].tiles.cuts)
    assert plan_tiles(the_released_decoder, (64, 64, 64), 2, "cpu", 0.05 * GB) is None


def test_what_the_device_has_no_room_for_is_stored_on_the_host(the_released_decoder):
    alone, with_host = (
        plan_tiles(the_released_decoder, (128, 128, 128), 2, "cuda:0", 10 * GB, host * GB) for host in (0, 64)
    )
    assert {device for _, device in alone.tiles.cuts} == {"cuda:0"}
    assert HOST in {device for _, device in with_host.tiles.cuts}
    assert with_host.flop < alone.flop
    assert with_host.host_bytes <= 64 * GB


@pytest.mark.parametrize("gb", [1, 2, 3, 5, 8])
def test_planned_cuts_can_be_run(the_released_decoder, gb):
    way = plan_tiles(the_released_decoder, (64, 48, 40), 4, "cuda:0", gb * GB, 2 * GB)
    stages = list(passes(the_released_decoder, way.tiles))  # refuses cuts that cannot be
    assert stages[-1][1] == len(the_released_decoder.layers)


# ---- plans


@pytest.mark.parametrize(
    ("gpu", "shape"), [(24, (512, 512, 768)), (16, (512, 512, 512)), (16, (512, 512, 128)), (12, (256, 256, 256))]
)
def test_large_volumes_fit_one_gpu(a_machine, gpu, shape):
    a_machine(gpu=gpu - 0.6)  # what the driver and the desktop take
    made = plan(*shape)
    made.check()
    assert made.model_shape == shape
    assert made.precision == "float16"
    assert made.memory_gb <= gpu - 0.6
    assert made.host_gb <= 40


def test_with_plenty_of_memory_everything_is_done_at_once(a_machine):
    a_machine(gpu=140, host=200)
    made = plan(512, 512, 512)
    assert made.decoding is None
    assert made.embedding is None
    assert not made.offload


def test_on_a_cpu_the_decode_is_tiled_in_float32(a_machine):
    a_machine(host=64)
    made = plan(128, 128, 128)
    assert made.precision == "float32"
    assert made.decoding.size <= planning.CPU_TILE
    assert made.host_gb == 0


@pytest.mark.parametrize("machine", [{"gpu": 30}, {"host": 30}])
def test_smaller_ways_need_less_each_time_say_so_and_end(a_machine, machine):
    a_machine(**machine)
    ways = [plan(256, 256, 256, affine=1.5 * ISOTROPIC)]
    while (following := ways[-1].smaller()) is not None:
        ways.append(following)
        assert len(ways) < 30
    assert len(ways) > 2
    memory = [way.memory_gb for way in ways]
    assert memory == sorted(memory, reverse=True)
    assert len(set(memory)) == len(memory)
    assert ways[1].remarks[0].startswith(f"The memory of {ways[0].device} ran out; it was done again with ")
    assert [len(way.remarks) for way in ways] == list(range(len(ways)))
    assert ways[-1].remarks[-1] in ways[-1].notices


def test_what_does_not_fit_in_any_way_is_refused_with_advice(a_machine):
    a_machine(gpu=2)
    with pytest.raises(
        OutOfMemoryError, match=r"512 x 512 x 512 voxels needs about .* GB, but cuda:0 .* 2\.0 GB.*coarser"
    ):
        plan(512, 512, 512).check()
    a_machine(gpu=16, host=0.5)
    with pytest.raises(OutOfMemoryError, match="this computer"):
        plan(512, 512, 512).check()


def test_networks_leave_the_gpu_only_where_that_is_needed(a_machine):
    chosen = {}
    for gpu in (24, 9, 8, 7.5, 7, 6.5):
        a_machine(gpu=gpu)
        way = plan(512, 512, 512)
        chosen[gpu] = way.offload and way.memory_gb <= gpu
    assert not chosen[24]
    assert any(chosen.values())


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_a_precision_the_device_does_not_compute_in_is_refused(a_machine, monkeypatch, precision):
    a_machine()
    monkeypatch.setattr(planning, "computes_in", lambda device, dtype: dtype == torch.float32)
    with pytest.raises(InputError, match=f"does not compute in {precision}"):
        plan(64, 64, 64, precision=precision)


def test_a_precision_asked_for_is_kept_when_memory_runs_out(a_machine, monkeypatch):
    a_machine(host=4)
    monkeypatch.setattr(planning, "computes_in", lambda device, dtype: dtype != torch.float16)
    kept, chosen = plan(128, 128, 128, precision="float32"), plan(128, 128, 128)
    for _ in range(10):
        kept, chosen = kept.smaller() or kept, chosen.smaller() or chosen
    assert kept.precision == "float32"
    assert chosen.precision == "bfloat16"
    assert any("bfloat16" in notice for notice in chosen.notices)


def test_compatible_jobs_run_as_the_reference_does(a_machine):
    a_machine(gpu=80)
    made = plan(256, 256, 256, compatible=True)
    assert (made.precision, made.decoding, made.embedding) == ("float32", None, None)
    assert made.seconds > plan(256, 256, 256).seconds
    with pytest.raises(InputError, match="auto"):
        plan(256, 256, 256, compatible=True, precision="float16")


def test_time_grows_with_steps_solver_and_guidance(a_machine):
    a_machine()
    few, many = (plan(64, 64, 64, steps=steps).seconds for steps in (10, 20))
    step = StageCosts(as_key(get_variant("rflow-ct").networks), (16, 16, 16), torch.float32, False).step.flop / 1e11
    assert many - few == pytest.approx(10 * step)
    assert plan(64, 64, 64, steps=10, solver="heun").seconds == pytest.approx(many)
    assert plan(64, 64, 64, steps=10, guidance=2.0).seconds > many


def test_a_tiny_job_on_this_machine_has_a_plan_with_a_time(a_tiny_model):
    made = plan(40, 36, 34, model=a_tiny_model, device="cpu", affine=3 * ISOTROPIC)
    made.check()
    assert 0 < made.seconds < 60
    assert 0 < made.memory_gb < 2
    assert made.dtype == torch.float32


# ---- memory that runs out during a job


def test_a_job_that_runs_out_is_done_again_in_a_smaller_way(a_tiny_model, a_torso_with_a_liver, monkeypatch):
    smaller = "The memory of cpu ran out; it was done again with less."
    monkeypatch.setattr(
        planning.Plan,
        "smaller",
        lambda self: None if self.remarks else replace(self, decoding=Tiles(4), remarks=(smaller,)),
    )
    decode, tried = engine.decode, []

    def decode_once_it_is_small(*arguments, tiles, **options):
        tried.append(tiles)
        if tiles != Tiles(4):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return decode(*arguments, tiles=tiles, **options)

    monkeypatch.setattr(engine, "decode", decode_once_it_is_small)
    info = synthesis.synthesize(a_torso_with_a_liver, model=a_tiny_model, device="cpu").info
    assert smaller in info["notices"]
    assert tried[1:] == [Tiles(4)]


# ---- containers


@pytest.mark.parametrize("version", [1, 2])
def test_the_limit_of_a_container_is_the_memory_there_is(tmp_path, monkeypatch, version):
    folder = tmp_path / "memory/job" if version == 1 else tmp_path / "job"
    folder.mkdir(parents=True)
    (tmp_path / "own").write_text("4:memory:/job\n0::/\n" if version == 1 else "0::/job\n")
    limit, used, cache = devices._MEMORY_FILES[2 - version]
    (folder / limit).write_text(f"{4 * GB}\n")
    (folder / used).write_text(f"{3 * GB}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{cache} {GB}\n")
    monkeypatch.setattr(devices, "_CONTROL_GROUPS", tmp_path)
    monkeypatch.setattr(devices, "_OWN_GROUPS", tmp_path / "own")
    free, total = devices.host_memory()
    assert total == 4 * GB
    assert free == 2 * GB


def test_no_limit_is_no_limit(tmp_path, monkeypatch):
    (tmp_path / "own").write_text("0::/\n")
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("5\n")
    (tmp_path / "memory.stat").write_text("inactive_file 0\n")
    monkeypatch.setattr(devices, "_CONTROL_GROUPS", tmp_path)
    for own in (tmp_path / "own", tmp_path / "absent"):
        monkeypatch.setattr(devices, "_OWN_GROUPS", own)
        assert devices._container_limits() == []


def test_networks_without_classes_or_controlnet_are_counted_too():
    unet = {**NETWORKS["unet"], "num_class_embeds": None, "include_top_region_index_input": True}
    unet["include_bottom_region_index_input"] = True
    controlnet = {**NETWORKS["controlnet"], "num_class_embeds": None}
    with_regions = {**NETWORKS, "unet": unet, "controlnet": controlnet}
    for networks in (with_regions, {role: NETWORKS[role] for role in ("autoencoder", "unet")}):
        config = as_key(networks)
        assert StageCosts(config, (8, 8, 8), torch.float32, False).step.flop > 0
