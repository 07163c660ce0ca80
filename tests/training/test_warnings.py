"""A training that learnt nothing says so, at the end, in the registry and in its record, and replaces no default."""

import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from inkdigits.recognizer import Recognizer
from inkdigits.settings import Settings
from inkdigits.training import quantize as module
from inkdigits.training.config import TrainConfig
from inkdigits.training.quantize import quantize
from inkdigits.training.train import train

pytestmark = pytest.mark.slow

SECONDS = 120  # for one command
WARNING = "of the validation images, hardly better than guessing: the training learned next to nothing"
HOPELESS = ("--network", "lenet", "--data", "digits", "--epochs", "2", "--threads", "1", "--learning-rate", "100")


def run(folder, *argv):
    """``inkdigits`` as a user runs it, in a folder."""
    command = [sys.executable, "-m", "inkdigits", *map(str, argv)]
    environ = {**os.environ, "INKDIGITS_CACHE": str(folder / "cache"), "INKDIGITS_RUNS": str(folder / "runs")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, cwd=folder, env=environ)
    return SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)


def registry(folder):
    return json.loads((folder / "models" / "registry.json").read_text())


def test_a_learning_rate_that_is_far_too_high(tmp_path):
    done = run(tmp_path, "train", *HOPELESS, "--out", "models/mine.onnx")
    assert done.code == 0, done.err
    last = done.out.splitlines()[-1]
    assert last.startswith("warning: mine.onnx reads ")
    assert f"{WARNING}. Train for more epochs, lower the learning rate, now 100, or check the labels." in last
    entry = registry(tmp_path)["models"]["mine"]
    assert entry["metrics"]["validation"]["accuracy"] < 0.2
    assert f"warning: {entry['warning']}." == last
    assert "default" not in registry(tmp_path)
    [record] = (tmp_path / "runs").glob("*/run.json")
    assert json.loads(record.read_text())["model"]["warning"] == entry["warning"]
    assert WARNING in run(tmp_path, "runs", record.parent.name).out


def test_the_perceptron_too(tmp_path):
    options = ("--network", "mlp", "--data", "digits", "--epochs", "1", "--learning-rate", "1e-9", "--no-record")
    done = run(tmp_path, "train", *options, "--out", "models/mlp.onnx")
    assert done.code == 0, done.err
    assert "warning: mlp.onnx reads " in done.out.splitlines()[-1]
    assert WARNING in registry(tmp_path)["models"]["mlp"]["warning"]


def test_a_default_is_not_replaced_by_it(tmp_path):
    good = run(tmp_path, "train", *HOPELESS[:-1], "0.003", "--out", "models/mine.onnx", "--no-record")
    assert good.code == 0, good.err
    assert "warning" not in good.out
    path = tmp_path / "models" / "registry.json"
    path.write_text(json.dumps({"default": "mine", **registry(tmp_path)}))
    before = path.read_bytes(), (tmp_path / "models" / "mine.onnx").read_bytes()
    done = run(tmp_path, "train", *HOPELESS, "--out", "models/mine.onnx")
    assert done.code == 2
    assert WARNING in done.err
    assert "The default model models/mine.onnx is kept; name another --out" in done.err
    assert (path.read_bytes(), (tmp_path / "models" / "mine.onnx").read_bytes()) == before
    assert [p.name for p in (tmp_path / "models").glob(".*.onnx")] == []
    [record] = (tmp_path / "runs").glob("*/run.json")
    assert (json.loads(record.read_text())["state"], "model" in json.loads(record.read_text())) == ("failed", False)

    (tmp_path / "models" / "link.onnx").symlink_to("mine.onnx")
    done = run(tmp_path, "train", *HOPELESS, "--out", "models/link.onnx", "--no-record")
    assert (done.code, "models/mine.onnx is kept; name another --out" in done.err) == (2, True)
    assert (path.read_bytes(), (tmp_path / "models" / "mine.onnx").read_bytes()) == before


def test_a_study_whose_best_trial_learnt_nothing(tmp_path):
    space = {
        "fixed": {"network": "mlp", "data": "digits", "epochs": 1},
        "search": {"learning_rate": {"low": 1e-9, "high": 1e-8}},
    }
    (tmp_path / "space.json").write_text(json.dumps(space))
    done = run(tmp_path, "tune", "space.json", "--trials", "2", "--out", "study")
    assert done.code == 0, done.err
    assert "warning: even the best trial is hardly better than guessing" in done.out


def test_integers_that_cost_too_much(tmp_path, monkeypatch):
    options = TrainConfig(network="lenet", data="digits", epochs=4, threads=1)
    settings = Settings(cache=str(tmp_path / "cache"))
    quiet = Console(file=io.StringIO(), width=500)
    train(options, tmp_path / "float.onnx", settings, console=quiet)
    # Scales that are found by faint ink do not hold for real ink.
    samples = module.samples_of
    monkeypatch.setattr(module, "samples_of", lambda pools: samples(pools) * np.float32(0.05))
    log = Console(file=io.StringIO(), width=500)
    entry = quantize(str(tmp_path / "float.onnx"), tmp_path / "small.onnx", settings, console=log)
    lost = Recognizer(tmp_path / "float.onnx").model.metrics["validation"]["accuracy"]
    lost -= entry["metrics"]["validation"]["accuracy"]
    assert lost > 0.005
    assert "8-bit integers cost this model too much" in entry["warning"]
    assert log.file.getvalue().splitlines()[-1] == f"warning: {entry['warning']}."


def test_integers_of_a_model_near_chance(tmp_path):
    done = run(
        tmp_path,
        "train",
        "--network",
        "lenet",
        "--data",
        "digits",
        "--epochs",
        "1",
        "--learning-rate",
        "1e-9",
        "--out",
        "float.onnx",
        "--no-record",
    )
    assert "warning: float.onnx reads" in done.out, done.err
    done = run(tmp_path, "quantize", "float.onnx", "--out", "small.onnx")
    assert done.code == 0, done.err
    [warning] = [line for line in done.out.splitlines() if line.startswith("warning")]
    assert warning.endswith("hardly better than guessing, as float.onnx does; train that model again.")
    assert "learning rate" not in warning


@pytest.mark.parametrize("accuracy", [0.0967, 0.1999, float("nan")])
def test_what_is_near_chance(accuracy):
    from inkdigits.training.register import near_chance

    assert near_chance(accuracy)
    assert not near_chance(0.2)
