"""Logging: lines of text or JSON on standard error, never an image, a key or a body.

A thread writes them. If their reader is slow or has stopped, the server still answers; lines that do not fit into the
queue are dropped and counted. What libraries print to standard error, as libtiff does for a damaged picture, is logged,
too.
"""

from __future__ import annotations

import faulthandler
import logging
import logging.config
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from inkdigits.server.http.problems import shorten
from inkdigits.server.observability.metrics import PATH_OF_FEEDBACK, route_of, shown_path
from inkdigits.settings import Settings

__all__ = ["Log", "log_request", "wants_requests"]

REQUESTS = "inkdigits.requests"  # the logger with one line per request
STDERR = 2
QUEUE = 1 << 20  # characters of waiting lines; further lines are dropped
CHUNK = 4096  # bytes per write: the most that processes can write to one pipe without mixing lines (PIPE_BUF)
DRAIN_SECONDS = 1  # to write the waiting lines when the process ends
# Lines of libraries logged per period: clients can cause them with damaged pictures.
STRAY_LINES, STRAY_SECONDS = 20, 10
STRAY_BYTES = 1000  # of such a line

log = logging.getLogger("inkdigits")
stray = logging.getLogger("inkdigits.stderr")
requests = logging.getLogger(REQUESTS)


class JsonLines(logging.Formatter):
    """Formats a record as a JSON object: time, level, logger, message, and the items of ``extra={"fields": …}``."""

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
    """Return whether to log each request."""
    return settings.log_requests == "on" or settings.log_level == "debug"


def log_request(scope: Mapping[str, Any], status: int, seconds: float, request_id: bytes) -> None:
    """Log an answered request; of a correction, neither its address nor its id."""
    fields = {
        "request_id": request_id.decode("ascii"),
        "client": scope["client"][0] if scope.get("client") and route_of(scope["path"]) != PATH_OF_FEEDBACK else "-",
        "method": scope["method"],
        "path": shorten(shown_path(scope["path"])),
        "status": status,
        "milliseconds": round(seconds * 1000, 3),
    }
    path = fields["path"].encode("unicode_escape").decode()
    values = (fields["client"], scope["method"], path, scope["http_version"], status)
    line = '%s "%s %s HTTP/%s" %d %.1fms %s'
    requests.info(line, *values, seconds * 1000, fields["request_id"], extra={"fields": fields})


class Lines(logging.Handler):
    """Writes lines to a file from a thread, so that only that thread waits for the file.

    Args:
        file: a descriptor, which may block.
        encoding: of the lines.
        chunk: maximum number of bytes per write.
    """

    def __init__(self, file: int, encoding: str, chunk: int) -> None:
        super().__init__()
        self._file = file
        self._encoding = encoding
        self._chunk = chunk
        self._lines: list[str] = []
        self._size = 0  # characters waiting or being written
        self._dropped = 0  # lines since the thread last looked
        self._writing = False
        self._on_drop: Callable[[int], None] = lambda lines: None
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="inkdigits-log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record) + "\n"
        except Exception:
            self.handleError(record)
            return
        with self._changed:
            if self._size + len(line) > QUEUE:
                self._dropped += 1
                self._on_drop(1)
                return
            self._size += len(line)
            self._lines.append(line)
            if len(self._lines) == 1:
                self._changed.notify_all()

    def flush(self) -> None:
        """Wait until all lines and the number of dropped ones are written, for at most :data:`DRAIN_SECONDS`."""
        with self._changed:
            self._changed.wait_for(lambda: not (self._lines or self._dropped or self._writing), DRAIN_SECONDS)

    def drop(self, lines: int) -> None:
        """Count dropped lines; the log reports how many."""
        with self._changed:
            self._dropped += lines
            self._on_drop(lines)
            self._changed.notify_all()

    def count_drops(self, count: Callable[[int], None]) -> None:
        """Call ``count`` with the number of lines whenever some are dropped."""
        self._on_drop = count

    def _run(self) -> None:
        unreported = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._dropped)
                lines, self._lines, self._writing = self._lines, [], True
                unreported, self._dropped = unreported + self._dropped, 0
            size = sum(map(len, lines))
            try:
                self._write([*lines, self._drop_message(unreported)] if unreported else lines)
                unreported = failed = 0
            except OSError:  # the reader has left, or the disk is full
                failed = len(lines)
                unreported += failed
            with self._changed:
                if failed:
                    self._on_drop(failed)
                self._size -= size
                self._writing = False
                self._changed.notify_all()

    def _drop_message(self, dropped: int) -> str:
        text = "%d log lines were dropped: standard error was too slow, or a library printed too many lines"
        fields = {"fields": {"dropped": dropped}}
        record = log.makeRecord(log.name, logging.WARNING, "", 0, text, (dropped,), None, extra=fields)
        return self.format(record) + "\n"

    def _write(self, lines: Iterable[str]) -> None:
        chunk = bytearray()
        for line in lines:
            data = line.encode(self._encoding, "backslashreplace")
            if chunk and len(chunk) + len(data) > self._chunk:
                self._put(chunk)
                chunk.clear()
            chunk += data
        self._put(chunk)

    def _put(self, data: bytes | bytearray) -> None:
        at = 0
        while at < len(data):
            try:
                at += os.write(self._file, data[at:])
            except BlockingIOError:  # the process that started the server made the file non-blocking
                select.select([], [self._file], [])


