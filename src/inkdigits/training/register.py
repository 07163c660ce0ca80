"""The end of a training run: the file is measured once on what the model never saw, and registered."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from inkdigits import __version__
from inkdigits.atomic import destination, is_stream, write_atomically
from inkdigits.data.catalog import load, parts
from inkdigits.errors import SettingError, TrainingError
from inkdigits.evaluation.evaluate import Evaluation, evaluate
from inkdigits.network import REGISTRY_NAME, read_registry
from inkdigits.progress import Progress
from inkdigits.recognizer import Recognizer
from inkdigits.settings import Settings
from inkdigits.training.prepare import Prepared, split_names

if TYPE_CHECKING:
    from inkdigits.training.calibrate import Calibration
    from inkdigits.training.config import MlpConfig, TrainConfig
    from inkdigits.training.run import Trained

__all__ = ["NEAR_CHANCE", "add_entry", "check_out", "check_warning", "measure", "near_chance", "register"]

NEAR_CHANCE = 0.2  # accuracy below which a model learned next to nothing: guessing one of ten digits gives 0.1


def check_out(out: Path) -> Path:
    """Return the model's file to write, once its folder exists and can be written to.

    Raises:
        SettingError: it is not the name of an ``.onnx`` file.
        TrainingError: its folder cannot be made or written to.
        ModelError: the registry in it is damaged, which should not be found out after hours.
    """
    if out.suffix != ".onnx" or out.is_dir() or is_stream(out):
        raise SettingError(f"the model to write must be a file with suffix .onnx, not {str(out)!r}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"cannot make folder {out.parent}: {error.strerror}; name another --out") from None
    if not os.access(out.parent, os.W_OK):
        raise TrainingError(f"cannot write in folder {out.parent}; name another --out")
    read_registry(out.parent)
    return out


def near_chance(accuracy: float) -> bool:
    """Return whether a model of this accuracy, 0 to 1, is hardly better than guessing."""
    return not accuracy >= NEAR_CHANCE  # also true for NaN


def check_warning(out: Path, trained: Trained, learning_rate: float) -> str:
    """Return what is wrong with a trained model, "" for nothing.

    A model with a warning is written and registered, but does not take the place of the registry's default.

    Raises:
        TrainingError: it would.
    """
    warning, accuracy = trained.warning, trained.validation["accuracy"]
    if near_chance(accuracy):
        warning = (
            f"{out.name} reads {accuracy:.2%} of the validation images, hardly more than guessing: the "
            f"training learned next to nothing. Lower the learning rate, now {learning_rate:g}, or check the labels"
        )
    target = destination(out)
    if warning and any(read_registry(each.parent).get("default") == each.stem for each in (out, target)):
        raise TrainingError(f"{warning}. The default model {target} stays; name another --out for this one")
    return warning


@dataclass(frozen=True)
class Measured:
    """A model's file and how it reads the test part of its data."""

    recognizer: Recognizer
    size: int  # bytes of the file
    tests: Sequence[Evaluation]
    sha256: Mapping[str, str]  # hash by file of the test data

    def lines(self) -> Iterator[str]:
        """Yield a line of text on each data set."""
        for each in self.tests:
            low, high = each.interval
            yield f"{each.dataset} test: {each.accuracy:.2%} of {each.n:,} right (95%: {low:.2%} to {high:.2%})"


def measure(file: Path, data: str, settings: Settings, progress: Progress) -> Measured:
    """Read the test part of the data once, through Recognizer, with the model's file.

    Raises:
        DataError: the test part cannot be loaded.
    """
    recognizer = Recognizer(file)
    tests, sha256 = [], {}
    for name in split_names(data):
        if "test" in parts(name):
            test = load(name, settings, part="test", progress=progress)
            tests.append(evaluate(recognizer, test, progress))
            sha256.update(test.sha256)
    return Measured(recognizer, file.stat().st_size, tests, sha256)


def register(
    out: Path,
    config: TrainConfig | MlpConfig,
    data: Prepared,
    trained: Trained,
    calibration: Calibration,
    measured: Measured,
    warning: str,
) -> dict[str, Any]:
    """Add the model ``out`` to the registry beside it, with all that is known of it; return its entry."""
    model = measured.recognizer.model
    entry = {
        "file": out.name,
        "sha256": model.sha256,
        "network": config.network,
        "parameters": trained.parameters,
        "bytes": measured.size,
        "temperature": model.temperature,
        "threshold": model.threshold,
        "metrics": {
            "validation": {**trained.validation, **calibration.figures},
            **{each.dataset: each.figures() for each in measured.tests},
        },
        "training": dict(trained.training),
        **({"warning": warning} if warning else {}),
        "command": trained.command or config.command(out.name),
        "config": config.to_dict(),
        **({"lineage": dict(trained.lineage)} if trained.lineage else {}),
        "data": {**data.sha256, **measured.sha256},
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in trained.packages},
            "inkdigits": __version__,
        },
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    add_entry(out, entry)
    return entry


def add_entry(out: Path, entry: Mapping[str, Any]) -> None:
    """Write the entry of model ``out`` into the registry beside it, under the file's name without suffix.

    Other entries and the default are kept, also those of trainings that end at the same moment.

    Raises:
        ModelError: the registry is damaged.
        TrainingError: it cannot be written.
    """
    path = out.parent / REGISTRY_NAME
    try:
        lock = FileLock(path.with_name(f".{path.name}.lock")).acquire()
    except OSError as error:
        raise TrainingError(f"cannot lock {path}: {error.strerror}; name another folder, or make it writable") from None
    with lock:
        registry = read_registry(out.parent)
        registry["models"][out.stem] = dict(entry)
        write_atomically(path, (json.dumps(registry, indent=2, ensure_ascii=False) + "\n").encode())
