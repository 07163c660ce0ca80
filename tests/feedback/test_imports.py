"""Labeled pictures from files, by the command line; and out again."""

import base64
import csv
import json
import shutil

import numpy as np
import pytest

from inkdigits.feedback import migrate
from inkdigits.feedback.queries import every
from inkdigits.feedback.store import Store
from inkdigits.self_test import known_digit

from support.drawings import number
from support.files import encode
from support.paths import ROOT
from support.requests import ROW


@pytest.fixture
def feedback(run_command, tmp_path):
    """Runs ``inkdigits feedback …`` with a database of its own: (exit code, standard output, standard error)."""
    return lambda name, *rest: run_command("feedback", name, "--feedback", tmp_path / "f.db", *rest)


def kept(tmp_path):
    store = Store(str(tmp_path / "f.db"))
    try:
        return list(every(store.engine))
    finally:
        store.close()


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_a_folder_for_each_label(feedback, tmp_path):
    folder = tmp_path / "labeled"
    put(folder / "3" / "a.png", encode(known_digit(3)))
    put(folder / "8" / "sub" / "b.png", encode(known_digit(3)))
    put(folder / "2024" / "c.png", encode(number("2024")))
    put(folder / "not-a-digit" / "d.png", encode(np.full((40, 40), 255, np.uint8)))
    put(folder / "3" / "notes.txt", b"no picture")
    put(folder / "3" / ".DS_Store", b"litter")
    put(folder / "x" / "e.png", encode(known_digit(5)))
    code, out, err = feedback("import", folder)
    assert (code, out) == (1, "4 added, 0 there already, 2 left out\n")
    assert "3/notes.txt: not an image" in err
    assert 'x/e.png: its label is "x"; expected one digit' in err
    found = {each.label: each for each in kept(tmp_path)}
    assert {label: (each.text, each.kind, each.task) for label, each in found.items()} == {
        "3": ("3", "confirmed", "digit"),
        "8": ("3", "corrected", "digit"),
        "2024": ("2024", "confirmed", "number"),
        "": ("", "confirmed", "digit"),
    }
    assert {each.source for each in found.values()} == {"import"}
    shutil.rmtree(folder / "x")
    (folder / "3" / "notes.txt").unlink()
    assert feedback("import", folder) == (0, "0 added, 4 there already\n", "")


def test_a_table_of_files_or_pixels(feedback, tmp_path):
    put(tmp_path / "a.png", encode(known_digit(3)))
    table = tmp_path / "labels.csv"
    table.write_text("label,image,client\n3,a.png,writer-01\n7,b.png,\n", encoding="utf-8-sig")
    code, out, err = feedback("import", table)
    assert (code, out) == (1, "1 added, 0 there already, 1 left out\n")
    assert "labels.csv, line 3: cannot open" in err
    assert [each.client for each in kept(tmp_path)] == ["writer-01"]
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["label", *(f"pixel{i}" for i in range(784))])
        rows.writerow(["3", *ROW])
        rows.writerow(["4", *ROW[:-1], 256])
    code, out, err = feedback("import", table)
    assert (code, out) == (1, "1 added, 0 there already, 1 left out\n")
    assert "line 3: its pixels are not integers from 0 to 255" in err
    code, out, _ = feedback("import", ROOT / "examples" / "numbers" / "texts.csv")
    assert (code, out) == (0, "5 added, 0 there already\n")
    assert kept(tmp_path)[-2].label == "12 340 7\n58 961 3"


def label_studio(value, *, by=1, cancelled=False):
    return {"was_cancelled": cancelled, "completed_by": by, "result": [{"type": "any", "value": value}]}


