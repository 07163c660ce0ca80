"""One server process: uvicorn with this service, its heartbeat, and what it is told by signals or by its supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection as Pipe
from queue import Empty, SimpleQueue
from types import FrameType

import uvicorn

from inkdigits.errors import InkdigitsError
from inkdigits.preprocess.files import quiet_pillow
from inkdigits.server.factory import create_app
from inkdigits.server.http.asgi import Service
from inkdigits.server.http.protocol import Connection, Rules
from inkdigits.server.observability.logs import Log
from inkdigits.server.processes.shared_state import Board
from inkdigits.server.threads import DaemonThreads
from inkdigits.settings import Settings

__all__ = [
    "BEAT_SECONDS",
    "COMMIT",
    "DROP",
    "GRACE_SECONDS",
    "GROUP_SIGNALS",
    "LEAVE",
    "LEAVE_SECONDS",
    "PREPARE",
    "STOP_SECONDS",
    "Server",
    "again",
    "leave",
    "work",
]

GRACE_SECONDS = 10  # that requests under way get to end after SIGTERM or Ctrl-C
STOP_SECONDS = GRACE_SECONDS + 2  # after which the process ends, whatever its threads do
LEAVE_SECONDS = 1  # the same after a second signal
AGAIN_SECONDS = 0.5  # two signals sooner are one: `timeout` and others send one to the process, and one to its group
LINGER_SECONDS = 0.5  # in which clients that keep their connection get to ask once more, and are told to leave
LAST_SECONDS = 0.2  # in which the last refusals go out
LOOK_SECONDS = 0.025  # between two looks at what is still under way
BEAT_SECONDS = 0.25  # between two signs of life
YIELD_SECONDS = 0.005  # that a worker that has more connections than another leaves to it before it takes one more
PAUSE_SECONDS = 1  # in which no connection is taken, when no more files may be opened
PREPARE, COMMIT, DROP = "prepare", "commit", "drop"  # a new model, as Service's methods
GROUP_SIGNALS = ("SIGINT", "SIGHUP")  # which reach a whole group of processes, and concern the supervisor alone
LEAVE = "leave"  # at once: what is under way gets no more time

log = logging.getLogger("inkdigits")


class Deadline:
    """Ends the process when its time is up, whatever its other threads do.

    Args:
        leave: ends the process.
    """

    def __init__(self, leave: Callable[[], None]) -> None:
        self._leave = leave
        self._ends: SimpleQueue[float | None] = SimpleQueue()  # which a signal handler may use
        threading.Thread(target=self._run, name="inkdigits-deadline", daemon=True).start()

    def set(self, seconds: float) -> None:
        """So many from now on, or fewer where it was set before."""
        self._ends.put(time.monotonic() + seconds)

    def cancel(self) -> None:
        """The process is not to be ended."""
        self._ends.put(None)

    def _run(self) -> None:
        end = self._ends.get()
        while end is not None:
            try:
                new = self._ends.get(timeout=max(0.0, end - time.monotonic()))
            except Empty:
                self._leave()
                return
            end = new and min(end, new)


def again(first: float) -> bool:
    """Whether a signal to stop, the first of which came at this time, is a second one."""
    return time.monotonic() - first > AGAIN_SECONDS


class Server(uvicorn.Server):
    """uvicorn's server, which drains.

    Args:
        started: called once, when it listens.
        beat: called every :data:`BEAT_SECONDS` from within the event loop.
        pipe: to the supervisor, if there is one.
        leave: ends the process where a thread does not come to its end.
    """

    def __init__(
        self,
        settings: Settings,
        service: Service,
        started: Callable[[], None] = lambda: None,
        beat: Callable[[], None] = lambda: None,
        pipe: Pipe | None = None,
        leave: Callable[[], None] = lambda: os._exit(0),
    ) -> None:
        quiet_pillow()
        rules = Rules(service, settings.receive_seconds, settings.max_connections)
        config = uvicorn.Config(
            service,
            http=partial(Connection, rules),  # type: ignore[arg-type]  # it wants a class, and only calls it
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=settings.keep_alive_seconds,
        )
        super().__init__(config)
        self._service = service
        self._most = rules.most + rules.beyond
        self._announce = started
        self._beat = beat
        self._pipe = pipe
        self._leave = leave
        self._loader = DaemonThreads(1)
        self._asked: float | None = None  # when it was first told to stop, by the monotonic clock
        self._deadline: Deadline | None = None
        self._connecting = 0  # connections that are taken and not yet among uvicorn's
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        self._deadline = Deadline(self._leave)
        try:
            super().run(sockets)
            if self._service.busy or self._loader.busy:
                self._leave()  # the interpreter, on its way out, would pull what the thread uses from under it
        finally:
            self._deadline.cancel()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; a second signal does not wait for requests under way. A supervisor passes on what concerns a worker."""
        if self._pipe and sig == signal.SIGINT:
            return
        # The supervisor sends SIGTERM also where the whole group had it.
        self._stop(at_once=self._pipe is None and self._asked is not None and again(self._asked))

    def _stop(self, *, at_once: bool = False) -> None:
        """Begin to stop; from a signal handler, too."""
        if self._asked is None:
            self._asked = time.monotonic()
        if self._deadline:
            self._deadline.set(LEAVE_SECONDS if at_once else STOP_SECONDS)
        self.force_exit = self.force_exit or at_once
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
            loop.add_reader(self._pipe.fileno(), self._told, self._pipe)
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
                    self._connecting += 1
                    await self._connect(connection)
            listener.close()
        connections, tasks = self.server_state.connections, self.server_state.tasks
        asked = time.monotonic() if self._asked is None else self._asked
        await self._until(lambda: not connections, time.monotonic() + LINGER_SECONDS)
        for each in list(connections):
            each.shutdown()
        await self._until(lambda: not connections and not tasks, asked + GRACE_SECONDS)
        if connections:
            log.warning("stopping with %d connections open; requests under way get 503", len(connections))
            for each in list(connections):
                assert isinstance(each, Connection)  # as that is what the configuration makes
                each.leave()
        for task in [*tasks, *self._tasks]:
            task.cancel()
        self.force_exit, forced = False, self.force_exit
        await self._until(lambda: not connections and not tasks, time.monotonic() + LAST_SECONDS)
        if not forced:
            await self.lifespan.shutdown()

    async def _until(self, done: Callable[[], bool], end: float) -> None:
        """Wait for this, until a time of the monotonic clock at most, and not where the server is to leave at once."""
        while not done() and time.monotonic() < end and not self.force_exit:
            await asyncio.sleep(LOOK_SECONDS)

    def _accept(self, listener: socket.socket) -> None:
        """Take connections that wait; not many more than the other workers have, as clients keep theirs for long."""
        metrics = self._service.metrics
        count = len(self.server_state.connections) + self._connecting
        left = self._most - count
        if left <= 0:  # those that are turned away are about to leave
            self._pause(listener, YIELD_SECONDS)
            return
        room = metrics.room()
        taken: list[socket.socket] = []
        try:
            taken.extend(islice(_accepted(listener), min(left, max(1, room))))
        except OSError as error:
            log.error("no connection can be taken for %d s: %s", PAUSE_SECONDS, error.strerror)
            self._pause(listener, PAUSE_SECONDS)
        else:
            if room <= 0:  # the others may be about to
                self._pause(listener, YIELD_SECONDS)
        metrics.connections(count + len(taken))
        self._connecting += len(taken)
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
        connect: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        protocol = partial(connect, self.config, self.server_state, self.lifespan.state, _loop=loop)
        try:
            with contextlib.suppress(OSError):  # the client has left
                await loop.connect_accepted_socket(protocol, connection)
        finally:
            self._connecting -= 1

    def _start(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _live(self) -> None:
        while True:
            self._beat()
            await asyncio.sleep(BEAT_SECONDS)

    def _told(self, pipe: Pipe) -> None:
        """The supervisor says something, or is gone."""
        try:
            message = pipe.recv()
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(pipe.fileno())
            self._stop()
            return
        if message == PREPARE:
            self._start(self._prepare(pipe))
        elif message == COMMIT:
            self._service.commit()
        elif message == LEAVE:
            self._stop(at_once=True)
        else:
            self._service.drop()

    async def _prepare(self, pipe: Pipe) -> None:
        """Prepare a new model, and tell the supervisor its hash, or what is wrong with it."""
        sha256, wrong = await self._prepared()
        pipe.send((sha256, wrong))

    async def _prepared(self) -> tuple[str, str]:
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._loader, self._service.prepare), ""
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
        log.info("the model was reloaded: %s, SHA-256 %s", self._service.deployment.recognizer.model.name, sha256)


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
    # Ctrl-C and a terminal that closes reach the whole group; the supervisor sees to it.
    ignored = [getattr(signal, name) for name in GROUP_SIGNALS if hasattr(signal, name)]
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):  # the supervisor holds them back until they are ignored
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ignored)
    output = Log(settings, alone=False, take_stderr=True)
    with contextlib.closing(output):
        try:
            service = create_app(settings, board, worker)
        except InkdigitsError as error:
            log.error("a worker cannot start: %s", error)
            sys.exit(1)
        found = service.deployment.recognizer.model.sha256
        if found != sha256:
            log.error(
                "a worker cannot start: the model is now %s, the others answer with %s; SIGHUP reloads", found, sha256
            )
            sys.exit(1)
        output.count_drops(service.metrics.log_dropped)
        beat = partial(board.beat, worker)
        Server(settings, service, beat=beat, pipe=pipe, leave=partial(leave, output)).run([listener])


def leave(output: Log) -> None:
    """End the process as it is, with its log written."""
    try:
        output.close()
    finally:
        os._exit(0)
