"""docs/coming-from.md: each old command, file and address that it maps is here under the name that it gives."""

import asyncio
import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys

import fastapi
import httpx
import numpy as np
import pytest
import yaml
from PIL import Image

import inkdigits.server
from inkdigits.network import SHIPPED
from inkdigits.preprocess import preprocess
from inkdigits.self_test import DIGIT

from support.drawings import picture
from support.paths import ROOT
from support.requests import THREE
from support.servers import Server, served

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "coming-from.md"
SERVERS = ("gunicorn ", "uvicorn ", "inkdigits serve", "python app.py")
LIMIT_SECONDS = 240
SYSTEMS = 5
_LINK = re.compile(r"\[`?([^]`]+)`?\]\(([^)]+)\)")
_CODE = re.compile(r"`([^`]+)`")
_SET = re.compile(r"(?:[A-Z_]+=\S+ )+")


def rows():
    """Of each row of the page's tables: what stands on the left, and on the right."""
    text = PAGE.read_text(encoding="utf-8")
    for section in text.split("\n## ")[1:]:
        system, _, table = section.partition("\n")
        for line in table.strip().splitlines()[2:]:
            left, right = line.strip("|").split(" | ")
            yield pytest.param(left.strip(), right.strip(), id=f"{system.split()[1]}: {left.strip(' `')[:50]}")


def test_there_are_five_systems():
    assert PAGE.read_text(encoding="utf-8").count("| you had | here |") == SYSTEMS
    assert len([*rows()]) > 50


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files that the commands name: Kaggle's tables, a picture, and a model."""
    folder = tmp_path_factory.mktemp("coming")
    random = np.random.default_rng(0)

    def row(digit):
        drawn = picture(digit, ink_size=random.uniform(120, 200), pen=random.uniform(8, 24))
        return np.rint(255 * preprocess(drawn).image).astype(int).ravel()

    labels = [i % 10 for i in range(200)]
    names = ",".join(f"pixel{i}" for i in range(784))
    pixels = [",".join(map(str, row(digit))) for digit in labels]
    (folder / "train.csv").write_text(
        f"label,{names}\n" + "".join(f"{n},{p}\n" for n, p in zip(labels, pixels, strict=True))
    )
    (folder / "test.csv").write_text(f"{names}\n" + "".join(f"{p}\n" for p in pixels[:20]))
    Image.fromarray(picture(8)).save(folder / "digit.png")
    (folder / "row_data.json").write_bytes((ROOT / "row_data.json").read_bytes())
    (folder / "models").mkdir()
    (folder / "models" / "mine.onnx").write_bytes((SHIPPED / "lenet.onnx").read_bytes())
    return folder


