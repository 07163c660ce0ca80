"""Studies: real trainings, small ones, that fail, are killed, and go on; as a user starts them."""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tomllib
from xml.etree import ElementTree

import optuna
import pytest
from optuna.trial import TrialState
from rich.console import Console

from inkdigits import SettingError, TrainingError
from inkdigits.cli import main
from inkdigits.progress import Report, silent
from inkdigits.settings import Settings
from inkdigits.training import prepare as pools
from inkdigits.training.config import MlpConfig, TrainConfig, config_of
from inkdigits.training.search import tune as tuning
from inkdigits.training.search import worker as trials
from inkdigits.training.search.space import Space
from inkdigits.training.search.worker import Worker
from inkdigits.training.train import train

pytestmark = pytest.mark.slow

TRIALS, KILLED_AT = 40, 12
FIXED = {"network": "mlp", "data": "digits", "epochs": 3, "hidden": "16"}
# The highest learning rate makes the loss infinite: that trial fails.
SEARCH = {"learning_rate": {"choices": [0.05, 0.2, 0.8, 1e38]}, "batch_size": {"low": 16, "high": 64, "step": 16}}
SMALL = Space.from_dict({"fixed": FIXED, "search": {"learning_rate": {"low": 0.01, "high": 1.0, "log": True}}})


class Log(Console):
    """Keeps what it is told; after the line that begins with ``at`` it calls ``then``, once."""

    def __init__(self, at: str = "", then=None) -> None:
        super().__init__(file=io.StringIO(), width=200)
        self.at, self.then = at, then

    def print(self, *args, **options):
        super().print(*args, **options)
        if self.then and args and str(args[0]).startswith(self.at):
            then, self.then = self.then, None
            then()

    @property
    def text(self) -> str:
        return self.file.getvalue()


def study_in(folder):
    return optuna.load_study(study_name="inkdigits", storage=f"sqlite:///{folder / 'study.db'}")


