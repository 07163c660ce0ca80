"""``inkdigits predict`` on many images: every kind of input and output, broken ones, processes, kills, and memory."""

import csv
import gzip
import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from inkdigits.bulk import journal
from inkdigits.bulk.inputs import CHUNK_PICTURES
from inkdigits.data.tables import PIXELS, write_csv

from support.bulk import DEADLINE, N, rows_of, size_of, start, stopped
from support.files import encode, idx
from support.hostile import damaged_tiff
from support.servers import processes, until

pytestmark = pytest.mark.slow

KILLS = 10
INPUTS = (
    *("pictures", "digits.zip", "digits.tar", "digits.tar.gz", "digits.csv", "digits.csv.gz", "digits.parquet"),
    *("pictures.parquet", "digits.npz", "digits-idx3-ubyte", "digits-idx3-ubyte.gz"),
)


def write_pixels(images, path):
    flat = images.reshape(len(images), -1)
    pa.parquet.write_table(pa.table({name: flat[:, i] for i, name in enumerate(PIXELS)}), path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, digits):
    """A folder with the same digits in every form that is read."""
    folder = tmp_path_factory.mktemp("bulk")
    pictures = [encode(image) for image in digits]
    (folder / "pictures").mkdir()
    for i, content in enumerate(pictures):
        (folder / "pictures" / f"{i:04}.png").write_bytes(content)
    with zipfile.ZipFile(folder / "digits.zip", "w") as archive:
        for i, content in enumerate(pictures):
            archive.writestr(f"{i:04}.png", content)
    for name, mode in (("digits.tar", "w"), ("digits.tar.gz", "w:gz")):
        with tarfile.open(folder / name, mode) as archive:
            for i, content in enumerate(pictures):
                member = tarfile.TarInfo(f"{i:04}.png")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    with (folder / "digits.csv").open("w") as file:
        write_csv(file, digits)
    (folder / "digits.csv.gz").write_bytes(gzip.compress((folder / "digits.csv").read_bytes()))
    write_pixels(digits, folder / "digits.parquet")
    image = [{"bytes": content, "path": None} for content in pictures]
    pa.parquet.write_table(pa.table({"image": image, "label": [0] * N}), folder / "pictures.parquet")
    np.savez_compressed(folder / "digits.npz", images=digits)
    (folder / "digits-idx3-ubyte").write_bytes(idx(digits))
    (folder / "digits-idx3-ubyte.gz").write_bytes(gzip.compress(idx(digits)))
    return folder


def count_of(accepted, of=N):
    """What is printed at the end where so many of ``of`` images show a digit, and none is blank."""
    return f"inkdigits: {of:,} images: {accepted:,} digits, {of - accepted:,} not digits\n"


@pytest.mark.parametrize("name", INPUTS)
def test_every_kind_of_input_gives_the_same_answers(run, folder, digits, recognizer, name):
    code, out, err = run(folder / name, "--csv", "--processes", "1")
    rows = list(csv.DictReader(io.StringIO(out)))
    expected = recognizer.predict_batch(digits)
    assert (code, err) == (0, count_of(sum(p.is_digit for p in expected)))
    assert [row["digit"] for row in rows] == ["" if p.digit is None else str(p.digit) for p in expected]
    found = [[float(row[f"p{d}"]) for d in range(10)] for row in rows]
    np.testing.assert_allclose(found, [p.probabilities for p in expected], atol=1e-6)
    if ("pictures" in name and name != "pictures.parquet") or name.startswith("digits.zip") or ".tar" in name:
        names = [f"{folder / name}/{i:04}.png" for i in range(N)]
    else:
        names = [f"{folder / name}:{i}" for i in range(1, N + 1)]
    assert [row["name"] for row in rows] == names


