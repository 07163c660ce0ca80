"""The features of an exported model: the input of its last layer, as a second output, so that it can adapt to a hand.

The logits stay the same bit for bit, and a program that asks for them alone waits no longer. The features are centered
on the mean of digits, which belongs to the weights and is stored with them. See :mod:`inkdigits.adaptation`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from inkdigits.atomic import write_atomically
from inkdigits.errors import TrainingError
from inkdigits.network import FEATURES
from inkdigits.recognizer import Recognizer

__all__ = ["SAMPLES", "add_features", "is_adaptable", "without_features"]

ADAPTABLE = "cnn"  # networks whose name begins so have the output: a linear layer on one value for each map
SAMPLES = 2000  # images of digits that the mean is taken of
DECIMALS = 3  # of the mean, so that every processor writes the same file
MEAN = f"{FEATURES}.mean"  # name of the initializer


def is_adaptable(network: str) -> bool:
    """Return whether models of this network have the output."""
    return network.startswith(ADAPTABLE)


def add_features(path: Path, images: np.ndarray) -> None:
    """Add the output ``features``, (N, K) float32, to an exported file, or compute its mean again.

    Args:
        path: written by :mod:`inkdigits.training.export` or :mod:`inkdigits.training.quantize`; replaced. Its hash
            changes, so the registry must not list it yet.
        images: (N, 1, 28, 28) float32 of digits.

    Raises:
        TrainingError: the model does not end in a linear layer, or its logits would change.
    """
    model = without_features(onnx.load(path))
    graph, logits = model.graph, model.graph.output[0].name
    last = next((node for node in graph.node if logits in node.output), None)
    weights = next((each for each in graph.initializer if last and each.name in last.input[1:2]), None)
    if last is None or weights is None or last.op_type != "Gemm":
        raise TrainingError(f"{path} cannot have features: its last layer is not linear; train a cnn network")
    transposed = any(each.name == "transB" and each.i for each in last.attribute)
    inputs = weights.dims[1 if transposed else 0]
    mean = numpy_helper.from_array(np.zeros(inputs, np.float32), MEAN)
    graph.initializer.append(mean)
    graph.node.append(helper.make_node("Sub", [last.input[0], MEAN], [FEATURES], name=FEATURES))
    graph.output.append(helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ["N", inputs]))
    before, found = Recognizer(path).logits(images), _run(model, images)[1]
    centered = found.mean(axis=0, dtype=np.float64).round(DECIMALS).astype(np.float32)
    graph.initializer[-1].CopyFrom(numpy_helper.from_array(centered, MEAN))
    onnx.checker.check_model(model, full_check=True)
    if not np.array_equal(_run(model, images)[0], before):
        raise TrainingError(f"{path} cannot have features: its logits would change; ONNX Runtime fuses its last layer")
    write_atomically(path, model.SerializeToString(deterministic=True))


def _run(model: onnx.ModelProto, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits and the features of images."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return Recognizer(path).features(images)


def without_features(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove the output ``features`` from a model, if it has one, and return the model."""
    graph = model.graph
    for kept, name in ((graph.output, FEATURES), (graph.initializer, MEAN), (graph.node, FEATURES)):
        for each in [each for each in kept if each.name == name]:
            kept.remove(each)
    return model
