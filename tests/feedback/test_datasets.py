"""Corrections as data sets for other programs."""

import io
import json
import os
import uuid
import zipfile

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from inkdigits.feedback.answers import Answer
from inkdigits.feedback.queries import every
from inkdigits.feedback.review import decide
from inkdigits.feedback.store import Store
from inkdigits.feedback.submission import STROKES, Original, Submission

from support.corrections import MODEL, answer, submission

NUMBER = b'{"strokes": [[[0, 0], [40, 0], [15, 60]], [[80, 0], [80, 60]]]}'


def number(label):
    details = {"text": "11", "numbers": [{"text": "11", "confidence": 0.8, "box": [0, 0, 9, 9], "characters": []}]}
    of = Answer("number", "11", 0.8, details, None, MODEL, answer().at, uuid.uuid4().hex, uuid.uuid4().hex)
    return Submission(str(uuid.uuid4()), "b" * 64, "corrected", label, of, Original(NUMBER, STROKES))


@pytest.fixture
def path(tmp_path):
    """A store with a relabeled digit, a rejected one, one that nobody reviewed and is none, and a number."""
    path = tmp_path / "feedback.db"
    store = Store(str(path))
    seen = np.zeros((28, 28), np.uint8)
    seen[4:24, 13:16] = 255
    store.add(
        [
            submission("7", answer(4, seen=seen.tobytes()), client="c" * 16),
            submission("2", answer(4, seen=os.urandom(784))),
            submission("", answer(4, seen=os.urandom(784))),
            number("71"),
        ]
    )
    rows = [each.row for each in every(store.engine)]
    decide(store.engine, rows[0], "ada", "relabel", "1")
    decide(store.engine, rows[1], "ada", "reject")
    store.close()
    return path


@pytest.fixture
def export(path, run_command, tmp_path):
    def export(name, *options):
        out = tmp_path / name
        code, printed, err = run_command("feedback", "export", "--feedback", path, "-o", out, *options)
        assert (code, printed) == (0, ""), err
        return out, err

    return export


def test_parquet_has_everything(export):
    out, err = export("corrections.parquet")
    assert err == "4 corrections\n"
    rows = pq.read_table(out).to_pylist()
    assert [row["truth"] for row in rows] == ["1", None, "", "71"]
    assert [row["label"] for row in rows] == ["7", "2", "", "71"]
    assert [row["status"] for row in rows] == ["relabeled", "rejected", "pending", "pending"]
    assert np.array(rows[0]["pixels"]).reshape(28, 28)[10, 14] == 255
    assert json.loads(rows[3]["strokes"]) == json.loads(NUMBER)
    assert json.loads(rows[0]["details"])["digit"] == 4
    assert export("accepted.parquet", "--status", "accepted")[1] == "0 corrections\n"


def test_coco_is_a_zip_with_the_pictures(export):
    out, err = export("corrections.zip")
    assert err == "3 corrections\n"
    with zipfile.ZipFile(out) as archive:
        assert archive.testzip() is None
        document = json.loads(archive.read("annotations/instances_default.json"))
        names = {each["id"]: each["name"] for each in document["categories"]}
        found = [(names[each["category_id"]], each["utf8_string"]) for each in document["annotations"]]
        assert found == [("1", "1"), ("not-a-digit", ""), ("number", "71")]
        images = {each["id"]: each for each in document["images"]}
        for annotation in document["annotations"]:
            image = images[annotation["image_id"]]
            picture = Image.open(io.BytesIO(archive.read(f"images/{image['file_name']}")))
            assert picture.size == (image["width"], image["height"])
            left, top, width, height = annotation["bbox"]
            assert left >= 0 and top >= 0 and left + width <= picture.width and top + height <= picture.height
            assert annotation["area"] == width * height
    assert document["annotations"][0]["bbox"] == [13, 4, 3, 20]


def test_label_studio_takes_it_and_gives_it_back(export, run_command, tmp_path):
    out, err = export("tasks.json")
    assert err == "3 corrections\n"
    tasks = json.loads(out.read_text(encoding="utf-8"))
    assert tasks[0]["annotations"][0]["result"][0]["value"] == {"choices": ["1"]}
    assert tasks[0]["predictions"][0]["result"][0]["value"] == {"choices": ["4"]}
    assert tasks[2]["annotations"][0]["result"][0]["type"] == "textarea"
    again = tmp_path / "again.db"
    code, _, err = run_command("feedback", "import", out, "--feedback", again)
    assert (code, err) == (0, "")
    store = Store(str(again))
    assert sorted((each.task, each.label) for each in every(store.engine)) == [
        ("digit", ""), ("digit", "1"), ("number", "71"),
    ]  # fmt: skip
    store.close()


def test_wrong_names_are_refused_before_anything_is_written(path, run_command, tmp_path):
    for format, out in (
        ("parquet", None),
        ("coco", "-"),
        ("coco", tmp_path / "a.json"),
        ("parquet", tmp_path / "a.csv"),
    ):
        options = [] if out is None else ["-o", out]
        code, printed, err = run_command("feedback", "export", "--feedback", path, "--format", format, *options)
        assert code == 2, err
        assert (".parquet" if format == "parquet" else ".zip") in err
        assert printed == ""
    assert sorted(each.suffix for each in tmp_path.iterdir() if "feedback" not in each.name) == []