def test_every_kind_of_output_says_the_same(run, folder):
    for ending in ("csv", "jsonl", "parquet"):
        assert run(folder / "digits.zip", "-o", f"o.{ending}", "--processes", "2")[0] == 0
    table = pa.parquet.read_table("o.parquet")
    lines = [json.loads(line) for line in Path("o.jsonl").read_text().splitlines()]
    rows = rows_of("o.csv")
    assert table.column_names == list(rows[0])
    for row, line, of_table in zip(rows, lines, table.to_pylist(), strict=True):
        assert row["name"] == line["name"] == of_table["name"]
        assert row["digit"] == ("" if line["digit"] is None else str(line["digit"]))
        assert of_table["digit"] == line["digit"]
        assert float(row["confidence"]) == line["confidence"] == of_table["confidence"]
        probabilities = [of_table[f"p{d}"] for d in range(10)]
        assert [float(row[f"p{d}"]) for d in range(10)] == line["probabilities"] == probabilities
        assert (row["error"], of_table["error"]) == ("", None)
    assert sorted(path.name for path in Path().iterdir()) == ["o.csv", "o.jsonl", "o.parquet"]


def test_processes_change_nothing(run, folder):
    inputs = [folder / name for name in ("pictures", "digits.csv", "digits.tar.gz", "digits-idx3-ubyte")]
    for n in (1, 3):
        assert run(*inputs, "-o", f"o{n}.csv", "--processes", n)[0] == 0
    assert Path("o1.csv").read_bytes() == Path("o3.csv").read_bytes()
    assert len(rows_of("o1.csv")) == 4 * N


