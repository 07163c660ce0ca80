"""``inkdigits predict -o`` killed at random moments and gone on with: 20 rounds for each form of output, same bytes.

A round starts again, is killed (SIGKILL) once OUT.part has grown to a random size, goes on with ``--resume``, is killed
again at a random later size, and goes on to its end. Sizes go a little beyond the last: those kills fall into the
moments in which OUT is written, appears, and OUT.part goes. After each kill there must be no OUT, or the whole
one; at the end the uninterrupted run's, byte by byte, the same count of images, and no other files. The script ends at
the first that is not so.

Inputs are 1,024 of scikit-learn's digits as PNG files in a tar archive: four blocks of rows.
"""

from __future__ import annotations

import io
import random
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from _common import make_parser, record

FORMS = ("csv", "jsonl", "parquet", "txt")
IMAGES = 1024
BEYOND = 1.15  # of the whole size of OUT.part: the largest size that a kill waits for
LATE_SECONDS = 0.03  # at most, that a kill beyond the end waits
POLL_SECONDS = 0.002


def write_inputs(path: Path) -> int:
    images = np.minimum(load_digits().images[:IMAGES] * 16, 255).astype(np.uint8)
    with tarfile.open(path, "w") as archive:
        for i, image in enumerate(images):
            content = io.BytesIO()
            Image.fromarray(image).resize((56, 56)).save(content, "PNG")
            member = tarfile.TarInfo(f"{i:05}.png")
            member.size = content.tell()
            archive.addfile(member, io.BytesIO(content.getvalue()))
    return len(images)


def start(source: Path, out: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "inkdigits", "predict", str(source), "-o", str(out), "--processes", "1", *options]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


class Rounds:
    """The rounds of one form."""

    def __init__(self, source: Path, folder: Path, form: str, choice: random.Random) -> None:
        self._source, self._choice = source, choice
        self._out = folder / f"o.{form}"
        self._part = folder / f"o.{form}.part"
        whole = folder / f"whole.{form}"
        spool = folder / f"whole.{form}.part"
        process = start(source, whole)
        self._size = 0
        while process.poll() is None:
            self._size = max(self._size, size_of(spool))
            time.sleep(POLL_SECONDS)
        _, self._count = process.communicate()
        if process.returncode:
            raise SystemExit(f"the uninterrupted run ended with {process.returncode}")
        self._whole = whole.read_bytes()
        self.kills = self.with_rows = self.late = 0

    def round(self) -> None:
        self._out.unlink(missing_ok=True)
        first, second = sorted(self._choice.uniform(0, BEYOND) * self._size for _ in range(2))
        self._killed(first)
        self._killed(second, "--resume")
        process = start(self._source, self._out, "--resume")
        _, err = process.communicate()
        if process.returncode or err != self._count:
            raise SystemExit(f"it went on to exit code {process.returncode}: {err!r}, not {self._count!r}")
        self._check(must_be=True)
        left = sorted(path.name for path in self._out.parent.glob(f"*{self._out.name}*"))
        if left != [self._out.name]:
            raise SystemExit(f"beside the output lie {left}")

    def _killed(self, least: float, *options: str) -> None:
        process = start(self._source, self._out, *options)
        while process.poll() is None and size_of(self._part) < min(least, self._size):
            time.sleep(POLL_SECONDS)
        if least > self._size:
            time.sleep(self._choice.uniform(0, LATE_SECONDS))
        process.kill()
        process.communicate()
        if process.returncode == -signal.SIGKILL:
            self.kills += 1
            self.with_rows += size_of(self._part) > 0
            self.late += least > self._size
        self._check()

    def _check(self, must_be: bool = False) -> None:
        if self._out.exists() or must_be:
            found = self._out.read_bytes()
            if found != self._whole:
                raise SystemExit(f"{self._out.name} has {len(found):,} bytes, and not the uninterrupted run's")


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "digits.tar")
        n = write_inputs(source)
        for form in args.forms:
            rounds = Rounds(source, Path(folder), form, random.Random(f"{args.seed} {form}"))
            for _ in range(args.rounds):
                rounds.round()
            record(
                output=form,
                n=n,
                rounds=args.rounds,
                same_bytes=args.rounds,
                kills=rounds.kills,
                kills_with_finished_rows=rounds.with_rows,
                kills_at_the_end=rounds.late,
                seed=args.seed,
            )


if __name__ == "__main__":
    main()
