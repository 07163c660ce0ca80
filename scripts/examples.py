"""Make the files in examples/, which the commands of the README and the docs name: drawn by this project's own pen; and
row_data.json, a 1.

python scripts/examples.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from inkdigits.preprocess import preprocess
from inkdigits.self_test import DIGIT, known_digit

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from support.drawings import page, picture  # noqa: E402

FOLDER = ROOT / "examples"
SIDE = 140  # pixels of a picture
QUALITY = 90  # of a JPEG
# What is written in the pictures of numbers, by row.
NUMBERS = {
    "numbers/code.png": ["00470815"],
    "numbers/date.png": ["24.12.2026"],
    "numbers/price.jpg": ["1.420"],
    "numbers/table.png": ["12 340 7", "58 961 3"],
    "numbers/year.png": ["2024"],
}
DARK = {"paper": 24, "ink": 232}  # a board and its chalk


def pictures() -> dict[str, np.ndarray]:
    """The pictures by name, as grey pixels."""
    return {
        "seven.png": picture(7, SIDE),
        "two.jpg": picture(2, SIDE, paper=236, ink=40),
        "scans/blank.png": np.full((SIDE, SIDE), 250, np.uint8),
        "scans/five.webp": picture(5, SIDE, **DARK),
        "scans/four.jpg": picture(4, 200, height=SIDE, ink_size=70, paper=228, ink=60),
        "scans/three.png": picture(3, SIDE, ink_size=60, at=(20.0, 60.0)),
        "scans/triangle.png": triangle(),
        **{name: page(*rows, paper=250, ink=20) for name, rows in NUMBERS.items()},
        **{f"labelled/{digit}/{digit}.png": picture(digit, SIDE, pen=9.0) for digit in range(10)},
    }


def triangle() -> np.ndarray:
    """A triangle, which is not a digit, as grey pixels."""
    sheet = Image.new("L", (SIDE, SIDE), 250)
    ImageDraw.Draw(sheet).polygon([(70, 25), (120, 115), (20, 115)], outline=40, width=8)
    return np.asarray(sheet)


def texts() -> dict[str, str]:
    """What is sent to a server as JSON, by name."""
    seven, two = (np.rint(preprocess(picture(digit, SIDE)).image * 255).astype(int) for digit in (7, 2))
    tensor = {"name": "image", "shape": [1, 28, 28], "datatype": "UINT8", "data": seven.ravel().tolist()}
    files = {
        "seven.json": {"pixels": seven.tolist()},
        "seven-and-two.json": {"instances": [seven.tolist(), two.tolist()]},
        "infer-seven.json": {"inputs": [tensor]},
        "row_data.json": row(DIGIT),
    }
    return {name: json.dumps(content) + "\n" for name, content in files.items()}


def row(digit: int) -> dict[str, int]:
    """A digit that a server reads when it starts, as a row of Kaggle's table: ink 255 on paper 0."""
    ink = 255 - np.asarray(known_digit(digit))
    return {f"pixel{i}": value for i, value in enumerate(ink.ravel().tolist())}


def texts_of_numbers() -> str:
    """What is written in the pictures of numbers, as a table."""
    rows = [f'{name.removeprefix("numbers/")},"{chr(10).join(rows)}"' for name, rows in NUMBERS.items()]
    return "\n".join(["file,text", *rows]) + "\n"


def others() -> dict[str, bytes]:
    """A seven as 784 bytes, one a pixel; and what no reader of pictures takes."""
    seven = np.rint(preprocess(picture(7, SIDE)).image * 255).astype(np.uint8)
    return {
        "seven.raw": seven.tobytes(),
        "numbers/texts.csv": texts_of_numbers().encode(),
        "notes.pdf": b"%PDF-1.7\n% No picture, to show how that is answered.\n%%EOF\n",
    }


if __name__ == "__main__":
    for name, pixels in pictures().items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=QUALITY, optimize=True)
    for name, text in texts().items():
        (FOLDER / name).write_text(text, encoding="ascii")
    for name, content in others().items():
        (FOLDER / name).write_bytes(content)
    (ROOT / "row_data.json").write_text(json.dumps(row(1)) + "\n", encoding="ascii")
