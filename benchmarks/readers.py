"""Read the same numbers with inkdigits and with other readers, one row each: whole strings right, and how fast.

    python benchmarks/readers.py
    python benchmarks/readers.py --readers inkdigits tesseract --each 60

Compared by their digits alone, on one thread, recognition only: each picture is of one line. Tesseract is the program
(apt-get install tesseract-ocr), in its mode for a line, allowed to answer digits only, and started once for all
pictures of a set. RapidOCR (pip install rapidocr-onnxruntime) recognizes without detection. ddddocr (pip install
ddddocr) gives the most likely digit, or none, in each of its columns. A reader that is not installed is named and not
measured. The time is that of reading decoded pictures, the least of ROUNDS. Tesseract and ``POST /read`` decode PNG
files, too.

``post-read`` asks ``inkdigits serve`` with one worker, over one connection, and ``post-read-all`` with a worker a core,
over CONNECTIONS connections from the same machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from threading import local
from time import perf_counter
from typing import Any, NamedTuple

import httpx
import numpy as np
from PIL import Image

from inkdigits.evaluation.numbers import same_text
from inkdigits.preprocess import Limits
from inkdigits.preprocess.decode import decode
from inkdigits.recognizer import Recognizer
from inkdigits.settings import Settings

from _common import ROOT, encoded, make_parser, percent, record
from picture_sets import numbers
from picture_sets.numbers import Written
from picture_sets.tally import Measured

sys.path.append(str(ROOT / "tests"))
from support.servers import Server

SEED = 5
DIGITS = "0123456789"

CONNECTIONS = 8
ROUNDS = 3  # times that a set is read; the fastest counts, as other programs may run


class Reader(NamedTuple):
    """A program: ``read(prepare(images))`` are the texts; only ``read`` is timed."""

    prepare: Callable[[Sequence[Image.Image]], Any]
    read: Callable[[Any], list[str]]


@contextmanager
def inkdigits() -> Iterator[Reader]:
    recognizer = Recognizer(threads=1)
    yield Reader(list, lambda images: [recognizer.read(image, layout="line").text for image in images])


@contextmanager
def post_read(workers: int, connections: int) -> Iterator[Reader]:
    server = Server("--workers", str(workers))
    mine = local()

    def ask(file: bytes) -> str:
        if not hasattr(mine, "client"):
            mine.client = httpx.Client(base_url=server.url, headers={"Content-Type": "image/png"})
        response = mine.client.post("/read?layout=line", content=file)
        response.raise_for_status()
        return str(response.json()["text"])

    try:
        with ThreadPoolExecutor(connections) as threads:
            yield Reader(lambda images: [encoded(image, "PNG") for image in images], lambda f: [*threads.map(ask, f)])
    finally:
        server.stop()


@contextmanager
def tesseract() -> Iterator[Reader]:
    subprocess.run(["tesseract", "--version"], check=True, capture_output=True)
    with tempfile.TemporaryDirectory() as folder:

        def prepare(images: Sequence[Image.Image]) -> list[Path]:
            paths = [Path(folder) / f"{i}.png" for i in range(len(images))]
            for path, image in zip(paths, images, strict=True):
                image.save(path)
            return paths

        def read(paths: Sequence[Path]) -> list[str]:
            listed = Path(folder) / "list.txt"
            listed.write_text("\n".join(map(str, paths)) + "\n", encoding="utf-8")
            command = ["tesseract", str(listed), "-", "--psm", "7", "-c", f"tessedit_char_whitelist={DIGITS}"]
            environ = {**os.environ, "OMP_THREAD_LIMIT": "1"}
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=environ)
            return done.stdout.split("\f")[: len(paths)]

        yield Reader(prepare, read)


@contextmanager
def rapidocr() -> Iterator[Reader]:
    from rapidocr_onnxruntime import RapidOCR

    engine = RapidOCR(intra_op_num_threads=1, inter_op_num_threads=1)

    def read(images: Sequence[np.ndarray]) -> list[str]:
        answers = (engine(image, use_det=False, use_cls=False, use_rec=True)[0] for image in images)
        return [answer[0][0] if answer else "" for answer in answers]

    yield Reader(lambda images: [np.asarray(image.convert("RGB"))[..., ::-1] for image in images], read)


@contextmanager
def ddddocr() -> Iterator[Reader]:
    import ddddocr as package

    engine = package.DdddOcr(show_ad=False)

    def text(image: Image.Image) -> str:
        answer = engine.classification(image, probability=True)
        characters = answer["charset"]
        columns = [0, *(i for i, c in enumerate(characters) if c and c in DIGITS)]  # the first is none
        best = np.asarray(answer["probabilities"])[:, 0, columns].argmax(axis=1)
        kept = best[np.flatnonzero(np.diff(best, prepend=0) != 0)]
        return "".join(characters[columns[i]] for i in kept if i)

    yield Reader(lambda images: [image.convert("RGB") for image in images], lambda images: [*map(text, images)])


READERS: dict[str, Callable[[], Any]] = {
    "inkdigits": inkdigits,
    "post-read": partial(post_read, 1, 1),
    "post-read-all": partial(post_read, os.cpu_count() or 1, CONNECTIONS),
    "tesseract": tesseract,
    "rapidocr": rapidocr,
    "ddddocr": ddddocr,
}


def sets(measured: Measured, each: int) -> dict[str, list[Written]]:
    rng = np.random.default_rng(SEED)
    chosen: dict[str, list[Written]] = {}
    for source, some in numbers.hands(measured.settings).items():
        for contact in numbers.CONTACTS:
            chosen[f"{source} {contact}"] = list(numbers.composed(some, contact, each))
    for name, cases in (
        ("CROHME", list(numbers.crohme(measured))),
        ("cheques", list(numbers.folder(measured, "car-a"))),
        ("pictures", [case for case in numbers.folder(measured, "pictures") if case.text.isdigit()]),
    ):
        chosen[name] = [cases[i] for i in rng.permutation(len(cases))[: 2 * each]]
    return chosen


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--readers", nargs="+", choices=READERS, default=list(READERS))
    parser.add_argument("--each", type=int, default=100, help="numbers of each composed set; twice as many real ones")
    args: argparse.Namespace = parser.parse_args()
    measured = Measured(Recognizer(), Settings.from_env())
    every = sets(measured, args.each)
    for name in args.readers:
        with ExitStack() as stack:
            try:
                reader = stack.enter_context(READERS[name]())
            except (ImportError, OSError, subprocess.CalledProcessError) as error:
                print(f"{name} not measured: {error}")
                continue
            measure(name, reader, every)


def measure(name: str, reader: Reader, every: dict[str, list[Written]]) -> None:
    figures: dict[str, object] = {"reader": name}
    seconds, counts = [], []
    for title, cases in every.items():
        images = [decode(case.image, Limits()) for case in cases]
        inputs = reader.prepare([image.convert("L") if image.mode == "F" else image for image in images])
        reader.read(inputs[:1])
        took = []
        for _ in range(ROUNDS):
            start = perf_counter()
            texts = reader.read(inputs)
            took.append(perf_counter() - start)
        seconds.append(min(took))
        counts.append(len(cases))
        right = [same_text(case.text, text, digits_only=True) for text, case in zip(texts, cases, strict=True)]
        figures[title] = percent(float(np.mean(right)))
    median_ms = 1000 * np.median(np.divide(seconds, counts))
    record(**figures, n=sum(counts), median_ms=f"{median_ms:.1f}", per_second=round(sum(counts) / sum(seconds)))


if __name__ == "__main__":
    main()