def rows_of(folder):
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The folder of a study of two workers that was killed in the middle, the working folder, and what it printed."""
    work = tmp_path_factory.mktemp("tuning")
    (work / "space.json").write_text(json.dumps({"fixed": FIXED, "search": SEARCH}))
    command = [sys.executable, "-m", "inkdigits", "tune", "space.json", "--out", "study", "--trials", str(TRIALS)]
    with subprocess.Popen([*command, "--workers", "2"], cwd=work, stdout=subprocess.PIPE, text=True) as process:
        first = [line for line, _ in zip(process.stdout, range(KILLED_AT), strict=False)]
        process.send_signal(signal.SIGKILL)
        process.stdout.read()  # ends once the workers, which have it open as well, are no more
    assert len(first) == KILLED_AT
    stale = [trial.number for trial in study_in(work / "study").trials if trial.state == TrialState.RUNNING]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return work, work / "study", done.stdout, stale


def test_a_killed_study_goes_on_to_its_trials(killed):
    _, folder, printed, stale = killed
    trials = study_in(folder).trials
    again = {trial.user_attrs["again"]: trial for trial in trials if "again" in trial.user_attrs}
    assert printed.startswith(f"resuming {folder.name}: ")
    assert sorted(again) == stale
    for number, trial in again.items():
        assert trials[number].state == TrialState.FAIL
        assert trials[number].params.items() <= trial.params.items()
    assert all(trial.state.is_finished() for trial in trials)
    assert len(trials) - len(again) == TRIALS


def test_a_failed_trial_is_recorded_and_the_study_goes_on(killed):
    _, folder, _, _ = killed
    failed = [row for row in rows_of(folder) if row["error"]]
    assert failed
    assert all(float(row["learning_rate"]) == 1e38 for row in failed)
    assert all("the loss became" in row["error"] and row["state"] == "fail" for row in failed)
    assert int(failed[0]["trial"]) < int(rows_of(folder)[-1]["trial"])


def test_the_table_is_what_the_study_holds(killed):
    _, folder, _, _ = killed
    trials, rows = study_in(folder).trials, rows_of(folder)
    assert [int(row["trial"]) for row in rows] == [trial.number for trial in trials]
    for row, trial in zip(rows, trials, strict=True):
        assert row["state"] == trial.state.name.lower()
        assert row["validation_accuracy"] == ("" if trial.state != TrialState.COMPLETE else str(trial.value))
    assert {"complete", "pruned", "fail"} == {row["state"] for row in rows}


def test_the_best_trial_becomes_a_config_whose_training_is_as_good(killed, monkeypatch):
    work, folder, printed, _ = killed
    monkeypatch.chdir(work)
    best = study_in(folder).best_trial
    assert config_of(tomllib.loads((folder / "best.toml").read_text())) == MlpConfig(**FIXED, **best.params)
    assert f"the best is trial {best.number}: {best.value:.2%}" in printed
    assert main(["train", "--config", "study/best.toml", "--out", "best.onnx", "--no-record"]) == 0
    entry = json.loads((work / "registry.json").read_text())["models"]["best"]
    assert entry["metrics"]["validation"]["accuracy"] == best.value


def test_the_plots_show_every_trial_that_was_measured_and_what_mattered(killed):
    _, folder, _, _ = killed
    history = ElementTree.fromstring((folder / "history.svg").read_text())
    kinds = [circle.get("class") for circle in history.iter("{http://www.w3.org/2000/svg}circle")]
    states = [row["state"] for row in rows_of(folder)]
    assert kinds.count("mark") == states.count("complete")
    assert kinds.count("gone") == states.count("pruned")
    importance = ElementTree.fromstring((folder / "importance.svg").read_text())
    assert {"learning_rate", "batch_size"} <= {text.text for text in importance.iter() if text.text}


def test_the_test_part_is_not_looked_at(tmp_path, monkeypatch):
    """In this process, where what a trial loads can be seen."""
    loaded = []
    load = pools.load

    def watched(*args, **options):
        loaded.append(options["part"])
        return load(*args, **options)

    monkeypatch.setattr(pools, "load", watched)
    config = MlpConfig(**FIXED)
    made = pools.prepare(TrainConfig(data="digits"), Settings(), silent)
    trained = trials.learner_of(config).fit(made, Report(Console(quiet=True)), lambda figures: None)
    assert loaded == ["train"]
    entry = train(config, tmp_path / "m.onnx", Settings(), console=Log())
    assert entry["metrics"]["validation"]["accuracy"] == trained.validation["accuracy"]


def test_a_trial_whose_process_is_killed_is_tried_again(tmp_path):
    def kill():
        [child] = multiprocessing.active_children()
        os.kill(child.pid, signal.SIGKILL)

    log = Log("trial 0: ", kill)
    tuning.tune(SMALL, tmp_path, Settings(), trials=3, pruner="none", console=log)
    tried = study_in(tmp_path).trials
    [again] = [trial for trial in tried if "again" in trial.user_attrs]
    assert "its process ended with exit code -9; trying it again" in log.text
    assert tried[again.user_attrs["again"]].state == TrialState.FAIL
    assert tried[again.user_attrs["again"]].params == again.params
    assert [trial.state for trial in tried].count(TrialState.COMPLETE) == 3


def test_ctrl_c_writes_what_was_found_and_the_study_goes_on(tmp_path):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuning.tune(SMALL, tmp_path, Settings(), trials=4, pruner="none", console=Log("trial 1: ", stop))
    assert len(rows_of(tmp_path)) >= 2
    assert (tmp_path / "best.toml").exists()
    assert not multiprocessing.active_children()
    tuning.tune(SMALL, tmp_path, Settings(), trials=4, pruner="none", console=Log())
    assert [row["state"] for row in rows_of(tmp_path)].count("complete") == 4


def test_what_cannot_be_gone_on_with_is_told(tmp_path):
    quick = Space.from_dict({"fixed": {**FIXED, "epochs": 1}, "search": {"batch_size": {"choices": [64]}}})
    tuning.tune(quick, tmp_path, Settings(), trials=1, console=Log())
    with pytest.raises(SettingError, match="holds a study of another space"):
        tuning.tune(SMALL, tmp_path, Settings(), trials=1, console=Log())
    with tuning._alone(tmp_path), pytest.raises(TrainingError, match="is in use by another inkdigits tune"):
        tuning.tune(quick, tmp_path, Settings(), trials=1, console=Log())
    with pytest.raises(SettingError, match="--trials must be 1 or more, not 0"):
        tuning.tune(quick, tmp_path, Settings(), trials=0)
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match="name another --out"):
        tuning.tune(quick, tmp_path / "file" / "study", Settings(), trials=1)


def test_a_worker_ends_with_a_torch_network_and_with_hyperband(tmp_path):
    fixed = {"network": "sprint", "data": "digits", "epochs": 2, "threads": 1}
    space = Space.from_dict({"fixed": fixed, "search": {"learning_rate": {"low": 1e-3, "high": 1e-2}}})
    best = tuning.tune(space, tmp_path, Settings(), trials=2, pruner="hyperband", console=Log())
    assert best.value > 0.1
    assert max(best.intermediate_values.values()) == best.value


def test_a_worker_that_is_closed_is_no_more():
    worker = Worker(Settings(), threads=1)
    pid = worker.pid
    worker.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_help_and_mistakes_of_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["tune", "gone.toml", "--out", "study"]) == 2
    assert "cannot read gone.toml: No such file" in capsys.readouterr().err
    (tmp_path / "space.yaml").write_text("a: 1")
    assert main(["tune", "space.yaml", "--out", "study"]) == 2
    assert "must end in .toml or .json" in capsys.readouterr().err
    assert not (tmp_path / "study").exists()
