"""The API's description: an OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.1).

FastAPI generates it from the operations and models; this module adds what those cannot express. Limits come from the
settings, errors from :mod:`inkdigits.server.http.problems`, and the example digit is drawn by code. Example answers are
computed by the service: the answer to an example request has the same key, or ``one``.
"""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import numpy as np
import orjson
from fastapi.openapi.utils import get_openapi
from PIL import Image
from starlette.routing import BaseRoute

import inkdigits
from inkdigits.preprocess import SIDE
from inkdigits.recognizer import Recognizer
from inkdigits.self_test import DIGIT, known_digit
from inkdigits.server import open_inference as oip
from inkdigits.server import read
from inkdigits.server.cost import PAGE_PIXELS, READING, REQUEST_IMAGES
from inkdigits.server.http.feedback_docs import add_examples
from inkdigits.server.http.problems import MEDIA_TYPE, PROBLEM_TYPES
from inkdigits.server.json_images import PIXEL_NAMES
from inkdigits.server.model_info import about
from inkdigits.server.payloads import Input, parse
from inkdigits.server.predict import Options, answer
from inkdigits.settings import Settings

__all__ = ["openapi", "ref_errors"]

_CURL = """\
# an image file
curl --data-binary @digit.png -H 'Content-Type: image/png' {url}/predict

# several files at once, whatever the fields are called
curl -F a=@seven.jpg -F b=@nine.webp {url}/predict

# 784 numbers, row by row
curl -H 'Content-Type: application/json' -d '{{"pixels": [0, 0, …, 0]}}' {url}/predict

# with what the network saw, why, and the three most likely digits
curl --data-binary @digit.png '{url}/predict?image=true&explain=true&top=3'
"""
_PYTHON = """\
from inkdigits import Client

with Client("{url}") as client:
    answer = client.predict("digit.png")
    print(answer.digit, answer.confidence)
"""
_JAVASCRIPT = """\
const answer = await fetch("{url}/predict", {{ method: "POST", body: file }}).then((r) => r.json());
console.log(answer.digit, answer.confidence);
"""


_CURL_READ = """\
# a picture of a number, a column or a table
curl --data-binary @form.jpg -H 'Content-Type: image/jpeg' {url}/read

# of eight digits each, with the two next likely texts
curl --data-binary @form.jpg '{url}/read?length=8&alternatives=2'

# a drawing, as strokes of points
curl -H 'Content-Type: application/json' -d '{{"strokes": [[[20, 0], [20, 90]], [[60, 0], [60, 90]]]}}' {url}/read
"""
_PYTHON_READ = """\
from inkdigits import Client

with Client("{url}") as client:
    reading = client.read("form.jpg")
    print(reading.text, reading.confidence)
"""
_JAVASCRIPT_READ = """\
const reading = await fetch("{url}/read", {{ method: "POST", body: file }}).then((r) => r.json());
console.log(reading.text, reading.confidence);
"""


