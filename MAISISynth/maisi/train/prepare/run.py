"""Preparing: make the cases that are missing, encode those without latents, write the list of items."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from maisi.errors import Cancelled, MaisiError, WeightsError
from maisi.files import write_json
from maisi.new_classes import learn
from maisi.train.prepare.cases import Case
from maisi.train.prepare.folder import Plan, PreparedFolder, prepare_folders
from maisi.train.prepare.volumes import make_volumes, volumes_key
from maisi.train.prepared import PREPARED, Item, Settings, write_items

if TYPE_CHECKING:
    from maisi.train.prepare.latents import Encoder

Progress = Callable[[str, int, int], None]


def make_share(
    plan: Plan,
    folder: PreparedFolder,
    rank: int = 0,
    world: int = 1,
    progress: Progress = lambda stage, step, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Make what is missing of the cases ``rank``, ``rank + world`` ...; the processes need no word from each other.

    A case that fails is recorded with its sentence, and the rest goes on.

    Raises:
        Cancelled: on request. WeightsError: there is no autoencoder to encode with.
    """
    learn(plan.settings.classes)
    prepare_folders(folder)
    share = plan.cases[rank::world]
    encoder = _encoder(plan)
    for number, case in enumerate(share):
        progress("prepare", number, len(share))
        if cancelled():
            raise Cancelled("The preparation was stopped; the same command goes on.")
        try:
            if not folder.is_done(case.id, volumes_key(plan, case)):
                folder.write_record(case.id, make_volumes(plan, case, folder))
            if encoder is not None:
                encoder.encode_case(case.id, folder)
        except (Cancelled, WeightsError):
            raise
        except Exception as error:
            _record_failure(folder, plan, case, error)
    progress("prepare", len(share), len(share))


def _encoder(plan: Plan) -> Encoder | None:
    if not plan.encodes:
        return None
    from maisi.train.prepare.latents import Encoder  # torch is needed for latents alone

    return Encoder.open(plan)


def _record_failure(folder: PreparedFolder, plan: Plan, case: Case, error: Exception) -> None:
    told = isinstance(error, MaisiError)
    record = {"error": str(error) if told else f"{type(error).__name__}: {error}"}
    record |= {} if told else {"trace": traceback.format_exc()}
    key = volumes_key(plan, case)
    if folder.is_done(case.id, key):  # only the latents failed
        record = folder.read_record(case.id) | record
    else:
        record |= {"case": case.id, "key": key, "status": "failed"}
    folder.write_record(case.id, record)


def finish(plan: Plan, folder: PreparedFolder) -> dict[str, str]:
    """Write ``items.jsonl`` and ``prepared.json`` of all cases that are complete.

    Returns:
        A sentence for each case that is not, by name.
    """
    missing = {}
    items: list[Item] = []
    for case in plan.cases:
        done = folder.is_done(case.id, volumes_key(plan, case))
        if done:
            items += [_as_told(item, case) for item in folder.items(case.id)]
        record = folder.read_record(case.id)
        if not done or (plan.encodes and "latents" not in record):
            missing[case.id] = record.get("error", "It was not made.")
    ids = {item.id for item in items}
    write_items(folder.path, [i if i.pair in ids else replace(i, pair=None) for i in items])
    write_json(folder.path / PREPARED, asdict(_with_latents(plan, folder)))
    return missing


def _as_told(item: Item, case: Case) -> Item:
    """With what the data set says now; for that nothing has to be made anew."""
    pair = case.pair and item.id.replace(case.id, case.pair, 1)
    return replace(item, fold=case.fold, dataset=case.dataset, weight=case.weight, pair=pair)


def _with_latents(plan: Plan, folder: PreparedFolder) -> Settings:
    """The settings with the autoencoder that all latents come from, and their scale factor (FACTS 1.8)."""
    latents = [folder.read_record(case.id).get("latents") for case in plan.cases]
    latents = [told for told in latents if told]
    networks = {told["autoencoder"]: told["name"] for told in latents}
    if len(networks) != 1:
        return plan.settings
    count, total, squares = (sum(told["moments"][n] for told in latents) for n in range(3))
    deviation = (squares / count - (total / count) ** 2) ** 0.5
    ((sha256, name),) = networks.items()
    return replace(plan.settings, autoencoder={"name": name, "sha256": sha256}, scale_factor=1 / deviation)
