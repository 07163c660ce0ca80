"""The FastAPI application of one model: the routes of the API and their OpenAPI description.

``POST /predict``, ``/read`` and ``…/infer`` are separate ASGI applications: they limit what they read, accept many body
formats, and take a fifth of the time that FastAPI's parsing takes. They are described here like FastAPI's own
operations, by models and parameters.
"""
# Annotations are not postponed: FastAPI could not resolve names that are local to a function.

from collections.abc import Callable, Mapping, Sequence
from inspect import cleandoc
from typing import Annotated, Any, Literal

import orjson
from fastapi import Body, Depends, FastAPI, Path, Query, Request, Response, Security
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from fastapi.telemetry import TelemetryConfig
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from inkdigits.reading import Layout
from inkdigits.recognizer import Recognizer
from inkdigits.server import open_inference as oip
from inkdigits.server.feedback import Feedback
from inkdigits.server.form import on_http
from inkdigits.server.http import schemas
from inkdigits.server.http.feedback_docs import Receipt, correct_described
from inkdigits.server.http.openapi import openapi, ref_errors
from inkdigits.server.http.problems import HANDLERS, PROTOCOL, not_ready
from inkdigits.server.http.responses import FRESH, JSON, Answer
from inkdigits.server.model_info import CARD, about, version_of
from inkdigits.server.pages import card, reference
from inkdigits.server.predict import Predict
from inkdigits.server.read import MAX_ALTERNATIVES, MAX_LENGTH, Read
from inkdigits.server.trial import Trial
from inkdigits.settings import Settings

__all__ = ["api"]

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

# FastAPI would trace requests, including queries and stack traces, with any provider of the process, and export them as
# the environment says. Only inkdigits.server.observability.tracing traces this service.
NO_TELEMETRY = TelemetryConfig(tracing=False, metrics=False, logs=False, auto_configure=False)
PREDICTION_ID = "Also return a `prediction_id`, with which `POST /feedback` says whether the answer is right."
FEEDBACK_ERRORS = (403, 409, 410)
READING_ERRORS = (400, 401, 405, 408, 413, 415, 422, 429, 431, 500, 501, 503)


def predict_described(
    body: Annotated[schemas.Body, Body()],
    image: Annotated[
        bool, Query(description="Also return what the network saw: 28 rows of 28 numbers, 0 for paper to 255 for ink.")
    ] = False,
    explain: Annotated[
        bool,
        Query(
            description="Also return how much each part of the ink mattered for the digit: 28 rows of 28 numbers from "
            "-1 to 1; negative values are evidence against the digit."
        ),
    ] = False,
    top: Annotated[
        schemas.Top | schemas.Nothing,
        Query(description="Also return this many of the most likely digits, best first."),
    ] = None,
    feedback: Annotated[bool, Query(description=PREDICTION_ID)] = False,
) -> None:
    """Read the digit in one image, or in several"""


def read_described(
    body: Annotated[schemas.ReadBody, Body()],
    layout: Annotated[
        Layout,
        Query(
            description="Where the numbers are. `auto` finds out; `line` is one number, whatever the gaps between its "
            "digits; `lines` are numbers in lines, even where the image looks like one digit; `boxes` are printed "
            "boxes with one digit each; `grid` is a printed table or sudoku, with a number in each cell."
        ),
    ] = "auto",
    length: Annotated[
        Annotated[int, Field(ge=1, le=MAX_LENGTH)] | schemas.Nothing,
        Query(description="Number of digits of each number, such as 8 for a code."),
    ] = None,
    pattern: Annotated[
        Annotated[str, Field(pattern=r"^[d.,-]+$", max_length=MAX_LENGTH)] | schemas.Nothing,
        Query(
            description="What each number looks like: `d` for a digit, and `.`, `,` and `-` for themselves, such as "
            "`dd.dd.dddd`."
        ),
    ] = None,
    decimal: Annotated[
        Literal[".", ","] | schemas.Nothing,
        Query(description="The decimal sign, where `1.420` would be ambiguous."),
    ] = None,
    alternatives: Annotated[
        Annotated[int, Field(ge=0, le=MAX_ALTERNATIVES)],
        Query(description="Also return this many other texts that each number may be, the most likely first."),
    ] = 0,
    feedback: Annotated[bool, Query(description=PREDICTION_ID)] = False,
) -> None:
    """Read the numbers in one image or drawing, or in several"""


