"""Trains a challenger: the champion, fine-tuned on corrections and on some of what it was trained on.

Corrections alone would make it forget. So each pass has more replayed images than corrections, the champion's
probabilities are targets, too, and the weights are averaged with the champion's at the end. Replayed non-digits keep
the rejection of other input.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from inkdigits.errors import SettingError
from inkdigits.feedback.split import Corrections
from inkdigits.network import REGISTRY_NAME, file_sha256, read_registry
from inkdigits.progress import Report
from inkdigits.settings import Settings
from inkdigits.training.config import TrainConfig
from inkdigits.training.export import is_quantized
from inkdigits.training.fit import NetworkLearner
from inkdigits.training.prepare import Prepared, TrainingSet, joined
from inkdigits.training.quantize import quantize
from inkdigits.training.run import Learner, Trained, run

__all__ = ["FLOAT", "origin_of", "train_challenger"]

FLOAT = "_float"  # suffix of the name of a model that is quantized afterwards
REPLAYED = 8000  # images of a pass that the champion was trained on, at least
SHARE = 0.375  # of a pass: corrections
REPEATS = 24  # times that a correction comes in a pass, at most; each time augmented in another way
EPOCHS = 4  # passes; there is a checkpoint after each
BATCH = 128  # images
LEARNING_RATE = 1e-3
EMA_DECAY = 0.98
DISTILLATION = 0.25  # share of the targets that is the champion's
INIT_WEIGHT = 0.5  # of the champion's weights in the average
MOST_EXTRA = 0.1  # share of each sort of generated images in what is replayed, at most
EXTRAS = ("corrupted", "non_digits", "several", "characters", "residue", "pages")


def origin_of(folder: Path, name: str) -> str:
    """Return the name of the model in 32-bit floating point that a model of a folder was made from; maybe itself.

    Raises:
        SettingError: it is not in the folder, or the model cannot be fine-tuned.
    """
    models = read_registry(folder)["models"]
    entry = models[name]
    if "config" not in entry or entry.get("network") == "mlp":
        raise SettingError(
            f"{name} cannot be fine-tuned: {folder / REGISTRY_NAME} does not list it as a network that "
            "inkdigits train made with PyTorch; make one of those the champion"
        )
    if not is_quantized(folder / str(entry["file"])):
        return name
    made_from: dict[str, dict[str, object]] = entry.get("lineage") or {"the model that it was made from": {}}
    file, origin = next(reversed(made_from.items()))
    other: str
    for other, each in models.items():
        path = folder / str(each.get("file", ""))
        if each.get("sha256") == origin.get("sha256") and path.is_file() and file_sha256(path) == each["sha256"]:
            return other
    raise SettingError(
        f"{name} is quantized to 8-bit integers, and {file} is not in {folder}; put it there, with its "
        f"entry in {REGISTRY_NAME}, to start from its weights"
    )


def train_challenger(
    corrections: Corrections,
    folder: Path,
    champion: str,
    name: str,
    settings: Settings,
    report: Report,
    *,
    data: str,
    seed: int = 0,
) -> Iterator[str]:
    """Train a challenger and register it in the folder, quantized if the champion is; yield the name of each model.

    A call with the same arguments after an interruption resumes at the last checkpoint.

    Args:
        corrections: to train on.
        folder: of the models.
        champion: name of the model to start from.
        name: of the challenger.
        settings: where data sets are.
        report: gets lines of text and progress.
        data: that is replayed, as the option of ``inkdigits train``; "" for what the champion was trained on.
        seed: of the choice and the order of the images, and of their augmentation.

    Raises:
        InkdigitsError: as for :func:`origin_of` and :func:`inkdigits.training.run.run`.
    """
    origin = origin_of(folder, champion)
    config = replace(_config(folder, origin, data), seed=seed)
    trained = name if origin == champion else f"{name}{FLOAT}"
    out = folder / f"{trained}.onnx"
    checkpoint = out.with_suffix(".ckpt")
    if not _is_done(folder, trained):
        learner = _Learner(config, corrections, checkpoint, f"inkdigits learn --name {shlex.quote(name)}")
        run(config, learner, out, settings, report)
    yield trained
    if trained == name:
        return
    if not _is_done(folder, name):
        quantize(str(out), folder / f"{name}.onnx", settings, console=report.console)
    yield name


def _is_done(folder: Path, name: str) -> bool:
    entry = read_registry(folder)["models"].get(name)
    path = folder / f"{name}.onnx"
    return entry is not None and path.is_file() and file_sha256(path) == entry.get("sha256")


def _config(folder: Path, origin: str, data: str) -> TrainConfig:
    entry = read_registry(folder)["models"][origin]
    before = TrainConfig.from_dict(entry["config"])
    path = str(folder / str(entry["file"]))
    return replace(
        before,
        data=data or before.data,
        pen_variants=1,
        **{extra: min(getattr(before, extra), MOST_EXTRA) for extra in EXTRAS},
        epochs=EPOCHS,
        batch_size=BATCH,
        learning_rate=LEARNING_RATE,
        init=path,
        init_weight=INIT_WEIGHT,
        teacher=path,
        distillation=DISTILLATION,
        ema_decay=EMA_DECAY,
        patience=0,
        threads=1,  # the other cores are a server's
    )


class _Learner(Learner):
    """Fine-tunes on corrections and replayed images."""

    def __init__(self, config: TrainConfig, corrections: Corrections, checkpoint: Path, command: str) -> None:
        self._config, self._corrections, self._command = config, corrections, command
        self._learner = NetworkLearner(config, checkpoint, resume=checkpoint.exists())

    def fit(self, data: Prepared, report: Report, record: Callable[[Mapping[str, float]], None]) -> Trained:
        """Run the loop on a mix of both."""
        corrections = self._corrections
        mixed = replace(data, training=_mixed(data.training, corrections, self._config.seed))
        trained = self._learner.fit(mixed, report, record)
        facts = {"corrections": len(corrections), "clients": corrections.users, "sha256": corrections.sha256}
        return replace(trained, command=self._command, training={**trained.training, **facts})


def _mixed(replayed: TrainingSet, corrections: Corrections, seed: int) -> TrainingSet:
    """Return the images of a pass: a sample of what is replayed, and the corrections, repeated."""
    n = len(corrections)
    wanted = min(len(replayed), max(REPLAYED, round(n * (1 - SHARE) / SHARE)))
    some = np.random.default_rng((seed, 23)).permutation(len(replayed))[:wanted]
    times = int(np.clip(round(wanted * SHARE / (1 - SHARE) / n), 1, REPEATS))
    theirs = TrainingSet(corrections.images, corrections.labels)
    return joined([replayed.take(some), *[theirs] * times])
