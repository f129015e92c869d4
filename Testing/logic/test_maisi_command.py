"""Commands in child processes: what they print, how they end, what they leave behind."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from MAISILib.Interpreter import Interpreter
from MAISILib.Job import JobError
from MAISILib.MaisiCommand import MaisiCommand
from MAISILib.Settings import Settings


def python(code: str, temporary: tempfile.TemporaryDirectory | None = None) -> MaisiCommand:
    interpreter = Interpreter()
    return MaisiCommand(interpreter, interpreter.command, "-c", code, temporary=temporary)


def test_output_is_what_went_to_stdout():
    command = python("import sys; print('one'); print('two', file=sys.stderr); print('three')")
    assert command.wait(20) == ["one", "three"]
    assert (command.done, command.error) == (True, "")


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("print('maisi: No such file.', file=sys.stderr); print('20%'); sys.exit(2)", "No such file."),
        ("print('the last line'); sys.exit(1)", "the last line"),
        ("sys.exit(3)", "exit code 3"),
        ("print('maisi: out of memory'); sys.exit(2)", "out of memory Memory ran out: close other programs"),
    ],
)
def test_an_error_is_the_sentence_of_the_program(code, sentence):
    with pytest.raises(JobError) as error:
        python(f"import sys; {code}").wait(20)
    assert str(error.value).startswith(sentence)


def test_a_sentence_of_a_command_that_went_well_is_no_error():
    command = python("print('maisi: a note')")
    command.wait(20)
    assert command.error == ""


def test_files_for_the_command_are_there_while_it_runs_and_gone_afterwards():
    temporary = tempfile.TemporaryDirectory()
    file = Path(temporary.name) / "x.txt"
    file.write_text("hello")
    assert python(f"print(open({str(file)!r}).read())", temporary).wait(20) == ["hello"]
    assert not file.parent.exists()


def test_a_command_that_takes_long_goes_on_and_can_be_ended():
    command = python("import time; print('first', flush=True); time.sleep(600)")
    with pytest.raises(TimeoutError, match=r"is not over after 0\.2 s"):
        command.wait(0.2)
    assert not command.done
    command.cancel()
    assert command.done


def test_a_python_that_is_none_is_told():
    settings = Settings()
    settings.python = "/nowhere/python"
    interpreter = Interpreter(settings)
    temporary = tempfile.TemporaryDirectory()
    command = MaisiCommand(interpreter, interpreter.command, "-c", "", temporary=temporary)
    assert command.done
    assert not Path(temporary.name).exists()
    with pytest.raises(JobError, match="is not a Python that can be run"):
        command.wait(5)
