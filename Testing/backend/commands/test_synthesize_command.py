"""``maisi synthesize``, ``edit`` and ``generate``: what they ask for, what they write where."""

import json
from dataclasses import fields
from pathlib import Path

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest

from helpers.command_line import AFFINE, refused, write_labels
from maisi import cli
from maisi.files import read_image, read_labels, write_volume
from maisi.options import Options
from maisi.outputs.dicom import SEGMENTATION
from maisi.volume import LabelVolume


def test_synthesize_writes_a_marked_ct_on_the_grid_of_the_labels(folder, fake, capsys):
    arguments = "synthesize labels.nii.gz -o out.nii.gz --seed 7 --steps 5 --device cpu"
    assert cli.main(arguments.split()) == 0
    said = capsys.readouterr()
    image = read_image("out.nii.gz")
    assert image.same_grid(read_labels("labels.nii.gz"))
    assert (image.array == 47).all()
    assert b"SYNTHETIC CT" in nib.load("out.nii.gz").header["descrip"].item()
    assert {k: fake.asked[0][k] for k in ("seed", "steps", "device", "model")} == {
        "seed": 7, "steps": 5, "device": "cpu", "model": "embedded"
    }  # fmt: skip
    assert "1.5 GB" in said.err.splitlines()[0]  # the need stands before everything else
    assert "sample: 100%" in said.err
    assert "note: mind the body" in said.err
    assert said.out == "Wrote out.nii.gz in 1 s; 1 of 2 organs in HU range.\n"


def test_every_option_of_a_synthesis_can_be_given(folder, fake):
    given = {
        "--seed": "3", "--steps": "4", "--solver": "heun", "--time-grid": "clean", "--guidance": "2.5",
        "--modality": "ct", "--regions": "chest,abdomen", "--precision": "float32", "--retries": "2",
        "--device": "cpu", "--model": "embedded", "--method": "full",
    }  # fmt: skip
    assert {f"--{f.name.replace('_', '-')}" for f in fields(Options)} == {*given, "--compatible", "--compiled"}
    flat = [word for pair in given.items() for word in pair]
    assert cli.main(["synthesize", *flat, "--compatible", "--compiled", "labels.nii.gz", "-o", "out.nrrd"]) == 0
    (asked,) = fake.asked
    assert Options.from_json({f.name: asked[f.name] for f in fields(Options)}) == Options(
        "embedded", 3, 4, "heun", "clean", 2.5, "ct", ("chest", "abdomen"), True, "float32", True, 2, "full", "cpu"
    )


def test_synthesize_maps_other_numberings(folder, fake):
    write_labels("ts.nii.gz", np.full((24, 24, 20), 5, np.uint8))
    assert cli.main(["synthesize", "ts.nii.gz", "-o", "out.nii.gz", "--labels-from", "totalsegmentator"]) == 0
    assert (fake.asked[0]["labels"].array == 1).all()


def test_edit_takes_the_ct_and_both_label_maps(folder, fake):
    assert cli.main(["edit", "ct.nii.gz", "labels.nii.gz", "after.nii.gz", "-o", "out.nrrd"]) == 0
    assert (fake.asked[0]["image"].array == 50).all()
    assert 26 not in fake.asked[0]["before"].array
    assert 26 in fake.asked[0]["labels"].array
    assert Path("out.nrrd").exists()


def test_edit_brings_cropped_labels_to_the_grid_of_the_ct(folder, fake):
    labels = read_labels("after.nii.gz")
    affine = AFFINE.copy()
    affine[:3, 3] = AFFINE[:3, :3] @ [2, 2, 2]
    write_volume("cropped.nrrd", LabelVolume(np.ascontiguousarray(labels.array[2:20, 2:20, 2:18]), affine))
    assert cli.main(["edit", "ct.nii.gz", "labels.nii.gz", "cropped.nrrd", "-o", "out.nrrd"]) == 0
    assert fake.asked[0]["labels"].same_grid(read_image("ct.nii.gz"))


def test_generate_needs_no_labels(folder, fake, capsys):
    command = "generate -o out.nii.gz --size 8 9 10 --spacing 1.5 1.5 2"
    assert cli.main(command.split()) == 0
    assert (fake.asked[0]["shape"], fake.asked[0]["spacing"]) == ((8, 9, 10), (1.5, 1.5, 2))
    image = read_image("out.nii.gz")
    assert image.shape == (8, 9, 10)
    assert image.spacing == pytest.approx([1.5, 1.5, 2])
    assert capsys.readouterr().out == "Wrote out.nii.gz in 1 s.\n"  # nothing was checked


