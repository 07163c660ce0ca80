"""A training run for any learner: from a config and its data to an exported, measured and registered model.

Each step takes the result of the previous one: :class:`~inkdigits.training.prepare.Prepared` images, a :class:`Trained`
model, its :class:`~inkdigits.training.calibrate.Calibration`, the measured file, the registry's entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from inkdigits.atomic import staged
from inkdigits.progress import Report
from inkdigits.settings import Settings
from inkdigits.training.calibrate import Calibration, calibrate
from inkdigits.training.callbacks import Callback
from inkdigits.training.config import MlpConfig, TrainConfig
from inkdigits.training.export import check_parity
from inkdigits.training.features import SAMPLES, add_features, is_adaptable
from inkdigits.training.prepare import Prepared, prepare
from inkdigits.training.register import check_out, check_warning, measure, register
from inkdigits.training.validate import tensors_of

__all__ = ["Learner", "Trained", "run"]

PARITY_SAMPLES = 512  # validation images to compare the exported file on


@dataclass(frozen=True, eq=False)
class Trained:
    """The result of a learner.

    Attributes:
        network: gives the logits of the model, on the CPU: (N, 1, 28, 28) float32 to (N, 10) or (N, 11).
        write: writes an ``.onnx`` file with a calibration.
        validation: "accuracy" on the validation images, and figures of their parts by name.
        parameters: number of learned parameters.
        training: facts about the training, such as its epochs and seconds.
        packages: whose versions the registry records.
        lineage: provenance of the models that it started from or was distilled from, by file name.
        command: that reproduces the model; "" for that of the config.
        warning: about the quality of the model, "" for none.
        checkpoint: file to delete once the model is registered, unless the training was ``interrupted``.
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
    checkpoint: Path | None = None
    interrupted: bool = False


class Learner(Protocol):
    """Produces a model: PyTorch networks, the NumPy perceptron, quantization."""

    def fit(self, data: Prepared, report: Report, record: Callable[[Mapping[str, float]], None]) -> Trained:
        """Train, and call ``record`` with the figures of each epoch."""
        ...


def run(
    config: TrainConfig | MlpConfig,
    learner: Learner,
    out: Path,
    settings: Settings,
    report: Report,
    callback: Callback | None = None,
) -> dict[str, Any]:
    """Prepare, fit, calibrate, export, check, measure and register one model.

    The test set is read once, at the end, with the exported file.

    Args:
        config: every option.
        learner: produces the model.
        out: the ``.onnx`` file to write, or to replace, after all steps succeeded. The ``registry.json`` in its folder
            gets the entry.
        settings: where data sets are.
        report: gets lines of text and progress.
        callback: called during the run, such as ``tracking.Recorder``.

    Returns:
        The registry's entry.

    Raises:
        SettingError: an option is invalid.
        DataError: the data set cannot be loaded.
        TrainingError: the training fails, or the model cannot be exported or written.
        ModelError: the registry in the folder of ``out`` is damaged.
    """
    callback, out = callback or Callback(), check_out(Path(out))
    data = prepare(config.of_data(), settings, report.progress, test=True)
    callback.begin(data.sha256)
    trained = learner.fit(data, report, callback.epoch)
    calibration = calibrate(trained.network, data.clean, data.non_digits)
    digits = tensors_of(data.clean[0])[0]
    with staged(out) as file:
        trained.write(file, calibration)
        if isinstance(config, TrainConfig) and is_adaptable(config.network):
            add_features(file, digits[:SAMPLES].numpy())
        difference = check_parity(trained.network, file, digits[:PARITY_SAMPLES])
        report.say(
            f"exported with temperature {calibration.temperature:.3f}; "
            f"differs from the network by at most {difference:.1g}"
        )
        warning = check_warning(out, trained, config.learning_rate)
        measured = measure(file, config.data, settings, report.progress)
    entry = register(out, config, data, trained, calibration, measured, warning)
    for line in (*measured.lines(), f"wrote {out} ({entry['bytes']:,} bytes), registered as {out.stem}"):
        report.say(line)
    if warning:
        report.say(f"warning: {warning}.")
    callback.end(entry)
    if trained.checkpoint and trained.interrupted:
        report.say(f"stopped early; {trained.checkpoint} is kept, --resume continues from it")
    elif trained.checkpoint:
        trained.checkpoint.unlink(missing_ok=True)
    return entry
