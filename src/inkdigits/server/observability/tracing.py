"""Optional OpenTelemetry traces: a span for each request, which continues the client's ``traceparent``.

Needs ``pip install 'inkdigits[otel]'``. OpenTelemetry's environment variables say where spans are sent
(https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from starlette.types import Scope

import inkdigits
from inkdigits.errors import SettingError
from inkdigits.server.observability.metrics import route_of, shown_path
from inkdigits.settings import Settings

__all__ = ["Tracer", "tracer_of"]


def tracer_of(settings: Settings) -> Tracer | None:
    """Return a tracer if the settings enable tracing, else None.

    Raises:
        SettingError: tracing is enabled, but its packages are not installed.
    """
    if settings.tracing == "off":
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SettingError(
            f"tracing (INKDIGITS_TRACING) is {settings.tracing}, which needs pip install 'inkdigits[otel]': {error}"
        ) from None
    provider = TracerProvider(resource=Resource.create({"service.name": "inkdigits"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracer(provider)


class Tracer:
    """Creates a span for each request.

    Args:
        provider: an OpenTelemetry TracerProvider.
    """

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("inkdigits", inkdigits.__version__)

    @contextmanager
    def request(self, scope: Scope, request_id: bytes) -> Iterator[Callable[[int], None]]:
        """Create the span of a request by OpenTelemetry's HTTP conventions, without the request's content.

        Yields:
            A function that records the status of the answer; 5xx marks the span as an error.
        """
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind, StatusCode

        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        route = route_of(scope["path"])
        attributes = {
            "http.request.method": scope["method"],
            "http.route": route,
            "url.path": shown_path(scope["path"]),
            "inkdigits.request_id": request_id.decode("ascii"),
        }
        name, context = f"{scope['method']} {route}", extract(carrier)
        with self._tracer.start_as_current_span(name, context, SpanKind.SERVER, attributes) as span:

            def end(status: int) -> None:
                span.set_attribute("http.response.status_code", status)
                if status >= 500:
                    span.set_status(StatusCode.ERROR)

            yield end

    def close(self) -> None:
        """Send the remaining spans."""
        self._provider.shutdown()
