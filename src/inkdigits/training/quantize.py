"""Quantization: from an exported model to one of 8-bit integers, a third of the file and half the time an image.

Weights and activations become integers with a scale each, which is found by what the model makes of training images.
The first two layers and the last, and depthwise convolutions, stay in floating point: they cost little, and what they
lose is lost for good. Weights keep 7 of the 8 bits: processors without VNNI add products of 8 by 8 bits in 16, which
may overflow, so that a model would give other results on an older machine.

B. Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, 2018,
https://arxiv.org/abs/1712.05877; https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
"""

from __future__ import annotations

import logging
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from rich.console import Console
from torch import Tensor, nn

from inkdigits.errors import SettingError, TrainingError
from inkdigits.network import find_model
from inkdigits.progress import Report
from inkdigits.recognizer import Recognizer
from inkdigits.settings import Settings
from inkdigits.training.config import TrainConfig
from inkdigits.training.distill import lineage
from inkdigits.training.export import is_quantized, write_model
from inkdigits.training.prepare import Prepared
from inkdigits.training.run import Learner, Trained, run
from inkdigits.training.validate import validate

__all__ = ["Exported", "Quantizer", "quantize", "samples_of", "write_quantized"]

FIRST = 2  # layers that stay in floating point
SAMPLES = 2000  # training images that the scales are found by
BATCH = 100  # of them at a time
SEED = 0  # of which they are
MOST_LOST = 0.005  # accuracy on the validation images that 8-bit integers may cost without a warning


def quantize(model: str, out: Path, settings: Settings, *, console: Console | None = None) -> dict[str, Any]:
    """Quantize a model, calibrate it again, measure and register it.

    Args:
        model: name of a shipped model, or path of an ``.onnx`` file that ``inkdigits train`` wrote; the registry beside
            it says what it was trained on.
        out: the ``.onnx`` file to write; its folder's ``registry.json`` gets the entry.
        settings: where data sets are.
        console: where this reports; default standard output.

    Returns:
        The registry's entry.

    Raises:
        ModelError: there is no such model.
        SettingError: no registry says how it was trained, or it is quantized already.
        DataError: the data set cannot be loaded.
        TrainingError: it cannot be quantized or written.
    """
    learner = Quantizer(model, out)
    return run(learner.config, learner, out, settings, Report(console))


class Quantizer(Learner):
    """Makes a trained model one of 8-bit integers.

    Args:
        model: as for :func:`quantize`.
        out: the file that it will be written to, for messages.

    Raises:
        ModelError: there is no such model.
        SettingError: no registry says how it was trained, or it is quantized already.
    """

    def __init__(self, model: str, out: Path) -> None:
        _, self._path, self._entry = find_model(model)
        if "config" not in self._entry or self._entry.get("network") == "mlp":
            raise SettingError(
                f"{self._path} cannot be quantized: no registry beside it says that inkdigits train made a "
                "convolutional network of it, and from what data"
            )
        Recognizer(self._path)  # which finds damage, and another file than the registry's
        if is_quantized(self._path):
            raise SettingError(f"{self._path} is quantized already; give the model that it was made from")
        self.config = TrainConfig.from_dict(self._entry["config"])
        self._lineage, self._out = dict(lineage(model)), out

    def fit(self, data: Prepared, report: Report, record: Callable[[Mapping[str, float]], None]) -> Trained:
        """Quantize with training images, and compare the accuracy with that of before."""
        path, entry = self._path, self._entry
        with tempfile.TemporaryDirectory() as folder:
            quantized = Path(folder) / "quantized.onnx"
            write_quantized(path, quantized, samples_of(data))
            whole = onnx.load(quantized)
            network = Exported(Recognizer(quantized))
        _, accuracy, figures = validate(network, data.validation)
        before, warning = entry["metrics"]["validation"]["accuracy"], ""
        report.say(f"validation accuracy {accuracy:.2%}, before {before:.2%}")
        if not before - accuracy <= MOST_LOST:
            warning = (
                f"{self._out.name} reads {accuracy:.2%} of the validation images, {path.name} read {before:.2%}: 8-bit "
                "integers cost this model too much; keep the one in floating point"
            )
        return Trained(
            network,
            write=lambda staged, found: write_model(
                whole, staged, found.temperature, {"network": self.config.network, **found.metadata}
            ),
            validation={"accuracy": accuracy, **figures},
            parameters=entry["parameters"],
            training={**entry["training"], "quantised": "int8"},  # a key of registries, which must not change
            packages=("torch", "onnx", "onnxruntime", "numpy"),
            lineage=self._lineage,
            command=f"inkdigits quantize {shlex.quote(path.name)} --out {self._out.name}",
            warning=warning,
        )


def samples_of(data: Prepared) -> np.ndarray:
    """Return (N, 1, 28, 28) float32: some of the training images, of every kind."""
    images = data.training.images
    chosen = np.random.default_rng(SEED).permutation(len(images))[:SAMPLES]
    return images[chosen][:, None].astype(np.float32) / 255


def write_quantized(path: Path, out: Path, samples: np.ndarray, **changes: Any) -> None:
    """Quantize one file to another, which has no metadata yet.

    Args:
        samples: (N, 1, 28, 28) float32, to find the scales by.
        changes: other options of ONNX Runtime's ``quantize_static``, to compare.

    Raises:
        TrainingError: it cannot be quantized.
    """
    model = onnx.load(path)
    options = {
        "quant_format": QuantFormat.QDQ,
        "per_channel": True,
        "reduce_range": True,
        "activation_type": QuantType.QUInt8,
        "weight_type": QuantType.QInt8,
        "nodes_to_exclude": _exact(model),
    }
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)  # it advises steps that change nothing here
    try:
        quantize_static(path, out, _Samples(model.graph.input[0].name, samples), **{**options, **changes})
    except Exception as error:  # of onnx, ONNX Runtime and its tool, as each has its own
        raise TrainingError(f"{path} cannot be quantized: {error}") from error
    finally:
        logging.root.setLevel(level)


def _exact(model: onnx.ModelProto) -> list[str]:
    """The nodes that stay in floating point."""
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    grouped = [node for node in layers if any(a.name == "group" and a.i > 1 for a in node.attribute)]
    return [node.name for node in (*layers[:FIRST], *layers[-1:], *grouped)]


class _Samples(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Gives them to the tool a batch at a time."""

    def __init__(self, name: str, images: np.ndarray) -> None:
        self._batches: Iterator[dict[str, np.ndarray]] = (
            {name: images[i : i + BATCH]} for i in range(0, len(images), BATCH)
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._batches, None)


class Exported(nn.Module):
    """An exported model as a network, to be measured as one: (N, 1, 28, 28) to (N, 10 or 11) logits."""

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__()
        self._recognizer = recognizer

    def forward(self, images: Tensor) -> Tensor:
        return torch.from_numpy(self._recognizer.logits(images.contiguous().numpy()))
