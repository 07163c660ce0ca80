"""The requests and answers of the API as pydantic models, which its OpenAPI document is made from.

FastAPI validates and writes the answers of the small routes with them. They also describe ``POST /predict`` and
``…/infer``, which :mod:`inkdigits.server.payloads` and :mod:`inkdigits.server.open_inference` parse: in a tenth of the
time, with errors that name the place. Tests compare the two.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel
from pydantic.json_schema import SkipJsonSchema

from inkdigits.preprocess import SIDE
from inkdigits.server.payloads import PIXEL_NAMES, PIXELS

__all__ = [
    "Body",
    "Health",
    "InferRequest",
    "InferResponse",
    "Live",
    "Model",
    "ModelMetadata",
    "ModelReady",
    "Prediction",
    "Predictions",
    "Problem",
    "Ready",
    "Server",
    "ServerReady",
]


def _plain(schema: dict[str, Any]) -> None:
    """Leave out what pydantic adds and no client needs: titles that repeat names, and defaults of what is absent."""
    schema.pop("title", None)
    for field in schema.get("properties", {}).values():
        field.pop("title", None)
        field.pop("default", None)


class Schema(BaseModel):
    """The base of all."""

    model_config = ConfigDict(json_schema_extra=_plain, protected_namespaces=())


Nothing = SkipJsonSchema[None]  # of a field that may be absent, and is never null
Share = Annotated[float, Field(ge=0, le=1)]
Top = Annotated[int, Field(ge=1, le=10)]
Digit = Annotated[int, Field(ge=0, le=9)]
Level = Annotated[float, Field(ge=0, le=255)]
Flat = Annotated[list[Level], Field(min_length=PIXELS, max_length=PIXELS)]
Counts = list[Annotated[int, Field(ge=-1)]]
_SIDE = Field(min_length=SIDE, max_length=SIDE)
Rows = Annotated[list[Annotated[list[Level], _SIDE]], _SIDE]
SeenRows = Annotated[list[Annotated[list[Annotated[int, Field(ge=0, le=255)]], _SIDE]], _SIDE]
WeightRows = Annotated[list[Annotated[list[Annotated[float, Field(ge=-1, le=1)]], _SIDE]], _SIDE]


# What POST /predict takes


class Pixels(Schema):
    pixels: Flat | Rows = Field(description="0 to 255: in one list, or in rows.")


class PixelRow(RootModel[dict[Annotated[str, Field(pattern=r"^pixel\d{1,3}$")], Level]]):
    model_config = ConfigDict(
        json_schema_extra={
            "description": f"{PIXEL_NAMES[0]} to {PIXEL_NAMES[-1]}, taken by name; other keys are not looked at.",
            "required": list(PIXEL_NAMES),
        }
    )


class ImageText(Schema):
    image: str = Field(
        description="A file as data URL, or in base64 of either alphabet. Addresses are not fetched.",
    )


Anything = Annotated[Any, Field(description="Anything else: it holds its `error`, and the rest is answered.")]


class Instances(Schema):
    instances: list[Flat | Rows | Pixels | PixelRow | ImageText | Anything] = Field(
        min_length=1, description="One image or more; the answer is `predictions`, one for each, in order."
    )


Body = Pixels | PixelRow | ImageText | Instances


# What it answers


class Box(Schema):
    left: float
    top: float
    right: float
    bottom: float


class Likely(Schema):
    digit: Digit
    probability: Share


class Prediction(Schema):
    digit: Digit | None = Field(description="Null for a blank image.")
    confidence: Share = Field(description="Probability of that digit; 0 for a blank image.")
    probabilities: Annotated[list[Share], Field(min_length=10, max_length=10)] = Field(
        description="One for each digit from 0 to 9; they sum to 1."
    )
    is_digit: bool = Field(
        description="Whether the ink looks like a digit at all; always true from a model that cannot tell."
    )
    digit_score: Share | None = Field(
        description="How much it does; null for a blank image, and from a model that cannot tell."
    )
    blank: bool = Field(description="No ink was found.")
    box: Box | None = Field(description="Where the ink was found, in pixels of the image as displayed.")
    polarity: Literal["dark-on-light", "light-on-dark"] | None = Field(
        description="Dark ink on light paper, or light on dark; null when blank."
    )
    model: str = Field(description="Name of the model that answered.")
    image: SeenRows | Nothing = Field(None, description="What the network saw; only with `image=true`.")
    explanation: WeightRows | Nothing = Field(
        None,
        description="How much each part of the ink mattered; only with `explain=true`, and not for a blank image.",
    )
    top: list[Likely] | Nothing = Field(
        None, description="The likeliest digits, best first; only with `top`, and empty for a blank image."
    )


class Problem(Schema):
    """RFC 9457 problem details."""

    type: str = Field(description="Names the kind of error.", json_schema_extra={"format": "uri-reference"})
    title: str = Field(description="The kind in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What happened, the value seen, and what is allowed.")
    error: str | Nothing = Field(None, description="The detail again; only under `/v2`, whose protocol asks so.")


_NAME = Field(description="File name, field name, or place in `instances`.")


class NamedPrediction(Prediction):
    name: str = _NAME


class NamedProblem(Schema):
    name: str = _NAME
    error: Problem


class Predictions(Schema):
    predictions: list[NamedPrediction | NamedProblem]


# What the small routes answer


class Health(Schema):
    status: Literal["ok"]


class Ready(Schema):
    status: Literal["ready"]
    model: str


class Model(Schema):
    name: str
    version: str = Field(description="The first letters of the hash.")
    sha256: str = Field(description="Of the model's file.")
    metrics: dict[str, Any] = Field(description="Measured figures by data set.")
    card: str = Field(description="Address of the model card, relative to this one.")
    network: str | None
    parameters: int | None
    created: str | None
    temperature: float
    threshold: float | None
    normalisation: str
    inkdigits: str


# The Open Inference Protocol's


class Server(Schema):
    name: str
    version: str
    extensions: list[str]


class Live(Schema):
    live: Literal[True]


class ServerReady(Schema):
    ready: Literal[True]


class ModelReady(Schema):
    name: str
    ready: Literal[True]


class TensorMetadata(Schema):
    name: str
    datatype: str
    shape: Counts


class ModelMetadata(Schema):
    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


Values = Annotated[list[Any], Field(description="The tensor's values, flat or as lists in lists.")]
Datatype = Literal[
    "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES"
]


class InputParameters(Schema):
    binary_data_size: Annotated[int, Field(ge=0)] | Nothing = None


class Input(Schema):
    datatype: Datatype
    shape: list[Annotated[int, Field(ge=1)]] = Field(min_length=1, max_length=4)
    name: str | Nothing = None
    data: Values | Nothing = None
    parameters: InputParameters | Nothing = None


class OutputParameters(Schema):
    binary_data: bool | Nothing = None


class WantedOutput(Schema):
    name: Literal["digit", "confidence", "probabilities", "is_digit"]
    parameters: OutputParameters | Nothing = None


class RequestParameters(Schema):
    """`binary_data_output`; others are passed over."""

    binary_data_output: bool | Nothing = None


class InferRequest(Schema):
    inputs: list[Input] = Field(
        min_length=1,
        max_length=1,
        description=(
            "One tensor of images, under any name. Its numbers are 0 to 255, of shape [N, 28, 28], [N, 784], "
            "[N, 1, 28, 28] or [N, 28, 28, 1]; or it is BYTES of shape [N] or [N, 1]: image files, in JSON as base64."
        ),
    )
    id: str | Nothing = Field(None, description="Comes back in the answer.")
    outputs: list[WantedOutput] | Nothing = Field(
        None, description="Which outputs are wanted, each once; all if left out."
    )
    parameters: RequestParameters | Nothing = None


class Output(TensorMetadata):
    data: Values


class InferResponse(Schema):
    model_name: str
    model_version: str
    outputs: list[Output]
    id: str | Nothing = None
