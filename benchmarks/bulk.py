"""``inkdigits predict`` on a million digits in a Parquet table, and on PNG files, beside what could not be less work.

Bare, for the table: ONNX Runtime on batches that are ready, as many sessions of one thread as processes. Bare, for the
files: decode, preprocess and ONNX Runtime in as many processes, no output. Both are measured in the same run, just
before the command and right after; the share is the command's rate, its start and its output included, by their mean.
Memory is the largest process' peak; with Ray, that of the command alone. Ray reads the same table on a cluster that the
command starts on this machine, to the same bytes or the script ends.

Parts: memory (the peak at a hundredth of the images), parquet (CSV and Parquet out), ray, png. Each is measured by
itself and recorded as it is done; the inputs are kept in build/bulk for the next time. Run it where inkdigits[ray]
alone is installed, as its users have it: what the development environment has besides slows down Ray's start.

    python3 -m venv build/bulk/env && build/bulk/env/bin/pip install -e '.[ray]'
    build/bulk/env/bin/python benchmarks/bulk.py --only png
"""

from __future__ import annotations

import filecmp
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from itertools import repeat
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from PIL import Image

from inkdigits.data.catalog import load
from inkdigits.data.tables import PIXELS
from inkdigits.preprocess import preprocess
from inkdigits.recognizer import BATCH_SIZE, Recognizer
from inkdigits.settings import Settings

from _common import ROOT, make_parser, percent, record

BUILD = ROOT / "build" / "bulk"
PARTS = ("memory", "parquet", "ray", "png")
TABLE = "28×28 from Parquet"
ROW_GROUP = 20_000  # rows
SIDE = 280  # pixels of a picture
BARE_IMAGES = 40_000  # ready images of one measurement of bare ONNX Runtime


def write_table(images: np.ndarray, n: int, path: Path) -> None:
    """``n`` rows: the images again and again."""
    schema = pa.schema([(name, pa.uint8()) for name in PIXELS])
    part = path.with_suffix(".part")
    with pa.parquet.ParquetWriter(part, schema) as table:
        for start in range(0, n, ROW_GROUP):
            rows = images[np.arange(start, min(start + ROW_GROUP, n)) % len(images)].reshape(-1, len(PIXELS))
            table.write_table(pa.table(list(np.ascontiguousarray(rows.T)), schema=schema))
    part.rename(path)


def write_pictures(images: np.ndarray, n: int, folder: Path) -> None:
    part = folder.with_suffix(".part")
    part.mkdir(exist_ok=True)
    for i in range(n):
        picture = Image.fromarray(255 - images[i % len(images)]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        picture.save(part / f"{i:07}.png")
    part.rename(folder)


def run_ready(batches: np.ndarray, n: int) -> None:
    recognizer = Recognizer()
    recognizer.logits(batches[:BATCH_SIZE])
    _started.wait()
    for i in range(n // BATCH_SIZE):
        at = i * BATCH_SIZE % (len(batches) - BATCH_SIZE)
        recognizer.logits(batches[at : at + BATCH_SIZE])


def run_files(paths: list[Path]) -> None:
    recognizer = Recognizer()
    recognizer.predict(paths[0])
    _started.wait()
    for i in range(0, len(paths), BATCH_SIZE):
        seen = [preprocess(path) for path in paths[i : i + BATCH_SIZE]]
        recognizer.logits(np.stack([s.image for s in seen])[:, None])


_started = None


def _call(function: Callable[..., None], started: object, *args: object) -> None:
    global _started
    _started = started
    function(*args)


def together(function: Callable[..., None], arguments: list[tuple]) -> float:
    """Seconds from when each process is ready until all are done."""
    context = multiprocessing.get_context("spawn")
    started = context.Barrier(len(arguments) + 1)
    processes = [context.Process(target=_call, args=(function, started, *args)) for args in arguments]
    for process in processes:
        process.start()
    started.wait()
    start = time.perf_counter()
    for process in processes:
        process.join()
        if process.exitcode:
            raise RuntimeError(f"a process ended with {process.exitcode}")
    return time.perf_counter() - start


def predict(source: Path, out: Path, processes: int, engine: str) -> tuple[float, float]:
    """Seconds of the command from start to end, and MiB of its largest process."""
    code = (
        "import resource, sys; from inkdigits.cli import main; code = main(sys.argv[1:]); "
        "print(max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))"
    )
    options = ["predict", str(source), "-o", str(out), "--processes", str(processes), "--engine", engine]
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *options], capture_output=True, text=True, check=True)
    return time.perf_counter() - start, int(done.stdout) / 1024


