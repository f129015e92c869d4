"""What the section "Models and environment" would show, without a panel; the child processes are real."""

from __future__ import annotations

import sys
from functools import partial

import pytest

from helpers.fake_worker import fakeWorker
from helpers.processes import waitUntil
from MAISILib import Dependencies
from MAISILib.EnvironmentCheck import EnvironmentCheck
from MAISILib.Interpreter import Interpreter
from MAISILib.ModelCommand import ModelCommand
from MAISILib.Settings import Settings
from MAISILib.Worker import Worker

pytest.importorskip("slicer", reason="slicer-core is not installed: run `make setup`")
from MAISISynthLib.EnvironmentPresenter import EnvironmentPresenter, EnvironmentState

PRINTING = (
    "import sys, time; print('weights 40%', flush=True); time.sleep({seconds}); print(*sys.argv[1:]); sys.exit({code})"
)


class FakeView:
    def __init__(self, consent: bool = True) -> None:
        self.consent, self.questions = consent, []

    def showEnvironment(self, state: EnvironmentState) -> None:
        self.state = state

    def confirm(self, question: str) -> bool:
        self.questions.append(question)
        return self.consent


def printing(seconds: float = 0, code: int = 0):
    """In place of `maisi models`: prints progress, waits, prints its arguments, ends."""
    program = ("-c", PRINTING.format(seconds=seconds, code=code))
    return lambda _interpreter, *arguments: ModelCommand(Interpreter(), *arguments, program=program)


@pytest.fixture
def make_presenter(monkeypatch, tmp_path):
    monkeypatch.setenv("MAISI_MODELS", str(tmp_path))
    made = []

    def make(view: FakeView | None = None, start: str = "", **given) -> EnvironmentPresenter:
        check = partial(EnvironmentCheck, arguments=fakeWorker(start), timeout=given.pop("timeout", 20))
        settings = given.pop("settings", Settings())
        presenter = EnvironmentPresenter(view or FakeView(), Worker(), settings, check=check, **given)
        presenter.update()
        made.append(presenter)
        return presenter

    yield make
    for presenter in made:
        presenter.close()


def stateOf(presenter: EnvironmentPresenter) -> EnvironmentState:
    return presenter._view.state


def toTheEnd(presenter: EnvironmentPresenter) -> str:
    waitUntil(lambda: (presenter.poll(), not presenter.busy)[1])
    return stateOf(presenter).message


def test_models_are_listed_with_state_and_license(make_presenter, tmp_path):
    state = stateOf(make_presenter())
    rows = {row.name: row for row in state.models}
    assert (rows["embedded"].installed, rows["embedded"].license) == (True, "Apache-2.0")
    assert rows["embedded"].state.startswith("installed, ")
    assert not rows["embedded"].downloadable, "it comes along"
    assert (rows["rflow-ct"].state, rows["rflow-ct"].downloadable) == ("not downloaded", True)
    assert not rows["rflow-mr"].fromLabels
    assert state.folder == str(tmp_path)


def test_a_damaged_card_is_told(make_presenter, tmp_path):
    (tmp_path / "mine.json").write_text("{")
    state = stateOf(make_presenter())
    assert state.models == ()
    assert "mine.json cannot be used" in state.message


def test_a_part_of_the_files_is_told(make_presenter, tmp_path):
    from maisi.models.variants import get_variant

    (tmp_path / get_variant("rflow-ct").weights[0].file).write_bytes(b"x")
    state = next(row.state for row in stateOf(make_presenter()).models if row.name == "rflow-ct")
    assert state == "2 of 3 files missing"


def test_nothing_starts_by_itself(make_presenter):
    presenter = make_presenter(ensurePackages=lambda: pytest.fail("asked"))
    assert not presenter.busy
    assert stateOf(presenter).devices == (("auto", "automatic"),)


def test_check_tells_versions_and_devices(make_presenter):
    presenter = make_presenter()
    presenter.check()
    assert (stateOf(presenter).busy, stateOf(presenter).message) == (True, "Starting the chosen Python")
    assert toTheEnd(presenter) == "MAISI 0 with PyTorch none works, on: cpu."
    assert stateOf(presenter).devices == (("auto", "automatic"), ("cpu", "cpu: Fake, 1.0 of 1.0 GB free"))


