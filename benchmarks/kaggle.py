"""From Kaggle's tables to a submission, scored on labels that were kept back.

    python benchmarks/kaggle.py [options of inkdigits train]

The tables are made of MNIST in the sizes that Kaggle's Digit Recognizer has: ``train.csv`` is 42,000 of the 60,000
training images, ``test.csv`` the other 18,000 and the 10,000 test images, without labels. Then ``inkdigits train --data
train.csv`` and ``inkdigits submit test.csv`` are run as a user runs them, and the submission is compared with the
labels. How long the table takes to read, and the memory that takes, is measured in a process of its own.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from inkdigits.data.catalog import load
from inkdigits.data.tables import write_csv
from inkdigits.evaluation.evaluate import wilson
from inkdigits.settings import Settings

from _common import percent, record

TRAIN_ROWS = 42_000
SEED = 0  # of which images go into which table
READS = 5
MEGABYTE = 1_000_000

# Peak memory is of the whole process, so the reader gets one. Not getrusage's, which begins at the parent's:
# https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
READER = """
import json, re, sys, time
from pathlib import Path
from inkdigits.data.tables import read_table
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
before, started, spent = peak(), time.perf_counter(), time.process_time()
images, labels = read_table(Path(sys.argv[1]), labelled=True)
seconds, cpu = time.perf_counter() - started, time.process_time() - spent
print(json.dumps({"rows": len(images), "seconds": seconds, "cpu": cpu, "bytes": peak() - before}))
"""


def tables(folder: Path) -> np.ndarray:
    """Write both tables; returns the labels of the test table."""
    settings = Settings.from_env()
    training, test = (load("mnist", settings, part=part) for part in ("train", "test"))
    order = np.random.RandomState(SEED).permutation(len(training))
    chosen, rest = order[:TRAIN_ROWS], order[TRAIN_ROWS:]
    images, labels = (
        np.concatenate([a[rest], b]) for a, b in ((training.images, test.images), (training.labels, test.labels))
    )
    with (folder / "train.csv").open("w", encoding="ascii") as file:
        write_csv(file, training.images[chosen], training.labels[chosen])
    with (folder / "test.csv").open("w", encoding="ascii") as file:
        write_csv(file, images)
    return labels


def inkdigits(folder: Path, *argv: str) -> float:
    """Run a command in the folder; returns its seconds."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "inkdigits", *argv], cwd=folder, check=True)
    return time.perf_counter() - started


def main() -> None:
    options = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        labels = tables(folder)
        reads = []
        for _ in range(READS):
            command = [sys.executable, "-c", READER, folder / "train.csv"]
            reads.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        train_s = inkdigits(folder, "train", "--data", "train.csv", *options, "--out", "model.onnx")
        submit_s = inkdigits(folder, "submit", "test.csv", "--model", "model.onnx", "-o", "submission.csv")
        entry = json.loads((folder / "registry.json").read_text(encoding="utf-8"))["models"]["model"]
        with (folder / "submission.csv").open(encoding="ascii", newline="") as file:
            rows = list(csv.DictReader(file))
    assert [int(row["ImageId"]) for row in rows] == list(range(1, len(labels) + 1))
    right = int((np.array([int(row["Label"]) for row in rows]) == labels).sum())
    low, high = wilson(right, len(labels))
    record(
        network=entry["network"],
        train_command=entry["command"],
        read_rows=reads[0]["rows"],
        read_s=f"{median(read['seconds'] for read in reads):.2f}",
        read_cpu_s=f"{median(read['cpu'] for read in reads):.2f}",
        reads=READS,
        read_peak_mb=round(max(read["bytes"] for read in reads) / MEGABYTE),
        train_s=round(train_s),
        validation=percent(entry["metrics"]["validation"]["accuracy"]),
        submit_s=round(submit_s, 1),
        n=len(labels),
        accuracy=percent(right / len(labels)),
        interval95=f"{percent(low)}-{percent(high)}",
    )


if __name__ == "__main__":
    main()
