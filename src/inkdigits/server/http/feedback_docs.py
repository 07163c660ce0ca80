"""Pydantic models and examples of ``POST /feedback``, for the OpenAPI document.

:mod:`inkdigits.server.feedback` parses.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from inkdigits.server.http.schemas import Flat, ImageText, Nothing, Rows, Schema, Strokes

__all__ = ["Correction", "Receipt", "add_examples", "correct_described"]

_LABEL = (
    "What it is: one digit; the text of a number, or of several with blanks or newlines between them; or empty for "
    "an image that is not a digit, or not a number."
)
_KEY = r"^[\w-]{16,64}$"
_CLIENT = r"^[\w-]{8,64}$"


class Correction(Schema):
    key: Annotated[str, Field(pattern=_KEY)] = Field(
        description="Random, such as a UUID. The same body with the same key is kept once, however often it is sent."
    )
    consent: Literal[True] = Field(description="That the writer agrees to have the digits kept.")
    kind: Literal["corrected", "confirmed"] = Field(description="Whether the answer was wrong or right.")
    label: Annotated[str, Field(max_length=200)] = Field(description=_LABEL)
    prediction_id: str | Nothing = Field(
        None, description="Of an answer of the last 24 hours. Of a digit it suffices; a number needs its picture, too."
    )
    image: str | Nothing = Field(None, description=ImageText.model_fields["image"].description)
    pixels: Flat | Rows | Nothing = Field(None, description="0 to 255, in one list or in rows.")
    strokes: list[list[Any]] | Nothing = Field(None, description=Strokes.model_fields["strokes"].description)
    reading: Literal["digit", "number"] | Nothing = Field(
        None,
        description="Which of `/predict` and `/read` answered; by default, a label of several characters is a number.",
    )
    client: Annotated[str, Field(pattern=_CLIENT)] | None = Field(
        None, description="A random id that stays the same for one person; null or absent: none is kept."
    )
    source: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")] | Nothing = Field(
        None, description="What sends it, such as `page`; by default `api`."
    )


class Receipt(Schema):
    id: str = Field(description="It removes the correction: keep it.")
    status: Literal["pending", "held", "accepted", "relabeled", "rejected"] = Field(
        description="Held: it is looked at before it is used."
    )


def correct_described(body: Correction) -> None:
    """Send what a picture really is

    The correction is kept with the picture and with what was answered, but no address and no metadata of the picture.
    The answer comes once it is committed: 201, or 200 where the key was there already. `/predict` and `/read` give
    prediction ids with the option `feedback=true`.
    """


_STROKES = [[[0, 0], [40, 0], [15, 60]]]
_RECEIPT = {"id": "5Y0cXyFZbEoq2mN1RkQd7A", "status": "pending"}
_CURL = """\
# what was answered, and whether that is right
curl --data-binary @digit.png '{url}/predict?feedback=true'
curl -H 'Content-Type: application/json' {url}/feedback -d '{{"key": "b51d2f0e-7c1a-4d36-9a53-0c6f5c3f9a10",
  "consent": true, "kind": "corrected", "label": "7", "prediction_id": "…"}}'

# remove it for good
curl -X DELETE {url}/feedback/5Y0cXyFZbEoq2mN1RkQd7A
"""


def add_examples(operations: dict[str, Any], url: str) -> None:
    """Add examples to the operations of corrections, by their names, if the server keeps any."""
    if "feedback" not in operations:
        return
    operation = operations["feedback"]
    example = {
        "key": "b51d2f0e-7c1a-4d36-9a53-0c6f5c3f9a10",
        "consent": True,
        "kind": "corrected",
        "label": "7",
        "strokes": _STROKES,
    }
    content = operation["requestBody"]["content"]["application/json"]
    content["examples"] = {"strokes": {"summary": "A drawing that was misread", "value": example}}
    for status in ("200", "201"):
        operation["responses"][status]["content"]["application/json"]["examples"] = {"receipt": {"value": _RECEIPT}}
    operation["x-codeSamples"] = [{"lang": "Shell", "label": "curl", "source": _CURL.format(url=url)}]
