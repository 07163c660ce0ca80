"""Quantization of an exported model to 8-bit integers: a third of the file size and half the inference time.

Weights and activations become integers with a scale each, calibrated on training images. The first two layers, the
last one and depthwise convolutions stay in floating point: they cost little time, and precision matters most there.
Weights keep 7 of the 8 bits: processors without VNNI add products of 8 by 8 bits in 16 bits, which may overflow, so
that results would differ on an older machine.

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
from inkdigits.network import REGISTRY_NAME, find_model
from inkdigits.progress import Report
from inkdigits.recognizer import Recognizer
from inkdigits.settings import Settings
from inkdigits.training.config import TrainConfig
from inkdigits.training.distill import lineage
from inkdigits.training.export import is_quantized, write_model
from inkdigits.training.features import without_features
from inkdigits.training.prepare import Prepared
from inkdigits.training.register import near_chance
from inkdigits.training.run import Learner, Trained, run
from inkdigits.training.validate import validate

__all__ = ["Exported", "Quantizer", "quantize", "samples_of", "write_quantized"]

FIRST = 2  # layers that stay in floating point
SAMPLES = 2000  # training images to calibrate the scales on
BATCH = 100  # samples per batch
SEED = 0  # of the choice of samples
MOST_LOST = 0.005  # of accuracy on the validation images, above which there is a warning


def quantize(model: str, out: Path, settings: Settings, *, console: Console | None = None) -> dict[str, Any]:
    """Quantize a model, calibrate it again, measure and register it.

    Args:
        model: name of a shipped model, or path of an ``.onnx`` file that ``inkdigits train`` wrote; the registry in
            its folder says what it was trained on.
        out: the ``.onnx`` file to write; its folder's ``registry.json`` gets the entry.
        settings: where data sets are.
        console: where progress is printed; default standard output.

    Returns:
        The registry's entry.

    Raises:
        ModelError: the model does not exist.
        SettingError: no registry says how it was trained, or it is already quantized.
        DataError: the data set cannot be loaded.
        TrainingError: the model cannot be quantized or written.
    """
    learner = Quantizer(model, out)
    return run(learner.config, learner, out, settings, Report(console))


class Quantizer(Learner):
    """Quantizes a trained model to 8-bit integers.

    Args:
        model: as for :func:`quantize`.
        out: the file to write, for messages.

    Raises:
        ModelError: the model does not exist.
        SettingError: no registry says how it was trained, or it is already quantized.
    """

    def __init__(self, model: str, out: Path) -> None:
        _, self._path, self._entry = find_model(model)
        if "config" not in self._entry or self._entry.get("network") == "mlp":
            raise SettingError(
                f"{self._path} cannot be quantized: no {REGISTRY_NAME} in its folder lists it as a convolutional "
                "network from inkdigits train; give a model with such an entry"
            )
        Recognizer(self._path)  # raises if the file is damaged or does not match its registry
        if is_quantized(self._path):
            raise SettingError(f"{self._path} is already quantized; give the model that it was made from")
        self.config = TrainConfig.from_dict(self._entry["config"])
        self._lineage, self._out = dict(lineage(model)), out

    def fit(self, data: Prepared, report: Report, record: Callable[[Mapping[str, float]], None]) -> Trained:
        """Quantize with training images, and compare the accuracy with that of the original model."""
        path, entry = self._path, self._entry
        with tempfile.TemporaryDirectory() as folder:
            quantized = Path(folder) / "quantized.onnx"
            write_quantized(path, quantized, samples_of(data))
            proto = onnx.load(quantized)
            network = Exported(Recognizer(quantized))
        _, accuracy, figures = validate(network, data.validation)
        before, warning = entry["metrics"]["validation"]["accuracy"], ""
        report.say(f"validation accuracy {accuracy:.2%}, before quantization {before:.2%}")
        if not before - accuracy <= MOST_LOST:
            warning = (
                f"{self._out.name} reads {accuracy:.2%} of the validation images correctly, {path.name} {before:.2%}: "
                "8-bit integers cost this model too much accuracy; use the floating-point model"
            )
        elif near_chance(accuracy):
            warning = (
                f"{self._out.name} reads {accuracy:.2%} of the validation images, hardly better than guessing, as "
                f"{path.name} does; train that model again"
            )
        return Trained(
            network,
            write=lambda staged, found: write_model(
                proto, staged, found.temperature, {"network": self.config.network, **found.metadata}
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
    """Return a random sample of the training images, (N, 1, 28, 28) float32."""
    images = data.training.images
    chosen = np.random.default_rng(SEED).permutation(len(images))[:SAMPLES]
    return images[chosen][:, None].astype(np.float32) / 255


def write_quantized(path: Path, out: Path, samples: np.ndarray, **changes: Any) -> None:
    """Quantize a file into another, without metadata.

    Args:
        samples: (N, 1, 28, 28) float32, to calibrate the scales on.
        changes: options of ONNX Runtime's ``quantize_static`` to override, for benchmarks.

    Raises:
        TrainingError: the model cannot be quantized.
    """
    model = without_features(onnx.load(path))  # the run adds them again
    options = {
        "quant_format": QuantFormat.QDQ,
        "per_channel": True,
        "reduce_range": True,
        "activation_type": QuantType.QUInt8,
        "weight_type": QuantType.QInt8,
        "nodes_to_exclude": _exact(model),
    }
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)  # its advice to preprocess the model changes nothing here
    try:
        quantize_static(model, out, _Samples(model.graph.input[0].name, samples), **{**options, **changes})
    except Exception as error:  # onnx, ONNX Runtime and its tool each raise their own
        raise TrainingError(f"{path} cannot be quantized: {error}") from error
    finally:
        logging.root.setLevel(level)


def _exact(model: onnx.ModelProto) -> list[str]:
    """Return the names of the nodes that stay in floating point."""
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    grouped = [node for node in layers if any(a.name == "group" and a.i > 1 for a in node.attribute)]
    return [node.name for node in (*layers[:FIRST], *layers[-1:], *grouped)]


class _Samples(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Passes samples to the tool in batches."""

    def __init__(self, name: str, images: np.ndarray) -> None:
        self._batches: Iterator[dict[str, np.ndarray]] = (
            {name: images[i : i + BATCH]} for i in range(0, len(images), BATCH)
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._batches, None)


class Exported(nn.Module):
    """An exported model as a PyTorch module, from (N, 1, 28, 28) to (N, 10 to 12) logits, to be validated as one."""

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__()
        self._recognizer = recognizer

    def forward(self, images: Tensor) -> Tensor:
        return torch.from_numpy(self._recognizer.logits(images.contiguous().numpy()))
