"""Lesion classes of the user's own: names, hosts, and what the vocabulary knows of them afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from maisi import labels, new_classes
from maisi.errors import InputError
from maisi.files import write_volume
from maisi.labels import LABELS, find_label, map_ids, remove_lesions
from maisi.models.variants import read_variant
from maisi.new_classes import NewClass, parse
from maisi.options import Options
from maisi.request import Request, read_inputs
from maisi.volume import LabelVolume


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("renal angiomyolipoma=133:kidney", (5, 14)),
        ("renal angiomyolipoma=133: left kidney , right kidney", (14, 5)),
        ("hemangioma=134:liver", (1,)),
        ("sarcoid=201:lung", (28, 29, 30, 31, 32)),
        ("lipoma=130:body", (200,)),
    ],
)
def test_a_new_class_is_told_in_one_line(text, hosts):
    new = parse(text)
    assert (f"{new.name}={new.id}", new.hosts) == (text.partition(":")[0], hosts)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("angiomyolipoma", "write for example"),
        ("angiomyolipoma=x:liver", "write for example"),
        ("angiomyolipoma=26:liver", "not free"),
        ("angiomyolipoma=200:liver", "not free"),
        ("liver tumor=133:liver", "known as label 26"),
        ("angiomyolipoma=133:nose", "no organ called 'nose'"),
        ("angiomyolipoma=133:kidney tumor", "needs organs"),
        (" =133:liver", "no name"),
    ],
)
def test_what_is_no_class_is_told(text, says):
    with pytest.raises(InputError, match=says):
        parse(text)


def test_a_learned_class_is_read_found_and_healed():
    new_classes.learn([NewClass(133, "renal angiomyolipoma", (5, 14))] * 2)
    assert find_label("Renal_Angiomyolipoma") == 133
    assert labels.LESIONS.count(133) == labels.TUMORS.count(133) == 1
    array = np.full((8, 8, 8), 14, np.uint8)
    array[:, :, 4:] = 200
    array[2:5, 2:5, 2:6] = 133
    healed = remove_lesions(map_ids(array))
    assert set(np.unique(healed)) == {14, 200}
    assert (healed[array == 133] == 14).all()
    with pytest.raises(InputError, match="another id"):
        new_classes.learn([NewClass(133, "hemangioma", (1,))])


def test_a_model_card_teaches_its_classes(a_models_folder, tmp_path):
    card = json.loads((a_models_folder / "tiny.json").read_text())
    card["model"]["classes"] = [{"id": 201, "name": "hemangioma", "hosts": [1]}]
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(card))
    assert read_variant(path).classes == (NewClass(201, "hemangioma", (1,)),)
    assert LABELS[201].hosts == (1,)


def test_reading_a_prepared_folder_needs_no_torch():
    code = "import sys, maisi.train.prepared, maisi.new_classes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_label_map_with_a_models_own_class_is_read_for_that_model(a_models_folder, tmp_path, monkeypatch):
    """The model is asked what it knows before the labels are read; for another model the id means nothing."""
    card = json.loads((a_models_folder / "tiny.json").read_text())
    card["name"], card["model"]["classes"] = "mine", [{"id": 201, "name": "hemangioma", "hosts": [1]}]
    (tmp_path / "mine.json").write_text(json.dumps(card))
    array = np.full((8, 8, 8), 1, np.uint8)
    array[2:5, 2:5, 2:5] = 201
    write_volume(tmp_path / "labels.nii.gz", LabelVolume(array, np.diag([4.0, 4.0, 4.0, 1.0])))
    request = Request("synthesize", Options(model="embedded"), {"labels": tmp_path / "labels.nii.gz"})
    with pytest.raises(InputError, match="201"):
        read_inputs(request)
    monkeypatch.setenv("MAISI_MODELS", str(tmp_path))
    inputs = read_inputs(replace(request, options=Options(model="mine")))
    assert np.array_equal(inputs.labels.array, array)
