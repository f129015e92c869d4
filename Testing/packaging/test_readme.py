"""The README says what is true: links exist, commands exist, figures are those of the model card."""

import json
import re
from pathlib import Path

import pytest

from maisi.cli import _parser

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CARD = ROOT / "MAISISynth" / "Resources" / "Models" / "embedded.json"


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_links_and_pictures_exist(target):
    assert (ROOT / target).is_file()


TUTORIAL = ROOT / "Resources" / "Tutorial" / "README.md"


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", TUTORIAL.read_text(encoding="utf-8")))))
def test_links_and_pictures_of_the_tutorial_exist(target):
    assert (TUTORIAL.parent / target).is_file()


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^maisi (\w+)", README, re.MULTILINE))))
def test_commands_exist(command, capsys):
    with pytest.raises(SystemExit) as end:
        _parser().parse_args([command, "--help"])
    assert end.value.code == 0


@pytest.mark.parametrize("target", sorted(set(re.findall(r"^make (\w+)", README, re.MULTILINE))))
def test_make_targets_exist(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("preset", sorted(set(re.findall(r"^maisi train ([\w-]+) --run", README, re.MULTILINE))))
def test_presets_exist(preset):
    assert (ROOT / "MAISISynth" / "maisi" / "data" / "train" / f"{preset}.yaml").is_file()


@pytest.mark.parametrize("subject", sorted(set(re.findall(r"^maisi evaluate (\w+)", README, re.MULTILINE))))
def test_subjects_of_evaluation_exist(subject):
    with pytest.raises(SystemExit) as end:
        _parser().parse_args(["evaluate", subject, "--help"])
    assert end.value.code == 0


def test_figures_are_those_of_the_model_card():
    metrics = json.loads(CARD.read_text())["metrics"]
    row = r"\|\s*{}\s*\|\s*([\d.]+)\s*%"
    organs = float(re.search(row.format("Organ readings in the range of real CTs"), README)[1])
    signs = float(re.search(row.format("Lesions of 10 mm or more, right sign of the contrast"), README)[1])
    assert organs == pytest.approx(100 * metrics["organs_in_range"], abs=0.5)
    assert signs == pytest.approx(100 * metrics["lesions_right_sign"], abs=0.5)


@pytest.mark.parametrize(
    "words", ["Not for clinical use", "Apache-2.0", "arXiv 2508.05772", "When something goes wrong"]
)
def test_it_says_what_a_reader_must_know(words):
    assert words in README
