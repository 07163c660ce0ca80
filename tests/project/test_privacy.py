"""No command sends anything anywhere, or leaves files of others in the home folder: each is run and watched."""

from __future__ import annotations

import csv
import json
import os
import re
import sys

import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from support.drawings import picture
from support.outgoing import INKDIGITS, SERVE, tracing, watched
from support.paths import DEPLOY, ROOT

pytestmark = pytest.mark.slow

ROWS = 80  # of the table that is read and trained on
PICTURES = 24
SERVE_SECONDS = 2
# Of ONNX Runtime's own, in the home folder, as soon as it is imported.
DEVICE = ".cache/Microsoft/DeveloperTools/.onnxruntime/deviceid"

# Two workers, asked for what a page, a monitor and a program ask for, then ended by SIGTERM.
NOTEBOOK = """
import numpy as np
from inkdigits import Recognizer
recognizer = Recognizer()
print(recognizer.predict({!r}).digit, len(recognizer.predict_batch([np.eye(28)] * 3)))
"""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A picture of a 7, a folder of pictures, and a table of digits with labels."""
    folder = tmp_path_factory.mktemp("inputs")
    Image.fromarray(picture(7)).save(folder / "seven.png")
    (folder / "pictures").mkdir()
    for number in range(PICTURES):
        Image.fromarray(picture(number % 10)).save(folder / "pictures" / f"{number:02}.png")
    digits = load_digits()
    with (folder / "table.csv").open("w", newline="") as file:
        write = csv.writer(file).writerow
        write(["label", *(f"pixel{i}" for i in range(784))])
        for image, label in zip(digits.images[:ROWS], digits.target, strict=False):
            grey = Image.fromarray(np.uint8(image * 15)).resize((28, 28))
            write([label, *np.asarray(grey).ravel()])
    return folder


def test_in_ci_nothing_can_be_missed():
    """Elsewhere the tests make do with an audit hook where strace or network namespaces cannot be had."""
    assert tracing() or not os.environ.get("CI"), "install strace: scripts/get-strace.sh"


def test_what_is_sent_would_be_seen(tmp_path):
    code = """
import contextlib, pathlib, socket
for name in ("192.0.2.1", "digits.example"):
    with contextlib.suppress(OSError):
        socket.create_connection((name, 443), 0.1)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s, contextlib.suppress(OSError):
    s.sendto(b"7", ("198.51.100.1", 53))
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname()).close()
socket.create_server(("0.0.0.0", 0)).close()
pathlib.Path.home().joinpath("left").touch()
"""
    outcome = watched(tmp_path, sys.executable, "-c", code)
    assert outcome.code == 0, outcome.printed
    assert outcome.home == ["left"]
    assert {"192.0.2.1 port 443", "198.51.100.1 port 53"} < set(outcome.reached)
    assert outcome.opened == (["0.0.0.0 port 0"] if tracing() else [])


def test_what_onnx_runtime_leaves_would_be_seen_and_a_choice_of_the_users_stands(tmp_path, inputs):
    outcome = watched(tmp_path, *INKDIGITS, "predict", inputs / "seven.png", ORT_DISABLE_TELEMETRY="0")
    assert outcome.code == 0, outcome.printed
    assert DEVICE in outcome.home


@pytest.mark.parametrize("chosen", [{}, {"ORT_DISABLE_TELEMETRY": ""}], ids=["unset", "empty"])
def test_the_library(tmp_path, inputs, chosen):
    code = NOTEBOOK.format(str(inputs / "seven.png"))
    check(watched(tmp_path, sys.executable, "-c", code, **chosen), "7 3")


@pytest.mark.parametrize(
    "code",
    [
        "from inkdigits.training.quantize import quantize",
        "import inkdigits.training.fit, inkdigits.evaluation.evaluate",
        "import inkdigits.server.factory, inkdigits.bulk.cluster, inkdigits.client",
    ],
)
def test_whatever_is_imported_first(tmp_path, code):
    check(watched(tmp_path, sys.executable, "-c", f"{code}; import onnxruntime; print('fine')"), "fine")


def check(outcome, words, kept=()):
    """A command that did what it was to do, and nothing else; ``kept`` begins what it may keep in the home folder."""
    assert outcome.code == 0, outcome.printed
    assert words in outcome.printed
    assert outcome.reached == []
    assert outcome.opened == []
    assert [name for name in outcome.home if not name.startswith(tuple(kept))] == []
    assert outcome.temporary == []


def test_predict(tmp_path, inputs):
    check(watched(tmp_path, *INKDIGITS, "predict", inputs / "seven.png", "--explain"), "seven.png  7")


def test_predict_of_many_by_processes(tmp_path, inputs):
    command = ("predict", inputs / "pictures", inputs / "table.csv", "-o", "out.csv", "--processes", "2")
    check(watched(tmp_path, *INKDIGITS, *command), "")
    with (tmp_path / "work" / "out.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == PICTURES + ROWS


# FastAPI's own traces, metrics and logs, which carry queries and the texts of faults, sent on where these say so.
ASKED_OF_FASTAPI = {"FASTAPI_OTEL_AUTO_CONFIGURE": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://192.0.2.1:4318"}


@pytest.mark.parametrize("environ", [{}, ASKED_OF_FASTAPI], ids=["plain", "exporter"])
def test_serve(tmp_path, inputs, environ):
    check(watched(tmp_path, sys.executable, "-c", SERVE, inputs / "seven.png", SERVE_SECONDS, **environ), "")


def test_evaluate_and_submit(tmp_path, inputs):
    command = ("evaluate", "cnn", "--data", inputs / "table.csv", "--report", "report.html")
    check(watched(tmp_path, *INKDIGITS, *command), "wrote report.html")
    check(watched(tmp_path, *INKDIGITS, "submit", inputs / "table.csv", "-o", "submission.csv"), f"{ROWS} rows read")


def test_train(tmp_path, inputs):
    """With MLflow's client, which would send usage data of its own; the store is a file."""
    command = ("train", "--data", inputs / "table.csv", "--network", "mlp", "--epochs", "1", "--batch-size", "16")
    store = ("--mlflow", "sqlite:///runs.db", "--out", "mine.onnx")
    check(watched(tmp_path, *INKDIGITS, *command, *store), "wrote mine.onnx", kept=[".cache/inkdigits/"])
    assert {path.name for path in (tmp_path / "work").iterdir()} >= {"mine.onnx", "registry.json", "runs", "runs.db"}