def test_an_export_of_label_studio(feedback, tmp_path):
    pictures = tmp_path / "uploads"
    put(pictures / "three.png", encode(known_digit(3)))
    put(pictures / "1a2b3c4d-five.png", encode(known_digit(5)))
    put(tmp_path / "secret.png", encode(known_digit(1)))
    tasks = [
        {
            "id": 1,
            "data": {"image": "/data/upload/1/1a2b3c4d-three.png"},
            "annotations": [label_studio({"choices": ["3"]})],
        },
        {
            "id": 2,
            "data": {"image": "/data/local-files/?d=1a2b3c4d-five.png"},
            "annotations": [
                label_studio({"text": ["5"]}, by={"id": 7, "email": "me@example.com"}),
                label_studio({"number": 6}, by=8),
                label_studio({"choices": ["9"]}, cancelled=True),
            ],
        },
        {"id": 3, "data": {"image": "http://127.0.0.1:1/three.gif"}, "annotations": [label_studio({"choices": ["3"]})]},
        {"id": 4, "data": {"image": "../secret.png"}, "annotations": [label_studio({"choices": ["1"]})]},
        {"id": 5, "data": {"image": "three.png"}, "annotations": []},
        {"id": 6, "image": "data:image/png;base64," + base64.b64encode(encode(known_digit(7))).decode(), "choice": "7"},
    ]
    export = tmp_path / "project.json"
    export.write_text(json.dumps(tasks))
    code, out, err = feedback("import", export, "--pictures", pictures)
    assert (code, out) == (1, "4 added, 0 there already, 2 left out\n")
    assert "task 3: http://127.0.0.1:1/three.gif is not in" in err
    assert "nothing is downloaded" in err
    assert "task 4: ../secret.png is not in" in err
    assert sorted((each.label, each.text, each.client) for each in kept(tmp_path)) == [
        ("3", "3", "label-studio-1"),
        ("5", "5", "label-studio-7"),
        ("6", "5", "label-studio-8"),
        ("7", "7", None),
    ]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"name,image\n", "a.csv has no column label; its columns are: name, image"),
        ("a.csv", b"label,picture name\n", "neither a column image, nor the columns pixel0"),
        ("a.csv", b"label,image\n\xff\xfe", "is not a CSV table"),
        ("a.json", b"{", "a.json is not JSON"),
        ("a.json", b'{"a": 1}', "expected a list of tasks"),
        ("a.txt", b"", "is neither a folder, nor a .csv or .json file"),
    ],
)
def test_a_file_that_is_none_of_these_is_named(feedback, tmp_path, name, content, words):
    code, _, err = feedback("import", put(tmp_path / "in" / name, content))
    assert code == 2
    assert words in err
    assert feedback("import", tmp_path / "missing")[0] == 2


def test_out_again(feedback, tmp_path):
    put(tmp_path / "in" / "8" / "a.png", encode(known_digit(3)))
    assert feedback("import", tmp_path / "in")[0] == 0
    out = tmp_path / "out.jsonl"
    assert feedback("export", "-o", out) == (0, "", "1 corrections\n")
    [row] = map(json.loads, out.read_text().splitlines())
    assert (row["label"], row["answer"], row["kind"], row["reading"], row["pixels"]) == (
        "8",
        "3",
        "corrected",
        "digit",
        ROW,
    )
    assert base64.b64decode(row["image"].partition(",")[2]).startswith(b"\x89PNG")
    assert feedback("export", "-o", tmp_path / "out.csv")[0] == 0
    [row] = csv.DictReader((tmp_path / "out.csv").read_text().splitlines())
    assert (row["label"], row["answer"], row["audit"]) == ("8", "3", "False")
    code, listed, _ = feedback("list", "--status", row["status"])
    assert code == 0
    assert listed.startswith(row["id"])
    assert "3 → 8" in listed
    assert json.loads(feedback("list", "--json", "--status", row["status"])[1])["id"] == row["id"]
    assert feedback("forget", row["id"])[:2] == (0, "removed 1 corrections and 1 pictures\n")
    code, out, err = feedback("forget", row["id"])
    assert (code, out) == (1, "removed 0 corrections and 0 pictures\n")
    assert "there is no correction with this id" in err


def test_what_the_commands_refuse(feedback, run_command, tmp_path, monkeypatch):
    monkeypatch.delenv("INKDIGITS_FEEDBACK", raising=False)
    for command, words in (
        (("list",), "no database is named"),
        (("forget", "--feedback", "f.db"), "give the ids of corrections, or --client ID"),
        (("forget", "x", "--client", "y", "--feedback", "f.db"), "give the ids of corrections, or --client ID"),
        (("purge", "--days", "0", "--feedback", "f.db"), "give --days N"),
        (("lst",), "did you mean list?"),
    ):
        code, _, err = run_command("feedback", *command)
        assert code == 2
        assert words in err
    assert "newest" in feedback("list", "--order", "newst")[2]
    assert "pending" in feedback("export", "--status", "pendin")[2]
    assert feedback("migrate")[1] == f"revision {migrate.head()} → {migrate.head()}\n"
    code, _, err = feedback("migrate", "--to", "base")
    assert (code, "add --yes" in err) == (2, True)
    assert feedback("migrate", "--to", "base", "--yes")[1] == f"revision {migrate.head()} → none\n"
    assert feedback("migrate")[1] == f"revision none → {migrate.head()}\n"
    assert feedback("purge")[1] == "removed 0 pictures older than 365 days\n"
