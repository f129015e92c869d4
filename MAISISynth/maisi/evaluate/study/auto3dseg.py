"""The study at full scale: data lists and configurations of both arms for Auto3DSeg, one pair for each fold.

Source: MONAI 1.5, monai.apps.auto3dseg.AutoRunner and auto3dseg.datafold_read: entries of the tested fold validate, all
others are trained on. So that synthetic cases are never tested, each of our folds is a list of its own: fold 0 is what
is tested, fold 1 what is trained on.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from maisi.evaluate.study.cases import StudyCase
from maisi.evaluate.study.run import split
from maisi.evaluate.study.settings import ARMS, StudySettings
from maisi.files import write_json, write_volume
from maisi.volume import LabelVolume


def write_auto3dseg(
    real: Sequence[StudyCase], synthetic: Sequence[StudyCase], settings: StudySettings, folder: Path
) -> Path:
    """Write ``ARM/foldN/datalist.json`` and ``input.json``, label maps in the study's classes, and ``run.sh``.

    Returns:
        ``run.sh``, which runs Auto3DSeg on all of them, one after the other.

    Raises:
        InputError: a label map cannot be read, or a file cannot be written.
    """
    labels = folder / "labels"
    labels.mkdir(parents=True, exist_ok=True)
    files = {case.name: _relabelled(case, settings, labels) for case in (*real, *synthetic)}
    commands = []
    for fold in sorted({case.fold for case in real}):
        for arm in ARMS:
            place = folder / arm.replace(" ", "_") / f"fold{fold}"
            place.mkdir(parents=True, exist_ok=True)
            training, test = split(real, synthetic if arm == ARMS[1] else (), fold, settings)
            entries = [
                {"image": str(case.scan.image.resolve()), "label": str(files[case.name].resolve()), "fold": number}
                for number, cases in enumerate((test, training))
                for case in cases
            ]
            write_json(place / "datalist.json", {"training": entries, "testing": []})
            write_json(place / "input.json", _input(place, settings, f"{arm}, fold {fold}"))
            commands.append(_command(place))
    script = folder / "run.sh"
    script.write_text("\n".join(["#!/bin/sh", "set -e", *commands, ""]), encoding="utf-8")
    return script


def _relabelled(case: StudyCase, settings: StudySettings, folder: Path) -> Path:
    """The case's labels as numbers of the study's classes."""
    path = folder / f"{case.name.replace('/', '_')}.nii.gz"
    if not path.is_file():
        numbers = np.zeros(256, np.uint8)
        numbers[list(settings.classes)] = range(1, len(settings.classes) + 1)
        _, labels = case.dataset.read_pair(case.scan)
        write_volume(path, LabelVolume(numbers[labels.array], labels.affine))
    return path


def _input(place: Path, settings: StudySettings, name: str) -> dict[str, object]:
    return {
        "name": name,
        "task": "segmentation",
        "modality": "CT",
        "datalist": str((place / "datalist.json").resolve()),
        "dataroot": os.sep,
        "class_names": settings.names,
    }


def _command(place: Path) -> str:
    given = {"--work_dir": place / "work", "--input": place / "input.json"}
    parts = " ".join(f"{name}={shlex.quote(str(path.resolve()))}" for name, path in given.items())
    return f"python -m monai.apps.auto3dseg AutoRunner {parts} set_num_fold --num_fold=1 run"
