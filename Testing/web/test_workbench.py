"""The workbench with a real mouse: paint, place, synthesize, grow, synthesize the change, undo, cancel, download."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from helpers.slicer_core import slicer
from helpers.workbench_page import WorkbenchPage, chromium, workbench
from maisi.files import read_image, read_labels, write_volume
from maisi.labels import find_label
from maisi.masks.phantom import phantom

SHAPE, SPACING, CENTER_Z = (80, 64, 64), (4.4, 4.4, 4.4), -40.0
LIVER, TUMOR = find_label("liver"), find_label("hepatic tumor")


@pytest.fixture(scope="module")
def an_anatomy():
    return phantom(4, SHAPE, SPACING, CENTER_Z)


@pytest.fixture(scope="module")
def a_link(an_anatomy, tmp_path_factory):
    path = tmp_path_factory.mktemp("case") / "labels.nii.gz"
    write_volume(path, an_anatomy)
    with workbench(path) as link:
        yield link


@pytest.fixture(scope="module")
def a_browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def a_window(a_browser, a_link, an_anatomy):
    window = WorkbenchPage(a_browser, a_link, an_anatomy.affine, SHAPE)
    yield window
    assert window.errors == []
    window.page.close()


def twoPlacesInTheLiver(labels) -> tuple[np.ndarray, np.ndarray]:
    """RAS mm in the middle axial slice: as deep in the liver as possible, and the deepest at least 60 mm away."""
    k = SHAPE[2] // 2
    depth = ndimage.distance_transform_edt(labels.array[:, :, k] == LIVER)
    index = np.argwhere(depth > 0)
    first = index[depth[tuple(index.T)].argmax()]
    far = index[np.linalg.norm(index - first, axis=1) * SPACING[0] > 60]
    second = far[depth[tuple(far.T)].argmax()]
    toRas = lambda ij: labels.affine[:3, :3] @ [*ij, k] + labels.affine[:3, 3]  # noqa: E731
    return toRas(first), toRas(second)


def hu(image, labels, label) -> float:
    """Median HU of a label."""
    return float(np.median(image.array[labels.array == label]))


def test_a_second_window_is_refused_and_nothing_comes_from_outside(a_window, a_browser, a_link):
    host = a_link.partition("/?")[0]
    assert all(url.startswith((host, host.replace("http", "ws"), "data:", "blob:")) for url in a_window.requests)
    other = a_browser.new_page()
    answer = other.goto(a_link)
    assert answer.status == 409
    assert "open in another window" in other.inner_text("body")
    other.close()
    assert a_browser.new_page().goto(host).status == 403, "without the token"


def test_there_is_no_ct_to_download_before_there_is_one(a_window):
    a_window.click("#download")
    assert "v-list-item--disabled" in a_window.page.locator("[id='get-ct.nii.gz']").get_attribute("class")


def test_a_tumor_is_dragged_stretched_turned_and_copied(a_window, an_anatomy):
    """Ends as it began, by undoing all."""
    window, (_here, there) = a_window, twoPlacesInTheLiver(an_anatomy)
    lists = [window.tumors()]
    start = there + np.array([0, -20, 0])
    window.click("#place")
    window.clickAt(start)
    lists.append(window.waitForTumors(len(lists[0]) + 1))
    (name,) = set(lists[1]) - set(lists[0])
    window.waitUntilStill()
    before = window.picture()
    window.drag(start, there)
    window.waitFor(lambda: window.picture() != before)
    window.waitUntilStill()
    lists.append(window.tumors())
    moved = window.volume(name)
    window.drag(there + np.array([10, 0, 0]), there + np.array([16, 0, 0]))
    stretched = window.waitForVolume(name, lambda volume: volume > 1.3 * moved)
    lists.append(window.tumors())

    window.click("#turn")
    window.click("#turn-coronal")
    window.waitFor(lambda: window.tumors() != lists[-1])
    assert window.volume(name) == pytest.approx(stretched, rel=0.15)
    lists.append(window.tumors())
    window.click("#duplicate")
    window.waitForTumors(len(lists[0]) + 2)
    for listed in reversed(lists):  # one step of undo for each act
        window.click("#undo")
        window.waitFor(lambda listed=listed: window.tumors() == listed)


def test_paint_place_synthesize_grow_synthesize_the_change_and_undo(a_window, an_anatomy, tmp_path):
    window, (here, there) = a_window, twoPlacesInTheLiver(an_anatomy)
    window.click("#place")
    window.clickAt(here)
    placed = window.waitForVolume("hepatic tumor", lambda volume: volume > 2)

    window.click("#tab-segments")
    window.click("#paint-new")
    window.drag(there, there + np.array([8, 0, 0]))
    window.rest(2)
    window.click("#tab-tumors")
    window.waitForVolume("hepatic tumor 2", lambda volume: volume > 2)
    empty = window.picture()

    assert "is ready" in window.synthesize()
    assert window.picture() != empty
    first = tmp_path / "first"
    first.mkdir()
    before = read_image(window.download("ct.nii.gz", first))
    labels = read_labels(window.download("segmentation.seg.nrrd", first))
    assert hu(before, labels, TUMOR) < hu(before, labels, LIVER) - 15, "the tumors are really there"

    window.page.locator(".rows .v-list-item").first.click()
    window.click("#grow")
    window.click("#grow")
    grown = window.waitForVolume("hepatic tumor", lambda volume: volume > 1.5 * placed)
    assert "is ready" in window.synthesize()
    after = read_image(window.download("ct.nii.gz", tmp_path))
    changed = before.array != after.array
    assert 0 < changed.mean() < 0.3
    new = (read_labels(window.download("segmentation.seg.nrrd", tmp_path)).array == TUMOR) & (labels.array == LIVER)
    assert np.median(after.array[new]) < np.median(before.array[new]) - 5, "the new rim is darker than liver"

    shown = window.picture()
    window.click("#flicker")
    window.rest()
    assert window.picture() != shown, "before and after differ"

    window.click("#undo")
    window.waitForVolume("hepatic tumor", lambda volume: placed < volume < grown)
    window.click("#undo")
    window.waitForVolume("hepatic tumor", lambda volume: volume == placed)
    window.click("#redo")
    window.waitForVolume("hepatic tumor", lambda volume: placed < volume < grown)


def test_cancel_in_the_middle_and_a_scene_that_reopens(a_window, an_anatomy, a_scene, tmp_path):
    from MAISISynthLib.LabelMapping import mapSegments
    from MAISISynthLib.TumorEdit import TumorEdit

    window, (here, _there) = a_window, twoPlacesInTheLiver(an_anatomy)
    window.click("#place")
    count = len(window.tumors()) + 1
    window.clickAt(here + np.array([0, 30, 0]))
    window.waitForTumors(count)
    if window.page.locator("#whole").count():
        window.page.locator("#whole").check()  # there is a CT from the test before; a change would be made too quickly
    window.click("#synthesize")
    window.page.wait_for_function(
        "/Sampling|Decoding/.test(document.querySelector('#progress')?.innerText)", timeout=60_000
    )
    window.page.click("#synthesize")
    window.page.wait_for_selector("#progress", state="detached", timeout=60_000)
    assert "Cancelled" in window.page.inner_text("#outcome")

    assert a_scene.ReadFromMRB(str(window.download("scene.mrb", tmp_path)), True)
    (segmentation,) = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert mapSegments(segmentation).unmapped == []
    assert len(TumorEdit(segmentation).lesions()) == count >= 1
    with workbench(tmp_path / "scene.mrb") as link:
        other = WorkbenchPage(window.page.context.browser, link, an_anatomy.affine, SHAPE)
        assert other.tumors() == window.tumors()
        other.page.close()
