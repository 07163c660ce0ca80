"""The API's description: an OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.1), written by hand.

Its limits come from the settings, its errors from :mod:`inkdigits.server.http.problems`, and its example digit is
drawn by code. The example answers are the service's own: an example request gets the answer that has its key, or
``one``.
"""

from __future__ import annotations

import io
from base64 import b64encode
from typing import Any
from urllib.parse import urlencode

import numpy as np
import orjson
from PIL import Image

import inkdigits
from inkdigits.image import SIDE
from inkdigits.known import DIGIT, known_digit
from inkdigits.recognizer import Recognizer
from inkdigits.server import open_inference as oip
from inkdigits.server.cost import REQUEST_IMAGES
from inkdigits.server.http.problems import MEDIA_TYPE, NOT_FOUND, NOT_READY, PROBLEM_TYPES, PROTOCOL
from inkdigits.server.http.schemas import ref, schemas
from inkdigits.server.model_info import CARD, about, version_of
from inkdigits.server.payloads import PIXEL_NAMES, Input, parse
from inkdigits.server.predict import MAX_TOP, Options, answer
from inkdigits.settings import Settings

__all__ = ["openapi"]

_PREDICT_ERRORS = (400, 401, 405, 408, 413, 415, 422, 429, 431, 500, 501, 503)
_INFER_ERRORS = (404, *_PREDICT_ERRORS)
_CURL = """\
# an image file
curl --data-binary @digit.png -H 'Content-Type: image/png' {url}/predict

# several files at once, whatever the fields are called
curl -F a=@seven.jpg -F b=@nine.webp {url}/predict

# 784 numbers, row by row
curl -H 'Content-Type: application/json' -d '{{"pixels": [0, 0, …, 0]}}' {url}/predict

# with what the network saw, why, and the three likeliest digits
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


def openapi(settings: Settings, recognizer: Recognizer) -> dict[str, Any]:
    """The OpenAPI document of a server with these settings and this model, whose own answers are the examples."""
    document: dict[str, Any] = {
        "openapi": "3.1.1",
        "info": {
            "title": "inkdigits",
            "version": inkdigits.__version__,
            "summary": "Reads handwritten digits, wherever they come from, and says how sure it is.",
            "description": (
                "Send an image, get a digit. Black on white or white on black, any size, anywhere in the picture."
            ),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "."}],
        "paths": {
            "/predict": {"post": _predict(settings, recognizer)},
            "/model": {"get": _get("model", "Which model answers", "Model", about(recognizer))},
            f"/{CARD}": {"get": _card()},
            "/health": {"get": _get("health", "Whether the process runs", "Health", {"status": "ok"})},
            "/ready": {"get": _ready("ready", "Ready", {"status": "ready", "model": recognizer.model.name})},
            **_protocol(recognizer),
        },
        "components": {"schemas": schemas(), "responses": _responses()},
    }
    if settings.api_keys:
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        for item in document["paths"].values():
            if "post" in item:
                item["post"]["security"] = [{"key": []}]
    return document


def _predict(settings: Settings, recognizer: Recognizer) -> dict[str, Any]:
    url = f"http://localhost:{settings.port}"
    return {
        "operationId": "predict",
        "summary": "Read the digit in one image, or in several",
        "description": (
            "The body is the image itself, multipart files, a form or JSON with an image as text, or numbers. One "
            "image gives one answer; several, and `instances`, give `predictions` in order, where one that cannot be "
            "read holds its `error` and the rest are answered. A blank image is an answer, not an error: its `digit` "
            "is null. "
            f"Read are PNG, JPEG, GIF (first frame), WebP, BMP and TIFF, up to {settings.max_bytes:,} bytes a request, "
            f"{settings.max_pixels:,} pixels an image and {settings.max_files:,} images a request, of the pixels of "
            f"{REQUEST_IMAGES} such images together as JPEG, or a third of them in other formats."
        ),
        "parameters": [
            _option("image", "Also return what the network saw: 28 rows of 28 numbers, 0 for paper to 255 for ink."),
            _option(
                "explain",
                "Also return how much each part of the ink mattered for the digit: 28 rows of 28 numbers from -1 to 1, "
                "where negative spoke against it.",
            ),
            {
                "name": "top",
                "in": "query",
                "description": "Also return so many of the likeliest digits, best first.",
                "schema": {"type": "integer", "minimum": 1, "maximum": MAX_TOP},
            },
        ],
        "requestBody": {"required": True, "content": _request_content()},
        "responses": {
            "200": {
                "description": "What was read",
                "content": {
                    "application/json": {
                        "schema": {"oneOf": [ref("Prediction"), ref("Predictions")]},
                        "examples": _answers(recognizer),
                    }
                },
            },
            **{str(status): _error(status) for status in _PREDICT_ERRORS},
        },
        "x-codeSamples": [
            {"lang": "Shell", "label": "curl", "source": _CURL.format(url=url)},
            {"lang": "Python", "label": "Python", "source": _PYTHON.format(url=url)},
            {"lang": "JavaScript", "label": "JavaScript", "source": _JAVASCRIPT.format(url=url)},
        ],
    }


def _option(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": {"type": "boolean", "default": False}}


def _picture() -> np.ndarray:
    """The example: (28, 28) uint8, light on dark as MNIST's digits are."""
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
    def told(summary: str, inputs: list[Input], several: bool = False, options: Options = Options()) -> dict[str, Any]:  # noqa: B008 (frozen)
        return {"summary": summary, "value": orjson.loads(answer(recognizer, inputs, several, options))}

    digit = Input(_file(_picture()), "three.png")
    instances = orjson.dumps({"instances": _instances()})
    return {
        "one": told("One image", [digit]),
        "files": told("Several files, one of them broken", [digit, Input(_NOTES, "notes.pdf")], True),
        "instances": told("Instances, one of them broken", *parse("application/json", instances, len(_instances()))),
        "blank": told("A blank image", [Input(_file(np.zeros((SIDE, SIDE), np.uint8)))]),
        "top": told("One image, with `top=3`", [digit], options=Options(top=3)),
    }


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
                "description": "One or more files, under any field names; or a text field `image`.",
                "additionalProperties": {"oneOf": [{"type": "array", "items": binary}, {"type": "string"}]},
            },
            "examples": {
                "file": {"summary": "One file, shown in base64", "value": {"anything": [file]}},
                "files": {"summary": "Two files, shown in base64", "value": {"f": [file, _base64(_NOTES)]}},
                "field": {"summary": "A text field that holds a data URL", "value": {"image": url}},
            },
        },
        "application/json": {
            "schema": {"oneOf": [ref("Pixels"), ref("PixelRow"), ref("ImageText"), ref("Instances")]},
            "examples": {
                "pixels": {"summary": "784 numbers, row by row", "value": {"pixels": pixels}},
                "rows": {"summary": "28 rows of 28 numbers", "value": {"pixels": rows}},
                "pixel0": {
                    "summary": "784 numbers by name, as a row of Kaggle's files",
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
                    "summary": "784 bytes, one a pixel, row by row; shown in base64",
                    "value": _base64(picture.tobytes()),
                },
            },
        },
    }


