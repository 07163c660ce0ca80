"""The files in examples/, and row_data.json: they are what their script makes, and are read as what they show."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inkdigits.self_test import DIGIT

import examples
from support.paths import ROOT

FOLDER = ROOT / "examples"
LOSSY = 3.0  # grey levels on average, by which a JPEG or WebP may differ from what it was made of
needs_curl = pytest.mark.skipif(not shutil.which("curl"), reason="the target calls curl, which is not installed")


def test_the_files_are_what_their_script_makes():
    pictures = examples.pictures()
    for name, expected in pictures.items():
        pixels = np.asarray(Image.open(FOLDER / name).convert("L")).astype(int)
        far = np.abs(pixels - expected).mean()
        assert far == 0 if name.endswith(".png") else far < LOSSY, name
    others = {**{name: text.encode() for name, text in examples.texts().items()}, **examples.others()}
    for name, content in others.items():
        kept, made = (numbers(name, each) for each in ((FOLDER / name).read_bytes(), content))
        # Of normalized images another processor may round a grey level otherwise.
        assert np.abs(np.subtract(kept, made)).max() <= 1, name
    there = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    assert there == {*pictures, *others, "space.toml", "many_users.py"}


def numbers(name, content):
    return [int(n) for n in re.findall(rb"\d+", content)] if name.endswith(".json") else [*content]


def test_each_picture_is_read_as_its_name_says(recognizer):
    """``inkdigits predict`` is asked for most of them by the docs' tests; here for all."""
    words = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    for name in examples.pictures().keys() - examples.NUMBERS.keys():
        stem = Path(name).stem
        digit = words.index(stem) if stem in words else int(stem) if stem.isdigit() else None
        read = recognizer.predict(FOLDER / name)
        assert (read.digit if read.is_digit else None) == digit, name


@pytest.mark.parametrize(("name", "digit"), [("row_data.json", 1), ("examples/row_data.json", DIGIT)])
def test_a_row_shows_its_digit(client, name, digit):
    content = (ROOT / name).read_text()
    assert json.loads(content) == examples.row(digit)
    answer = client.post("/predict", content=content, headers={"Content-Type": "application/json"}).json()
    assert (answer["digit"], answer["is_digit"]) == (digit, True)


def test_each_picture_of_numbers_is_read_as_it_is_written(recognizer):
    for name, rows in examples.NUMBERS.items():
        found = recognizer.read(FOLDER / name)
        assert (found.is_number, found.rows()) == (True, [row.split() for row in rows]), name


@needs_curl
def test_make_test_client_asks_a_server_for_it(live_server):
    host, port = live_server.removeprefix("http://").split(":")
    command = ["make", "--silent", "test_client", f"HOST={host}", f"PORT={port}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["digit"] == DIGIT


@needs_curl
def test_make_test_client_says_so_where_no_server_runs():
    done = subprocess.run(["make", "--silent", "test_client", "PORT=1"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert "make test_server" in done.stderr
