"""Reviewing over HTTP: who may, what is hidden, and what a verdict does."""

import hashlib
import os
import sqlite3

import httpx
import pytest

from inkdigits.errors import SettingError
from inkdigits.feedback.store import Store
from inkdigits.server import create_app
from inkdigits.settings import Settings

from support.corrections import answer, submission

pytestmark = pytest.mark.slow

KEY, API_KEY = "a-reviewer's-key", "a-client's-key"
REVIEWER = {"Authorization": f"Bearer {KEY}"}


def hashed(key):
    return hashlib.sha256(key.encode()).hexdigest()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("review") / "feedback.db"


@pytest.fixture(scope="module")
def server(path):
    from support.servers import Server

    running = Server("--feedback", str(path), INKDIGITS_REVIEW_KEYS=hashed(KEY), INKDIGITS_API_KEYS=hashed(API_KEY))
    yield running
    printed = running.stop()
    running.close()
    assert "Traceback" not in printed, printed


@pytest.fixture
def review(server, path):
    """An HTTP client of a reviewer, and an empty store."""
    store = Store(str(path))
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("DELETE FROM picture")
    with httpx.Client(base_url=server.url, headers=REVIEWER, timeout=30) as client:
        client.store = store
        yield client
    store.close()


def next_of(review, queue, reviewer="ada"):
    response = review.get("/review/next", params={"queue": queue, "reviewer": reviewer})
    assert response.status_code == 200, response.text
    return response.json()["item"]


def decide(review, row, verdict, reviewer="ada", **more):
    response = review.post(f"/review/{row}", json={"verdict": verdict, "reviewer": reviewer, **more})
    assert response.status_code == 200, response.text
    return response.json()


def test_a_review_from_the_queue_to_the_status(review):
    review.store.add([submission("1", answer(7, confidence=0.6), client="c" * 16, source="page")])
    item = next_of(review, "least-sure")
    assert (item["label"], item["answer"], item["confidence"], item["status"]) == ("1", "7", 0.6, "pending")
    assert item["client"] and item["client"] not in "c" * 16, "a mark, not the id that would name the client"
    assert not [key for key in item if "id" in key.split("_")], "the public id would let a reviewer remove it"
    done = decide(review, item["row"], "relabel", label="4")
    assert done == {
        "row": item["row"], "status": "relabeled", "final": "4", "decided": 1, "label": "1", "answer": "7",
    }  # fmt: skip
    assert next_of(review, "least-sure") is None
    assert next_of(review, "second", "grace")["row"] == item["row"]
    progress = review.get("/review/progress", params={"reviewer": "ada"}).json()
    assert progress["statuses"]["relabeled"] == progress["today"] == 1
    assert decide(review, item["row"], "accept", "grace")["status"] == "held"
    [pair] = review.get("/review/progress", params={"reviewer": "ada"}).json()["agreement"]
    assert (pair["reviewers"], pair["both"], pair["same"]) == (["ada", "grace"], 1, 0)
    assert decide(review, item["row"], "undo", "grace")["status"] == "relabeled"


