"""Comparing models: every kind of cell, that finished ones are kept, and what is written, on scikit-learn's digits."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import statistics
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import pytest
from rich.console import Console

from inkdigits import DataError, ModelError, Recognizer, SettingError, TrainingError
from inkdigits.cli import main
from inkdigits.data.catalog import load
from inkdigits.evaluation.evaluate import evaluate
from inkdigits.settings import Settings
from inkdigits.training import compare as module
from inkdigits.training.baselines import LADDER
from inkdigits.training.compare import Plan, compare
from inkdigits.training.comparison import Cell, Comparison, Mean

pytestmark = pytest.mark.slow

MODELS = ("logistic", "knn", "mlp", "lenet")
PLAN = Plan(models=MODELS, data="digits", seeds=(0, 1), epochs=2, threads=1)


def log() -> Console:
    return Console(file=io.StringIO(), width=200)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return Settings(cache=str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def run(tmp_path_factory, settings):
    """One whole comparison."""
    folder = tmp_path_factory.mktemp("run") / "new"
    console = log()
    comparison = compare(PLAN, folder, settings, console=console)
    return SimpleNamespace(folder=folder, comparison=comparison, text=console.file.getvalue())


def test_a_cell_for_each_model_and_seed_once_where_nothing_is_random(run):
    cells = [(cell.model, cell.seed) for cell in run.comparison.cells]
    assert cells == [("logistic", 0), ("knn", 0), ("mlp", 0), ("mlp", 1), ("lenet", 0), ("lenet", 1)]
    assert sorted(p.name for p in (run.folder / "cells").iterdir()) == sorted(f"{m}-{s}.json" for m, s in cells)
    assert [p.name for p in run.folder.glob("comparison.*")]
    for cell in run.comparison.cells:
        assert cell.config["data"] == "digits"
        assert cell.tests["digits"][0] == 359
        assert cell.network_us > 0
        assert cell.seconds >= 0
    epochs = {cell.model: cell.config["epochs"] for cell in run.comparison.cells if "epochs" in cell.config}
    assert epochs == {"mlp": 2, "lenet": 2}


def test_every_accuracy_is_that_of_the_file_on_the_test_part(run, settings):
    test = load("digits", settings, part="test")
    for cell in run.comparison.cells:
        if cell.model != "knn":
            recognizer = Recognizer(run.folder / "models" / f"{cell.model}-{cell.seed}.onnx")
            assert evaluate(recognizer, test).accuracy == cell.tests["digits"][1]
            assert cell.bytes == recognizer.model.path.stat().st_size
    floor = {row.model: row.tests["digits"].mean for row in run.comparison.rows}
    assert floor["logistic"] > 0.9
    assert floor["knn"] > 0.95


def test_means_and_gains(run):
    rows = {row.model: row for row in run.comparison.rows}
    of_lenet = [cell.tests["digits"][1] for cell in run.comparison.cells if cell.model == "lenet"]
    assert rows["lenet"].tests["digits"].mean == statistics.fmean(of_lenet)
    assert rows["lenet"].tests["digits"].sd == statistics.stdev(of_lenet)
    assert rows["logistic"].tests["digits"].sd is None
    assert rows["logistic"].gain is None
    assert rows["knn"].gain == rows["knn"].tests["digits"].mean - rows["logistic"].tests["digits"].mean


def test_the_table_as_markdown_csv_json_and_text(run):
    lines = (run.folder / "comparison.md").read_text().splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert table[0][:4] == ["model", "n", "validation %", "test %"]
    assert [row[0] for row in table[2:]] == list(MODELS)
    assert all(len(row) == len(table[0]) for row in table)
    assert table[2][1] == "1"
    assert table[5][1] == "2"
    assert re.fullmatch(r"\d+\.\d\d ± \d+\.\d\d", table[5][3])
    assert "digits: 359 images" in " ".join(lines)
    assert "Epochs: mlp 2, lenet 2." in lines
    rows = list(csv.DictReader((run.folder / "comparison.csv").read_text().splitlines()))
    stored = json.loads((run.folder / "comparison.json").read_text())
    for row, plain, found in zip(rows, stored["rows"], run.comparison.rows, strict=True):
        assert row["model"] == plain["model"] == found.model
        assert float(row["test_digits_mean"]) == plain["tests"]["digits"]["mean"] == found.tests["digits"].mean
        assert int(row["parameters"]) == found.parameters
    assert len(stored["cells"]) == 6
    assert stored["environment"]["processor"]
    assert run.text.splitlines()[-4].startswith("logistic ")


def test_the_plot_is_an_image_with_its_numbers_as_text(run):
    root = ET.parse(run.folder / "comparison.svg").getroot()
    name = "{http://www.w3.org/2000/svg}"
    assert root.find(f"{name}title").text == "Accuracy of 4 models on digits"
    assert "logistic 9" in root.find(f"{name}desc").text
    width, height = map(float, root.get("viewBox").split()[2:])
    circles = root.findall(f"{name}circle")
    assert len([c for c in circles if c.get("class") == "mark"]) == 1 + 4  # the legend, and one per model
    assert all(0 <= float(c.get("cx")) <= width and 0 <= float(c.get("cy")) <= height for c in circles)


def test_what_is_finished_is_kept_and_only_the_rest_is_trained(run, settings, monkeypatch):
    trained = []
    original = module._Bench.cell

    def cell(self, name, seed):
        trained.append((name, seed))
        return original(self, name, seed)

    monkeypatch.setattr(module._Bench, "cell", cell)
    again = compare(PLAN, run.folder, settings, console=log())
    assert trained == []
    assert again.to_dict() == json.loads(json.dumps(run.comparison.to_dict()))
    more = Plan(models=("mlp", "logistic"), data="digits", seeds=(1, 2), epochs=2)
    found = compare(more, run.folder, settings, console=log())
    assert trained == [("mlp", 2), ("logistic", 1)]
    assert [row.model for row in found.rows] == ["mlp", "logistic"]


def test_a_comparison_that_was_killed_goes_on_in_the_middle_of_a_training(tmp_path, settings):
    class Killed(Console):
        def print(self, text, **options):
            if str(text).startswith("epoch   1"):
                raise SystemExit
            super().print(text, **options)

    plan = Plan(models=("lenet",), data="digits", seeds=(0,), epochs=2, threads=1)
    with pytest.raises(SystemExit):
        compare(plan, tmp_path, settings, console=Killed(file=io.StringIO()))
    assert (tmp_path / "models" / "lenet-0.ckpt").exists()
    console = log()
    compare(plan, tmp_path, settings, console=console)
    assert "resuming after epoch 1" in console.file.getvalue()


def test_ctrl_c_ends_it_and_leaves_no_cell(tmp_path, settings):
    class Stopped(Console):
        def print(self, text, **options):
            super().print(text, **options)
            if str(text).startswith("epoch   1"):
                raise KeyboardInterrupt

    plan = Plan(models=("mlp",), data="digits", seeds=(0,), epochs=3, threads=1)
    with pytest.raises(KeyboardInterrupt):
        compare(plan, tmp_path, settings, console=Stopped(file=io.StringIO()))
    assert list((tmp_path / "cells").iterdir()) == []


def test_a_model_that_was_trained_before_is_taken(run, tmp_path, settings):
    path = str(run.folder / "models" / "lenet-1.onnx")
    comparison = compare(Plan(models=(path, "knn"), data="digits"), tmp_path, settings, console=log())
    [before] = [cell for cell in run.comparison.cells if (cell.model, cell.seed) == ("lenet", 1)]
    taken = comparison.cells[0]
    assert taken.tests == before.tests
    assert (taken.validation, taken.parameters, taken.seconds) == (before.validation, before.parameters, before.seconds)
    assert comparison.rows[0].about == "an existing model"
    assert "| lenet-1 | 1 |" in (tmp_path / "comparison.md").read_text()
    again = compare(Plan(models=(os.path.relpath(path),), data="digits"), tmp_path, settings, console=log())
    assert again.rows[0].tests == comparison.rows[0].tests
    assert again.cells[0].network_us == taken.network_us  # kept, not measured anew
    # What it was validated on is not what others are validated on here.
    other = Recognizer("lenet").model.path
    comparison = compare(Plan(models=(str(other),), data="digits"), tmp_path, settings, console=log())
    assert comparison.rows[0].validation is None
    assert "| lenet | 1 | – |" in (tmp_path / "comparison.md").read_text()


def test_cells_of_other_options_are_not_mixed(run, settings):
    with pytest.raises(
        SettingError, match=r"mlp-0\.json was made with other options: epochs is 2 there and 3 here; name another"
    ):
        compare(Plan(models=("mlp",), data="digits", epochs=3), run.folder, settings, console=log())
    with pytest.raises(
        SettingError, match=r"logistic-0\.json was made with other options: data is 'digits' there and 'mnist'"
    ):
        compare(Plan(models=("logistic",), data="mnist"), run.folder, settings, console=log())


def test_a_damaged_cell_is_told_before_anything_is_trained(tmp_path, settings):
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "lenet-0.json").write_text("{")
    with pytest.raises(TrainingError, match=r"lenet-0\.json is damaged; delete it"):
        compare(Plan(models=("mlp", "lenet"), data="digits", seeds=(0,)), tmp_path, settings, console=log())
    assert not list(tmp_path.glob("models/*"))


def test_plans_that_cannot_be_carried_out(tmp_path, settings):
    with pytest.raises(SettingError, match=r"unknown model 'resnet'; known are: logistic, .*; or the path of an"):
        Plan(models=("resnet",))
    with pytest.raises(SettingError, match="seed 1 is given twice"):
        Plan(seeds=(1, 2, 1))
    with pytest.raises(SettingError, match="there is no model to compare"):
        Plan(models=())
    with pytest.raises(ModelError, match=r"no model 'none\.onnx'"):
        compare(Plan(models=("none.onnx",), data="digits"), tmp_path, settings, console=log())
    with pytest.raises(DataError, match="unknown data set 'emnist'"):
        compare(Plan(data="emnist"), tmp_path, settings, console=log())


def test_the_whole_ladder_by_default():
    assert Plan().models == tuple(LADDER)
    assert len(Plan().cells) == 2 + 3 * (len(LADDER) - 2)


def cell(model: str, accuracy: float, **others) -> Cell:
    defaults = {"seed": 0, "config": {}, "validation": accuracy, "tests": {"mnist": (100, accuracy)}, "parameters": 5}
    return Cell(**{"model": model, **defaults, "bytes": 1, "seconds": 1.0, "network_us": 2.0, **others})


def test_no_two_models_are_called_the_same(run, tmp_path, settings):
    one, two = (tmp_path / part / "lenet.onnx" for part in ("one", "two"))
    for path, seed in ((one, 0), (two, 1)):
        path.parent.mkdir()
        shutil.copy(run.folder / "models" / f"lenet-{seed}.onnx", path)
    models = (str(one), "lenet", str(two))
    folder = tmp_path / "comparison"
    log_ = log()
    plan = Plan(models=models, data="digits", seeds=(0,), epochs=2, threads=1)
    comparison = compare(plan, folder, settings, console=log_)
    names = [f"lenet ({one})", "lenet", f"lenet ({two})"]
    table = (folder / "comparison.md").read_text()
    assert re.findall(r"^\| (lenet.*?) \|", table, re.M) == names
    svg = ET.parse(folder / "comparison.svg").getroot()
    width = float(svg.get("viewBox").split()[2])
    texts = [each for each in svg.iter("{http://www.w3.org/2000/svg}text") if "lenet" in (each.text or "")]
    assert [each.text for each in texts] == names
    assert all(float(each.get("x")) - 8 * len(each.text) >= 0 for each in texts)
    assert all(float(c.get("cx")) <= width for c in svg.iter("{http://www.w3.org/2000/svg}circle"))
    stored = json.loads((folder / "comparison.json").read_text())
    assert [row["model"] for row in stored["rows"]] == list(models)
    assert len(list((folder / "cells").iterdir())) == 3
    by_file = {cell.model: cell.tests for cell in comparison.cells}
    of_seed = {cell.seed: cell.tests for cell in run.comparison.cells if cell.model == "lenet"}
    assert (by_file[str(one)], by_file[str(two)], by_file["lenet"]) == (of_seed[0], of_seed[1], of_seed[0])
    again = compare(plan, folder, settings, console=log_)
    assert log_.file.getvalue().count(": kept") == 3
    assert [each.network_us for each in again.cells] == [each.network_us for each in comparison.cells]
    with pytest.raises(SettingError, match="data is 'digits' there and 'mnist' here"):
        compare(Plan(models=(str(one),), data="mnist"), folder, settings, console=log())


def test_a_model_without_a_mistake_can_be_drawn():
    about = {"a": "", "b": ""}
    for accuracies in ((1.0, 0.97), (0.2, 0.1), (0.99, 0.99)):
        cells = [cell("a", accuracies[0]), cell("b", accuracies[1]), cell("b", accuracies[0], seed=1)]
        root = ET.fromstring(Comparison("mnist", cells, about).svg())
        assert all(0 <= float(c.get("cx")) <= 760 for c in root.iter("{http://www.w3.org/2000/svg}circle"))
    assert Mean.of([0.5]).percent() == "50.00"
    assert Mean.of([0.5, 0.6]).percent() == "55.00 ± 7.07"


def test_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("INKDIGITS_CACHE", str(tmp_path / "cache"))
    argv = ["compare", "--models", "logistic,mlp", "--data", "digits", "--seeds", "4,5", "--epochs", "1", "--out"]
    assert main([*argv, str(tmp_path / "c")]) == 0
    out = capsys.readouterr().out
    assert "[3/3] mlp, seed 5" in out
    assert (tmp_path / "c" / "cells" / "mlp-5.json").exists()
    assert main(["compare", "--seeds", "1;2", "--out", str(tmp_path)]) == 2
    assert "--seeds must be integers such as 0,1,2, not '1;2'" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["compare", "--models", "mlp", "--data", "digits", "--out", str(tmp_path / "file" / "c")]) == 2
    assert "cannot make folder" in capsys.readouterr().err
