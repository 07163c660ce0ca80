"""``inkdigits evaluate --numbers``: its figures are those of the readings, in a table, JSON and a page."""

import json
import re
from pathlib import Path

import pytest

from inkdigits.evaluation.numbers import string_figures

from support.drawings import page
from support.files import encode

HOSTILE = "<script>alert('&amp;')</script>"
SHOWN = ["2024", "007", "31", "590"]
LABELS = ["2024", "007", "37", "5,90"]  # the third says another digit than the picture, the fourth has a sign more


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with numbers in ``in/``, two labeled wrong, a blank sheet, and a file that is no image."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    rows = []
    for i, (shown, label) in enumerate(zip(SHOWN, LABELS, strict=True)):
        Path(f"in/{i}.png").write_bytes(encode(page(shown)))
        rows.append(f'{i}.png,"{label}"')
    Path("in/blank.png").write_bytes(encode(page(" ")))
    Path("in/notes.png").write_text("hello")
    Path("in/texts.csv").write_text("\n".join(["file,text", *rows, "blank.png,", "notes.png,5"]))
    return tmp_path


@pytest.fixture
def readings(folder, recognizer):
    """What the library reads in each; the pictures are what they are made from."""
    found = [recognizer.read(f"in/{i}.png") for i in range(len(SHOWN))]
    assert [reading.text for reading in found] == SHOWN
    return [*found, recognizer.read("in/blank.png")]


def test_the_figures_are_those_of_the_readings(run_command, folder, readings):
    code, out, err = run_command("evaluate", "cnn", "--numbers", "in", "--json")
    found = json.loads(out)
    expected = string_figures([*LABELS, ""], readings).to_dict()
    assert {name: found[name] for name in expected} == expected
    assert (found["n"], found["right"], found["without_number"], found["without_number_rejected"]) == (4, 2, 1, 1)
    assert [(m["title"], m["text"], m["read"]) for m in sorted(found["mistakes"], key=lambda m: m["title"])] == [
        ("2.png", "37", "31"),
        ("3.png", "5,90", "590"),
    ]
    [bad] = found["unreadable"]
    assert bad["title"] == "notes.png"
    assert (code, err) == (1, f"inkdigits: notes.png: {bad['error']}\n")


def test_digits_alone(run_command, folder, readings):
    _, out, _ = run_command("evaluate", "cnn", "--numbers", "in", "--digits-only", "--layout", "line", "--json")
    found = json.loads(out)
    assert (found["right"], found["digits_only"], found["layout"]) == (3, True, "line")


def test_the_table_says_it_in_lines(run_command, folder, readings):
    _, out, _ = run_command("evaluate", "cnn", "--numbers", "in/texts.csv")
    lines = out.splitlines()
    assert lines[0] == "cnn on texts.csv: 5 pictures"
    assert lines[1] == "whole strings right    50.00%   2 of 4 wrong, 95% interval 15.00% to 85.00%"
    assert lines[2] == "digit error rate        8.33%"
    assert "without a number      100.00%   of 1 rejected" in lines
    assert "4                1  100.00%" in lines
    assert max(map(len, lines)) <= 80


def test_the_report_stands_alone_and_shows_each_mistake(run_command, folder, readings):
    Path("in").rename(folder / HOSTILE.replace("/", "-"))
    name = HOSTILE.replace("/", "-")
    code, out, _ = run_command("evaluate", "cnn", "--numbers", name, "--report", "r.html")
    assert code == 1
    assert out.endswith("wrote r.html and r.json\n")
    html = Path("r.html").read_text(encoding="utf-8")
    assert "<script" not in html
    assert all(address.startswith(("data:", "#")) for address in re.findall(r'(?:src|href)="([^"]*)"', html))
    assert html.count('alt="the picture: ') == 2
    text = re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]*>", "", html, flags=re.DOTALL))
    for words in ("50.00% read right", "37 read as 31", "5,90 read as 590", "1 image could not be read", "notes.png"):
        assert words in text, words
    assert "3<mark>7</mark>" in re.sub(r"\s+", "", html)
    found = json.loads(Path("r.json").read_text(encoding="utf-8"))
    assert (found["data"], found["right"]) == (name, 2)
    assert found["command"] == f"inkdigits evaluate cnn --numbers {name} --report r.html"


@pytest.mark.parametrize("kind", ["all right", "no numbers", "one wrong"])
def test_a_report_can_be_made_of_whatever_comes_out(run_command, folder, kind):
    rows = {"all right": "0.png,2024", "no numbers": "blank.png,", "one wrong": "blank.png,7"}
    Path("in/texts.csv").write_text(f"file,text\n{rows[kind]}\n")
    code, _, err = run_command("evaluate", "cnn", "--numbers", "in", "--report", "r.html")
    assert (code, err) == (0, "")
    text = re.sub(r"<[^>]*>", "", Path("r.html").read_text(encoding="utf-8"))
    assert ("There are none." in text) is (kind != "one wrong")
    assert ("7 read as blank" in text) is (kind == "one wrong")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--numbers", "gone"], "there is no file or folder 'gone'"),
        (["--numbers", "in", "--data", "digits"], "--data is for digits, not for --numbers; leave out one"),
        (["--numbers", "in", "--robustness"], "--robustness is for digits, not for --numbers; leave out one"),
        (["--layout", "line"], "--layout is for --numbers; name their table or folder"),
        (["--data", "digits", "--digits-only"], "--digits-only is for --numbers"),
        (["--numbers", "in", "--layout", "sideways"], "argument --layout: invalid choice: 'sideways'"),
        (["--numbers", "in", "--limit", "0"], "--limit must be 1 or more, not 0"),
        (["--numbers", "in", "--report", "in/texts.csv"], "the report must be a file with suffix .html"),
        (["--numbers", "in/notes.csv"], "no picture of notes.csv can be read; notes.png: not an image"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(run_command, folder, argv, words):
    Path("in/notes.csv").write_text("file,text\nnotes.png,1\n")
    code, out, err = run_command("evaluate", "cnn", *argv)
    assert (code, out) == (2, "")
    assert err.startswith("inkdigits: error: ")
    assert words in err
    assert err.count("\n") == 1


def test_a_limit_measures_some(run_command, folder):
    _, out, _ = run_command("evaluate", "cnn", "--numbers", "in", "--limit", "2", "--json")
    found = json.loads(out)
    assert found["of"] == 6
    assert found["n"] + found["without_number"] + len(found["unreadable"]) == 2
