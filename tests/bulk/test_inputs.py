"""Inputs that lie, cannot be opened or change under the reader: an error in their place, and the rest goes on."""

import csv
import gzip
import io
import os
import random
import struct
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from inkdigits.bulk.inputs import chunks
from inkdigits.data.tables import PIXELS, write_csv
from inkdigits.preprocess import Limits

from support.bulk import DEADLINE
from support.files import encode, idx

MEMORY = 2 << 30  # bytes that a process may ask for; more than it needs, less than the headers promise
COUNT = "inkdigits: 3 images: 2 digits, 1 error\n"  # with the wrong one between two right ones
SEED, CASES = 5, 400  # damaged files of the fuzzing
posix = pytest.mark.skipif(os.name == "nt", reason="it needs what POSIX has")


@pytest.fixture
def here(tmp_path, monkeypatch, digits):
    monkeypatch.chdir(tmp_path)
    Path("good.png").write_bytes(encode(digits[3]))
    return tmp_path


def limited(*argv, **options):
    """A run of predict that may not have much memory: (exit code, rows, standard error)."""
    import resource

    done = subprocess.run(
        [sys.executable, "-m", "inkdigits", "predict", *argv, "--csv", "--processes", "1"],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
        **options,
    )
    return done.returncode, list(csv.DictReader(io.StringIO(done.stdout))), done.stderr


def idx_header(*shape):
    return bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)


def npy(shape, dtype="|u1", content=b""):
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + content


def npz(**arrays):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in arrays.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


