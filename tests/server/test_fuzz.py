"""Made-up input: every parser ends in an answer or in one of its own errors; the service keeps to its description."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inkdigits import InvalidStrokes
from inkdigits.server import open_inference as oip
from inkdigits.server.http.auth import client_of
from inkdigits.server.http.problems import PROBLEM_TYPES, Problem, problem_of
from inkdigits.server.json_images import image_of
from inkdigits.server.payloads import parse
from inkdigits.server.predict import Options
from inkdigits.server.read import options_of

from support.paths import ROOT
from support.requests import ROW, THREE

pytestmark = pytest.mark.slow

CLIENT_ERRORS = {kind.status for kind in PROBLEM_TYPES if 400 <= kind.status < 500}
fuzzed = settings(
    max_examples=200, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=20,
)
PIXELS = st.lists(st.integers(-5, 260) | st.floats() | st.none(), min_size=780, max_size=786)
TYPES = st.sampled_from(
    [
        "",
        "image/png",
        "application/json",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "multipart/form-data",
        "multipart/form-data; boundary*=b",
    ]
)
PIECES = st.lists(
    st.sampled_from(
        [
            b"--b",
            b"--b--",
            b"\r\n",
            b"\r\n\r\n",
            b'Content-Disposition: form-data; name="image"',
            b'; filename="x"',
            b"Content-Type: image/png",
            b"image=",
            b"&",
            b"%",
            b"data:;base64,",
            b'{"image": "',
            b'"}',
            THREE,
        ]
    )
    | st.binary(max_size=40),
    max_size=25,
).map(b"".join)


def is_the_client_s(problem: Problem) -> None:
    assert problem.type.status in CLIENT_ERRORS
    json.dumps(problem.document()).encode()
    assert len(problem.detail) < 1_000


@fuzzed
@given(
    TYPES | st.binary(max_size=40).map(lambda v: v.decode("latin-1")),
    PIECES | st.binary(max_size=900) | JSON.map(lambda v: json.dumps(v).encode()),
)
def test_bodies(content_type, body):
    try:
        inputs, several = parse(content_type, body, 5)
    except Problem as problem:
        is_the_client_s(problem)
        return
    assert 1 <= len(inputs) <= 5
    assert several or len(inputs) == 1
    for one in inputs:
        assert isinstance(one.source, bytes | np.ndarray | Problem)


@fuzzed
@given(st.one_of(JSON, PIXELS.map(lambda v: {"pixels": v}), st.text(max_size=60).map(lambda v: {"image": v})))
def test_values(value):
    try:
        image = image_of(value)
    except Problem as problem:
        is_the_client_s(problem)
        return
    assert isinstance(image, bytes) or (image.shape == (28, 28) and image.dtype in (np.uint8, np.float32))


POINTS = st.lists(st.lists(st.integers(-(10**40), 10**40) | st.floats() | JSON, max_size=3), max_size=3)


@fuzzed
@given(st.lists(POINTS | JSON, max_size=4) | JSON)
def test_strokes(value):
    body = json.dumps({"strokes": value}).encode()
    try:
        [found], several = parse("application/json", body, 5, strokes=True)
    except (InvalidStrokes, Problem) as error:
        is_the_client_s(problem_of(error))
        return
    assert not several
    assert found.source.shape == found.drawing.picture.size[::-1]
    assert found.source.size < 2_000_000


TENSOR = st.fixed_dictionaries(
    {
        "name": st.text(max_size=5),
        "datatype": st.sampled_from(["UINT8", "FP32", "FP16", "BYTES", "INT64", "BOOL", "x"]),
    },
    optional={
        "shape": st.lists(st.integers(-2, 1 << 40) | st.sampled_from([28, 784, 1]), max_size=4) | JSON,
        "data": st.just(ROW) | JSON,
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 1 << 40) | JSON}) | JSON,
    },
)
REQUEST = st.fixed_dictionaries(
    {"inputs": st.lists(TENSOR, max_size=2) | JSON}, optional={"id": JSON, "outputs": JSON, "parameters": JSON}
)


@fuzzed
@given(REQUEST | JSON, st.binary(max_size=800), st.none() | st.binary(max_size=20) | st.just(b"exact"))
def test_tensors(document, tail, length):
    head = json.dumps(document).encode()
    try:
        call = oip.parse(head + tail, b"%d" % len(head) if length == b"exact" else length, 5)
    except Problem as problem:
        is_the_client_s(problem)
        return
    assert len(call.images) <= 5


@fuzzed
@given(st.binary(max_size=100) | st.text("imagetopxln=&%true01+", max_size=40).map(str.encode))
def test_queries(query):
    try:
        options = Options.of(query)
    except Problem as problem:
        is_the_client_s(problem)
        return
    assert 0 <= options.top <= 10


@fuzzed
@given(st.binary(max_size=100) | st.text("layoutengthpern=&%d.,-0189", max_size=40).map(str.encode))
def test_queries_of_read(query):
    try:
        options, _ = options_of(query)
    except Problem as problem:
        is_the_client_s(problem)
        return
    assert 0 <= options.alternatives <= 20


@fuzzed
@given(st.binary(max_size=100), st.integers(0, 16))
def test_addresses(forwarded, proxies):
    assert isinstance(client_of({"client": None}, {b"x-forwarded-for": forwarded}, proxies), str)


@pytest.fixture(scope="module")
def decoding():
    spec = importlib.util.spec_from_file_location("fuzz_decode", ROOT / "fuzz" / "decode.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_corpus_of_images(decoding):
    files = [*(ROOT / "fuzz" / "corpus").iterdir()]
    assert len(files) >= len(decoding.FORMATS)
    assert sum(file.stat().st_size for file in files) < 1 << 20
    for file in files:
        decoding.try_one(file.read_bytes())


@fuzzed
@given(st.data())
def test_images(decoding, data):
    """A file of the corpus with bytes changed, cut out or put in."""
    corpus = sorted(decoding.seeds().items())
    image = bytearray(data.draw(st.sampled_from(corpus))[1])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(image)))
        image[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    decoding.try_one(bytes(image))


def test_the_service_keeps_to_its_description(live_server, tmp_path):
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{live_server}/openapi.json", "--url", live_server]
    # A schema cannot say which bytes are an image, or how many numbers a tensor of that shape holds.
    command += ["--exclude-checks", "positive_data_acceptance"]
    command += ["--max-examples", "20", "--seed", "1", "--generation-database", "none", "--no-color"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
