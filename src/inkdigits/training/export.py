"""Export a trained network to one ONNX file, and check that its logits are the same.

The file contains the weights and accepts any batch size. Its metadata holds the version of the normalization that the
network was trained with, and the temperature of its logits.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from inkdigits.atomic import write_atomically
from inkdigits.errors import ModelError, TrainingError
from inkdigits.network import METADATA_PREFIX
from inkdigits.preprocess import NORMALIZATION_VERSION, SIDE
from inkdigits.recognizer import Recognizer

__all__ = ["check_parity", "export", "is_quantized", "store_in_8_bits", "to_onnx", "write_model"]

OPSET = 20  # ONNX operator set, which the exporter writes without conversion, and ONNX Runtime reads since 1.17
MAX_DIFFERENCE = 1e-4  # between the logits of a network and of its file; float32 sums in another order differ by 1e-5
SINGLES = 32  # samples that the parity check also runs one by one


def export(network: nn.Module, out: Path, *, temperature: float, metadata: Mapping[str, str] | None = None) -> None:
    """Write a network as an ONNX file: input ``image`` (N, 1, 28, 28) float32, output ``logits`` (N, 10) float32.

    A network that rejects non-digits has (N, 11) logits, the last that of "this is a digit". The network is exported in
    evaluation mode, which folds batch normalization into the convolutions, and is not changed. The same weights give
    the same bytes.

    Args:
        network: on the CPU.
        out: replaced atomically if it exists.
        temperature: divisor of the logits before the softmax.
        metadata: more for the file, such as {"network": "lenet"}; stored as ``inkdigits.network``. "threshold" is the
            score below which the input is rejected.

    Raises:
        TrainingError: the network cannot be exported, or the file cannot be written.
    """
    sample = torch.zeros(2, 1, SIDE, SIDE)
    model = to_onnx(network, sample, "image", "logits", {0: torch.export.Dim("N")})
    write_model(model, out, temperature, metadata or {})


def to_onnx(network: nn.Module, sample: Tensor, name: str, output: str, sizes: Mapping[int, Any]) -> onnx.ModelProto:
    """Convert a network of one input and one output in evaluation mode; the network is not changed.

    Args:
        network: on the CPU.
        sample: an input.
        name, output: names of the input and the output in the file.
        sizes: the dimensions of the input that may vary, by index.

    Raises:
        TrainingError: the network cannot be exported.
    """
    still = copy.deepcopy(network).eval()
    still.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # missing in the types of torch
    with _quiet():
        try:
            program = torch.onnx.export(
                still,
                (sample,),
                input_names=[name],
                output_names=[output],
                dynamic_shapes=(dict(sizes),),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise TrainingError(f"{type(network).__name__} cannot be exported to ONNX: {error}") from error
    assert program is not None  # as dynamo returns one
    return program.model_proto


def store_in_8_bits(graph: onnx.GraphProto) -> None:
    """Replace the weights of convolutions by 8-bit integers and a scale for each output channel.

    The arithmetic stays in floating point, which gives the same values on every processor and in browsers.
    """
    names = {node.input[1] for node in graph.node if node.op_type == "Conv"}
    for stored in [each for each in graph.initializer if each.name in names]:
        weights = onnx.numpy_helper.to_array(stored)
        scale = np.abs(weights).reshape(len(weights), -1).max(axis=1) / 127
        scale = np.maximum(scale, np.finfo(np.float32).tiny).astype(np.float32)
        integers = np.rint(weights / scale.reshape(-1, 1, 1, 1)).astype(np.int8)
        parts = {"integers": integers, "scale": scale, "zero": np.zeros(len(scale), np.int8)}
        inputs = [f"{stored.name}.{part}" for part in parts]
        graph.initializer.extend(map(onnx.numpy_helper.from_array, parts.values(), inputs))
        graph.node.insert(0, onnx.helper.make_node("DequantizeLinear", inputs, [stored.name], axis=0))
        graph.initializer.remove(stored)


def write_model(model: onnx.ModelProto, out: Path, temperature: float, metadata: Mapping[str, str]) -> None:
    """Write a model with its metadata atomically.

    Args:
        model: gets the metadata.
        out: replaced if it exists.
        temperature, metadata: as for :func:`export`.

    Raises:
        TrainingError: the file cannot be written.
    """
    _forget_origin(model)
    stored = {"normalisation": NORMALIZATION_VERSION, "temperature": repr(float(temperature)), **metadata}
    onnx.helper.set_model_props(model, {METADATA_PREFIX + key: value for key, value in stored.items()})
    onnx.checker.check_model(model, full_check=True)
    write_atomically(out, model.SerializeToString(deterministic=True))


def check_parity(network: nn.Module, path: Path, samples: Tensor) -> float:
    """Compare an exported file with its network, on samples one by one and in a batch.

    Args:
        network: the exported network.
        path: the exported file.
        samples: (N, 1, 28, 28) float32, real images.

    Returns:
        The largest absolute difference between logits.

    Raises:
        TrainingError: the difference exceeds 1e-4, or is not a number.
    """
    try:
        recognizer = Recognizer(path)
    except ModelError as error:
        raise TrainingError(f"the exported file cannot be used: {error}") from error
    was_training = network.training
    network.eval()
    with torch.inference_mode():
        expected = network(samples).numpy()
    network.train(was_training)
    images = samples.contiguous().numpy()
    one_by_one = np.concatenate([recognizer.logits(images[i : i + 1]) for i in range(min(SINGLES, len(images)))])
    together = recognizer.logits(images)
    difference = max(np.abs(together - expected).max(), np.abs(one_by_one - expected[: len(one_by_one)]).max())
    if not difference <= MAX_DIFFERENCE:  # also true for NaN
        raise TrainingError(
            f"the exported file does not match the trained network: its logits differ by {difference:.2g}, "
            f"more than {MAX_DIFFERENCE}; the network has an operation that ONNX Runtime computes differently"
        )
    return float(difference)


def is_quantized(path: Path) -> bool:
    """Return whether a model's file is quantized, as by :mod:`inkdigits.training.quantize`."""
    return any(node.op_type == "QuantizeLinear" for node in onnx.load(path).graph.node)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter: a notice that torchvision is not installed, and its own deprecation warnings."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    registration.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, module=r"(torch|copyreg)\b")
            yield
    finally:
        registration.setLevel(level)


def _forget_origin(model: onnx.ModelProto) -> None:
    """Remove the stack traces, with local paths, that the exporter adds to every node."""
    for message in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output, model.graph):
        message.ClearField("metadata_props")
        message.ClearField("doc_string")
