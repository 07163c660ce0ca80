"""The shapes of what the API takes and gives: the schemas of its OpenAPI document."""

from __future__ import annotations

from typing import Any

from inkdigits.image import SIDE
from inkdigits.server.payloads import PIXEL_NAMES, PIXELS

__all__ = ["ref", "schemas"]

_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_LEVEL = {"type": "number", "minimum": 0, "maximum": 255}
_SIDE = {"minItems": SIDE, "maxItems": SIDE}
# Numbers of an image: in one list, or in rows.
_FLAT = {"type": "array", "items": _LEVEL, "minItems": PIXELS, "maxItems": PIXELS}
_ROWS = {"type": "array", **_SIDE, "items": {"type": "array", **_SIDE, "items": _LEVEL}}
_NAMES = {"type": "array", "items": {"type": "string"}}
_COUNTS = {"type": "array", "items": {"type": "integer", "minimum": -1}}


def schemas() -> dict[str, Any]:
    """Every schema by its name."""
    digit = {"type": ["integer", "null"], "minimum": 0, "maximum": 9, "description": "Null for a blank image."}
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
            "oneOf": [ref("Box"), {"type": "null"}],
            "description": "Where the ink was found, in pixels of the image as displayed.",
        },
        "polarity": {
            "enum": ["dark-on-light", "light-on-dark", None],
            "description": "Dark ink on light paper, or light on dark; null when blank.",
        },
        "model": {"type": "string", "description": "Name of the model that answered."},
    }
    seen = {
        "type": "array",
        **_SIDE,
        "items": {"type": "array", **_SIDE, "items": {"type": "integer", "minimum": 0, "maximum": 255}},
        "description": "What the network saw; only with `image=true`.",
    }
    mattered = {
        "type": "array",
        **_SIDE,
        "items": {"type": "array", **_SIDE, "items": {"type": "number", "minimum": -1, "maximum": 1}},
        "description": "How much each part of the ink mattered; only with `explain=true`, and not for a blank image.",
    }
    top = {
        "type": "array",
        "items": _object({"digit": {"type": "integer", "minimum": 0, "maximum": 9}, "probability": _SHARE}),
        "description": "The likeliest digits, best first; only with `top`, and empty for a blank image.",
    }
    named = {"name": {"type": "string", "description": "File name, field name, or place in `instances`."}}
    return {
        "Prediction": _object(prediction, {"image": seen, "explanation": mattered, "top": top}),
        "Predictions": _object(
            {
                "predictions": {
                    "type": "array",
                    "items": {
                        "oneOf": [
                            {"allOf": [ref("Prediction"), _object(named)]},
                            _object({**named, "error": ref("Problem")}),
                        ]
                    },
                }
            }
        ),
        "Pixels": _object({"pixels": {"oneOf": [_FLAT, _ROWS], "description": "0 to 255: in one list, or in rows."}}),
        "PixelRow": {
            "type": "object",
            "description": f"{PIXEL_NAMES[0]} to {PIXEL_NAMES[-1]}, taken by name; other keys are not looked at.",
            "patternProperties": {r"^pixel\d{1,3}$": _LEVEL},
            "required": list(PIXEL_NAMES),
        },
        "ImageText": _object(
            {
                "image": {
                    "type": "string",
                    "description": "A file as data URL, or in base64 of either alphabet. Addresses are not fetched.",
                }
            }
        ),
        "Instances": _object(
            {
                "instances": {
                    "type": "array",
                    "items": {
                        "anyOf": [
                            *(_FLAT, _ROWS, *map(ref, ("Pixels", "PixelRow", "ImageText"))),
                            {"description": "Anything else: it holds its `error`, and the rest is answered."},
                        ]
                    },
                    "minItems": 1,
                    "description": "One image or more; the answer is `predictions`, one for each, in order.",
                }
            }
        ),
        "Box": _object({edge: {"type": "number"} for edge in ("left", "top", "right", "bottom")}),
        "Model": _object(
            {
                "name": {"type": "string"},
                "version": {"type": "string", "description": "The first letters of the hash."},
                "sha256": {"type": "string", "description": "Of the model's file."},
                "metrics": {"type": "object", "description": "Measured figures by data set."},
                "card": {"type": "string", "description": "Address of the model card, relative to this one."},
            },
            {
                "network": {"type": ["string", "null"]},
                "parameters": {"type": ["integer", "null"]},
                "created": {"type": ["string", "null"]},
                "temperature": {"type": "number"},
                "threshold": {"type": ["number", "null"]},
                "normalisation": {"type": "string"},
                "inkdigits": {"type": "string"},
            },
        ),
        "Health": _object({"status": {"const": "ok"}}),
        "Ready": _object({"status": {"const": "ready"}, "model": {"type": "string"}}),
        **_protocol(),
        "Problem": {
            **_object(
                {
                    "type": {"type": "string", "format": "uri-reference", "description": "Names the kind of error."},
                    "title": {"type": "string", "description": "The kind in words."},
                    "status": {"type": "integer", "description": "The HTTP status."},
                    "detail": {"type": "string", "description": "What happened, the value seen, and what is allowed."},
                },
                {
                    "error": {
                        "type": "string",
                        "description": "The detail again; only under `/v2`, whose protocol asks so.",
                    }
                },
            ),
            "description": "RFC 9457 problem details.",
        },
    }


