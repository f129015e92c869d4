"""What the section "Runs" would show, without a panel."""

from __future__ import annotations

import json

import numpy as np
import pytest

from maisi.volume import ImageVolume
from MAISISynthLib.HistoryPresenter import HistoryPresenter, HistoryState
from MAISISynthLib.NodeGrid import Grid
from MAISISynthLib.SceneIO import addSynthetic, noteOrigin


class FakeView:
    def __init__(self) -> None:
        self.results, self.restored = [], []

    def showHistory(self, state: HistoryState) -> None:
        self.state = state

    def showResult(self, volumeNode, before) -> None:
        self.results.append((volumeNode, before))

    def restore(self, choices) -> None:
        self.restored.append(choices)


@pytest.fixture
def a_history(a_scene, a_liver_with_tumor):
    labels = a_liver_with_tumor
    nodes = []
    for name, request in (("First", {"seed": 5, "model": "embedded"}), ("Second", {"seed": 5, "edit": True})):
        attributes = {"MAISI.Request": json.dumps(request), "MAISI.Info": json.dumps({"seconds": 12.3, "steps": 8})}
        image = ImageVolume(labels.array.astype(np.int16), labels.affine)
        grid = Grid(labels.shape, labels.affine, labels.affine)
        nodes.append(addSynthetic(a_scene, image, labels, grid, name, attributes))
    noteOrigin(nodes[1], nodes[0])
    return nodes


@pytest.fixture
def a_presenter(a_history, a_scene):
    presenter = HistoryPresenter(FakeView(), a_scene)
    presenter.update()
    return presenter


def test_rows_stand_newest_first(a_presenter):
    assert a_presenter._view.state.rows == (
        ("Second", "", "5", "8", "change of First", "12 s"),
        ("First", "embedded", "5", "8", "whole", "12 s"),
    )


def test_jump_shows_the_ct_beside_what_it_is_a_change_of(a_presenter, a_history):
    a_presenter.jump(0)
    a_presenter.jump(1)
    assert a_presenter._view.results == [(a_history[1], a_history[0]), (a_history[0], None)]


def test_restore_gives_the_choices_back(a_presenter, a_history):
    a_presenter.restore(0)
    (choices,) = a_presenter._view.restored
    assert (choices["before"], choices["seed"]) == (a_history[0], 5)
    assert a_presenter._view.state.message == "Seed, model, steps and solver are those of 'Second'."


def test_delete_takes_the_row_away(a_presenter):
    a_presenter.delete(0)
    assert [row[0] for row in a_presenter._view.state.rows] == ["First"]
    assert a_presenter._view.state.message == "'Second' was removed from the scene."


@pytest.mark.parametrize("act", ["jump", "restore", "delete"])
def test_a_ct_that_left_the_scene_meanwhile_is_told(a_presenter, a_history, a_scene, act):
    a_scene.RemoveNode(a_history[1])
    getattr(a_presenter, act)(0)
    assert a_presenter._view.state.message == "That CT is no longer in the scene."
    assert [row[0] for row in a_presenter._view.state.rows] == ["First"]
    assert (a_presenter._view.results, a_presenter._view.restored) == ([], [])


@pytest.mark.parametrize("row", [-1, 2])
def test_without_a_selected_row_nothing_happens(a_presenter, row):
    a_presenter.jump(row)
    a_presenter.delete(row)
    assert len(a_presenter._view.state.rows) == 2
    assert a_presenter._view.results == []
