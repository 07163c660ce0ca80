"""inkdigits.Client: the Recognizer's own answers through a real server, and what it does when there is none."""

import email.utils
import io
import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from hashlib import sha256

import httpx
import numpy as np
import pytest
from PIL import Image

from inkdigits import (
    Client,
    ImageError,
    ImageTooLarge,
    ImageTooSmall,
    InvalidPixels,
    NotAnImage,
    ServerBusy,
    ServerError,
    ServerUnreachable,
    SettingError,
    UnreadableImage,
)
from inkdigits import client as module
from inkdigits.data.catalog import load
from inkdigits.errors import DataError
from inkdigits.settings import Settings

from support.drawings import picture
from support.requests import THREE, encode


@pytest.fixture(scope="module")
def reader(live_server):
    with Client(live_server) as client:
        yield client


def turned():
    """A photo that lies on its side, and says so in its EXIF."""
    image = Image.fromarray(picture(7)).rotate(90)
    exif = image.getexif()
    exif[274] = 6
    file = io.BytesIO()
    image.save(file, "JPEG", exif=exif)
    return file.getvalue()


def sources(tmp_path):
    ink = picture(5)
    path = tmp_path / "five.png"
    path.write_bytes(encode(ink))
    clear = np.dstack([np.zeros((*ink.shape, 3), np.uint8), 255 - ink])
    return {
        "path": path,
        "text path": str(path),
        "bytes": encode(ink, "WEBP", lossless=True),
        "bytearray": bytearray(encode(ink, "BMP")),
        "file": path.open("rb"),
        "JPEG turned": turned(),
        "uint8": ink,
        "bool": ink > 128,
        "uint16": ink.astype(np.uint16) * 257,
        "colour": np.dstack([ink, ink // 2, ink // 3]),
        "alpha": clear,
        "Pillow": Image.fromarray(ink),
        "Pillow alpha": Image.fromarray(clear),
        "Pillow CMYK": Image.fromarray(ink).convert("CMYK"),
        "Pillow palette": Image.fromarray(ink).convert("P"),
        "Pillow turned": Image.open(io.BytesIO(turned())),
        "not contiguous": picture(5, 560)[::2, ::2],
        "784 bytes": encode(Image.fromarray(picture(1, 14))).ljust(784, b"\0"),
        "blank": np.zeros((30, 30), np.uint8),
    }


def test_any_source_is_read_as_the_recogniser_reads_it(reader, recognizer, tmp_path):
    for name, source in sources(tmp_path).items():
        answer = reader.predict(source)
        if hasattr(source, "seek") and not isinstance(source, Image.Image):
            source.seek(0)
        expected = recognizer.predict(source)
        assert answer == expected, name
        np.testing.assert_allclose(answer.image, expected.image, atol=0.51 / 255)
        if hasattr(source, "close"):
            source.close()


def test_finer_grey_levels_than_8_bits_hold_are_sent_finely(reader, recognizer):
    noise = np.random.default_rng(5).normal(0.9, 0.01, (64, 64)).clip(0, 1)
    noise[12:50, 30:34] = 0.123456
    for source in (noise, Image.fromarray(noise.astype(np.float32)), picture(5).astype(np.uint16) * 200 + 77):
        expected = recognizer.predict(source)
        assert reader.predict(source).probabilities == pytest.approx(expected.probabilities, abs=1e-5)


def test_an_explanation(reader, recognizer):
    got, expected = reader.predict(THREE, explain=True), recognizer.predict(THREE, explain=True)
    np.testing.assert_allclose(got.explanation, expected.explanation, atol=0.0006)
    assert reader.predict(THREE).explanation is None
    first, second = reader.predict_many([THREE, np.zeros((28, 28), np.uint8)], explain=True)
    np.testing.assert_array_equal(first.explanation, got.explanation)
    assert second.explanation is None


@pytest.fixture
def digits(record_property):
    """Real handwriting with its labels: MNIST's where they are, else scikit-learn's."""
    try:
        data = load("mnist", Settings.from_env({"INKDIGITS_DATA": os.environ["INKDIGITS_DATA"]}), part="test")
    except (KeyError, DataError):
        record_property("weaker", "300 of scikit-learn's digits in place of MNIST's")
        data = load("digits", Settings(), part="all")
    return data.images[:300], data.labels[:300]


def test_many_images_of_real_handwriting(reader, recognizer, digits):
    images, labels = digits
    answers = list(reader.predict_many(iter(images)))
    assert [a.digit for a in answers] == [p.digit for p in recognizer.predict_batch(images)]
    assert np.mean([a.digit == label for a, label in zip(answers, labels, strict=True)]) > 0.9


def test_many_images_are_streamed_in_order_and_a_broken_one_keeps_its_place(reader, tmp_path):
    taken = []

    def images():
        for i in range(70):
            taken.append(i)
            yield {7: b"no image", 8: tmp_path / "missing.png", 41: np.zeros((4, 4), np.uint8)}.get(i, picture(i % 10))

    answers = reader.predict_many(images(), errors="return", batch_size=10)
    first = next(answers)
    assert (first.digit, len(taken)) == (0, 11)
    rest = [first, *answers]
    assert [type(a) for i, a in enumerate(rest) if i in (7, 8, 41)] == [NotAnImage, UnreadableImage, ImageTooSmall]
    assert all(a.digit == i % 10 for i, a in enumerate(rest) if i not in (7, 8, 41))
    assert list(reader.predict_many([])) == []
    [alone] = reader.predict_many([b"no image"], errors="return")
    assert isinstance(alone, NotAnImage)


def test_the_first_that_cannot_be_read_is_raised_with_its_place(reader):
    answers = reader.predict_many([THREE, THREE, b"no image", THREE])
    assert next(answers) == next(answers)
    with pytest.raises(NotAnImage) as caught:
        next(answers)
    assert caught.value.__notes__ == ["at index 2 of the images"]


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (b"hello", NotAnImage),
        (b"", NotAnImage),
        (THREE[:-40], UnreadableImage),
        ("/no/such/file.png", UnreadableImage),
        ("a\0b", UnreadableImage),
        (io.StringIO("text"), NotAnImage),
        (7, NotAnImage),
        (np.zeros((4, 4), np.uint8), ImageTooSmall),
        (encode(np.zeros((4, 4), np.uint8)), ImageTooSmall),
        (np.full((30, 30), 2.0), InvalidPixels),
        (bytes(20 << 20) + b"1", ImageTooLarge),
    ],
)
def test_what_cannot_be_read_raises_as_the_recogniser_does(reader, source, kind):
    with pytest.raises(kind) as caught:
        reader.predict(source)
    assert str(caught.value)


