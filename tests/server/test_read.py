"""POST /read: every form a client sends gets the Recognizer's own reading, and every fault its problem document."""

import asyncio
import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.parse import urlencode

import httpx
import numpy as np
import pytest
from PIL import Image

from inkdigits import Box, Number, Reading, Recognizer
from inkdigits.self_test import DIGIT
from inkdigits.server import create_app
from inkdigits.server import inference as work
from inkdigits.server.payloads import Input
from inkdigits.server.read import MAX_ALTERNATIVES, MAX_LENGTH, render_readings
from inkdigits.settings import Settings

from support.drawings import number, number_strokes, picture
from support.requests import FORMATS, HASHES, KEYS, PICTURE, ROW, THREE, assert_problem, encode
from support.servers import samples

NUMBER = encode(number("2024"))
STROKES = [stroke.tolist() for stroke in number_strokes("2024")]
DATA_URL = f"data:image/png;base64,{base64.b64encode(NUMBER).decode()}"
NOTES = b"%PDF-1.7"
FORM = "application/x-www-form-urlencoded"


def reading_of(recognizer, source, **options):
    """What the server must answer for an image."""
    found = {**recognizer.read(source, **options).to_dict(), "model": recognizer.model.name}
    return json.loads(json.dumps(found))


BODIES = {
    **{form: {"content": encode(number("2024"), form)} for form in FORMATS},
    "named": {"content": NUMBER, "headers": {"Content-Type": "image/x-whatever"}},
    "octets": {"content": NUMBER, "headers": {"Content-Type": "application/octet-stream"}},
    "a file": {"files": {"anything": ("number.png", NUMBER)}},
    "a text field": {"files": {"image": (None, DATA_URL)}},
    "a form": {"content": urlencode({"image": DATA_URL}), "headers": {"Content-Type": FORM}},
    "JSON": {"json": {"image": DATA_URL}},
}


@pytest.mark.parametrize("body", BODIES)
def test_a_number_in_every_form(client, recognizer, body):
    source = BODIES[body]["content"] if body in FORMATS else NUMBER
    answer = client.post("/read", **BODIES[body]).json()
    assert answer == reading_of(recognizer, source)
    assert answer["text"] == "2024"
    assert answer["numbers"][0]["value"] == 2024
    assert [digit["digit"] for digit in answer["numbers"][0]["digits"]] == [2, 0, 2, 4]


DIGITS = {
    "numbers": {"json": {"pixels": ROW}},
    "rows": {"json": {"pixels": PICTURE.tolist()}},
    "names": {"json": {f"pixel{i}": value for i, value in enumerate(ROW)}},
    "bytes": {"content": PICTURE.tobytes()},
}


@pytest.mark.parametrize("body", DIGITS)
def test_pixels_as_numbers(client, recognizer, body):
    answer = client.post("/read", **DIGITS[body]).json()
    assert answer == reading_of(recognizer, PICTURE)
    assert answer["text"] == str(DIGIT)


@pytest.mark.parametrize("digit", range(10))
def test_one_digit_is_read_as_it_is_predicted(client, digit):
    file = encode(picture(digit))
    predicted, read = (client.post(path, content=file).json() for path in ("/predict", "/read"))
    [number] = read["numbers"]
    assert (read["text"], number["value"]) == (str(predicted["digit"]), digit)
    assert (read["confidence"], number["confidence"]) == (predicted["confidence"],) * 2
    assert (number["box"], read["polarity"], read["model"]) == tuple(
        predicted[key] for key in ("box", "polarity", "model")
    )


def test_a_blank_image(client, recognizer):
    blank = encode(np.full((60, 90), 255, np.uint8))
    answer = client.post("/read", content=blank).json()
    assert answer == reading_of(recognizer, blank)
    assert (answer["text"], answer["blank"], answer["is_number"], answer["numbers"]) == ("", True, False, [])