def ran(words, cwd, **environ):
    done = subprocess.run(
        words, cwd=cwd, env={**os.environ, **environ}, capture_output=True, text=True, timeout=LIMIT_SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def serve(command, folder):
    """Start a server as the page says, on a port of its own, and ask it for a digit."""
    environ = dict(part.split("=", 1) for part in shlex.split(_SET.match(command)[0])) if _SET.match(command) else {}
    words = shlex.split(_SET.sub("", command, count=1).replace("9696", "{port}"))
    program = words[1:] if words[0] == "python" else ["-m", *words]
    environ = {"INKDIGITS_WORKERS": "1", "GUNICORN_CMD_ARGS": "--bind 127.0.0.1:{port}", **environ, "PORT": "{port}"}
    with served(*program, cwd=folder if "models/" in command else ROOT, **environ) as url:
        assert httpx.post(f"{url}/predict", content=THREE).json()["digit"] == DIGIT


def train(command):
    """A training as the page says, on data that is here, and short."""
    words = shlex.split(
        command.replace("--data mnist", "--data digits").replace("--download mnist", "--download digits")
    )
    return [*words, "--epochs", "1"] if words[1] == "train" else words


def do(text, folder, client, live_server):
    """Do what a piece of code on the page says; what was printed, or None where it is nothing that can be done."""
    if asked := re.fullmatch(r"(GET|POST) (/\S*)", text):
        return ask(*asked.groups(), client)
    command = _SET.sub("", text, count=1)
    if command.startswith(SERVERS):
        return serve(text, folder) or ""
    if re.fullmatch(r"inkdigits \w+", command):
        return ran([sys.executable, "-m", *command.split(), "--help"], folder)
    if command.startswith("inkdigits "):
        return ran([sys.executable, "-m", *train(command)], folder)
    if command.startswith("curl "):
        local = re.sub(r"http://localhost:9696", live_server, command)
        return ran([*shlex.split(local), "--silent", "--show-error", "--fail-with-body"], folder)
    if command.startswith("make test_client"):
        host, port = live_server.removeprefix("http://").split(":")
        return ran(["make", "test_client", f"HOST={host}", f"PORT={port}"], ROOT)
    if command.startswith("make "):  # those that install, build or train for long: tests of their own run them
        return ran([*shlex.split(command), "--dry-run", "--always-make"], ROOT)
    if command.startswith("app.mount("):
        app = fastapi.FastAPI()
        exec(command, {"app": app, "inkdigits": inkdigits})
        return asyncio.run(posted(app, "/digits/predict"))
    if command.startswith("pip install -r "):
        options = ["--dry-run", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
        return ran([sys.executable, "-m", *shlex.split(command), *options], ROOT)
    if command.startswith("eksctl "):
        return yaml.safe_load((ROOT / command.rpartition(" ")[2]).read_text())["kind"]
    if command.startswith("kubectl apply --kustomize "):
        overlay = ROOT / command.rpartition(" ")[2]
        parts = yaml.safe_load((overlay / "kustomization.yaml").read_text())["resources"]
        assert all((overlay / part).exists() for part in parts)
        return " ".join(parts)
    if command == "docker build .":
        return (ROOT / "Dockerfile").read_text()
    return None


async def posted(app, path):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        response = await client.post(path, content=THREE)
    assert response.json()["digit"] == DIGIT
    return response.text


def ask(method, path, client):
    if method == "GET":
        response = client.get(path)
    else:
        accept = "text/html" if path == "/" else "*/*"
        response = client.post(path, files={"file": ("3.png", THREE)}, headers={"Accept": accept})
    assert response.status_code == 200
    return response.text


@pytest.mark.parametrize(("left", "right"), [*rows()])
def test_a_row(left, right, folder, client, live_server):
    links = _LINK.findall(right)
    for _, path in links:
        assert (PAGE.parent / path).exists(), path
    code = _CODE.findall(_LINK.sub("", right))
    if right.startswith("the same"):
        code = _CODE.findall(left) + code
    results = {text: do(text, folder, client, live_server) for text in code}
    done = [printed for printed in results.values() if printed is not None]
    assert done or links, "the row says nothing that a test can do"
    # What is no command is what one prints.
    for text in [text for text, printed in results.items() if printed is None]:
        assert text.startswith("git push") or any(text in printed for printed in done), text
    for text, printed in results.items():
        if text.startswith("curl") or "test_client" in text:
            assert f'"digit":{8 if "digit.png" in text else DIGIT if "test_client" in text else 1}' in printed


def png(array, **options):
    file = io.BytesIO()
    Image.fromarray(array).save(file, options.pop("format", "PNG"), **options)
    return file.getvalue()


def on_canvas(digit):
    """As a canvas gives it: strokes on nothing, in an alpha channel."""
    alpha = 255 - picture(digit)
    return png(np.dstack([np.zeros_like(alpha)] * 3 + [alpha]))


def as_row(digit, form):
    pixels = np.rint(255 * preprocess(picture(digit)).image).astype(int).ravel().tolist()
    return json.dumps(form(pixels)).encode()


def about_a_megabyte(digit):
    """A photo of just under 2**20 bytes: grain is what makes it large."""
    grain = np.random.default_rng(0).normal(0, 12, (1000, 1000))
    noisy = np.clip(picture(digit, 1000) + grain, 0, 255).astype(np.uint8)
    best = next(f for q in range(99, 0, -1) if len(f := png(noisy, format="JPEG", quality=q)) < 2**20 - 1024)
    assert len(best) > 2**19
    return best


KAGGLE = "application/json"
CLAIMS = {
    # A Keras model behind FastAPI
    "an uploaded PNG": (7, lambda: png(picture(7)), "image/png"),
    "an uploaded JPEG": (2, lambda: png(picture(2), format="JPEG"), "image/jpeg"),
    # A canvas, and an ONNX model
    "a drawing on a transparent canvas": (7, lambda: on_canvas(7), "image/png"),
    # A Kaggle solution
    "a row of 784 named pixels": (4, lambda: as_row(4, lambda p: {f"pixel{i}": v for i, v in enumerate(p)}), KAGGLE),
    # LeNet in PyTorch
    "28 by 28, white on black": (5, lambda: png(np.rint(255 * preprocess(picture(5)).image).astype("B")), "image/png"),
    # A perceptron of one's own
    "black on white": (3, lambda: png(picture(3)), "image/png"),
    "white on black": (3, lambda: png(picture(3, paper=0, ink=255)), "image/png"),
    "wide": (6, lambda: png(picture(6, 600, height=200)), "image/png"),
    "high": (6, lambda: png(picture(6, 200, height=600)), "image/png"),
    "10 pixels": (1, lambda: png(picture(1, 10, ink_size=8, pen=1.2)), "image/png"),
    "a megabyte": (8, lambda: about_a_megabyte(8), "image/jpeg"),
}  # fmt: skip


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("model", ["cnn", "lenet"])
def test_what_the_five_systems_read_is_read(small_servers, claim, model):
    """As a body and, of pictures, by the form of curl, on a server that takes no more than a megabyte."""
    digit, make, content_type = CLAIMS[claim]
    content, url = make(), small_servers[model]
    answers = [httpx.post(f"{url}/predict", content=content, headers={"Content-Type": content_type}).json()]
    if content_type != KAGGLE:
        command = ["curl", "--silent", "--show-error", "--form", "file=@-;filename=digit", f"{url}/"]
        answers.append(json.loads(subprocess.run(command, input=content, capture_output=True, check=True).stdout))
    for answer in answers:
        assert answer["digit"] == digit, answer
        assert len(answer["probabilities"]) == 10
        assert sum(answer["probabilities"]) == pytest.approx(1, abs=1e-5)
        assert answer["confidence"] == max(answer["probabilities"])


@pytest.fixture(scope="module")
def small_servers():
    with contextlib.ExitStack() as stack:
        servers = {name: Server("--max-bytes", str(2**20), "--model", name) for name in ("cnn", "lenet")}
        for server in servers.values():
            stack.callback(server.close)
        yield {name: server.url for name, server in servers.items()}


@pytest.mark.parametrize("path", ["/", "/predict"])
def test_more_than_a_megabyte_and_less_than_ten_pixels_are_refused_with_the_bound(small_servers, path):
    files = {"file": ("large.png", bytes(2**20))}  # and what is around it
    large = httpx.post(small_servers["cnn"] + path, files=files)
    assert (large.status_code, "the limit is 1,048,576" in large.json()["detail"]) == (413, True)
    small = httpx.post(
        small_servers["cnn"] + path, files={"file": ("small.png", png(picture(1, 9, ink_size=8, pen=1)))}
    )
    assert (small.status_code, "at least one side must have 10" in small.json()["detail"]) == (422, True)
