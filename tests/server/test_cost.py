"""What a request may cost is bounded before the work, and what takes long leaves the event loop."""

import asyncio
import base64
import json
import os
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
import zlib
from urllib.parse import unquote_to_bytes

import httpx
import numpy as np
import pytest
from PIL import Image

from inkdigits.errors import ImageTooLarge
from inkdigits.preprocess import Limits, preprocess, preprocess_picture
from inkdigits.preprocess.decode import decode
from inkdigits.preprocess.files import pixels_of
from inkdigits.self_test import DIGIT
from inkdigits.server import inference as work
from inkdigits.server import open_inference as oip
from inkdigits.server.cost import BATCH, HEAVY_PIXELS, check_pixels, is_heavy, load_of, parts_of
from inkdigits.server.http.auth import charge
from inkdigits.server.http.problems import Problem
from inkdigits.server.inference import DRAWING_PIXELS, DRAWINGS, INLINE_BYTES, SMALL_PIXELS
from inkdigits.server.json_images import file_of, percent_decoded
from inkdigits.server.observability.metrics import Metrics
from inkdigits.server.payloads import parse
from inkdigits.server.processes.shared_state import SharedState
from inkdigits.settings import Settings

from support.drawings import picture
from support.files import chunk, png, scans
from support.requests import HASHES, THREE, assert_problem, encode, guard_of, reader_of

pytestmark = pytest.mark.slow

MANY = 2_000_000  # characters of a text that says little; a body may have ten times as many
MAX_FILES = 100
FORM = "application/x-www-form-urlencoded"
OIP_HEAD = b'{"inputs":[{"name":"x","datatype":"UINT8","shape":[1,784],"data":'
MOST_MEMORY = 16 << 20  # bytes beside a body, while it is looked at
SIXTEEN_MEGAPIXELS = png(4096, 4096, zlib.compress(bytes(4097 * 4096), 9))


