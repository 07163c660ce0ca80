"""Run the service: in this process, or in several workers under a supervisor."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from typing import TextIO

import inkdigits
from inkdigits.cores import memory_limit, usable_cores
from inkdigits.errors import SettingError
from inkdigits.server.factory import create_app
from inkdigits.server.http.protocol import BEYOND_SHARE
from inkdigits.server.observability.logs import Log
from inkdigits.server.processes.supervisor import Supervisor
from inkdigits.server.processes.worker import GRACE_SECONDS, Server, leave
from inkdigits.settings import MAX_WORKERS, Settings

__all__ = ["GRACE_SECONDS", "serve"]

# Open files of a process other than connections: its model, event loop, log, listener, files sent to clients, and
# connections above the limit, which get 503.
RESERVED_FILES = 32
FILES_OF_A_WORKER = 4  # open in the supervisor
WORKER_BYTES = 256 << 20  # of memory for each worker, if memory is limited: 102 MB at rest, plus pictures
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}

log = logging.getLogger("inkdigits")


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C, and print one line with the address when every worker is ready.

    Raises:
        SettingError: a setting is invalid, the address is not available, or the limit of open files is too low.
        ModelError: the model cannot be loaded.
    """
    if settings.workers > 1 and sys.platform == "win32":
        raise SettingError(
            f"workers (INKDIGITS_WORKERS) is {settings.workers}, and on Windows one process serves; leave it out, or "
            "start a server on each of several ports behind a proxy"
        )
    _open_standard_streams()
    for name in ("SIGHUP", "SIGUSR1", "SIGUSR2"):  # SIGHUP until the server can reload
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    files = _allow_files()
    settings = dataclasses.replace(settings, workers=_workers(settings, files))
    most = _connections(settings, files)
    # Workers build their own; with this one, an error at startup is reported once, in one line.
    app = create_app(dataclasses.replace(settings, max_connections=most))
    listener = _listen(settings.host, settings.port)
    announce = partial(_announce, settings, listener.getsockname()[1])
    alone = settings.workers == 1
    output = Log(settings, alone=alone, take_stderr=alone)
    with contextlib.closing(output):
        if most < settings.max_connections:
            log.warning(
                "a process accepts %d connections, not %d: it may open only %d files; raise the limit with ulimit -n",
                most,
                settings.max_connections,
                files,
            )
        settings = dataclasses.replace(settings, max_connections=most)
        if alone:
            output.count_drops(app.metrics.log_dropped)
            Server(settings, app, announce, leave=partial(leave, output)).run([listener])
            return
        sha256 = app.deployment.recognizer.model.sha256
        del app
        Supervisor(settings, listener, sha256, announce).run()


def _open_standard_streams() -> None:
    """Open closed standard streams: else a connection could get the descriptor that libraries print to."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if not _is_open(getattr(sys, name)):
            # Gets the lowest free descriptor: the stream's own, unless something else was opened.
            stream = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115
            os.set_inheritable(stream.fileno(), True)  # for workers, too
            setattr(sys, name, stream)


def _is_open(stream: TextIO | None) -> bool:
    """Return whether a standard stream has a file; the command line replaces a closed one by one without."""
    try:
        return stream is not None and stream.fileno() >= 0
    except (OSError, ValueError):
        return False


def _allow_files() -> int:
    """Raise this process' limit of open files as far as the system allows, and return it."""
    try:
        import resource
    except ImportError:  # on Windows
        return sys.maxsize
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # macOS reports no limit, but has one
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        limit = most
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit


def _workers(settings: Settings, files: int) -> int:
    """Return how many workers to start: the setting, or one per usable core, but fewer if memory or files are short."""
    if settings.workers:
        return settings.workers
    if sys.platform == "win32":
        return 1
    memory = memory_limit()
    most = MAX_WORKERS if memory is None else memory // WORKER_BYTES
    return max(1, min(usable_cores(), most, MAX_WORKERS, (files - RESERVED_FILES) // FILES_OF_A_WORKER))


def _connections(settings: Settings, files: int) -> int:
    """Return the maximum number of connections of a process that may open this many files.

    Raises:
        SettingError: they are too few to start.
    """
    least = RESERVED_FILES + (FILES_OF_A_WORKER * settings.workers if settings.workers > 1 else 1)
    if files < least:
        raise SettingError(
            f"this process may open {files} files, and the server needs at least {least}; "
            "raise the limit with ulimit -n 4096, or LimitNOFILE= in systemd"
        )
    room = files - RESERVED_FILES
    return min(settings.max_connections, room - room // BEYOND_SHARE)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        if os.name == "posix":  # on Windows the option would let two servers use one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise SettingError(
            f"cannot listen on {host} port {port}: {error.strerror}; "
            "choose another with --host and --port, or HOST and PORT"
        ) from None
    return listener


def _announce(settings: Settings, port: int) -> None:
    host = _EVERYWHERE.get(settings.host, settings.host)
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    workers = f", {settings.workers} worker{'s' if settings.workers > 1 else ''}"
    try:
        print(f"inkdigits {inkdigits.__version__} serves on {url} (API: {url}/docs{workers}; Ctrl-C stops)", flush=True)
    except OSError as error:  # its reader has left, but clients may come
        log.warning("the address %s could not be printed: %s", url, error.strerror)
