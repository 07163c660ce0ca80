"""Omniglot: both forms of its file, and errors that say where to get it."""

import gzip
import json
import zipfile

import numpy as np
import pytest

from inkdigits.data.omniglot import ALPHABETS, HELD_BACK, load_omniglot
from inkdigits.errors import DataError
from inkdigits.settings import Settings

from support.handwriting import needs_data

STROKES = [[[10, 20], [30.5, 40]], [[5, 6]]]


def settings(folder):
    return Settings(data=str(folder))


def test_lines_and_the_published_archive_give_the_same_characters(tmp_path):
    lines, archive = tmp_path / "lines" / "omniglot", tmp_path / "archive" / "omniglot"
    lines.mkdir(parents=True)
    archive.mkdir(parents=True)
    with (
        gzip.open(lines / "characters.jsonl.gz", "wt") as out,
        zipfile.ZipFile(archive / "strokes_background.zip", "w") as pack,
    ):
        for alphabet in (*ALPHABETS, "Greek"):
            for drawer in (2, 1):
                row = {"alphabet": alphabet, "character": "character03", "drawing": f"0910_{drawer:02}"}
                out.write(json.dumps({**row, "strokes": STROKES}) + "\n")
                points = "BREAK\n".join("".join(f"{x},{-y},0\n" for x, y in stroke) for stroke in STROKES)
                name = f"strokes_background/{alphabet}/character03/0910_{drawer:02}.txt"
                pack.writestr(name, f"START\n{points}BREAK\n")
    found = [load_omniglot(settings(tmp_path / kind)) for kind in ("lines", "archive")]
    for characters in found:
        assert [(c.alphabet, c.name, c.drawer) for c in characters] == [
            (alphabet, "character03", drawer) for alphabet in sorted(ALPHABETS) for drawer in (1, 2)
        ]
        for character in characters:
            assert [stroke.tolist() for stroke in character.strokes] == STROKES


def test_a_missing_or_damaged_file_says_where_to_get_it(tmp_path):
    with pytest.raises(DataError, match=r"set INKDIGITS_DATA"):
        load_omniglot(Settings())
    with pytest.raises(DataError, match=r"strokes_background\.zip"):
        load_omniglot(settings(tmp_path))
    (tmp_path / "omniglot").mkdir()
    (tmp_path / "omniglot" / "characters.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match="cannot be read"):
        load_omniglot(settings(tmp_path))


@needs_data
def test_the_real_alphabets():
    characters = load_omniglot(Settings.from_env())
    assert {c.alphabet for c in characters} == set(ALPHABETS)
    assert HELD_BACK in ALPHABETS
    assert all(stroke.shape[1] == 2 for c in characters for stroke in c.strokes)
    middle = np.median(np.concatenate([s for c in characters for s in c.strokes]), axis=0)
    assert np.abs(middle - 52.5).max() < 15, "y must point downwards, in a box of 105"
