"""Run the service: in this process, or in several workers under a supervisor."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
from functools import partial
from pathlib import Path

import inkdigits
from inkdigits.errors import SettingError
from inkdigits.server.app import create_app
from inkdigits.server.logs import Log
from inkdigits.server.supervisor import Supervisor
from inkdigits.server.worker import GRACE_SECONDS, Server
from inkdigits.settings import Settings

__all__ = ["GRACE_SECONDS", "serve"]

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}

log = logging.getLogger("inkdigits")


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C; prints one line with the address when every worker is ready.

    Raises:
        SettingError: a setting cannot be used, or the address cannot be listened on.
        ModelError: the model cannot be loaded.
    """
    _open_standard_streams()
    # Also with several workers, which make their own: what cannot start is told here, once and in one line.
    app = create_app(settings)
    listener = _listen(settings.host, settings.port)
    announce = partial(_announce, settings, listener.getsockname()[1])
    _allow_connections()
    alone = settings.workers == 1
    output = Log(settings, alone=alone, take_stderr=alone)
    with contextlib.closing(output):
        if alone:
            output.count_drops(app.metrics.log_dropped)
            Server(settings, app, announce).run([listener])
            return
        sha256 = app.site.recognizer.model.sha256
        del app
        Supervisor(settings, listener, sha256, announce).run()


def _open_standard_streams() -> None:
    """Open those that were closed at the start: else a connection would get the number that libraries print to."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # Takes the lowest number that is free: the stream's own, unless something was opened since.
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115


def _allow_connections() -> None:
    """As many open files as the system lets this process have: each connection is one."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        if os.name == "posix":  # elsewhere the option would let two servers take one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise SettingError(
            f"cannot listen on {host} port {port}: {error.strerror}; "
            "choose another by --host and --port, or HOST and PORT"
        ) from None
    return listener


def _announce(settings: Settings, port: int) -> None:
    host = _EVERYWHERE.get(settings.host, settings.host)
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    workers = f", {settings.workers} workers" if settings.workers > 1 else ""
    try:
        print(f"inkdigits {inkdigits.__version__} serves on {url} (API: {url}/docs{workers}; Ctrl-C stops)", flush=True)
    except OSError as error:  # whoever read it has left; clients have not
        log.warning("the address %s could not be printed: %s", url, error.strerror)