def test_check_ends_the_process_it_started(make_presenter):
    presenter = make_presenter()
    presenter.check()
    process = presenter._running._process
    toTheEnd(presenter)
    assert process.exitCode is not None


class TestAnotherMachine:
    """Its models are those that are listed, fetched and deleted; it is this one over ssh, with a home of its own."""

    @pytest.fixture
    def presenter(self, make_presenter, an_ssh_server, tmp_path):
        settings = Settings()
        settings.remoteHost = "loopback"
        there = f"MAISI_MODELS={tmp_path / 'there'} {sys.executable}"  # a command of its shell

        def check(_interpreter):
            return EnvironmentCheck(an_ssh_server.interpreter(), fakeWorker())

        def command(_interpreter, *arguments: str):
            return ModelCommand(an_ssh_server.interpreter(python=there), *arguments)

        (tmp_path / "there").mkdir()
        made = make_presenter(settings=settings, command=command)
        made._check = check
        return made

    def test_nothing_is_known_of_its_models_before_it_was_asked(self, presenter):
        rows = {row.name: row for row in stateOf(presenter).models}
        assert rows["embedded"].installed, "that one is sent along"
        assert (rows["rflow-ct"].installed, rows["rflow-ct"].state) == (False, "press Check")
        assert stateOf(presenter).folder == ""

    def test_check_lists_its_models_and_delete_removes_them_there(self, presenter, tmp_path):
        from maisi.models.variants import get_variant

        name = get_variant("rflow-ct").weights[0].file
        for folder in (tmp_path, tmp_path / "there"):
            (folder / name).write_bytes(b"x")
        presenter.check()
        assert toTheEnd(presenter) == "MAISI 0 with PyTorch none works, on: cpu."
        row = next(row for row in stateOf(presenter).models if row.name == "rflow-ct")
        assert (row.state, stateOf(presenter).folder) == ("2 of 3 files missing", str(tmp_path / "there"))
        presenter.remove("rflow-ct")
        assert presenter._view.questions == ["Delete the downloaded weights of rflow-ct from loopback?"]
        assert toTheEnd(presenter) == f"Deleted: {tmp_path / 'there' / name}"
        assert next(row.state for row in stateOf(presenter).models if row.name == "rflow-ct") == "not downloaded"
        assert (tmp_path / name).exists(), "those here are not meant"

    def test_a_list_that_fails_is_told(self, presenter):
        presenter._command = printing(code=2)
        presenter.check()
        assert toTheEnd(presenter) == "list --json"
        presenter._command = printing()
        presenter.check()
        assert toTheEnd(presenter) == "Its models could not be listed: list --json"

    def test_the_question_names_it(self, presenter):
        presenter._view.consent = False
        presenter.download("rflow-ct")
        assert "huggingface.co (nvidia/NV-Generate-CT) to loopback?" in presenter._view.questions[0]


@pytest.mark.parametrize(
    ("start", "sentence"),
    [
        ("broken", "The chosen Python ended with exit code 1. A Python package is missing"),
        ("foreign", "The chosen Python has another version of MAISI"),
        ("mute", "The chosen Python did not answer within 0.7 s."),
    ],
)
def test_check_tells_what_is_wrong(make_presenter, start, sentence):
    presenter = make_presenter(start=start, timeout=0.7 if start == "mute" else 20)
    presenter.check()
    assert toTheEnd(presenter).startswith(sentence)
    assert stateOf(presenter).devices == (("auto", "automatic"),)


def test_a_python_that_is_none_is_told(make_presenter):
    settings = Settings()
    settings.python = "/nowhere/python"
    presenter = make_presenter(settings=settings)
    presenter.check()
    assert "/nowhere/python is not a Python that can be run" in toTheEnd(presenter)


def test_missing_packages_are_named_before_anything_starts(make_presenter, monkeypatch):
    monkeypatch.setattr(Dependencies, "missing", lambda: ["torch>=2.6", "monai>=1.5"])
    presenter = make_presenter()
    presenter.check()
    assert not presenter.busy
    assert "are missing: torch>=2.6, monai>=1.5" in stateOf(presenter).message