def test_what_is_blind_is_hidden_until_the_verdict(review):
    review.store.add([submission("1", answer(7, confidence=0.6, audit=True), client="c" * 16)])
    item = next_of(review, "audit")
    assert set(item) == {"row", "reading", "blind", "audit", "created", "seen", "picture", "strokes"}
    assert len(item["seen"]) == 4 * -(-784 // 3)
    done = decide(review, item["row"], "relabel", label="1")
    assert (done["status"], done["label"], done["answer"]) == ("accepted", "1", "7")


def test_a_group_is_settled_together(review):
    look = os.urandom(784)
    review.store.add([submission("3", answer(seen=look)) for _ in range(4)])
    item = next_of(review, "duplicates")
    assert [one["label"] for one in item["group"]] == ["3"] * 4
    assert decide(review, item["row"], "accept", group=True)["decided"] == 4
    assert next_of(review, "duplicates") is None
    assert decide(review, item["row"], "undo", group=True)["decided"] == 4
    assert len(next_of(review, "duplicates")["group"]) == 4


def test_the_present_model_reads_again(review, recognizer):
    import numpy as np

    from inkdigits.self_test import known_digit

    seen = np.rint(recognizer.predict(known_digit(3)).image * 255).astype(np.uint8).tobytes()
    review.store.add([submission("3", answer(8, seen=seen))])
    found = review.get("/review/next", params={"queue": "changed", "reviewer": "ada"}).json()
    assert (found["item"]["answer"], found["item"]["now"]) == ("8", "3")


@pytest.mark.parametrize(
    "address", ["/review/next?queue=held&reviewer=ada", "/review/progress?reviewer=ada", "/review/1"]
)
def test_only_a_reviewers_key_opens_it(server, address):
    method, body = ("POST", {"verdict": "accept", "reviewer": "ada"}) if address == "/review/1" else ("GET", None)
    for headers in ({}, {"X-API-Key": API_KEY}, {"Authorization": "Bearer no"}):
        response = httpx.request(method, server.url + address, json=body, headers=headers)
        assert response.status_code == 401
        assert "review key" in response.json()["detail"]
        assert "cache-control" not in response.headers or "no-store" in response.headers["cache-control"]
    assert httpx.request(method, server.url + address, json=body, headers=REVIEWER).status_code in (200, 404)
    assert httpx.post(f"{server.url}/predict", headers=REVIEWER, content=b"x").status_code == 401, "it is no API key"


def test_the_page_has_the_headers_of_the_pages_and_holds_nothing(server):
    for name in ("", ".css", ".js", "-card.js"):
        response = httpx.get(f"{server.url}/review{name}")
        assert response.status_code == 200
        assert "script-src 'self'" in response.headers["content-security-policy"]
        assert response.headers["x-frame-options"] == "DENY"
    assert "<script>" not in httpx.get(f"{server.url}/review").text
    document = httpx.get(f"{server.url}/openapi.json").json()
    assert not [path for path in document["paths"] if path.startswith("/review")]


WRONG = {
    "accepts": ({"verdict": "accepts", "reviewer": "ada"}, 422, 'verdict is "accepts"; expected one of accept'),
    "no verdict": ({"reviewer": "ada"}, 422, "verdict is null"),
    "no label": ({"verdict": "relabel", "reviewer": "ada"}, 422, "label is null"),
    "label": ({"verdict": "relabel", "reviewer": "ada", "label": "77"}, 422, 'label is "77"; expected one digit'),
    "no name": ({"verdict": "accept"}, 422, "reviewer is NoneType; expected your name"),
    "name": ({"verdict": "accept", "reviewer": "<b>"}, 422, "reviewer is '<b>'"),
    "group": ({"verdict": "accept", "reviewer": "ada", "group": 1}, 422, "group is 1"),
    "unknown": (
        {"verdict": "accept", "reviewer": "ada", "lable": "7"},
        422,
        "unknown field 'lable'; did you mean label",
    ),
    "list": ([], 400, "a list of 0; expected an object"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_verdicts_say_what_is_wrong(review, case):
    review.store.add([submission("1", answer(7, confidence=0.6))])
    row = next_of(review, "least-sure")["row"]
    body, status, detail = WRONG[case]
    response = review.post(f"/review/{row}", json=body)
    assert (response.status_code, detail in response.json()["detail"]) == (status, True), response.text
    assert next_of(review, "least-sure")["status"] == "pending"


def test_wrong_questions_say_what_is_wrong(review):
    for path, status, detail in (
        ("/review/next?queue=helt&reviewer=ada", 400, "did you mean held"),
        ("/review/next?queue=held", 422, "reviewer is NoneType"),
        ("/review/next?queue=held&reviewer=ada&limit=3", 400, "has no query option 'limit'"),
    ):
        response = review.get(path)
        assert (response.status_code, detail in response.json()["detail"]) == (status, True), response.text
    for row in ("0", "99", "x", "²", "9" * 30):
        assert review.post(f"/review/{row}", json={"verdict": "skip", "reviewer": "ada"}).status_code == 404
    assert review.get("/review/1").status_code == 405
    assert review.post("/review/1", content=b"").status_code == 400


def test_without_a_review_key_there_is_no_review(start_server, tmp_path):
    server = start_server("--feedback", str(tmp_path / "feedback.db"))
    for path in ("/review", "/review.js", "/review/next?queue=held&reviewer=ada"):
        assert httpx.get(server.url + path).status_code == 404


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "there is nothing to review; set feedback"),
        ({"review_keys": "secret"}, r"review_keys \(INKDIGITS_REVIEW_KEYS\) contains 'secret'"),
    ],
)
def test_keys_that_open_nothing_are_refused(more, message):
    with pytest.raises(SettingError, match=message):
        create_app(Settings(**{"review_keys": hashed(KEY), **more}))
