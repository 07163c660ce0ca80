"""The command line: what it prints and where, its exit codes, and that a user's mistake is one line."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import inkdigits
from inkdigits.bulk import Row, find_images, read
from inkdigits.bulk.formats import NAME_WIDTH

from support.drawings import picture

COMMANDS = (
    "predict",
    "read",
    "serve",
    "train",
    "tune",
    "runs",
    "evaluate",
    "submit",
    "compare",
    "data",
    "guarantee",
    "models",
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with ``in/``: a 4, a 7 one level down, a blank sheet, and a file that is no image."""
    (tmp_path / "in" / "more").mkdir(parents=True)
    Image.fromarray(picture(4)).save(tmp_path / "in" / "four.png")
    Image.fromarray(picture(7)).save(tmp_path / "in" / "more" / "seven.jpg")
    Image.new("L", (60, 60), 255).save(tmp_path / "in" / "blank.bmp")
    (tmp_path / "in" / "notes.png").write_text("hello")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(run_command):
    """Runs one command line, as ``run_command`` does."""
    return run_command


def rows_of(recognizer, *paths) -> list[Row]:
    return list(read(recognizer, find_images(paths)))


def test_an_aligned_line_for_each_image(run, folder, recognizer):
    code, out, err = run("predict", "in/four.png", "in/blank.bmp", "in/more")
    four, _, seven = rows_of(recognizer, "in/four.png", "in/blank.bmp", "in/more")
    lines = out.splitlines()
    assert code == 0
    assert err == "inkdigits: 3 images: 2 digits, 1 blank\n"
    assert lines[0].startswith(f"in/four.png        4  {four.prediction.confidence:6.1%}   then ")
    assert lines[1] == "in/blank.bmp       blank"
    assert lines[2].startswith(f"in/more/seven.jpg  7  {seven.prediction.confidence:6.1%}   then ")
    second = sorted(range(10), key=seven.prediction.probabilities.__getitem__)[-2]
    assert lines[2].endswith(f"then {second} {seven.prediction.probabilities[second]:6.1%}")
    assert len(lines) == 3


def test_a_bad_image_is_told_and_the_others_are_read(run, folder):
    code, out, err = run("predict", "in")
    assert code == 1
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["in/blank.bmp", "blank"],
        ["in/four.png", "4"],
        ["in/more/seven.jpg", "7"],
        ["in/notes.png", "error"],
    ]
    told, count = err.splitlines()
    assert told.startswith("inkdigits: in/notes.png: not an image")
    assert count == "inkdigits: 4 images: 2 digits, 1 blank, 1 error"


def test_json_is_an_object_a_line(run, folder, recognizer):
    code, out, _ = run("predict", "in", "--json")
    assert code == 1
    expected = [json.loads(json.dumps(row.to_dict())) for row in rows_of(recognizer, "in")]
    assert [json.loads(line) for line in out.splitlines()] == expected


def test_csv_has_a_column_for_everything(run, folder, recognizer):
    code, out, _ = run("predict", "--csv", "in")
    assert code == 1
    rows = list(csv.DictReader(io.StringIO(out)))
    for row, expected in zip(rows, rows_of(recognizer, "in"), strict=True):
        assert row["name"] == expected.name
        assert row["error"] == str(expected.error or "")
        if expected.prediction:
            assert row["digit"] == ("" if expected.prediction.is_blank else str(expected.prediction.digit))
            assert float(row["confidence"]) == expected.prediction.confidence
            assert tuple(float(row[f"p{d}"]) for d in range(10)) == expected.prediction.probabilities


@pytest.mark.parametrize(
    ("name", "options"), [("o.csv", []), ("o.CSV", []), ("o.json", []), ("o.txt", []), ("o", ["--csv"])]
)
def test_output_to_a_file_is_what_would_be_printed(run, folder, name, options):
    form = {".csv": ["--csv"], ".json": ["--json"]}.get(Path(name).suffix.lower(), options)
    _, printed, _ = run("predict", "in", *form)
    code, out, _ = run("predict", "in", "-o", name, *options)
    assert (code, out) == (1, "")
    assert (folder / name).read_text(encoding="utf-8") == printed


def test_an_output_file_appears_whole_or_not_at_all(run, folder, monkeypatch, recognizer):
    (folder / "o.csv").write_text("as it was")

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(recognizer), "predict_batch", interrupted)
    assert run("predict", "in", "-o", "o.csv")[0] == 130
    assert (folder / "o.csv").read_text() == "as it was"
    assert sorted(path.name for path in folder.iterdir()) == ["in", "o.csv"]


def test_standard_input_is_one_image(folder):
    command = [sys.executable, "-m", "inkdigits", "predict", "-", "in/more/seven.jpg", "--json"]
    image = (folder / "in" / "four.png").read_bytes()
    done = subprocess.run(command, input=image, capture_output=True, check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["name"], row["digit"]) for row in rows] == [("-", 4), ("in/more/seven.jpg", 7)]
    assert done.stderr == b"inkdigits: 2 images: 2 digits\n"


