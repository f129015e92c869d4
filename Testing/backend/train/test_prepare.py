"""From data sets as people have them to a folder to train with."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from helpers.grids import anOblique
from helpers.small_datasets import (
    AFFINE,
    SHAPE,
    SPACING,
    a_ct,
    a_label_map,
    write_case,
    write_cases,
    write_list,
    write_nnunet,
)
from maisi.errors import InputError
from maisi.files import write_volume
from maisi.geometry import closest_axes
from maisi.new_classes import NewClass
from maisi.train.data.samples import read_labels
from maisi.train.prepare import run
from maisi.train.prepare.folder import PreparedFolder
from maisi.train.prepare.numbering import Numbering, parse_mapping
from maisi.train.prepare.opening import PrepareRequest, begin, look
from maisi.train.prepare.sizes import copy_sizes, nearest_size, resized
from maisi.train.prepare.volumes import normalize
from maisi.train.prepared import Item, Settings, read_items, read_settings
from maisi.volume import ImageVolume, LabelVolume, Volume

SMALL = Settings(multiple=16, min_slices=8, copies="none")


def prepare(source, output, settings=SMALL, **more) -> list[Item]:
    """All of a data set, in this process; the items."""
    request = PrepareRequest((source,), output, settings, **more)
    plan = begin(request, *look(request))
    run.make_share(plan, PreparedFolder(output))
    assert run.finish(plan, PreparedFolder(output)) == {}
    return read_items(output)


def labels_of(output, item: Item) -> np.ndarray:
    return np.load(output / item.label)["labels"]


# ---- sizes and intensities


@pytest.mark.parametrize(
    ("voxels", "size"), [(192, 256), (320, 256), (321, 384), (448, 512), (20, 128), (512, 512), (64, 128), (191, 128)]
)
def test_sizes_are_the_papers(voxels, size):
    """FACTS 5.1: half cases go to the even multiple."""
    assert nearest_size((voxels, 128, 700), 128) == (size, 128, 640)


@given(st.tuples(*[st.integers(1, 900)] * 3), st.sampled_from([4, 16, 128]), st.sampled_from(["smallest", "halvings"]))
def test_copies_get_smaller_down_to_the_smallest(shape, multiple, kind):
    size = nearest_size(shape, multiple)
    copies = copy_sizes(size, multiple, kind)
    assert copy_sizes(size, multiple, "none") == []
    assert all(n % multiple == 0 for copy in copies for n in copy)
    for larger, smaller in zip([size, *copies], copies, strict=False):
        assert smaller != larger
        assert all(a >= b for a, b in zip(larger, smaller, strict=True))
    assert [size, *copies][-1] == (multiple,) * 3


@given(st.tuples(*[st.integers(8, 40)] * 3), st.sampled_from(["RAS", "LPS", "PIR", "SAL"]), st.integers(0, 50))
@settings(deadline=None, max_examples=30)
def test_resizing_keeps_the_field_of_view_whatever_the_axes_of_the_file(shape, axes, degrees):
    """Unlike the reference, which takes sizes from the file's own axes (FACTS 5.1)."""
    affine = anOblique((1.5, 2.0, 3.0), degrees=(degrees / 5, 0, 0))
    order, flips = [(axes.find(a), axes.find(b)) for a, b in ("RL", "AP", "SI")], []
    turned = np.zeros((4, 4))
    for axis, (plus, minus) in enumerate(order):
        turned[:, max(plus, minus)] = affine[:, axis] * (1 if plus >= 0 else -1)
        flips.append(plus < 0)
    turned[:, 3] = affine[:, 3]
    volume = Volume(np.broadcast_to(np.int16(0), shape), turned)
    plan = resized(volume, (16, 32, 48))
    corners = np.array([[-0.5, -0.5, -0.5, 1], [15.5, 31.5, 47.5, 1]])
    ordered, against = closest_axes(turned)
    low = [-0.5 if k not in against else shape[a] - 0.5 for k, a in enumerate(ordered)]
    high = [shape[a] - 0.5 if k not in against else -0.5 for k, a in enumerate(ordered)]
    for corner, ends in zip(corners, (low, high), strict=True):
        index = np.empty(4)
        index[3] = 1
        index[list(ordered)] = ends
        np.testing.assert_allclose(plan.model_affine @ corner, turned @ index, atol=1e-6)