def test_several_files_of_which_one_cannot_be_read(client, recognizer):
    files = [("a", ("2024.png", NUMBER)), ("b", ("notes.pdf", NOTES)), ("c", ("3.png", THREE))]
    first, second, third = client.post("/read", files=files).json()["readings"]
    assert first == {"name": "2024.png", **reading_of(recognizer, NUMBER)}
    assert third == {"name": "3.png", **reading_of(recognizer, THREE)}
    assert second["name"] == "notes.pdf"
    assert second["error"]["type"] == "/docs#not-an-image"
    assert client.post("/read", files=files[:1]).json() == reading_of(recognizer, NUMBER)
    assert_problem(client.post("/read", files=files[1:2]), 415, "not-an-image")


def test_instances_of_every_kind(client, recognizer):
    instances = [{"strokes": STROKES}, {"image": DATA_URL}, ROW, {"strokes": [[[1, 2], [3, None]]]}, {"other": 1}]
    rows = client.post("/read", json={"instances": instances}).json()["readings"]
    assert [row["name"] for row in rows] == [f"instances[{i}]" for i in range(5)]
    assert [row.get("text") for row in rows] == ["2024", "2024", str(DIGIT), None, None]
    assert rows[0] == {"name": "instances[0]", **reading_of(recognizer, STROKES)}
    assert rows[3]["error"]["detail"].startswith("instances[3].strokes[0][1] is [3, null]; expected [x, y]")
    assert "nor strokes (keys: other)" in rows[4]["error"]["detail"]
    assert len(client.post("/read", json={"instances": instances[:1]}).json()["readings"]) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"layout": "line"},
        {"layout": "lines"},
        {"layout": "boxes"},
        {"layout": "grid"},
        {"length": 4},
        {"length": 3},
        {"pattern": "dddd"},
        {"pattern": "d.ddd"},
        {"decimal": "."},
        {"decimal": ",", "alternatives": 2},
        {"alternatives": MAX_ALTERNATIVES, "layout": "line", "length": 4},
    ],
)
def test_every_option_is_that_of_the_recognizer(client, recognizer, options):
    assert client.post("/read", params=options, content=NUMBER).json() == reading_of(recognizer, NUMBER, **options)


def test_options_change_what_is_read(client):
    def read(**options):
        return client.post("/read", params=options, content=NUMBER).json()["numbers"][0]

    assert len(read(alternatives=2)["alternatives"]) == 2
    assert read()["alternatives"] == []
    assert sum(char["digit"] is not None for char in read(length=3)["digits"]) == 3 or not read(length=3)["is_number"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("layout=circle", ["layout must be one of 'auto', 'line'", "not 'circle'"]),
        ("layout=", ["layout must be one of", "not ''"]),
        ("length=0", ["length is '0'", f"from 1 to {MAX_LENGTH}"]),
        ("length=8.5", ["length is '8.5'", f"from 1 to {MAX_LENGTH}"]),
        (f"length={MAX_LENGTH + 1}", [f"length is '{MAX_LENGTH + 1}'"]),
        ("length=" + "9" * 5000, ["length has 5,000 characters; the limit is 100"]),
        ("pattern=ab", ["pattern must be", '"dd.dd.dddd"', "not 'ab'"]),
        ("pattern=..", ["pattern must be", "not '..'"]),
        ("pattern=" + "d" * (MAX_LENGTH + 1), ["pattern has 101 characters; the limit is 100"]),
        ("length=3&pattern=dd", ["length is 3", "'dd' has 2 digits"]),
        ("decimal=%3B", ["decimal must be", "not ';'"]),
        ("alternatives=-1", ["alternatives is '-1'", f"from 0 to {MAX_ALTERNATIVES}"]),
        (f"alternatives={MAX_ALTERNATIVES + 1}", [f"alternatives is '{MAX_ALTERNATIVES + 1}'"]),
        ("lenght=8", ["/read has no query option 'lenght'; did you mean length?"]),
        ("top=3", ["/read has no query option 'top'", "layout, length, pattern, decimal, alternatives"]),
        ("&".join(f"a{i}=1" for i in range(101)), ["more than 100 options"]),
    ],
)
def test_an_option_that_cannot_be_is_named_with_its_fix(client, query, words):
    assert_problem(client.post(f"/read?{query}", content=NUMBER), 400, "bad-request", *words)


# Drawings