def test_a_server_that_wants_a_key(start_server):
    url = start_server(INKDIGITS_API_KEYS=sha256(b"a key of mine").hexdigest()).url
    with Client(url, api_key="a key of mine", headers={"X-Request-ID": "mine"}) as client:
        assert client.predict(THREE).digit == 3
    for options in ({}, {"api_key": "another"}):
        with Client(url, **options) as client, pytest.raises(ServerError, match=r"status 401.*API key"):
            client.predict(THREE)
    for key in ("", " ", "a\r\nX: 1", "schlüssel", "trailing "):
        with pytest.raises(SettingError, match=f"the API key of {len(key)} characters") as raised:
            Client(url, api_key=key)
        assert not key.strip() or key not in str(raised.value)


def test_batches_are_made_smaller_for_a_server_that_takes_less(start_server):
    server = start_server("--max-files", "3", "--max-bytes", "8000")
    with Client(server.url) as client:
        images = [picture(i % 10, 100) for i in range(20)]
        assert [p.digit for p in client.predict_many(images)] == [i % 10 for i in range(20)]
        assert list(client.predict_many([THREE, bytes(9000)], errors="return"))[1].__class__ is ImageTooLarge


def test_the_model(reader, recognizer):
    assert reader.model()["sha256"] == recognizer.model.sha256
    assert repr(reader).startswith("Client('http://127.0.0.1:")


def test_arguments_that_cannot_be(reader):
    with pytest.raises(ValueError, match="errors must be"):
        reader.predict_many([], errors="ignore")
    with pytest.raises(ValueError, match="batch_size must be 1 or more, not 0"):
        reader.predict_many([], batch_size=0)
    with pytest.raises(TypeError, match="not one str; use predict"):
        reader.predict_many("seven.png")


@pytest.mark.parametrize("url", ["", "example.com", "ftp://example.com", "http://", "http://[", "localhost:9696"])
def test_addresses_that_are_none(url):
    with pytest.raises(SettingError, match="the server's address is"):
        Client(url)


class Script:
    """A server that answers by a list, then goes on with its last answer; and the waits of its client."""

    def __init__(self, monkeypatch, *answers):
        self.answers, self.asked, self.waits = answers, 0, []
        monkeypatch.setattr(module.time, "sleep", self.waits.append)

    def client(self, **options):
        return Client("http://server", transport=httpx.MockTransport(self._answer), **options)

    def _answer(self, request):
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer


def busy(status=503, **headers):
    return httpx.Response(status, headers=headers, json={"detail": "the queue is full"})


MODEL = httpx.Response(200, json={"name": "cnn"})


@pytest.mark.parametrize(
    "fault",
    [busy(), busy(429), httpx.ConnectError("refused"), httpx.RemoteProtocolError("dropped"), httpx.ReadError("")],
)
def test_a_server_that_cannot_answer_now_is_asked_again(monkeypatch, fault):
    script = Script(monkeypatch, fault, fault, MODEL)
    with script.client() as client:
        assert client.model() == {"name": "cnn"}
    assert script.asked == 3
    assert 0 <= script.waits[0] <= 0.2
    assert 0 <= script.waits[1] <= 0.4


