"""What the section "Compare" would show, without a panel."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.slicer_core import addVolume
from maisi.labels import find_label
from maisi.volume import ImageVolume, LabelVolume
from MAISISynthLib.Compare import Comparison
from MAISISynthLib.ComparePresenter import ComparePresenter, CompareState, describe
from MAISISynthLib.CompareViews import SIDE_BY_SIDE
from MAISISynthLib.NodeGrid import Grid
from MAISISynthLib.SceneIO import addSynthetic


class FakeView:
    def showComparison(self, state: CompareState) -> None:
        self.state = state


class FakeViews:
    """Remembers what it was told to show."""

    def __init__(self) -> None:
        self.calls = []

    def __getattr__(self, name: str):
        return lambda *arguments: self.calls.append((name, *arguments))


@pytest.fixture
def a_pair(a_scene, a_liver_with_tumor):
    healthy = a_liver_with_tumor.array.copy()
    healthy[healthy == find_label("hepatic tumor")] = find_label("liver")
    nodes = []
    for name, array in (("Before", healthy), ("After", a_liver_with_tumor.array)):
        labels = LabelVolume(array, a_liver_with_tumor.affine)
        image = ImageVolume(array.astype(np.int16) * 10, labels.affine)
        grid = Grid(labels.shape, labels.affine, labels.affine)
        nodes.append(addSynthetic(a_scene, image, labels, grid, name, {}))
    return nodes


@pytest.fixture
def a_presenter(a_pair):
    presenter = ComparePresenter(FakeView(), FakeViews())
    presenter.setPair(*a_pair)
    presenter._views.calls.clear()
    return presenter


def stateOf(presenter: ComparePresenter) -> CompareState:
    return presenter._view.state


def test_two_cts_are_needed(a_presenter, a_pair):
    assert stateOf(a_presenter).enabled
    for pair in ((None, None), (a_pair[0], None), (None, a_pair[0]), (a_pair[0], a_pair[0])):
        a_presenter.setPair(*pair)
        assert (stateOf(a_presenter).enabled, stateOf(a_presenter).message) == (False, "Choose two CTs.")
        for act in (a_presenter.table, lambda: a_presenter.overlay(True), lambda: a_presenter.layout(SIDE_BY_SIDE)):
            act()
        assert stateOf(a_presenter).rows == ()


def test_measuring_fills_the_table_and_goes_there(a_presenter):
    a_presenter.table()
    tumor, liver = stateOf(a_presenter).rows
    assert tumor[:3] == ("hepatic tumor", "-", "-")
    assert tumor[4] == f"{10 * find_label('hepatic tumor')} ± 0"
    assert liver[0] == "liver"
    assert stateOf(a_presenter).message.endswith("of the voxels differ, by up to 250 HU.")
    assert [call[0] for call in a_presenter._views.calls] == ["center"]


def test_difference_is_made_when_it_is_wanted_and_hidden_again(a_presenter, a_pair, a_scene):
    a_presenter.overlay(True)
    assert stateOf(a_presenter).overlaid
    name, after, difference = a_presenter._views.calls[-1]
    assert (name, after, difference.GetName()) == ("overlay", a_pair[1], "After minus Before")
    a_presenter.overlay(False)
    assert not stateOf(a_presenter).overlaid
    assert a_presenter._views.calls[-1] == ("show", a_pair[1])


def test_flicker_shows_the_two_in_turns_and_ends_at_the_new_one(a_presenter, a_pair):
    a_presenter.flicker(True)
    assert stateOf(a_presenter).flickering
    for _turn in range(3):
        a_presenter.tick()
    a_presenter.flicker(False)
    assert a_presenter._views.calls == [("fade", *a_pair, part) for part in (0, 1, 0, 1)]
    assert not stateOf(a_presenter).flickering
    assert stateOf(a_presenter).fade == 1


def test_fading_takes_the_difference_away(a_presenter):
    a_presenter.overlay(True)
    a_presenter.fade(0.3)
    assert (stateOf(a_presenter).fade, stateOf(a_presenter).overlaid) == (0.3, False)


def test_layouts_are_shown_and_left(a_presenter, a_pair):
    a_presenter.layout(SIDE_BY_SIDE)
    a_presenter.layout(None)
    assert a_presenter._views.calls == [("showLayout", SIDE_BY_SIDE, *a_pair), ("restoreLayout",)]


def test_other_grids_are_told_and_nothing_is_shown(a_presenter, a_pair):
    other = addVolume(np.zeros((5, 5, 5), np.int16), np.eye(4), "Other")
    a_presenter.setPair(other, a_pair[1])
    a_presenter._views.calls.clear()
    a_presenter.overlay(True)
    a_presenter.table()
    assert stateOf(a_presenter).message.startswith("'Other' and 'After' are on different grids")
    assert not stateOf(a_presenter).overlaid
    assert a_presenter._views.calls == []


def test_a_ct_that_left_the_scene_is_forgotten(a_presenter, a_pair, a_scene):
    a_presenter.flicker(True)
    a_scene.RemoveNode(a_pair[0])
    a_presenter.tick()
    assert stateOf(a_presenter) == CompareState(message="Choose two CTs.")
    assert a_presenter._views.calls == []


def test_a_new_ct_is_shown_even_with_nothing_to_compare(a_presenter, a_pair):
    a_presenter.showNew(None, a_pair[1])
    assert a_presenter._views.calls[-1] == ("show", a_pair[1])
    assert not stateOf(a_presenter).enabled


def test_equal_cts_are_told():
    assert describe(Comparison({}, 0.0, 0.0, None)) == "Not one voxel differs."
    assert describe(Comparison({}, 0.03141, 240.2, None)) == "3.14 % of the voxels differ, by up to 240 HU."