def openapi(routes: Sequence[BaseRoute], settings: Settings, recognizer: Recognizer) -> dict[str, Any]:
    """Return the OpenAPI document of a server with these routes and settings, with the model's answers as examples."""
    document = get_openapi(
        title="inkdigits",
        version=inkdigits.__version__,
        openapi_version="3.1.1",
        summary="Reads handwritten digits from any picture and reports how sure it is.",
        description="Send an image, get a digit. Black on white or white on black, any size, anywhere in the picture.",
        license_info={"name": "MIT", "identifier": "MIT"},
        servers=[{"url": "."}],
        routes=routes,
    )
    for unused in ("HTTPValidationError", "ValidationError"):  # FastAPI's own errors; every error is a problem document
        document["components"]["schemas"].pop(unused, None)
    document["components"]["responses"] = _responses()
    operations = {o["operationId"]: o for item in document["paths"].values() for o in item.values()}
    for operation in operations.values():
        _tidy(operation)
    # Examples are added last, as FastAPI drops every null in them.
    for name, value in _answers_of_gets(recognizer, "feedback" in operations).items():
        _content(operations[name])["application/json"]["examples"] = {name: {"value": value}}
    _content(operations["model-card"])["text/html"]["examples"] = {}
    predict, reads = operations["predict"], operations["read"]
    predict |= {"description": _description(settings), "x-codeSamples": _samples(settings, _CURL, _PYTHON, _JAVASCRIPT)}
    reads |= {
        "description": _READING,
        "x-codeSamples": _samples(settings, _CURL_READ, _PYTHON_READ, _JAVASCRIPT_READ),
    }
    for operation, answers, requests in (
        (predict, _answers(recognizer), _request_content()),
        (reads, _readings(recognizer), _read_content()),
    ):
        _content(operation)["application/json"]["examples"] = answers
        content = operation["requestBody"]["content"]
        operation["requestBody"]["content"] = {k: {**content.get(k, {}), **v} for k, v in requests.items()}
    add_examples(operations, f"http://localhost:{settings.port}")
    requests, answers = _infer_examples(recognizer)
    for suffix in ("", "-version"):
        infer = operations[f"v2-infer{suffix}"]
        infer["requestBody"]["content"]["application/json"]["examples"] = requests
        _content(infer)["application/json"]["examples"] = answers
        binary = {"description": "JSON, followed by tensors as bytes."}
        _content(infer)["application/octet-stream"] = {"schema": binary, "examples": {}}
    return document


def _tidy(operation: dict[str, Any]) -> None:
    """Remove what FastAPI repeats, and its own form of errors."""
    for body in (operation.get("requestBody", {}), *operation["responses"].values()):
        for content in body.get("content", {}).values():
            content.get("schema", {}).pop("title", None)
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = {k: v for k, v in parameter["schema"].items() if k not in ("title", "description")}
    operation["responses"] = {
        status: {"$ref": response["$ref"]} if "$ref" in response else response
        for status, response in sorted(operation["responses"].items())
        if "HTTPValidationError" not in str(response)
    }


def _content(operation: dict[str, Any]) -> dict[str, Any]:
    """Return the content of an operation's answer, by media type."""
    content: dict[str, Any] = operation["responses"]["200"]["content"]
    return content


def _answers_of_gets(recognizer: Recognizer, feedback: bool) -> dict[str, dict[str, Any]]:
    """Return the JSON answer of each GET, by operation."""
    name, metadata = recognizer.model.name, oip.metadata(recognizer)
    model_ready = {"name": name, "ready": True}
    return {
        "model": {**about(recognizer), "feedback": feedback},
        "health": {"status": "ok"},
        "ready": {"status": "ready", "model": name},
        "v2": oip.server_metadata(),
        "v2-live": {"live": True},
        "v2-ready": {"ready": True},
        **{f"v2-model{suffix}": metadata for suffix in ("", "-version")},
        **{f"v2-model-ready{suffix}": model_ready for suffix in ("", "-version")},
    }


def _description(settings: Settings) -> str:
    """Return the description of ``POST /predict``, with the server's limits."""
    return (
        "The body is the image itself, multipart files, a form or JSON with an image as text, or numbers. One "
        "image gets one answer. Several images, and `instances`, get `predictions` in order: an image that cannot "
        "be read has an `error`, the others have their answers. A blank image is not an error: its `digit` is "
        "null. "
        f"Supported are PNG, JPEG, GIF (first frame), WebP, BMP and TIFF, up to {settings.max_bytes:,} bytes per "
        f"request, {settings.max_pixels:,} pixels per image and {settings.max_files:,} images per request. All "
        f"images together may have the pixels of {REQUEST_IMAGES} such images as JPEG, or a third in other formats."
    )


_READING = (
    "The body is any that `POST /predict` takes, or JSON with the strokes of a drawing. One image gets one answer. "
    "Several images, and `instances`, get `readings` in order: an image that cannot be read has an `error`. Reading "
    f"takes longer than predicting: each pixel counts {READING} times more, up to {PAGE_PIXELS:,} pixels of an image, "
    "towards what all images together may have."
)


