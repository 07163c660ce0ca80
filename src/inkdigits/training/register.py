"""The end of a training run, whatever was trained: written, measured once on what it never saw, registered."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inkdigits import __version__
from inkdigits.atomic import destination, is_stream, staged
from inkdigits.data.catalog import load, parts
from inkdigits.errors import SettingError, TrainingError
from inkdigits.evaluation.evaluate import evaluate
from inkdigits.network import read_registry
from inkdigits.progress import Progress
from inkdigits.recognizer import Recognizer
from inkdigits.settings import Settings
from inkdigits.training.config import MlpConfig, TrainConfig
from inkdigits.training.export import register
from inkdigits.training.prepare import split_names

__all__ = ["NEAR_CHANCE", "check_out", "finish", "near_chance"]

NEAR_CHANCE = 0.2  # accuracy under which a model learnt nothing to speak of: to guess one of ten digits gives 0.1


def check_out(out: Path) -> Path:
    """The model's file to write, once its folder is there and can be written to.

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
    """Whether a model of this accuracy, 0 to 1, reads hardly better than one that guesses."""
    return not accuracy >= NEAR_CHANCE  # also true for NaN


def finish(
    config: TrainConfig | MlpConfig,
    out: Path,
    settings: Settings,
    *,
    write: Callable[[Path], None],
    sha256: Mapping[str, str],
    validation: Mapping[str, float],
    parameters: int,
    training: Mapping[str, Any],
    packages: Sequence[str],
    say: Callable[[str], None],
    progress: Progress,
    lineage: Mapping[str, Any] | None = None,
    command: str | None = None,
    warning: str = "",
) -> dict[str, Any]:
    """Write a model, read the test part of its data once through Recognizer on that very file, and register it.

    A model that reads hardly better than chance is written and registered with a warning, which is said last. It does
    not take the place of the registry's default.

    Args:
        config: every option of the run.
        out: the model's file; it appears, or is replaced, once everything went well.
        settings: where data sets are.
        write: writes the model to a path, or raises.
        sha256: hash by file of the data that was learnt from.
        validation: accuracy by name of what the model was chosen by.
        parameters: numbers that were learnt.
        training: how the run went, such as its seconds.
        packages: whose versions the entry names.
        say: called with each line of text.
        progress: shows the reading of the test part.
        lineage: by file name what is known of the models that it started from or was taught by.
        command: the command line that makes the model; default the config's own.
        warning: what else is wrong with the model, "" for nothing.

    Returns:
        The registry's entry.

    Raises:
        TrainingError: a file cannot be written, or a model with a warning would take the place of the default.
        DataError: the test part cannot be had.
    """
    if near_chance(validation["accuracy"]):
        warning = (
            f"{out.name} reads {validation['accuracy']:.2%} of the validation images, hardly more than guessing: the "
            f"training learnt nothing to speak of. Lower the learning rate, now {config.learning_rate:g}, or look at "
            "the labels"
        )
    target = destination(out)
    if warning and any(read_registry(each.parent).get("default") == each.stem for each in (out, target)):
        raise TrainingError(f"{warning}. The default model {target} stays; name another --out to have this one")
    hashes = dict(sha256)
    measured = []
    with staged(target) as new:
        write(new)
        recognizer = Recognizer(new)
        for name in split_names(config.data):
            if "test" in parts(name):
                test = load(name, settings, part="test", progress=progress)
                measured.append(evaluate(recognizer, test, progress))
                hashes.update(test.sha256)
        entry = {
            "file": out.name,
            "sha256": recognizer.model.sha256,
            "network": config.network,
            "parameters": parameters,
            "bytes": new.stat().st_size,
            "temperature": recognizer.model.temperature,
            "threshold": recognizer.model.threshold,
            "metrics": {"validation": dict(validation), **{each.dataset: each.figures() for each in measured}},
            "training": dict(training),
            **({"warning": warning} if warning else {}),
            "command": command or config.command(out.name),
            "config": config.to_dict(),
            **({"lineage": dict(lineage)} if lineage else {}),
            "data": hashes,
            "versions": {
                "python": platform.python_version(),
                **{name: importlib.metadata.version(name) for name in packages},
                "inkdigits": __version__,
            },
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    register(out, entry)
    for each in measured:
        low, high = each.interval
        say(f"{each.dataset} test: {each.accuracy:.2%} of {each.n:,} right (95%: {low:.2%} to {high:.2%})")
    say(f"wrote {out} ({entry['bytes']:,} bytes), registered as {out.stem}")
    if warning:
        say(f"warning: {warning}.")
    return entry