def test_a_ct_is_cut_at_the_window_and_an_mr_scaled_by_percentiles():
    values = np.linspace(-3000, 5000, 8000).reshape(20, 20, 20)
    ct = normalize(ImageVolume(values.astype(np.float32), np.eye(4)), 1, Settings()).array
    assert (ct.min(), ct.max()) == (-1000, 1000)
    mr = normalize(ImageVolume(values.astype(np.float32), np.eye(4)), 9, Settings()).array
    assert mr.min() == 0
    assert np.percentile(mr, 99.5) == pytest.approx(1, abs=1e-4)
    assert mr.max() > 1.004  # not cut


# ---- what is made


def test_a_folder_of_cases_becomes_images_and_label_maps_with_a_body(tmp_path):
    write_cases(tmp_path / "data", 2)
    items = prepare(tmp_path / "data", tmp_path / "out")
    assert [(i.id, i.shape, i.fold, i.dataset, i.modality) for i in items] == [
        ("case0", (16, 16, 16), 0, "data", 1), ("case1", (16, 16, 16), 1, "data", 1),
    ]  # fmt: skip
    item = items[0]
    np.testing.assert_allclose(item.spacing, np.array(SPACING) * SHAPE / 16, rtol=1e-4)
    image, labels = np.load(tmp_path / "out" / item.image), labels_of(tmp_path / "out", item)
    assert image.dtype == np.int16
    assert image.min() == -1000
    assert set(np.unique(labels)) == {0, 1, 26, 200}
    assert item.ids == (1, 26)
    assert item.region == (2, 2)  # the liver is a mark of the abdomen
    assert abs(image[labels == 1].mean() - 40) < 10
    # The file's first two axes run the other way: the lesion, off its center, must be where it is in the patient.
    at = np.argwhere(labels == 26).mean(0) * item.spacing
    placed = np.argwhere(a_label_map()[::-1, ::-1] == 26).mean(0) * SPACING
    np.testing.assert_allclose(at, placed, atol=2)


def test_copies_share_their_case_and_fold(tmp_path):
    write_cases(tmp_path / "data", 1)
    items = prepare(tmp_path / "data", tmp_path / "out", replace(SMALL, multiple=4, copies="halvings"))
    assert [(i.id, i.shape, i.downsampled) for i in items] == [
        ("case0", (20, 16, 16), False),
        ("case0_8x8x8", (8, 8, 8), True),
        ("case0_4x4x4", (4, 4, 4), True),
    ]
    assert {(i.case, i.fold) for i in items} == {("case0", 0)}
    assert np.load(tmp_path / "out" / items[2].image).shape == labels_of(tmp_path / "out", items[2]).shape == (4, 4, 4)


def test_a_fixed_spacing_pads_with_air_or_with_nothing(tmp_path):
    write_case(tmp_path / "data/ct")
    fixed = replace(SMALL, spacing=(2.0, 2.0, 2.0), multiple=32)
    (item,) = prepare(tmp_path / "data", tmp_path / "out", fixed)
    assert (item.shape, item.spacing) == ((32, 32, 32), (2.0, 2.0, 2.0))
    image, labels = np.load(tmp_path / "out" / item.image), labels_of(tmp_path / "out", item)
    assert (image[0] == -1000).all()
    assert (labels[0] == 0).all()
    (item,) = prepare(tmp_path / "data", tmp_path / "mr", fixed, modality="t1")
    image = np.load(tmp_path / "mr" / item.image)
    assert image.dtype == np.float16
    assert (image[0] == 0).all()
    assert image.max() > 0.9


