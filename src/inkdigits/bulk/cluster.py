"""Chunks of images spread over a Ray cluster by Ray Data; the blocks of rows come back in order.

The command's own process reads the inputs and sends them with the model, so that the nodes need no shared storage,
nothing but inkdigits. Chunks go out in waves, each a dataset whose blocks this process holds until their rows are back:
what a node takes with it when it dies is read again from them, by tasks that any other node can run. (A dataset that
streams from one reader may have to run that reader again: https://github.com/ray-project/ray/pull/64805.) A wave goes
out before the one ahead of it is through, so that no node waits.
"""

from __future__ import annotations

import logging
import os
import pickle
import secrets
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from math import ceil
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import inkdigits
from inkdigits.bulk.inputs import Chunk
from inkdigits.bulk.run import Block, Job
from inkdigits.errors import ImageError, InkdigitsError, SettingError
from inkdigits.network import find_model
from inkdigits.preprocess import ImageSource, Limits
from inkdigits.preprocess.files import encoded
from inkdigits.recognizer import Recognizer

if TYPE_CHECKING:
    import pyarrow as pa
    import ray

__all__ = ["blocks"]

# Bytes of a wave. What a wave costs by itself, about a second, is little compared with a large one; the first are
# small, so that the first rows come soon.
FIRST_WAVE, LARGEST_WAVE = 16 << 20, 128 << 20
# Of a task, at most. Ray Data looks for ended tasks from time to time only, and a worker has nothing to do until then,
# which a chunk alone is a poor use of; but no worker is to be left with a last long task of its wave.
TASK_CHUNKS, TASK_BYTES = 8, 32 << 20
TASKS_PER_CPU = 4  # of a wave, at least
CONNECT_SECONDS = 10
# With its usage statistics off, Ray still asks the metadata services of three clouds whether it runs on one of them,
# and finds the address of this machine by way of Google's name servers. A cluster that is started for one command needs
# neither: it keeps to the loopback address, where no other machine reaches it, and HTTP to anywhere else goes to a port
# on which nothing listens.
USAGE_STATISTICS = "RAY_USAGE_STATS_ENABLED"
_NOWHERE, _HERE = "http://127.0.0.1:9", "127.0.0.1,::1,localhost"
OWN_CLUSTER = {
    USAGE_STATISTICS: "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on every system: this is how Ray is kept on the loopback address
    **dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"), _NOWHERE),
    **dict.fromkeys(("no_proxy", "NO_PROXY"), _HERE),
}


@dataclass(frozen=True, slots=True)
class _Work:
    """What a worker needs to know: the job, the model's file, and the version of inkdigits that sends them."""

    job: Job
    model: bytes
    version: str


def blocks(chunks: Iterable[Chunk], job: Job, processes: int, address: str) -> Iterator[Block]:
    """Read chunks of images as :func:`inkdigits.bulk.run.blocks` does, to the same bytes.

    Args:
        chunks: any number; consumed as they are needed.
        job: how to read them.
        processes: workers of a cluster that is started for this alone; another one has as many as CPUs.
        address: of a cluster, as Ray has it: ``HOST:6379``, or ``auto`` for the one that this machine is a node of.
            Empty: one is started on this machine, and ends with the last block.

    Yields:
        A block for each chunk, in order.

    Raises:
        ModelError: the model cannot be loaded.
        SettingError: there is no such cluster.
        InkdigitsError: the cluster failed, or has another version of inkdigits.
    """
    job.recognizer()  # what cannot be loaded is reported once, in one line
    _, path, _ = find_model(job.model)
    work = _Work(job, path.read_bytes(), inkdigits.__version__)
    with _connected(address, processes) as ray:
        try:
            sent = ray.put(work)
            before: Iterator[Block] = iter(())
            for wave in _waves(chunks, job.limits):
                stream = _read_wave(wave, sent)
                first = next(stream)  # it has begun
                yield from before
                before = chain([first], stream)
            yield from before
        except ray.exceptions.RayError as error:
            raise InkdigitsError(f"the Ray cluster could not read on: {_reason(error)}") from None


