"""Corrections over HTTP: kept with consent, exactly once, and removed for good."""

import base64
import io
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from contextlib import closing
from hashlib import sha256

import httpx
import numpy as np
import pytest
from PIL import Image

from inkdigits import Client, InvalidStrokes, NotAnImage, ServerError
from inkdigits.preprocess.strokes import MAX_POINTS
from inkdigits.self_test import known_digit

from support.corrections import expired_prediction_id
from support.drawings import number_strokes
from support.postgres import postgres, programs
from support.requests import ROW, THREE, assert_problem
from support.servers import Server, samples, until, workers

pytestmark = pytest.mark.slow

KILLS = 10
CLIENTS = 4
STROKES = [stroke.tolist() for stroke in number_strokes("2024")]
SECONDS = 60


def body(**more):
    return {"key": str(uuid.uuid4()), "consent": True, "kind": "corrected", "label": "8", **more}


def file(data=THREE):
    return base64.b64encode(data).decode()


def rows(path, columns="*", table="correction"):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT {columns} FROM {table} ORDER BY id").fetchall()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("feedback") / "feedback.db"


@pytest.fixture(scope="module")
def kept(path):
    """The address of a server with two workers that keeps corrections, and marks all answers for the audit."""
    server = Server("--feedback", str(path), "--workers", "2", "--feedback-audit", "1", "--log-requests", "on")
    try:
        yield server.url
        printed = server.stop()
        assert server.process.returncode == 0
        assert "Traceback" not in printed, printed
        lines = [line for line in printed.splitlines() if "/feedback" in line and " inkdigits.requests: " in line]
        assert len(lines) > 20
        assert not [line for line in lines if "127.0.0.1" in line]
        assert not [line for line in lines if re.search(r"DELETE /feedback/[\w-]", line)]
    finally:
        server.close()


@pytest.fixture(scope="module")
def http(kept):
    with httpx.Client(base_url=kept, timeout=SECONDS) as client:
        yield client


def test_a_server_that_keeps_nothing_says_so(client):
    assert client.get("/model").json()["feedback"] is False
    assert_problem(client.post("/feedback", json=body(image=file())), 405, "method-not-allowed")
    found = client.post("/predict?feedback=true", content=THREE).json()
    assert (found["prediction_id"], found["audit"]) == (None, False)
    with Client(str(client.base_url)) as own, pytest.raises(ServerError, match="keeps no corrections"):
        own.correct(known_digit(), 3, consent=True)


@pytest.mark.smoke
def test_an_answer_is_corrected_by_its_id_in_any_worker(http, path):
    assert http.get("/model").json()["feedback"] is True
    found = http.post("/predict?feedback=true", content=THREE).json()
    assert (found["digit"], found["audit"]) == (3, True)
    sent = body(prediction_id=found["prediction_id"], client="client-1", source="page")
    receipts = []
    for _ in range(6):  # each on a connection of its own, so that both workers get some
        receipts.append(httpx.post(f"{http.base_url}/feedback", json=sent, timeout=SECONDS))
    assert [receipt.status_code for receipt in receipts] == [201] + [200] * 5
    assert len({receipt.text for receipt in receipts}) == 1
    [row] = rows(path, "public_id, label, kind, is_audit, source, client, consent")
    assert row == (receipts[0].json()["id"], "8", "corrected", 1, "page", "client-1", "client")
    [(seen, original)] = rows(path, "seen, original", "picture")
    assert (list(seen), original) == (ROW, None)
    [(task, text, confidence)] = rows(path, "task, text, confidence", "reading")
    assert (task, text) == ("digit", "3")
    assert confidence > 0.9
    conflict = http.post("/feedback", json={**sent, "label": "9"})
    assert_problem(conflict, 409, "feedback-conflict", sent["key"])