def test_own_lesions_lie_over_the_organs_of_another_program(tmp_path):
    """The combined label recipe (FACTS 5.4): organs of TotalSegmentator, a mask of the lesion alone, body around."""
    lesion = np.where(a_label_map() == 26, 1, 0).astype(np.uint8)
    write_case(tmp_path / "data/case0", labels=lesion)
    (tmp_path / "organs").mkdir()
    organs = np.where(a_label_map() > 0, 5, 0).astype(np.uint8)  # TotalSegmentator's liver
    write_volume(tmp_path / "organs/case0.nii.gz", LabelVolume(organs, AFFINE))
    (item,) = prepare(
        tmp_path / "data",
        tmp_path / "out",
        replace(SMALL, classes=(NewClass(133, "hemangioma", (1,)),)),
        numbering=Numbering(pseudo="totalsegmentator", mapping={"1": 133}),
        pseudo_labels=tmp_path / "organs",
    )
    assert item.ids == (1, 133)
    assert set(np.unique(labels_of(tmp_path / "out", item))) == {0, 1, 133, 200}
    assert read_settings(tmp_path / "out").classes == (NewClass(133, "hemangioma", (1,)),)


def test_masks_of_totalsegmentator_are_one_label_map(tmp_path):
    write_case(tmp_path / "data/s0001", labels=np.zeros(0))
    masks = tmp_path / "data/s0001/segmentations"
    masks.mkdir()
    for name, id_ in (("liver", 1), ("vertebrae_L1", 26)):
        write_volume(masks / f"{name}.nii.gz", LabelVolume((a_label_map() == id_).astype(np.uint8), AFFINE))
    (item,) = prepare(tmp_path / "data", tmp_path / "out")
    assert item.ids == (1, 37)


def test_an_nnunet_data_set_has_names_for_its_values(tmp_path):
    source = write_nnunet(tmp_path / "Dataset001_Mine", {"background": 0, "Liver": 1, "hemangioma": 2})
    settings = replace(SMALL, classes=(NewClass(134, "hemangioma", (1,)),))
    items = prepare(source, tmp_path / "out", settings)
    assert [i.ids for i in items] == [(1, 134)] * 2
    assert {i.dataset for i in items} == {"Dataset001_Mine"}


def test_channels_of_an_nnunet_data_set_are_images_of_their_own(tmp_path):
    labels = {"background": 0, "liver": 1, "hepatic tumor": 2}
    items = prepare(write_nnunet(tmp_path / "mr", labels, ("T1", "FLAIR")), tmp_path / "out")
    assert [(i.id, i.modality) for i in items] == [
        ("p0_0000", 9), ("p0_0001", 11), ("p1_0000", 9), ("p1_0001", 11),
    ]  # fmt: skip


def test_a_data_list_tells_fold_weight_modality_and_pair(tmp_path):
    write_cases(tmp_path, 3)
    entries = [{"image": f"case{n}/ct.nii.gz", "label": f"case{n}/label.nii.gz", "fold": 3 - n} for n in range(3)]
    entries[0] |= {"weight": 2.5, "modality": "ct with contrast"}
    entries[1] |= {"pair": "case2/ct.nii.gz"}
    settings = replace(SMALL, multiple=4, copies="halvings")
    items = {i.id: i for i in prepare(write_list(tmp_path / "mine.json", entries), tmp_path / "out", settings)}
    assert (items["case0"].fold, items["case0"].weight, items["case0"].modality) == (3, 2.5, 3)
    assert (items["case1"].pair, items["case1"].fold) == ("case2", 2)
    assert items["case1_8x8x8"].pair == "case2_8x8x8"
    assert items["case2"].pair is None


def test_a_pair_without_a_fold_has_the_one_of_its_partner(tmp_path):
    write_cases(tmp_path, 3)
    entries = [{"image": f"case{n}/ct.nii.gz", "label": f"case{n}/label.nii.gz"} for n in range(3)]
    entries[2]["pair"] = "case0/ct.nii.gz"
    items = prepare(write_list(tmp_path / "mine.json", entries), tmp_path / "out")
    assert [(item.fold, item.pair) for item in items] == [(0, None), (1, None), (0, "case0")]


