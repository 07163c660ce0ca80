"""A shipped model trained anew: by the registry's own commands, in their order, and from where they stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from inkdigits import Recognizer
from inkdigits.errors import ModelError
from inkdigits.network import shipped_models

import train_shipped
from support.drawings import picture
from support.paths import ROOT

pytestmark = pytest.mark.slow

SCRIPTS = ROOT / "scripts"
TRAIN = "inkdigits train --network sprint --data digits --epochs 1 --threads 1"
COMMANDS = {
    "first.onnx": f"{TRAIN} --out first.onnx",
    "teacher.onnx": f"{TRAIN} --seed 1 --out teacher.onnx",
    "float.onnx": f"{TRAIN} --init first.onnx --keep 0.5 --teacher first.onnx,teacher --out float.onnx",
    "small.onnx": "inkdigits quantize float.onnx --out small.onnx",
}


@pytest.fixture
def ship(monkeypatch):
    """Have a model shipped as ``small`` that such commands made."""

    def ship(commands):
        made = {name: {"command": command} for name, command in commands.items()}
        *before, last = made
        entry = {**made[last], "file": last, "lineage": {name: made[name] for name in before}}
        monkeypatch.setattr(train_shipped, "shipped_models", lambda: {"small": entry})

    return ship


def test_each_step_needs_what_it_starts_from_and_learns_from():
    steps = {step.name: step for step in train_shipped.recipe(train_shipped.find("cnn"))}
    assert list(steps)[-1] == "cnn.onnx"
    assert {name: set(step.needs) for name, step in steps.items()} == {
        "first.onnx": set(),
        "fast.onnx": set(),
        "second.onnx": {"first.onnx", "fast.onnx"},
        "third.onnx": {"second.onnx", "fast.onnx"},
        "cnn_float.onnx": {"second.onnx", "third.onnx"},
        "cnn.onnx": {"cnn_float.onnx"},
    }


@pytest.mark.parametrize("model", shipped_models())
def test_every_shipped_model_can_be_trained_anew(model, tmp_path):
    """The order is one in which it can be done, and nothing is named that no step makes."""
    made = set()
    for step in train_shipped.recipe(train_shipped.find(model)):
        assert step.needs <= made
        made.add(step.name)
        words = [word for word in step.command(tmp_path) if word.endswith(".onnx")]
        assert {name for word in words for name in word.split(",")} <= made
    assert step.name == shipped_models()[model]["file"]


def test_it_trains_in_order_and_keeps_what_is_there(ship, tmp_path, capfd):
    ship(COMMANDS)
    folder = tmp_path / "made"
    assert train_shipped.main(["small", "--folder", str(folder)]) == 0
    out = capfd.readouterr().out
    assert "teacher.onnx: inkdigits train" in out
    assert "--teacher first.onnx,teacher.onnx" in out  # the one made here, not a shipped model of that name
    assert f"{folder / 'small.onnx'} is there, after" in out
    entries = json.loads((folder / "registry.json").read_text())["models"]
    assert set(entries) == {"first", "teacher", "float", "small"}
    assert list(entries["small"]["lineage"]) == ["first.onnx", "teacher.onnx", "float.onnx"]
    assert Recognizer(folder / "small.onnx").predict(picture(1)).digit is not None

    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.onnx")}
    (folder / "small.onnx").unlink()
    assert train_shipped.main(["small", "--folder", str(folder)]) == 0
    out = capfd.readouterr().out
    assert "float.onnx: is there" in out
    assert "inkdigits train" not in out
    after = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.onnx")}
    assert [name for name in before if before[name] != after[name]] == ["small.onnx"]


def test_a_step_that_fails_is_named_and_nothing_follows_it(ship, tmp_path, capfd):
    ship(COMMANDS | {"teacher.onnx": f"{TRAIN} --validation many --out teacher.onnx"})
    assert train_shipped.main(["small", "--folder", str(tmp_path)]) == 1
    out, err = capfd.readouterr()
    assert "teacher.onnx: " in out
    assert "many" in out
    assert "teacher.onnx did not come to its end; the same command goes on from here" in err
    assert not (tmp_path / "float.onnx").exists()


def test_what_was_stopped_goes_on_from_its_checkpoint(tmp_path):
    """Ctrl-C in a terminal reaches all of them: the epochs that were done are not done again."""
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS), "PYTHONUNBUFFERED": "1"}
    long = f"{TRAIN.replace('--epochs 1', '--epochs 60')} --out small.onnx"
    (tmp_path / "short.py").write_text(
        "import sys, train_shipped\n"
        f"train_shipped.shipped_models = lambda: {{'small': {{'file': 'small.onnx', 'command': {long!r}}}}}\n"
        f"sys.exit(train_shipped.main(['small', '--folder', {str(tmp_path)!r}]))\n"
    )

    def start():
        return subprocess.Popen(
            [sys.executable, "short.py"],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # A shell's background job ignores Ctrl-C, and hands that down to the tests and to this.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    with start() as process:
        seen = []
        for line in process.stdout:
            seen.append(line)
            if "epoch" in line and "/60" in line:
                os.killpg(process.pid, signal.SIGINT)
                break
        seen.extend(process.stdout)
    assert process.returncode == 130, "".join(seen)
    assert (tmp_path / "small.ckpt").exists(), "".join(seen)
    with start() as process:
        out = process.stdout.read()
    assert process.returncode == 0, out
    assert "--resume" in out
    assert " 1/60" not in out
    assert not (tmp_path / "small.ckpt").exists()


def test_it_names_what_cannot_be_trained(ship, capfd):
    assert train_shipped.main(["nothing"]) == 2
    assert "no shipped model 'nothing'; shipped are: cnn" in capfd.readouterr().err
    ship(COMMANDS)
    entry = train_shipped.find("small")
    del entry["lineage"]["teacher.onnx"]["command"]
    with pytest.raises(ModelError, match=r"command that made teacher\.onnx, of which small is"):
        train_shipped.recipe(train_shipped.find("small"))