def _samples(settings: Settings, curl: str, python: str, javascript: str) -> list[dict[str, str]]:
    """Return code samples with the server's address."""
    url = f"http://localhost:{settings.port}"
    samples = (("Shell", "curl", curl), ("Python", "Python", python), ("JavaScript", "JavaScript", javascript))
    return [{"lang": lang, "label": label, "source": text.format(url=url)} for lang, label, text in samples]


def _picture() -> np.ndarray:
    """Return the example, (28, 28) uint8, light on dark like the digits of MNIST."""
    return 255 - np.asarray(known_digit())


def _file(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _base64(data: bytes) -> str:
    return b64encode(data).decode()


_NOTES = b"%PDF-1.7 no image"  # a file that cannot be read


def _instances() -> list[Any]:
    rows = _picture().tolist()
    return [
        _picture().ravel().tolist(),
        {"pixels": rows},
        {"image": _base64(_file(_picture()))},
        {"image": _base64(_NOTES)},
    ]


def _answers(recognizer: Recognizer) -> dict[str, Any]:
    def example(summary: str, inputs: list[Input], several: bool = False, top: int = 0) -> dict[str, Any]:
        return {"summary": summary, "value": orjson.loads(answer(recognizer, inputs, several, Options(top=top)))}

    digit = Input(_file(_picture()), "three.png")
    instances = orjson.dumps({"instances": _instances()})
    return {
        "one": example("One image", [digit]),
        "files": example("Several files, one of them broken", [digit, Input(_NOTES, "notes.pdf")], True),
        "instances": example("Instances, one of them broken", *parse("application/json", instances, len(_instances()))),
        "blank": example("A blank image", [Input(_file(np.zeros((SIDE, SIDE), np.uint8)))]),
        "top": example("One image, with `top=3`", [digit], top=3),
    }


_NUMBER = (7, 3)  # the digits of the example
_STROKES = [[[0, 0], [40, 0], [15, 60]], [[80, 0], [80, 60]]]  # a drawing of 71


def _number() -> np.ndarray:
    """Return the example of a number, (28, 56) uint8, dark on light."""
    return np.concatenate([np.asarray(known_digit(digit)) for digit in _NUMBER], axis=1)


def _drawings() -> list[Any]:
    return [{"strokes": _STROKES}, {"image": _base64(_file(_number()))}, {"strokes": []}, {"strokes": [[]]}]


def _readings(recognizer: Recognizer) -> dict[str, Any]:
    def example(summary: str, inputs: list[Input], several: bool = False) -> dict[str, Any]:
        return {"summary": summary, "value": orjson.loads(read.answer(recognizer, inputs, several))}

    def of_json(summary: str, value: Any) -> dict[str, Any]:
        body = orjson.dumps(value)
        return example(summary, *parse("application/json", body, len(_drawings()), strokes=True))

    number = Input(_file(_number()), "three.png")
    return {
        "one": example("One image", [number]),
        "files": example("Several files, one of them broken", [number, Input(_NOTES, "notes.pdf")], True),
        "strokes": of_json("A drawing", {"strokes": _STROKES}),
        "instances": of_json("Instances, one of them blank and one broken", {"instances": _drawings()}),
        "pixels": of_json("An image of one digit, as 784 numbers", {"pixels": _picture().ravel().tolist()}),
    }


def _read_content() -> dict[str, Any]:
    """Return the example requests of ``POST /read``."""
    file = _base64(_file(_number()))
    same = _request_content()
    png = {"png": {"summary": f"A drawn {''.join(map(str, _NUMBER))}, shown in base64", "value": file}}
    url = {"image": f"data:image/png;base64,{file}"}
    examples = {
        "image/*": png,
        "multipart/form-data": {
            "file": {"summary": "One file, shown in base64", "value": {"anything": [file]}},
            "files": {"summary": "Two files, shown in base64", "value": {"f": [file, _base64(_NOTES)]}},
        },
        "application/json": {
            "strokes": {"summary": "A drawing as strokes", "value": {"strokes": _STROKES}},
            "url": {"summary": "A file as data URL", "value": url},
            "pixels": same["application/json"]["examples"]["pixels"],
            "instances": {"summary": "Several images and drawings", "value": {"instances": _drawings()}},
        },
        "application/x-www-form-urlencoded": {"form": {"summary": "A form's field", "value": urlencode(url)}},
        "application/octet-stream": png,
    }
    return {media: {**content, "examples": examples[media]} for media, content in same.items()}


def _request_content() -> dict[str, Any]:
    picture = _picture()
    file, rows = _base64(_file(picture)), picture.tolist()
    pixels, url = picture.ravel().tolist(), f"data:image/png;base64,{file}"
    binary = {"description": "The file's bytes.", "contentMediaType": "image/png"}
    png = {"summary": f"A drawn {DIGIT}, shown in base64", "value": file}
    blank = {"summary": "A blank image, shown in base64", "value": _base64(_file(np.zeros_like(picture)))}
    return {
        "image/*": {"schema": binary, "examples": {"png": png, "blank": blank}},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "description": "One or more files, with any field names, or a text field `image`.",
                "additionalProperties": {"oneOf": [{"type": "array", "items": binary}, {"type": "string"}]},
            },
            "examples": {
                "file": {"summary": "One file, shown in base64", "value": {"anything": [file]}},
                "files": {"summary": "Two files, shown in base64", "value": {"f": [file, _base64(_NOTES)]}},
                "field": {"summary": "A text field that holds a data URL", "value": {"image": url}},
            },
        },
        "application/json": {
            "examples": {
                "pixels": {"summary": "784 numbers, row by row", "value": {"pixels": pixels}},
                "rows": {"summary": "28 rows of 28 numbers", "value": {"pixels": rows}},
                "pixel0": {
                    "summary": "784 numbers by name, like a row of Kaggle's files",
                    "value": dict(zip(PIXEL_NAMES, pixels, strict=True)),
                },
                "image": {"summary": "A file in base64", "value": {"image": file}},
                "url": {"summary": "A file as data URL", "value": {"image": url}},
                "instances": {"summary": "Several images of these forms", "value": {"instances": _instances()}},
            },
        },
        "application/x-www-form-urlencoded": {
            "schema": {"type": "string", "description": "A field `image` that holds a data URL or base64."},
            "examples": {"form": {"summary": "A form's field", "value": urlencode({"image": url})}},
        },
        "application/octet-stream": {
            "schema": binary,
            "examples": {
                "png": png,
                "raw": {
                    "summary": "784 bytes, one per pixel, row by row; shown in base64",
                    "value": _base64(picture.tobytes()),
                },
            },
        },
    }


