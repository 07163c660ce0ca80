"""The Open Inference Protocol v2 over HTTP, so that clients of KServe, Triton and MLServer work unchanged.

Protocol: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
Tensors as bytes: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md

A request has one tensor of images, with any name. Its numbers are pixels from 0 to 255, dark on light or light on dark
as in any picture. A tensor of BYTES holds encoded image files.
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
from inkdigits.preprocess.files import pixels_of
from inkdigits.recognizer import Recognizer
from inkdigits.server.http.auth import charge
from inkdigits.server.http.body import Bodies
from inkdigits.server.http.problems import BAD_REQUEST, NOT_FOUND, UNSUPPORTED_MEDIA_TYPE, Problem, problem_of, shorten
from inkdigits.server.http.responses import JSON, Answer
from inkdigits.server.inference import Executor, Result
from inkdigits.server.json_images import PIXELS, check_count, describe, file_of, levels, load
from inkdigits.server.model_info import version_of
from inkdigits.server.payloads import UNDECLARED

__all__ = ["INPUT", "Infer", "answer", "check_model", "metadata", "parse", "server_metadata"]

INPUT = "image"
PLATFORM = "onnx_onnxruntime"  # a name from the protocol's list of platforms
NO_DIGIT = -1  # the digit of a blank image: a tensor of numbers has no null
ACCEPT_POST = "application/json, application/octet-stream"
HEADER_LENGTH = b"inference-header-content-length"

# Dimensions of an image, after the first, which counts images.
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
# Parameters of Triton's other extensions. Ignoring them would give a different answer than the client asked for.
_UNSUPPORTED = ("classification", "shared_memory_region")


@dataclass(frozen=True, slots=True)
class Call:
    """One inference request: its images, and the outputs to return, each with whether as bytes."""

    id: str | None
    images: list[bytes] | list[np.ndarray]
    outputs: dict[str, bool]


def server_metadata() -> dict[str, Any]:
    """Return the answer to ``GET /v2``."""
    return {"name": "inkdigits", "version": inkdigits.__version__, "extensions": ["binary_tensor_data"]}


def metadata(recognizer: Recognizer) -> dict[str, Any]:
    """Return the answer to ``GET /v2/models/{name}``."""
    outputs = [{"name": n, "datatype": kind, "shape": [-1, *shape]} for n, (kind, shape, _) in _OUTPUTS.items()]
    return {
        "name": recognizer.model.name,
        "versions": [version_of(recognizer)],
        "platform": PLATFORM,
        "inputs": [{"name": INPUT, "datatype": "UINT8", "shape": [-1, SIDE, SIDE]}],
        "outputs": outputs,
    }


def check_model(scope: Scope, recognizer: Recognizer) -> None:
    """Check that a request's path has the name and version of this model.

    Raises:
        Problem: it has another.
    """
    name, version = scope["path_params"]["name"], scope["path_params"].get("version")
    there = f"this server has {recognizer.model.name}, version {version_of(recognizer)}"
    if name != recognizer.model.name:
        raise Problem(NOT_FOUND, f"there is no model {shorten(name)!r}; {there}")
    if version not in (None, version_of(recognizer)):
        raise Problem(NOT_FOUND, f"there is no version {shorten(version)!r} of {name}; {there}")


class Infer:
    """The ASGI application that answers ``POST …/infer``: a tensor of images in, tensors of predictions out."""

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
                content_type = headers.get(b"content-type", b"").decode("latin-1")
                sent = body, headers.get(HEADER_LENGTH), executor.max_files, content_type
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
    """Predict a call's images, and return :func:`render_tensors` of the results."""
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


def parse(body: bytes, header_length: bytes | None, max_images: int, content_type: str = "") -> Call:
    """Parse an inference request.

    Args:
        header_length: length in bytes of the JSON, if tensors follow it as bytes; None if the whole body is JSON.
        max_images: maximum number of images in one request.
        content_type: the request's Content-Type header; it matters only if the body is not JSON.

    Raises:
        Problem: the request is invalid, or asks for an output that does not exist.
    """
    head, tail = body, b""
    if header_length is not None:
        length = int(header_length) if header_length.isdigit() and len(header_length) < 16 else -1
        if not 0 <= length <= len(body):
            raise _bad(
                f"the Inference-Header-Content-Length is {shorten(header_length.decode('latin-1'))!r}; "
                f"expected a number up to {len(body)}, the body's length"
            )
        head, tail = body[:length], body[length:]
    try:
        document = load(head, max_images)
    except Problem as problem:
        raise _not_json(head, content_type) or problem from None
    if not isinstance(document, dict):
        raise _bad(f"the JSON is {describe(document)}, not an object with inputs")
    identifier = document.get("id")
    if "id" in document and not isinstance(identifier, str):
        raise _bad(f"id is {describe(identifier)}; expected a string")
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise _bad(f"inputs is {describe(inputs)}; expected a list of one tensor, which holds all images")
    outputs = _outputs(document)
    return Call(identifier, _images(inputs[0], tail, max_images), outputs)