def _protocol() -> dict[str, Any]:
    """The Open Inference Protocol's."""
    parameters = {
        "type": "object",
        "properties": {"binary_data_output": {"type": "boolean"}},
        "description": "`binary_data_output`; others are passed over.",
    }
    numbers = [
        f"{kind}{bits}" for kind in ("UINT", "INT", "FP") for bits in (8, 16, 32, 64) if (kind, bits) != ("FP", 8)
    ]
    images = {
        "datatype": {"enum": [*numbers, "BYTES"]},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": 4},
    }
    binary = {"type": "object", "properties": {"binary_data_size": {"type": "integer", "minimum": 0}}}
    wanted = {"type": "object", "properties": {"binary_data": {"type": "boolean"}}}
    outputs = {"enum": ["digit", "confidence", "probabilities", "is_digit"]}
    data = {"type": "array", "description": "The tensor's values, flat or as lists in lists."}
    tensor = {"name": {"type": "string"}, "datatype": {"type": "string"}, "shape": _COUNTS}
    about = {"type": "array", "items": _object(tensor)}
    return {
        "Server": _object({"name": {"type": "string"}, "version": {"type": "string"}, "extensions": _NAMES}),
        "Live": _object({"live": {"const": True}}),
        "ServerReady": _object({"ready": {"const": True}}),
        "ModelReady": _object({"name": {"type": "string"}, "ready": {"const": True}}),
        "ModelMetadata": _object(
            {
                "name": {"type": "string"},
                "versions": _NAMES,
                "platform": {"type": "string"},
                "inputs": about,
                "outputs": about,
            }
        ),
        "InferRequest": _object(
            {
                "inputs": {
                    "type": "array",
                    "items": _object(images, {"name": {"type": "string"}, "data": data, "parameters": binary}),
                    "minItems": 1,
                    "maxItems": 1,
                    "description": (
                        "One tensor of images, under any name. Its numbers are 0 to 255, of shape [N, 28, 28], "
                        "[N, 784], [N, 1, 28, 28] or [N, 28, 28, 1]; or it is BYTES of shape [N] or [N, 1]: image "
                        "files, in JSON as base64."
                    ),
                }
            },
            {
                "id": {"type": "string", "description": "Comes back in the answer."},
                "outputs": {
                    "type": "array",
                    "items": _object({"name": outputs}, {"parameters": wanted}),
                    "description": "Which outputs are wanted, each once; all if left out.",
                },
                "parameters": parameters,
            },
        ),
        "InferResponse": _object(
            {
                "model_name": {"type": "string"},
                "model_version": {"type": "string"},
                "outputs": {"type": "array", "items": _object({**tensor, "data": data})},
            },
            {"id": {"type": "string"}},
        ),
    }


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "object", "properties": {**required, **(optional or {})}, "required": list(required)}


def ref(name: str) -> dict[str, str]:
    """A reference to the schema of that name."""
    return {"$ref": f"#/components/schemas/{name}"}
