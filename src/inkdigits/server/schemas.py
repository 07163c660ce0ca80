"""The API's description: an OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.1), written by hand.

Its limits come from the settings, its errors from :mod:`inkdigits.server.problems`, and its example digit is drawn by
code, so that every example request really gets the example answer's digit.
"""

from __future__ import annotations

import io
from base64 import b64encode
from typing import Any

import numpy as np
from PIL import Image

import inkdigits
from inkdigits.image import NORMALISATION_VERSION, SIDE, normalise
from inkdigits.recognizer import Recognizer
from inkdigits.server.inputs import PIXEL_NAMES
from inkdigits.server.known import DIGIT, known_digit
from inkdigits.server.problems import KINDS, MEDIA_TYPE, NOT_AN_IMAGE, NOT_READY
from inkdigits.settings import Settings

__all__ = ["about", "openapi"]

_PREDICT_ERRORS = (400, 405, 413, 415, 422, 500)
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_CURL = """\
# an image file
curl --data-binary @digit.png -H 'Content-Type: image/png' {url}/predict

# several files at once, whatever the fields are called
curl -F a=@seven.jpg -F b=@nine.webp {url}/predict

# 784 numbers, row by row
curl --json '{{"pixels": [0, 0, …, 0]}}' {url}/predict

# with what the network saw, 28 rows of 0 to 255
curl --data-binary @digit.png '{url}/predict?image=true&explain=true'
"""
_PYTHON = """\
import json, pathlib, urllib.request

image = pathlib.Path("digit.png").read_bytes()
request = urllib.request.Request("{url}/predict", image, {{"Content-Type": "image/png"}})
answer = json.load(urllib.request.urlopen(request))
print(answer["digit"], answer["confidence"])
"""
_JAVASCRIPT = """\
const answer = await fetch("{url}/predict", {{ method: "POST", body: file }}).then((r) => r.json());
console.log(answer.digit, answer.confidence);
"""


def openapi(settings: Settings, recognizer: Recognizer) -> dict[str, Any]:
    """The OpenAPI document of a server with these settings and this model, whose own answers are the examples."""
    return {
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
            "/health": {"get": _get("health", "Whether the process runs", "Health", {"status": "ok"})},
            "/ready": {"get": _ready(recognizer.model.name)},
        },
        "components": {"schemas": _schemas(), "responses": _responses()},
    }


def about(recognizer: Recognizer) -> dict[str, Any]:
    """What ``GET /model`` tells of the model that answers."""
    model = recognizer.model
    return {
        "name": model.name,
        "sha256": model.sha256,
        "network": model.entry.get("network"),
        "parameters": model.entry.get("parameters"),
        "created": model.entry.get("created"),
        "metrics": dict(model.metrics),
        "temperature": model.temperature,
        "threshold": model.threshold,
        "normalisation": NORMALISATION_VERSION,
        "inkdigits": inkdigits.__version__,
    }