def filled(begin: bytes, one: bytes, end: bytes) -> bytes:
    return begin + b",".join([one] * (MANY // (len(one) + 1))) + end


TEXTS = {
    "lists of one in a tensor": filled(OIP_HEAD + b"[", b"[1]", b"]}]}"),
    "numbers in a tensor": filled(OIP_HEAD + b"[", b"1", b"]}]}"),
    "empty lists as pixels": filled(b'{"pixels":[', b"[]", b"]}"),
    "empty lists as instances": filled(b'{"instances":[', b"[]", b"]}"),
    "objects": filled(b'{"pixels":[', b"{}", b"]}"),
    "numbers and a NaN": filled(b'{"pixels":[NaN,', b"1.5", b"]}"),
    "keys": b"{" + b",".join(b'"%d":0' % i for i in range(MANY // 9)) + b"}",
    "depth": b"[" * MANY,
    "depth of objects": b'{"a":' * (MANY // 5),
}


def refusal(kind: str, body: bytes) -> tuple[Problem, int]:
    """How a body is refused, and the most memory that it takes."""
    tracemalloc.start()
    try:
        with pytest.raises(Problem) as found:
            if b'"inputs"' in body[:20]:
                oip.parse(body, None, MAX_FILES)
            else:
                parse(kind, body, MAX_FILES)
        return found.value, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_of_many_values_is_counted_and_not_parsed(name):
    problem, memory = refusal("application/json", TEXTS[name])
    assert problem.type.status == 413
    count = sum(map(TEXTS[name].count, (b"[", b"{", b",")))
    assert f"{count:,} lists, objects and commas; the limit is 201,000" in problem.detail
    assert memory < MOST_MEMORY


@pytest.mark.parametrize("path", ["/predict", "/v2/models/cnn/infer"])
def test_such_a_text_over_http(client, path):
    name = "lists of one in a tensor" if "v2" in path else "empty lists as instances"
    response = client.post(path, content=TEXTS[name], headers={"Content-Type": "application/json"})
    assert response.status_code == 413
    assert response.json()["type"] == "/docs#too-many-images"


def nested(image: np.ndarray, depth: int) -> list:
    return image.reshape(*image.shape, *[1] * depth).tolist()


def test_the_most_that_may_be_sent_as_numbers_is_read(client):
    image = 255 - picture(DIGIT, 28)
    rows = client.post("/predict", json={"instances": [image.ravel().tolist()] * MAX_FILES}).json()["predictions"]
    assert [row["digit"] for row in rows] == [DIGIT] * MAX_FILES
    kaggle = {f"pixel{i}": value for i, value in enumerate((image / 255.0 * 254.9).ravel().tolist())}
    rows = client.post("/predict", json={"instances": [kaggle] * MAX_FILES}).json()["predictions"]
    assert [row["digit"] for row in rows] == [DIGIT] * MAX_FILES
    tensor = {
        "name": "image",
        "datatype": "FP32",
        "shape": [MAX_FILES, 28, 28, 1],
        "data": [nested(image, 1)] * MAX_FILES,
        "parameters": {},
    }
    model = client.get("/model").json()["name"]
    outputs = client.post(f"/v2/models/{model}/infer", json={"inputs": [tensor]}).json()["outputs"]
    assert outputs[0]["data"] == [DIGIT] * MAX_FILES


@pytest.mark.parametrize("name", ["image", "data URL", "two names"])
def test_escapes_take_no_object_each(name):
    body = {
        "image": b"image=" + b"%41" * (MANY // 3),
        "data URL": b"image=data:," + b"%2541" * (MANY // 5),
        "two names": b"%41" * (MANY // 3) + b"=1&image=AAAA",
    }[name]
    tracemalloc.start()
    [found], _ = parse(FORM, body, MAX_FILES)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(found.source, bytes)
    assert peak < 4 * len(body) + MOST_MEMORY


def test_large_texts_are_decoded_as_small_ones():
    """A piece at a time, whatever lies on the seams."""
    data = np.random.default_rng(0).integers(0, 256, 2_500_001, np.uint8).tobytes()
    text = base64.b64encode(data).decode()
    assert file_of(text, "image") == data
    assert file_of("\n".join(text[i : i + 76] for i in range(0, len(text), 76)).rstrip("="), "image") == data
    with pytest.raises(Problem, match="neither"):
        file_of(text[:1_200_000] + "====" + text[1_200_000:], "image")
    escaped = ("%41%zz%%4%4a=+" * 200_000 + "%4").encode()
    assert percent_decoded(escaped) == unquote_to_bytes(escaped)


def test_images_of_too_many_pixels_together(client, recognizer):
    files = [("f", (f"{i}.png", SIXTEEN_MEGAPIXELS)) for i in range(MAX_FILES)]
    assert_problem(client.post("/predict", files=files), 413, "too-many-images", "67,108,864", "the limit is")
    elements = b"".join(len(SIXTEEN_MEGAPIXELS).to_bytes(4, "little") + SIXTEEN_MEGAPIXELS for _ in range(8))
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "x",
                    "datatype": "BYTES",
                    "shape": [8],
                    "parameters": {"binary_data_size": len(elements)},
                }
            ]
        }
    ).encode()
    url = f"/v2/models/{recognizer.model.name}/infer"
    response = client.post(url, content=head + elements, headers={"Inference-Header-Content-Length": str(len(head))})
    assert_problem_of_protocol(response)
    assert client.post("/predict", content=SIXTEEN_MEGAPIXELS).json()["blank"]
    photos = [("f", (f"{i}.jpg", encode(picture(i, 3000), "JPEG"))) for i in range(5)]
    rows = client.post("/predict", files=photos).json()["predictions"]
    assert [row["digit"] for row in rows] == list(range(5))


def test_the_time_of_a_request_s_images_is_bounded(recognizer, monkeypatch):
    """By the processor's clock, which here goes on by a fifth of a second with each picture."""
    clock = iter(np.arange(0, 100, 0.2))
    monkeypatch.setattr(work, "thread_time", lambda: next(clock))
    executor = work.Executor(Settings(), Metrics(SharedState()))
    drawings = [encode(picture(i % 10, 280)) for i in range(20)]
    assert [result.digit for result in executor.predict_all(recognizer, drawings[:4])] == [0, 1, 2, 3]
    with pytest.raises(Problem, match=r"\d of the request's 20 images took 0.75 s of CPU time") as found:
        executor.predict_all(recognizer, drawings)
    assert found.value.type.status == 413


def test_a_request_s_images_are_read_in_parts():
    small, large = encode(picture(3, 28)), encode(picture(3, 600))
    sources = [small, large, small, small, *[small] * 150, large]
    parts = list(parts_of(sources))
    assert [source for part in parts for source in part] == sources
    assert max(map(len, parts)) == BATCH
    assert all(sum(map(pixels_of, part)) <= BATCH * 784 or len(part) == 1 for part in parts)
    assert list(parts_of([])) == []


def assert_problem_of_protocol(response: httpx.Response) -> None:
    assert response.status_code == 413
    assert "67,108,864" in response.json()["error"]


def test_a_scan_counts_as_its_picture():
    large = scans(90, (4096, 4096))
    assert pixels_of(large) == 4096 * 4096
    check_pixels([scans(10, (4096, 4096))] * 3, Limits().max_pixels)
    with pytest.raises(Problem, match="as long as"):
        check_pixels([large], Limits().max_pixels)


@pytest.mark.parametrize(
    "liar",
    [
        chunk(b"tEXt", (28).to_bytes(4) * 2 + b"\0" * 5),
        chunk(b"prVt", (28).to_bytes(4) * 2 + b"\0" * 5),
    ],
)
def test_a_png_that_hides_its_size_is_never_decoded(client, liar):
    """Its first chunk says 28×28 where the header is looked for, its header 4096×4096."""
    file = SIXTEEN_MEGAPIXELS[:8] + liar + SIXTEEN_MEGAPIXELS[8:]
    assert_problem(client.post("/predict", content=file), 400, "unreadable-image", "IHDR")
    two = SIXTEEN_MEGAPIXELS[:8] + png(28, 28, b"")[8:33] + SIXTEEN_MEGAPIXELS[8:]
    assert_problem(client.post("/predict", content=two), 400, "unreadable-image", "two headers")


def test_what_is_read_in_the_event_loop():
    """Small pictures and drawings, and few of them; whatever is larger is read in a thread."""
    assert load_of([encode(picture(3, 28))] * 8) <= SMALL_PIXELS
    assert load_of([encode(picture(3, 64))]) <= SMALL_PIXELS
    for side in (128, 280):
        assert SMALL_PIXELS < load_of([encode(picture(3, side))]) <= DRAWING_PIXELS
    for width, height in ((8192, 32), (512, 512)):
        assert DRAWING_PIXELS < load_of([encode(picture(3, width, height=height))]) <= HEAVY_PIXELS
    assert is_heavy(load_of([encode(picture(3, 600))]))
    assert is_heavy(load_of([THREE] * 9))


@pytest.fixture
def threads(monkeypatch):
    """The thread that read each image."""
    found, predict_sources = {}, work.predict_sources

    def noted(recognizer, sources, *rest, **options):
        found.update({source: threading.get_ident() for source in sources})
        return predict_sources(recognizer, sources, *rest, **options)

    monkeypatch.setattr(work, "predict_sources", noted)
    return found


@pytest.mark.parametrize("size", [(400, 400), (8192, 32)])
def test_larger_pictures_leave_the_event_loop(recognizer, threads, size):
    read = reader_of(recognizer, most=100)
    large = encode(picture(7, size[0], height=size[1]))

    async def ask():
        return await asyncio.gather(read([large]), read([THREE]))

    (first,), (second,) = asyncio.run(ask())
    assert (first.digit, second.digit) == (7, DIGIT)
    assert threads[THREE] == threading.get_ident() != threads[large]


def test_no_small_picture_waits_for_many_drawings(recognizer, threads):
    read = reader_of(recognizer, most=100)
    drawings = [encode(picture(i % 10, 280, at=(60 + 0.1 * i, 40.0))) for i in range(30)]
    order = []

    async def ask(data):
        [result] = await read([data])
        order.append(data)
        return result.digit

    async def all_of_them():
        return await asyncio.gather(*map(ask, drawings), ask(THREE))

    assert asyncio.run(all_of_them()) == [i % 10 for i in range(30)] + [DIGIT]
    assert set(threads.values()) == {threading.get_ident()}
    # With the first of the drawings, although it came last.
    assert order.index(THREE) <= DRAWINGS


def test_drawings_that_take_long_leave_the_event_loop(recognizer, threads, monkeypatch):
    monkeypatch.setattr(work, "TURN_SECONDS", 0.0)
    read = reader_of(recognizer, most=100)
    # Nothing but stripes: they vanish in the reduced picture, which is then looked at as finely as any.
    pixels = np.full((320, 320), 255, np.uint8)
    stripes = [encode(Image.fromarray(np.where(np.arange(320)[:, None] % 2, ink, pixels))) for ink in range(12)]
    drawing = encode(picture(7, 280))

    async def ask():
        await asyncio.gather(*(read([one]) for one in stripes))
        return await asyncio.gather(*(read([one]) for one in (drawing, THREE)))

    (first,), (second,) = asyncio.run(ask())
    assert (first.digit, second.digit) == (7, DIGIT)
    here = threading.get_ident()
    assert [threads[one] == here for one in stripes] == [True] * (6 + 3 + 1) + [False] * 2
    assert threads[THREE] == here != threads[drawing]


def test_a_fault_in_the_thread_is_the_request_s_own(recognizer, monkeypatch):
    read = reader_of(recognizer, most=100)
    large, other = encode(picture(7, 400)), encode(picture(4, 380))

    def fail(image):
        if image.width == 400:
            raise RuntimeError("a fault")
        return preprocess_picture(image)

    monkeypatch.setattr("inkdigits.preprocess.preprocess_picture", fail)

    async def ask():
        asked = [read([data]) for data in (large, other)]
        return await asyncio.gather(*asked, return_exceptions=True)

    fault, found = asyncio.run(ask())
    assert isinstance(fault, RuntimeError)
    assert found[0].digit == 4


def test_pictures_for_the_thread_wait_among_the_small(recognizer):
    read = reader_of(recognizer, most=3)
    large = encode(picture(7, 400))

    async def ask():
        asked = [read([large]) for _ in range(6)]
        return await asyncio.gather(*asked, return_exceptions=True)

    found = asyncio.run(ask())
    # One is with the thread, and three wait.
    assert [type(result) for result in found] == [list] * 4 + [Problem] * 2
    assert found[-1].type.status == 503


def test_a_batch_ends_by_pixels_too(recognizer, monkeypatch):
    runs, logits = [], recognizer.logits
    monkeypatch.setattr(recognizer, "logits", lambda batch: runs.append(len(batch)) or logits(batch))
    read = reader_of(recognizer, most=1000)
    largest = encode(picture(3, 90))

    async def ask():
        await asyncio.gather(*(read([largest]) for _ in range(BATCH)))

    asyncio.run(ask())
    assert sum(runs) == BATCH
    assert max(runs) <= BATCH * 784 // 8100 + 1


def rows_of(width: int) -> bytes:
    """A sliver with a line in every other row: few bytes, and until now more pixels than any photo."""
    pixels = np.full((32, width), 255, np.uint8)
    pixels[::2] = 0
    return encode(Image.fromarray(pixels), optimize=True)


def test_slivers_from_many_clients_kill_no_worker(start_server):
    server = start_server("--workers", "2")
    host, port = server.url.removeprefix("http://").split(":")
    sliver = rows_of(8192)
    assert len(sliver) < 500
    request = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(sliver) + sliver
    connections = [socket.create_connection((host, int(port)), timeout=60) for _ in range(64)]
    for connection in connections:
        connection.sendall(request)
    answers = [connection.recv(65536) for connection in connections]
    for connection in connections:
        connection.close()
    assert {answer.split()[1] for answer in answers} == {b"200"}
    assert httpx.post(f"{server.url}/predict", content=THREE).json()["digit"] == DIGIT
    assert "replaced" not in server.stop()


def admit(guard, count: int, address: str = "1.2.3.4", **headers: str) -> int:
    """The status of a request for so many predictions; and of one that is let in."""
    scope = {"client": (address, 1)}
    try:
        guard.admit(scope, {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()})
        charge(scope, count)
    except Problem as problem:
        if problem.type.status == 429:
            assert int(problem.headers["Retry-After"]) >= 1
        return problem.type.status
    return 200


def test_the_rate_counts_predictions(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    guard = guard_of(rate_limit=2, rate_burst=10)
    assert [admit(guard, 4) for _ in range(3)] == [200, 200, 429]
    assert admit(guard, 11) == 413  # waiting would not help
    now += 60
    assert [admit(guard, 10), admit(guard, 1)] == [200, 429]


def test_the_wait_that_is_told_is_enough(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    guard = guard_of(rate_limit=2, rate_burst=10)
    assert admit(guard, 8) == 200
    with pytest.raises(Problem) as found:
        guard.admit(scope := {"client": ("1.2.3.4", 1)}, {})
        charge(scope, 8)
    now += int(found.value.headers["Retry-After"])
    assert admit(guard, 8) == 200


def test_every_route_counts_predictions(start_server):
    url = start_server("--rate-limit", "1", "--rate-burst", "10").url
    model = httpx.get(f"{url}/model").json()["name"]
    tensor = {"name": "x", "datatype": "UINT8", "shape": [8, 784], "data": [0] * (8 * 784)}
    assert httpx.post(f"{url}/v2/models/{model}/infer", json={"inputs": [tensor]}).status_code == 200
    files = [("f", (f"{i}.png", THREE)) for i in range(8)]
    response = httpx.post(f"{url}/predict", files=files)
    assert_problem(response, 429, "rate-limited", "1 predictions per second")
    assert int(response.headers["retry-after"]) >= 4
    eleven = httpx.post(f"{url}/predict", json={"instances": [[0] * 784] * 11})
    assert eleven.status_code in (413, 429)  # its first is counted before it is looked at


def test_wrong_keys_are_limited_by_address(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    guard = guard_of(api_keys=HASHES)
    assert [admit(guard, 1, x_api_key=f"guess {i}") for i in range(22)] == [401] * 20 + [429] * 2
    assert admit(guard, 1) == 429
    assert admit(guard, 1, "5.6.7.8", x_api_key="second") == 200
    now += 1
    assert [admit(guard, 1, x_api_key="second") for _ in range(50)] == [200] * 50


def test_wrong_keys_over_http(start_server):
    url = start_server(INKDIGITS_API_KEYS=HASHES).url
    with httpx.Client(base_url=url) as client:
        statuses = [client.post("/predict", headers={"X-API-Key": f"guess {i}"}).status_code for i in range(60)]
    assert set(statuses) == {401, 429}
    assert statuses[0] == 401


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("[2001:db8:1:2::1]:4711", "2001:db8:1:2::7", True),
        ("::ffff:1.2.3.4", "1.2.3.4", True),
        ("1.2.3.4:4711", "1.2.3.4:4712", True),
        ("1.2.3.4", "1.2.3.5", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("unknown", "hidden", False),
    ],
)
def test_an_ipv6_network_is_one_client(one, other, same):
    guard = guard_of(rate_limit=1, rate_burst=1)
    assert admit(guard, 1, one) == 200
    assert admit(guard, 1, other) == (429 if same else 200)


def test_an_error_repeats_little_of_a_long_text(client):
    long = "a" * 5_000_000 + "!"
    problem = client.post("/predict", json={"image": long})
    assert problem.status_code == 400
    assert len(problem.content) < 500


def test_broken_files_have_no_load():
    assert load_of([b"no image", b"\xff\xd8\xff" + b"\xff" * INLINE_BYTES]) == 0


@pytest.mark.parametrize("file", ["digit", "damaged", "other"])
def test_a_large_webp_is_read_in_a_process_of_its_own(recognizer, monkeypatch, file):
    """Pillow decodes it with Python's lock in hand."""
    whole = encode(picture(7, 1200), "WEBP")
    data = {"digit": whole, "damaged": whole[: len(whole) // 2], "other": encode(picture(7, 1200))}[file]
    expected = recognizer.predict_batch([data], errors="return")[0]
    here = []
    monkeypatch.setattr("inkdigits.preprocess.decode", lambda *args: here.append(args) or decode(*args))
    [found] = work.predict_sources(recognizer, [data], Limits(), Metrics(SharedState()))
    assert bool(here) == (file != "digit")  # of half a file the header tells no size
    if file == "damaged":
        assert (type(found), str(found)) == (type(expected), str(expected))
    else:
        assert found.digit == 7
        assert np.array_equal(found.image, expected.image)


def test_a_webp_has_fewer_pixels():
    with pytest.raises(ImageTooLarge, match="the WebP is 4096×4096 = 16,777,216 pixels; at most 12,247,367"):
        preprocess(encode(Image.new("L", (4096, 4096)), "WEBP"))


@pytest.mark.parametrize(
    ("kind", "body", "which"),
    [
        ("application/json" + ";" * 60_000, b"{}", "Content-Type"),
        ("multipart/form-data; boundary=x" + ';"' * 3_000, b"--x--\r\n", "Content-Type"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="a"' + b';"' * 1_900 + b"\r\n\r\nA\r\n--x--\r\n",
            "Content-Disposition",
        ),
    ],
)
def test_options_that_take_time_by_their_square_are_refused(client, kind, body, which):
    answer = client.post("/predict", content=body, headers={"Content-Type": kind})
    assert_problem(answer, 400, "bad-request", which, "the limit is 2,000")


def test_a_long_file_name_is_read(client):
    name = "%F0%9F%98%80" * 80 + ".png"
    answer = client.post("/predict", files=[("a", (name, THREE)), ("b", THREE)])
    assert answer.json()["predictions"][0]["name"] == name


BLAS = """
import inkdigits.server
from threadpoolctl import threadpool_info
print([found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"])
"""


@pytest.mark.parametrize(("given", "expected"), [(None, 1), ("2", min(2, os.cpu_count() or 1))])
def test_a_small_product_is_not_shared_among_threads_that_wait_for_each_other(given, expected):
    environ = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    if given:
        environ["OPENBLAS_NUM_THREADS"] = given
    done = subprocess.run([sys.executable, "-c", BLAS], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"[{expected}]"