@pytest.mark.parametrize("unit", [1e-4, 1.0, 3e5])
def test_a_drawing_in_any_unit_has_its_boxes_there(client, recognizer, unit):
    strokes = [(stroke * unit + (-50 * unit, 7 * unit)).tolist() for stroke in number_strokes("2024")]
    answer = client.post("/read", json={"strokes": strokes}).json()
    assert answer == reading_of(recognizer, strokes)
    [number] = answer["numbers"]
    assert number["value"] == 2024
    points = np.concatenate(strokes)
    pen = 0.06 * np.ptp(points[:, 1])  # ink is as wide as the pen
    edges = [*points.min(axis=0), *points.max(axis=0)]
    np.testing.assert_allclose([*number["box"].values()], edges, atol=pen)


def test_a_drawing_of_one_digit_is_one_digit(client):
    for digit in range(10):
        strokes = [stroke.tolist() for stroke in number_strokes(str(digit))]
        assert client.post("/read", json={"strokes": strokes}).json()["text"] == str(digit)


def test_a_drawing_without_strokes_is_blank(client):
    assert client.post("/read", json={"strokes": []}).json()["blank"]


POINT = "expected [x, y], two numbers from -1,000,000,000 to 1,000,000,000"


@pytest.mark.parametrize(
    ("strokes", "detail"),
    [
        ("[]", 'strokes is "[]"; expected a list of strokes, each a list of points [x, y]'),
        (None, "strokes is null; expected a list of strokes"),
        ([7], "strokes[0] is 7; expected a list of strokes"),
        ([{"x": [1], "y": [2]}], "strokes[0] is an object; expected a list of strokes"),
        ([[[1, 2]], []], "strokes[1] has no points; leave it out"),
        ([[1, 2]], f"strokes[0][0] is 1; {POINT}"),
        ([[[1, 2], [1, 2, 0.5]]], f"strokes[0][1] is a list of 3; {POINT}"),
        ([[["7", 3]]], f'strokes[0][0] is ["7", 3]; {POINT}'),
        ([[[True, 3]]], f"strokes[0][0] is [true, 3]; {POINT}"),
        ([[[3, 2e9]]], f"strokes[0][0] is [3, 2000000000.0]; {POINT}"),
        ([[["y" * 50, 1]]], f'strokes[0][0] is ["{"y" * 39}…, 1]; {POINT}'),
        ([[[0, 0]]] * 2001, "strokes has 2,001 strokes; the limit is 2,000"),
        ([[[0, 0]] * 5001] * 2, "strokes has more than 10,000 points, the limit"),
    ],
)
def test_strokes_that_cannot_be_drawn(client, strokes, detail):
    assert_problem(client.post("/read", json={"strokes": strokes}), 422, "invalid-strokes", detail)


def test_coordinates_that_are_no_numbers(client):
    headers = {"Content-Type": "application/json"}
    for text, seen in (("NaN", "NaN"), ("-Infinity", "-Infinity"), ("1" + "0" * 400, "a number of more than 40")):
        answer = client.post("/read", content=f'{{"strokes": [[[1, 2], [{text}, 4]]]}}', headers=headers)
        if answer.status_code == 422:
            assert_problem(answer, 422, "invalid-strokes", f"strokes[0][1] is [{seen}")
        else:
            assert_problem(answer, 400, "bad-request", "not valid JSON")


def test_the_longest_drawing_is_read_and_costs_little_more(client, start_server):
    zigzag = np.random.default_rng(0).uniform(0, 1000, (10_000, 2)).round(1).tolist()
    assert not client.post("/read", json={"strokes": [zigzag]}).json()["blank"]
    # A server for one image takes one such drawing, too.
    one = start_server("--max-files", "1").url
    assert not httpx.post(f"{one}/read", json={"strokes": [zigzag]}, timeout=20).json()["blank"]
    assert_problem(httpx.post(f"{one}/read", json={"strokes": [zigzag] * 2}, timeout=20), 413, "too-many-images")


def test_predict_reads_no_strokes(client):
    assert_problem(client.post("/predict", json={"strokes": STROKES}), 422, "invalid-pixels", "(keys: strokes)")


# Requests