def gps_jpeg(digit=3):
    """A photograph that says where it was taken, and lies on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    exif[0x8825] = {1: "N", 2: (52.0, 31.0, 0.0)}
    exif[0x010E] = "SECRET PLACE"
    out = io.BytesIO()
    known_digit(digit).resize((200, 280)).convert("RGB").rotate(90, expand=True).save(out, "JPEG", exif=exif)
    return out.getvalue()


def test_pictures_are_kept_upright_and_without_metadata(http, path):
    before = len(rows(path, table="picture"))
    png = io.BytesIO()
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Author", "SECRET NAME")
    known_digit().save(png, "PNG", pnginfo=info)
    for data in (gps_jpeg(), png.getvalue()):
        assert b"SECRET" in data
        found = http.post("/predict?feedback=true", content=data).json()
        sent = body(prediction_id=found["prediction_id"], image=file(data))
        assert http.post("/feedback", json=sent).status_code == 201
    photo, drawn = rows(path, "original, media", "picture")[before:]
    assert [photo[1], drawn[1]] == ["image/jpeg", "image/png"]
    for original, _ in (photo, drawn):
        assert b"SECRET" not in original
        assert not Image.open(io.BytesIO(original)).getexif()
    assert Image.open(io.BytesIO(photo[0])).size == (200, 280)
    kept_one, sent_one = (np.asarray(Image.open(io.BytesIO(data))) for data in (drawn[0], png.getvalue()))
    assert np.array_equal(kept_one, sent_one)


def test_pictures_that_were_read_elsewhere_are_read_here(http, path):
    before = len(rows(path))
    for sent in (
        body(image=file()),
        body(pixels=ROW, kind="confirmed", label="3"),
        body(strokes=STROKES, label="2025"),
        body(strokes=STROKES, label="2024", kind="confirmed", reading="number"),
        body(image=file(), label="", reading="digit"),
        body(image=file(), label="1,5\n-2", reading="number"),
    ):
        assert http.post("/feedback", json=sent).status_code == 201, sent
    read = rows(path, "task, text", "reading")[-6:]
    assert read == [("digit", "3")] * 2 + [("number", "2024")] * 2 + [("digit", "3"), ("number", "3")]
    assert [label for (label,) in rows(path, "label")[before:]] == ["8", "3", "2025", "2024", "", "1,5\n-2"]
    assert rows(path, "media", "picture")[-4:][0] == ("application/json",)


def test_a_number_is_corrected_by_its_id_and_its_picture(http):
    found = http.post("/read?feedback=true", json={"strokes": STROKES}).json()
    id = found["prediction_id"]
    assert http.post("/feedback", json=body(prediction_id=id, strokes=STROKES, label="2025")).status_code == 201
    several = http.post("/read?feedback=1", json={"instances": [{"strokes": STROKES}, {"pixels": ROW}, 7]}).json()
    ids = [row.get("prediction_id") for row in several["readings"]]
    assert ids[2] is None
    assert len({id, *ids}) == 4
    sent = body(prediction_id=ids[1], pixels=ROW, label="3", kind="confirmed")
    assert http.post("/feedback", json=sent).status_code == 201


def test_what_was_kept_is_removed_for_good(http, path):
    data = gps_jpeg(5)
    receipt = http.post("/feedback", json=body(image=file(data), client="forget-me-1")).json()
    [(picture,)] = rows(path, "original", "picture WHERE media = 'image/jpeg'")[-1:]
    piece = picture[len(picture) // 2 :][:40]
    files = [path, path.with_name(f"{path.name}-wal")]

    def holds(bytes_):
        return any(bytes_ in each.read_bytes() for each in files if each.exists())

    assert holds(piece)
    removed = http.delete(f"/feedback/{receipt['id']}")
    assert (removed.status_code, removed.content) == (204, b"")
    assert not holds(piece)
    assert not holds(b"forget-me-1")
    assert_problem(http.delete(f"/feedback/{receipt['id']}"), 404, "not-found", "no correction with this id")
    assert_problem(http.delete("/feedback/nonsense"), 404, "not-found")
    assert http.get(f"/feedback/{receipt['id']}").status_code == 405


GOOD = {"pixels": ROW}
BAD = [
    ({"consent": None}, 403, "consent-required", "consent is null: nothing was kept"),
    ({"consent": "true"}, 403, "consent-required", 'consent is "true"'),
    ({"consent": 1}, 403, "consent-required", "consent is 1"),
    ({"consent": ...}, 403, "consent-required", "consent is missing"),
    ({"key": ...}, 422, "invalid-feedback", "key is missing; expected 16 to 64"),
    ({"key": "short"}, 422, "invalid-feedback", 'key is "short"; expected 16 to 64'),
    ({"key": "x" * 65}, 422, "invalid-feedback", "key is"),
    ({"key": "sixteen letters é"}, 422, "invalid-feedback", "key is"),
    ({"key": 7}, 422, "invalid-feedback", "key is 7"),
    ({"kind": ...}, 422, "invalid-feedback", "kind is missing; expected one of corrected, confirmed"),
    ({"kind": "audit"}, 422, "invalid-feedback", 'kind is "audit"'),
    ({"kind": ["corrected"]}, 422, "invalid-feedback", "kind is a list of 1"),
    ({"label": ...}, 422, "invalid-feedback", "label is missing"),
    ({"label": 8}, 422, "invalid-feedback", "label is 8; expected text"),
    ({"label": "x"}, 422, "invalid-feedback", 'label is "x"; expected one digit'),
    ({"label": "٣"}, 422, "invalid-feedback", "label is"),
    ({"label": "12", "reading": "digit"}, 422, "invalid-feedback", "expected one digit"),
    ({"label": "one"}, 422, "invalid-feedback", "expected digits with"),
    ({"label": "-.,"}, 422, "invalid-feedback", "expected digits with"),
    ({"label": "1" * 201}, 422, "invalid-feedback", "201 characters; at most 200"),
    ({"label": "=1+1"}, 422, "invalid-feedback", "label is"),
    ({"client": "me@example.com"}, 422, "invalid-feedback", 'client is "me@example.com"; expected null'),
    ({"client": 5}, 422, "invalid-feedback", "client is 5"),
    ({"source": "My Page"}, 422, "invalid-feedback", 'source is "My Page"'),
    ({"source": None}, 422, "invalid-feedback", "source is null"),
    ({"reading": "text"}, 422, "invalid-feedback", 'reading is "text"'),
    ({"labels": "8"}, 422, "invalid-feedback", "unknown field 'labels'; did you mean label?"),
    ({"pixels": ...}, 422, "invalid-feedback", "send one of them"),
    ({"image": "AAAA"}, 422, "invalid-feedback", "image and pixels are both there"),
    ({"pixels": [1, 2]}, 422, "invalid-pixels", "pixels has 2 numbers"),
    ({"pixels": [*ROW[:-1], 256]}, 422, "invalid-pixels", "pixels[783] is 256"),
    ({"pixels": ..., "image": 7}, 400, "unreadable-image", "image is 7"),
    ({"pixels": ..., "image": "http://example.com/3.png"}, 400, "unreadable-image", "not fetched"),
    ({"pixels": ..., "image": base64.b64encode(b"%PDF-1.7").decode()}, 415, "not-an-image", "PDF"),
    ({"pixels": ..., "image": base64.b64encode(THREE[:-30]).decode()}, 400, "unreadable-image", "truncated"),
    ({"pixels": ..., "strokes": []}, 422, "invalid-strokes", "strokes is empty"),
    ({"pixels": ..., "strokes": [[[0, "x"]]]}, 422, "invalid-strokes", "strokes[0][0]"),
    ({"pixels": ..., "strokes": [[[0, 0]] * (MAX_POINTS + 1)]}, 422, "invalid-strokes", "10,000 points"),
    ({"prediction_id": 7}, 422, "invalid-feedback", "prediction_id is 7"),
    ({"prediction_id": "A" * 400}, 422, "invalid-feedback", "which this server has not given"),
    ({"prediction_id": None}, 422, "invalid-feedback", "prediction_id is null"),
]


@pytest.mark.parametrize(("change", "status", "slug", "words"), BAD, ids=lambda each: str(each)[:40])
def test_a_wrong_correction_is_refused_and_nothing_is_kept(http, path, change, status, slug, words):
    before = len(rows(path))
    sent = {name: value for name, value in {**body(**GOOD), **change}.items() if value is not ...}
    assert_problem(http.post("/feedback", json=sent), status, slug, words)
    assert len(rows(path)) == before


def test_a_body_that_is_none_is_refused(http):
    for content, status, slug in (
        (b"", 400, "bad-request"),
        (b"{", 400, "bad-request"),
        (b"[]", 400, "bad-request"),
        (b"[1]" * 9, 400, "bad-request"),
        (b'{"strokes": [' + b"[0]," * 40_000 + b"[0]]}", 413, "too-many-images"),
        (b" " * ((2 << 20) + 1), 413, "body-too-large"),
    ):
        response = http.post("/feedback", content=content, headers={"Content-Type": "application/json"})
        assert_problem(response, status, slug)
    response = http.post("/feedback", content=b"key=1", headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert_problem(response, 415, "unsupported-media-type")
    assert response.headers["accept-post"] == "application/json"
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)
    large = io.BytesIO()
    Image.fromarray(noise).save(large, "PNG")
    response = http.post("/feedback", json=body(image=file(large.getvalue())))
    assert_problem(response, 413, "image-too-large", "at most 1,048,576 are kept")


def test_an_answer_and_what_is_said_of_it_must_fit(http, path):
    found = http.post("/predict?feedback=true", content=THREE).json()["prediction_id"]
    number = http.post("/read?feedback=true", json={"strokes": STROKES}).json()["prediction_id"]
    for sent, words in (
        (body(prediction_id=found, label="3"), 'kind is "corrected" and label is "3", but the answer was "3"'),
        (body(prediction_id=found, label="8", kind="confirmed"), 'the answer was "3"'),
        (body(prediction_id=found, label="33"), "expected one digit"),
        (body(prediction_id=found, reading="number"), "is a digit; leave it out"),
        (body(prediction_id=found, pixels=ROW), "not the one that was answered"),
        (body(prediction_id=number, label="2025"), "a number needs its picture"),
        (body(prediction_id=found[:-1] + ("A" if found[-1] != "A" else "B")), "has not given"),
    ):
        assert_problem(http.post("/feedback", json=sent), 422, "invalid-feedback", words)
    old = body(prediction_id=expired_prediction_id(path))
    assert_problem(http.post("/feedback", json=old), 410, "prediction-expired", "24 hours")
    assert_problem(http.post("/predict?feedback=maybe", content=THREE), 400, "bad-request", "feedback is 'maybe'")


def test_corrections_are_counted(http):
    def counts():
        return samples(http.get("/metrics").text)

    before = counts()
    sent = body(prediction_id=http.post("/predict?feedback=true", content=THREE).json()["prediction_id"])
    for _ in range(2):
        http.post("/feedback", json=sent)
    after = counts()
    for labels in (
        ("inkdigits_feedback_total", ("kind", "corrected")),
        ("inkdigits_feedback_total", ("kind", "repeated")),
        ("inkdigits_audit_total", ("answer", "marked")),
        ("inkdigits_audit_total", ("answer", "returned")),
        ("inkdigits_requests_total", ("route", "/feedback"), ("status", "201")),
        ("inkdigits_requests_total", ("route", "/feedback"), ("status", "200")),
    ):
        assert after[labels] == before.get(labels, 0) + 1, labels


def test_the_client_sends_and_forgets_them(kept, path):
    with Client(kept) as own:
        id = own.correct(known_digit(), 8, consent=True, client="client-2")
        assert rows(path, "public_id, label, kind, source, client")[-1] == (id, "8", "corrected", "client", "client-2")
        assert own.forget(id)
        assert not own.forget(id)
        confirmed = own.correct(STROKES, "2024", consent=True, confirmed=True, key="k" * 20)
        assert own.correct(STROKES, "2024", consent=True, confirmed=True, key="k" * 20) == confirmed
        with pytest.raises(ValueError, match="belongs to a correction with another body"):
            own.correct(STROKES, "2025", consent=True, key="k" * 20)
        for consent in (False, 1, None):
            with pytest.raises(ValueError, match="consent must be True"):
                own.correct(known_digit(), 8, consent=consent)
        with pytest.raises(ValueError, match="label is"):
            own.correct(known_digit(), "x", consent=True)
        with pytest.raises(NotAnImage):
            own.correct(b"%PDF-1.7", 8, consent=True)
        with pytest.raises(InvalidStrokes):
            own.correct([], 8, consent=True)


def test_keys_the_rate_limit_and_other_origins(start_server, tmp_path):
    guarded = ("--api-keys", sha256(b"secret").hexdigest(), "--cors-origins", "https://a.example")
    url = start_server("--feedback", str(tmp_path / "f.db"), *guarded).url
    key = {"Authorization": "Bearer secret"}
    assert_problem(httpx.post(f"{url}/feedback", json=body(pixels=ROW)), 401, "unauthorized")
    made = httpx.post(f"{url}/feedback", json=body(pixels=ROW), headers={**key, "Origin": "https://a.example"})
    assert (made.status_code, made.headers["access-control-allow-origin"]) == (201, "https://a.example")
    assert_problem(httpx.delete(f"{url}/feedback/{made.json()['id']}"), 401, "unauthorized")
    asks = {"Origin": "https://a.example", "Access-Control-Request-Method": "DELETE"}
    assert "DELETE" in httpx.options(f"{url}/feedback/x", headers=asks).headers["access-control-allow-methods"]
    assert httpx.delete(f"{url}/feedback/{made.json()['id']}", headers=key).status_code == 204


def test_what_is_too_old_is_removed_at_the_start(start_server, tmp_path):
    path = tmp_path / "f.db"
    first = start_server("--feedback", str(path))
    assert httpx.post(f"{first.url}/feedback", json=body(pixels=ROW)).status_code == 201
    first.stop()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE picture SET created = '2020-01-01 00:00:00.000000'")
    start_server("--feedback", str(path), "--feedback-days", "0")
    assert len(rows(path)) == 1
    start_server("--feedback", str(path), "--workers", "2")
    until(lambda: rows(path) == [])


def test_without_the_extra_the_server_says_what_to_install(tmp_path):
    code = "import sys; sys.modules['sqlalchemy'] = None; from inkdigits.cli import main; sys.exit(main(sys.argv[1:]))"
    for command in (["serve", "--port", "0", "--feedback", "f.db"], ["feedback", "list", "--feedback", "f.db"]):
        done = subprocess.run([sys.executable, "-c", code, *command], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 2
        assert "pip install 'inkdigits[feedback]'" in done.stderr
        assert done.stderr.count("\n") == 1


class Senders:
    """Clients that send corrections until they are told to stop; they repeat each one until its receipt arrives."""

    def __init__(self, address):
        self.address = address  # a function: a server that comes again has another port
        self.receipts: dict[str, str] = {}
        self.wrong: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _run(self):
        with httpx.Client(timeout=SECONDS) as client:
            while not self._stop.is_set():
                sent = body(pixels=ROW)
                while True:
                    try:
                        response = client.post(f"{self.address()}/feedback", json=sent)
                    except httpx.TransportError:
                        time.sleep(0.02)
                        continue
                    if response.status_code in (200, 201):
                        self.receipts[sent["key"]] = response.json()["id"]
                        break
                    if response.status_code != 503:
                        self.wrong.append(response.text)
                        return
                    time.sleep(0.02)

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(SECONDS)


def test_each_receipt_is_of_one_correction_whatever_is_killed(tmp_path):
    """Ten workers under load, by SIGKILL."""
    path = tmp_path / "f.db"
    server = Server("--feedback", str(path), "--workers", "2")
    try:
        senders = Senders(lambda: server.url)
        for _ in range(KILLS):
            before = len(senders.receipts)
            until(lambda before=before: len(senders.receipts) > before + CLIENTS)
            victim = workers(server)[0]
            subprocess.run(["kill", f"-{int(signal.SIGKILL)}", str(victim)], check=True)
            until(lambda victim=victim: len(found := workers(server)) == 2 and victim not in found)
        senders.stop()
    finally:
        server.close()
    assert senders.wrong == []
    found = rows(path, "key, public_id")
    assert len(senders.receipts) > KILLS * CLIENTS
    assert len(found) == len(dict(found))
    assert senders.receipts.items() <= dict(found).items()
    assert len(rows(path, table="picture")) == len(found)


def test_a_server_whose_database_is_away_asks_to_send_again():
    """PostgreSQL, stopped and started again under load."""
    bin = programs()
    if bin is None:
        pytest.skip("no PostgreSQL server is installed: scripts/get-postgres.sh")
    with postgres(bin) as database:
        server = Server("--feedback", database.url, "--workers", "2")
        try:
            assert httpx.post(f"{server.url}/feedback", json=body(pixels=ROW), timeout=SECONDS).status_code == 201
            database.stop()
            away = httpx.post(f"{server.url}/feedback", json=body(pixels=ROW), timeout=SECONDS)
            assert_problem(away, 503, "store-unavailable", "cannot be used now")
            assert away.headers["retry-after"] == "1"
            assert httpx.post(f"{server.url}/predict", content=THREE).json()["digit"] == 3
            senders = Senders(lambda: server.url)
            database.start()
            until(lambda: len(senders.receipts) > CLIENTS)
            senders.stop()
            assert senders.wrong == []
            kept = database.rows("SELECT key, public_id FROM correction")
            assert senders.receipts.items() <= dict(kept).items()
            assert len(kept) == len(dict(kept))
        finally:
            server.close()
