"""One server process: uvicorn with this service, its heartbeat, and what it is told by signals or by its supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection as Pipe
from types import FrameType

import uvicorn

from inkdigits.decode import quiet_pillow
from inkdigits.errors import InkdigitsError
from inkdigits.server.app import create_app
from inkdigits.server.board import Board
from inkdigits.server.connection import Connection, Rules
from inkdigits.server.logs import Log
from inkdigits.server.service import Service
from inkdigits.settings import Settings

__all__ = ["BEAT_SECONDS", "COMMIT", "DROP", "GRACE_SECONDS", "PREPARE", "Server", "work"]

GRACE_SECONDS = 10  # that requests under way get to end after SIGTERM or Ctrl-C
LINGER_SECONDS = 0.5  # in which clients that keep their connection get to ask once more, and are told to leave
BEAT_SECONDS = 0.25  # between two signs of life
YIELD_SECONDS = 0.005  # that a worker that has more connections than another leaves to it before it takes one more
PAUSE_SECONDS = 1  # in which no connection is taken, when no more files may be opened
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
        quiet_pillow()
        rules = Rules(service, settings.receive_seconds, settings.max_connections)
        config = uvicorn.Config(
            service,
            http=partial(Connection, rules),
            ws="none",
            lifespan="on",
            log_config=None,
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
        # uvloop takes one connection in a turn of the loop (libuv does, from 1.48). Under load a turn takes long, and
        # the thousandth client would wait for a thousand of them. Windows has no uvloop, and its loop no readers.
        own = sys.platform != "win32"
        await super().startup([] if own else sockets)
        loop = asyncio.get_running_loop()
        for listener in sockets if own and sockets else []:
            listener.listen(self.config.backlog)
            listener.setblocking(False)
            self._listen(listener)
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
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            if not self.servers:
                loop.remove_reader(listener)
            with contextlib.suppress(OSError):
                for connection in _accepted(listener):
                    await self._connect(connection)
            listener.close()
        end = loop.time() + LINGER_SECONDS
        while self.server_state.connections and loop.time() < end and not self.force_exit:
            await asyncio.sleep(LINGER_SECONDS / 20)
        await super().shutdown()
        for task in self._tasks:
            task.cancel()

    def _accept(self, listener: socket.socket) -> None:
        """Take connections that wait; not many more than the other workers have, as clients keep theirs for long."""
        metrics = self._service.metrics
        room, taken = metrics.room(), []
        try:
            taken.extend(islice(_accepted(listener), max(1, room)))
        except OSError as error:
            log.error("no connection can be taken for %d s: %s", PAUSE_SECONDS, error.strerror)
            self._pause(listener, PAUSE_SECONDS)
        else:
            if room <= 0:  # the others may be about to
                self._pause(listener, YIELD_SECONDS)
        metrics.connections(len(self.server_state.connections) + len(taken))
        for connection in taken:
            self._start(self._connect(connection))

    def _pause(self, listener: socket.socket, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        loop.call_later(seconds, self._listen, listener)

    def _listen(self, listener: socket.socket) -> None:
        if not self._service.draining:
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    async def _connect(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        protocol = partial(
            self.config.http_protocol_class, self.config, self.server_state, self.lifespan.state, _loop=loop
        )
        with contextlib.suppress(OSError):  # the client has left
            await loop.connect_accepted_socket(protocol, connection)

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
    """The connections that wait.

    Raises:
        OSError: the process may open no more files.
    """
    listener.setblocking(False)
    with contextlib.suppress(BlockingIOError, ConnectionAbortedError):  # there is none, or its client has left
        while True:
            yield listener.accept()[0]


def work(settings: Settings, listener: socket.socket, board: Board, worker: int, pipe: Pipe, sha256: str) -> None:
    """Be a worker, until SIGTERM or until the supervisor is gone.

    Args:
        sha256: of the model that the other workers answer with.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor sees to it
    output = Log(settings, alone=False, take_stderr=True)
    with contextlib.closing(output):
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
        output.count_drops(service.metrics.log_dropped)
        Server(settings, service, beat=partial(board.beat, worker), pipe=pipe).run([listener])
