"""Runs listed and compared: written here as `inkdigits train` leaves them, read through the command line."""

from __future__ import annotations

import json
import os
import platform
from xml.etree import ElementTree

import pytest

from inkdigits.cli import main
from inkdigits.evaluation.charts import SERIES
from inkdigits.training.config import TrainConfig
from inkdigits.training.runs import Run

SVG = "{http://www.w3.org/2000/svg}"


def write(folder, name, accuracies, *, test=None, state="finished", **options):
    """A run as the recorder leaves it."""
    config = TrainConfig(data="digits", epochs=4, **options).to_dict()
    model = None
    if test is not None:
        metrics = {"validation": {"accuracy": max(accuracies)}, "digits": {"n": 10, "accuracy": test}}
        model = {"metrics": metrics, "training": {"best_epoch": 1 + accuracies.index(max(accuracies))}}
    record = {
        "state": state,
        "started": f"2025-01-0{name[0]}T00:00:00+00:00",
        "out": f"/models/{name}.onnx",
        "host": platform.node(),
        "pid": os.getpid(),
        "config": config,
        "data": {"digits": "87ff0c9e40dc7e2c"},
        "environment": {"python": "3.11.0"},
        "git": {"commit": "0123456789abcdef", "branch": "main", "changed": []},
        "model": model,
    }
    (folder / name).mkdir(parents=True)
    (folder / name / "run.json").write_text(json.dumps(record))
    heads = "epoch,train_loss,train_accuracy,validation_loss,validation_accuracy,learning_rate,seconds"
    rows = [f"{i},{1 / i},{share / 2},{2 / i},{share},0.1,{7.0 * i}" for i, share in enumerate(accuracies, 1)]
    (folder / name / "metrics.csv").write_text("\n".join([heads, *rows, ""]))
    return folder / name


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A working folder with three runs in ``runs/``, the best in the middle, the last under way."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs"
    write(folder, "1-lenet", [0.5, 0.9, 0.8, 0.85], test=0.91, network="lenet")
    write(folder, "2-cnn", [0.7, 0.8, 0.95, 0.94], test=0.9, network="cnn", learning_rate=0.01)
    write(folder, "3-cnn", [0.6, 0.7], state="running", network="cnn")
    return folder


def said(capsys, *argv):
    assert main(["runs", *argv]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ("validation", ["2-cnn", "1-lenet", "3-cnn"]),
        ("test", ["1-lenet", "2-cnn", "3-cnn"]),
        ("started", ["1-lenet", "2-cnn", "3-cnn"]),
        ("seconds", ["3-cnn", "1-lenet", "2-cnn"]),
    ],
)
def test_the_list_is_sorted_and_what_is_not_known_comes_last(runs, capsys, sort, names):
    head, *rows = [line.split() for line in said(capsys, "--sort", sort).splitlines()]
    assert head == ["run", "state", "data", "epochs", "validation", "%", "test", "%", "seconds", "model"]
    assert [row[0] for row in rows] == names
    assert {row[0]: row[1:] for row in rows} == {
        "1-lenet": ["finished", "digits", "4/4", "90.00", "91.00", "28.0", "1-lenet.onnx"],
        "2-cnn": ["finished", "digits", "4/4", "95.00", "90.00", "28.0", "2-cnn.onnx"],
        "3-cnn": ["running", "digits", "2/4", "70.00", "–", "14.0", "3-cnn.onnx"],
    }


def test_a_run_whose_process_is_gone_was_killed(runs, capsys):
    path = runs / "3-cnn" / "run.json"
    gone = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(gone, 0)
    path.write_text(json.dumps({**json.loads(path.read_text()), "pid": gone}))
    assert said(capsys, "--sort", "started").splitlines()[3].split()[:2] == ["3-cnn", "killed"]
    path.write_text(json.dumps({**json.loads(path.read_text()), "host": "another"}))
    assert Run.read(path.parent).state == "running"