def test_predict_by_a_ray_cluster_of_its_own(tmp_path, inputs):
    """Ray's own folder for temporary files is its own: /tmp/ray."""
    command = ("predict", inputs / "pictures", "-o", "out.csv", "--engine", "ray", "--processes", "1")
    outcome = watched(tmp_path, *INKDIGITS, *command, TMPDIR="/tmp")
    check(outcome, "")
    with (tmp_path / "work" / "out.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == PICTURES


def test_usage_data_is_off_wherever_it_is_started():
    """inkdigits itself sets it, too; here it is for whatever runs beside it, and for who looks."""
    for name in ("Dockerfile", "learn.Dockerfile", "ray.Dockerfile", "systemd/inkdigits.service"):
        assert re.search(r"\bORT_DISABLE_TELEMETRY=1\b", (DEPLOY / name).read_text()), name
    assert " ORT_DISABLE_TELEMETRY=1 " in (ROOT / "Procfile").read_text()
    assert json.loads((ROOT / "app.json").read_text())["env"]["ORT_DISABLE_TELEMETRY"]["value"] == "1"
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert services["inkdigits"]["environment"]["ORT_DISABLE_TELEMETRY"] == "1"
    assert services["learn"]["environment"]["ORT_DISABLE_TELEMETRY"] == "1"
    assert services["grafana"]["environment"]["GF_ANALYTICS_REPORTING_ENABLED"] == "false"
    names = ("base/deployment.yaml", "kserve.yaml", "learn.yaml", "rayjob.yaml")
    pods = [DEPLOY / "kubernetes" / name for name in names]
    containers = [one for path in pods for one in containers_in(yaml.safe_load(path.read_text()))]
    assert len(containers) == 5
    for container in containers:
        assert {"name": "ORT_DISABLE_TELEMETRY", "value": "1"} in container["env"], container["name"]
        if container["name"].startswith("ray"):
            assert {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in container["env"]
            assert {"name": "RAY_USAGE_STATS_REPORT_URL", "value": "http://127.0.0.1:9"} in container["env"]


def containers_in(tree):
    """Each container that a manifest describes, at whatever depth."""
    if isinstance(tree, dict):
        yield from tree.get("containers", ())
        for value in tree.values():
            yield from containers_in(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from containers_in(value)