def test_several_samples_have_their_seeds_in_their_names(folder, fake):
    command = "synthesize labels.nii.gz -o out.nii.gz --seed 5 --samples 3 --save-latents z.npy"
    assert cli.main(command.split()) == 0
    for seed in (5, 6, 7):
        assert (read_image(f"out_seed{seed}.nii.gz").array == 40 + seed).all()
        assert (np.load(f"z_seed{seed}.npy") == seed).all()
        assert json.loads(Path(f"out_seed{seed}.json").read_text())["request"]["options"]["seed"] == seed
    assert not Path("out.nii.gz").exists()


def test_noise_and_latents_come_from_files(folder, fake):
    noise, latents = np.ones((4, 2, 2, 2), np.float32), np.zeros((4, 2, 2, 2), np.float64)
    np.save("noise.npy", noise)
    np.save("latents.npy", latents)
    command = "synthesize labels.nii.gz -o out.nii.gz --noise noise.npy --latents latents.npy --strength 0.4"
    assert cli.main(command.split()) == 0
    (asked,) = fake.asked
    assert np.array_equal(asked["noise"], noise)
    assert asked["latents"].dtype == np.float32
    assert asked["strength"] == 0.4


@pytest.mark.parametrize("output", [["out/"], ["out", "--format", "dicom"]])
def test_a_folder_becomes_a_dicom_series_with_its_segmentation(folder, fake, output):
    assert cli.main(["synthesize", "labels.nii.gz", "--seed", "9", "-o", *output]) == 0
    slices = [pydicom.dcmread(path) for path in sorted(Path("out").glob("*.dcm"))]
    assert len(slices) == 20
    assert (slices[0].pixel_array == 49).all()
    assert "seed 9" in slices[0].SeriesDescription
    segmentation = highdicom.seg.segread(Path("out") / SEGMENTATION)
    assert segmentation.number_of_segments == 2
    assert json.loads(Path("out.json").read_text())["request"]["command"] == "synthesize"


def test_samples_as_dicom_are_folders(folder, fake):
    assert cli.main(["synthesize", "labels.nii.gz", "-o", "out/", "--samples", "2"]) == 0
    assert sorted(path.name for path in folder.glob("out*")) == [
        "out_seed0",
        "out_seed0.json",
        "out_seed1",
        "out_seed1.json",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("synthesize labels.nii.gz -o full/", "new or empty folder"),
        ("synthesize labels.nii.gz -o out.nii.gz --format dicom", "name of a folder"),
        ("synthesize sheared.nii.gz -o out/", "perpendicular"),
        ("synthesize labels.nii.gz -o ./", "no name for a result"),
        ("synthesize labels.nii.gz -o ../", "no name for a result"),
        ("synthesize labels.nii.gz -o mine.nii.gz", "another kind"),
        ("synthesize labels.nii.gz -o out.nii.gz --samples 0", "from 1 to 1000"),
        ("synthesize labels.nii.gz -o out.nii.gz --save-latents z.txt", "must end in .npy"),
        ("synthesize labels.nii.gz -o out.nii.gz --save-latents no/z.npy", "does not exist"),
        ("synthesize labels.nii.gz -o o.nii --latents fine.npy --save-latents fine.npy", "one of the inputs"),
        ("synthesize labels.nii.gz -o out.nii.gz --noise absent.npy", "no file"),
        ("synthesize labels.nii.gz -o out.nii.gz --noise labels.nii.gz", "cannot be read as a .npy"),
        ("synthesize labels.nii.gz -o out.nii.gz --latents whole.npy", "no array of fractions"),
        ("synthesize labels.nii.gz -o out.nii.gz --solver magic", "no solver 'magic'"),
        ("generate -o out.nii.gz --size 8 9 10 --spacing 1 1 0", "greater than zero"),
        ("generate -o out.nii.gz --size 8 9 --spacing 1 1 1", "--size"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_told_before_the_work(folder, fake, capsys, arguments, message):
    Path("full").mkdir()
    Path("full/mine.txt").touch()
    Path("mine.json").write_text('{"mine": 1}')
    np.save("fine.npy", np.ones((4, 2, 2, 2), np.float32))
    np.save("whole.npy", np.ones((4, 2, 2, 2), np.int16))
    sheared = AFFINE.copy()
    sheared[0, 1] = 1.0
    write_labels("sheared.nii.gz", np.ones((9, 9, 9), np.uint8), sheared)
    before = sorted(path.name for path in folder.iterdir())
    assert message in refused(capsys, *arguments.split())
    assert fake.asked == []
    assert sorted(path.name for path in folder.iterdir()) == before
