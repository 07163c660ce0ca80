"""Outputs of every command: no run loses data, whatever lies where the output is to be, and whoever else writes it."""

import csv
import io
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from inkdigits.bulk.inputs import CHUNK_PICTURES
from inkdigits.data.tables import write_csv

from support.bulk import DEADLINE, size_of, start, stopped
from support.files import encode
from support.servers import until

pytestmark = pytest.mark.slow

FORMS = ("csv", "jsonl", "parquet", "txt")
root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can make a device")
posix = pytest.mark.skipif(os.name == "nt", reason="it needs what POSIX has")


@pytest.fixture
def inputs(tmp_path, monkeypatch, digits):
    """A working folder with the same digits as pictures, as tables, and as a labelled table."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for i, image in enumerate(digits[:5]):
        (Path("in") / f"{i}.png").write_bytes(encode(image))
    np.savez("t.npz", images=digits[:50])
    np.savez("other.npz", images=digits[50:90])
    with Path("t.csv").open("w") as file:
        write_csv(file, digits[:50])
    with Path("labelled.csv").open("w") as file:
        write_csv(file, digits[:50], np.arange(50) % 10)
    return tmp_path


def content_of(path):
    return {found.name: found.read_bytes() for found in Path(path).iterdir() if found.is_file()}


# What the output is


@posix
@pytest.mark.parametrize(
    "argv",
    [
        ["predict", "in", "--csv", "-o"],
        ["submit", "t.csv", "-o"],
        ["evaluate", "cnn", "--data", "labelled.csv", "--json"],
    ],
)
def test_a_pipe_is_written_through(inputs, run_command, argv):
    os.mkfifo("pipe")
    came = []
    reader = threading.Thread(target=lambda: came.append(Path("pipe").read_bytes()))
    reader.start()
    code, _, told = run_command(*argv, "pipe")
    reader.join(DEADLINE)
    assert code == 0
    assert stat.S_ISFIFO(os.lstat("pipe").st_mode)
    code, _, err = run_command(*argv, "file.json" if "--json" in argv else "file.csv")
    assert (code, err) == (0, told)
    if "--json" in argv:
        assert json.loads(came[0])["n"] == 50
    else:
        assert came[0] == Path("file.csv").read_bytes()


@posix
def test_parquet_goes_through_a_pipe(inputs, run_command):
    os.mkfifo("pipe.parquet")
    came = []
    reader = threading.Thread(target=lambda: came.append(Path("pipe.parquet").read_bytes()))
    reader.start()
    assert run_command("predict", "t.npz", "-o", "pipe.parquet")[0] == 0
    reader.join(DEADLINE)
    assert pyarrow.parquet.read_table(io.BytesIO(came[0])).num_rows == 50


@root
@pytest.mark.parametrize(
    "argv",
    [
        ["predict", "in", "-o"],
        ["submit", "t.csv", "-o"],
        ["evaluate", "cnn", "--data", "labelled.csv", "--json"],
        ["evaluate", "cnn", "--data", "labelled.csv", "--report"],
    ],
)
def test_a_device_stays_a_device(inputs, run_command, argv):
    name = "nul.html" if "--report" in argv else "nul"
    os.mknod(name, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    assert run_command(*argv, name)[0] == 0
    assert stat.S_ISCHR(os.lstat(name).st_mode)


@root
@pytest.mark.parametrize("argv", [["predict", "in", "-o"], ["submit", "t.csv", "-o"]])
def test_a_full_device_is_told(inputs, run_command, argv):
    os.mknod("full", 0o666 | stat.S_IFCHR, os.makedev(1, 7))
    code, _, err = run_command(*argv, "full")
    assert (code, err) == (2, "inkdigits: error: cannot write full: No space left on device\n")
    assert stat.S_ISCHR(os.lstat("full").st_mode)


def test_a_socket_is_told(inputs, run_command):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        code, _, err = run_command("predict", "in", "-o", "s")
    assert (code, err) == (2, "inkdigits: error: cannot write s: it is a socket\n")


@posix
def test_standard_output_by_its_name_is_appended_to(inputs):
    Path("log").write_text("before\n")
    line = f"{sys.executable} -m inkdigits predict in --csv -o /dev/stdout >> log"
    subprocess.run(["sh", "-c", line], check=True, timeout=DEADLINE)
    assert Path("log").read_text().startswith("before\nname,digit,")
    assert len(Path("log").read_text().splitlines()) == 7


def test_a_dash_is_standard_output(inputs, run_command):
    assert run_command("predict", "in", "-o", "-") == run_command("predict", "in")
    assert run_command("submit", "t.csv", "-o", "-") == run_command("submit", "t.csv")
    assert not Path("-").exists()


@posix
def test_a_symbolic_link_is_followed(inputs, run_command):
    Path("there").mkdir()
    Path("there/o.csv").write_text("as it was")
    Path("there/o.csv").chmod(0o600)
    Path("o.csv").symlink_to("there/o.csv")
    Path("new.csv").symlink_to("there/new.csv")
    for name in ("o.csv", "new.csv"):
        assert run_command("predict", "in", "-o", name)[0] == 0
        assert Path(name).is_symlink()
        assert len(Path("there", name).read_text().splitlines()) == 6
    assert run_command("submit", "t.csv", "-o", "o.csv")[0] == 0
    assert Path("there/o.csv").read_text().startswith("ImageId,")
    assert stat.S_IMODE(Path("there/o.csv").stat().st_mode) == 0o600  # what was private stays so
    assert sorted(path.name for path in Path("there").iterdir()) == ["new.csv", "o.csv"]


@posix
@pytest.mark.parametrize("name", ["o.csv.part", ".o.csv.inkdigits"])
@pytest.mark.parametrize("make", ["symlink", "dangling", "hard link", "folder", "pipe", "text"])
def test_what_is_not_ours_is_not_touched(inputs, run_command, name, make):
    Path("secret").write_text("precious")
    if make == "symlink":
        Path(name).symlink_to("secret")
    elif make == "dangling":
        Path(name).symlink_to("gone")
    elif make == "hard link":
        os.link("secret", name)
    elif make == "folder":
        Path(name).mkdir()
    elif make == "pipe":
        os.mkfifo(name)
    elif name.startswith("."):  # a name that nobody else gives a file
        return
    else:
        Path(name).write_text("another program's")
    before = os.lstat(name)
    for options in ([], ["--resume"], ["--restart"]):
        code, _, err = run_command("predict", "in", "-o", "o.csv", *options)
        assert code == 2
        assert name in err
        assert err.count("\n") == 1
        assert os.path.samestat(os.lstat(name), before)
        assert not Path("gone").exists()
        assert not Path("o.csv").exists()
        assert Path("secret").read_text() == "precious"
    if make == "text":
        assert Path(name).read_text() == "another program's"


# What the output must not be


@pytest.mark.parametrize(
    "argv",
    [
        ["predict", "t.csv", "-o", "t.csv"],
        ["predict", "./t.csv", "-o", "link.csv"],
        ["predict", "t.csv", "-o", "hard.csv"],
        ["predict", "other.npz", "t.npz", "-o", "t.npz", "--csv"],
        ["predict", "in", "-o", "in/3.png", "--csv"],
        ["predict", "in", "-o", "picture.csv"],
        ["predict", "in", "-o", "in/deep/linked", "--csv"],
        ["predict", "in/3.png", "-o", "picture.csv"],
        ["predict", "in", "--model", "m.onnx", "-o", "m.onnx", "--csv"],
        ["submit", "t.csv", "-o", "t.csv"],
        ["submit", "t.csv", "-o", "hard.csv"],
        ["submit", "t.csv", "-o", "link.csv"],
        ["evaluate", "m.onnx", "--data", "labelled.csv", "--json", "m.json"],
        ["evaluate", "cnn", "--data", "l.csv", "--report", "l.html"],
        ["quantize", "m.onnx", "--out", "./m.onnx"],
        ["train", "--data", "labelled.csv", "--out", "labelled.onnx"],
        ["train", "--data", "digits", "--init", "m.onnx", "--out", "m.onnx"],
        ["train", "--data", "digits", "--teacher", "lenet,m.onnx", "--out", "m.onnx"],
    ],
    ids=" ".join,
)
def test_an_output_that_is_an_input_is_refused(inputs, run_command, argv, recognizer):
    Path("link.csv").symlink_to("t.csv")
    os.link("t.csv", "hard.csv")
    os.link("in/3.png", "picture.csv")
    Path("in/deep").mkdir()
    os.link("in/2.png", "in/deep/linked")
    Path("in/deep/a.png").symlink_to("linked")
    Path("m.onnx").write_bytes(Path(recognizer.model.path).read_bytes())
    os.link("m.onnx", "m.json")
    os.link("labelled.csv", "l.html")
    Path("l.csv").symlink_to("labelled.csv")
    os.link("labelled.csv", "labelled.onnx")
    before = [content_of(folder) for folder in (".", "in", "in/deep")]
    code, out, err = run_command(*argv)
    assert (code, out) == (2, "")
    assert "which it would replace; name another" in err
    assert err.count("\n") == 1
    assert [content_of(folder) for folder in (".", "in", "in/deep")] == before


def test_an_output_in_the_input_s_folder_is_no_input(inputs, run_command):
    for _ in range(2):
        assert run_command("predict", "in", "-o", "in/o.csv")[0] == 0
    assert len(Path("in/o.csv").read_text().splitlines()) == 6


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (
            ["predict", "in", "-o", "o.xlsx"],
            "its extension must be one of .csv, .json, .jsonl, .ndjson, .parquet, .txt, none",
        ),
        (["predict", "in", "-o", "o.csv.gz"], "its extension must be one of .csv"),
        (["submit", "t.csv", "-o", "o.parquet"], "its extension must be one of .csv, .txt, none"),
        (["evaluate", "cnn", "--data", "labelled.csv", "--json", "o.html"], "its extension must be one of .json, none"),
        (["runs", "some", "--plot", "o.png"], "its extension must be one of .svg"),
        (["predict", "in", "--csv", "-o", "o.json"], "--csv and -o o.json name two formats"),
        (["predict", "in", "--json", "-o", "o.parquet"], "--json and -o o.parquet name two formats"),
        (["predict", "in", "-o", "in"], "cannot write in: it is a folder"),
        (["submit", "t.csv", "-o", "in"], "cannot write in: it is a folder"),
        (["evaluate", "cnn", "--json", "in"], "cannot write in: it is a folder"),
        (["predict", "in", "-o", "gone/o.csv"], "cannot write gone/o.csv: No such file or directory"),
        (["submit", "t.csv", "-o", "gone/o.csv"], "cannot write gone/o.csv: No such file or directory"),
        (["predict", "in", "-o", "t.csv/o.csv"], "cannot write t.csv/o.csv: "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_output_that_cannot_be_is_told_before_anything_is_read(inputs, run_command, argv, words, monkeypatch):
    def read(*_, **__):
        raise AssertionError("it was read")

    monkeypatch.setattr("inkdigits.bulk.run.blocks", read)
    monkeypatch.setattr("inkdigits.evaluation.submit.iter_table", read)
    monkeypatch.setattr("inkdigits.evaluation.report.measure", read)
    before = content_of(".")
    code, out, err = run_command(*argv)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1
    assert content_of(".") == before


def test_an_explicit_form_takes_any_ending(inputs, run_command):
    assert run_command("predict", "in", "--csv", "-o", "o.log")[0] == 0
    assert Path("o.log").read_text().startswith("name,digit")


# What was there


@pytest.mark.parametrize("ending", FORMS)
def test_finished_rows_are_not_thrown_away_unasked(inputs, run, ending):
    name = f"o.{ending}"
    assert run("t.npz", "-o", name)[0] == 0
    whole = Path(name).read_bytes()
    Path(name).unlink()
    assert stopped(run, "t.npz", "-o", name)[0] == 130
    spool = Path(f"{name}.part").read_bytes()
    code, _, err = run("t.npz", "-o", name)
    assert code == 2
    assert "o." in err
    assert "holds 50 finished rows; --restart discards them, --resume continues with them" in err
    code, _, err = run("other.npz", "-o", name)
    assert code == 2
    assert "holds 50 finished rows of another run (other inputs: t.npz then, other.npz now); --restart discards" in err
    code, _, err = run("t.npz", "-o", name, "--resume", "--min-confidence", "0.9")
    assert code == 2
    assert "is of another run (another --min-confidence: 0.0 then, 0.9 now) and holds 50 finished rows" in err
    assert Path(f"{name}.part").read_bytes() == spool
    assert not Path(name).exists()
    assert run("t.npz", "-o", name, "--resume")[0] == 0
    assert Path(name).read_bytes() == whole
    Path(f"{name}.part").write_bytes(spool)
    assert run("t.npz", "-o", name, "--restart")[0] == 0
    assert Path(name).read_bytes() == whole
    assert not Path(f"{name}.part").exists()


def test_without_a_finished_row_nothing_is_in_the_way(inputs, run):
    assert stopped(run, "t.npz", "-o", "o.csv")[0] == 130
    spool = Path("o.csv.part").read_bytes()
    for size in (0, 5, 30, spool.index(b"{") + 4):
        Path("o.csv.part").write_bytes(spool[:size])
        assert run("other.npz", "-o", "o.csv")[0] == 0
        assert not Path("o.csv.part").exists()


@pytest.mark.parametrize("ending", FORMS)
def test_a_finished_output_is_compared_and_never_replaced_by_resume(inputs, run, ending):
    name = f"o.{ending}"
    Path("in/bad.png").write_bytes(b"no picture")
    code, _, told = run("in", "t.npz", "-o", name)
    assert code == 1
    before, changed = Path(name).read_bytes(), Path(name).stat().st_mtime_ns
    assert run("in", "t.npz", "-o", name, "--resume") == (1, "", told)
    for argv in (
        ["in"],
        ["in", "other.npz"],
        ["in", "t.npz", "other.npz"],
        ["t.npz"],
        ["in", "t.npz", "--model", "lenet"],
    ):
        code, _, err = run(*argv, "-o", name, "--resume")
        assert code == 2, argv
        assert f"{name} is finished, and another run's" in err
        assert (Path(name).read_bytes(), Path(name).stat().st_mtime_ns) == (before, changed)
        assert not Path(f"{name}.part").exists()
    assert run("in", "-o", name)[0] == 1  # without --resume it is replaced
    assert Path(name).read_bytes() != before


@pytest.mark.parametrize("ending", FORMS)
def test_any_other_file_is_not_replaced_by_resume(inputs, run, ending):
    for content in (b"", b"precious", bytes(100_000)):
        Path(f"o.{ending}").write_bytes(content)
        code, _, err = run("t.npz", "-o", f"o.{ending}", "--resume")
        assert code == 2
        assert "is finished, and another run's" in err
        assert Path(f"o.{ending}").read_bytes() == content


def test_images_that_are_gone_are_noticed(inputs, run):
    assert stopped(run, "in", "-o", "o.csv")[0] == 130
    for path in Path("in").iterdir():
        path.unlink()
    Path("in/0.png").write_bytes(b"")
    code, _, err = run("in", "-o", "o.csv", "--resume")
    assert code == 2
    assert "was begun with other images" in err
    assert Path("o.csv.part").exists()


def test_the_last_images_that_are_gone_are_noticed(inputs, run):
    content = Path("in/0.png").read_bytes()
    for i in range(CHUNK_PICTURES + 9):
        Path(f"in/{i:04}.png").write_bytes(content)
    assert stopped(run, "in", "-o", "o.csv", "--processes", "1")[0] == 130
    for path in sorted(Path("in").iterdir())[CHUNK_PICTURES:]:
        path.unlink()
    code, _, err = run("in", "-o", "o.csv", "--resume", "--processes", "1")
    assert code == 2
    assert "was begun with other images: some of them are gone; --restart" in err


# Two at once


@posix
@pytest.mark.parametrize(
    "argv",
    [
        ["predict", "in", "-o", "o.csv"],
        ["predict", "in", "-o", "o.csv", "--resume"],
        ["predict", "in", "-o", "o.csv", "--restart"],
        ["predict", "in", "-o", "link.csv"],
        ["submit", "t.csv", "-o", "o.csv"],
    ],
    ids=" ".join,
)
def test_the_second_of_two_runs_is_refused(inputs, run_command, argv, digits):
    np.savez("many.npz", images=np.tile(digits, (30, 1, 1)))
    Path("link.csv").symlink_to("o.csv")
    first = start("many.npz", "-o", "o.csv", "--processes", "1")
    try:
        until(lambda: size_of("o.csv.part") > 10_000)
        code, out, err = run_command(*argv)
        assert first.poll() is None, "it ended before the second began"
        assert (code, out) == (2, "")
        assert f"another inkdigits is writing {argv[3]}; wait until it is done" in err
        _, err = first.communicate(timeout=DEADLINE)
        assert first.returncode == 0
        assert err.decode().startswith(f"inkdigits: {30 * len(digits):,} images: ")
        assert err.count(b"\n") == 1
    finally:
        first.kill()
        first.communicate()
    assert len(Path("o.csv").read_text().splitlines()) == 1 + 30 * len(digits)
    assert run_command(*argv[:4])[0] == 0  # and it is free again
    assert not list(Path().glob(".*.inkdigits"))


@posix
def test_a_kill_frees_the_output(inputs, run, digits):
    np.savez("many.npz", images=np.tile(digits, (30, 1, 1)))
    first = start("many.npz", "-o", "o.csv", "--processes", "2")
    until(lambda: size_of("o.csv.part") > 10_000)
    first.kill()
    first.communicate()
    assert run("in", "-o", "o.csv", "--restart")[0] == 0
    assert sorted(path.name for path in Path().glob("*o.csv*")) == ["o.csv"]


@posix
@pytest.mark.parametrize(
    "argv",
    [
        ["train", "--data", "digits", "--network", "mlp", "--epochs", "1", "--no-record", "--out", "m.onnx"],
        ["evaluate", "cnn", "--data", "labelled.csv", "--report", "m.onnx.html"],
        ["compare", "--data", "digits", "--models", "mlp", "--seeds", "0", "--epochs", "1", "--out", "m.onnx.folder"],
    ],
    ids=lambda argv: argv[0],
)
def test_commands_that_write_more_than_a_file_are_alone_too(inputs, run_command, argv):
    from inkdigits.atomic import Output

    Path("m.onnx.folder").mkdir()
    held = {"train": "m.onnx", "evaluate": "m.onnx.html", "compare": "m.onnx.folder/comparison"}[argv[0]]
    with Output(held):  # as another process would have it: a lock is of an open file
        code, _, err = run_command(*argv)
    assert code == 2
    assert f"another inkdigits is writing {held}" in err


# Spools that are damaged, or were made to be


def forged(spool):
    """Spools with something wrong behind their first lines or in them, each by name."""
    lines = spool.index(b"\n", spool.index(b"\n") + 1) + 1
    yield "size of 2^45", spool[:lines] + (1 << 45).to_bytes(8, "little") + spool[lines + 8 :]
    yield "size of 2^64-1", spool[:lines] + b"\xff" * 8 + spool[lines + 8 :]
    yield "size of 0", spool[:lines] + bytes(8) + spool[lines + 8 :]
    yield "rows", spool[: lines + 12] + b"\xff" * 8 + spool[lines + 20 :]
    yield "half a record", spool[: lines + 20]


def test_a_forged_record_is_read_again(inputs, run):
    code, _, told = run("t.npz", "-o", "whole.csv")
    assert code == 0
    assert stopped(run, "t.npz", "-o", "o.csv")[0] == 130
    for what, content in forged(Path("o.csv.part").read_bytes()):
        Path("o.csv.part").write_bytes(content)
        assert run("t.npz", "-o", "o.csv", "--resume") == (0, "", told), what
        assert Path("o.csv").read_bytes() == Path("whole.csv").read_bytes(), what
        Path("o.csv").unlink()


@pytest.mark.parametrize("line", [b"[1]", b"{}", b"1", b'{"inputs": 3}', b'{"inputs": [[]]}', b"\xff", b'"a"', b"null"])
def test_a_forged_start_is_refused(inputs, run, line):
    assert stopped(run, "t.npz", "-o", "o.csv")[0] == 130
    magic, _, rest = Path("o.csv.part").read_bytes().split(b"\n", 2)
    for content in (magic + b"\n" + line + b"\n" + rest, line + b"\n" + rest, b"inkdigits spool 1\n" + line):
        Path("o.csv.part").write_bytes(content)
        for begin in ("--resume", "--restart") if not content.startswith(magic) else ("--resume",):
            code, _, err = run("t.npz", "-o", "o.csv", begin)
            assert code == 2
            assert err.startswith("inkdigits: error: o.csv.part is ")
            assert err.count("\n") == 1
            assert Path("o.csv.part").read_bytes() == content


@posix
def test_a_spool_that_another_program_changes_is_no_output(inputs, digits):
    np.savez("many.npz", images=np.tile(digits, (30, 1, 1)))
    process = start("many.npz", "-o", "o.csv", "--processes", "1")
    until(lambda: size_of("o.csv.part") > 10_000)
    with Path("o.csv.part").open("r+b") as file:
        file.seek(3000)
        file.write(b"another")
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 2
    assert b"o.csv.part was changed or damaged since its rows were written" in err
    assert not Path("o.csv").exists()


# Standard streams


@posix
@pytest.mark.parametrize(
    ("redirect", "argv", "code", "words"),
    [
        (">&-", "predict in", 2, "standard output is closed"),
        (">&-", "--version", 2, "standard output is closed"),
        (">&-", "predict in -o o.csv", 0, "inkdigits: 5 images: "),
        (">&- 2>&-", "predict in -o o.csv", 0, ""),
        ("<&- >&- 2>&-", "predict in -o o.csv", 0, ""),
        ("2>&-", "predict gone.png", 2, ""),
        ("<&-", "predict -", 2, "standard input is closed"),
        (">&-", "submit t.csv", 2, "standard output is closed"),
    ],
)
def test_closed_standard_streams(inputs, redirect, argv, code, words):
    line = f"exec {sys.executable} -m inkdigits {argv} {redirect}"
    done = subprocess.run(["sh", "-c", line], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == code
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == bool(words)
    if "o.csv" in argv:
        with Path("o.csv").open(newline="") as file:
            assert [row["name"] for row in csv.DictReader(file)] == [f"in/{i}.png" for i in range(5)]


@posix
def test_errors_to_a_reader_that_has_left(inputs):
    for i in range(200):
        (Path("in") / f"{i}{'x' * 200}.png").write_bytes(b"no")  # more than a pipe holds
    line = f"{{ {sys.executable} -m inkdigits predict in 2>&1; echo $? > code; }} | head -1"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=DEADLINE)
    assert (Path("code").read_text(), done.stderr) == ("141\n", "")


@root
def test_a_full_disk_behind_standard_output(inputs):
    os.mknod("full", 0o666 | stat.S_IFCHR, os.makedev(1, 7))
    with Path("full").open("wb") as full:
        done = subprocess.run([sys.executable, "-m", "inkdigits", "predict", "in"], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stderr == b"inkdigits: error: standard output: No space left on device\n"


@pytest.mark.skipif(sys.platform != "linux", reason="it limits the size of files as Linux does")
@pytest.mark.parametrize("ending", FORMS)
def test_a_full_disk_loses_no_finished_row(inputs, run, ending, digits):
    """The limit is on each file's size, and the spool has two blocks."""
    import resource

    np.savez("many.npz", images=np.tile(digits, (12, 1, 1)))
    name = f"o.{ending}"
    assert run("many.npz", "-o", f"whole.{ending}", "--processes", "1")[0] == 0
    whole = Path(f"whole.{ending}").read_bytes()
    assert stopped(run, "many.npz", "-o", name, "--processes", "1")[0] == 130
    most = int(0.8 * size_of(f"{name}.part"))
    Path(f"{name}.part").unlink()
    process = subprocess.run(
        [sys.executable, "-m", "inkdigits", "predict", "many.npz", "-o", name, "--processes", "1"],
        capture_output=True,
        preexec_fn=lambda: (
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
        ),
        timeout=DEADLINE,
    )
    assert process.returncode == 2
    assert f"cannot write {name}: File too large" in process.stderr.decode()
    assert b"4,096 rows are kept in" in process.stderr
    assert not Path(name).exists()
    assert run("many.npz", "-o", name, "--resume", "--processes", "1")[0] == 0
    assert Path(name).read_bytes() == whole