class Stray:
    """Replaces standard error with a pipe, and logs each line printed there."""

    def __init__(self, drop: Callable[[int], None]) -> None:
        self._drop = drop
        self._window, self._logged, self._left_out = 0.0, 0, 0
        source, target = os.pipe()
        # Code that holds the GIL may print here: it must not wait for the thread, which needs the GIL.
        os.set_blocking(target, False)
        os.dup2(target, STDERR)
        os.close(target)
        self._thread = threading.Thread(target=self._run, args=(source,), name="inkdigits-stderr", daemon=True)
        self._thread.start()

    def close(self, stderr: int) -> None:
        """Restore standard error; what was printed is logged."""
        os.dup2(stderr, STDERR)  # closes the only writing end of the pipe, so its reader ends
        self._thread.join(DRAIN_SECONDS)

    def _run(self, source: int) -> None:
        rest = b""
        while data := os.read(source, 1 << 16):
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > STRAY_BYTES:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._log_line(line)
        if rest:
            self._log_line(rest)
        self._report_left_out()
        os.close(source)

    def _log_line(self, line: bytes) -> None:
        now = time.monotonic()
        if now - self._window > STRAY_SECONDS:
            self._report_left_out()
            self._window, self._logged = now, 0
        if not line.strip():
            return
        if self._logged == STRAY_LINES:
            self._left_out += 1
            return
        self._logged += 1
        text = line[:STRAY_BYTES].decode(errors="backslashreplace").rstrip()
        stray.warning("%s", "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text))

    def _report_left_out(self) -> None:
        if self._left_out:
            self._drop(self._left_out)
            self._left_out = 0


class Log:
    """The log of a server process, from its start until :meth:`close`.

    Args:
        alone: whether it is the only process that writes to standard error.
        take_stderr: whether to log what libraries print to standard error, too.
    """

    def __init__(self, settings: Settings, *, alone: bool, take_stderr: bool) -> None:
        self._stderr = os.dup(sys.stderr.fileno())
        encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
        self._lines = Lines(self._stderr, encoding, CHUNK * 16 if alone else CHUNK)
        logging.config.dictConfig(_config(settings, self._lines))
        logging.captureWarnings(True)
        self._stray: Stray | None = None
        if take_stderr and os.name == "posix" and sys.stderr.fileno() == STDERR:
            self._stray = Stray(self._lines.drop)
            faulthandler.enable(self._stderr)  # a crash does not print through the pipe

    def count_drops(self, count: Callable[[int], None]) -> None:
        """Call ``count`` with the number of lines whenever some are dropped."""
        self._lines.count_drops(count)

    def close(self) -> None:
        """Restore standard error, and write the waiting lines, for at most :data:`DRAIN_SECONDS`."""
        if self._stray:
            self._stray.close(self._stderr)
            self._stray = None
        self._lines.flush()


def _config(settings: Settings, lines: Lines) -> dict[str, Any]:
    """Return the configuration of :mod:`logging`. Except at level debug, uvicorn logs only warnings and errors."""
    level = settings.log_level
    server = "DEBUG" if level == "debug" else "WARNING" if level == "info" else level.upper()
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "text": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
            "json": {"()": JsonLines},
        },
        "handlers": {"stderr": {"()": lambda: lines, "formatter": settings.log_format}},
        # Warnings of libraries.
        "root": {"handlers": ["stderr"], "level": server if level != "debug" else "WARNING"},
        "loggers": {
            "inkdigits": {"handlers": ["stderr"], "level": level.upper(), "propagate": False},
            REQUESTS: {"handlers": ["stderr"], "level": "INFO", "propagate": False},
            "uvicorn.error": {"handlers": ["stderr"], "level": server, "propagate": False},
            # Its warnings repeat what the answer says to the client.
            "python_multipart": {"level": "ERROR"},
        },
    }
