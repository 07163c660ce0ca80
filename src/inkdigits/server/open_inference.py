"""The Open Inference Protocol v2 over HTTP, so that the clients of KServe, Triton and MLServer work as they are.

The protocol: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
Tensors as bytes: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md

A request holds one tensor of images, under any name. Its numbers are pixels from 0 to 255 and are read as a picture is:
dark on light or light on dark. As BYTES it holds encoded image files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from math import prod
from typing import Any

import numpy as np
import orjson
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

import inkdigits
from inkdigits.errors import ImageError
from inkdigits.prediction import CLASSES, Prediction
from inkdigits.preprocess import SIDE
from inkdigits.recognizer import Recognizer
from inkdigits.server.http.auth import charge
from inkdigits.server.http.body import Bodies
from inkdigits.server.http.problems import BAD_REQUEST, NOT_FOUND, Problem, problem_of, shown
from inkdigits.server.http.responses import JSON, Answer
from inkdigits.server.inference import Executor, Result
from inkdigits.server.model_info import version_of
from inkdigits.server.payloads import PIXELS, at_most, file_of, levels, load, told

__all__ = ["INPUT", "Infer", "answer", "check_model", "metadata", "parse", "server_metadata"]

INPUT = "image"
PLATFORM = "onnx_onnxruntime"  # a name from the protocol's list of platforms
NO_DIGIT = -1  # the digit of a blank image: a tensor of numbers has no null
HEADER_LENGTH = b"inference-header-content-length"

# Images after the first dimension, which counts them.
_SHAPES = ([PIXELS], [SIDE, SIDE], [1, SIDE, SIDE], [SIDE, SIDE, 1])
_NUMBERS = {
    **{f"UINT{8 * n}": f"<u{n}" for n in (1, 2, 4, 8)},
    **{f"INT{8 * n}": f"<i{n}" for n in (1, 2, 4, 8)},
    **{f"FP{8 * n}": f"<f{n}" for n in (2, 4, 8)},
}
# Each output's type, dimensions after the first, and NumPy type.
_OUTPUTS: dict[str, tuple[str, list[int], str]] = {
    "digit": ("INT64", [], "<i8"),
    "confidence": ("FP32", [], "<f4"),
    "probabilities": ("FP32", [CLASSES], "<f4"),
    "is_digit": ("BOOL", [], "?"),
}
# Parameters of Triton's other extensions, which cannot be passed over: the answer would be another than was asked for.
_UNSUPPORTED = ("classification", "shared_memory_region")


@dataclass(frozen=True, slots=True)
class Call:
    """One inference request: its images, what it wants to know, and whether that as bytes."""

    id: str | None
    images: list[bytes] | list[np.ndarray]
    outputs: dict[str, bool]


def server_metadata() -> dict[str, Any]:
    """What ``GET /v2`` tells."""
    return {"name": "inkdigits", "version": inkdigits.__version__, "extensions": ["binary_tensor_data"]}


def metadata(recognizer: Recognizer) -> dict[str, Any]:
    """What ``GET /v2/models/{name}`` tells."""
    outputs = [{"name": n, "datatype": kind, "shape": [-1, *shape]} for n, (kind, shape, _) in _OUTPUTS.items()]
    return {
        "name": recognizer.model.name,
        "versions": [version_of(recognizer)],
        "platform": PLATFORM,
        "inputs": [{"name": INPUT, "datatype": "UINT8", "shape": [-1, SIDE, SIDE]}],
        "outputs": outputs,
    }


def check_model(scope: Scope, recognizer: Recognizer) -> None:
    """Check that a request's path names the model that is here, and its version.

    Raises:
        Problem: it names another.
    """
    name, version = scope["path_params"]["name"], scope["path_params"].get("version")
    there = f"this server has {recognizer.model.name}, version {version_of(recognizer)}"
    if name != recognizer.model.name:
        raise Problem(NOT_FOUND, f"there is no model {shown(name)!r}; {there}")
    if version not in (None, version_of(recognizer)):
        raise Problem(NOT_FOUND, f"there is no version {shown(version)!r} of {name}; {there}")


class Infer:
    """``POST …/infer``: a tensor of images in, tensors of answers out; read as :class:`Predict` does."""

    def __init__(self, recognizer: Recognizer, executor: Executor, bodies: Bodies) -> None:
        self._recognizer = recognizer
        self._executor = executor
        self._bodies = bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        check_model(scope, self._recognizer)
        headers = dict(scope["headers"])
        executor = self._executor
        try:
            async with self._bodies.receive(receive, headers) as body:
                sent = body, headers.get(HEADER_LENGTH), executor.max_files
                call = await executor.call(len(body), parse, *sent)
                charge(scope, len(call.images))
                render = partial(render_tensors, self._recognizer, call)
                head, tail = await executor.predict(self._recognizer, call.images, render, size=len(body))
        except ClientDisconnect:
            return
        answer = Answer(200, JSON, head)
        if any(call.outputs.values()):
            answer = Answer(200, b"application/octet-stream", head + tail, [(HEADER_LENGTH, b"%d" % len(head))])
        await answer(scope, receive, send)


def answer(recognizer: Recognizer, call: Call) -> tuple[bytes, bytes]:
    """Read a call's images and :func:`render_tensors`."""
    return render_tensors(recognizer, call, recognizer.predict_batch(call.images, errors="return"))


