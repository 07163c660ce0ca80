"""One server process: uvicorn with this service, its heartbeat, and its signals and messages from the supervisor."""

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
from inkdigits.server.processes.shared_state import SharedState
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
    "is_second_signal",
    "leave",
    "run_worker",
]

GRACE_SECONDS = 10  # for requests in progress to finish after SIGTERM or Ctrl-C
STOP_SECONDS = GRACE_SECONDS + 2  # after which the process ends, even if its threads are busy
LEAVE_SECONDS = 1  # the same after a second signal
REPEAT_SECONDS = 0.5  # signals closer together count as one: `timeout` signals the process, and then its group
LINGER_SECONDS = 0.5  # for clients on kept connections to send one more request, whose answer closes the connection
LAST_SECONDS = 0.2  # to send the last errors
LOOK_SECONDS = 0.025  # between two checks of what is in progress
BEAT_SECONDS = 0.25  # between two heartbeats
YIELD_SECONDS = 0.005  # that a worker with more connections than another waits before it accepts one more
PAUSE_SECONDS = 1  # without accepting connections, if the limit of open files is reached
PREPARE, COMMIT, DROP = "prepare", "commit", "drop"  # a model swap, like the methods of Service
GROUP_SIGNALS = ("SIGINT", "SIGHUP")  # reach a whole process group, and only the supervisor handles them
LEAVE = "leave"  # stop at once: requests in progress get no more time

log = logging.getLogger("inkdigits")


class Deadline:
    """Ends the process when its time is up, even if its other threads are busy.

    Args:
        leave: ends the process.
    """

    def __init__(self, leave: Callable[[], None]) -> None:
        self._leave = leave
        self._ends: SimpleQueue[float | None] = SimpleQueue()  # safe to use in a signal handler
        self._thread = threading.Thread(target=self._run, name="inkdigits-deadline", daemon=True)
        self._thread.start()

    def set(self, seconds: float) -> None:
        """Set the deadline to this many seconds from now, unless it is earlier already."""
        self._ends.put(time.monotonic() + seconds)

    def cancel(self) -> None:
        """Cancel the deadline. Its thread ends first: one that still runs while the interpreter exits may crash it."""
        self._ends.put(None)
        self._thread.join()

    def _run(self) -> None:
        end = self._ends.get()
        while end is not None:
            try:
                new = self._ends.get(timeout=max(0.0, end - time.monotonic()))
            except Empty:
                self._leave()
                return
            end = new and min(end, new)


def is_second_signal(first: float) -> bool:
    """Return whether a signal to stop is a second one, given the time of the first."""
    return time.monotonic() - first > REPEAT_SECONDS


