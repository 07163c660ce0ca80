"""Run the service: one process, or several under uvicorn's supervisor, which replaces one that dies or hangs."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.supervisors import Multiprocess

import inkdigits
from inkdigits.errors import SettingError
from inkdigits.server.app import create_app
from inkdigits.settings import Settings

__all__ = ["serve"]

GRACE_SECONDS = 10  # that requests under way get to end after SIGTERM or Ctrl-C
START_SECONDS = 60  # that a worker gets to load the model
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C; prints one line with the address when every worker is ready.

    Raises:
        SettingError: a setting cannot be used, or the address cannot be listened on.
        ModelError: the model cannot be loaded.
    """
    # Also with several workers, which make their own: what cannot start is told here, once and in one line.
    app = create_app(settings)
    listener = _listen(settings.host, settings.port)
    announce = partial(_announce, settings, listener.getsockname()[1])
    debug = settings.log_level == "debug"
    config = uvicorn.Config(
        app if settings.workers == 1 else partial(_worker, settings),
        factory=settings.workers > 1,
        workers=settings.workers,
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=_logging(settings.log_level),
        access_log=debug,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    if settings.workers > 1:
        _Supervisor(config, [listener], announce).run()
        return
    # uvicorn ends by raising the signal that stopped it once more, for whoever was to have it: here nobody is.
    signal.signal(signal.SIGTERM, lambda *_: None)
    with contextlib.suppress(KeyboardInterrupt):
        _Server(config, announce).run([listener])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._announce()


class _Supervisor(Multiprocess):
    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], announce: Callable[[], None]) -> None:
        super().__init__(config, sockets)
        self._announce = announce

    def init_processes(self) -> None:
        super().init_processes()
        if all(process.wait_until_ready(START_SECONDS, self.should_exit) for process in self.processes):
            self._announce()


def _worker(settings: Settings) -> Starlette:
    """The application of one worker, which does not outlive its supervisor, however that ends."""
    supervisor = multiprocessing.parent_process()

    def follow() -> None:
        supervisor.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow, daemon=True).start()
    return create_app(settings)


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
    print(f"inkdigits {inkdigits.__version__} serves on {url} (API: {url}/docs{workers}; Ctrl-C stops)", flush=True)


def _logging(level: str) -> dict[str, Any]:
    """Logging to standard error. Below debug, uvicorn speaks up only when something is wrong."""
    server = "DEBUG" if level == "debug" else "WARNING" if level == "info" else level.upper()
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "loggers": {
            "inkdigits": {"handlers": ["stderr"], "level": level.upper()},
            "uvicorn.error": {"handlers": ["stderr"], "level": server},
            "uvicorn.access": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
            # Says in the log what the client is told in its answer.
            "python_multipart": {"level": "ERROR"},
        },
    }