class Measured:
    """The parts, each with the inputs that it needs."""

    def __init__(self, images: int, pictures: int, processes: int) -> None:
        self._n, self._images, self._pictures = processes, images, pictures
        self._digits = load("mnist", Settings.from_env(), part="test").images
        self._out = Path(tempfile.mkdtemp(dir=BUILD))

    def close(self) -> None:
        shutil.rmtree(self._out)

    def memory(self) -> None:
        table = self._table(self._images // 100)
        self._measure(TABLE, table, self._images // 100, "csv", self._bare_ready)

    def parquet(self) -> None:
        table = self._table(self._images)
        for ending in ("csv", "parquet"):
            self._measure(TABLE, table, self._images, ending, self._bare_ready)

    def ray(self) -> None:
        if find_spec("rfc3987_syntax"):  # jsonschema imports it in each of Ray's processes, which takes seconds
            raise SystemExit("measure Ray where inkdigits[ray] alone is installed: python benchmarks/bulk.py --help")
        table = self._table(self._images)
        plain, _ = predict(table, self._out / "out.csv", self._n, "processes")
        seconds, memory = predict(table, self._out / "ray.csv", self._n, "ray")
        if not filecmp.cmp(self._out / "out.csv", self._out / "ray.csv", shallow=False):
            raise RuntimeError("Ray's output is another one")
        record(
            what=TABLE,
            engine="ray",
            output="csv",
            n=self._images,
            processes=self._n,
            seconds=round(seconds, 2),
            rate=round(self._images / seconds),
            processes_seconds=round(plain, 2),
            times_processes=round(seconds / plain, 2),
            peak_mib=round(memory),
        )

    def png(self) -> None:
        folder = BUILD / f"{self._pictures}-pictures"
        if not folder.exists():
            write_pictures(self._digits, self._pictures, folder)
        paths = sorted(folder.iterdir())

        def bare() -> float:
            return len(paths) / together(run_files, [(paths[i :: self._n],) for i in range(self._n)])

        self._measure(f"{SIDE}×{SIDE} PNG files", folder, len(paths), "csv", bare)

    def _table(self, count: int) -> Path:
        path = BUILD / f"{count}.parquet"
        if not path.exists():
            write_table(self._digits, count, path)
        return path

    def _bare_ready(self) -> float:
        ready = np.stack([preprocess(image).image for image in self._digits])[:, None]
        return self._n * BARE_IMAGES / together(run_ready, list(repeat((ready, BARE_IMAGES), self._n)))

    def _measure(self, what: str, source: Path, count: int, ending: str, bare: Callable[[], float]) -> None:
        before = bare()
        seconds, memory = predict(source, self._out / f"out.{ending}", self._n, "processes")
        rates = before, bare()
        record(
            what=what,
            engine="processes",
            output=ending,
            n=count,
            processes=self._n,
            seconds=round(seconds, 2),
            rate=round(count / seconds),
            bare_rate_before=round(rates[0]),
            bare_rate_after=round(rates[1]),
            share=percent(count / seconds / (sum(rates) / 2)),
            peak_mib=round(memory),
        )


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--only", choices=PARTS, nargs="+", default=PARTS, metavar="PART", help="of " + ", ".join(PARTS)
    )
    args = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    measured = Measured(args.images, args.pictures, args.processes)
    try:
        for part in args.only:
            getattr(measured, part)()
    finally:
        measured.close()


if __name__ == "__main__":
    main()