class Server(uvicorn.Server):
    """uvicorn's server with graceful shutdown.

    Args:
        started: called once, when it listens.
        beat: called every :data:`BEAT_SECONDS` in the event loop.
        pipe: to the supervisor, if there is one.
        leave: ends the process if a thread does not finish.
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
            http=partial(Connection, rules),  # type: ignore[arg-type]  # typed as a class, but only called
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
        self._asked: float | None = None  # time of the first signal to stop, by the monotonic clock
        self._deadline: Deadline | None = None
        self._connecting = 0  # connections that are accepted but not yet among uvicorn's
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        self._deadline = Deadline(self._leave)
        try:
            super().run(sockets)
            if self._service.busy or self._loader.busy:
                self._leave()  # at exit the interpreter would free objects that the thread uses
        finally:
            self._deadline.cancel()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; a second signal does not wait for requests in progress. Under a supervisor, SIGINT is ignored."""
        if self._pipe and sig == signal.SIGINT:
            return
        # The supervisor sends SIGTERM even if the whole group got it.
        self._stop(at_once=self._pipe is None and self._asked is not None and is_second_signal(self._asked))

    def _stop(self, *, at_once: bool = False) -> None:
        """Begin to stop; may be called from a signal handler."""
        if self._asked is None:
            self._asked = time.monotonic()
        if self._deadline:
            self._deadline.set(LEAVE_SECONDS if at_once else STOP_SECONDS)
        self.force_exit = self.force_exit or at_once
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # uvloop accepts one connection per turn of the loop (libuv since 1.48). Under load a turn takes long, and the
        # thousandth client would wait a thousand turns. Windows has no uvloop, and its loop has no add_reader.
        own = sys.platform != "win32"
        await super().startup([] if own else sockets)
        loop = asyncio.get_running_loop()
        for listener in sockets if own and sockets else []:
            listener.listen(self.config.backlog)
            listener.setblocking(False)
            self._listen(listener)
        self._start(self._send_heartbeats())
        # Loaded objects stay: the collector need not scan all of them again and again, which delays requests.
        gc.collect()
        gc.freeze()
        if self._pipe:
            loop.add_reader(self._pipe.fileno(), self._on_message, self._pipe)
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
            log.warning("stopping with %d connections open; requests in progress get 503", len(connections))
            for each in list(connections):
                assert isinstance(each, Connection)  # set in the configuration
                each.leave()
        for task in [*tasks, *self._tasks]:
            task.cancel()
        self.force_exit, forced = False, self.force_exit
        await self._until(lambda: not connections and not tasks, time.monotonic() + LAST_SECONDS)
        if not forced:
            await self.lifespan.shutdown()

    async def _until(self, done: Callable[[], bool], end: float) -> None:
        """Wait until this is done, until a time of the monotonic clock, or until the server must leave at once."""
        while not done() and time.monotonic() < end and not self.force_exit:
            await asyncio.sleep(LOOK_SECONDS)

    def _accept(self, listener: socket.socket) -> None:
        """Accept waiting connections; not many more than other workers have, as clients keep them for long."""
        metrics = self._service.metrics
        count = len(self.server_state.connections) + self._connecting
        left = self._most - count
        if left <= 0:  # rejected connections are about to close
            self._pause(listener, YIELD_SECONDS)
            return
        room = metrics.room()
        taken: list[socket.socket] = []
        try:
            taken.extend(islice(_accepted(listener), min(left, max(1, room))))
        except OSError as error:
            log.error("accepting no connections for %d s: %s", PAUSE_SECONDS, error.strerror)
            self._pause(listener, PAUSE_SECONDS)
        else:
            if room <= 0:  # other workers may accept some
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

    async def _send_heartbeats(self) -> None:
        while True:
            self._beat()
            if self._pipe is None and self._service.metrics.must_reload():  # else the supervisor does
                self._start(self._reload())
            await asyncio.sleep(BEAT_SECONDS)

    def _on_message(self, pipe: Pipe) -> None:
        """Handle a message of the supervisor; stop if it has died."""
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
        """Prepare a new model, and send the supervisor its hash or its error."""
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
            log.error("the model was not reloaded, the old one stays in use: %s", wrong)
            return
        self._service.commit()
        log.info("the model was reloaded: %s, SHA-256 %s", self._service.deployment.recognizer.model.name, sha256)


def _accepted(listener: socket.socket) -> Iterator[socket.socket]:
    """Accept the waiting connections.

    Raises:
        OSError: the limit of open files is reached.
    """
    listener.setblocking(False)
    with contextlib.suppress(BlockingIOError, ConnectionAbortedError):  # none is waiting, or its client has left
        while True:
            yield listener.accept()[0]


def run_worker(
    settings: Settings, listener: socket.socket, shared: SharedState, worker: int, pipe: Pipe, sha256: str
) -> None:
    """Run a worker until SIGTERM, or until the supervisor dies.

    Args:
        sha256: of the model that the other workers use.
    """
    # Ctrl-C and a closing terminal signal the whole group; only the supervisor handles them.
    ignored = [getattr(signal, name) for name in GROUP_SIGNALS if hasattr(signal, name)]
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):  # blocked by the supervisor until they are ignored
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ignored)
    output = Log(settings, alone=False, take_stderr=True)
    with contextlib.closing(output):
        try:
            service = create_app(settings, shared, worker)
        except InkdigitsError as error:
            log.error("a worker cannot start: %s", error)
            sys.exit(1)
        found = service.deployment.recognizer.model.sha256
        if found != sha256:
            text = "a worker cannot start: the model file is now %s, the others use %s; send SIGHUP to reload"
            log.error(text, found, sha256)
            sys.exit(1)
        output.count_drops(service.metrics.log_dropped)
        beat = partial(shared.beat, worker)
        Server(settings, service, beat=beat, pipe=pipe, leave=partial(leave, output)).run([listener])


def leave(output: Log) -> None:
    """End the process immediately, after its log is written."""
    try:
        output.close()
    finally:
        os._exit(0)
