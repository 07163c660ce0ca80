"""Record a training run: in a folder that ``runs`` and TensorBoard read, and optionally in MLflow.

:class:`Recorder` is a callback, so the run does not depend on it.
"""

from __future__ import annotations

import csv
import importlib.metadata
import io
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from inkdigits.atomic import write_atomically
from inkdigits.errors import SettingError, TrainingError
from inkdigits.evaluation.latency import environment
from inkdigits.training.callbacks import Callback
from inkdigits.training.config import MlpConfig, TrainConfig, to_toml
from inkdigits.training.runs import CONFIG, CURVES, METRICS, RECORD, Run, find_all

__all__ = ["Recorder", "git_state"]

EXPERIMENT = "inkdigits"  # in MLflow
CURVES_SECONDS = 5.0  # between updates of the curves during a run
MLFLOW_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}  # seconds
GIT_SECONDS = 10


class Recorder(Callback):
    """Records one run in its own folder. It is a context manager, whose exit records how the run ended.

    The folder is created when training begins, so that invalid options do not leave one behind.

    Args:
        config: every option of the run.
        out: the model's file, which identifies the run to resume.
        runs: parent of the run's folder.
        resume: continue in the folder of the last run for that file, if it did not finish.
        mlflow: URI of an MLflow store to record in, too, such as http://localhost:5000; empty: none.
        say: called with each line of text for the user.
    """

    def __init__(
        self,
        config: TrainConfig | MlpConfig,
        out: Path,
        runs: Path,
        *,
        resume: bool = False,
        mlflow: str = "",
        say: Callable[[str], None] = print,
    ) -> None:
        self._config, self._out, self._runs, self._resume, self._say = config, Path(out).resolve(), runs, resume, say
        self._command, self._toml = config.command(str(self._out)), to_toml(config.to_dict())
        self._mlflow_uri, self._mlflow = mlflow, _Mlflow.check(mlflow) if mlflow else None
        self._record: dict[str, Any] = {}
        self._rows: list[dict[str, float]] = []
        self._events: _Events | None = None
        self._drawn = 0.0
        self.folder: Path | None = None

    def begin(self, sha256: Mapping[str, str]) -> None:
        """Create the folder, or open that of the resumed run, and write the record.

        Raises:
            TrainingError: the folder cannot be written, or MLflow does not respond.
        """
        last = self._unfinished() if self._resume else None
        self.folder = last.folder if last else self._new_folder()
        self._rows = list(last.rows) if last else []
        self._record = {
            "state": "running",
            "out": str(self._out),
            "command": self._command,
            "started": last.record["started"] if last else _now(),
            **({"resumed": [*last.record.get("resumed", []), _now()]} if last else {}),
            "pid": os.getpid(),
            "host": platform.node(),
            "config": self._config.to_dict(),
            "data": dict(sha256),
            "environment": _environment(),
            "git": git_state(Path.cwd()),
        }
        write_atomically(self.folder / CONFIG, self._toml.encode())
        self._write()
        self._events = _Events(self.folder, self._toml)
        if self._mlflow:
            self._mlflow.begin(self.folder.name, self._record, last.record.get("mlflow") if last else None)
            self._record["mlflow"] = {"uri": self._mlflow_uri, "run_id": self._mlflow.run_id}
            self._write()
        self._say(f"recorded in {self.folder}")

    def epoch(self, figures: Mapping[str, float]) -> None:
        """Add an epoch. Replace it if it exists: the run was killed between recording it and saving its checkpoint."""
        assert self.folder is not None and self._events is not None  # as the run has begun
        path, row = self.folder / METRICS, dict(figures)
        kept = [each for each in self._rows if each["epoch"] < row["epoch"]]
        if len(kept) < len(self._rows) or not kept:
            self._rows = kept
            write_atomically(path, _csv([row.keys(), *(each.values() for each in kept)]).encode())
        self._rows.append(row)
        try:
            with path.open("a", encoding="utf-8", newline="") as file:
                file.write(_csv([row.values()]))
            self._events.scalars(row)
        except OSError as error:
            raise TrainingError(f"cannot write in {self.folder}: {error.strerror}; free some space there") from None
        if time.monotonic() - self._drawn > CURVES_SECONDS:
            self._draw()
        if mlflow := self._mlflow:
            self._try(lambda: mlflow.epoch(row))

    def end(self, entry: Mapping[str, Any]) -> None:
        """Add the registry entry of the model, with its metrics."""
        training, patience = entry["training"], getattr(self._config, "patience", 0)
        short = training["epochs"] < self._config.epochs
        patient = patience and training["epochs"] - training["best_epoch"] >= patience
        self._record.update(model=dict(entry), state="interrupted" if short and not patient else "finished")
        self._record["data"].update(entry["data"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        folder = self.folder
        if folder is None or not self._record:
            return
        if error is not None:
            self._record["state"] = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            if str(error):
                self._record["error"] = str(error)
        self._record["ended"] = _now()
        self._write()
        self._draw()
        if self._events:
            self._events.close()
        if (mlflow := self._mlflow) and mlflow.run_id:
            self._try(lambda: mlflow.end(self._record, folder))

    def _unfinished(self) -> Run | None:
        mine = [run for run in find_all(self._runs) if run.record.get("out") == str(self._out)]
        return mine[-1] if mine and mine[-1].state != "finished" else None

    def _new_folder(self) -> Path:
        stem = f"{datetime.now():%Y%m%d-%H%M%S}-{self._config.network}"
        try:
            self._runs.mkdir(parents=True, exist_ok=True)
            for number in range(1, 1000):
                folder = self._runs / (stem if number == 1 else f"{stem}-{number}")
                if not folder.exists():
                    folder.mkdir()
                    return folder
        except OSError as error:
            raise TrainingError(
                f"cannot create a folder in {self._runs}: {error.strerror}; give another --runs, or --no-record"
            ) from None
        raise TrainingError(f"{self._runs} has a thousand runs from this second; give another --runs")

    def _write(self) -> None:
        assert self.folder is not None  # as the run has begun
        write_atomically(self.folder / RECORD, (json.dumps(self._record, indent=2) + "\n").encode())

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        if self._rows and self.folder:
            write_atomically(self.folder / CURVES, Run(self.folder, self._record).curves().encode())

    def _try(self, call: Callable[[], None]) -> None:
        """Call MLflow; if it fails, continue without it."""
        try:
            call()
        except Exception as error:  # the client's exceptions for network, server and store are not documented
            self._mlflow = None
            self._say(
                f"MLflow at {self._mlflow_uri} failed ({_line(error)}); the run continues, recorded in {self.folder}"
            )


class _Events:
    """TensorBoard's event file. Each record is flushed, so that a killed run is complete.

    It uses TensorBoard's record writer, as its event writer would load TensorFlow if that is installed.
    """

    def __init__(self, folder: Path, options: str) -> None:
        first = not any(folder.glob("events.out.tfevents.*"))
        name = f"events.out.tfevents.{time.time():.0f}.{platform.node()}.{os.getpid()}.0"
        self._file = (folder / name).open("ab")
        self._records = RecordWriter(self._file)
        self._add(file_version="brain.Event:2")
        self._restarts = not first
        if first:
            text = Summary.Value(tag="config/text_summary")
            text.metadata.plugin_data.plugin_name = "text"
            text.tensor.dtype = 7  # DT_STRING
            text.tensor.string_val.append(("    " + options.replace("\n", "\n    ")).encode())
            self._add(step=0, summary=Summary(value=[text]))

    def scalars(self, row: Mapping[str, float]) -> None:
        """Add the figures of an epoch; the first after resuming makes TensorBoard discard that epoch and later ones."""
        step = int(row["epoch"])
        if self._restarts:
            self._add(step=step, session_log=SessionLog(status=SessionLog.START))
            self._restarts = False
        values = [Summary.Value(tag=name, simple_value=value) for name, value in row.items() if name != "epoch"]
        self._add(step=step, summary=Summary(value=values))

    def close(self) -> None:
        self._file.close()

    def _add(self, **event: Any) -> None:
        self._records.write(Event(wall_time=time.time(), **event).SerializeToString())
        self._records.flush()


class _Mlflow:
    """A run in an MLflow store: options as parameters, figures as metrics by epoch, the folder's files as artifacts."""

    def __init__(self, client: Any, uri: str) -> None:
        self._client, self._uri, self.run_id = client, uri, ""

    @classmethod
    def check(cls, uri: str) -> _Mlflow:
        """Create a client of the store.

        Raises:
            SettingError: MLflow does not support the URI.
        """
        for name, value in {**MLFLOW_PATIENCE, "MLFLOW_DISABLE_TELEMETRY": "true"}.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        try:
            return cls(MlflowClient(tracking_uri=uri), uri)
        except MlflowException as error:
            raise SettingError(f"--mlflow {uri} cannot be used: {_line(error)}") from None

    def begin(self, name: str, record: Mapping[str, Any], before: Mapping[str, str] | None) -> None:
        """Create a run, or reopen the earlier one.

        Raises:
            TrainingError: the store does not respond.
        """
        try:
            if before and before["uri"] == self._uri:
                self.run_id = before["run_id"]
                self._client.update_run(self.run_id, status="RUNNING")
                return
            experiment = self._client.get_experiment_by_name(EXPERIMENT)
            at = experiment.experiment_id if experiment else self._client.create_experiment(EXPERIMENT)
            git = record["git"] or {}
            tags = {"mlflow.source.git.commit": git.get("commit", ""), "mlflow.source.name": record["command"]}
            tags |= {f"data.{name}": sha256 for name, sha256 in record["data"].items()}
            self.run_id = self._client.create_run(at, run_name=name, tags=tags).info.run_id
            for option, value in record["config"].items():
                self._client.log_param(self.run_id, option, value)
        except Exception as error:  # from MLflow, its HTTP client or its database
            raise TrainingError(
                f"MLflow at {self._uri} failed: {_line(error)}; start it, or leave out --mlflow"
            ) from None

    def epoch(self, row: Mapping[str, float]) -> None:
        for name, value in row.items():
            if name != "epoch":
                self._client.log_metric(self.run_id, name, value, step=int(row["epoch"]))

    def end(self, record: Mapping[str, Any], folder: Path) -> None:
        for data, figures in (record.get("model") or {}).get("metrics", {}).items():
            if data != "validation":
                self._client.log_metric(self.run_id, f"test_accuracy_{data}", figures["accuracy"])
        for name in (CONFIG, METRICS, CURVES, RECORD):
            if (folder / name).exists():
                self._client.log_artifact(self.run_id, str(folder / name))
        states = {"finished": "FINISHED", "interrupted": "KILLED"}
        self._client.set_terminated(self.run_id, status=states.get(record["state"], "FAILED"))


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return commit, branch and changed files of the Git repository of a folder; None outside a repository."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(folder), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=GIT_SECONDS).stdout

    try:
        return {
            "commit": git("rev-parse", "HEAD").strip(),
            "branch": git("rev-parse", "--abbrev-ref", "HEAD").strip(),
            "changed": [line[3:] for line in git("status", "--porcelain").splitlines()],
        }
    except (OSError, subprocess.SubprocessError):
        return None


def _environment() -> dict[str, str]:
    versions = {name: importlib.metadata.version(name) for name in ("torch", "onnx")}
    return {**environment(), **versions, "system": platform.platform(), "cores": str(os.cpu_count())}


def _csv(rows: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
