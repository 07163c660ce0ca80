"""The entry point of training: one function for every network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from inkdigits.progress import Report
from inkdigits.settings import Settings
from inkdigits.training.callbacks import Callback
from inkdigits.training.config import MlpConfig, TrainConfig
from inkdigits.training.fit import NetworkLearner
from inkdigits.training.mlp import MlpLearner
from inkdigits.training.run import Learner, run

__all__ = ["learner_of", "train"]


def learner_of(config: TrainConfig | MlpConfig, checkpoint: Path | None = None, *, resume: bool = False) -> Learner:
    """Return the learner for this config; ``checkpoint`` and ``resume`` apply to networks in PyTorch."""
    return MlpLearner(config) if isinstance(config, MlpConfig) else NetworkLearner(config, checkpoint, resume=resume)


def train(
    config: TrainConfig | MlpConfig,
    out: Path,
    settings: Settings,
    *,
    resume: bool = False,
    console: Console | None = None,
    callback: Callback | None = None,
) -> dict[str, Any]:
    """Train, calibrate, export, check, measure and register one model.

    Ctrl-C ends the training early; the best epoch so far is still exported.

    Args:
        config: every option.
        out: the ``.onnx`` file to write. The ``registry.json`` in its folder gets the entry. During the training of a
            network in PyTorch there is a checkpoint next to it with the suffix ``.ckpt``.
        settings: where data sets are.
        resume: continue from that checkpoint, to the same model as an uninterrupted run.
        console: where progress is printed; default standard output.
        callback: called during the run, such as ``tracking.Recorder``.

    Returns:
        The registry's entry.

    Raises:
        InkdigitsError: as for :func:`inkdigits.training.run.run`; or there is no checkpoint to resume from.
    """
    learner = learner_of(config, Path(out).with_suffix(".ckpt"), resume=resume)
    return run(config, learner, out, settings, Report(console), callback)