def test_names_that_are_long_or_no_text(folder):
    long = "x" * (NAME_WIDTH + 20) + ".png"
    odd = os.fsdecode(b"\xff.png")
    for name in (long, odd):
        shutil.copy("in/four.png", name)
    command = [sys.executable, "-m", "inkdigits", "predict", "in/four.png", long, odd]
    done = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "PYTHONIOENCODING": "utf-8"})
    lines = done.stdout.decode().splitlines()
    assert lines[0].startswith("in/four.png  4")
    assert lines[1].startswith(f"{long}  4")
    assert lines[2].split()[:2] == ["\\udcff.png", "4"]


def test_a_reader_that_leaves_early_is_no_error(folder):
    for i in range(300):
        shutil.copy("in/blank.bmp", f"in/{i:03}-{'x' * 200}.bmp")
    with subprocess.Popen(
        [sys.executable, "-m", "inkdigits", "predict", "in", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode, err) == (141, b"")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["predict"], "the following arguments are required: IMAGE (see inkdigits predict --help)"),
        (["predict", "gone.png"], "there is no file or folder 'gone.png'"),
        (["predict", "in/empty"], "there is no image in folder 'in/empty'; looked for .png"),
        (["predict", "-", "-"], "standard input (-) is given more than once"),
        (["predict", "in", "--model", "gone.onnx"], "no model 'gone.onnx'"),
        (["predict", "in", "--json", "--csv"], "not allowed with argument"),
        (["predict", "in/four.png", "-o", "gone/o.csv"], "cannot write gone/o.csv: No such file or directory"),
        (["predict", "in", "--colour"], "unrecognized arguments: --colour (see inkdigits predict --help)"),
        (["predic", "x.png"], "unknown command 'predic'; did you mean predict? (see"),
        (["train", "--negative", "0.1", "--out", "m.onnx"], "unrecognized arguments: --negative"),
        (["train", "--netwrk=lenet", "--out", "m.onnx"], "arguments: --netwrk=lenet; did you mean --network? (see"),
        (["serve", "--port", "http"], "argument --port: invalid int value: 'http'"),
        (["serve", "--port", "99999"], "port (PORT) must be from 0 to 65535, not 99999"),
        (["train"], "the following arguments are required: --out"),
        (["train", "--out", "m.onnx", "--network", "lenin"], "lenin"),
        (["train", "--out", "m.onnx", "--data", "mnits"], "mnits"),
        (["train", "--out", "m.onnx", "--epochs", "0"], "training option epochs must be 1 or more, not 0"),
        (["train", "--out", "m.onnx", "--precision", "float8"], "invalid choice: 'float8'"),
        (["evaluate", "gone.onnx"], "no model 'gone.onnx'"),
        (["evaluate", "MODEL", "--data", "mnits"], "mnits"),
        (["data", "--download", "mnits"], "mnits"),
        (["prdict", "in"], "unknown command 'prdict'; did you mean predict?"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(run, folder, recognizer, argv, words):
    (folder / "in" / "empty").mkdir()
    code, out, err = run(*(recognizer.model.path if a == "MODEL" else a for a in argv))
    assert code == 2
    assert out == ""
    assert err.startswith("inkdigits: error: ")
    assert words in err
    assert err.count("\n") == 1


def test_a_bad_setting_in_the_environment_is_named(run, folder, monkeypatch):
    monkeypatch.setenv("INKDIGITS_THREADS", "many")
    code, _, err = run("predict", "in")
    assert code == 2
    assert err == "inkdigits: error: threads (INKDIGITS_THREADS) must be an integer, not 'many'\n"


def test_limits_are_settings(run, folder, monkeypatch):
    monkeypatch.setenv("INKDIGITS_MAX_PIXELS", "1000")
    code, _, err = run("predict", "in/four.png")
    assert code == 1
    assert "at most 1,000 are read" in err


def test_no_command_shows_the_help(run):
    code, out, err = run()
    assert (code, out) == (2, "")
    assert err == run("--help")[1]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_complete(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0
    assert out.startswith(f"usage: inkdigits {command} ")
    assert "examples:\n" in out
    assert max(map(len, out.splitlines())) <= 100
    assert f"    {command} " in run("--help")[1]


def test_version(run):
    assert run("--version") == (0, f"inkdigits {inkdigits.__version__}\n", "")


def test_a_fault_shows_no_trace_unless_one_asks(run, folder, monkeypatch, recognizer):
    def fail(*_, **__):
        raise ValueError("a broken\npromise")

    monkeypatch.setattr(type(recognizer), "predict_batch", fail)
    code, out, err = run("predict", "in")
    assert (code, out) == (70, "")
    assert err.startswith("inkdigits: error: this is a bug in inkdigits: ValueError: a broken promise")
    assert err.count("\n") == 1
    monkeypatch.setenv("INKDIGITS_LOG_LEVEL", "debug")
    assert "Traceback" in run("predict", "in")[2]


def test_train_without_torch_says_what_to_install(run, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.startswith("inkdigits.training.")]:
        monkeypatch.delitem(sys.modules, name)
    code, _, err = run("train", "--out", "m.onnx")
    assert code == 2
    assert err == "inkdigits: error: this needs torch, which is not installed: pip install 'inkdigits[train]'\n"


@pytest.mark.slow
def test_train_then_evaluate_then_predict(run, folder):
    code, out, err = run("train", "--data", "digits", "--network", "lenet", "--epochs", "3", "--out", "models/own.onnx")
    assert code == 0, err
    assert "wrote models/own.onnx" in out
    registry = json.loads(Path("models/registry.json").read_text())
    entry = registry["models"]["own"]
    assert (entry["config"]["network"], entry["config"]["epochs"], entry["config"]["data"]) == ("lenet", 3, "digits")
    code, out, _ = run("evaluate", "models/own.onnx", "--data", "digits", "--json")
    evaluation = json.loads(out)
    assert code == 0
    assert evaluation["part"] == "test"  # not what it was trained on
    assert evaluation["accuracy"] == entry["metrics"]["digits"]["accuracy"] > 0.3
    code, out, _ = run("evaluate", "models/own.onnx", "--data", "digits")
    assert f"{evaluation['accuracy']:.2%}" in out
    code, out, _ = run("predict", "in/four.png", "in/more/seven.jpg", "--model", "models/own.onnx", "--json")
    assert code == 0
    assert len(out.splitlines()) == 2


def test_options_of_a_file_and_the_command_line_before_them(run, folder):
    Path("o.toml").write_text('network = "mlp"\ndata = "digits"\nepochs = 2\nhidden = "8"\n')
    code, out, err = run("train", "--config", "o.toml", "--epochs", "1", "--out", "own.onnx", "--no-record")
    assert code == 0, err
    assert "mlp 784-8-10 on digits" in out
    config = json.loads(Path("registry.json").read_text())["models"]["own"]["config"]
    assert (config["epochs"], config["hidden"]) == (1, "8")
    Path("o.toml").write_text("epoch = 2\n")
    code, _, err = run("train", "--config", "o.toml", "--out", "own.onnx")
    assert (code, err) == (2, "inkdigits: error: o.toml: unknown training option 'epoch'; did you mean epochs?\n")


@pytest.mark.parametrize(
    ("package", "argv", "extra"),
    [
        ("tensorboard", ["train", "--data", "digits", "--out", "m.onnx"], "train"),
        ("mlflow", ["train", "--data", "digits", "--out", "m.onnx", "--mlflow", "sqlite:///m.db"], "mlflow"),
        ("optuna", ["tune", "space.json", "--out", "study"], "tune"),
    ],
)
def test_what_an_extra_brings_is_named_with_it(run, folder, monkeypatch, package, argv, extra):
    Path("space.json").write_text('{"search": {"epochs": {"low": 1, "high": 2}}}')
    for name in [n for n in sys.modules if n.split(".")[0] == package or n.startswith("inkdigits.training.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    code, _, err = run(*argv)
    assert code == 2
    assert err == f"inkdigits: error: this needs {package}, which is not installed: pip install 'inkdigits[{extra}]'\n"


def test_data_lists_each_set_and_where_it_is(run, folder, monkeypatch):
    monkeypatch.setenv("INKDIGITS_DATA", str(folder))
    code, out, _ = run("data")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split()[:2] == ["mnist", "missing"]
    assert str(folder) in lines[1]
    assert lines[2].split()[:2] == ["digits", "ready"]
    assert run("data", "--download", "digits")[:2] == (0, "digits is here and whole: inside scikit-learn\n")


def test_an_explanation_is_drawn_or_given_as_numbers(run, folder, recognizer):
    expected = recognizer.predict(folder / "in" / "four.png", explain=True).explanation
    code, out, _ = run("predict", "in/four.png", "in/blank.bmp", "--explain")
    first, *drawn, last = out.splitlines()
    assert code == 0
    assert first.startswith("in/four.png")
    assert last == "in/blank.bmp  blank"
    rows = [row for row in expected if row.any()]
    assert [[c != " " for c in line[4:]] for line in drawn] == [[v != 0 for v in row] for row in rows]
    assert "#" in out
    _, out, _ = run("predict", "in/four.png", "--explain", "--json")
    assert json.loads(out)["explanation"] == [[round(float(v), 3) for v in row] for row in expected]
    code, _, err = run("predict", "in/four.png", "--explain", "--csv")
    assert code == 2
    assert "use --json" in err
