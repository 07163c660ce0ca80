"""Why an image is rejected: the same reason from the library, the commands, the server, its form and its client.

The models give the same logits for every image, so that each reason is a worked example.
"""

import csv
import io
import json
import subprocess
import sys

import httpx
import numpy as np
import pyarrow.parquet
import pytest

from inkdigits import Client, ModelError, Recognizer
from inkdigits.prediction import Prediction

from support.drawings import picture
from support.files import encode
from support.own_models import fixed

FOUR = [0.0] * 4 + [9.0] + [0.0] * 5
BOUNDS = {"threshold": 0.8, "unclear": 0.5}  # logits of about 1.39 and 0
MODELS = {  # logits after the ten digits, metadata
    None: ([2.0, 5.0], BOUNDS),
    "several digits": ([1.0, 0.1], BOUNDS),
    "unclear": ([1.0, -0.1], BOUNDS),
    "not a digit": ([-1.0, -0.1], BOUNDS),
}
LINES = {
    "several digits": "several digits",
    "unclear": "unclear (nearest 4)",
    "not a digit": "not a digit (nearest 4)",
}
SENTENCES = {
    "several digits": "This looks like more than one digit. Send one at a time.",
    "unclear": "This is hard to read. The closest digit is 4.",
    "not a digit": "This does not look like a digit. The closest digit is 4.",
}
BLANK = np.full((40, 40), 255, np.uint8)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {
        reason: fixed(folder / f"m{i}.onnx", FOUR + more, **metadata)
        for i, (reason, (more, metadata)) in enumerate(MODELS.items())
    }


@pytest.mark.parametrize("reason", MODELS)
def test_the_reason_follows_from_score_bounds_and_the_twelfth_output(models, reason):
    recognizer = Recognizer(models[reason])
    seen, blank = recognizer.predict_batch([picture(4), BLANK])
    assert (seen.reason, seen.is_digit, seen.digit) == (reason, reason is None, 4)
    assert seen.to_dict()["reason"] == reason
    assert (blank.reason, blank.is_digit) == ("blank", False)
    assert recognizer.predict(picture(4)).reason == reason


def test_a_model_without_the_output_or_the_bound_says_not_a_digit(tmp_path):
    for name, logits, metadata, reason in (
        ("eleven", [1.0], {"threshold": 0.8}, "not a digit"),
        ("bound", [1.0], BOUNDS, "unclear"),
        ("ten", [], {"temperature": 1}, None),
    ):
        assert (
            Recognizer(fixed(tmp_path / f"{name}.onnx", FOUR + logits, **metadata)).predict(picture(4)).reason == reason
        )


def test_a_prediction_made_without_a_reason_has_one():
    made = Prediction(4, 0.9, (0.1,) * 10, np.zeros((28, 28)), None, None, False, 0.2)
    assert made.reason == "not a digit"
    assert Prediction(4, 0.9, (0.1,) * 10, np.zeros((28, 28)), None, None, True, 0.9).reason is None
    assert Prediction(None, 0.0, (0.1,) * 10, np.zeros((28, 28)), None, None, False, None).reason == "blank"


def test_bad_bounds_and_twelve_outputs_of_others_are_told(tmp_path):
    with pytest.raises(ModelError, match="unclear 'often' in its metadata; expected a number from 0 to 1"):
        Recognizer(fixed(tmp_path / "bad.onnx", [*FOUR, 1, 1], unclear="often"))
    with pytest.raises(ModelError, match=r"does not give \(N, 10 or 11\) logits but 12 values an image"):
        Recognizer(fixed(tmp_path / "foreign.onnx", [*FOUR, 1, 1]))


@pytest.mark.parametrize("reason", LINES)
def test_the_command_prints_it_in_every_form(models, reason, tmp_path):
    (tmp_path / "four.png").write_bytes(encode(picture(4)))
    (tmp_path / "blank.png").write_bytes(encode(BLANK))

    def run(*options):
        command = [sys.executable, "-m", "inkdigits", "predict", "--model", str(models[reason]), *options]
        done = subprocess.run(
            [*command, "four.png", "blank.png"], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout, done.stderr

    lines, count = run()
    assert [line.split("  ", 1)[1].strip() for line in lines.splitlines()] == [LINES[reason], "blank"]
    counted = {"several digits": "1 with several digits"}.get(reason, f"1 {reason}")
    assert count == f"inkdigits: 2 images: 0 digits, {counted}, 1 blank\n"
    assert [json.loads(line)["reason"] for line in run("--json")[0].splitlines()] == [reason, "blank"]
    text = run("--csv")[0]
    assert '"' not in text
    assert [row["reason"] for row in csv.DictReader(io.StringIO(text))] == [reason, "blank"]
    run("-o", "out.parquet")
    assert pyarrow.parquet.read_table(tmp_path / "out.parquet")["reason"].to_pylist() == [reason, "blank"]


@pytest.mark.slow
@pytest.mark.parametrize("reason", LINES)
def test_the_server_its_form_and_its_client_say_it(models, reason, start_server):
    server = start_server("--model", str(models[reason]))
    data = encode(picture(4))
    assert httpx.post(f"{server.url}/predict", content=data).json()["reason"] == reason
    page = httpx.post(server.url, files={"file": ("four.png", data)}, headers={"Accept": "text/html"}).text
    assert SENTENCES[reason] in page
    with Client(server.url) as client:
        assert client.predict(data).reason == reason
        assert client.predict(BLANK).reason == "blank"
