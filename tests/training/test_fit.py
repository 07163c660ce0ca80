"""Whole training runs on real digits, small enough for a test: what they give, how they stop, and how they go on."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shlex
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console

from inkdigits import ModelError, Recognizer, SettingError, TrainingError
from inkdigits.data.catalog import load
from inkdigits.evaluation.evaluate import evaluate, unseen
from inkdigits.settings import Settings
from inkdigits.training import fit
from inkdigits.training import prepare as pools
from inkdigits.training import register as finish
from inkdigits.training import run as runs
from inkdigits.training.fit import TrainConfig
from inkdigits.training.train import train

pytestmark = pytest.mark.slow

CONFIG = TrainConfig(network="lenet", data="digits", epochs=6, batch_size=32, augment=0.5, threads=1, seed=3)


class Log(Console):
    """Keeps what it is told as text; at the line that begins with ``stop_at`` it raises ``error`` instead."""

    def __init__(self, stop_at: str = "", error: BaseException | None = None, **options) -> None:
        super().__init__(file=io.StringIO(), width=200, **options)
        self.stop_at, self.error = stop_at, error

    def print(self, text, **options):
        if self.error and str(text).startswith(self.stop_at):
            raise self.error
        super().print(text, **options)

    @property
    def text(self) -> str:
        return self.file.getvalue()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One undisturbed run."""
    out = tmp_path_factory.mktemp("run") / "new" / "reader.onnx"
    log = Log()
    entry = train(CONFIG, out, Settings(), console=log)
    return SimpleNamespace(out=out, entry=entry, text=log.text)


def test_it_learns_to_read(run):
    recognizer = Recognizer(run.out)
    found = evaluate(recognizer, unseen("digits", Settings(), recognizer))
    assert found.n == 359
    assert found.accuracy > 0.93
    assert found.figures() == run.entry["metrics"]["digits"]


def test_it_keeps_what_drift_is_told_by(run):
    held = load("digits", Settings(), part="train")
    answers = Recognizer(run.out).predict_batch(held.images)
    kept = run.entry["metrics"]["validation"]
    # A fifth of these was held back, so the means over all are near it but not the same.
    assert kept["ink"] == pytest.approx(np.mean([answer.image.mean() for answer in answers]), rel=0.05)
    assert kept["confidence"] == pytest.approx(np.mean([answer.confidence for answer in answers]), abs=0.03)
    assert "refusals" not in kept


def test_it_tells_one_line_an_epoch(run):
    lines = [line for line in run.text.splitlines() if line.startswith("epoch")]
    assert len(lines) == CONFIG.epochs
    assert all(word in line for line in lines for word in ("train loss", "acc", "val loss", "rate", " s"))
    assert "\x1b" not in run.text


def test_the_registry_has_the_whole_story(run):
    assert [p.name for p in sorted(run.out.parent.iterdir())] == [".registry.json.lock", "reader.onnx", "registry.json"]
    registry = json.loads((run.out.parent / "registry.json").read_text())
    assert registry == {"models": {"reader": run.entry}}
    entry = run.entry
    assert entry["file"] == "reader.onnx"
    assert entry["sha256"] == hashlib.sha256(run.out.read_bytes()).hexdigest()
    assert entry["bytes"] == run.out.stat().st_size
    assert entry["parameters"] == 44_426
    assert TrainConfig.from_dict(entry["config"]) == CONFIG
    assert entry["command"] == CONFIG.command("reader.onnx")
    assert entry["data"] == load("digits", Settings(), part="train").sha256
    assert entry["versions"]["torch"] == torch.__version__
    assert Recognizer(run.out).model.temperature == entry["temperature"] != 1
    assert 1 <= entry["training"]["best_epoch"] <= entry["training"]["epochs"] == CONFIG.epochs
    assert str(run.out.parent) not in json.dumps(registry)


def test_the_same_seed_gives_the_same_file(run, tmp_path):
    train(CONFIG, tmp_path / "same.onnx", Settings(), console=Log())
    assert (tmp_path / "same.onnx").read_bytes() == run.out.read_bytes()


def test_another_seed_gives_another_run(run, tmp_path):
    log = Log("epoch   2", SystemExit())
    with pytest.raises(SystemExit):
        train(TrainConfig.from_dict({**CONFIG.to_dict(), "seed": 4}), tmp_path / "other.onnx", Settings(), console=log)
    first, other = (re.search("epoch   1/6 +(.*)  rate", text)[1] for text in (run.text, log.text))
    assert first != other


