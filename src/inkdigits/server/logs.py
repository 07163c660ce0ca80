"""What the server logs: lines of text or of JSON on standard error. Never an image, a key or a body."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import orjson

from inkdigits.settings import Settings

__all__ = ["REQUESTS", "config", "wants_requests"]

REQUESTS = "inkdigits.requests"  # the logger of one line a request


class JsonLines(logging.Formatter):
    """A JSON object a line: time, level, logger, message, and what the line's ``extra={"fields": …}`` holds."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def wants_requests(settings: Settings) -> bool:
    """Whether each request is logged."""
    return settings.log_requests == "on" or settings.log_level == "debug"


def config(settings: Settings) -> dict[str, Any]:
    """The configuration of :mod:`logging`. Below debug, uvicorn speaks up only when something is wrong."""
    level = settings.log_level
    server = "DEBUG" if level == "debug" else "WARNING" if level == "info" else level.upper()
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "text": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
            "json": {"()": JsonLines},
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": settings.log_format}},
        "loggers": {
            "inkdigits": {"handlers": ["stderr"], "level": level.upper()},
            REQUESTS: {"handlers": ["stderr"], "level": "INFO", "propagate": False},
            "uvicorn.error": {"handlers": ["stderr"], "level": server},
            # Says in the log what the client is told in its answer.
            "python_multipart": {"level": "ERROR"},
        },
    }
