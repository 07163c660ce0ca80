"""The end of a training run: measure the file once on the test set, and register it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inkdigits import __version__
from inkdigits.atomic import destination, is_stream
from inkdigits.data.catalog import load, parts
from inkdigits.errors import SettingError, TrainingError
from inkdigits.evaluation.evaluate import Evaluation, evaluate
from inkdigits.network import read_registry
from inkdigits.progress import Progress
from inkdigits.recognizer import Recognizer
from inkdigits.registry import change_registry
from inkdigits.settings import Settings
from inkdigits.training.prepare import Prepared, split_names

if TYPE_CHECKING:
    from inkdigits.training.calibrate import Calibration
    from inkdigits.training.config import MlpConfig, StepsConfig, TrainConfig
    from inkdigits.training.run import Trained

__all__ = [
    "NEAR_CHANCE",
    "add_entry",
    "check_out",
    "check_warning",
    "measure",
    "near_chance",
    "register",
    "register_network",
]

NEAR_CHANCE = 0.2  # accuracy below which a model learned next to nothing; guessing one of ten digits gives 0.1


def check_out(out: Path) -> Path:
    """Create the folder of a model's file to write if needed, check that it is writable, and return the file.

    Raises:
        SettingError: ``out`` is not the name of an ``.onnx`` file.
        TrainingError: the folder cannot be created or written to.
        ModelError: the registry in the folder is damaged, which should not be found only after hours of training.
    """
    if out.suffix != ".onnx" or out.is_dir() or is_stream(out):
        raise SettingError(f"the model to write must be a file with suffix .onnx, not {str(out)!r}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"cannot make folder {out.parent}: {error.strerror}; name another --out") from None
    if not os.access(out.parent, os.W_OK):
        raise TrainingError(f"cannot write to folder {out.parent}; name another --out")
    read_registry(out.parent)
    return out


def near_chance(accuracy: float) -> bool:
    """Return whether a model with this accuracy, 0 to 1, is hardly better than guessing."""
    return not accuracy >= NEAR_CHANCE  # also true for NaN


def check_warning(out: Path, trained: Trained, learning_rate: float) -> str:
    """Return a warning about a trained model, "" for none.

    A model with a warning is written and registered, but must not replace the registry's default.

    Raises:
        TrainingError: the model has a warning and would replace the default.
    """
    warning, accuracy = trained.warning, trained.validation["accuracy"]
    if not warning and near_chance(accuracy):
        warning = (
            f"{out.name} reads {accuracy:.2%} of the validation images, hardly better than guessing: the "
            f"training learned next to nothing. Train for more epochs, lower the learning rate, now {learning_rate:g}, "
            "or check the labels"
        )
    target = destination(out)
    if warning and any(read_registry(each.parent).get("default") == each.stem for each in (out, target)):
        raise TrainingError(f"{warning}. The default model {target} is kept; name another --out for this one")
    return warning


@dataclass(frozen=True)
class Measured:
    """A model's file and its results on the test set."""

    recognizer: Recognizer
    size: int  # bytes of the file
    tests: Sequence[Evaluation]
    sha256: Mapping[str, str]  # hashes of the test data by file

    def lines(self) -> Iterator[str]:
        """Yield a line of text for each data set."""
        for each in self.tests:
            low, high = each.interval
            yield f"{each.dataset} test: {each.accuracy:.2%} of {each.n:,} right (95%: {low:.2%} to {high:.2%})"


def measure(file: Path, data: str, settings: Settings, progress: Progress) -> Measured:
    """Evaluate the model's file on the test set through Recognizer, once.

    Raises:
        DataError: the test set cannot be loaded.
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
    """Add the model ``out``, with its metrics and provenance, to the registry in its folder; return the entry."""
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


def register_network(
    out: Path,
    command: str,
    config: StepsConfig,
    parameters: int,
    figures: Mapping[str, float],
) -> None:
    """Add an ink or line network, with its validation figures and how it was made, to the registry in its folder.

    Args:
        out: its file; the registry has it under the file's name without suffix, "ink" or "line".
        command: that trained it.
        config: every option.
        parameters: number of its weights.
        figures: on validation data.

    Raises:
        ModelError: the registry is damaged.
        TrainingError: the registry cannot be written.
    """
    content = out.read_bytes()
    entry = {
        "file": out.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "network": out.stem,
        "parameters": parameters,
        "bytes": len(content),
        "metrics": {"validation": {name: round(value, 4) for name, value in figures.items()}},
        "command": command,
        "config": config.to_dict(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    change_registry(out.parent, lambda registry: registry.update({out.stem: entry}))


def add_entry(out: Path, entry: Mapping[str, Any]) -> None:
    """Write the entry of model ``out`` into the registry in its folder, under the file's name without suffix.

    Other entries and the default are kept. A lock makes this safe for concurrent trainings.

    Raises:
        ModelError: the registry is damaged.
        TrainingError: the registry cannot be written.
    """
    change_registry(out.parent, lambda registry: registry["models"].update({out.stem: dict(entry)}))
