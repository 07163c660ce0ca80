"""Pydantic models of the API's requests and answers; the OpenAPI document is generated from them.

FastAPI validates and serializes the answers of the small routes with them. They also describe ``POST /predict``,
``/read`` and ``…/infer``, but :mod:`inkdigits.server.payloads` and :mod:`inkdigits.server.open_inference` parse those,
in a tenth of the time and with errors that name the place. Tests compare the two.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel
from pydantic.json_schema import SkipJsonSchema

from inkdigits.preprocess import SIDE
from inkdigits.preprocess.strokes import MAX_COORDINATE, MAX_POINTS, MAX_STROKES
from inkdigits.server.json_images import PIXEL_NAMES, PIXELS

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
    "ReadBody",
    "Reading",
    "Readings",
    "Ready",
    "Server",
    "ServerReady",
]


def _remove_noise(schema: dict[str, Any]) -> None:
    """Remove titles that repeat names and defaults of absent fields, which pydantic adds and no client needs."""
    schema.pop("title", None)
    for field in schema.get("properties", {}).values():
        field.pop("title", None)
        field.pop("default", None)


class Schema(BaseModel):
    """Base of all models."""

    model_config = ConfigDict(json_schema_extra=_remove_noise, protected_namespaces=())


Nothing = SkipJsonSchema[None]  # of a field that may be absent, and is never null
Share = Annotated[float, Field(ge=0, le=1)]
Top = Annotated[int, Field(ge=1, le=10)]
Value = Annotated[int, Field(ge=0, le=9)]  # of a digit
Level = Annotated[float, Field(ge=0, le=255)]
Flat = Annotated[list[Level], Field(min_length=PIXELS, max_length=PIXELS)]
Counts = list[Annotated[int, Field(ge=-1)]]
_SIDE = Field(min_length=SIDE, max_length=SIDE)
Rows = Annotated[list[Annotated[list[Level], _SIDE]], _SIDE]
SeenRows = Annotated[list[Annotated[list[Annotated[int, Field(ge=0, le=255)]], _SIDE]], _SIDE]
WeightRows = Annotated[list[Annotated[list[Annotated[float, Field(ge=-1, le=1)]], _SIDE]], _SIDE]


# Requests of POST /predict


class Pixels(Schema):
    pixels: Flat | Rows = Field(description="0 to 255, in one list or in rows.")


class PixelRow(RootModel[dict[Annotated[str, Field(pattern=r"^pixel\d{1,3}$")], Level]]):
    model_config = ConfigDict(
        json_schema_extra={
            "description": f"{PIXEL_NAMES[0]} to {PIXEL_NAMES[-1]}, by name; other keys are ignored.",
            "required": list(PIXEL_NAMES),
        }
    )


class ImageText(Schema):
    image: str = Field(
        description="A file as a data URL or in base64, of either alphabet. Addresses are not fetched.",
    )


Anything = Annotated[Any, Field(description="Anything else: its answer is an `error`; the others are predicted.")]


class Instances(Schema):
    instances: list[Flat | Rows | Pixels | PixelRow | ImageText | Anything] = Field(
        min_length=1, description="One image or more; the answer is `predictions`, one for each, in order."
    )


Body = Pixels | PixelRow | ImageText | Instances


# Answers of POST /predict


class Box(Schema):
    left: float
    top: float
    right: float
    bottom: float


class Likely(Schema):
    digit: Value
    probability: Share


_PREDICTION_ID: Any = Field(
    None,
    description="For `POST /feedback`: the answer itself, signed; only with `feedback=true`, and null if the server "
    "keeps no corrections.",
)
_AUDIT: Any = Field(
    None,
    description="Whether it belongs to a random sample: please ask whether it is right; only with `feedback=true`.",
)


class Prediction(Schema):
    digit: Value | None = Field(description="Null for a blank image.")
    confidence: Share = Field(description="Probability of that digit; 0 for a blank image.")
    probabilities: Annotated[list[Share], Field(min_length=10, max_length=10)] = Field(
        description="One for each digit from 0 to 9; they sum to 1."
    )
    is_digit: bool = Field(
        description="Whether the ink looks like a digit at all; always true if the model cannot reject."
    )
    digit_score: Share | None = Field(
        description="Probability that the ink is a digit; null for a blank image, or if the model cannot reject."
    )
    reason: Literal["blank", "several digits", "not a digit", "unclear"] | None = Field(
        description="Why the image is rejected; null if it is accepted. Unclear: more likely a digit than not."
    )
    blank: bool = Field(description="No ink was found.")
    box: Box | None = Field(description="Where the ink was found, in pixels of the image as displayed.")
    polarity: Literal["dark-on-light", "light-on-dark"] | None = Field(
        description="Dark ink on light paper, or light on dark; null when blank."
    )
    model: str = Field(description="Name of the model that answered.")
    is_sure: bool | Nothing = Field(
        None, description="Whether the server's profile promises the digit; only if the server has a profile."
    )
    image: SeenRows | Nothing = Field(None, description="What the network saw; only with `image=true`.")
    explanation: WeightRows | Nothing = Field(
        None,
        description="How much each part of the ink mattered; only with `explain=true`, and not for a blank image.",
    )
    top: list[Likely] | Nothing = Field(
        None, description="The most likely digits, best first; only with `top`, and empty for a blank image."
    )
    prediction_id: str | None = _PREDICTION_ID
    audit: bool | Nothing = _AUDIT


class Problem(Schema):
    """RFC 9457 problem details."""

    type: str = Field(description="Identifies the type of error.", json_schema_extra={"format": "uri-reference"})
    title: str = Field(description="The type in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What happened, the value seen, and what is allowed.")
    error: str | Nothing = Field(None, description="The detail again; only under `/v2`, as its protocol requires.")


_NAME = Field(description="File name, field name, or place in `instances`.")


class NamedPrediction(Prediction):
    name: str = _NAME


class NamedProblem(Schema):
    name: str = _NAME
    error: Problem


class Predictions(Schema):
    predictions: list[NamedPrediction | NamedProblem]


# POST /read

Coordinate = Annotated[float, Field(ge=-MAX_COORDINATE, le=MAX_COORDINATE)]
Point = Annotated[list[Coordinate], Field(min_length=2, max_length=2)]
Stroke = Annotated[list[Point], Field(min_length=1)]


class Strokes(Schema):
    strokes: list[Stroke] = Field(
        max_length=MAX_STROKES,
        description=f"A drawing: strokes of the pen, each a list of points `[x, y]`, x to the right and y down, in any "
        f"unit; at most {MAX_POINTS:,} points. Boxes are in that unit, too. A drawing without strokes is blank.",
    )


class ReadInstances(Schema):
    instances: list[Flat | Rows | Pixels | PixelRow | ImageText | Strokes | Anything] = Field(
        min_length=1, description="One image or drawing or more; the answer is `readings`, one for each, in order."
    )


ReadBody = Pixels | PixelRow | ImageText | Strokes | ReadInstances


class Digit(Schema):
    """A character of a number."""

    char: Literal["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", ".", ",", "-", "?"] = Field(
        description="`?` is ink that is not a digit, point, comma or dash."
    )
    digit: Value | None = Field(description="Null if the character is not a digit.")
    confidence: Share = Field(description="Probability of the character.")
    box: Box = Field(description="Where it is, in pixels of the image as displayed.")
    touching: bool = Field(description="Whether its ink touches that of the character before or after it.")


class Alternative(Schema):
    text: str
    confidence: Share


class Number(Schema):
    text: str = Field(description="As it is written, with zeros in front.")
    value: int | float | None = Field(
        description="Null if the text is ambiguous, as `1.420` is without `decimal`, or if it is rejected."
    )
    confidence: Share = Field(description="Probability that all of the text is right.")
    is_number: bool = Field(description="Whether it is accepted.")
    box: Box = Field(description="Where it is, in pixels of the image as displayed.")
    digits: list[Digit] = Field(description="Each character of the text, in order.")
    alternatives: list[Alternative] = Field(description="Other texts, the most likely first; only with `alternatives`.")


Index = Annotated[int, Field(ge=0)]


class Reading(Schema):
    text: str = Field(description="All numbers: a line for each line, with spaces between numbers; empty when blank.")
    confidence: Share = Field(description="Probability that every number is right; 0 when blank.")
    is_number: bool = Field(description="Whether there are numbers, and each of them is accepted.")
    numbers: list[Number] = Field(description="From top to bottom, and from left to right.")
    lines: list[list[Index]] = Field(description="The numbers of each line, by their indices.")
    table: list[list[Index | None]] | None = Field(
        description="Rows of cells: the index of a number, or null for an empty cell. Null if the image has no table."
    )
    blank: bool = Field(description="No ink was found.")
    polarity: Literal["dark-on-light", "light-on-dark"] | None = Field(
        description="Dark ink on light paper, or light on dark; null when blank."
    )
    model: str = Field(description="Name of the model that answered.")
    prediction_id: str | None = _PREDICTION_ID
    audit: bool | Nothing = _AUDIT


class NamedReading(Reading):
    name: str = _NAME


class Readings(Schema):
    readings: list[NamedReading | NamedProblem]


# Answers of the small routes


class Health(Schema):
    status: Literal["ok"]


class Ready(Schema):
    status: Literal["ready"]
    model: str


class Guarantee(Schema):
    """What the server's profile promises of the digits that are sure."""

    threshold: Share = Field(description="Confidence from which an accepted digit is sure.")
    error: Share = Field(description="Largest share of wrong digits among those that are sure.")
    confidence: Share = Field(description="Probability that this holds.")
    n: int = Field(description="Pictures that the threshold was found with.")
    accepted: int = Field(description="Of them, those that are sure.")
    writers: int | None = Field(description="Who wrote them; null if unknown.")
    created: str


