"""``inkdigits read``: what it prints and writes is what ``Recognizer.read`` says, in every form, from every input."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from inkdigits.bulk import Numbers, NumbersRow
from inkdigits.bulk.inputs import CHUNK_PICTURES
from inkdigits.prediction import Alternative, Box, Digit, Number, Reading

from support.bulk import rows_of, stopped
from support.drawings import page, picture
from support.files import encode

WRITTEN = {
    "agent.png": ["007"],
    "digit.png": ["5"],
    "lines.png": ["1234567890", "345", "31"],
    "table.png": ["12 34 56", "78 90 12"],
    "year.png": ["2024"],
}
BOX = Box(10.0, 20.0, 70.0, 50.0)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of clearly written numbers, and a blank sheet."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, rows in WRITTEN.items():
        Image.fromarray(page(*rows)).save(folder / name)
    Image.new("L", (60, 60), 255).save(folder / "blank.png")
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch, pictures):
    """A working folder with the numbers in ``in/``, and a file that is no image."""
    shutil.copytree(pictures, tmp_path / "in")
    (tmp_path / "in" / "notes.png").write_text("hello")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(run_command):
    """Runs read with one process: (exit code, standard output, standard error)."""
    return lambda *argv: run_command("read", *argv, "--processes", "1")


@pytest.fixture(scope="module")
def readings(pictures, recognizer):
    """What the library says of each, by name; the pictures are what they are made from."""
    readings = {path.name: recognizer.read(path) for path in sorted(pictures.iterdir())}
    assert {name: reading.rows() for name, reading in readings.items() if reading.is_number} == {
        name: [row.split() for row in rows] for name, rows in WRITTEN.items()
    }
    assert readings["table.png"].table
    assert not readings["lines.png"].table
    return readings


def test_a_line_for_each_image_and_its_table_below(run, folder, readings):
    code, out, err = run("in")

    def sure(name):
        return f"{readings[name].confidence:.1%}"

    assert out.splitlines() == [
        f"in/agent.png  007  {sure('agent.png')}",
        "in/blank.png  blank",
        f"in/digit.png  5  {sure('digit.png')}",
        f"in/lines.png  3 numbers in 3 lines  {sure('lines.png')}",
        "    1234567890",
        "    345",
        "    31",
        "in/notes.png  error",
        f"in/table.png  6 numbers in a table of 2 × 3  {sure('table.png')}",
        "    12  34  56",
        "    78  90  12",
        f"in/year.png   2024  {sure('year.png')}",
    ]
    told, count = err.splitlines()
    assert told.startswith("inkdigits: in/notes.png: not an image of a known format")
    assert count == "inkdigits: 7 images: 5 read, 1 blank, 1 error"
    assert code == 1


def test_json_is_an_object_for_each_image(run, folder, readings):
    code, out, _ = run("in", "--json")
    found = {Path(row["name"]).name: row for row in map(json.loads, out.splitlines())}
    assert code == 1
    for name, reading in readings.items():
        assert found[name] == {"name": f"in/{name}", **reading.to_dict(), "accepted": reading.is_number}
    assert found["notes.png"].keys() == {"name", "error", "accepted"}
    assert found["notes.png"]["accepted"] is False


@pytest.mark.parametrize(
    "options",
    [
        {"layout": "line"},
        {"layout": "lines"},
        {"length": 4},
        {"length": 8},
        {"pattern": "dd.dd"},
        {"decimal": ",", "alternatives": 3},
    ],
    ids=str,
)
def test_options_are_those_of_the_library(run, folder, recognizer, options):
    given = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    _, out, _ = run("in/lines.png", "in/year.png", "in/digit.png", "--json", *given)
    for line in out.splitlines():
        row = json.loads(line)
        expected = recognizer.read(row["name"], **options)
        assert row == {"name": row["name"], **expected.to_dict(), "accepted": expected.is_number}


def read_table(path):
    """The rows of an output in any form, as Python values; of CSV, empty cells are None."""
    if path.suffix == ".parquet":
        return pa.parquet.read_table(path).to_pylist()
    if path.suffix == ".csv":
        verbatim = ("name", "text", "numbers", "digits", "alternatives", "error")
        return [
            {k: v or None if k in verbatim else json.loads(v or "null") for k, v in row.items()}
            for row in rows_of(path)
        ]
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_has_a_row_for_each_image(run, folder, readings, ending):
    code, out, err = run("in", "-o", f"o.{ending}")
    assert (code, out) == (1, "")
    rows = {Path(row["name"]).name: row for row in read_table(Path(f"o.{ending}"))}
    assert rows.keys() == {*readings, "notes.png"}
    for name, reading in readings.items():
        row = rows[name]
        assert [*row] == ["name", "text", "confidence", "is_number", "accepted", "numbers", "error"]
        assert (row["text"] or "", row["confidence"]) == (reading.text, reading.confidence)
        assert (row["is_number"], row["accepted"], row["error"]) == (reading.is_number, reading.is_number, None)
        assert json.loads(row["numbers"]) == [number.to_dict() for number in reading.numbers]
    bad = rows["notes.png"]
    assert bad["accepted"] is False
    assert bad["error"] in err
    assert all(bad[name] is None for name in ("text", "confidence", "is_number", "numbers"))


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_a_row_for_each_number_has_its_box_and_place(run, folder, readings, ending):
    code, _, err = run("in", "--per-number", "--alternatives", "2", "-o", f"o.{ending}")
    assert code == 1
    assert err.endswith("inkdigits: 7 images: 5 read, 1 blank, 1 error\n")
    rows = read_table(Path(f"o.{ending}"))
    found = [row for row in rows if row["name"] == "in/table.png"]
    places = [(row["row"], row["column"], row["text"], row["value"]) for row in found]
    assert places == [
        (1, 1, "12", 12),
        (1, 2, "34", 34),
        (1, 3, "56", 56),
        (2, 1, "78", 78),
        (2, 2, "90", 90),
        (2, 3, "12", 12),
    ]
    [agent] = [row for row in rows if row["name"] == "in/agent.png"]
    [number] = readings["agent.png"].numbers
    assert (agent["text"], agent["value"], agent["accepted"]) == ("007", 7, True)
    if ending == "jsonl":
        box = agent["box"]
    else:
        box = {side: agent[side] for side in number.box._fields}
        assert json.loads(agent["digits"]) == [digit.to_dict() for digit in number.digits]
    assert box == number.box._asdict()
    others = agent["alternatives"] if ending == "jsonl" else json.loads(agent["alternatives"])
    assert len(others) == 2
    # What has no number has one row.
    assert [row["accepted"] for row in rows if row["name"] in ("in/blank.png", "in/notes.png")] == [False, False]


def test_lines_for_each_number(run, folder, readings):
    _, out, _ = run("in/table.png", "--per-number")
    numbers = readings["table.png"].numbers
    assert out.splitlines() == [
        f"in/table.png  {n.text}  {n.confidence:.1%}   at {', '.join(f'{v:.0f}' for v in n.box)}" for n in numbers
    ]


def number(text, confidence=0.99, *, each=0.99, accepted=None, others=()):
    """A number; ``each`` is the confidence of its characters."""
    of_each = each if isinstance(each, list) else [each] * len(text)
    digits = tuple(
        Digit(c, int(c) if c.isdigit() else None, sure, BOX, False) for c, sure in zip(text, of_each, strict=True)
    )
    is_number = ("?" not in text and confidence >= 0.5) if accepted is None else accepted
    return Number(text, None, confidence, is_number, BOX, digits, others)


def reading(*rows, table=None):
    numbers, lines = [], []
    for row in rows:
        lines.append(tuple(range(len(numbers), len(numbers) + len(row))))
        numbers += row
    return Reading(tuple(numbers), tuple(lines), table, "dark-on-light")


@pytest.mark.parametrize(
    ("found", "verdict", "line"),
    [
        (reading([number("12.50")]), "number", "12.50  99.0%"),
        (
            reading([number("71", others=(Alternative("11", 0.007), Alternative("7", 0.001)))]),
            "number",
            "71  99.0%   then 11 0.7%, 7 0.1%",
        ),
        (reading([number("2024", 0.31, each=[0.99, 0.4, 0.99, 0.8])]), "unsure", "unsure (nearest 2[0]2[4], 31.0%)"),
        (reading([number("2024", 0.85)]), "unsure", "unsure (nearest 2024, 85.0%)"),
        (reading([number("2?4", 0.97)]), "not a number", "not a number (nearest 2?4)"),
        (reading([number("-.", 0.97, accepted=False)]), "not a number", "not a number (nearest -.)"),
        (reading([number("1"), number("2")]), "number", "1 2  98.0%"),
        (
            reading([number("1"), number("23", 0.4, each=[0.5, 0.99])]),
            "unsure",
            "unsure (1 23; 1 of them uncertain: [2]3 40.0%)",
        ),
        (
            reading([number("?", 0.8)], [number("?", 0.9)]),
            "not a number",
            "not a number (2 numbers in 2 lines; 2 of them uncertain: ? 80.0%, ? 90.0%)",
        ),
        (
            reading([number("1")] + [number("9", 0.2, each=0.2)] * 7),
            "unsure",
            "unsure (1 9 9 9 9 9 9 9; 7 of them uncertain: " + ", ".join(["[9] 20.0%"] * 5) + ", …)",
        ),
        (Reading((), (), None, None), "blank", "blank"),
    ],
)
def test_what_is_uncertain_is_in_the_line(found, verdict, line):
    row = NumbersRow("a.png", found, None, min_confidence=0.9)
    assert (row.verdict, row.lines(), row.accepted) == (verdict, [line], verdict == "number")


def test_empty_cells_and_aligned_columns():
    cells = [[number("7"), number("1234")], [number("567")]]
    row = NumbersRow("a.png", reading(*cells, table=((0, 1), (2, None))), None)
    assert row.below() == ["      7  1234", "    567     ·"]
    each = NumbersRow("a.png", row.reading, None, per_number=True)
    assert (each.size, each.below()) == (3, [])
    assert [cells[:3] for cells in each.cells()] == [[1, 1, "7"], [1, 2, "1234"], [2, 1, "567"]]


def test_a_value_of_many_digits_has_a_place_in_a_table():
    from inkdigits.bulk.formats import block

    text = "123456789012345678901234567890"
    long = Number(text, int(text), 0.99, True, BOX, (), ())
    rows = [NumbersRow("a.png", reading([long]), None, per_number=True)]
    [content] = csv.reader(io.StringIO(block(rows, "csv", Numbers(per_number=True)).decode()))
    assert content[3:5] == [text, "1.2345678901234568e+29"]
    with pa.ipc.open_stream(block(rows, "parquet", Numbers(per_number=True))) as stream:
        assert stream.read_all()["value"].to_pylist() == [float(text)]
    [line] = block(rows, "json", Numbers(per_number=True)).decode().splitlines()
    assert json.loads(line)["value"] == int(text)


def test_below_a_confidence_a_number_is_unsure(run, folder, readings):
    just_above = min(1.0, readings["year.png"].confidence + 1e-6)
    sure = readings["year.png"].confidence >= just_above
    _, out, _ = run("in/year.png", "--min-confidence", just_above, "--json")
    row = json.loads(out)
    assert (row["is_number"], row["accepted"]) == (True, sure)


def test_standard_input_archives_and_tables(run, folder, readings, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "inkdigits", "read", "-"], input=Path("in/year.png").read_bytes(), capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == f"-  2024  {readings['year.png'].confidence:.1%}\n"

    with zipfile.ZipFile("a.zip", "w") as archive:
        archive.write("in/agent.png", "deep/agent.png")
    content = [{"bytes": Path(f"in/{name}").read_bytes(), "path": None} for name in ("year.png", "agent.png")]
    pa.parquet.write_table(pa.table({"image": content}), "t.parquet")
    np.savez("digits.npz", images=np.stack([picture(4, 28), picture(7, 28)]).astype(np.uint8))
    _, out, _ = run("a.zip", "t.parquet", "digits.npz", "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["name"] for row in rows] == [
        *("a.zip/deep/agent.png", "t.parquet:1", "t.parquet:2", "digits.npz:1", "digits.npz:2"),
    ]
    assert [row["text"] for row in rows][:3] == ["007", "2024", "007"]


def test_no_name_steers_a_terminal_or_runs_in_a_spreadsheet(run, folder):
    names = ["\x1b[2J.png", "two\nlines.png", "\u202egnp.exe.png", "=1+1.png"]
    for name in names:
        shutil.copy("in/table.png", name)
    for form in ([], ["--json"], ["--per-number"], ["--json", "--per-number"]):
        _, out, _ = run(*names, *form)
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", out)
        assert len(out.splitlines()) == {0: 12, 1: 4}.get(len(form), 24) if form != ["--per-number"] else 24
    _, out, _ = run(*names, "--csv")
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    assert [row["name"] for row in rows] == [*names[:3], "'=1+1.png"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "the following arguments are required: IMAGE (see inkdigits read --help)"),
        (["in", "--layout", "sideways"], "argument --layout: invalid choice: 'sideways' (choose from "),
        (["in", "--decimal", ";"], "argument --decimal: invalid choice: ';' (choose from "),
        (["in", "--length", "0"], "--length must be a number of digits, at least 1, not 0"),
        (["in", "--length", "eight"], "argument --length: invalid int value: 'eight'"),
        (["in", "--pattern", "99.99"], '--pattern must be of "d" for a digit, ".", "," and "-", as in'),
        (["in", "--pattern", "dd", "--length", "3"], "--length is 3, but pattern 'dd' has 2 digits; give one"),
        (["in", "--alternatives", "-1"], "--alternatives must be 0 or more, not -1"),
        (["in", "--min-confidence", "90"], "--min-confidence must be from 0 to 1, such as 0.9, not 90"),
        (["gone.png"], "there is no file or folder 'gone.png'"),
        (["in", "--resume"], "--resume needs -o OUT"),
        (["in", "--explain"], "unrecognized arguments: --explain"),
        (["in", "--lenght", "8"], "unrecognized arguments: --lenght 8; did you mean --length?"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(run_command, folder, argv, words):
    code, out, err = run_command("read", *argv)
    assert (code, out) == (2, "")
    assert err.startswith("inkdigits: error: ")
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "txt"])
@pytest.mark.parametrize("per_number", [[], ["--per-number"]])
def test_a_stopped_run_resumes_to_the_same_bytes(run, folder, ending, per_number):
    with zipfile.ZipFile("a.zip", "w") as archive:
        for i in range(CHUNK_PICTURES + 3):
            archive.writestr(f"{i}.png", encode(picture(i % 10, 40)))
    argv = ["a.zip", "in", *per_number]
    whole = f"whole.{ending}"
    assert run(*argv, "-o", whole)[0] == 1
    out = f"o.{ending}"
    code, _, err = stopped(run, *argv, "-o", out)
    assert code == 130
    assert "rows are kept in " in err
    part = Path(f"{out}.part").read_bytes()
    Path(f"{out}.part").write_bytes(part[: 2 * len(part) // 3])  # as a kill may leave it
    code, _, err = run(*argv, "-o", out, "--resume")
    assert code == 1
    assert err.endswith(", 1 blank, 1 error\n")
    assert Path(out).read_bytes() == Path(whole).read_bytes()
    assert run(*argv, "-o", out, "--resume")[0] == 1  # it compares
    code, _, err = run(*argv, "-o", out, "--resume", "--length", "4", "--layout", "line")
    assert code == 2
    assert "is finished, and another run's" in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--layout", "line"], "(another --layout: auto then, line now)"),
        (["--length", "4"], "(another --length: None then, 4 now)"),
        (["--pattern", "dd"], "(another --pattern: None then, dd now)"),
        (["--decimal", ","], "(another --decimal: None then, , now)"),
        (["--alternatives", "1"], "(another --alternatives: 0 then, 1 now)"),
        (["--min-confidence", "0.9"], "(another --min-confidence: 0.0 then, 0.9 now)"),
        (["--per-number"], "(another --per-number: False then, True now)"),
        (["--model", "lenet"], "(another model: "),
    ],
)
def test_rows_of_other_options_are_not_gone_on_with(run, folder, options, words):
    assert stopped(run, "in", "-o", "o.csv")[0] == 130
    part = Path("o.csv.part").read_bytes()
    for begin in ([], ["--resume"]):
        code, _, err = run("in", "-o", "o.csv", *begin, *options)
        assert (code, words in err) == (2, True), err
        assert "holds 7 finished rows" in err
        assert Path("o.csv.part").read_bytes() == part


def test_another_line_network_does_not_go_on(run, folder, monkeypatch):
    from inkdigits import network

    assert stopped(run, "in", "-o", "o.csv")[0] == 130
    path, _ = network.shipped_network("line")
    shipped = network.shipped_network

    def another(name):
        return (path, "0" * 64) if name == "line" else shipped(name)

    monkeypatch.setattr(network, "shipped_network", another)
    code, _, err = run("in", "-o", "o.csv", "--resume")
    assert (code, "(another model: " in err) == (2, True)


def test_digits_and_numbers_do_not_go_on_with_each_other(run_command, folder):
    for first, second in (("read", "predict"), ("predict", "read")):
        argv = ["in", "-o", f"{first}.csv", "--processes", "1"]
        assert stopped(run_command, first, *argv)[0] == 130
        part = Path(f"{first}.csv.part").read_bytes()
        for begin in ([], ["--resume"]):
            code, _, err = run_command(second, *argv, *begin)
            assert code == 2
            assert f"holds 7 finished rows of another run (another command: {first} then, {second} now)" in err or (
                f"is of another run (another command: {first} then, {second} now) and holds 7 finished rows" in err
            )
            assert Path(f"{first}.csv.part").read_bytes() == part
        assert run_command(second, *argv, "--restart")[0] == 1


@pytest.mark.slow
@pytest.mark.parametrize("engine", [["--processes", "3"], ["--engine", "ray", "--processes", "2"]])
def test_processes_and_a_cluster_change_nothing(folder, engine):
    with zipfile.ZipFile("a.zip", "w") as archive:
        for i in range(CHUNK_PICTURES):
            archive.writestr(f"{i}.png", encode(picture(i % 10, 40)))
    given = ["a.zip", "in", "a.zip", "--per-number", "--length", "2", "-o"]
    told = []
    for out, options in (("one.csv", ["--processes", "1"]), ("many.csv", engine)):
        command = [sys.executable, "-m", "inkdigits", "read", *given, out, *options]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 1
        told.append(done.stderr)
    assert told[0] == told[1]
    assert Path("one.csv").read_bytes() == Path("many.csv").read_bytes()
