"""Chunks of images spread over processes; the blocks of rows come back in order.

Each process has one recognizer. Only as many chunks are in flight as keep the processes busy, so memory depends on the
size of a chunk and not on their number.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import chain, islice

from inkdigits.bulk.formats import Format, block
from inkdigits.bulk.inputs import Chunk
from inkdigits.bulk.task import Task
from inkdigits.errors import InkdigitsError
from inkdigits.preprocess import Limits
from inkdigits.preprocess.files import quiet_pillow
from inkdigits.profile import Profile
from inkdigits.recognizer import Recognizer

__all__ = ["Block", "Job", "blocks"]

AHEAD = 2  # chunks per process: one that it reads, one that waits


@dataclass(frozen=True, slots=True)
class Job:
    """How chunks are read.

    Attributes:
        model: as :class:`Recognizer` takes it; None is the shipped default.
        threads: of one network run.
        limits: largest and smallest image that is read.
        form: that the rows are written in.
        task: what is read.
        profile: of the model; None for none.
    """

    model: str | None
    threads: int
    limits: Limits
    form: Format
    task: Task
    profile: Profile | None = None

    def recognizer(self) -> Recognizer:
        """Load the job's recognizer, in a process whose output must not contain Pillow's warnings."""
        quiet_pillow()
        return Recognizer(self.model, threads=self.threads, limits=self.limits, profile=self.profile)

    def read(self, recognizer: Recognizer, chunk: Chunk) -> Block:
        """Read one chunk with the recognizer that :meth:`recognizer` gave."""
        images = zip(chunk.names, chunk.sources, strict=True)
        found = list(self.task.read(recognizer, images))
        content = block(found, self.form, self.task)
        errors = [(each.name, str(each.error)) for each in found if each.error is not None]
        verdicts = Counter(each.verdict for each in found)
        counts = tuple(verdicts[verdict] for verdict in self.task.verdicts)
        return Block(content, sum(each.size for each in found), errors, chunk.crc(), counts)


@dataclass(frozen=True, slots=True)
class Block:
    """The rows of one chunk.

    Attributes:
        content: the rows in the job's form.
        rows: how many.
        errors: name and message of each image that could not be read.
        names: CRC-32 of the names, as :meth:`Chunk.crc` gives it.
        counts: how many images of each verdict, by those of the task.
    """

    content: bytes
    rows: int
    errors: list[tuple[str, str]]
    names: int
    counts: tuple[int, ...]


def blocks(chunks: Iterable[Chunk], job: Job, processes: int) -> Iterator[Block]:
    """Read chunks of images.

    Args:
        chunks: any number; consumed as they are needed.
        job: how to read them.
        processes: that share the work. A single chunk is read in this one.

    Yields:
        A block for each chunk, in order.

    Raises:
        ModelError: the model cannot be loaded.
        InkdigitsError: a process died.
    """
    recognizer = job.recognizer()  # also if others do the work: a model that cannot be loaded is reported once
    chunks = iter(chunks)
    start = list(islice(chunks, 2))
    if processes == 1 or len(start) < 2:
        for chunk in chain(start, chunks):
            yield job.read(recognizer, chunk)
        return
    del recognizer
    waiting: deque[Future[Block]] = deque()
    # Spawned, as a copy of a process that has threads may hang: https://docs.python.org/3/library/multiprocessing.html
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, initializer=_start, initargs=(job,))
    try:
        for chunk in chain(start, chunks):
            with _interrupt_held():
                waiting.append(pool.submit(_work, chunk))
            if len(waiting) >= AHEAD * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise InkdigitsError("a worker process died, possibly out of memory; try fewer --processes") from None
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _interrupt_held() -> Iterator[None]:
    """Hold Ctrl-C back for the while; processes that are started meanwhile never get it.

    Else one that is still at its imports would end with a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_own: tuple[Job, Recognizer]


def _start(job: Job) -> None:
    """Set up a process that reads."""
    global _own
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the first process ends the others
    main = multiprocessing.parent_process()
    assert main is not None  # as this process is not the first

    def follow() -> None:
        main.join()
        os._exit(1)  # it was killed, and nobody wants the answers

    threading.Thread(target=follow, daemon=True).start()
    _own = job, job.recognizer()


def _work(chunk: Chunk) -> Block:
    job, recognizer = _own
    return job.read(recognizer, chunk)