def _infer_examples(recognizer: Recognizer) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return example requests for inference, and their answers."""
    picture = _picture()
    numbers = {"name": oip.INPUT, "shape": [1, SIDE, SIDE], "datatype": "UINT8", "data": picture.ravel().tolist()}
    files = {"name": oip.INPUT, "shape": [1], "datatype": "BYTES", "data": [_base64(_file(picture))]}
    requests = {
        "numbers": {"summary": "A tensor of pixels", "value": {"id": "42", "inputs": [numbers]}},
        "files": {
            "summary": "A tensor of image files, and one output",
            "value": {"inputs": [files], "outputs": [{"name": "digit"}]},
        },
    }
    answers = {
        key: {
            "summary": example["summary"],
            "value": orjson.loads(oip.answer(recognizer, oip.parse(orjson.dumps(example["value"]), None, 1))[0]),
        }
        for key, example in requests.items()
    }
    return requests, answers


def ref_errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the errors of an operation, in the form of FastAPI's ``responses``."""
    return {status: {"$ref": f"#/components/responses/Error{status}"} for status in statuses}


def _responses() -> dict[str, Any]:
    """Return the errors as one response per status, with an example of each problem type."""
    responses = {}
    for status in sorted({each.status for each in PROBLEM_TYPES}):
        types = [each for each in PROBLEM_TYPES if each.status == status]
        examples = {each.slug: {"summary": each.meaning, "value": each.document(each.example)} for each in types}
        responses[f"Error{status}"] = {
            "description": "; ".join(each.title for each in types),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}},
        }
    return responses