def infer_described(body: Annotated[schemas.InferRequest, Body()]) -> None:
    """Read the digits in a tensor of images

    The outputs are `digit` (-1 for a blank image), `confidence`, `probabilities` and `is_digit`. With the header
    `Inference-Header-Content-Length` the tensor follows the JSON as bytes. With `binary_data_output`, or an output's
    `binary_data`, the outputs follow the JSON of the answer as bytes.
    """


_FRESH = [(b"cache-control", b"no-store")]  # Answer has the other header


async def _fresh(response: Response) -> None:
    response.headers.update(FRESH)


def api(
    settings: Settings,
    recognizer: Recognizer,
    predict: Predict,
    read: Read,
    infer: oip.Infer,
    fault: Callable[[], str],
    feedback: Feedback | None = None,
    trial: Trial | None = None,
    **options: Any,
) -> FastAPI:
    """Return the application that serves a model.

    Args:
        predict: answers ``POST /predict``.
        read: answers ``POST /read``.
        infer: answers ``POST …/infer``.
        fault: returns why the server is not ready now; "" if it is.
        feedback: answers ``POST /feedback`` and ``DELETE /feedback/{id}``; None if no corrections are kept.
        trial: of another model; None if there is none.
        options: further arguments of FastAPI.
    """
    handlers: dict[Any, Any] = {**HANDLERS, HTTPException: on_http}
    app = FastAPI(
        openapi_url=None,  # served with the page's headers by inkdigits.server.pages
        redirect_slashes=False,  # a redirect would have the wrong scheme behind a TLS proxy
        exception_handlers=handlers,
        telemetry=NO_TELEMETRY,
        **options,
    )
    keys = [Security(HTTPBearer(scheme_name="key"))] if settings.api_keys else []

    def answered_by(answers: ASGIApp) -> None:
        """Have an application answer the last operation, which only describes it then."""
        route = app.routes[-1]
        assert isinstance(route, APIRoute)
        route.app = answers

    def get(path: str, name: str, summary: str, *errors: int, checks: Sequence[Any] = (), **more: Any) -> Decorator:
        return app.get(
            path,
            operation_id=name,
            summary=summary,
            response_description=summary,
            responses=ref_errors(*errors),
            dependencies=[*checks, Depends(_fresh)],
            **more,
        )

    def constant(path: str, name: str, summary: str, answer: BaseModel) -> None:
        """Add an operation whose answer never changes: FastAPI describes and routes it, and does no more."""

        async def endpoint() -> BaseModel:
            return answer

        get(path, name, summary, response_model=type(answer))(endpoint)
        answered_by(Answer(200, JSON, answer.model_dump_json().encode(), _FRESH).__call__)

    def post(
        path: str,
        name: str,
        answers: ASGIApp,
        described: Callable[..., None],
        model: Any,
        returned: str,
        *errors: int,
        checks: Sequence[Any] = (),
        more: Mapping[int | str, dict[str, Any]] | None = None,
    ) -> None:
        """Add an ASGI application, described by a function's parameters and docstring."""
        summary, _, description = cleandoc(described.__doc__ or "").partition("\n\n")
        app.add_api_route(
            path,
            described,
            methods=["POST"],
            operation_id=name,
            summary=summary,
            description=description.replace("\n", " "),
            response_model=model,
            response_description=returned,
            responses={**ref_errors(*errors, *READING_ERRORS), **(more or {})},
            dependencies=[*checks, *keys],
        )
        answered_by(answers)

    found = "The predictions"
    post("/predict", "predict", predict, predict_described, schemas.Prediction | schemas.Predictions, found)
    post("/read", "read", read, read_described, schemas.Reading | schemas.Readings, "The numbers")

    if feedback:
        kept = ref_errors(*FEEDBACK_ERRORS) | {201: {"model": Receipt, "description": "The correction is kept"}}
        again = "The correction was kept already"
        post("/feedback", "feedback", feedback, correct_described, Receipt, again, more=kept)
        the_id = Path(description="The `id` from the answer.", json_schema_extra={"maxLength": 64})

        @app.delete(
            "/feedback/{id}",
            operation_id="forget",
            summary="Remove a correction for good",
            description="With its picture, what was read in it, and all other corrections of the same answer.",
            response_description="It is removed",
            status_code=204,
            responses=ref_errors(401, 404, 405, 429, 503),
            dependencies=[*keys, Depends(_fresh)],
        )
        async def forget(id: str = the_id) -> Response:
            await feedback.forget(id)
            return Response(status_code=204, headers=FRESH)

    @get("/model", "model", "The model in use", response_model=schemas.Model)
    async def model() -> Response:
        # Not validated by schemas.Model: a registry written by hand may have other values.
        answer = {**about(recognizer), "feedback": feedback is not None, **({"trial": trial.about()} if trial else {})}
        return Response(orjson.dumps(answer), 200, FRESH, "application/json")

    what = "Intended use, accuracy and training data of the model. Not every model has a card."
    about_card = "The model card"
    get(f"/{CARD}", "model-card", about_card, 404, response_class=HTMLResponse, description=what)(card(recognizer))

    constant("/health", "health", "Whether the process runs", schemas.Health(status="ok"))

    def check_ready() -> None:
        if reason := fault():
            raise not_ready(reason)

    known = "Whether the server can answer: known digits are read correctly"

    @get("/ready", "ready", known, 503)
    async def ready() -> schemas.Ready:
        check_ready()
        return schemas.Ready(status="ready", model=recognizer.model.name)

    @get(PROTOCOL, "v2", "Open Inference Protocol: server metadata")
    async def server() -> schemas.Server:
        return schemas.Server(**oip.server_metadata())

    constant(f"{PROTOCOL}/health/live", "v2-live", "Whether the process runs", schemas.Live(live=True))

    @get(f"{PROTOCOL}/health/ready", "v2-ready", known, 503)
    async def server_ready() -> schemas.ServerReady:
        check_ready()
        return schemas.ServerReady(ready=True)

    the_name = Path(description="The model's name.", json_schema_extra={"enum": [recognizer.model.name]})
    its_version = Path(description="Its version.", json_schema_extra={"enum": [version_of(recognizer)]})

    async def named(request: Request, name: str = the_name) -> None:
        oip.check_model(request.scope, recognizer)

    async def versioned(request: Request, name: str = the_name, version: str = its_version) -> None:
        oip.check_model(request.scope, recognizer)

    for path, suffix, check in (("{name}", "", named), ("{name}/versions/{version}", "-version", versioned)):
        path, checks = f"{PROTOCOL}/models/{path}", [Depends(check)]

        @get(path, f"v2-model{suffix}", "Inputs and outputs of the model", 404, checks=checks)
        async def metadata() -> schemas.ModelMetadata:
            return schemas.ModelMetadata(**oip.metadata(recognizer))

        @get(f"{path}/ready", f"v2-model-ready{suffix}", known, 404, 503, checks=checks)
        async def model_ready() -> schemas.ModelReady:
            check_ready()
            return schemas.ModelReady(name=recognizer.model.name, ready=True)

        post(
            f"{path}/infer",
            f"v2-infer{suffix}",
            infer,
            infer_described,
            schemas.InferResponse,
            found,
            404,
            checks=checks,
        )

    document = openapi(app.routes, settings, recognizer)
    for route in app.routes:  # answer HEAD as Starlette's own routes do; the document has GET only
        if isinstance(route, APIRoute) and "GET" in (route.methods or ()):
            route.methods = {"GET", "HEAD"}
    app.routes.extend(reference(document))
    return app
