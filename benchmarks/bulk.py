"""``inkdigits predict`` on a million digits in a Parquet table, and on PNG files, beside what could not be less work.

Bare, for the table: ONNX Runtime on batches that are ready, as many sessions of one thread as processes. Bare, for the
files: decode, normalise and ONNX Runtime in as many processes, nothing written. Both are measured in the same run, just
before the command and right after; the share is the command's rate, its start and its output included, by their mean.
Memory is the largest process' peak; with Ray, that of the command alone. Ray reads the same table on a cluster that the
command starts on this machine, to the same bytes or the script ends.

    python benchmarks/bulk.py --images 1000000 --pictures 10000 --processes 2
"""

from __future__ import annotations

import argparse
import filecmp
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import repeat
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from PIL import Image

from inkdigits.image import normalise
from inkdigits.recognizer import BATCH_SIZE, Recognizer
from inkdigits.settings import Settings
from inkdigits.tables import PIXELS
from inkdigits.training.data import load

from _common import percent, record

ROW_GROUP = 20_000  # rows
SIDE = 280  # pixels of a picture
BARE_IMAGES = 40_000  # ready images of one measurement of bare ONNX Runtime


def write_table(images: np.ndarray, n: int, path: Path) -> None:
    """``n`` rows: the images again and again."""
    schema = pa.schema([(name, pa.uint8()) for name in PIXELS])
    with pa.parquet.ParquetWriter(path, schema) as table:
        for start in range(0, n, ROW_GROUP):
            rows = images[np.arange(start, min(start + ROW_GROUP, n)) % len(images)].reshape(-1, len(PIXELS))
            table.write_table(pa.table(list(np.ascontiguousarray(rows.T)), schema=schema))


def write_pictures(images: np.ndarray, n: int, folder: Path) -> None:
    folder.mkdir()
    for i in range(n):
        picture = Image.fromarray(255 - images[i % len(images)]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        picture.save(folder / f"{i:07}.png")


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
        seen = [normalise(path) for path in paths[i : i + BATCH_SIZE]]
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    n = args.processes
    digits = load("mnist", Settings.from_env(), part="test").images
    ready = np.stack([normalise(image).image for image in digits])[:, None]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def measure(what: str, source: Path, count: int, ending: str, bare: Callable[[], float]) -> float:
            before = bare()
            seconds, memory = predict(source, folder / f"out.{ending}", n, "processes")
            rates = before, bare()
            record(
                what=what,
                engine="processes",
                output=ending,
                n=count,
                processes=n,
                seconds=round(seconds, 2),
                rate=round(count / seconds),
                bare_rate_before=round(rates[0]),
                bare_rate_after=round(rates[1]),
                share=percent(count / seconds / (sum(rates) / 2)),
                peak_mib=round(memory),
            )
            return seconds

        def measure_ray(what: str, source: Path, count: int, plain: float) -> None:
            seconds, memory = predict(source, folder / "ray.csv", n, "ray")
            if not filecmp.cmp(folder / "out.csv", folder / "ray.csv", shallow=False):
                raise RuntimeError("Ray's output is another one")
            record(
                what=what,
                engine="ray",
                output="csv",
                n=count,
                processes=n,
                seconds=round(seconds, 2),
                rate=round(count / seconds),
                times_processes=round(seconds / plain, 2),
                peak_mib=round(memory),
            )

        def bare_ready() -> float:
            return n * BARE_IMAGES / together(run_ready, list(repeat((ready, BARE_IMAGES), n)))

        for count in (args.images // 100, args.images):
            table = folder / f"{count}.parquet"
            write_table(digits, count, table)
            what = "28×28 from Parquet"
            seconds = measure(what, table, count, "csv", bare_ready)
            measure_ray(what, table, count, seconds)
            if count == args.images:
                measure(what, table, count, "parquet", bare_ready)
            table.unlink()
        pictures = folder / "pictures"
        write_pictures(digits, args.pictures, pictures)
        paths = sorted(pictures.iterdir())

        def bare_files() -> float:
            return len(paths) / together(run_files, [(paths[i::n],) for i in range(n)])

        measure(f"{SIDE}×{SIDE} PNG files", pictures, args.pictures, "csv", bare_files)


if __name__ == "__main__":
    main()
