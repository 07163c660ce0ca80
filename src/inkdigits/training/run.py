"""One training run, whatever learns: from a config and its data to an exported, measured and registered model.

Each step takes what the one before gave: :class:`~inkdigits.training.prepare.Prepared` images, a :class:`Trained`
model, its :class:`~inkdigits.training.calibrate.Calibration`, the measured file, the registry's entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from inkdigits.atomic import staged
from inkdigits.progress import Report
from inkdigits.settings import Settings
from inkdigits.training.calibrate import Calibration, calibrate
from inkdigits.training.callbacks import Callback
from inkdigits.training.config import MlpConfig, TrainConfig
from inkdigits.training.export import check_parity
from inkdigits.training.prepare import Prepared, prepare
from inkdigits.training.register import check_out, check_warning, measure, register
from inkdigits.training.validate import tensors_of

__all__ = ["Learner", "Trained", "run"]

PARITY_SAMPLES = 512  # validation images that the exported file is compared on


@dataclass(frozen=True, eq=False)
class Trained:
    """What a learner gives.

    Attributes:
        network: answers as the model does, on the CPU: (N, 1, 28, 28) float32 to logits, (N, 10) or (N, 11).
        write: writes an ``.onnx`` file with a calibration.
        validation: "accuracy" on the validation images, and figures by name of their parts.
        parameters: how many numbers were learned.
        training: how it went, such as its epochs and seconds.
        packages: whose versions the registry names.
        lineage: by file name what is known of the models that it started from or was distilled from.
        command: the command that makes the model; "" for the config's own.
        warning: what is wrong with the model, "" for nothing.
    """

    network: nn.Module
    write: Callable[[Path, Calibration], None]
    validation: Mapping[str, float]
    parameters: int
    training: Mapping[str, Any]
    packages: tuple[str, ...]
    lineage: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    warning: str = ""


class Learner:
    """What can be trained: a network in PyTorch, a perceptron in NumPy, a model to quantize."""

    def describe(self, data: Prepared) -> str:
        """Return a line on what is trained with what; "" for none."""
        return ""

    def fit(self, data: Prepared, report: Report, record: Callable[[Mapping[str, float]], None]) -> Trained:
        """Train; ``record`` is called with the figures of each epoch."""
        raise NotImplementedError

    def close(self, report: Report) -> None:
        """Clean up once the model is registered."""


def run(
    config: TrainConfig | MlpConfig,
    learner: Learner,
    out: Path,
    settings: Settings,
    report: Report,
    callback: Callback | None = None,
) -> dict[str, Any]:
    """Prepare, fit, calibrate, export, check, measure and register one model.

    The test part of the data is read once, at the end, by the exported file.

    Args:
        config: every option.
        learner: what is trained.
        out: the ``.onnx`` file to write; it appears, or is replaced, once everything went well. Its folder's
            ``registry.json`` gets the entry.
        settings: where data sets are.
        report: gets lines of text and progress.
        callback: called as the run goes on, such as ``tracking.Recorder``.

    Returns:
        The registry's entry.

    Raises:
        SettingError: an option cannot be used.
        DataError: the data set cannot be loaded.
        TrainingError: the training fails, or the model cannot be exported or written.
        ModelError: the registry beside ``out`` is damaged.
    """
    callback, out = callback or Callback(), check_out(Path(out))
    data = prepare(config, settings, report.progress, test=True)
    if about := learner.describe(data):
        report.say(about)
    callback.begin(data.sha256)
    trained = learner.fit(data, report, callback.epoch)
    warning = check_warning(out, trained, config.learning_rate)
    calibration = calibrate(trained.network, data.clean)
    with staged(out) as file:
        trained.write(file, calibration)
        difference = check_parity(trained.network, file, tensors_of(data.clean[0])[0][:PARITY_SAMPLES])
        report.say(
            f"exported with temperature {calibration.temperature:.3f}; "
            f"differs from the network by at most {difference:.1g}"
        )
        measured = measure(file, config.data, settings, report.progress)
    entry = register(out, config, data, trained, calibration, measured, warning)
    for line in (*measured.lines(), f"wrote {out} ({entry['bytes']:,} bytes), registered as {out.stem}"):
        report.say(line)
    if warning:
        report.say(f"warning: {warning}.")
    callback.end(entry)
    learner.close(report)
    return entry