def broken_inputs(folder, digits):
    """Inputs with something wrong in each; what their rows should be, as (name, words of the error or "")."""
    good = encode(digits[0])
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("0.png", good)
        archive.writestr("1.png", good[:60])
        archive.writestr("2.txt", "no picture")
        archive.writestr(".3.png", "hidden")
        archive.writestr("deep/4.png", good)
    content = (folder / "a.zip").read_bytes()
    at = content.index(good)
    (folder / "b.zip").write_bytes(content[:at] + bytes(len(good)) + content[at + len(good) :])
    (folder / "c.zip").write_bytes(content[:100])
    with tarfile.open(folder / "d.tar", "w") as archive:
        for i in range(3):
            member = tarfile.TarInfo(f"{i}.png")
            member.size = len(good)
            archive.addfile(member, io.BytesIO(good))
    (folder / "d.tar").write_bytes((folder / "d.tar").read_bytes()[: 3 * 512 + len(good) // 512 * 512])
    rows = [["0"] * 784 for _ in range(5)]
    rows[1][7], rows[3] = "256", ["1", "2"]
    with (folder / "e.csv").open("w", newline="") as file:
        csv.writer(file).writerows([PIXELS, *rows])
    table = np.zeros((4, 784))
    table[2, 3] = np.nan
    np.savez(folder / "f.npz", images=table)
    pa.parquet.write_table(pa.table({name: table[:, i] for i, name in enumerate(PIXELS)}), folder / "g.parquet")
    pa.parquet.write_table(pa.table({"image": [good, b"no", None]}), folder / "h.parquet")
    (folder / "i-idx3-ubyte").write_bytes(idx(digits[:3])[:-5])
    (folder / "j.csv").write_text("a,b\n1,2\n")
    (folder / "k.png").write_bytes(b"hello")
    return {
        "a.zip": [("a.zip/0.png", ""), ("a.zip/1.png", "truncated"), ("a.zip/deep/4.png", "")],
        "b.zip": [("b.zip/0.png", "Bad CRC"), ("b.zip/1.png", "truncated"), ("b.zip/deep/4.png", "")],
        "c.zip": [("c.zip", "cannot read c.zip as a zip archive: File is not a zip file")],
        "d.tar": [("d.tar/0.png", ""), ("d.tar", "cannot read d.tar as a tar archive after 2 images: unexpected end")],
        "e.csv": [
            ("e.csv:1", ""),
            ("e.csv:2", "e.csv, line 3, column pixel7: '256' is not"),
            ("e.csv:3", ""),
            ("e.csv:4", "e.csv, line 5: 2 values, where the header names 784"),
            ("e.csv:5", ""),
        ],
        "f.npz": [("f.npz:1", ""), ("f.npz:2", ""), ("f.npz:3", "row 3, column pixel3: nan is not"), ("f.npz:4", "")],
        "g.parquet": [("g.parquet:1", ""), ("g.parquet:2", ""), ("g.parquet:3", "nan is not"), ("g.parquet:4", "")],
        "h.parquet": [("h.parquet:1", ""), ("h.parquet:2", "not an image"), ("h.parquet:3", "the image is missing")],
        "i-idx3-ubyte": [
            ("i-idx3-ubyte:1", ""),
            ("i-idx3-ubyte:2", ""),
            ("i-idx3-ubyte", "i-idx3-ubyte is cut short after 2 of 3 images"),
        ],
        "j.csv": [("j.csv", "'a' is not a column of a table of digits")],
        "k.png": [("k.png", "not an image")],
    }


def test_what_is_broken_is_a_row_in_its_place(run, digits, tmp_path):
    expected = broken_inputs(tmp_path, digits)
    code, out, err = run(*expected, "--csv", "--processes", "2")
    assert code == 1
    rows = [(row["name"], row["error"]) for row in csv.DictReader(io.StringIO(out))]
    wanted = [row for of_input in expected.values() for row in of_input]
    assert [name for name, _ in rows] == [name for name, _ in wanted]
    for (name, error), (_, words) in zip(rows, wanted, strict=True):
        assert words in error, name
        assert bool(words) == bool(error), name
        assert not error or f"inkdigits: {name}: " in err
    *told, count = err.splitlines()
    errors = sum(bool(words) for _, words in wanted)
    assert len(told) == errors
    assert count.startswith(f"inkdigits: {len(rows)} images: ")
    assert count.endswith(f", {errors} errors")


@pytest.mark.parametrize("number", [1, 2])
def test_what_pillow_warns_of_is_not_printed(tmp_path, number):
    """By this process or by others: a folder of damaged scans would print a line for each wording."""
    for i in range(2 * CHUNK_PICTURES):
        (tmp_path / f"{i}.tif").write_bytes(damaged_tiff(1_000_000 + i % 3))
    command = [sys.executable, "-m", "inkdigits", "predict", str(tmp_path), "--csv", "--processes", str(number)]
    done = subprocess.run(command, capture_output=True, text=True)
    n = 2 * CHUNK_PICTURES
    assert (done.returncode, done.stderr) == (0, f"inkdigits: {n} images: {n} digits\n")
    assert {row["digit"] for row in csv.DictReader(io.StringIO(done.stdout))} == {"7"}


def test_a_picture_in_an_archive_has_a_limit(run, folder, monkeypatch, tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.png", bytes(3 << 20))
    monkeypatch.setenv("INKDIGITS_MAX_BYTES", str(1 << 20))
    code, _, err = run("bomb.zip")
    assert code == 1
    assert "bomb.zip/0.png: the image file is larger than 1,048,576 bytes" in err


def spool_of(run, folder, *options):
    """The whole output of a run and the spool that it would leave at its end, killed just before."""
    assert run(folder / "digits.tar", folder / "digits.csv", "-o", "whole.csv", *options)[0] == 0
    whole = Path("whole.csv").read_bytes()
    assert stopped(run, folder / "digits.tar", folder / "digits.csv", "-o", "o.csv", *options)[0] == 130
    return whole, Path("o.csv.part").read_bytes()


def test_cut_anywhere_it_goes_on_to_the_same_end(run, folder):
    whole, spool = spool_of(run, folder, "--processes", "1")
    choice = random.Random(11)
    cuts = [0, 1, spool.index(b"\n"), spool.index(b"\n") + 1, len(spool)]
    for cut in cuts + choice.sample(range(len(spool)), 10):
        Path("o.csv.part").write_bytes(spool[:cut])
        code, _, _ = run(folder / "digits.tar", folder / "digits.csv", "-o", "o.csv", "--resume", "--processes", "1")
        assert code == 0
        assert Path("o.csv").read_bytes() == whole, cut
        assert not Path("o.csv.part").exists()


def test_a_damaged_block_is_read_again(run, folder):
    whole, spool = spool_of(run, folder, "--processes", "1")
    at = len(spool) // 2
    Path("o.csv.part").write_bytes(spool[:at] + bytes([spool[at] ^ 1]) + spool[at + 1 :])
    assert run(folder / "digits.tar", folder / "digits.csv", "-o", "o.csv", "--resume", "--processes", "1")[0] == 0
    assert Path("o.csv").read_bytes() == whole


def test_another_run_s_rest_is_not_gone_on_with(run, folder):
    _, spool = spool_of(run, folder, "--processes", "1")
    for options, words in (
        ([folder / "digits.tar", "-o", "o.csv"], "(other inputs: 2 inputs then, 1 now)"),
        ([folder / "digits.csv", folder / "digits.csv", "-o", "o.csv"], "digits.tar then, "),
        ([folder / "digits.tar", folder / "digits.csv", "-o", "o.csv", "--model", "lenet"], "another model"),
    ):
        for begin in (["--resume"], []):
            code, _, err = run(*options, *begin, "--processes", "1")
            assert code == 2
            assert words in err
            assert f"{2 * N:,} finished rows" in err
            assert err.endswith("; --restart discards them\n")
            assert Path("o.csv.part").read_bytes() == spool
    code, _, _ = run(folder / "digits.tar", "-o", "o.csv", "--restart", "--processes", "1")
    assert code == 0
    assert not Path("o.csv.part").exists()
    assert len(rows_of("o.csv")) == N


def test_the_rest_of_another_form_is_not_gone_on_with(run, folder):
    assert stopped(run, folder / "digits.csv", "-o", "digits", "--csv", "--processes", "1")[0] == 130
    code, _, err = run(folder / "digits.csv", "-o", "digits", "--json", "--processes", "1")
    assert code == 2
    assert "another form: csv then, json now" in err


def test_pictures_that_came_between_are_noticed(run, folder, tmp_path):
    for path in sorted((folder / "pictures").iterdir())[: CHUNK_PICTURES + 9]:
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / path.name).write_bytes(path.read_bytes())
    assert stopped(run, "in", "-o", "p.csv", "--processes", "1")[0] == 130
    (tmp_path / "in" / "0000a.png").write_bytes((tmp_path / "in" / "0000.png").read_bytes())
    code, _, err = run("in", "-o", "p.csv", "--resume", "--processes", "1")
    assert code == 2
    assert "was begun with other images" in err


def test_errors_before_a_kill_count(run, tmp_path, digits):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.png").write_bytes(b"hello")
    (tmp_path / "in" / "good.png").write_bytes(encode(digits[0]))
    code, _, err = stopped(run, "in", "-o", "o.csv")
    assert code == 130
    assert "inkdigits: 2 rows are kept in o.csv.part; --resume continues" in err
    code, _, err = run("in", "-o", "o.csv", "--resume")
    assert code == 1
    assert err.startswith("inkdigits: 2 images: ")  # and nothing of what the run before told
    assert err.endswith(", 1 error\n")
    assert [bool(row["error"]) for row in rows_of("o.csv")] == [True, False]


def readers():
    """The processes that multiprocessing started from this folder and that are alive."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            here = (path.parent / "cwd").samefile(Path.cwd())
            dead = "Z" in (path.parent / "stat").read_text().rpartition(")")[2]
            if here and not dead and b"spawn_main" in path.read_bytes():
                found.add(int(path.parent.name))
        except OSError:  # it has ended
            continue
    return found


@processes
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "txt"])
def test_killed_ten_times_it_ends_the_same(run, folder, ending):
    """benchmarks/kills.py does it longer."""
    inputs = [folder / name for name in ("pictures", "digits.zip", "digits.tar", "digits.csv", "digits-idx3-ubyte")]
    inputs *= 2
    options = ["--processes", "2"]
    code, _, told = run(*inputs, "-o", f"whole.{ending}", *options)
    assert code == 0
    assert told.startswith(f"inkdigits: {len(inputs) * N:,} images: ")
    whole = Path(f"whole.{ending}").read_bytes()
    spool, out = Path(f"o.{ending}.part"), Path(f"o.{ending}")
    assert stopped(run, *inputs, "-o", out, *options)[0] == 130
    size = size_of(spool)
    spool.unlink()
    before = readers()
    choice = random.Random(ending)
    for least in sorted(choice.randrange(size) for _ in range(KILLS)):
        process = start(*inputs, "-o", out, "--resume", *options)
        until(lambda p=process, n=least: p.poll() is not None or size_of(spool) >= n)
        process.kill()
        process.communicate()
    process = start(*inputs, "-o", out, "--resume", *options)
    _, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, err.decode()) == (0, told)
    assert out.read_bytes() == whole
    until(lambda: not readers() - before)  # they end when the one that they read for is killed


def test_ctrl_c_leaves_what_is_finished(run, folder):
    process = start(*[folder / "digits.zip"] * 30, "-o", "o.csv", "--processes", "2")
    until(lambda: size_of("o.csv.part") > 10_000)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130
    assert b"--resume continues" in err
    assert b"Traceback" not in err
    assert Path("o.csv.part").exists()
    assert not Path("o.csv").exists()


def test_ctrl_c_as_soon_as_a_block_is_written(run, folder, monkeypatch):
    opened = journal.open_own

    def interrupted(*args):
        file = opened(*args)
        flushed = []

        def flush():
            type(file).flush(file)
            flushed.append(1)
            if len(flushed) == 2:  # the start of the file, and a block
                raise KeyboardInterrupt

        file.flush = flush
        return file

    monkeypatch.setattr(journal, "open_own", interrupted)
    code, _, err = run(folder / "digits.zip", "-o", "o.csv", "--processes", "1")
    assert code == 130
    assert " rows are kept in o.csv.part; --resume continues" in err
    monkeypatch.undo()
    code, _, err = run(folder / "digits.zip", "-o", "o.csv", "--processes", "1", "--resume")
    assert code == 0
    assert len(rows_of("o.csv")) == N


@processes
def test_ctrl_c_while_processes_start(run, folder):
    before = readers()
    process = start(*[folder / "digits.zip"] * 30, "-o", "o.csv", "--processes", "2")
    until(lambda: readers() - before)  # they are at their imports
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130
    assert b"Traceback" not in err


@processes
def test_a_dead_process_is_told(run, folder):
    before = readers()
    process = start(*[folder / "digits.zip"] * 30, "-o", "o.csv", "--processes", "2")
    until(lambda: size_of("o.csv.part") > 10_000)
    os.kill(min(readers() - before), signal.SIGKILL)
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 2
    assert b"a worker process died, possibly out of memory; try fewer --processes" in err
    assert b"--resume continues" in err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["in.csv", "--resume"], "--resume needs -o OUT"),
        (["in.csv", "--restart"], "--restart needs -o OUT"),
        (["in.csv", "--restart", "-o", "-"], "--restart needs -o OUT"),
        (["-", "--resume", "-o", "o.csv"], "--resume needs images that are still there"),
        (["in.csv", "--processes", "-1"], "--processes must be 0 or more, not -1"),
        (["in.csv", "-o", "o.parquet", "--explain"], "--explain gives a 28×28 map"),
    ],
)
def test_mistakes(run, argv, words):
    Path("in.csv").touch()
    code, _, err = run(*argv)
    assert code == 2
    assert words in err


def test_without_the_extra_it_is_named(folder, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "inkdigits.data.tables", raising=False)
    code, _, err = run(folder / "digits.csv")
    assert code == 2
    assert err == "inkdigits: error: this needs pyarrow, which is not installed: pip install 'inkdigits[bulk]'\n"
    code, out, _ = run(folder / "digits-idx3-ubyte", "--csv", "--processes", "1")
    assert (code, len(out.splitlines())) == (0, 1 + N)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="it reads peak memory from Linux's /proc")
def test_memory_does_not_grow_with_the_input(tmp_path):
    peaks = []
    code = (
        "import sys; from inkdigits.cli import main; main(sys.argv[1:]); "
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    for n in (60_000, 180_000):  # far more than the chunks that are under way
        np.savez(tmp_path / "t.npz", images=np.zeros((n, 28, 28), np.uint8))
        command = [sys.executable, "-c", code, "predict", tmp_path / "t.npz", "-o", tmp_path / "o.csv"]
        done = subprocess.run([*command, "--processes", "1"], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.05 * peaks[0], peaks  # kB; the images that are more have 94 MB