def test_two_runs_are_compared_by_what_differs(runs, capsys):
    facts, curve = said(capsys, "lenet", "2-cnn").split("\n\n")
    head, *rows = [line.split() for line in facts.splitlines()]
    assert head == ["1-lenet", "2-cnn"]
    assert {row[0]: row[1:] for row in rows} == {
        "network": ["lenet", "cnn"],
        "learning_rate": ["0.003", "0.01"],
        "started": ["2025-01-01T00:00:00+00:00", "2025-01-02T00:00:00+00:00"],
        "model": ["/models/1-lenet.onnx", "/models/2-cnn.onnx"],
        "best": ["epoch", "2", "3"],
        "validation": ["%", "90.00", "95.00"],
        "digits": ["test", "%", "91.00", "90.00"],
    }
    title, head, *rows = [line.split() for line in curve.splitlines()]
    assert (title, head) == (["validation", "%"], ["epoch", "1-lenet", "2-cnn"])
    assert rows == [["1", "50.00", "70.00"], ["2", "90.00", "80.00"], ["3", "80.00", "95.00"], ["4", "85.00", "94.00"]]


def test_one_run_is_told_in_full_and_a_long_curve_is_thinned_out(runs, capsys):
    write(runs, "4-long", [i / 100 for i in range(1, 101)], network="sprint", weight_decay=0.07)
    facts, curve = said(capsys, "4-long").split("\n\n")
    assert "weight_decay     0.07" in facts
    assert "git              0123456789ab" in facts
    shown = [int(line.split()[0]) for line in curve.splitlines()[2:]]
    assert (shown[0], shown[-1]) == (1, 100)
    assert len(shown) <= 14


def test_curves_of_several_runs_are_drawn_over_each_other(runs, capsys, tmp_path):
    said(capsys, "1-lenet", "2-cnn", "3-cnn", "--plot", "curves.svg")
    svg = ElementTree.fromstring((tmp_path / "curves.svg").read_text())
    assert {"1-lenet", "2-cnn", "3-cnn", "3 training runs"} <= {text.text for text in svg.iter(f"{SVG}text")}
    assert [len(line.get("points").split()) for line in svg.iter(f"{SVG}polyline")] == [4, 4, 2] * 2


def test_everything_is_there_as_json(runs, capsys):
    found = json.loads(said(capsys, "--json"))
    assert [run["name"] for run in found] == ["1-lenet", "2-cnn", "3-cnn"]
    assert found[0]["epochs"][1]["validation_accuracy"] == found[0]["validation"] == 0.9
    assert found[0]["config"]["network"] == "lenet"


def test_a_run_is_found_by_its_folder_too_and_other_folders_can_be_named(runs, capsys, tmp_path, monkeypatch):
    assert "lenet" in said(capsys, "runs/1-lenet")
    write(tmp_path / "others", "5-mine", [0.3])
    assert "5-mine" in said(capsys, "--runs", "others")
    monkeypatch.setenv("INKDIGITS_RUNS", "nowhere")
    assert said(capsys) == "no runs in nowhere; inkdigits train records them\n"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["gone"], "there is no run 'gone' in runs; inkdigits runs lists them"),
        (["cnn"], "2 runs in runs have 'cnn' in their name: 2-cnn, 3-cnn; give more of it"),
        (["--plot", "c.svg"], "--plot needs the names of the runs whose curves it draws; name some"),
        (["--sort", "name"], "invalid choice: 'name'"),
        (
            ["new", "--plot", "c.svg"],
            f"learning curves need 1 to {SERIES} runs with a finished epoch, not 0",
        ),
        (["bad"], "run.json is damaged; delete the folder to list the other runs"),
        (["odd"], "metrics.csv is damaged"),
    ],
)
def test_a_mistake_is_told(runs, capsys, argv, words):
    write(runs, "6-new", [])
    write(runs, "7-bad", [0.5]).joinpath("run.json").write_text("{")
    write(runs, "8-odd", [0.5]).joinpath("metrics.csv").write_text("epoch,seconds\n1,long\n")
    try:
        code = main(["runs", *argv])
    except SystemExit as exit:
        code = exit.code
    assert code == 2
    assert words in capsys.readouterr().err