def test_the_waits_double_and_differ(monkeypatch):
    waits = []
    for _ in range(200):
        script = Script(monkeypatch, busy())
        with script.client(retries=5) as client, pytest.raises(ServerBusy):
            client.model()
        waits.append(script.waits)
    longest = np.max(waits, axis=0)
    np.testing.assert_allclose(longest, 0.2 * 2.0 ** np.arange(5), rtol=0.1)
    assert len(np.unique(waits)) == 1000


def test_the_server_says_when_to_come_back(monkeypatch):
    script = Script(monkeypatch, busy(**{"Retry-After": "3"}), MODEL)
    with script.client() as client:
        client.model()
    assert 3 <= script.waits[0] <= 3.2
    later = email.utils.format_datetime(email.utils.localtime().replace(microsecond=0))
    for text, low, high in ((later, 0, 0.2), ("nonsense", 0, 0.2), ("-5", 0, 0.2)):
        script = Script(monkeypatch, busy(**{"Retry-After": text}), MODEL)
        with script.client() as client:
            client.model()
        assert low <= script.waits[0] <= high
    date = email.utils.formatdate(time.time() + 10, usegmt=True)
    script = Script(monkeypatch, busy(**{"Retry-After": date}), MODEL)
    with script.client() as client:
        client.model()
    assert 8 <= script.waits[0] <= 10.3


def test_a_server_that_asks_for_too_long_is_not_waited_for(monkeypatch):
    script = Script(monkeypatch, busy(429, **{"Retry-After": "3600"}))
    with script.client() as client, pytest.raises(ServerBusy, match=r"asked once.*queue is full.*come back in 3600 s"):
        client.model()
    assert script.waits == []


def test_it_gives_up_after_the_retries(monkeypatch):
    script = Script(monkeypatch, busy())
    with script.client(retries=2) as client, pytest.raises(ServerBusy, match=r"asked 3 times\): the queue is full"):
        client.predict(THREE)
    assert script.asked == 3
    script = Script(monkeypatch, httpx.ConnectError("refused"))
    with (
        script.client(retries=0) as client,
        pytest.raises(ServerUnreachable, match=r"refused \(asked once\); does it run"),
    ):
        client.predict(THREE)


def test_other_errors_are_told_and_not_repeated(monkeypatch):
    problem = {"type": "/docs#internal-error", "detail": "a fault in the server"}
    for answer, words in (
        (httpx.Response(500, json=problem), "status 500: a fault in the server"),
        (httpx.Response(404, text="<html>"), "status 404: Not Found"),
        (httpx.Response(401, json=["no"]), "status 401: Unauthorized"),
        (httpx.Response(200, text="<html>"), "no JSON object; is it inkdigits"),
        (httpx.Response(200, json=[1]), "no JSON object"),
        (httpx.Response(200, json={"digit": 3}), "is no prediction .KeyError"),
        (httpx.UnsupportedProtocol("odd"), "cannot ask http://server: odd"),
        (httpx.ReadTimeout("slow"), "did not answer in time .slow."),
    ):
        script = Script(monkeypatch, answer)
        with script.client() as client, pytest.raises(ServerError, match=words):
            client.predict(THREE)
        assert script.asked == 1
    script = Script(monkeypatch, httpx.Response(200, json={"predictions": []}))
    with script.client() as client, pytest.raises(ServerError, match="did not give 2 images as many"):
        list(client.predict_many([THREE, THREE]))


def test_nobody_listens_and_somebody_who_never_answers():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        slow = Client(f"http://{host}:{port}/", timeout=0.2)
        with slow, pytest.raises(ServerUnreachable, match="did not answer in time"):
            slow.predict(THREE)
    with Client(f"http://{host}:{port}", retries=1) as client, pytest.raises(ServerUnreachable, match="asked 2 times"):
        client.predict(THREE)


def test_threads_share_a_client(reader):
    wrong = []

    def read(digit):
        for _ in range(5):
            if reader.predict(picture(digit)).digit != digit:
                wrong.append(digit)

    threads = [
        threading.Thread(target=read, args=(digit,)) for digit in itertools.islice(itertools.cycle(range(10)), 8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_inkdigits_does_not_import_httpx_and_all_names_are_there_without_it():
    assert run("import sys, inkdigits; inkdigits.Recognizer; print('httpx' in sys.modules)") == "False\n"
    code = (
        "import sys; sys.modules['httpx'] = None\n"
        "from inkdigits import *\n"
        "try: Client()\n"
        "except SettingError as error: print(error)"
    )
    assert "pip install 'inkdigits[client]'" in run(code)
    assert issubclass(ServerUnreachable, ServerError)
    assert not issubclass(ServerError, ImageError)