def _get(name: str, summary: str, schema: str, example: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": ref(schema), "examples": {name: {"value": example}}}}
    return {"operationId": name, "summary": summary, "responses": {"200": {"description": summary, "content": content}}}


def _card() -> dict[str, Any]:
    what = "The card of the model that answers"
    page = {"schema": {"type": "string", "description": "A web page."}, "examples": {}}
    return {
        "operationId": "model-card",
        "summary": what,
        "description": "What the model is for, how well it reads, and what it was made of. A model may have none.",
        "responses": {
            "200": {"description": what, "content": {"text/html": page}},
            str(NOT_FOUND.status): _error(NOT_FOUND.status),
        },
    }


def _ready(name: str, schema: str, example: dict[str, Any]) -> dict[str, Any]:
    operation = _get(name, "Whether a known digit was read right", schema, example)
    operation["responses"][str(NOT_READY.status)] = _error(NOT_READY.status)
    return operation


def _protocol(recognizer: Recognizer) -> dict[str, Any]:
    """The Open Inference Protocol's paths, those of a model with and without its version."""
    name = recognizer.model.name
    paths = {
        PROTOCOL: {
            "get": _get("v2", "The Open Inference Protocol: which server this is", "Server", oip.server_metadata())
        },
        f"{PROTOCOL}/health/live": {"get": _get("v2-live", "Whether the process runs", "Live", oip.LIVE)},
        f"{PROTOCOL}/health/ready": {"get": _ready("v2-ready", "ServerReady", oip.READY)},
    }
    for path, suffix, versions in (
        ("{name}", "", ()),
        ("{name}/versions/{version}", "-version", (version_of(recognizer),)),
    ):
        parameters = [
            {
                "name": key,
                "in": "path",
                "required": True,
                "description": text,
                "schema": {"type": "string", "enum": [value]},
            }
            for key, text, value in (
                ("name", "The model's name.", name),
                *(("version", "Its version.", version) for version in versions),
            )
        ]
        metadata = _get(
            f"v2-model{suffix}", "What the model takes and gives", "ModelMetadata", oip.metadata(recognizer)
        )
        ready = _ready(f"v2-model-ready{suffix}", "ModelReady", {"name": name, "ready": True})
        infer = _infer(recognizer, suffix)
        for operation in (metadata, ready, infer):
            operation["parameters"] = parameters
            operation["responses"][str(NOT_FOUND.status)] = _error(NOT_FOUND.status)
        paths |= {
            f"{PROTOCOL}/models/{path}": {"get": metadata},
            f"{PROTOCOL}/models/{path}/ready": {"get": ready},
            f"{PROTOCOL}/models/{path}/infer": {"post": infer},
        }
    return paths


def _infer(recognizer: Recognizer, suffix: str) -> dict[str, Any]:
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
    request = {"application/json": {"schema": ref("InferRequest"), "examples": requests}}
    binary = {"schema": {"description": "JSON, and tensors as bytes behind it."}, "examples": {}}
    response = {
        "application/json": {"schema": ref("InferResponse"), "examples": answers},
        "application/octet-stream": binary,
    }
    return {
        "operationId": f"v2-infer{suffix}",
        "summary": "Read the digits in a tensor of images",
        "description": (
            "The outputs are `digit` (-1 for a blank image), `confidence`, `probabilities` and `is_digit`. With the "
            "header `Inference-Header-Content-Length` the tensor follows the JSON as bytes; with `binary_data_output`, "
            "or an output's `binary_data`, so do the answer's."
        ),
        "requestBody": {"required": True, "content": request},
        "responses": {
            "200": {"description": "What was read", "content": response},
            **{str(status): _error(status) for status in _INFER_ERRORS},
        },
    }


def _error(status: int) -> dict[str, str]:
    return {"$ref": f"#/components/responses/Error{status}"}


def _responses() -> dict[str, Any]:
    """Every error as a response by status, with an example of each kind."""
    responses = {}
    for status in sorted({kind.status for kind in PROBLEM_TYPES}):
        kinds = [kind for kind in PROBLEM_TYPES if kind.status == status]
        examples = {kind.slug: {"summary": kind.meaning, "value": kind.document(kind.example)} for kind in kinds}
        responses[f"Error{status}"] = {
            "description": "; ".join(kind.title for kind in kinds),
            "content": {MEDIA_TYPE: {"schema": ref("Problem"), "examples": examples}},
        }
    return responses