def test_the_route(client):
    assert client.post("/read/", content=NUMBER).json()["text"] == "2024"
    assert_problem(client.get("/read"), 405, "method-not-allowed", "allowed: POST")
    answer = client.post("/read", content=NUMBER, headers={"X-Request-ID": "mine"})
    assert (answer.headers["x-request-id"], answer.headers["content-type"]) == ("mine", "application/json")
    assert_problem(client.post("/read"), 400, "bad-request", "the body is empty")
    text = client.post("/read", content="7", headers={"Content-Type": "text/plain"})
    assert_problem(text, 415, "unsupported-media-type", "text/plain")
    assert_problem(client.post("/read", content=NUMBER[:-40]), 400, "unreadable-image")
    packed = client.post("/read", content=NUMBER, headers={"Content-Encoding": "gzip"})
    assert_problem(packed, 415, "unsupported-media-type", "gzip")


def test_limits_are_settings(start_server):
    server = start_server("--max-bytes", "20000", "--max-pixels", "90000", "--max-files", "3")
    with httpx.Client(base_url=server.url, timeout=20) as client:
        assert_problem(client.post("/read", content=bytes(20001)), 413, "body-too-large", "20,001")
        assert_problem(client.post("/read", content=encode(picture(1, 400))), 413, "image-too-large", "90,000")
        files = [("f", ("3.png", THREE))] * 4
        assert_problem(client.post("/read", files=files), 413, "too-many-images", "3")
        assert len(client.post("/read", files=files[1:]).json()["readings"]) == 3


def test_what_takes_too_long_in_all_is_rejected_before_it_is_decoded(client):
    page = encode(np.full((1500, 1500), 255, np.uint8))
    answer = client.post("/read", files=[("f", (f"{i}.png", page)) for i in range(5)])
    cost = 5 * (3 * 1500**2 + 8 * 1_500_000)
    assert_problem(answer, 413, "too-many-images", f"reading this request takes as long as {cost:,} pixels")
    assert len(client.post("/predict", files=[("f", (f"{i}.png", page)) for i in range(5)]).json()["predictions"]) == 5


def in_process(ask, settings=None):
    """What a service answers without a connection."""

    async def run():
        service = create_app(settings or Settings())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(service), base_url="http://test") as client:
            return await ask(client)

    return asyncio.run(run())


def test_the_time_of_a_request_is_bounded(monkeypatch):
    """By the processor's clock, which here goes on by a fifth of a second with each look."""
    clock = iter(np.arange(0, 100, 0.2))
    monkeypatch.setattr(work, "thread_time", lambda: next(clock))

    async def ask(client):
        return [await client.post("/read", json={"instances": [ROW] * count}) for count in (4, 20)]

    four, twenty = in_process(ask)
    assert [row["text"] for row in four.json()["readings"]] == [str(DIGIT)] * 4
    assert_problem(twenty, 413, "too-many-images", "of the request's 20 images took 0.75 s of CPU time")


def test_nothing_is_read_in_the_event_loop(monkeypatch):
    threads, read = [], Recognizer.read_decoded

    def noted(*args):
        threads.append(threading.get_ident())
        return read(*args)

    async def ask(client):
        monkeypatch.setattr(Recognizer, "read_decoded", noted)  # now that the service has read its examples
        return [await client.post("/read", content=file) for file in (THREE, NUMBER)]

    assert [answer.json()["text"] for answer in in_process(ask)] == [str(DIGIT), "2024"]
    assert len(threads) == 2
    assert threading.get_ident() not in threads


def test_more_than_the_server_can_read_is_shed(start_server):
    server = start_server("--max-heavy", "1")
    sheet = encode(np.tile(number("2024"), (6, 2)))
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: httpx.post(f"{server.url}/read", content=sheet, timeout=60), range(48)))
    shed = [answer for answer in answers if answer.status_code == 503]
    assert {answer.status_code for answer in answers} == {200, 503}
    for answer in shed:
        assert_problem(answer, 503, "overloaded", "large requests are in progress")
        assert answer.headers["retry-after"] == "1"
    found = samples(httpx.get(f"{server.url}/metrics").text)
    assert found["inkdigits_shed_total", ("reason", "heavy")] == len(shed)
    assert found["inkdigits_requests_total", ("route", "/read"), ("status", "503")] == len(shed)
    assert httpx.post(f"{server.url}/read", content=NUMBER).json()["text"] == "2024"