class TrialModel(Schema):
    name: str
    version: str | None
    sha256: str | None = Field(description="Of its file; null if it cannot be loaded.")


class TrialImages(Schema):
    """Images for both models of a trial, by what became of them."""

    agree: int = Field(description="Both accepted the same digit, or both rejected the image.")
    differ: int = Field(description="Both accepted the image, as different digits.")
    reference_only: int = Field(description="Only the reference accepted the image.")
    candidate_only: int = Field(description="Only the candidate accepted the image.")
    failed: int = Field(description="The candidate raised an error.")
    rejected_reference: int
    rejected_candidate: int


class Trial(Schema):
    mode: Literal["shadow", "canary", "watch"]
    state: Literal["running", "ended", "unavailable"]
    reason: str | None = Field(description="Why it ended or never began, or which bound a shadow crosses.")
    candidate: TrialModel = Field(description="The model on trial: in the watch, the one that answers.")
    reference: TrialModel | None = Field(description="The model that it is compared with.")
    shadow_share: float
    canary_share: float
    until: str | None = Field(description="End of the watch.")
    images: TrialImages
    answers: int = Field(description="Requests that were given to the candidate, as the canary.")
    dropped: int = Field(description="Images that were not compared, as too many waited.")


class Model(Schema):
    name: str
    version: str = Field(description="The first characters of the hash.")
    sha256: str = Field(description="Of the model's file.")
    ink_sha256: str = Field(description="Of the network that finds ink.")
    line_sha256: str = Field(description="Of the network that reads numbers.")
    metrics: dict[str, Any] = Field(description="Measurements by data set.")
    card: str = Field(description="Address of the model card, relative to this one.")
    network: str | None
    parameters: int | None
    created: str | None
    temperature: float
    threshold: float | None
    normalisation: str
    inkdigits: str
    guarantee: Guarantee | Nothing = Field(None, description="Only if the server has a profile.")
    feedback: bool = Field(description="Whether the server keeps corrections: `POST /feedback`.")
    trial: Trial | Nothing = Field(None, description="Only if another model reads along, or did.")


# Open Inference Protocol


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


Values = Annotated[list[Any], Field(description="The tensor's values, flat or as nested lists.")]
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
    """`binary_data_output`; others are ignored."""

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
    id: str | Nothing = Field(None, description="Returned in the answer.")
    outputs: list[WantedOutput] | Nothing = Field(None, description="Outputs to return, each once; all by default.")
    parameters: RequestParameters | Nothing = None


class Output(TensorMetadata):
    data: Values


class InferResponse(Schema):
    model_name: str
    model_version: str
    outputs: list[Output]
    id: str | Nothing = None