@given(shape=st.tuples(*[st.integers(1, 12)] * 3), seed=st.integers(0, 999), kinds=st.integers(1, 256))
@settings(deadline=None, max_examples=20)
def test_packed_label_maps_come_back_as_they_were(tmp_path_factory, shape, seed, kinds):
    folder = PreparedFolder(tmp_path_factory.mktemp("packed"))
    labels = np.random.default_rng(seed).integers(0, kinds, shape).astype(np.uint8)
    size = folder.write("labels/a.npz", lambda path: np.savez_compressed(path, labels=labels))
    assert size == {"labels/a.npz": (folder.path / "labels/a.npz").stat().st_size}
    item = Item("a", "a", shape, (1.0, 1.0, 1.0), label="labels/a.npz")
    assert np.array_equal(read_labels(folder.path, item), labels)
    with pytest.raises(ValueError, match="its label map holds"):
        read_labels(folder.path, replace(item, shape=(shape[0] + 1, *shape[1:])))


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    write_cases(tmp_path / "data", 1)
    prepare(tmp_path / "data", tmp_path / "out")
    before = contents(tmp_path / "out")

    def full(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_text", full)
        with pytest.raises(InputError, match="No space left"):
            prepare(tmp_path / "data", tmp_path / "out")
    assert contents(tmp_path / "out") == before


# ---- looking first


def findings(source, output, settings=SMALL, **more) -> dict[str, tuple[bool, set[str]]]:
    _, checked = look(PrepareRequest((source,), output, settings, **more))
    return {c.id: (c.usable, {f.kind for f in c.findings}) for c in checked}


def test_everything_that_is_wrong_is_found_before_any_work(tmp_path):
    data = tmp_path / "data"
    write_case(data / "good", 1)
    write_case(data / "again", 1)
    write_case(data / "no_labels", 2, labels=np.zeros(0))
    write_case(data / "strange_label", 3, labels=a_label_map(organ=131))
    write_case(data / "other_grid", 4)
    write_volume(data / "other_grid/label.nii.gz", LabelVolume(a_label_map(), np.diag([2.1, 2, 3, 1])))
    write_case(data / "not_hu", 5)
    write_volume(data / "not_hu/ct.nii.gz", ImageVolume(a_ct(5) + 1024, AFFINE))
    write_case(data / "broken", 6)
    (data / "broken/ct.nii.gz").write_bytes(b"not an image")
    write_case(data / "lesion_only", 7, labels=np.where(a_label_map() == 26, 26, 0).astype(np.uint8))
    write_case(data / "flat", 8)
    write_volume(data / "flat/ct.nii.gz", ImageVolume(np.zeros(SHAPE, np.int16), AFFINE))
    write_case(data / "thick", 9, affine=np.diag([2.0, 2.0, 300.0, 1.0]))
    found = findings(data, tmp_path / "out")
    assert found == {
        "again": (True, set()),
        "good": (False, {"duplicate"}),
        "no_labels": (True, {"labels"}),
        "strange_label": (False, {"labels"}),
        "other_grid": (False, {"labels"}),
        "not_hu": (False, {"intensity"}),
        "broken": (False, {"unreadable"}),
        "lesion_only": (True, {"organs"}),
        "flat": (False, {"intensity"}),
        "thick": (False, {"geometry"}),
    }
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.json"]
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["summary"]["used"] == 3
    assert report["summary"]["dropped"] == {
        "duplicate": 1, "labels": 2, "intensity": 2, "unreadable": 1, "geometry": 1,
    }  # fmt: skip
    assert {case["id"]: case["used"] for case in report["cases"]} == {id_: used for id_, (used, _) in found.items()}


def test_few_slices_are_those_from_foot_to_head(tmp_path):
    """Also where the file's third axis runs from left to right."""
    sagittal = np.array([[0, 0, 3.0, 0], [2.0, 0, 0, 0], [0, 3.0, 0, 0], [0, 0, 0, 1]])
    write_case(tmp_path / "data/sagittal", affine=sagittal)  # 20 x 18 x 14 voxels; 18 from foot to head
    assert findings(tmp_path / "data", tmp_path / "a", replace(SMALL, min_slices=18)) == {"sagittal": (True, set())}
    assert findings(tmp_path / "data", tmp_path / "b", replace(SMALL, min_slices=19)) == {
        "sagittal": (False, {"slices"})
    }


def test_an_unchanged_file_is_not_looked_at_again(tmp_path, monkeypatch):
    write_cases(tmp_path / "data", 2)
    first = findings(tmp_path / "data", tmp_path / "out")
    write_case(tmp_path / "data/case1", 5)
    read = []
    from maisi.train.prepare import check

    monkeypatch.setattr(check, "read_image", lambda path, _=check.read_image: read.append(path.parent.name) or _(path))
    assert findings(tmp_path / "data", tmp_path / "out") == first
    assert read == ["case1"]


def test_names_that_are_not_known_are_asked_for_and_mapped(tmp_path):
    source = write_nnunet(tmp_path / "set", {"background": 0, "kidney": 1, "blob": 2})
    _, checked = look(PrepareRequest((source,), tmp_path / "out", SMALL))
    assert "1 (kidney), 2 (blob)" in checked[0].findings[0].text
    assert "--map 'kidney=" in checked[0].findings[0].text
    mapping = parse_mapping(["kidney=left kidney", "blob=ignore"])
    (item, _) = prepare(source, tmp_path / "out", numbering=Numbering(mapping=mapping))
    assert item.ids == (14,)


def test_a_numbering_that_is_told_wins_over_names(tmp_path):
    """Values 1 and 2 are TotalSegmentator's spleen and right kidney, whatever the data set calls them."""
    source = write_nnunet(tmp_path / "set", {"background": 0, "liver": 1, "blob": 2})
    items = prepare(source, tmp_path / "out", numbering=Numbering("totalsegmentator"))
    assert {item.ids for item in items} == {(3, 5)}


@pytest.mark.parametrize("text", ["kidney", "=5", "kidney=", "kidney=nose", "a=999"])
def test_a_mapping_that_maps_nothing_is_refused(text):
    with pytest.raises(InputError, match="maps nothing"):
        parse_mapping([text])


def test_nothing_usable_is_told_with_the_first_reason(tmp_path):
    write_cases(tmp_path / "data", 1)
    request = PrepareRequest((tmp_path / "data",), tmp_path / "out", replace(SMALL, min_slices=64))
    with pytest.raises(InputError, match=r"None of the 1 cases .* 14 slices, fewer than 64"):
        begin(request, *look(request))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"settings": Settings(multiple=6)}, "multiple must be"),
        ({"settings": Settings(spacing=(1.0, 0.0, 1.0))}, "three numbers"),
        ({"settings": Settings(window=(5.0, 5.0))}, "lower end first"),
        ({"settings": Settings(copies="many")}, "Copies must be one of"),
        ({"numbering": Numbering("mine")}, "Labels from 'mine'"),
        ({"pseudo_labels": "absent"}, "no folder"),
        ({"autoencoder": "absent"}, "no autoencoder"),
    ],
)
def test_a_request_that_cannot_be_is_refused(tmp_path, change, says):
    paths = {key: tmp_path / value for key, value in change.items() if isinstance(value, str)}
    with pytest.raises(InputError, match=says):
        PrepareRequest((tmp_path,), tmp_path / "out", **{**change, **paths})


