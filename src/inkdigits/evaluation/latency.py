"""Measure latency, size and parameters of a model, and describe the machine.

The model is loaded again with one thread, so that figures of all evaluations can be compared.
"""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inkdigits import __version__
from inkdigits.preprocess import ImageSource
from inkdigits.recognizer import Recognizer

__all__ = ["Cost", "cost", "environment", "times_us"]

CALLS, WARM = 200, 20  # calls that are timed, and calls to warm up
BATCH = 64  # images
_PACKAGES = ("onnxruntime", "numpy", "pillow")


@dataclass(frozen=True)
class Cost:
    """The cost of one model. Times are medians over ``calls`` sequential calls with one thread.

    Attributes:
        bytes: size of the model file.
        parameters: weights in it.
        predict_us: µs of ``Recognizer.predict`` on one image, from its pixels to the answer.
        predict_p99_us: 99th percentile of the same.
        network_us: µs of the network alone on one image.
        batch_us: µs per image of the network alone on batches of ``batch``.
    """

    bytes: int
    parameters: int
    predict_us: float
    predict_p99_us: float
    network_us: float
    batch_us: float
    batch: int = BATCH
    calls: int = CALLS


def cost(recognizer: Recognizer, image: ImageSource) -> Cost:
    """Measure a model's size and speed.

    Args:
        recognizer: the model to measure.
        image: the image that is read in each call.

    Raises:
        ImageError: it cannot be read.
    """
    path = recognizer.model.path
    single = Recognizer(path, threads=1)
    one = single.predict(image).image[None, None]
    batch = np.repeat(one, BATCH, axis=0)
    predict = times_us(lambda: single.predict(image), CALLS)
    return Cost(
        bytes=path.stat().st_size,
        parameters=recognizer.model.entry.get("parameters") or _parameters(path),
        predict_us=float(np.median(predict)),
        predict_p99_us=float(np.quantile(predict, 0.99)),
        network_us=float(np.median(times_us(lambda: single.logits(one), CALLS))),
        batch_us=float(np.median(times_us(lambda: single.logits(batch), CALLS // 4))) / BATCH,
    )


def environment() -> dict[str, str]:
    """Return the processor and the versions that figures were measured with."""
    return {
        "processor": _processor(),
        "python": platform.python_version(),
        "inkdigits": __version__,
        **{name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def times_us(call: Callable[[], object], calls: int, warm: int = WARM) -> np.ndarray:
    """Return the microseconds of each call, after ``warm`` calls to warm up."""
    took = np.empty(warm + calls)
    for i in range(len(took)):
        started = time.perf_counter()
        call()
        took[i] = time.perf_counter() - started
    return took[warm:] * 1e6


def _parameters(path: Path) -> int:
    """Count the weights in an ONNX file: the values of all tensors but integers, such as shapes."""
    import onnx

    tensors = onnx.load(path).graph.initializer
    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
    return sum(int(np.prod(tensor.dims)) for tensor in tensors if tensor.data_type in floats)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
