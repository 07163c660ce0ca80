"""The types that users get with the package, by the checker that most of them run; and that `make lint` checks ours."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

from support.paths import ROOT
from support.programs import recipe

RIGHT = """\
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, assert_type

import numpy as np
from PIL import Image

import inkdigits
from inkdigits import Box, Client, ImageError, InkdigitsError, Limits, ModelInfo, Prediction, Recognizer, ServerBusy


def read(paths: list[Path]) -> dict[str, int | None]:
    recognizer = Recognizer("fast", threads=2, limits=Limits(max_pixels=1_000_000))
    assert_type(recognizer.model, ModelInfo)
    assert_type(recognizer.model.threshold, float | None)
    found: dict[str, int | None] = {}
    for path, answer in zip(paths, recognizer.predict_batch(paths, errors="return"), strict=True):
        assert_type(answer, Prediction | ImageError)
        found[path.name] = None if isinstance(answer, ImageError) else answer.digit
    return found


def every_source(recognizer: Recognizer, pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> list[Prediction]:
    with open("seven.png", "rb") as file:
        several = recognizer.predict_batch(["seven.png", Path("seven.png"), b"", file, pixels])
    return [*several, recognizer.predict(Image.new("L", (28, 28)), explain=True)]


def shown(prediction: Prediction) -> str:
    assert_type(prediction.digit, int | None)
    assert_type(prediction.probabilities, tuple[float, ...])
    assert_type(prediction.box, Box | None)
    assert_type(prediction.polarity, Literal["dark-on-light", "light-on-dark"] | None)
    assert_type(prediction.to_dict(image=True), dict[str, Any])
    return f"{prediction.confidence:.0%} {prediction.is_digit} {prediction.image.shape}"


def ask(url: str) -> Iterator[Prediction | ImageError]:
    try:
        with Client(url, timeout=3.0) as client:
            assert_type(client.predict("seven.png", explain=True), Prediction)
            assert_type(client.predict_many(["seven.png"]), Iterator[Prediction])
            yield from client.predict_many(["seven.png"], errors="return")
    except ServerBusy:
        raise SystemExit(inkdigits.__version__) from None
    except InkdigitsError as error:
        assert_type(error, InkdigitsError)
"""

# Each a mistake, and what mypy calls it.
WRONG = {
    "Recognizer().predict(7)": "arg-type",
    "Recognizer().predict('7.png', explain='yes')": "arg-type",
    "Recognizer().predict('7.png', True)": "call-arg",
    "Recognizer().predict_batch(['7.png'], errors='ignore')": "call-overload",
    "Recognizer().predict('7.png').digit + 1": "operator",  # a blank picture has none
    "Recognizer().predict('7.png').number": "attr-defined",
    "Client(9696)": "arg-type",
    "Limits(max_bytes='1 MB')": "arg-type",
    "inkdigits.Recogniser()": "attr-defined",
}


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    """Runs mypy --strict on a script in an environment that has the wheel installed."""
    folder = tmp_path_factory.mktemp("types")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    venv.create(folder / "environment", symlinks=True)
    [packages] = folder.glob("environment/lib/python*/site-packages")
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    (packages / "dependencies.pth").write_text(f"{Path(np.__file__).parents[1]}\n")

    def run(text: str) -> tuple[int, list[str]]:
        (folder / "script.py").write_text(text)
        python = folder / "environment" / "bin" / "python"
        command = [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--config-file=",
            "--python-executable",
            python,
            "script.py",
        ]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert not done.stderr
        return done.returncode, done.stdout.splitlines()

    return run


def test_a_users_script_is_right(check):
    code, printed = check(RIGHT)
    assert (code, printed[-1]) == (0, "Success: no issues found in 1 source file"), printed


def test_a_users_mistakes_are_found(check):
    head = "import inkdigits\nfrom inkdigits import Client, Limits, Recognizer\n"
    code, printed = check(head + "".join(f"{mistake}\n" for mistake in WRONG))
    found = [line for line in printed if ": error: " in line]
    wanted = [f"script.py:{at}: error: … [{kind}]" for at, kind in enumerate(WRONG.values(), head.count("\n") + 1)]
    assert code == 1
    assert [f"{line.partition('error: ')[0]}error: … {line.rpartition('  ')[2]}" for line in found] == wanted, printed


@pytest.mark.parametrize("target", ["lint", "check", "test"])
def test_make_checks_the_types(target):
    lines = recipe(target).splitlines()
    steps = [next(i for i, line in enumerate(lines) if step in line) for step in ("/ruff check", "/mypy", "/tsc ")]
    assert steps == sorted(steps)
    assert all("pytest" not in line for line in lines[: steps[-1]])