def test_install_tells_how_it_went(make_presenter):
    def decline() -> None:
        raise RuntimeError("The installation of Python packages was declined.")

    presenter = make_presenter(ensurePackages=decline)
    presenter.install()
    assert stateOf(presenter).message == "The installation of Python packages was declined."
    presenter = make_presenter(ensurePackages=lambda: None)
    presenter.install()
    assert stateOf(presenter).message == "All Python packages that MAISI needs are there."


def test_another_python_ends_the_worker_of_the_old_one(make_presenter, monkeypatch):
    settings = Settings()
    presenter = make_presenter(settings=settings)
    closed = []
    monkeypatch.setattr(presenter._worker, "close", lambda: closed.append(True))
    presenter.setPython("")
    assert closed == [], "the same as before"
    presenter.setPython(sys.executable)
    assert (settings.python, closed) == (sys.executable, [True])
    assert stateOf(presenter).python == sys.executable


def test_another_machine_ends_the_worker_of_the_old_one(make_presenter, monkeypatch):
    settings = Settings()
    presenter = make_presenter(settings=settings)
    closed = []
    monkeypatch.setattr(presenter._worker, "close", lambda: closed.append(True))
    presenter.setRemoteHost(" ")
    assert closed == [], "the same as before"
    presenter.setRemoteHost("gpu1")
    assert (settings.remoteHost, closed, stateOf(presenter).remoteHost) == ("gpu1", [True], "gpu1")


def test_a_device_that_is_not_seen_now_stays_chosen(make_presenter):
    settings = Settings()
    presenter = make_presenter(settings=settings)
    presenter.setDevice("cuda:1")
    presenter.update()
    assert (stateOf(presenter).device, stateOf(presenter).devices[-1]) == ("cuda:1", ("cuda:1", "cuda:1"))


def test_download_shows_source_and_license_first_and_then_its_progress(make_presenter):
    presenter = make_presenter(command=printing(seconds=0.3))
    presenter.download("rflow-ct")
    (question,) = presenter._view.questions
    assert "huggingface.co (nvidia/NV-Generate-CT)" in question
    assert "NVIDIA Open Model License" in question
    assert "https://www.nvidia.com/" in question
    assert "By going on you accept this license." in question
    waitUntil(lambda: (presenter.poll(), stateOf(presenter).message == "weights 40%")[1])
    assert stateOf(presenter).busy
    assert toTheEnd(presenter) == "download rflow-ct --accept-license"


def test_without_consent_nothing_is_downloaded_or_deleted(make_presenter):
    presenter = make_presenter(FakeView(consent=False), command=lambda *_: pytest.fail("started"))
    presenter.download("rflow-ct")
    presenter.remove("rflow-ct")
    assert len(presenter._view.questions) == 2
    assert not presenter.busy


def test_a_download_that_fails_tells_why(make_presenter):
    presenter = make_presenter(command=printing(code=2))
    presenter.download("rflow-ct")
    assert toTheEnd(presenter) == "download rflow-ct --accept-license", "the last line is the sentence"


def test_a_download_can_be_stopped_and_only_one_runs(make_presenter):
    presenter = make_presenter(command=printing(seconds=600))
    presenter.download("rflow-ct")
    process = presenter._running._process
    presenter.download("ddpm-ct")
    presenter.remove("ddpm-ct")
    assert len(presenter._view.questions) == 1
    presenter.cancel()
    assert (presenter.busy, stateOf(presenter).message) == (False, "Cancelled.")
    assert process.exitCode is not None


def test_the_real_command_deletes_weights(make_presenter, tmp_path):
    from maisi.models.variants import get_variant

    file = tmp_path / get_variant("rflow-ct").weights[0].file
    file.write_bytes(b"x")
    presenter = make_presenter()
    presenter.remove("rflow-ct")
    waitUntil(lambda: (presenter.poll(), not presenter.busy)[1], 60)
    assert not file.exists()
    assert stateOf(presenter).message == f"Deleted: {file}"