def test_keys_and_rates_hold(start_server):
    server = start_server("--api-keys", HASHES, "--rate-limit", "1", "--rate-burst", "4")
    key = {"X-API-Key": KEYS[0].decode()}
    with httpx.Client(base_url=server.url, timeout=20) as client:
        assert_problem(client.post("/read", content=NUMBER), 401, "unauthorized")
        assert client.post("/read", content=NUMBER, headers=key).json()["text"] == "2024"
        too_many = client.post("/read", json={"instances": [ROW] * 5}, headers=key)
        assert_problem(too_many, 413, "too-many-images", "the rate limit allows 4 at once")
        rest = client.post("/read", json={"instances": [ROW] * 4}, headers=key)
        assert_problem(rest, 429, "rate-limited", "1 predictions per second")
        assert int(rest.headers["retry-after"]) >= 1


def test_two_workers_count_together_and_log(start_server):
    server = start_server("--workers", "2", "--log-requests", "on", "--log-format", "json")
    blank = encode(np.full((40, 40), 255, np.uint8))
    for file in [NUMBER] * 6 + [blank]:
        assert httpx.post(f"{server.url}/read", content=file, timeout=20).status_code == 200
    assert httpx.post(f"{server.url}/read", content=NOTES).status_code == 415
    for _ in range(4):  # whichever worker answers
        found = samples(httpx.get(f"{server.url}/metrics").text)
        assert found["inkdigits_requests_total", ("route", "/read"), ("status", "200")] == 7
        assert found["inkdigits_requests_total", ("route", "/read"), ("status", "415")] == 1
        outcomes = {o: found["inkdigits_readings_total", ("outcome", o)] for o in ("accepted", "rejected", "blank")}
        assert outcomes == {"accepted": 6, "rejected": 0, "blank": 1}
        assert found["inkdigits_request_seconds_count", ("stage", "read")] == 8
        assert found["inkdigits_request_seconds_sum", ("stage", "read")] > 0
        assert found["inkdigits_predictions_total", ("digit", "2")] == 0
    lines = [json.loads(line) for line in server.stop().splitlines()]
    posts = [line for line in lines if line["logger"] == "inkdigits.requests" and line["method"] == "POST"]
    assert {(line["path"], line["status"]) for line in posts} == {("/read", 200), ("/read", 415)}


def test_pages_of_other_origins(start_server):
    url = start_server(INKDIGITS_CORS_ORIGINS="https://draw.example").url
    origin = {"Origin": "https://draw.example"}
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    preflight = httpx.options(f"{url}/read", headers={**origin, **asked})
    answer = httpx.post(f"{url}/read", json={"strokes": STROKES}, headers=origin)
    assert answer.json()["text"] == "2024"
    for response in (preflight, answer):
        assert response.headers["access-control-allow-origin"] == "https://draw.example"


def test_a_large_webp_is_decoded_in_a_process_of_its_own(client, recognizer):
    """Pillow decodes it with Python's lock in hand."""
    file = encode(Image.fromarray(number("2024")).resize((1600, 640)), "WEBP")
    assert client.post("/read", content=file).json() == reading_of(recognizer, file)
    expected = client.post("/predict", content=file[: len(file) // 2])
    assert client.post("/read", content=file[: len(file) // 2]).json() == expected.json()


def test_a_value_beyond_64_bits_is_written_in_full(recognizer):
    value = int("1234567890" * 4)
    box = Box(0, 0, 9, 9)
    reading = Reading((Number(str(value), value, 0.9, True, box, ()),), ((0,),), None, "dark-on-light")
    small = replace(reading, numbers=(replace(reading.numbers[0], value=-(2**62)),))
    for found in (reading, small):
        answer = json.loads(render_readings(recognizer, [Input(b"")], False, [found]))
        assert answer["numbers"][0]["value"] == found.numbers[0].value
        assert Reading.from_dict(answer) == found