def in_zip(content, method=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for i in range(2):
            archive.writestr(f"{i}.png", content)
    return file.getvalue()


def lying_tar(content):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo("0.png")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
        member = tarfile.TarInfo("1.png")
        member.size = 1 << 40  # bytes, of which there is none
        archive.addfile(member)
    return file.getvalue()


def damaged_xz(content):
    """A zip archive whose first picture's LZMA stream is none."""
    whole = bytearray(in_zip(content, zipfile.ZIP_LZMA))
    at = whole.index(b"0.png") + 5
    whole[at : at + 60] = b"\xff" * 60
    return bytes(whole)


LIES = {
    "most.idx": idx_header(0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
    "much.idx": idx_header(4096, 0xFFFF, 0xFFFF) + bytes(100),
    "large.idx": idx_header(1, 0xFFFF, 0xFFFF) + bytes(100),
    "empty.idx": idx_header(0xFFFFFFFF, 0, 0),
    "flat.idx": idx_header(0xFFFFFFFF, 28, 0),
    "axes.idx": idx_header(),
    "many-axes.idx": idx_header(*[0xFFFFFFFF] * 255),
    "labels.idx": idx_header(0xFFFFFFFF) + bytes(10),
    "most.idx.gz": gzip.compress(idx_header(0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF)),
    "bomb.idx.gz": gzip.compress(idx_header(2, 40_000, 40_000) + bytes(50 << 20)),
    "most.npz": npz(images=npy((1 << 62, 28, 28))),
    "negative.npz": npz(images=npy((-1, 28, 28))),
    "wide.npz": npz(images=npy((4096, 28, 28), "|V1000000000")),
    "text.npz": npz(images=npy((4096, 784), "<U1000000000")),
    "header.npz": npz(images=npy("((((((").replace(b"'descr'", b"'''scr'")),
    "no-suffix.npz": in_zip(b"").replace(b"0.png", b"image").replace(b"1.png", b"other"),
    "most.parquet": b"PAR1" + bytes(40) + (0xFFFFFFF0).to_bytes(4, "little") + b"PAR1",
    "line.csv": ",".join(PIXELS).encode() + b"\n" + b"0," * (5 << 20),
    "line.csv.gz": gzip.compress(",".join(PIXELS).encode() + b"\n" + b"0" * (300 << 20)),
    "cut.zip": b"PK\x05\x06" + b"\xff" * 18,
    "cut.tar.xz": b"\xfd7zXZ\x00\x00\x04" + bytes(30),
    "cut.tar.gz": b"\x1f\x8b\x08\x1c",
}


@posix
@pytest.mark.parametrize("name", LIES)
def test_a_header_that_lies_is_an_error_in_its_place(here, name):
    Path(name).write_bytes(LIES[name])
    code, rows, err = limited("good.png", name, "good.png")
    assert code == 1
    assert [bool(row["error"]) for row in rows] == [False, True, False], rows
    assert rows[1]["name"] == name
    assert err == f"inkdigits: {name}: {rows[1]['error']}\n{COUNT}"


@posix
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_the_rest_of_an_archive_is_read(here, kind):
    good = Path("good.png").read_bytes()
    Path(f"a.{kind}").write_bytes(damaged_xz(good) if kind == "zip" else lying_tar(good))
    code, rows, _ = limited(f"a.{kind}", "good.png")
    assert code == 1
    # Of the tar, the picture that is said to be too large, and that there is no more of it.
    wrong = {"zip": [True, False, False], "tar": [False, True, True, False]}
    assert [bool(row["error"]) for row in rows] == wrong[kind]


def test_large_images_of_an_idx_file_are_read_a_few_at_a_time(here):
    side = 1500  # pixels; a chunk of the usual number of rows would have 9 GB
    Path("large.idx").write_bytes(idx(np.full((30, side, side), 200, np.uint8)))
    found = list(chunks(["large.idx"], Limits()))
    assert sum(len(chunk.names) for chunk in found) == 30
    assert max(chunk.sources.nbytes for chunk in found) <= 32 << 20
    assert [name for chunk in found for name in chunk.names] == [f"large.idx:{i}" for i in range(1, 31)]


@posix
def test_a_folder_that_cannot_be_listed_is_an_error_in_its_place(here, digits):
    """Deeper than a path may be long; so that root is refused as well."""
    Path("in").mkdir()
    for name in ("a.png", "z.png"):
        (Path("in") / name).write_bytes(encode(digits[0]))
    at = os.open("in", os.O_RDONLY)
    deep = "d" * 250
    for i in range(20):
        os.mkdir(deep, dir_fd=at)
        inner = os.open(deep, os.O_RDONLY, dir_fd=at)
        file = os.open("p.png", os.O_WRONLY | os.O_CREAT, dir_fd=inner)
        os.write(file, encode(digits[i]))
        os.close(file)
        os.close(at)
        at = inner
    os.close(at)
    code, rows, err = limited("in", "good.png")
    assert code == 1
    wrong = [row for row in rows if row["error"]]
    assert len(wrong) == 1 + ("cannot open" in wrong[0]["error"])  # the picture beside it, and the folder
    assert "cannot list folder" in wrong[-1]["error"]
    assert "File name too long" in wrong[-1]["error"]
    assert [rows[0]["name"], rows[-2]["name"], rows[-1]["name"]] == ["in/a.png", "in/z.png", "good.png"]
    assert not rows[-2]["error"]
    assert len(err.splitlines()) == len(wrong) + 1  # the count


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("given", ["in", "in/no", "in/no/a.png"])
def test_a_folder_without_permission_is_an_error_in_its_place(here, given):
    no = Path("in/no")
    no.mkdir(parents=True)
    Path("in/b.png").write_bytes(Path("good.png").read_bytes())
    no.chmod(0)
    try:
        code, rows, _ = limited(given, "good.png")
    finally:
        no.chmod(0o700)
    assert code == 1
    assert "Permission denied" in next(row["error"] for row in rows if row["error"])
    assert rows[-1] == {**rows[-1], "name": "good.png", "error": ""}


def test_a_thousand_folders_deep(here, digits):
    """Deeper than Python's stack; made and removed one by one, as what removes folders of tests would not do it."""
    folders = [Path("in/" + "d/" * i) for i in range(1200)]
    for folder in folders:
        folder.mkdir()
    picture = folders[-1] / "p.png"
    picture.write_bytes(encode(digits[0]))
    try:
        code, rows, err = limited("in")
    finally:
        picture.unlink()
        for folder in reversed(folders):
            folder.rmdir()
    assert (code, err) == (0, "")
    assert [row["name"] for row in rows] == [str(picture)]


@posix
def test_a_link_that_leads_nowhere_is_an_error(here):
    Path("in").mkdir()
    Path("in/a.png").symlink_to("gone.png")
    Path("in/b.png").symlink_to(Path("good.png").resolve())
    os.mkfifo("in/c.png")  # nobody would ever write into it
    Path("in/d.png").mkdir()
    code, rows, _ = limited("in")
    assert code == 1
    assert [(row["name"], row["error"][:11]) for row in rows] == [("in/a.png", "cannot open"), ("in/b.png", "")]


def test_files_that_vanish_after_they_were_listed_are_errors(here, run, monkeypatch):
    from inkdigits.bulk import inputs

    Path("in").mkdir()
    for name in "abc":
        Path(f"in/{name}.png").write_bytes(Path("good.png").read_bytes())
    listed = inputs._chunked

    def vanish(items):
        for chunk in listed(items):
            Path("in/b.png").unlink(missing_ok=True)
            yield chunk

    monkeypatch.setattr(inputs, "_chunked", vanish)
    code, out, err = run("in", "--csv", "--processes", "1")
    assert code == 1
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [bool(row["error"]) for row in rows] == [False, True, False]
    assert err == f"inkdigits: in/b.png: cannot open in/b.png: No such file or directory\n{COUNT}"


@posix
def test_a_picture_comes_through_a_pipe_whole(here):
    """As from <(curl …): what has been looked at is gone."""
    os.mkfifo("pipe")
    content = Path("good.png").read_bytes()
    writer = threading.Thread(target=lambda: Path("pipe").write_bytes(content))
    writer.start()
    code, rows, err = limited("pipe", "good.png")
    writer.join(DEADLINE)
    assert (code, err) == (0, "inkdigits: 2 images: 2 digits\n")
    assert rows[0]["digit"] == rows[1]["digit"] == "3"


def damaged(content, choice):
    """Content with a few bytes changed, cut out or put in."""
    content = bytearray(content)
    for _ in range(choice.choice([1, 1, 2, 4])):
        n = len(content)
        at = choice.choice([choice.randrange(n), choice.randrange(min(n, 600)), n - 1 - choice.randrange(min(n, 600))])
        kind = choice.randrange(4)
        if kind == 0:
            content[at] ^= 1 << choice.randrange(8)
        elif kind == 1:
            width = choice.choice([1, 2, 4, 8])
            content[at : at + width] = choice.choice([b"\0", b"\xff", b"\x7f"]) * width
        elif kind == 2:
            del content[at : at + choice.randrange(1, 50)]
        else:
            content[at:at] = choice.randbytes(choice.randrange(1, 20))
    return bytes(content)


def test_damage_of_any_kind_is_an_error_and_nothing_else(here, digits):
    """Every kind of input, damaged at random: chunks come, or errors in them, and no exception."""
    some = digits[:20]
    pictures = [encode(image) for image in some]
    whole = {"a.idx": idx(some), "b.idx.gz": gzip.compress(idx(some))}
    for i, method in enumerate((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)):
        whole[f"c{i}.zip"] = in_zip(pictures[i], method)
    for ending, mode in (("tar", "w"), ("tar.gz", "w:gz"), ("tar.bz2", "w:bz2"), ("tar.xz", "w:xz")):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode=mode) as archive:
            for i, content in enumerate(pictures):
                member = tarfile.TarInfo(f"{'x' * 120 * (i % 2)}é{i}.png")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        whole[f"d.{ending}"] = file.getvalue()
    text = io.StringIO()
    write_csv(text, some)
    whole["e.csv"] = text.getvalue().encode()
    flat = some.reshape(len(some), -1)
    for name, table in (
        ("f.parquet", {name: flat[:, i] for i, name in enumerate(PIXELS)}),
        ("g.parquet", {"image": [{"bytes": content, "path": None} for content in pictures]}),
    ):
        file = io.BytesIO()
        pyarrow.parquet.write_table(pa.table(table), file)
        whole[name] = file.getvalue()
    for name, save in (("h.npz", np.savez), ("i.npz", np.savez_compressed)):
        save(name, images=some)
        whole[name] = Path(name).read_bytes()
    choice = random.Random(SEED)
    for _ in range(CASES):
        name = choice.choice(list(whole))
        content = damaged(whole[name], choice)
        Path(name).write_bytes(content)
        try:
            for chunk in chunks([name], Limits()):
                assert len(chunk.names) == len(chunk.sources)
        except Exception as error:
            raise AssertionError(f"{name}, seed {SEED}: {error!r}") from error
