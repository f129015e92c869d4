"""The real stages on real prepared data: stopped after every step, they end as if they had not been."""

from __future__ import annotations

import pytest
import torch

from helpers.prepared_folder import an_item, write_prepared
from helpers.tiny_stages import tiny_config, tiny_stage, write_random_weights
from helpers.training import final_state, same
from maisi.train.ranks import Ranks
from maisi.train.run_folder import RunFolder
from maisi.train.trainer import train

ALONE = Ranks(0, 1, torch.device("cpu"))
STEPS = 3


@pytest.mark.parametrize("kind", ["autoencoder", "diffusion", "controlnet", "mask_autoencoder", "mask_diffusion"])
def test_a_stage_that_was_stopped_after_each_step_ends_like_one_that_was_not(tmp_path, kind):
    prepared = write_prepared(tmp_path / "data", [an_item(n, (32, 32, 32), fold=n % 2) for n in range(4)])
    config = tiny_config(kind, prepared)
    needed = {"controlnet": ["unet"], "mask_diffusion": ["mask_autoencoder"]}.get(kind, [])
    write_random_weights(tmp_path / "before", config, *needed)
    config = tiny_config(kind, prepared, weights={role: str(tmp_path / "before") for role in needed})
    config = config.model_copy(update={"run": config.run.model_copy(update={"steps": STEPS, "validate_every": 2})})
    whole, often = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "often")
    for run in (whole, often):
        run.create({"config": config.model_dump(mode="json")})
    assert train(tiny_stage(config), config, whole, ALONE) == "finished"
    often.request_stop()  # nobody removes it: each sitting is one step
    states = [train(tiny_stage(config, seed=sitting), config, often, ALONE) for sitting in range(STEPS)]
    assert states == ["stopped"] * (STEPS - 1) + ["finished"]
    assert same(final_state(often)["batches"], final_state(whole)["batches"])
    for part in ("averages", "players", "stage"):
        assert same(final_state(often)[part], final_state(whole)[part]), part
