"""Schedules, solvers, conditions and guidance: the listed values of the facts, and what theory promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.networks.schedulers import DDIMScheduler
from monai.networks.schedulers.rectified_flow import RFlowScheduler

from maisi.errors import InputError
from maisi.models.variants import get_variant
from maisi.options import Options
from maisi.sampling.conditions import Target, body_regions, make_conditions, spacing_condition
from maisi.sampling.sampler import Start
from maisi.sampling.schedule import FlowStep, flow_steps, rectified_flow_times
from maisi.sampling.solvers import FLOW_SOLVERS, ddim, ddpm, ddpm_times

CPU = torch.device("cpu")

# ---- time grids (FACTS 1.7)


@pytest.mark.parametrize(
    ("shape", "first", "last", "total"),
    [
        ((64, 64, 64), [1000, 983, 965.5, 947.5, 928.5, 909], [235.25, 181.875, 125, 64.5], 1.00962),
        ((128, 128, 128), [1000, 991.5, 982.5, 973, 963, 952.5], [381, 307.75, 222.25, 121.1875], 1.00869),
        ((64, 64, 32), [1000, 978.5, 957, 934.5], [149.875, 101.8125, 51.90625], 1.00984),
    ],
)
def test_reference_times_are_those_of_the_facts(shape, first, last, total):
    steps = flow_steps(30, math.prod(shape))
    times = [step.time for step in steps]
    assert times[: len(first)] == first
    assert times[-len(last) :] == last
    assert sum(step.length for step in steps) == pytest.approx(total, abs=6e-6)


@given(st.integers(1, 100), st.tuples(*[st.integers(1, 24)] * 3))
def test_reference_times_and_lengths_equal_monai(steps, eighths):
    voxels = math.prod(8 * n for n in eighths)
    scheduler = RFlowScheduler(1000, use_discrete_timesteps=False, use_timestep_transform=True, scale=1.4)
    scheduler.set_timesteps(steps, input_img_size_numel=voxels)
    following = [*scheduler.timesteps[1:], torch.tensor(0, dtype=torch.float16)]
    for ours, t, next_t in zip(flow_steps(steps, voxels), scheduler.timesteps, following, strict=True):
        assert ours.time == float(t)
        one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        moved, _ = scheduler.step(one, t, zero, next_t)
        assert ours.length == moved.item()


@given(st.integers(1, 200), st.integers(1, 10**7), st.sampled_from(["volume", 1.0, 2.5]))
def test_clean_grid_goes_the_whole_way(steps, voxels, scale):
    plan = flow_steps(steps, voxels, scale, "clean")
    assert plan[0].time == pytest.approx(1000)
    assert plan[-1].following == 0
    assert sum(step.length for step in plan) == pytest.approx(1)
    assert all(step.length > 0 for step in plan)
    assert [step.time for step in plan] + [0] == rectified_flow_times(steps, voxels, scale)


# ---- flow solvers: dx/du = v(x, u) from u = 1 to 0, backwards along a known solution


def solve(solver, steps, slope=1.5):
    """The relative error at the end for dx/dt = slope x, whose solution is known."""

    def velocity(x, time):
        return slope * x * (1 + time / 1000)

    plan = flow_steps(steps, 32**3, 2.0, "clean")
    *_, x = FLOW_SOLVERS[solver](velocity, torch.ones(1, dtype=torch.float64), plan)
    exact = math.exp(slope * 1.5)
    return abs(x.item() - exact) / exact


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("adams-bashforth", 2), ("heun", 1.7)])
def test_solvers_converge_with_their_order(solver, order):
    assert math.log2(solve(solver, 32) / solve(solver, 64)) > order - 0.15


def test_second_order_needs_fewer_network_calls_than_euler():
    assert solve("adams-bashforth", 15) < solve("euler", 30)


def test_solvers_use_the_lengths_given():
    plan = [FlowStep(1000, 400, 0.7), FlowStep(400, 0, 0.4)]
    for solver in FLOW_SOLVERS.values():
        *_, x = solver(lambda x, time: torch.ones(1), torch.zeros(1), plan)
        assert x.item() == pytest.approx(1.1)


# ---- DDPM models


def ideal(mean, std):
    """The best noise prediction for data that is normal with ``mean`` and ``std``: what a perfect network gives."""
    kept = DDIMScheduler(schedule="scaled_linear_beta", beta_start=0.0015, beta_end=0.0195).alphas_cumprod

    def noise(x, time):
        a = kept[int(time)]
        return (1 - a).sqrt() * (x - a.sqrt() * mean) / (a * std**2 + 1 - a)

    return noise


@pytest.mark.parametrize("solver", [ddpm, ddim])
def test_ddpm_solvers_give_the_distribution_of_the_data(solver):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 4, 20, 20, 20, generator=generator)
    extra = (generator,) if solver is ddpm else ()
    *_, x = solver(ideal(0.7, 0.3), x, ddpm_times(1000 if solver is ddpm else 250), *extra)
    assert x.mean().item() == pytest.approx(0.7, abs=0.02)
    assert x.std().item() == pytest.approx(0.3, abs=0.02)


def test_ddim_equals_monai_at_all_1000_times():
    scheduler = DDIMScheduler(
        schedule="scaled_linear_beta", beta_start=0.0015, beta_end=0.0195, clip_sample=False, num_train_timesteps=1000
    )
    start = torch.randn(1, 4, 2, 2, 2, generator=torch.Generator().manual_seed(1))
    *_, ours = ddim(ideal(0.2, 0.5), start, ddpm_times(1000))
    x = start
    for t in scheduler.timesteps:
        x, _ = scheduler.step(ideal(0.2, 0.5)(x, t), int(t), x)
    torch.testing.assert_close(ours, x, rtol=1e-4, atol=1e-5)


def test_ddpm_noise_follows_its_generator():
    start = torch.zeros(1, 4, 2, 2, 2)
    runs = []
    for seed in (5, 5, 6):
        *_, x = ddpm(ideal(0, 1), start, ddpm_times(20), torch.Generator().manual_seed(seed))
        runs.append(x)
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


# ---- conditions (FACTS 2.3)


def test_spacing_casts():
    """half(x) x 100 and half(x x 100) differ for 1.7 mm; both are what the reference has in its paths."""
    image = Target((32, 32, 32), np.array([1.7, 1.7, 2.1]))
    mask = Target((32, 32, 32), np.array([1.7, 1.7, 2.1]), np.zeros((32, 32, 32), np.uint8))
    assert spacing_condition(mask)[0].tolist() == pytest.approx([170, 170, 210])
    assert spacing_condition(mask, compatible=True)[0].tolist() == [170.0, 170.0, 210.0]
    assert spacing_condition(image, compatible=True)[0].tolist() == [170.0, 170.0, 210.0]
    counts = sum(
        not torch.equal(
            spacing_condition(Target((4, 4, 4), np.full(3, s), np.zeros(1)), True),
            spacing_condition(Target((4, 4, 4), np.full(3, s)), True),
        )
        for s in np.arange(500, 5000) / 1000
    )
    assert counts == 1245


@pytest.mark.parametrize(
    ("ids", "regions"),
    [((22,), ["head"]), ((28, 14), ["chest", "abdomen"]), ((120, 93), ["head", "pelvis"]), ((200,), None)],
)
def test_regions_follow_from_the_organs(ids, regions):
    labels = np.array(ids, np.uint8).reshape(1, 1, -1)
    found = body_regions(Target((1, 1, len(ids)), np.ones(3), labels), Options())
    assert list(found) == (regions or ["head", "chest", "abdomen", "pelvis"])


def test_regions_given_out_of_order():
    assert body_regions(Target((1, 1, 1), np.ones(3)), Options(regions=("pelvis", "chest"))) == ["chest", "pelvis"]


def test_conditions_that_do_not_fit_the_model_are_told():
    target = Target((32, 32, 32), np.ones(3))
    with pytest.raises(InputError, match=r"body regions; give some of: head, chest"):
        make_conditions(get_variant("ddpm-ct"), target, Options(), CPU)
    with pytest.raises(InputError, match=r"takes no body regions"):
        make_conditions(get_variant("rflow-mr"), target, Options(regions=("head",)), CPU)
    with pytest.raises(InputError, match=r"rflow-ct makes no 't1' images; it knows: .*ct"):
        make_conditions(get_variant("rflow-ct"), target, Options(modality="t1"), CPU)
    with pytest.raises(InputError, match="no body region 'knee'"):
        Options(regions=("knee",))


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (Start(noise=np.zeros((4, 8, 8, 9), np.float32)), r"noise .* \(4, 8, 8, 8\)"),
        (Start(latents=np.full((4, 8, 8, 8), np.nan)), "finite"),
        (Start(strength=0.5), "needs latents"),
        (Start(latents=np.zeros((4, 8, 8, 8)), strength=1.5), "from 0 to 1"),
    ],
)
def test_a_start_that_does_not_fit_is_told(start, message):
    with pytest.raises(InputError, match=message):
        start.check((32, 32, 32), 4)
