"""Read the same numbers with inkdigits and with other readers, one row each: whole strings right, and milliseconds.

    python benchmarks/readers.py
    python benchmarks/readers.py --readers inkdigits tesseract --each 60

Compared by their digits alone, on one thread, recognition only: each picture is of one line. Tesseract is the program
(apt-get install tesseract-ocr), in its mode for a line, allowed to answer digits only, and started once for all
pictures. RapidOCR (pip install rapidocr-onnxruntime) recognizes without detection. ddddocr (pip install ddddocr) gives
the most likely digit, or none, in each of its columns. A reader that is not installed is named and not measured.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

import numpy as np
from PIL import Image

from inkdigits.evaluation.numbers import same_text
from inkdigits.preprocess import Limits
from inkdigits.preprocess.decode import decode
from inkdigits.recognizer import Recognizer
from inkdigits.settings import Settings

from _common import make_parser, percent, record
from picture_sets import numbers
from picture_sets.numbers import Written
from picture_sets.tally import Measured

SEED = 5
DIGITS = "0123456789"

Reader = Callable[[Sequence[Image.Image]], list[str]]


def inkdigits() -> Reader:
    recognizer = Recognizer(threads=1)
    return lambda images: [recognizer.read(image, layout="line").text for image in images]


def tesseract() -> Reader:
    subprocess.run(["tesseract", "--version"], check=True, capture_output=True)

    def read(images: Sequence[Image.Image]) -> list[str]:
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / f"{i}.png" for i in range(len(images))]
            for path, image in zip(paths, images, strict=True):
                image.save(path)
            listed = Path(folder) / "list.txt"
            listed.write_text("\n".join(map(str, paths)) + "\n", encoding="utf-8")
            command = ["tesseract", str(listed), "-", "--psm", "7", "-c", f"tessedit_char_whitelist={DIGITS}"]
            done = subprocess.run(
                command, check=True, capture_output=True, text=True, env={**os.environ, "OMP_THREAD_LIMIT": "1"}
            )
            return done.stdout.split("\f")[: len(images)]

    return read


def rapidocr() -> Reader:
    from rapidocr_onnxruntime import RapidOCR

    engine = RapidOCR(intra_op_num_threads=1, inter_op_num_threads=1)

    def read(images: Sequence[Image.Image]) -> list[str]:
        found = []
        for image in images:
            answer, _ = engine(np.asarray(image.convert("RGB"))[..., ::-1], use_det=False, use_cls=False, use_rec=True)
            found.append(answer[0][0] if answer else "")
        return found

    return read


def ddddocr() -> Reader:
    import ddddocr as package

    engine = package.DdddOcr(show_ad=False)

    def read(images: Sequence[Image.Image]) -> list[str]:
        found = []
        for image in images:
            answer = engine.classification(image.convert("RGB"), probability=True)
            characters = answer["charset"]
            columns = [0, *(i for i, c in enumerate(characters) if c and c in DIGITS)]  # the first is none
            best = np.asarray(answer["probabilities"])[:, 0, columns].argmax(axis=1)
            kept = best[np.flatnonzero(np.diff(best, prepend=0) != 0)]
            found.append("".join(characters[columns[i]] for i in kept if i))
        return found

    return read


READERS: dict[str, Callable[[], Reader]] = {
    "inkdigits": inkdigits,
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
        try:
            reader = READERS[name]()
        except (ImportError, OSError, subprocess.CalledProcessError) as error:
            print(f"{name} not measured: {error}")
            continue
        figures: dict[str, object] = {"reader": name}
        times = []
        for title, cases in every.items():
            images = [decode(case.image, Limits()) for case in cases]
            images = [image.convert("L") if image.mode == "F" else image for image in images]
            reader(images[:1])
            start = perf_counter()
            texts = reader(images)
            times.append(1000 * (perf_counter() - start) / len(images))
            right = [same_text(case.text, text, digits_only=True) for text, case in zip(texts, cases, strict=True)]
            figures[title] = percent(float(np.mean(right)))
        record(**figures, n=sum(map(len, every.values())), median_ms=round(float(np.median(times)), 1))


if __name__ == "__main__":
    main()
