"""The examples of docs/http-api.md, run as they stand: each prints the digits that its files are called after."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import inkdigits
from inkdigits.image import normalise
from test_server_predict import encode

from drawings import picture

DOCS = Path(inkdigits.__file__).parents[2] / "docs" / "http-api.md"
ADDRESS = "127.0.0.1:9696"  # of the server in the docs
LIMIT_SECONDS = 120
WORDS = {"seven": 7, "nine": 9}


def blocks():
    """(language, code) of each block that can be run; several commands of a shell are each by itself."""
    for language, code in re.findall(r"^```(sh|js|python)\n(.*?)^```$", DOCS.read_text(encoding="utf-8"), re.M | re.S):
        yield from ((language, line) for line in code.splitlines()) if language == "sh" else [(language, code)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files that the examples name."""
    folder = tmp_path_factory.mktemp("examples")
    pixels = {}
    for word, digit in WORDS.items():
        for suffix, form in (("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP")):
            (folder / f"{word}.{suffix}").write_bytes(encode(picture(digit), form))
        pixels[word] = np.rint(normalise(picture(digit)).image * 255).astype(np.uint8)
    seven, nine = pixels.values()
    tensor = {"name": "image", "shape": [1, 28, 28], "datatype": "UINT8", "data": seven.ravel().tolist()}
    (folder / "seven.json").write_text(json.dumps({"pixels": seven.tolist()}))
    (folder / "seven-and-nine.json").write_text(json.dumps({"instances": [i.ravel().tolist() for i in (seven, nine)]}))
    (folder / "infer-seven.json").write_text(json.dumps({"inputs": [tensor]}))
    (folder / "seven.raw").write_bytes(seven.tobytes())
    (folder / "notes.pdf").write_bytes(b"%PDF-1.7")
    (folder / ".curlrc").write_text("silent\nshow-error\nfail-with-body\n")
    return folder


def command(language, code):
    if language == "sh":
        return ["bash", "-euc", code]
    if language == "python":
        return [sys.executable, "-c", code]
    return [shutil.which("node") or playwright_s_node(), "--input-type=module", "--eval", code]


def playwright_s_node() -> str:
    """Where there is no Node.js, the one that drives the browser of the page's tests."""
    import playwright

    return str(Path(playwright.__file__).parent / "driver" / "node")


def digits_in(printed):
    """The digits of an answer as JSON, or of lines that begin with one."""
    try:
        answer = json.loads(printed)
    except ValueError:
        return [int(line[0]) for line in printed.splitlines() if re.match(r"\d(\s|$)", line)]
    if not isinstance(answer, dict):
        return [answer]
    if "inputs" in answer:  # what a model takes and gives
        return []
    if "outputs" in answer:
        return next(output["data"] for output in answer["outputs"] if output["name"] == "digit")
    return [row["digit"] for row in answer.get("predictions", [answer])]


@pytest.mark.parametrize(("language", "code"), [*blocks()])
def test_an_example_of_the_docs_runs_and_reads_right(live_server, recognizer, folder, language, code):
    if language == "sh" and not shutil.which("curl"):
        pytest.skip("the example calls curl, which is not installed")
    assert ADDRESS in code
    code = code.replace(ADDRESS, live_server.removeprefix("http://"))
    code = code.replace("/models/cnn", f"/models/{recognizer.model.name}").replace(
        '"cnn"', f'"{recognizer.model.name}"'
    )
    expected = [
        WORDS[word] for word in re.findall("|".join(WORDS), code.partition("  #")[0] if language == "sh" else code)
    ]
    done = subprocess.run(
        command(language, code),
        cwd=folder,
        env={**os.environ, "CURL_HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert digits_in(done.stdout) == expected
    if "notes.pdf" in code:
        assert "it is a PDF document" in done.stdout


def test_there_are_examples_in_each_language():
    languages = [language for language, _ in blocks()]
    assert {language: languages.count(language) for language in ("sh", "js", "python")} == {
        "sh": 9,
        "js": 2,
        "python": 3,
    }