@contextmanager
def _connected(address: str, processes: int) -> Iterator[Any]:
    """Ray, connected, and quiet: progress and errors are the command's own."""
    if address.startswith("ray://"):
        raise SettingError(
            f"Ray Data does not run through Ray Client ({address}); run this on a node of the cluster, "
            "and give its address without ray://, or auto"
        )
    # A token of its own: Ray would leave one in ~/.ray.
    own_environment = {} if address else {**OWN_CLUSTER, "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    with _environment({USAGE_STATISTICS: "0", **own_environment}):
        yield from _started(address, processes)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment, which processes that are started inherit, and put back what was there."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _started(address: str, processes: int) -> Iterator[Any]:
    import ray
    import ray.data

    # Workers of a cluster of one's own are as nice as processes would be: at Ray's 15 they all but stand still where
    # the machine has anything else to do.
    own = {"num_cpus": processes, "include_dashboard": False, "_system_config": {"worker_niceness": 0}}
    start: dict[str, Any] = {} if address else own
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address not in ("", "auto"):  # Ray would try for a minute
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        ray.init(address or "local", **start, **quiet)
    except Exception as error:  # which is also what Ray raises where a node does not start in time
        what, mend = f"connect to Ray at {address}", "start a node here with ray start --address=HEAD:6379"
        if not address:
            what, mend = "start Ray", "try again on a less busy machine, or without --engine ray"
        raise SettingError(f"cannot {what}: {_reason(error)}; {mend}") from None
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # it shows a traceback of Ctrl-C, too
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    try:
        yield ray
    finally:
        ray.shutdown()


def _waves(chunks: Iterable[Chunk], limits: Limits) -> Iterator[ray.data.Dataset]:
    """Chunks by the wave, each a row of a dataset: enough for every CPU that the cluster has by then."""
    wave: list[dict[str, bytes]] = []
    size, enough = 0, FIRST_WAVE
    for chunk in chunks:
        if not isinstance(chunk.sources, np.ndarray):
            chunk = Chunk(chunk.names, [_content(source, limits) for source in chunk.sources])
        content = pickle.dumps(chunk, protocol=5)
        wave.append({"chunk": content})
        size += len(content)
        if size >= enough and len(wave) >= _cpus():
            yield _sent(wave, size)
            size, enough = 0, min(2 * enough, LARGEST_WAVE)
    if wave:
        yield _sent(wave, size)


def _cpus() -> int:
    import ray

    return int(ray.cluster_resources().get("CPU", 1))


def _sent(wave: list[dict[str, bytes]], size: int) -> ray.data.Dataset:
    """Return the dataset of a wave, which is emptied: what Ray's object store has need not be held twice."""
    import ray.data

    tasks = max(ceil(len(wave) / TASK_CHUNKS), ceil(size / TASK_BYTES), TASKS_PER_CPU * _cpus())
    sent = ray.data.from_items(wave, override_num_blocks=min(tasks, len(wave)))
    wave.clear()
    return sent


def _content(source: ImageSource | ImageError, limits: Limits) -> ImageSource | ImageError:
    """Return a picture's bytes in place of its path, which means nothing on another machine."""
    if not isinstance(source, PathLike):
        return source
    try:
        return encoded(source, limits)
    except ImageError as error:
        return error


def _read_wave(wave: ray.data.Dataset, work: ray.ObjectRef[_Work]) -> Iterator[Block]:
    # Tasks and not actors: a task that was lost with its node runs on any other, an actor waits until there is room.
    read = wave.map_batches(
        _read,  # type: ignore[arg-type]  # its type leaves out what fn_kwargs gives
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=1,
        fn_kwargs={"work": work},
    )
    for batch in read.iter_batches(batch_size=None, batch_format="pyarrow"):
        for cell in batch["found"]:
            found: Block | InkdigitsError = pickle.loads(cell.as_buffer())
            if isinstance(found, InkdigitsError):
                raise found
            yield found


def _read(batch: pa.Table, work: ray.ObjectRef[_Work]) -> dict[str, list[bytes]]:
    """Return what a worker does. An error of ours is an answer: one that is raised comes as a page of Ray's."""
    found: list[Block | InkdigitsError] = []
    try:
        job, recognizer = _ready(work)
        found += (job.read(recognizer, pickle.loads(cell.as_buffer())) for cell in batch["chunk"])
    except InkdigitsError as error:
        found.append(error)
    return {"found": [pickle.dumps(one) for one in found]}


@lru_cache(maxsize=1)  # one model a worker, however many chunks it reads
def _ready(work: ray.ObjectRef[_Work]) -> tuple[Job, Recognizer]:
    import ray

    given: _Work = ray.get(work)
    if given.version != inkdigits.__version__:
        here = f"{inkdigits.__version__} on {ray.util.get_node_ip_address()}"
        raise InkdigitsError(f"inkdigits is {given.version} here, but {here}: install the same on every node")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        path.write_bytes(given.model)
        return given.job, replace(given.job, model=str(path)).recognizer()


def _reason(error: Exception) -> str:
    """Return the last line that names an error: Ray's tell what happened on a worker among much else."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return next((line for line in reversed(lines) if "Error: " in line), lines[-1])