def test_a_killed_run_goes_on_to_the_very_same_file(run, tmp_path):
    """As a user runs it: killed in its fourth epoch, it goes on in another process."""
    command = [sys.executable, "-m", *shlex.split(CONFIG.command("reader.onnx")), "--no-record"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith("epoch   3"):
                process.kill()
    assert {p.name for p in tmp_path.iterdir()} == {"reader.ckpt", ".reader.onnx.inkdigits"}
    done = subprocess.run([*command, "--resume"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"resuming after epoch [34] ", done.stdout)  # reported epochs are kept
    assert (tmp_path / "reader.onnx").read_bytes() == run.out.read_bytes()
    entry = json.loads((tmp_path / "registry.json").read_text())["models"]["reader"]
    assert entry["training"]["best_epoch"] == run.entry["training"]["best_epoch"]
    assert not {p.name for p in tmp_path.iterdir()} & {"reader.ckpt", ".reader.onnx.inkdigits"}


def test_ctrl_c_keeps_the_best_so_far_and_can_be_resumed(tmp_path):
    out = tmp_path / "reader.onnx"
    log = Log("epoch   3", KeyboardInterrupt())
    entry = train(CONFIG, out, Settings(), console=log)
    assert entry["training"]["best_epoch"] <= 3
    assert Recognizer(out).model.sha256 == entry["sha256"]
    assert f"stopped early; {out.with_suffix('.ckpt')} is kept" in log.text
    with pytest.raises(SystemExit):
        train(CONFIG, out, Settings(), resume=True, console=(again := Log("epoch   4", SystemExit())))
    assert "resuming after epoch 3" in again.text


def test_ctrl_c_before_the_first_epoch_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(images, config, generator):
        raise KeyboardInterrupt

    monkeypatch.setattr(fit, "augmented", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, tmp_path / "reader.onnx", Settings(), console=Log())
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_before_the_first_checkpoint_leaves_nothing(tmp_path, monkeypatch):
    """Else there would be a model that looks complete, and nothing to go on from."""

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(fit, "write_checkpoint", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, tmp_path / "reader.onnx", Settings(), console=(log := Log()))
    assert list(tmp_path.iterdir()) == []
    assert "epoch   1" not in log.text


def test_the_test_part_is_read_once_and_last(tmp_path, monkeypatch):
    events = []

    def recorded(name, settings, *, part, progress=None):
        events.append(part)
        return load(name, settings, part=part, progress=progress)

    monkeypatch.setattr(finish, "load", recorded)
    monkeypatch.setattr(pools, "load", recorded)
    monkeypatch.setattr(runs, "check_parity", lambda *args: events.append("parity") or 0.0)
    config = TrainConfig.from_dict({**CONFIG.to_dict(), "epochs": 1})
    train(config, tmp_path / "reader.onnx", Settings(), console=Log())
    assert events == ["train", "parity", "test"]


def test_patience_ends_a_run_that_gets_no_better(tmp_path):
    config = TrainConfig.from_dict({**CONFIG.to_dict(), "epochs": 50, "learning_rate": 0, "patience": 2})
    log = Log("best epoch 1:", SystemExit())
    with pytest.raises(SystemExit):
        train(config, tmp_path / "reader.onnx", Settings(), console=log)
    assert len(re.findall("^epoch", log.text, re.MULTILINE)) == 3


def test_bars_are_drawn_on_a_terminal_and_the_lines_stay(tmp_path):
    log = Log("best epoch", SystemExit(), force_terminal=True, force_interactive=True)
    config = TrainConfig.from_dict({**CONFIG.to_dict(), "epochs": 1})
    with pytest.raises(SystemExit):
        train(config, tmp_path / "reader.onnx", Settings(), console=log)
    assert "normalizing" in log.text
    assert "epoch   1/1  train loss" in log.text


def test_a_loss_that_is_no_number_is_an_error(tmp_path):
    config = TrainConfig.from_dict({**CONFIG.to_dict(), "learning_rate": 1e30})
    with pytest.raises(TrainingError, match=r"the loss became nan in epoch \d; lower the learning rate, now 1e\+30"):
        train(config, tmp_path / "reader.onnx", Settings(), console=Log())


def test_a_model_that_fails_its_check_does_not_replace_the_old_one(tmp_path, monkeypatch):
    def differs(*args):
        raise TrainingError("differs")

    out = tmp_path / "reader.onnx"
    out.write_bytes(b"old")
    monkeypatch.setattr(runs, "check_parity", differs)
    config = TrainConfig.from_dict({**CONFIG.to_dict(), "epochs": 1})
    with pytest.raises(TrainingError, match="differs"):
        train(config, out, Settings(), console=Log())
    assert out.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["reader.ckpt", "reader.onnx"]
    monkeypatch.undo()
    train(config, out, Settings(), resume=True, console=Log())  # only the export is left to do
    assert Recognizer(out).model.name == "reader"


def test_resume_refuses_what_is_not_its_run(tmp_path):
    out = tmp_path / "reader.onnx"
    with pytest.raises(TrainingError, match="there is no checkpoint"):
        train(CONFIG, out, Settings(), resume=True, console=Log())
    with pytest.raises(SystemExit):
        train(CONFIG, out, Settings(), console=Log("epoch   2", SystemExit()))
    other = TrainConfig.from_dict({**CONFIG.to_dict(), "batch_size": 64})
    with pytest.raises(TrainingError, match="belongs to another run: batch_size is 32 there and 64 here"):
        train(other, out, Settings(), resume=True, console=Log())
    checkpoint = out.with_suffix(".ckpt")
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1000])
    with pytest.raises(TrainingError, match=r"is damaged .* leave out --resume"):
        train(CONFIG, out, Settings(), resume=True, console=Log())


def test_mistakes_are_found_before_the_work(tmp_path):
    with pytest.raises(SettingError, match=r"suffix \.onnx, not .*model\.pt"):
        train(CONFIG, tmp_path / "model.pt", Settings())
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match=r"cannot make folder .*file"):
        train(CONFIG, tmp_path / "file" / "model.onnx", Settings())
    with pytest.raises(SettingError, match="unknown network"):
        train(TrainConfig(network="nn", data="digits"), tmp_path / "model.onnx", Settings())
    (tmp_path / "registry.json").write_text("{}")
    with pytest.raises(ModelError, match="not a registry"):
        train(CONFIG, tmp_path / "model.onnx", Settings())
