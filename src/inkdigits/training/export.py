"""Export a trained network to one ONNX file, and check that it gives the same logits.

The file holds its weights, takes any batch size, and carries in its metadata what belongs to the weights: the version
of the normalisation they were trained for, and the temperature of their logits.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from inkdigits.atomic import write_atomically
from inkdigits.errors import ModelError, TrainingError
from inkdigits.network import METADATA_PREFIX
from inkdigits.preprocess import NORMALIZATION_VERSION, SIDE
from inkdigits.recognizer import Recognizer

__all__ = ["check_parity", "export", "is_quantized", "write_model"]

OPSET = 20  # ONNX operator set; what the exporter writes without converting, and ONNX Runtime reads since 1.17
MAX_DIFFERENCE = 1e-4  # between a network's logits and its file's; float32 in another order of adding gives 1e-5
SINGLES = 32  # samples that the parity check also runs one by one


def export(network: nn.Module, out: Path, *, temperature: float, metadata: Mapping[str, str] | None = None) -> None:
    """Write a network as an ONNX file: input ``image`` (N, 1, 28, 28) float32, output ``logits`` (N, 10) float32;
    (N, 11) of a network that rejects non-digits, the last the logit of "this is a digit".

    It is exported in evaluation mode, which folds batch normalization into the convolutions. The network itself is
    left as it is. The same weights give the same bytes.

    Args:
        network: on the CPU.
        out: replaced in one step where it exists.
        temperature: what logits are divided by before the softmax.
        metadata: more for the file, such as {"network": "lenet"}; stored as ``inkdigits.network``. "threshold" is the
            score below which such a network rejects its input.

    Raises:
        TrainingError: the network cannot be exported, or the file cannot be written.
    """
    still = copy.deepcopy(network).eval()
    still.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # torch leaves it out of its types
    sample = torch.zeros(2, 1, SIDE, SIDE)
    with _quiet():
        try:
            program = torch.onnx.export(
                still,
                (sample,),
                input_names=["image"],
                output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("N")},),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise TrainingError(f"{type(network).__name__} cannot be exported to ONNX: {error}") from error
    assert program is not None  # as dynamo gives one
    write_model(program.model_proto, out, temperature, metadata or {})


def write_model(model: onnx.ModelProto, out: Path, temperature: float, metadata: Mapping[str, str]) -> None:
    """Write a model with what belongs to its weights in the metadata, in one step.

    Args:
        model: gets the metadata.
        out: replaced where it exists.
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
    """Compare an exported file with its network, on samples one by one and all at once.

    Args:
        network: what was exported.
        path: the exported file.
        samples: (N, 1, 28, 28) float32, real images.

    Returns:
        The largest absolute difference of a logit.

    Raises:
        TrainingError: it is larger than 1e-4, or not a number.
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
    """Return whether a model's file holds 8-bit integers, as :mod:`inkdigits.training.quantize` writes."""
    return any(node.op_type == "QuantizeLinear" for node in onnx.load(path).graph.node)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's own chatter: that torchvision is not installed, and what it deprecates in itself."""
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
    """Remove the stack traces, with paths of this machine, that the exporter leaves at every node."""
    for message in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output, model.graph):
        message.ClearField("metadata_props")
        message.ClearField("doc_string")