def _predict(settings: Settings, recognizer: Recognizer) -> dict[str, Any]:
    url = f"http://localhost:{settings.port}"
    model = {"model": recognizer.model.name}
    one = {**recognizer.predict(known_digit()).to_dict(), **model}
    blank = {**recognizer.predict(Image.new("L", (SIDE, SIDE), 255)).to_dict(), **model}
    broken = NOT_AN_IMAGE.document(NOT_AN_IMAGE.example)
    several = {"predictions": [{"name": "three.png", **one}, {"name": "notes.pdf", "error": broken}]}
    return {
        "operationId": "predict",
        "summary": "Read the digit in one image, or in several",
        "description": (
            "The body is the image itself, multipart files, or JSON numbers. One image gives one answer; several give "
            "`predictions` in order, where one that cannot be read holds its `error` and the rest are answered. "
            "A blank image is an answer, not an error: its `digit` is null. "
            f"Read are PNG, JPEG, GIF (first frame), WebP, BMP and TIFF, up to {settings.max_bytes:,} bytes a request, "
            f"{settings.max_pixels:,} pixels an image and {settings.max_files:,} images a request."
        ),
        "parameters": [
            {
                "name": "image",
                "in": "query",
                "description": "Also return what the network saw: 28 rows of 28 numbers, 0 for paper to 255 for ink.",
                "schema": {"type": "boolean", "default": False},
            },
            {
                "name": "explain",
                "in": "query",
                "description": (
                    "Also return how much each part of the ink mattered for the digit: 28 rows of 28 numbers from -1 "
                    "to 1, where negative spoke against it."
                ),
                "schema": {"type": "boolean", "default": False},
            },
        ],
        "requestBody": {"required": True, "content": _request_content()},
        "responses": {
            "200": {
                "description": "What was read",
                "content": {
                    "application/json": {
                        "schema": {"oneOf": [_ref("Prediction"), _ref("Predictions")]},
                        "examples": {
                            "one": {"summary": "One image", "value": one},
                            "several": {"summary": "Several images, one of them broken", "value": several},
                            "blank": {"summary": "A blank image", "value": blank},
                        },
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


def _request_content() -> dict[str, Any]:
    buffer = io.BytesIO()
    known_digit().save(buffer, "PNG", optimize=True)
    picture = b64encode(buffer.getvalue()).decode()
    pixels: list[int] = np.rint(normalise(known_digit()).image * 255).astype(int).ravel().tolist()
    binary = {"description": "The file's bytes.", "contentMediaType": "image/png"}
    example = {"summary": f"A drawn {DIGIT}, shown in base64", "value": picture}
    return {
        "image/*": {"schema": binary, "examples": {"png": example}},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "description": "One or more files, under any field names.",
                "additionalProperties": {"type": "array", "items": binary},
            },
            "examples": {"files": {"summary": "One file, shown in base64", "value": {"files": [picture]}}},
        },
        "application/json": {
            "schema": {"oneOf": [_ref("Pixels"), _ref("PixelRow")]},
            "examples": {
                "pixels": {"summary": "784 numbers, row by row", "value": {"pixels": pixels}},
                "pixel0": {
                    "summary": "784 numbers by name, as a row of Kaggle's files",
                    "value": dict(zip(PIXEL_NAMES, pixels, strict=True)),
                },
            },
        },
        "application/octet-stream": {"schema": binary, "examples": {"png": example}},
    }


def _get(name: str, summary: str, schema: str, example: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": _ref(schema), "examples": {name: {"value": example}}}}
    return {"operationId": name, "summary": summary, "responses": {"200": {"description": summary, "content": content}}}


def _ready(model: str) -> dict[str, Any]:
    operation = _get("ready", "Whether a known digit was read right", "Ready", {"status": "ready", "model": model})
    operation["responses"][str(NOT_READY.status)] = _error(NOT_READY.status)
    return operation


def _error(status: int) -> dict[str, str]:
    return {"$ref": f"#/components/responses/Error{status}"}


def _responses() -> dict[str, Any]:
    """Every error as a response by status, with an example of each kind."""
    responses = {}
    for status in sorted({kind.status for kind in KINDS}):
        kinds = [kind for kind in KINDS if kind.status == status]
        examples = {kind.slug: {"summary": kind.meaning, "value": kind.document(kind.example)} for kind in kinds}
        responses[f"Error{status}"] = {
            "description": "; ".join(kind.title for kind in kinds),
            "content": {MEDIA_TYPE: {"schema": _ref("Problem"), "examples": examples}},
        }
    return responses


def _schemas() -> dict[str, Any]:
    digit = {"type": ["integer", "null"], "minimum": 0, "maximum": 9, "description": "Null for a blank image."}
    level = {"type": "number", "minimum": 0, "maximum": 255}
    prediction = {
        "digit": digit,
        "confidence": {**_SHARE, "description": "Probability of that digit; 0 for a blank image."},
        "probabilities": {
            "type": "array",
            "items": _SHARE,
            "minItems": 10,
            "maxItems": 10,
            "description": "One for each digit from 0 to 9; they sum to 1.",
        },
        "is_digit": {
            "type": "boolean",
            "description": "Whether the ink looks like a digit at all; always true from a model that cannot tell.",
        },
        "digit_score": {
            "oneOf": [_SHARE, {"type": "null"}],
            "description": "How much it does; null for a blank image, and from a model that cannot tell.",
        },
        "blank": {"type": "boolean", "description": "No ink was found."},
        "box": {
            "oneOf": [_ref("Box"), {"type": "null"}],
            "description": "Where the ink was found, in pixels of the image as displayed.",
        },
        "polarity": {
            "enum": ["dark-on-light", "light-on-dark", None],
            "description": "Dark ink on light paper, or light on dark; null when blank.",
        },
        "model": {"type": "string", "description": "Name of the model that answered."},
    }
    side = {"minItems": SIDE, "maxItems": SIDE}
    seen = {
        "type": "array",
        **side,
        "items": {"type": "array", **side, "items": {"type": "integer", "minimum": 0, "maximum": 255}},
        "description": "What the network saw; only with `image=true`.",
    }
    mattered = {
        "type": "array",
        **side,
        "items": {"type": "array", **side, "items": {"type": "number", "minimum": -1, "maximum": 1}},
        "description": "How much each part of the ink mattered; only with `explain=true`, and not for a blank image.",
    }
    named = {"name": {"type": "string", "description": "File name, or field name where there is none."}}
    return {
        "Prediction": _object(prediction, {"image": seen, "explanation": mattered}),
        "Predictions": _object(
            {
                "predictions": {
                    "type": "array",
                    "items": {
                        "oneOf": [
                            {"allOf": [_ref("Prediction"), _object(named)]},
                            _object({**named, "error": _ref("Problem")}),
                        ]
                    },
                }
            }
        ),
        "Pixels": _object(
            {"pixels": {"type": "array", "items": level, "minItems": SIDE * SIDE, "maxItems": SIDE * SIDE}}
        ),
        "PixelRow": {
            "type": "object",
            "description": f"{PIXEL_NAMES[0]} to {PIXEL_NAMES[-1]}, taken by name; other keys are not looked at.",
            "patternProperties": {r"^pixel\d{1,3}$": level},
            "required": list(PIXEL_NAMES),
        },
        "Box": _object({edge: {"type": "number"} for edge in ("left", "top", "right", "bottom")}),
        "Model": _object(
            {"name": {"type": "string"}, "sha256": {"type": "string"}, "metrics": {"type": "object"}},
            {
                "network": {"type": ["string", "null"]},
                "parameters": {"type": ["integer", "null"]},
                "created": {"type": ["string", "null"]},
                "temperature": {"type": "number"},
                "normalisation": {"type": "string"},
                "inkdigits": {"type": "string"},
            },
        ),
        "Health": _object({"status": {"const": "ok"}}),
        "Ready": _object({"status": {"const": "ready"}, "model": {"type": "string"}}),
        "Problem": {
            **_object(
                {
                    "type": {"type": "string", "format": "uri-reference", "description": "Names the kind of error."},
                    "title": {"type": "string", "description": "The kind in words."},
                    "status": {"type": "integer", "description": "The HTTP status."},
                    "detail": {"type": "string", "description": "What happened, the value seen, and what is allowed."},
                }
            ),
            "description": "RFC 9457 problem details.",
        },
    }


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "object", "properties": {**required, **(optional or {})}, "required": list(required)}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