# ---- going on


def contents(folder) -> dict[str, bytes]:
    skip = ("report.json", "plan.json")
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name not in skip}


def times(folder) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for sub in ("images", "labels") for path in (folder / sub).iterdir()}


def test_preparing_again_changes_nothing_and_a_changed_file_is_made_anew(tmp_path):
    write_cases(tmp_path / "data", 3)
    prepare(tmp_path / "data", tmp_path / "out")
    before, made = contents(tmp_path / "out"), times(tmp_path / "out")
    prepare(tmp_path / "data", tmp_path / "out")
    assert contents(tmp_path / "out") == before
    assert times(tmp_path / "out") == made
    write_case(tmp_path / "data/case1", 7)
    prepare(tmp_path / "data", tmp_path / "out")
    assert {name for name, time in times(tmp_path / "out").items() if time != made[name]} == {"case1.npy", "case1.npz"}
    with pytest.raises(InputError, match="prepared with multiple 16, not 8"):
        prepare(tmp_path / "data", tmp_path / "out", replace(SMALL, multiple=8))


@given(stop=st.integers(0, 9))
@settings(deadline=None, max_examples=5)
def test_a_preparation_that_was_broken_off_anywhere_goes_on_to_the_same_end(tmp_path_factory, stop):
    """Stopped at the ``stop``-th file that is written, in the middle of it."""
    tmp_path = tmp_path_factory.mktemp("broken")
    write_cases(tmp_path / "data", 3)
    prepare(tmp_path / "data", tmp_path / "whole")
    written = []
    save = PreparedFolder.write

    def write(self, name, how):
        def interrupted(path):
            written.append(name)
            if len(written) == stop:
                path.write_bytes(b"half")
                raise KeyboardInterrupt
            how(path)

        return save(self, name, interrupted)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PreparedFolder, "write", write)
        try:
            prepare(tmp_path / "data", tmp_path / "out")
        except KeyboardInterrupt:
            assert len(written) == stop
            assert b"half" not in contents(tmp_path / "out").values()
        prepare(tmp_path / "data", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_case_that_fails_is_recorded_and_the_rest_goes_on(tmp_path):
    write_cases(tmp_path / "data", 3)
    request = PrepareRequest((tmp_path / "data",), tmp_path / "out", SMALL)
    plan, folder = begin(request, *look(request)), PreparedFolder(tmp_path / "out")
    (tmp_path / "data/case1/ct.nii.gz").write_bytes(b"damaged after the check")
    run.make_share(plan, folder)
    missing = run.finish(plan, folder)
    assert missing.keys() == {"case1"}
    assert "cannot be read" in missing["case1"]
    assert [item.id for item in read_items(folder.path)] == ["case0", "case2"]
    write_case(tmp_path / "data/case1", 1)
    assert len(prepare(tmp_path / "data", tmp_path / "out")) == 3


# ---- latents


def test_latents_keep_mean_and_deviation_and_know_their_network(tmp_path, a_tiny_model):
    write_cases(tmp_path / "data", 2)
    prepare(tmp_path / "data", tmp_path / "out")
    made = times(tmp_path / "out")
    items = prepare(tmp_path / "data", tmp_path / "out", model=a_tiny_model, device="cpu")
    assert times(tmp_path / "out") == made  # only the latents are new
    stored = [load_file(tmp_path / "out" / item.latent) for item in items]
    assert all(s[name].shape == (4, 4, 4, 4) for s in stored for name in ("mean", "sigma"))
    assert all((s["sigma"] > 0).all() for s in stored)
    told = read_settings(tmp_path / "out")
    assert told.autoencoder["name"] == "tiny"
    values = np.stack([s["mean"].numpy() for s in stored]).astype(float)
    spread = np.stack([s["sigma"].numpy() for s in stored]).astype(float)
    assert 1 / told.scale_factor == pytest.approx(np.sqrt(values.var() + (spread**2).mean()), rel=2e-3)
    latents = {item.latent: (tmp_path / "out" / item.latent).stat().st_mtime_ns for item in items}
    prepare(tmp_path / "data", tmp_path / "out", model=a_tiny_model, device="cpu")
    assert latents == {item.latent: (tmp_path / "out" / item.latent).stat().st_mtime_ns for item in items}
