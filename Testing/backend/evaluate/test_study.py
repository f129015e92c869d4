"""The downstream study: no leak between folds, honest tests, and the whole way at tiny size."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.apps.auto3dseg.auto_runner import AutoRunner
from monai.auto3dseg.utils import datafold_read
from scipy import stats

from helpers.command_line import refused, refused_at_work
from helpers.small_cts import AFFINE, write_ct
from maisi import cli
from maisi.datasets import Dataset, Scan, read_dataset
from maisi.errors import InputError
from maisi.evaluate.study.cases import StudyCase, given_synthetic, real_cases
from maisi.evaluate.study.results import paired_test, study_report
from maisi.evaluate.study.run import split
from maisi.evaluate.study.segmenter import dice_of, read_sample, train_segmenter
from maisi.evaluate.study.settings import StudySettings, read_classes
from maisi.files import write_volume
from maisi.volume import LabelVolume

LIVER, TUMOR = 1, 26
SHORT = "--train-steps 3 --patch 32 --width 2 --spacing 6,6,6 --folds 2 --steps 1 --device cpu"
TINY = SHORT.split()


def a_liver_with_tumor(seed: int, shape=(32, 28, 24)) -> tuple[np.ndarray, np.ndarray]:
    """HU and label map of a liver in a body, with a dark ball at a random place."""
    rng = np.random.default_rng(seed)
    labels = np.full(shape, 200, np.uint8)
    labels[4:28, 4:24, 4:20] = LIVER
    center = rng.uniform((9, 9, 8), (22, 18, 15))
    inside = sum((x - c) ** 2 for x, c in zip(np.ogrid[tuple(map(slice, shape))], center, strict=True)) <= 16
    labels[inside] = TUMOR
    hu = np.choose(np.searchsorted((LIVER, TUMOR, 200), labels), (100, 20, 0)) + 8 * rng.standard_normal(shape)
    return hu, labels


@pytest.fixture
def a_real_set(tmp_path):
    """Four real cases."""
    folder = tmp_path / "real"
    for seed in range(4):
        hu, labels = a_liver_with_tumor(seed)
        write_ct(folder / f"p{seed}.nii.gz", hu)
        write_volume(folder / f"p{seed}_label.nii.gz", LabelVolume(labels, AFFINE))
    return folder


def some_cases(folds, sources) -> tuple[list[StudyCase], list[StudyCase]]:
    """Cases that are names only."""
    dataset = Dataset("some", ())
    real = [StudyCase(f"p{n}", dataset, Scan(f"p{n}", None), fold) for n, fold in enumerate(folds)]
    made = [StudyCase(f"s{n}", dataset, Scan(f"s{n}", None), source=source) for n, source in enumerate(sources)]
    return real, made


@settings(deadline=None)
@given(
    folds=st.lists(st.integers(0, 3), min_size=4, max_size=20).filter(lambda f: len(set(f)) > 1),
    data=st.data(),
    ratio=st.floats(0.3, 3),
)
def test_nothing_that_is_tested_is_trained_on(folds, data, ratio):
    names = st.sampled_from([f"p{n}" for n in range(len(folds))]) | st.none()
    real, made = some_cases(folds, data.draw(st.lists(names, max_size=30)))
    chosen = StudySettings((TUMOR,), ratio=ratio)
    for fold in set(folds):
        tested = {case.name for case in real if case.fold == fold}
        try:
            training, test = split(real, made, fold, chosen)
        except InputError:
            assert made
            continue
        assert {case.name for case in test} == tested
        assert not {case.name for case in training} & tested
        added = [case for case in training if case in made]
        assert not {case.source for case in added} & tested
        kept = len(training) - len(added)
        assert kept == len(real) - len(test)
        assert len(added) == min(round(ratio * kept), sum(case.source not in tested for case in made))


@settings(max_examples=15, deadline=None)  # with ties scipy tries all signs
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=7))
def test_the_tests_are_scipys(pairs):
    pairs = np.round(np.array(pairs), 3)
    found = paired_test(pairs)
    assert found["difference"] == pytest.approx(pairs[:, 1].mean() - pairs[:, 0].mean())
    if (pairs[:, 0] == pairs[:, 1]).all():
        assert (found["wilcoxon_p"], found["t_test_p"]) == (1, 1)
    else:
        assert found["wilcoxon_p"] == pytest.approx(stats.wilcoxon(pairs[:, 0], pairs[:, 1]).pvalue)
        assert 0 <= found["t_test_p"] <= 1


def test_a_clear_difference_is_found_and_a_single_pair_is_not_tested():
    rng = np.random.default_rng(0)
    first = rng.uniform(0.4, 0.6, 20)
    assert paired_test(np.stack([first, first + rng.uniform(0.02, 0.1, 20)], 1))["wilcoxon_p"] < 1e-4
    assert paired_test(np.zeros((1, 2)))["wilcoxon_p"] is None
    assert paired_test(np.zeros((0, 2)))["difference"] is None


def test_cases_without_a_class_do_not_count_for_it():
    real, _ = some_cases([0, 0, 1], [])
    chosen = StudySettings((LIVER, TUMOR))
    dice = {
        arm: [{"case": f"p{n}", "fold": n // 2, "dice": [None if n == 2 else value + n / 10, None]} for n in range(3)]
        for arm, value in (("real", 0.5), ("real and synthetic", 0.7))
    }
    report = study_report(dice, chosen, real, [])
    liver, tumor = report.result["classes"]["liver"], report.result["classes"]["hepatic tumor"]
    assert liver["real"] == {"mean": pytest.approx(0.55), "folds": {0: pytest.approx(0.55), 1: None}}
    assert (liver["n"], liver["difference"]) == (2, pytest.approx(0.2))
    assert (tumor["n"], tumor["real"]["mean"]) == (0, None)
    assert report.table[1] == ("liver", "real", "0.550", "-", "0.550", "", "", "", "")
    assert report.table[4][5:] == ("0", "-", "-", "-")


def test_folds_are_those_of_the_data_set_or_even(a_real_set):
    found = real_cases(read_dataset(a_real_set), folds=2, seed=0)
    assert sorted(case.fold for case in found) == [0, 0, 1, 1]
    assert found == real_cases(read_dataset(a_real_set), folds=2, seed=0)
    scans = tuple(Scan(str(n), None, a_real_set, fold=n // 2) for n in range(4))
    assert [case.fold for case in real_cases(Dataset("own", scans), folds=5, seed=0)] == [0, 0, 1, 1]


def test_the_segmenter_learns_what_it_sees(a_real_set):
    chosen = StudySettings(
        (TUMOR,), folds=2, train_steps=30, patch=32, width=4, batch=1, spacing=(3.0,) * 3, learning_rate=5e-3
    )
    cases = real_cases(read_dataset(a_real_set), 2, 0)
    samples = [read_sample(case, chosen) for case in cases]
    assert samples[0]["image"].shape == (1, 32, 32, 32)
    assert samples[0]["label"].max() == 1
    network = train_segmenter(samples[:3], chosen, torch.device("cpu"))
    assert dice_of(network, samples[3], chosen)[0] > 0.4  # a random network has 0.1
    empty = {**samples[3], "label": torch.zeros_like(samples[3]["label"])}
    assert dice_of(network, empty, chosen) == [None]


def test_the_whole_study_runs_and_goes_on(tmp_path, a_real_set, a_tiny_model, capsys):
    out, found = tmp_path / "study", tmp_path / "study.json"
    command = ["evaluate", "study", str(a_real_set), "-o", str(out), "--model", "tiny", "--json", str(found), *TINY]
    assert cli.main([*command, "--classes", "liver,hepatic tumor"]) == 0
    report = json.loads(found.read_text())
    assert report["cases"] == {"real": 4, "synthetic": 4}
    assert set(report["classes"]) == {"liver", "hepatic tumor"}
    assert report["classes"]["liver"]["n"] == 4
    assert [row["case"] for row in report["details"]["real"]] == [
        row["case"] for row in report["details"]["real and synthetic"]
    ]
    trained = json.loads((out / "trainings" / "fold0_real_and_synthetic.json").read_text())["trained_on"]
    tested = {row["case"] for row in report["details"]["real"] if row["fold"] == 0}
    assert len(trained) == 4
    assert not [name for name in trained if any(case in name for case in tested)]
    assert "hepatic tumor" in capsys.readouterr().out
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.nii.gz")}
    (out / "trainings" / "fold1_real.json").unlink()
    assert cli.main([*command, "--classes", "liver,hepatic tumor"]) == 0
    again = json.loads(found.read_text())
    assert again["classes"] == report["classes"]
    assert times == {path: path.stat().st_mtime_ns for path in out.rglob("*.nii.gz")}
    assert "another folder" in refused_at_work(capsys, *command)


def test_without_a_data_set_phantoms_are_rendered(tmp_path, a_tiny_model, capsys):
    command = ["evaluate", "study", "-o", str(tmp_path / "study"), "--phantoms", "2", "--model", "tiny", *TINY]
    assert cli.main(command) == 0
    assert "hepatic tumor" in capsys.readouterr().out
    assert len(read_dataset(tmp_path / "study" / "real").labelled) == 2


def test_given_synthetic_cases_tell_their_source(tmp_path, a_real_set):
    entries = [{"image": f"real/p{n}.nii.gz", "label": f"real/p{n}_label.nii.gz", "source": f"p{n}"} for n in range(2)]
    (tmp_path / "made.json").write_text(json.dumps({"training": entries}))
    real = real_cases(read_dataset(a_real_set), 2, 0)
    assert [c.source for c in given_synthetic(read_dataset(tmp_path / "made.json"), real)] == ["p0", "p1"]
    with pytest.raises(InputError, match="not a real case"):
        given_synthetic(read_dataset(tmp_path / "made.json"), real[1:] if real[0].name == "p0" else real[:1])
    assert [c.source for c in given_synthetic(read_dataset(a_real_set), real)] == [None] * 4


def test_auto3dseg_gets_both_arms_and_tests_on_real_cases_only(tmp_path, a_real_set, capsys):
    out = tmp_path / "study"
    command = ["evaluate", "study", str(a_real_set), "-o", str(out), "--synthetic", str(a_real_set), "--auto3dseg"]
    assert cli.main([*command, "--folds", "2"]) == 0
    assert "run.sh" in capsys.readouterr().out
    for arm, count in (("real", 2), ("real_and_synthetic", 4)):
        place = out / "auto3dseg" / arm / "fold1"
        training, test = datafold_read(str(place / "datalist.json"), basedir="/", fold=0)
        assert (len(training), len(test)) == (count, 2)
        assert all("synthetic" not in entry["label"] for entry in test)
        assert np.unique(read_dataset(place / "datalist.json").read_labels(_first(place)).array).tolist() == [0, 1]
        runner = AutoRunner(work_dir=str(tmp_path / "work"), input=str(place / "input.json"), algos=["segresnet"])
        assert runner.set_num_fold(1).num_fold == 1
    script = (out / "auto3dseg" / "run.sh").read_text()
    assert script.count("AutoRunner") == 4


def _first(place):
    return read_dataset(place / "datalist.json").scans[0]


def test_classes_are_named_or_the_lesions_that_are_there():
    assert read_classes(["Liver", "liver tumour"], [1]) == (LIVER, TUMOR)
    assert read_classes([], [1, 26, 23, 200]) == (23, 26)
    with pytest.raises(InputError, match="no lesions"):
        read_classes([], [1, 200])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("absent -o out", "no folder absent"),
        ("real -o out --synthetic absent", "no folder absent"),
        ("real -o out --folds 2 --classes elbow", "no class 'elbow'"),
        ("real -o out --folds 2 --classes liver,Liver", "each only once"),
        ("real -o out --folds 1", "at least 2 folds"),
        ("real -o out --folds 5", "fewer than 5 folds"),
        ("real -o out --ratio 0", "synthetic cases for each real one"),
        ("real -o out --train-steps 0", "train steps"),
        ("real -o out --patch 40", "32, 48, 64"),
        ("real -o out --spacing 0,1,1", "spacing"),
        ("real -o out --window 3 1", "window"),
        ("real -o no/where", "cannot be made"),
        ("-o out --phantoms 0", "number of phantoms"),
        ("real -o out --folds 2 --model nothing", "nothing"),
    ],
)
def test_bad_input_gets_one_sentence(tmp_path, a_real_set, capsys, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    assert sentence in refused(capsys, "evaluate", "study", *arguments.split(), "--device", "cpu")
