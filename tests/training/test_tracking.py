"""Recorded runs: what a training leaves behind, read by TensorBoard, MLflow, git and `inkdigits runs` themselves."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import subprocess
import tomllib
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from inkdigits import SettingError, TrainingError
from inkdigits.cli import main
from inkdigits.settings import Settings
from inkdigits.training.config import MlpConfig, TrainConfig
from inkdigits.training.runs import Run, find_all
from inkdigits.training.tracking import Recorder, git_state
from inkdigits.training.train import train

pytestmark = pytest.mark.slow

EPOCHS = 4
SPRINT = TrainConfig(network="sprint", data="digits", epochs=EPOCHS, threads=1, seed=3)
MLP = MlpConfig(data="digits", epochs=EPOCHS, hidden="16")
FILES = ["config.toml", "curves.svg", "metrics.csv", "run.json"]


class Log(Console):
    """Keeps what it is told; at the line that begins with ``stop_at`` it raises ``error`` instead."""

    def __init__(self, stop_at: str = "", error: BaseException | None = None) -> None:
        super().__init__(file=io.StringIO(), width=200)
        self.stop_at, self.error = stop_at, error

    def print(self, text, **options):
        if self.error and str(text).startswith(self.stop_at):
            raise self.error
        super().print(text, **options)


def scalars(folder):
    events = EventAccumulator(str(folder))
    events.Reload()
    return {name: [(each.step, each.value) for each in events.Scalars(name)] for name in events.Tags()["scalars"]}


def recorded(config, tmp_path, console=None, **options):
    """One recorded run: what is in its folder, and the registry's entry."""
    out, resume = tmp_path / "models" / "m.onnx", options.get("resume", False)
    with Recorder(config, out, tmp_path / "runs", say=lambda text: None, **options) as recorder:
        entry = train(config, out, Settings(), resume=resume, console=console or Log(), callback=recorder)
    return SimpleNamespace(run=Run.read(recorder.folder), entry=entry, out=out)


@pytest.fixture(scope="module", params=[SPRINT, MLP], ids=["sprint", "mlp"])
def done(request, tmp_path_factory):
    """One undisturbed run of each kind of network."""
    return recorded(request.param, tmp_path_factory.mktemp("done"))


def test_a_run_leaves_a_folder_of_its_own(done):
    names = [path.name for path in done.run.folder.iterdir()]
    assert sorted(name for name in names if not name.startswith("events.")) == FILES
    assert done.run.name.endswith(done.entry["network"])
    record = done.run.record
    assert record["model"] == json.loads(json.dumps(done.entry))
    assert record["data"] == done.entry["data"]
    assert record["config"] == done.entry["config"]
    assert (record["state"], done.run.state) == ("finished", "finished")
    assert record["started"] <= record["ended"]
    assert {"processor", "python", "torch", "numpy", "inkdigits", "system", "cores"} <= set(record["environment"])
    assert record["git"] == git_state(done.run.folder.cwd())


def test_the_figures_of_each_epoch_are_a_table(done):
    with (done.run.folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(1, EPOCHS + 1))
    best = rows[done.entry["training"]["best_epoch"] - 1]
    assert float(best["validation_accuracy"]) == done.entry["metrics"]["validation"]["accuracy"]
    assert {"train_loss", "train_accuracy", "learning_rate", "seconds"} <= set(best)


def test_tensorboard_reads_the_same(done):
    found = scalars(done.run.folder)
    assert set(found) == set(done.run.rows[0]) - {"epoch"}
    for name, points in found.items():
        assert [step for step, _ in points] == list(range(1, EPOCHS + 1))
        assert [value for _, value in points] == pytest.approx([row[name] for row in done.run.rows], rel=1e-6)
    events = EventAccumulator(str(done.run.folder))
    events.Reload()
    [text] = events.Tensors("config/text_summary")
    assert "learning_rate" in text.tensor_proto.string_val[0].decode()


