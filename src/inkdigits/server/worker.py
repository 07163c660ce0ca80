"""One server process: uvicorn with this service, its heartbeat, and what it is told by signals or by its supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import logging.config
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from multiprocessing.connection import Connection as Pipe
from types import FrameType

import uvicorn

from inkdigits.errors import InkdigitsError
from inkdigits.server.app import create_app
from inkdigits.server.board import Board
from inkdigits.server.connection import Connection, Rules
from inkdigits.server.logs import config as logging_config
from inkdigits.server.service import Service
from inkdigits.settings import Settings

__all__ = ["BEAT_SECONDS", "COMMIT", "DROP", "GRACE_SECONDS", "PREPARE", "Server", "work"]

GRACE_SECONDS = 10  # that requests under way get to end after SIGTERM or Ctrl-C
LINGER_SECONDS = 0.5  # in which clients that keep their connection get to ask once more, and are told to leave
BEAT_SECONDS = 0.25  # between two signs of life
PREPARE, COMMIT, DROP = "prepare", "commit", "drop"  # a new model, as Service's methods

log = logging.getLogger("inkdigits")


class Server(uvicorn.Server):
    """uvicorn's server, which drains.

    Args:
        started: called once, when it listens.
        beat: called every :data:`BEAT_SECONDS` from within the event loop.
        pipe: to the supervisor, if there is one.
    """

    def __init__(
        self,
        settings: Settings,
        service: Service,
        started: Callable[[], None] = lambda: None,
        beat: Callable[[], None] = lambda: None,
        pipe: Pipe | None = None,
    ) -> None:
        rules = Rules(service.metrics, settings.receive_seconds, settings.max_connections)
        config = uvicorn.Config(
            service,
            http=partial(Connection, rules),
            ws="none",
            lifespan="on",
            log_config=logging_config(settings),
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=settings.keep_alive_seconds,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        super().__init__(config)
        self._service = service
        self._announce = started
        self._beat = beat
        self._pipe = pipe
        self._tasks: set[asyncio.Task[None]] = set()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; a second Ctrl-C does not wait for requests under way. A supervisor passes on what concerns a worker."""
        if self._pipe and sig == signal.SIGINT:
            return
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        loop = asyncio.get_running_loop()
        self._start(self._live())
        # What was loaded stays: the collector need not go through all of it again and again, and hold requests up.
        gc.collect()
        gc.freeze()
        if self._pipe:
            loop.add_reader(self._pipe.fileno(), self._told)
        elif hasattr(signal, "SIGHUP"):
            loop.add_signal_handler(signal.SIGHUP, lambda: self._start(self._reload()))
        self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.draining = True
        loop = asyncio.get_running_loop()
        # Clients that wait to be accepted would be reset when the last worker closes the socket.
        accepted = [connection for listener in sockets or [] for connection in _accepted(listener)]
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        protocol = partial(
            self.config.http_protocol_class, self.config, self.server_state, self.lifespan.state, _loop=loop
        )
        for connection in accepted:
            await loop.connect_accepted_socket(protocol, connection)
        end = loop.time() + LINGER_SECONDS
        while self.server_state.connections and loop.time() < end and not self.force_exit:
            await asyncio.sleep(LINGER_SECONDS / 20)
        await super().shutdown()
        for task in self._tasks:
            task.cancel()

    def _start(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _live(self) -> None:
        while True:
            self._beat()
            await asyncio.sleep(BEAT_SECONDS)

    def _told(self) -> None:
        """The supervisor says something, or is gone."""
        try:
            message = self._pipe.recv()
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(self._pipe.fileno())
            self.should_exit = True
            return
        if message == PREPARE:
            self._start(self._prepare())
        elif message == COMMIT:
            self._service.commit()
        else:
            self._service.drop()

    async def _prepare(self) -> None:
        """Prepare a new model, and tell the supervisor its hash, or what is wrong with it."""
        sha256, wrong = await self._prepared()
        self._pipe.send((sha256, wrong))

    async def _prepared(self) -> tuple[str, str]:
        try:
            return await asyncio.to_thread(self._service.prepare), ""
        except InkdigitsError as error:
            return "", str(error)
        except Exception as error:
            log.exception("a fault while loading a model")
            return "", f"{type(error).__name__}: {error}"

    async def _reload(self) -> None:
        sha256, wrong = await self._prepared()
        if wrong:
            log.error("the model was not reloaded, the old one stays: %s", wrong)
            return
        self._service.commit()
        log.info("the model was reloaded: %s, SHA-256 %s", self._service.site.recognizer.model.name, sha256)


def _accepted(listener: socket.socket) -> Iterator[socket.socket]:
    """The connections that wait."""
    listener.setblocking(False)
    with contextlib.suppress(OSError):  # there is none
        while True:
            yield listener.accept()[0]


def work(settings: Settings, listener: socket.socket, board: Board, worker: int, pipe: Pipe, sha256: str) -> None:
    """Be a worker, until SIGTERM or until the supervisor is gone.

    Args:
        sha256: of the model that the other workers answer with.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor sees to it
    logging.config.dictConfig(logging_config(settings))
    try:
        service = create_app(settings, board, worker)
    except InkdigitsError as error:
        log.error("a worker cannot start: %s", error)
        sys.exit(1)
    found = service.site.recognizer.model.sha256
    if found != sha256:
        log.error(
            "a worker cannot start: the model is now %s, the others answer with %s; SIGHUP reloads", found, sha256
        )
        sys.exit(1)
    Server(settings, service, beat=partial(board.beat, worker), pipe=pipe).run([listener])
