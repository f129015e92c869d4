"""What the section "Data" of MAISITrain would show, without a panel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.train_panel import presenterOf, saying, toTheEnd
from maisi.models.variants import get_variant
from MAISITrainLib.DataPresenter import DataPresenter


@pytest.fixture
def a_data_presenter(a_panel) -> DataPresenter:
    return presenterOf(DataPresenter, a_panel)


def choosePaths(presenter: DataPresenter, folder: Path) -> None:
    presenter.setText("Dataset", "list.json")
    presenter.setText("Prepared", str(folder))


def writeReport(folder: Path) -> None:
    finding = {"level": "dropped", "kind": "slices", "text": "It has 10 slices."}
    note = {"level": "note", "kind": "organs", "text": "It has no organs beside its lesions."}
    cases = [{"id": "b", "used": True, "findings": [note]}, {"id": "a", "used": False, "findings": [finding]}]
    (folder / "report.json").write_text(json.dumps({"cases": cases, "summary": {"cases": 3, "used": 2}}))


def test_nothing_starts_by_itself(a_data_presenter, a_panel):
    assert not a_data_presenter.busy
    assert a_panel.asked == a_panel.logic.asked == []


def test_a_data_set_is_checked_and_what_was_found_is_shown(a_data_presenter, a_panel, tmp_path):
    choosePaths(a_data_presenter, tmp_path)
    a_data_presenter.setText("PrepareOptions", '--min-slices 48 --new-label "one two=133:kidney"')
    a_panel.logic.answers = [saying("a table")]
    a_data_presenter.check()
    assert a_panel.view.state.busy
    assert a_panel.asked == [True], "packages"
    words = ["--min-slices", "48", "--new-label", "one two=133:kidney"]
    assert a_panel.logic.asked == [("prepareCommand", "list.json", str(tmp_path), words, {"check": True})]
    writeReport(tmp_path)
    toTheEnd(a_data_presenter)
    state = a_panel.view.state
    assert state.rows == (
        ("a", "no", "too few slices", "It has 10 slices."),
        ("b", "yes", "organs", "It has no organs beside its lesions."),
    )
    assert (state.message, state.busy) == ("2 of 3 cases can be used.", False)


def test_a_data_set_is_prepared_with_latents_of_a_model(a_data_presenter, a_panel, tmp_path):
    choosePaths(a_data_presenter, tmp_path)
    assert ("embedded", get_variant("embedded").title) in a_panel.view.state.encoders
    a_data_presenter.setText("Encoder", "embedded")
    a_panel.logic.answers = [saying("prepared has 2 images")]
    writeReport(tmp_path)
    a_data_presenter.prepare()
    assert a_panel.logic.asked[0][3] == ["--model=embedded"]
    toTheEnd(a_data_presenter)
    assert a_panel.view.state.message == "prepared has 2 images"


def test_what_cannot_be_prepared_is_told(a_data_presenter, a_panel, tmp_path):
    a_data_presenter.check()
    assert a_panel.view.state.message == "Choose the data set, and a folder for the prepared one."
    choosePaths(a_data_presenter, tmp_path)
    a_data_presenter.setText("PrepareOptions", '"')
    a_data_presenter.check()
    assert "quotation mark" in a_panel.view.state.message
    a_data_presenter.setText("PrepareOptions", "")
    a_panel.logic.answers = [saying(error="maisi: There is no folder list.json.", code=2), saying()]
    a_data_presenter.check()
    toTheEnd(a_data_presenter)
    assert a_panel.view.state.message == "There is no folder list.json."
    a_data_presenter.check()
    toTheEnd(a_data_presenter)
    assert "report.json cannot be read" in a_panel.view.state.message


def test_preparing_can_be_stopped_and_ends_with_the_panel(a_data_presenter, a_panel, tmp_path):
    choosePaths(a_data_presenter, tmp_path)
    first, second = saying(seconds=600), saying(seconds=600)
    a_panel.logic.answers = [first, second]
    a_data_presenter.prepare()
    a_data_presenter.check()
    assert len(a_panel.logic.asked) == 1, "one after the other"
    a_data_presenter.cancel()
    assert (first.done, a_panel.view.state.busy) == (True, False)
    a_data_presenter.prepare()
    a_data_presenter.close()
    assert second.done
