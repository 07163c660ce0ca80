"""Pictures of numbers with their texts: each form of a table, and what is wrong with one."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from inkdigits import DataError
from inkdigits.data.numbers import TABLES, read_number_pictures

from support.drawings import page
from support.files import encode

TEXTS = ["007", "12\n34", ""]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with three pictures in ``in/``."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for i, text in enumerate(TEXTS):
        Path(f"in/{i}.png").write_bytes(encode(page(*text.split() or [" "])))
    return tmp_path


def write(path, text):
    Path(path).write_text(text, encoding="utf-8")
    return path


def test_a_csv_of_files_and_texts(folder):
    for heading in ("file,text", "file_name,kind,label"):
        middle = ",x" * (heading.count(",") - 1)
        rows = [f'{i}.png{middle},"{text}"' for i, text in enumerate(TEXTS)]
        found = read_number_pictures(write("in/t.csv", "\ufeff" + "\n".join([heading, *rows]) + "\n"))
        assert (found.name, list(found.texts), list(found.titles)) == ("t.csv", TEXTS, ["0.png", "1.png", "2.png"])
        assert [path.read_bytes() for path in found.images] == [Path(f"in/{i}.png").read_bytes() for i in range(3)]
        assert found.sha256.keys() == {"t.csv"}


def test_json_lines_and_parquet_have_the_same(folder):
    lines = [json.dumps({"file": f"{i}.png", "text": text}) for i, text in enumerate(TEXTS)]
    of_json = read_number_pictures(write("in/t.jsonl", "\n".join([lines[0], "", *lines[1:]])))
    content = [{"bytes": Path(f"in/{i}.png").read_bytes(), "path": None} for i in range(3)]
    pa.parquet.write_table(pa.table({"image": content, "label": TEXTS}), "t.parquet")
    of_parquet = read_number_pictures("t.parquet")
    assert list(of_json.texts) == list(of_parquet.texts) == TEXTS
    assert [path.read_bytes() for path in of_json.images] == list(of_parquet.images)
    assert list(of_parquet.titles) == ["row 1", "row 2", "row 3"]


@pytest.mark.parametrize("name", TABLES)
def test_a_folder_with_a_table(folder, name):
    rows = ["file,text", "0.png,007"] if name.endswith(".csv") else ['{"file": "0.png", "text": "007"}']
    write(f"in/{name}", "\n".join(rows))
    found = read_number_pictures("in")
    assert (found.name, list(found.texts), list(found.images)) == ("in", ["007"], [Path("in/0.png")])


def test_a_limited_set_is_the_same_each_time_and_in_order(folder):
    write("t.csv", "file,text\n" + "".join(f"{i}.png,{i}\n" for i in range(50)))
    found = read_number_pictures("t.csv")
    some = found.limited(20)
    assert list(some.texts) == list(found.limited(20).texts)
    assert len({*some.texts}) == 20
    assert sorted(some.texts, key=int) == list(some.texts)
    assert [f"{text}.png" for text in some.texts] == list(some.titles)
    assert found.limited(50) is found


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gone.csv", None, "there is no file or folder 'gone.csv'; expected a table with file,text"),
        ("in", None, "folder in has no table of texts; write one of metadata.csv, metadata.jsonl, texts.csv"),
        ("t.txt", "1", "t.txt is not a table of texts by its name; expected .csv, .jsonl, .parquet"),
        ("t.csv", "", "t.csv has no column file or file_name; it has: none"),
        ("t.csv", "file,txt\n", "t.csv has no column text or label; it has: file, txt"),
        ("t.csv", "file,text\n", "t.csv has no rows"),
        ("t.csv", "file,text\n0.png,1\n1.png\n", "t.csv, line 3: expected file and text"),
        ("t.csv", b"file,text\n\xff.png,1\n", "t.csv is not UTF-8 text"),
        ("t.jsonl", '{"file": "0.png", "text": "1"}\n[]\n', "t.jsonl, line 2: expected a JSON object, not '[]'"),
        ("t.jsonl", '{"file": "0.png", "text": 7}\n', 'line 1: file and text must be strings, as "007"'),
        ("t.parquet", "x", "t.parquet cannot be read as Parquet: "),
    ],
)
def test_what_is_wrong_is_told(folder, name, content, words):
    if content is not None:
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as caught:
        read_number_pictures(name)
    assert words in str(caught.value)


def test_parquet_of_other_things_is_told(folder):
    pa.parquet.write_table(pa.table({"image": [b"x"], "text": [7]}), "t.parquet")
    with pytest.raises(DataError, match="row 1: expected an encoded image and its text as a string"):
        read_number_pictures("t.parquet")
    pa.parquet.write_table(pa.table({"text": ["7"]}), "t.parquet")
    with pytest.raises(DataError, match="has no column image; it has: text"):
        read_number_pictures("t.parquet")
