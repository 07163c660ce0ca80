"""Names of files as others choose them: nothing in them steers a terminal or runs in a spreadsheet; none is lost."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest

from support.bulk import DEADLINE
from support.files import encode

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")

STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
NAMES = {
    "\x1b[2J\x1b]0;title\x07.png": r"\x1b[2J\x1b]0;title\x07.png",
    "two\nlines.png": r"two\nlines.png",
    "back\rover.png": r"back\rover.png",
    "\x9b31m.png": r"\x9b31m.png",
    "\x7f\x08.png": r"\x7f\x08.png",
    "\u202egnp.exe.png": r"\u202egnp.exe.png",
    "\u2066a\u2069.png": r"\u2066a\u2069.png",
    "line\u2028.png": r"line\u2028.png",
    "été 数字 ✓.png": "été 数字 ✓.png",
    "👩\u200d🔬.png": "👩\u200d🔬.png",
}
FORMULAS = ("=1+1.png", "+1.png", "-1.png", "@SUM(1).png", "\t=1.png", "\r=1.png")
PLAIN = ("a=1.png", " =1.png", "'=1.png", 'a "quoted" "name".png', "a,b.png")


@pytest.fixture
def here(tmp_path, monkeypatch, digits):
    monkeypatch.chdir(tmp_path)
    for i, name in enumerate([*NAMES, *FORMULAS, *PLAIN]):
        Path(name).write_bytes(encode(digits[i]))
        if name in NAMES:
            Path(f"bad{name}").write_bytes(b"no picture")
    return tmp_path


def predict(*argv):
    done = subprocess.run(
        [sys.executable, "-m", "inkdigits", "predict", *argv],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        timeout=DEADLINE,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_no_name_steers_a_terminal(here):
    code, out, err = predict(*NAMES, *(f"bad{name}" for name in NAMES))
    assert code == 1
    assert not STEERING.search(out + err)
    lines = out.split("\n")[:-1]
    assert [line.split("  ")[0] for line in lines] == [*NAMES.values(), *(f"bad{name}" for name in NAMES.values())]
    *told, count, _ = err.split("\n")
    assert [line.split(": ")[1] for line in told] == [f"bad{name}" for name in NAMES.values()]
    assert count.startswith(f"inkdigits: {2 * len(NAMES)} images: ")
    assert count.endswith(f", {len(NAMES)} errors")


@pytest.mark.slow
@pytest.mark.parametrize("argv", [["{}"], ["--model", "{}", "été 数字 ✓.png"], ["a,b.png", "-o", "{}"]])
def test_no_message_steers_a_terminal(here, argv):
    for name in list(NAMES)[:8]:
        code, out, err = predict(*(each.format(f"gone/{name}") for each in argv))
        assert (code, out) == (2, "")
        assert not STEERING.search(err)
        assert err.count("\n") == 1


def test_json_has_the_names_as_they_are_and_no_control(here):
    code, out, _ = predict("--json", *NAMES)
    assert code == 0
    assert not STEERING.search(out)
    assert [json.loads(line)["name"] for line in out.split("\n")[:-1]] == list(NAMES)


def test_csv_and_parquet_have_the_names_as_they_are(here):
    names = [*NAMES, *PLAIN]
    code, out, _ = predict("--csv", *names)
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    assert [row["name"] for row in rows] == names
    assert predict("-o", "o.parquet", "--", *names, *FORMULAS)[0] == 0
    assert pyarrow.parquet.read_table("o.parquet")["name"].to_pylist() == [*names, *FORMULAS]


def test_a_name_is_no_formula(here, run):
    Path("=bad.csv").write_text("x\n1\n")
    given = [name for name in FORMULAS if not name.startswith("-")]
    code, out, _ = run("--csv", *given, *PLAIN, "=bad.csv", "--", "-1.png")
    assert code == 1
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    assert [row["name"] for row in rows] == [*(f"'{name}" for name in given), *PLAIN, "'=bad.csv", "'-1.png"]
    assert rows[-2]["error"].startswith("'=bad.csv, line 1")
    assert not any(value.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for value in row.values())


def test_csv_on_a_terminal_steers_nothing(here):
    """In a file or a pipe it has the names as they are."""
    import pty

    main, of_process = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "inkdigits", "predict", "--csv", *NAMES],
        stdout=of_process,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    os.close(of_process)
    shown = b""
    try:
        while piece := os.read(main, 65536):
            shown += piece
    except OSError:  # the other end is closed
        pass
    os.close(main)
    _, count = process.communicate(timeout=DEADLINE)
    assert count.decode().startswith(f"inkdigits: {len(NAMES)} images: ")
    assert count.count(b"\n") == 1
    text = shown.decode().replace("\r\n", "\n")
    assert not STEERING.search(text)
    assert r"\x1b[2J" in text
