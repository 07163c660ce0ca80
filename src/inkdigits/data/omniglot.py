"""Omniglot: characters of many alphabets as pen strokes, real handwriting that is not a digit.

B. Lake, R. Salakhutdinov, J. Tenenbaum, Human-level concept learning through probabilistic program induction, 2015,
https://doi.org/10.1126/science.aab3050. License: MIT.
"""

from __future__ import annotations

import gzip
import json
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from inkdigits.errors import DataError
from inkdigits.settings import Settings

__all__ = ["HELD_BACK", "LOOKALIKES", "Character", "load_omniglot"]

FILES = ("characters.jsonl.gz", "strokes_background.zip")  # one JSON object a character; as the authors publish it
URL = "https://github.com/brendenlake/omniglot/raw/master/python/strokes_background.zip"
ALPHABETS = ("Japanese_(katakana)", "Sanskrit", "Tagalog")
HELD_BACK = "Tagalog"  # never trained on, so that it measures how well unknown characters are rejected

# Characters that look like a digit, with the digit and for how many drawers: left out of training and of figures.
# Printed by scripts/lookalikes.py, which states the rule.
LOOKALIKES = frozenset(
    {
        ("Japanese_(katakana)", "character01"),  # 3: 10 of 20
        ("Japanese_(katakana)", "character02"),  # 1: 17 of 20
        ("Japanese_(katakana)", "character03"),  # 7: 14 of 20
        ("Japanese_(katakana)", "character04"),  # 1: 16 of 20
        ("Japanese_(katakana)", "character08"),  # 7: 15 of 20
        ("Japanese_(katakana)", "character16"),  # 7: 14 of 20
        ("Japanese_(katakana)", "character18"),  # 7: 10 of 20
        ("Japanese_(katakana)", "character22"),  # 7: 15 of 20
        ("Japanese_(katakana)", "character24"),  # 1: 10 of 20
        ("Japanese_(katakana)", "character27"),  # 7: 17 of 20
        ("Japanese_(katakana)", "character32"),  # 4: 17 of 20
        ("Japanese_(katakana)", "character43"),  # 7: 15 of 20
        ("Japanese_(katakana)", "character45"),  # 1: 17 of 20
        ("Japanese_(katakana)", "character46"),  # 7: 20 of 20
        ("Sanskrit", "character05"),  # 5: 13 of 20
        ("Sanskrit", "character06"),  # 7: 11 of 20
        ("Sanskrit", "character10"),  # 7: 13 of 20
        ("Sanskrit", "character13"),  # 5: 15 of 20
        ("Sanskrit", "character15"),  # 9: 11 of 20
        ("Sanskrit", "character20"),  # 7: 10 of 20
        ("Sanskrit", "character21"),  # 9: 17 of 20
        ("Sanskrit", "character31"),  # 9: 14 of 20
        ("Sanskrit", "character33"),  # 8: 12 of 20
        ("Sanskrit", "character36"),  # 5: 16 of 20
        ("Sanskrit", "character37"),  # 3: 13 of 20
        ("Tagalog", "character03"),  # 3: 19 of 20
        ("Tagalog", "character16"),  # 0: 18 of 20
    }
)


@dataclass(frozen=True, eq=False)
class Character:
    """One character as it was written.

    Attributes:
        alphabet: one of ALPHABETS.
        name: of the character within its alphabet, such as "character01".
        drawer: number of the person, 1 to 20.
        strokes: each (n, 2) float64, x to the right and y downwards, in a box of about 105 × 105, n ≥ 1.
    """

    alphabet: str
    name: str
    drawer: int
    strokes: tuple[np.ndarray, ...]


def load_omniglot(settings: Settings) -> list[Character]:
    """Load the characters of three alphabets, 20 drawings of each, in the order of alphabet, name and drawer.

    Read from the folder that ``INKDIGITS_DATA`` names: its ``omniglot/characters.jsonl.gz`` or
    ``omniglot/strokes_background.zip``.

    Raises:
        DataError: no folder is named, or the file is missing or damaged.
    """
    get = f"get {URL} and put it there"
    if not (folder := settings.data_folder):
        raise DataError(f"no folder for Omniglot: set INKDIGITS_DATA to one with an omniglot/ in it, and {get}")
    path = next((path for path in (folder / "omniglot" / file for file in FILES) if path.is_file()), None)
    if path is None:
        raise DataError(f"no {' or '.join(FILES)} in {folder / 'omniglot'}: {get}")
    try:
        found = list(_from_zip(path) if path.suffix == ".zip" else _from_lines(path))
    except (OSError, EOFError, ValueError, KeyError, TypeError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as Omniglot's strokes: {error!r}; download it again") from None
    if missing := set(ALPHABETS) - {character.alphabet for character in found}:
        raise DataError(f"{path} lacks the alphabets {', '.join(sorted(missing))}; download it again")
    return sorted(found, key=lambda c: (c.alphabet, c.name, c.drawer))


def _from_lines(path: Path) -> Iterator[Character]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["alphabet"] in ALPHABETS:
                strokes = tuple(np.array(s, np.float64).reshape(-1, 2) for s in row["strokes"] if s)
                yield Character(row["alphabet"], row["character"], int(row["drawing"].split("_")[1]), strokes)


def _from_zip(path: Path) -> Iterator[Character]:
    """Read files such as strokes_background/Tagalog/character01/0910_01.txt: "x,y,t" a point, y upwards from -105."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            parts = PurePosixPath(name).parts[-3:]
            if len(parts) < 3 or parts[0] not in ALPHABETS or not name.endswith(".txt"):
                continue
            strokes: list[list[tuple[float, float]]] = [[]]
            for line in archive.read(name).decode("ascii").splitlines():
                if line == "BREAK":
                    strokes.append([])
                elif line != "START":
                    x, y, _ = line.split(",")
                    strokes[-1].append((float(x), -float(y)))
            drawer = int(PurePosixPath(name).stem.split("_")[1])
            yield Character(parts[0], parts[1], drawer, tuple(np.array(s) for s in strokes if s))
