"""Checkpoints: the state that a training run needs to resume as if it had never stopped. No pickled code."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch

from inkdigits.atomic import write_atomically
from inkdigits.errors import TrainingError
from inkdigits.options import Options
from inkdigits.preprocess import NORMALIZATION_VERSION

__all__ = ["read_checkpoint", "write_checkpoint"]

_FRESH = "leave out --resume to start again"


def write_checkpoint(path: Path, config: Options, state: dict[str, Any]) -> None:
    """Write the state of a run, tensors and plain values, together with its config, atomically.

    Raises:
        TrainingError: the file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save({"config": config.to_dict(), "normalisation": NORMALIZATION_VERSION, **state}, buffer)
    write_atomically(path, buffer.getvalue())


def read_checkpoint(path: Path, config: Options) -> dict[str, Any]:
    """Read the state that :func:`write_checkpoint` wrote.

    Raises:
        TrainingError: it is missing or damaged, or its run has another config or normalization.
    """
    try:
        state = torch.load(path, weights_only=True)
        stored, normalization = config.renamed(state["config"]), state["normalisation"]
    except FileNotFoundError:
        raise TrainingError(f"there is no checkpoint {path} to resume from; {_FRESH}") from None
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise TrainingError(f"checkpoint {path} is damaged ({str(error).splitlines()[0]}); {_FRESH}") from None
    for name, value in config.to_dict().items():
        if stored.get(name) != value:
            raise TrainingError(
                f"checkpoint {path} belongs to another run: {name} is {stored.get(name)!r} there and {value!r} here; "
                f"give the same options, or {_FRESH}"
            )
    if normalization != NORMALIZATION_VERSION:
        raise TrainingError(
            f"checkpoint {path} was made with normalization {normalization}, "
            f"this inkdigits has {NORMALIZATION_VERSION}; {_FRESH}"
        )
    return state
