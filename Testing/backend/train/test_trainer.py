"""The training loop in this process, on a stage that trains in a moment."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from helpers.tiny_stage import TinyStage
from helpers.training import TINY, final_state, losses, make_run, same, wait_for_end
from maisi.files import read_image
from maisi.train.averages import Averages
from maisi.train.checkpoint import read_checkpoint, save_checkpoint
from maisi.train.config import OptimizerConfig
from maisi.train.heartbeat import Heartbeat
from maisi.train.launch import Processes, launch
from maisi.train.metrics import Metrics
from maisi.train.ranks import Ranks
from maisi.train.schedule import learning_rate
from maisi.train.stage import Progress
from maisi.train.trainer import TrainingError, train

ALONE = Ranks(0, 1, torch.device("cpu"))


def train_here(run, config, stage=None) -> TinyStage:
    stage = stage or TinyStage(config)
    assert train(stage, config, run, ALONE) == "finished"
    return stage


def test_a_training_learns_and_leaves_what_it_promises(tmp_path, caplog):
    run, config = make_run(tmp_path, steps=200, log_every=10, validate_every=50, preview_every=100)
    train_here(run, config)
    metrics = Metrics(run.metrics)
    assert metrics.poll()
    steps, values = metrics.series("loss")
    assert steps == list(range(10, 201, 10))
    assert values[-1] < 0.3 * values[0]
    assert {"error", "learning_rate", "gradient_norm", "opponent_loss"} <= set(metrics.names())
    assert metrics.series("score", "validation")[0] == [50, 100, 150, 200]
    status = run.status()
    assert (status.state, status.step, status.steps, status.unreadable) == ("finished", 200, 200, 1)
    assert status.epoch == pytest.approx(200 * 2 / 24)
    assert "case_3 is left out: the file is cut off" in caplog.text
    assert [path.name for path in run.previews_of()] == ["step_00000100_ct.nii.gz", "step_00000200_ct.nii.gz"]
    assert (read_image(run.previews_of()[0]).array == 40).all()
    assert list(run.tensorboard.glob("events.*"))
    assert run.last_checkpoint().name == "step_00000200.pt"


def test_a_finished_training_stays_as_it_is(tmp_path):
    run, config = make_run(tmp_path, steps=3)
    train_here(run, config)
    before = final_state(run)
    train_here(run, config)  # nothing is left to do
    assert same(final_state(run), before)


def test_a_longer_training_goes_on_with_a_finished_one(tmp_path):
    run, config = make_run(tmp_path, steps=3)
    train_here(run, config)
    longer = config.model_copy(update={"run": config.run.model_copy(update={"steps": 5})})
    train_here(run, longer)
    assert sorted(losses(run)) == [1, 2, 3, 4, 5]


def test_batches_that_are_added_up_count_like_one(tmp_path, monkeypatch):
    monkeypatch.setenv("TINY_NOISE", "0")
    monkeypatch.setenv("TINY_SIZES", "4")
    one = train_here(*make_run(tmp_path / "one", steps=12))
    monkeypatch.setenv("TINY_SIZES", "2")
    two = train_here(*make_run(tmp_path / "two", steps=12, accumulate=2))
    assert_close(one, two)


def test_each_sample_counts_the_same_on_processes_with_unequal_batches(tmp_path, monkeypatch):
    """3 + 1 samples on two processes give what 4 give on one; equal weights of processes would not."""
    monkeypatch.setenv("TINY_NOISE", "0")
    monkeypatch.setenv("TINY_SIZES", "4")
    alone_run, config = make_run(tmp_path / "alone", steps=12)
    alone = train_here(alone_run, config)
    monkeypatch.setenv("TINY_SIZES", "3,1")
    run, config = make_run(tmp_path / "two", steps=12)
    launch(run, Processes(2), [TINY])
    assert wait_for_end(run).state == "finished", run.log_tail()
    together = TinyStage(config)
    together.load_state_dict(read_checkpoint(run.last_checkpoint())["stage"])
    assert_close(alone, together)
    for step, (loss, _) in losses(alone_run).items():
        assert losses(run)[step][0] == pytest.approx(loss, rel=1e-4)


def assert_close(first: TinyStage, second: TinyStage) -> None:
    for name, value in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], value, rtol=1e-4, atol=1e-5, msg=name)


# ---- gradients that are not finite


def test_a_bad_step_changes_nothing_and_is_counted(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TINY_NAN", "0:3")
    run, config = make_run(tmp_path, steps=3, ema=0.0)
    fresh = TinyStage(config)
    stage = train_here(run, config)
    for before, after in zip(fresh.parameters_of("network"), stage.parameters_of("network"), strict=True):
        assert torch.equal(before, after)
    assert not torch.equal(fresh.opponent[0].weight, stage.opponent[0].weight)  # its loss was finite
    assert run.status().skipped_steps == 3
    assert "Step 2 is left out: its gradient is not finite. Data: case_" in caplog.text


def test_too_many_bad_steps_in_a_row_end_a_training_with_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("TINY_NAN", "2:40")
    run, config = make_run(tmp_path, skips=5, checkpoint_steps=2)
    with pytest.raises(TrainingError, match="not finite in 5 steps in a row, up to step 7; lower"):
        train(TinyStage(config), config, run, ALONE)
    assert run.last_checkpoint().name == "step_00000006.pt"


def test_float16_scales_the_loss_so_that_small_gradients_survive(tmp_path):
    run, config = make_run(tmp_path, steps=30, precision="float16")
    train_here(run, config)
    scaler = final_state(run)["players"]["network"]["scaler"]
    assert scaler["scale"] > 1
    assert run.status().skipped_steps == 0
    assert losses(run)[30][0] < losses(run)[1][0]


# ---- averages and best weights


def test_averages_are_those_of_the_formula():
    network = torch.nn.Linear(1, 1, bias=False)
    averages, expected = Averages({"net": network}, 0.9), network.weight.item()
    for step in range(1, 40):
        with torch.no_grad():
            network.weight.fill_(step)
        averages.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    with averages.in_place():
        assert network.weight.item() == pytest.approx(expected, rel=1e-5)
    assert network.weight.item() == 39


def test_weights_to_use_are_those_of_the_best_validation(tmp_path):
    """The score is best at the second of four validations."""

    class Scripted(TinyStage):
        scores = iter([3.0, 1.0, math.nan, 2.0])
        seen: list[dict] = []  # noqa: RUF012

        def validation(self, rank, world):
            return list(super().validation(rank, world))[:1]

        def validate(self, batch, generator):
            assert not self.training
            self.seen.append({name: p.clone() for name, p in self.line.state_dict().items()})
            return {"score": next(self.scores)}

    run, config = make_run(tmp_path, steps=8, validate_every=2)
    stage = train_here(run, config, Scripted(config))
    written = load_file(run.weights / "line.safetensors")
    assert same(written, stage.seen[1])  # the averages, as they were validated
    assert not same(written, stage.seen[3])
    assert (run.status().best, run.status().best_step) == (1.0, 4)


def test_without_validation_the_last_weights_are_used(tmp_path):
    run, config = make_run(tmp_path, steps=4, validate_every=0, ema=0.0)
    stage = train_here(run, config)
    assert same(load_file(run.weights / "line.safetensors"), dict(stage.line.state_dict()))


def test_a_preview_that_fails_stops_nothing(tmp_path, caplog):
    class NoPreview(TinyStage):
        def preview(self, generator):
            raise RuntimeError("out of memory")

    run, config = make_run(tmp_path, steps=4, preview_every=2)
    train_here(run, config, NoPreview(config))
    assert "The preview of step 2 failed (out of memory). Training goes on." in caplog.text


# ---- checkpoints


def test_a_damaged_checkpoint_is_set_aside_for_the_one_before(tmp_path, caplog):
    run, config = make_run(tmp_path / "damaged", steps=20, checkpoint_steps=8)
    train_here(run, config)
    newest = run.last_checkpoint()
    expected = final_state(run)
    newest.write_bytes(newest.read_bytes()[:3000])
    train_here(run, config)  # from step 16
    assert "cannot be read" in caplog.text
    assert newest.with_suffix(".damaged").stat().st_size == 3000  # nothing is thrown away
    assert same(final_state(run), expected)


def test_the_newest_two_checkpoints_are_kept(tmp_path):
    run, _ = make_run(tmp_path)
    for step in (1, 2, 3):
        save_checkpoint(run, step, {"step": step})
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["step_00000002.pt", "step_00000003.pt"]


def test_a_length_in_hours_ends_after_that_time(tmp_path, monkeypatch):
    monkeypatch.setenv("TINY_SECONDS", "0.02")
    run, config = make_run(tmp_path, steps=None, hours=1 / 3600)
    train_here(run, config)
    counts = read_checkpoint(run.last_checkpoint())["counts"]
    assert 1.0 <= counts["elapsed"] < 5
    assert 1 < counts["step"] <= 50
    assert run.status().steps == 0


# ---- learning rates


@given(
    st.integers(0, 999), st.sampled_from(["linear", "stairs"]), st.sampled_from(["polynomial", "cosine", "constant"])
)
def test_learning_rates_never_pass_the_highest_and_never_are_negative(step, warmup, schedule):
    config = OptimizerConfig(learning_rate=0.1, warmup=warmup, schedule=schedule, warmup_steps=100)
    rate = learning_rate(config, Progress(step, step / 1000), 10)
    assert 0 < rate <= 0.1
    if step >= 100 and schedule == "constant":
        assert rate == 0.1


def test_the_released_beginning_of_the_autoencoder():
    """FACTS 5.2: 0.01 for epochs 0-9, 0.1 for 10-19, 1 afterwards."""
    config = OptimizerConfig(learning_rate=1.0, schedule="constant", warmup="stairs", warmup_epochs=20)
    rates = [learning_rate(config, Progress(epoch * 7, 0), 7) for epoch in range(22)]
    np.testing.assert_allclose(rates, [0.01] * 10 + [0.1] * 10 + [1] * 2)


def test_the_polynomial_of_the_released_code():
    """torch's PolynomialLR with power 2."""
    config = OptimizerConfig(learning_rate=0.5, schedule="polynomial", power=2)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.5)
    reference = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=30, power=2)
    for step in range(30):
        assert learning_rate(config, Progress(step, step / 30), 1) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()


def test_an_end_is_told_once(tmp_path):
    """Told again, it would pass for the end of a sitting that was started meanwhile."""
    run, _ = make_run(tmp_path)
    with Heartbeat(run) as heartbeat:
        heartbeat.say(state="stopped")
        told = run.last_status().time
    assert run.last_status().time == told
