"""Read newspaper sudokus, photographed with phones: printed digits and handwritten ones.

    python benchmarks/sudoku.py
    python benchmarks/sudoku.py --layout auto --errors --no-record

The photographs are read from the folder that INKDIGITS_DATA names: `sudoku/`, wichtounet/sudoku_dataset (B. Wicht and
J. Hennebert, CC BY 4.0). A cell is right if its text is; a grid, if all of its cells are. Published: 92.5% of grids.
They are for measuring only, never for training.
"""

from __future__ import annotations

import argparse
import statistics
from collections import Counter
from pathlib import Path
from time import process_time

from PIL import Image

from inkdigits.prediction import Reading
from inkdigits.preprocess.decode import decode
from inkdigits.preprocess.files import Limits
from inkdigits.reading import Layout
from inkdigits.recognizer import Recognizer
from inkdigits.settings import Settings

from _common import make_parser, percent, print_row, record

SIDE = 9  # cells of a sudoku's row
LARGE = 12_000_000  # pixels of a phone's photograph
TIMED = 5  # photographs that are enlarged to it


def options() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--model", help="name of a shipped model, or path of an .onnx file; default: the shipped one")
    parser.add_argument("--layout", choices=("auto", "grid"), default="grid")
    parser.add_argument("--errors", action="store_true", help="print what was read wrong")
    parser.add_argument("--no-record", action="store_true", help="do not append to benchmarks/results/sudoku.csv")
    return parser.parse_args()


def truth(path: Path) -> list[list[str]]:
    """Return the nine rows of a .dat file; an empty cell is 0 there, and empty here."""
    rows = [line.split() for line in path.read_text().splitlines()[2 : 2 + SIDE]]
    return [["" if text == "0" else text for text in row] for row in rows]


def enlarged(picture: Image.Image) -> Image.Image:
    """Enlarge a picture to as many pixels as a phone's photograph has."""
    times = (LARGE / (picture.width * picture.height)) ** 0.5
    return picture.resize((round(times * picture.width), round(times * picture.height)), Image.Resampling.BICUBIC)


def timed(recognizer: Recognizer, picture: Image.Image, layout: Layout) -> tuple[Reading, float]:
    """Return what is read in a decoded picture, and the processor's seconds, which other work hardly changes."""
    start = process_time()
    reading = recognizer.read(picture, layout=layout)
    return reading, process_time() - start


def main() -> None:
    args = options()
    recognizer = Recognizer(args.model)
    data = Settings.from_env().data_folder
    pictures = sorted((data / "sudoku").glob("*.jpg")) if data else []
    if not pictures:
        raise SystemExit(f"{data} has no sudoku/*.jpg; set INKDIGITS_DATA to the folder that has sudoku/")
    found, wrong = Counter[str](), Counter[tuple[str, str]]()
    seconds = []
    for path in pictures:
        picture = decode(path, Limits())
        reading, took = timed(recognizer, picture, args.layout)
        seconds.append(took)
        expected = truth(path.with_suffix(".dat"))
        rows = [[text or "" for text in row] for row in reading.rows()]
        is_grid = reading.table is not None and len(rows) == SIDE and all(len(row) == SIDE for row in rows)
        found["grids found"] += is_grid
        faults = 0
        for i, row in enumerate(expected):
            for j, text in enumerate(row):
                read = rows[i][j] if is_grid else "not found"
                found["cells"] += 1
                found["right"] += read == text
                found["inked cells read as empty"] += bool(text) and not read
                found["empty cells read as inked"] += not text and bool(read)
                if read != text:
                    faults += 1
                    wrong[text, read] += 1
        found["grids right"] += not faults
        if args.errors and faults:
            print(f"{path.name}: {faults} wrong, {len(rows)} rows")
    if args.errors:
        print(
            *(f"{text or 'empty'} read as {read or 'empty'}: {n}" for (text, read), n in wrong.most_common()), sep="\n"
        )
    large = [timed(recognizer, enlarged(decode(path, Limits())), args.layout)[1] for path in pictures[:TIMED]]
    figures = {
        "model": f"{recognizer.model.name} {recognizer.model.sha256[:12]}",
        "layout": args.layout,
        "n": len(pictures),
        "grids_found": found["grids found"],
        "cells": found["cells"],
        "cells_right": found["right"],
        "cells_share": percent(found["right"] / found["cells"]),
        "grids_right": found["grids right"],
        "grids_share": percent(found["grids right"] / len(pictures)),
        "inked_read_as_empty": found["inked cells read as empty"],
        "empty_read_as_inked": found["empty cells read as inked"],
        "ms_median": f"{1000 * statistics.median(seconds):.1f}",
        "ms_most": f"{1000 * max(seconds):.1f}",
        "ms_12_megapixels": f"{1000 * statistics.median(large):.1f}",
    }
    (print_row if args.no_record else record)(**figures)


if __name__ == "__main__":
    main()