def test_its_config_trains_the_same_model_again(done, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert tomllib.loads((done.run.folder / "config.toml").read_text()) == done.entry["config"]
    assert main(["train", "--config", str(done.run.folder / "config.toml"), "--out", "m.onnx"]) == 0
    assert hashlib.sha256((tmp_path / "m.onnx").read_bytes()).hexdigest() == done.entry["sha256"]
    [again] = find_all(tmp_path / "runs")
    assert "recorded in runs/" in capsys.readouterr().out
    strip = [{name: value for name, value in row.items() if name != "seconds"} for row in again.rows]
    assert strip == [{name: value for name, value in row.items() if name != "seconds"} for row in done.run.rows]


def test_the_curves_are_drawn(done):
    svg = ElementTree.fromstring((done.run.folder / "curves.svg").read_text())
    lines = list(svg.iter("{http://www.w3.org/2000/svg}polyline"))
    assert all(len(line.get("points").split()) in (0, EPOCHS) for line in lines)
    assert len([line for line in lines if line.get("points")]) == len(
        [n for n in done.run.rows[0] if n[-4:] in ("racy", "loss")]
    )


def test_a_run_that_is_resumed_goes_on_in_its_folder(tmp_path):
    with pytest.raises(RuntimeError, match="out of memory"):
        recorded(SPRINT, tmp_path, Log("epoch   3", RuntimeError("out of memory")))
    [broken] = find_all(tmp_path / "runs")
    assert (broken.state, broken.record["error"], len(broken.rows)) == ("failed", "out of memory", 3)
    # As if it had been killed after an epoch was recorded, and before its checkpoint was written.
    with (broken.folder / "metrics.csv").open("a") as file:
        file.write("4," + ",".join("0" * (len(broken.rows[0]) - 1)) + "\n")
    whole = recorded(SPRINT, tmp_path, resume=True)
    [run] = find_all(tmp_path / "runs")
    assert run.folder == broken.folder
    assert run.state == "finished"
    assert "error" not in run.record
    assert run.record["started"] == broken.record["started"] <= run.record["resumed"][0]
    assert [row["epoch"] for row in run.rows] == list(range(1, EPOCHS + 1))
    assert run.rows[3]["train_loss"] > 0
    for name, points in scalars(run.folder).items():
        assert [value for _, value in points] == pytest.approx([row[name] for row in run.rows], rel=1e-6)
    # The next one for that file is another run.
    assert recorded(SPRINT, tmp_path).run.folder != whole.run.folder
    assert len(find_all(tmp_path / "runs")) == 2


def test_a_run_ended_by_ctrl_c_is_told_from_a_finished_one(tmp_path):
    stopped = recorded(MLP, tmp_path, Log("epoch   3", KeyboardInterrupt()))
    assert stopped.run.state == "interrupted"
    assert stopped.run.record["model"]["training"]["epochs"] < EPOCHS
    assert [row["epoch"] for row in stopped.run.rows] == [1, 2]


def test_a_mistake_in_the_options_leaves_no_folder(tmp_path):
    with pytest.raises(SettingError, match="lenin"):
        recorded(TrainConfig(network="lenin"), tmp_path)
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_made_is_told_before_the_training(tmp_path):
    (tmp_path / "runs").touch()
    with pytest.raises(TrainingError, match="give another --runs, or --no-record"):
        recorded(MLP, tmp_path)


def test_recording_is_an_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["train", "--network", "mlp", "--data", "digits", "--epochs", "1", "--out", "m.onnx"]
    assert main([*command, "--no-record"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [".registry.json.lock", "m.onnx", "registry.json"]
    assert main([*command, "--no-record", "--mlflow", "sqlite:///m.db"]) == 2
    monkeypatch.setenv("INKDIGITS_RUNS", "from environment")
    assert main(command) == 0
    assert main([*command, "--runs", "from option"]) == 0
    assert [len(find_all(tmp_path / name)) for name in ("from environment", "from option", "runs")] == [1, 1, 0]


def test_git_tells_the_commit_and_what_was_changed(tmp_path):
    def git(*words):
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.com"]
        return subprocess.run(
            ["git", "-C", tmp_path, *identity, *words], capture_output=True, text=True, check=True
        ).stdout

    assert git_state(tmp_path) is None
    git("init", "--initial-branch", "trunk")
    (tmp_path / "a.txt").write_text("a")
    git("add", "a.txt")
    git("commit", "--message", "first")
    commit = git("rev-parse", "HEAD").strip()
    assert git_state(tmp_path) == {"commit": commit, "branch": "trunk", "changed": []}
    (tmp_path / "a.txt").write_text("b")
    (tmp_path / "new.txt").touch()
    assert git_state(tmp_path)["changed"] == ["a.txt", "new.txt"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The address of an MLflow store in a database of its own."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of MLflow's own making
def test_mlflow_gets_the_same(tmp_path, store, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeError, match="power cut"):
        recorded(SPRINT, tmp_path, Log("epoch   3", RuntimeError("power cut")), mlflow=store)
    client = MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name("inkdigits").experiment_id
    [failed] = client.search_runs([experiment])
    assert failed.info.status == "FAILED"
    done = recorded(SPRINT, tmp_path, resume=True, mlflow=store)
    [run] = client.search_runs([experiment])
    assert run.info.run_id == failed.info.run_id == done.run.record["mlflow"]["run_id"]
    assert (run.info.status, run.info.run_name) == ("FINISHED", done.run.name)
    assert run.data.params == {name: str(value) for name, value in SPRINT.to_dict().items()}
    for name in set(done.run.rows[0]) - {"epoch"}:
        history = [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)]
        assert history == [(int(row["epoch"]), pytest.approx(row[name])) for row in done.run.rows]
    assert run.data.metrics["test_accuracy_digits"] == done.run.test
    assert run.data.tags["data.digits"] == done.run.record["data"]["digits"]
    assert sorted(each.path for each in client.list_artifacts(run.info.run_id)) == FILES


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of MLflow's own making
def test_an_mlflow_that_fails_is_told_at_the_start_and_survived_later(tmp_path, store, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(
        TrainingError, match=r"MLflow at http://127.0.0.1:9 failed: .*; start it, or leave out --mlflow"
    ):
        recorded(MLP, tmp_path, mlflow="http://127.0.0.1:9")
    with pytest.raises(SettingError, match="--mlflow gopher://x cannot be used"):
        Recorder(MLP, tmp_path / "m.onnx", tmp_path, mlflow="gopher://x")

    def fail(*_, **__):
        raise OSError("connection refused")

    monkeypatch.setattr(MlflowClient, "log_metric", fail)
    said = []
    with Recorder(MLP, tmp_path / "n.onnx", tmp_path / "runs", mlflow=store, say=said.append) as recorder:
        train(MLP, tmp_path / "n.onnx", Settings(), console=Log(), callback=recorder)
    assert Run.read(recorder.folder).state == "finished"
    [line] = [line for line in said if "connection refused" in line]
    assert "the run continues" in line