def _not_json(body: bytes, content_type: str) -> Problem | None:
    """Return the problem of a body that is not JSON by its Content-Type or content; None if it is meant as JSON."""
    kind = content_type.partition(";")[0].strip().lower()
    if pixels_of(body):
        found = "the body is an image file"
    elif kind.encode("latin-1") in UNDECLARED or kind == "application/json" or kind.endswith("+json"):
        return None
    else:
        found = f"the Content-Type is {shorten(content_type)!r}"
    detail = f"{found}; supported are {ACCEPT_POST}. POST /predict reads image files"
    return Problem(UNSUPPORTED_MEDIA_TYPE, detail, {"Accept-Post": ACCEPT_POST})


def _outputs(document: dict[str, Any]) -> dict[str, bool]:
    """Return the requested outputs, each with whether to send it as bytes."""
    binary = _parameters(document, "parameters").get("binary_data_output", False)
    wanted = document.get("outputs", [])
    if wanted == []:
        wanted = [{"name": name} for name in _OUTPUTS]
    if not isinstance(wanted, list):
        raise _bad(f"outputs is {describe(wanted)}; expected a list")
    outputs: dict[str, bool] = {}
    for i, output in enumerate(wanted):
        name = output.get("name") if isinstance(output, dict) else output
        if not isinstance(output, dict) or not isinstance(name, str) or name not in _OUTPUTS or name in outputs:
            again = " again" if isinstance(name, str) and name in outputs else ""
            raise _bad(f"outputs[{i}] asks for {describe(name)}{again}; expected {', '.join(_OUTPUTS)}, each once")
        outputs[name] = _parameters(output, f"outputs[{i}].parameters").get("binary_data", binary)
        if not isinstance(outputs[name], bool):
            raise _bad(f"outputs[{i}] has binary_data {describe(outputs[name])}; expected true or false")
    return outputs


def _images(tensor: dict[str, Any], tail: bytes, max_images: int) -> list[bytes] | list[np.ndarray]:
    size = _parameters(tensor, "inputs[0].parameters").get("binary_data_size")
    name, kind, shape = tensor.get("name"), tensor.get("datatype"), tensor.get("shape")
    if "name" in tensor and not isinstance(name, str):
        raise _bad(f"inputs[0].name is {describe(name)}; expected a string")
    if kind != "BYTES" and (not isinstance(kind, str) or kind not in _NUMBERS):
        raise _bad(f"inputs[0].datatype is {describe(kind)}; expected UINT8, FP32, another type of numbers, or BYTES")
    allowed = ([], [1]) if kind == "BYTES" else _SHAPES
    if not isinstance(shape, list) or not all(type(n) is int for n in shape) or shape[1:] not in allowed or not shape:
        forms = " or ".join(str(["N", *form]).replace("'", "") for form in allowed)
        seen = shorten(str(shape)) if isinstance(shape, list) and len(shape) < 9 else describe(shape)
        raise _bad(f"inputs[0].shape is {seen}; for {kind} it is {forms}")
    count = shape[0]
    if count < 1:
        raise _bad(f"inputs[0].shape is {shape}: it has no image; the first number counts them")
    check_count(max_images, count)
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
        raise _bad(f"inputs[0] has binary_data_size {describe(size)}, but {len(tail):,} bytes follow the JSON")
    if kind == "BYTES":
        return _elements(tail, count)
    dtype = np.dtype(_NUMBERS[kind])
    if size != prod(shape) * dtype.itemsize:
        raise _bad(f"inputs[0] has {size:,} bytes; {kind} of shape {shape} has {prod(shape) * dtype.itemsize:,}")
    return list(levels(np.frombuffer(tail, dtype), "inputs[0].data[{}]".format).reshape(count, SIDE, SIDE))


def _flat(data: Any) -> list[Any]:
    """Return a tensor's values in order, from a flat list or nested lists."""
    if not isinstance(data, list):
        raise _bad(f"inputs[0].data is {describe(data)}; expected a list, or binary_data_size and bytes after the JSON")
    values: list[Any] = data
    while values and all(isinstance(part, list) for part in values):
        values = list(chain.from_iterable(values))
    return values


def _elements(tail: bytes, count: int) -> list[bytes]:
    """Return the elements of a BYTES tensor, each preceded by its length in 4 bytes."""
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
        raise _bad(f"{at} is {describe(parameters)}; expected an object")
    for name in _UNSUPPORTED:
        if parameters.get(name):
            raise _bad(f"{at} has {name}, which this server does not support")
    return parameters


def _bad(detail: str) -> Problem:
    return Problem(BAD_REQUEST, detail)