def render_tensors(recognizer: Recognizer, call: Call, results: Sequence[Result]) -> tuple[bytes, bytes]:
    """Return the JSON that answers a request, and the tensors that follow it as bytes.

    Raises:
        Problem: an image cannot be read. A tensor has no place for an error, so it fails the request.
    """
    predictions: list[Prediction] = []
    for i, result in enumerate(results):
        if isinstance(result, ImageError):
            raise problem_of(result, f"inputs[0].data[{i}]")
        predictions.append(result)
    outputs, tail = [], []
    for name, binary in call.outputs.items():
        kind, shape, numpy = _OUTPUTS[name]
        values = np.array([_value(prediction, name) for prediction in predictions], numpy)
        output: dict[str, Any] = {"name": name, "datatype": kind, "shape": [len(results), *shape]}
        if binary:
            tail.append(values.tobytes())
            output["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            output["data"] = values.ravel()
        outputs.append(output)
    document: dict[str, Any] = {"model_name": recognizer.model.name, "model_version": version_of(recognizer)}
    if call.id is not None:
        document["id"] = call.id
    return orjson.dumps({**document, "outputs": outputs}, option=orjson.OPT_SERIALIZE_NUMPY), b"".join(tail)


def _value(prediction: Prediction, name: str) -> Any:
    return NO_DIGIT if name == "digit" and prediction.is_blank else getattr(prediction, name)


def parse(body: bytes, header_length: bytes | None, max_images: int) -> Call:
    """An inference request.

    Args:
        header_length: bytes of the JSON that the body begins with, where tensors follow it as bytes; None: it is all.
        max_images: most images in one request.

    Raises:
        Problem: it is none, or it asks for what there is not.
    """
    head, tail = body, b""
    if header_length is not None:
        length = int(header_length) if header_length.isdigit() and len(header_length) < 16 else -1
        if not 0 <= length <= len(body):
            raise _bad(
                f"the Inference-Header-Content-Length is {shown(header_length.decode('latin-1'))!r}; "
                f"expected a number up to {len(body)}, the body's length"
            )
        head, tail = body[:length], body[length:]
    document = load(head, max_images)
    if not isinstance(document, dict):
        raise _bad(f"the JSON is {told(document)}, not an object with inputs")
    identifier = document.get("id")
    if "id" in document and not isinstance(identifier, str):
        raise _bad(f"id is {told(identifier)}; expected a text")
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise _bad(f"inputs is {told(inputs)}; expected a list of one tensor, which holds all images")
    outputs = _outputs(document)
    return Call(identifier, _images(inputs[0], tail, max_images), outputs)


def _outputs(document: dict[str, Any]) -> dict[str, bool]:
    """Whether each output that is wanted is wanted as bytes."""
    binary = _parameters(document, "parameters").get("binary_data_output", False)
    wanted = document.get("outputs", [])
    if wanted == []:
        wanted = [{"name": name} for name in _OUTPUTS]
    if not isinstance(wanted, list):
        raise _bad(f"outputs is {told(wanted)}; expected a list")
    outputs: dict[str, bool] = {}
    for i, output in enumerate(wanted):
        name = output.get("name") if isinstance(output, dict) else output
        if not isinstance(output, dict) or not isinstance(name, str) or name not in _OUTPUTS or name in outputs:
            again = " again" if isinstance(name, str) and name in outputs else ""
            raise _bad(f"outputs[{i}] asks for {told(name)}{again}; there are {', '.join(_OUTPUTS)}, each once")
        outputs[name] = _parameters(output, f"outputs[{i}].parameters").get("binary_data", binary)
        if not isinstance(outputs[name], bool):
            raise _bad(f"outputs[{i}] has binary_data {told(outputs[name])}; expected true or false")
    return outputs


def _images(tensor: dict[str, Any], tail: bytes, max_images: int) -> list[bytes] | list[np.ndarray]:
    size = _parameters(tensor, "inputs[0].parameters").get("binary_data_size")
    name, kind, shape = tensor.get("name"), tensor.get("datatype"), tensor.get("shape")
    if "name" in tensor and not isinstance(name, str):
        raise _bad(f"inputs[0].name is {told(name)}; expected a text")
    if kind != "BYTES" and (not isinstance(kind, str) or kind not in _NUMBERS):
        raise _bad(f"inputs[0].datatype is {told(kind)}; expected UINT8, FP32, another type of numbers, or BYTES")
    allowed = ([], [1]) if kind == "BYTES" else _SHAPES
    if not isinstance(shape, list) or not all(type(n) is int for n in shape) or shape[1:] not in allowed or not shape:
        forms = " or ".join(str(["N", *form]).replace("'", "") for form in allowed)
        seen = shown(str(shape)) if isinstance(shape, list) and len(shape) < 9 else told(shape)
        raise _bad(f"inputs[0].shape is {seen}; for {kind} it is {forms}")
    count = shape[0]
    if count < 1:
        raise _bad(f"inputs[0].shape is {shape}: it holds no image; the first number counts them")
    at_most(max_images, count)
    if size is None:
        if tail:
            raise _bad(f"{len(tail):,} bytes follow the JSON, but no input has a binary_data_size")
        data = _flat(tensor.get("data"))
        if len(data) != prod(shape):
            raise _bad(f"inputs[0].data holds {len(data):,} values; its shape {shape} is of {prod(shape):,}")
        if kind == "BYTES":
            return [file_of(text, f"inputs[0].data[{i}]") for i, text in enumerate(data)]
        return list(levels(data, "inputs[0].data[{}]".format).reshape(count, SIDE, SIDE))
    if type(size) is not int or size != len(tail):
        raise _bad(f"inputs[0] has binary_data_size {told(size)}, but {len(tail):,} bytes follow the JSON")
    if kind == "BYTES":
        return _elements(tail, count)
    dtype = np.dtype(_NUMBERS[kind])
    if size != prod(shape) * dtype.itemsize:
        raise _bad(f"inputs[0] has {size:,} bytes; {kind} of shape {shape} has {prod(shape) * dtype.itemsize:,}")
    return list(levels(np.frombuffer(tail, dtype), "inputs[0].data[{}]".format).reshape(count, SIDE, SIDE))


def _flat(data: Any) -> list[Any]:
    """A tensor's values in order: it may be written flat, or as lists in lists."""
    if not isinstance(data, list):
        raise _bad(f"inputs[0].data is {told(data)}; expected a list, or binary_data_size and bytes after the JSON")
    values: list[Any] = data
    while values and all(isinstance(part, list) for part in values):
        values = list(chain.from_iterable(values))
    return values


def _elements(tail: bytes, count: int) -> list[bytes]:
    """The elements of a BYTES tensor, each after its length in 4 bytes."""
    elements: list[bytes] = []
    at = 0
    while at < len(tail) and len(elements) < count:
        start = at + 4
        at = start + int.from_bytes(tail[at:start], "little")
        elements.append(tail[start:at])
    if at != len(tail) or len(elements) != count:
        raise _bad(f"the {len(tail):,} bytes after the JSON are not {count} elements, each after its length in 4 bytes")
    return elements


def _parameters(holder: dict[str, Any], at: str) -> dict[str, Any]:
    parameters = holder.get("parameters", {})
    if not isinstance(parameters, dict):
        raise _bad(f"{at} is {told(parameters)}; expected an object")
    for name in _UNSUPPORTED:
        if parameters.get(name):
            raise _bad(f"{at} has {name}, which this server does not offer")
    return parameters


def _bad(detail: str) -> Problem:
    return Problem(BAD_REQUEST, detail)
