"""POST /predict: every form a client sends gets the Recognizer's own answer, and every fault its problem document."""

import json
import random
import socket

import httpx
import numpy as np
import pytest

from inkdigits import Limits
from inkdigits.self_test import DIGIT
from inkdigits.server.cost import INLINE_IMAGES, is_heavy, load_of
from inkdigits.server.inference import INLINE_BYTES

from support.drawings import picture
from support.requests import FORMATS, ROW, THREE, answer_of, assert_problem, encode, png_that_claims


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("content_type", ["image/png", "image/x-whatever", "application/octet-stream", None])
def test_a_raw_image_of_any_format_under_any_name(client, recognizer, form, content_type):
    body = encode(picture(7), form)
    response = client.post("/predict", content=body, headers={"Content-Type": content_type} if content_type else {})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == answer_of(recognizer, body)
    assert response.json()["digit"] == 7


@pytest.mark.parametrize("digit", range(10))
def test_every_digit(client, digit):
    for image in (picture(digit), 255 - picture(digit)):
        assert client.post("/predict", content=encode(image)).json()["digit"] == digit


def test_what_curl_sends_by_itself(client):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/predict", content=THREE, headers=form).json()["digit"] == DIGIT
    assert client.post("/predict", content=json.dumps({"pixels": ROW}), headers=form).json()["digit"] == DIGIT


def test_one_multipart_file_is_one_answer(client, recognizer):
    response = client.post("/predict", files={"whatever": ("three.png", THREE, "text/plain")})
    assert response.json() == answer_of(recognizer, THREE)


def test_several_files_are_answered_in_order_and_a_broken_one_holds_its_error(client, recognizer):
    images = {f"{digit}.png": encode(picture(digit)) for digit in (4, 0, 9)}
    files = [("a", (name, data)) for name, data in images.items()]
    files.insert(1, ("b", ("notes.pdf", b"%PDF-1.7".ljust(100))))
    files.append(("a", ("cut.png", THREE[:-40])))
    response = client.post("/predict", files=files, data={"comment": "a text field is no image"})
    assert response.status_code == 200
    rows = response.json()["predictions"]
    assert [row["name"] for row in rows] == ["4.png", "notes.pdf", "0.png", "9.png", "cut.png"]
    for row in rows[:1] + rows[2:4]:
        assert {k: v for k, v in row.items() if k != "name"} == answer_of(recognizer, images[row["name"]])
    assert (rows[1]["error"]["status"], rows[1]["error"]["type"]) == (415, "/docs#not-an-image")
    assert "PDF" in rows[1]["error"]["detail"]
    assert (rows[4]["error"]["status"], rows[4]["error"]["type"]) == (400, "/docs#unreadable-image")


def test_an_image_part_without_a_file_name_and_an_empty_file_input(client):
    body = (
        b'--x\r\nContent-Disposition: form-data; name="image"\r\nContent-Type: image/png\r\n\r\n' + THREE + b"\r\n"
        b'--x\r\nContent-Disposition: form-data; name="other"; filename=""\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n\r\n--x--\r\n"
    )
    response = client.post("/predict", content=body, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert response.json()["digit"] == DIGIT


def test_names_of_files_come_back_as_they_were(client):
    names = ["три.png", "a b;c.png", "x" * 300 + ".png"]
    rows = client.post("/predict", files=[("f", (name, THREE)) for name in names]).json()["predictions"]
    assert [row["name"] for row in rows] == names


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "application/vnd.row+json"])
@pytest.mark.parametrize(
    "document",
    [
        {"pixels": ROW},
        {f"pixel{i}": v for i, v in reversed(list(enumerate(ROW)))},
        {"pixels": [float(v) for v in ROW]},
    ],
)
def test_json_numbers(client, recognizer, document, kind):
    response = client.post("/predict", content=json.dumps(document), headers={"Content-Type": kind})
    assert response.json() == answer_of(recognizer, np.array(ROW, np.uint8).reshape(28, 28))


def test_json_numbers_may_have_fractions_and_other_keys_beside_them(client, recognizer):
    row = [v * 0.5 for v in ROW]
    named = {"label": 3, **{f"pixel{i}": v for i, v in enumerate(row)}}
    expected = recognizer.predict((np.array(row) / 255).astype(np.float32).reshape(28, 28))
    for document in ({"pixels": row}, named):
        answer = client.post("/predict", json=document).json()
        assert answer["probabilities"] == pytest.approx(expected.probabilities)


def test_a_blank_image_is_an_answer(client, recognizer):
    body = encode(np.full((90, 70), 255, np.uint8))
    answer = client.post("/predict", content=body).json()
    assert answer == answer_of(recognizer, body)
    assert (answer["digit"], answer["blank"], answer["confidence"]) == (None, True, 0.0)


@pytest.mark.parametrize("query", ["image=true", "image=1", "image", "image=TRUE", "image=false&image=true"])
def test_the_image_that_the_network_saw_on_request(client, recognizer, query):
    answer = client.post(f"/predict?{query}", content=THREE).json()
    assert answer == answer_of(recognizer, THREE, image=True)
    assert np.shape(answer["image"]) == (28, 28)


def test_an_explanation_on_request(client, recognizer):
    several = [
        ("f", ("a.png", THREE)),
        ("f", ("b.txt", b"no image")),
        ("f", ("c.png", encode(np.zeros((40, 40), np.uint8)))),
    ]
    answer = client.post("/predict?explain=true", content=THREE).json()
    expected = recognizer.predict(THREE, explain=True).to_dict()
    assert answer == {**expected, "model": recognizer.model.name}
    assert np.abs(answer["explanation"]).max() == 1
    first, broken, blank = client.post("/predict?explain=true", files=several).json()["predictions"]
    assert first["explanation"] == answer["explanation"]
    assert "error" in broken
    assert "explanation" not in blank


def test_no_image_without_that_request(client):
    for query in ("", "?image=false", "?image=0", "?other=1"):
        assert "image" not in client.post(f"/predict{query}", content=THREE).json()
    several = [("f", ("a.png", THREE)), ("f", ("b.png", THREE))]
    assert all("image" in row for row in client.post("/predict?image=1", files=several).json()["predictions"])


def test_a_large_photo_and_many_images_are_read_in_a_thread_and_right(client, recognizer):
    photo = encode(picture(5, 3000), "JPEG")
    assert is_heavy(load_of([photo]))
    assert client.post("/predict", content=photo).json() == answer_of(recognizer, photo)
    noise = np.random.default_rng(0).integers(220, 256, (800, 800), dtype=np.uint8)
    body = encode(np.minimum(noise, picture(2, 800)))
    assert len(body) > INLINE_BYTES
    assert client.post("/predict", content=body).json()["digit"] == 2
    many = [("f", (f"{i}.png", encode(picture(i % 10)))) for i in range(25)]
    rows = client.post("/predict", files=many).json()["predictions"]
    assert [row["digit"] for row in rows] == [i % 10 for i in range(25)]


def test_what_counts_as_heavy():
    small = encode(picture(1, 280))
    assert not is_heavy(load_of([small]))
    assert not is_heavy(load_of([small] * 3))
    assert is_heavy(load_of([small] * 4))  # more pixels than one image may have in line
    assert is_heavy(load_of([encode(picture(1, 28))] * (INLINE_IMAGES + 1)))
    for form in FORMATS:
        assert not is_heavy(load_of([encode(picture(1, 500), form)]))
        assert is_heavy(load_of([encode(picture(1, 600), form)]))
    assert not is_heavy(load_of([b"no image", np.zeros((28, 28), np.uint8)]))


@pytest.mark.parametrize(
    ("body", "status", "slug", "word"),
    [
        (b"", 400, "bad-request", "empty"),
        (THREE[:200], 400, "unreadable-image", "truncated"),
        (b"\x89PNG\r\n\x1a\nrubbish", 400, "unreadable-image", "damaged"),
        (b"hello", 415, "not-an-image", "hello"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "not-an-image", "SVG"),
        (b"%PDF-1.4", 415, "not-an-image", "PDF"),
        (encode(np.zeros((4, 4), np.uint8)), 422, "image-too-small", "4×4"),
        (png_that_claims(60_000, 60_000), 413, "image-too-large", "16,777,216"),
        (png_that_claims(5_000, 4_000), 413, "image-too-large", "20,000,000"),
    ],
)
def test_images_that_cannot_be_read(client, body, status, slug, word):
    for content_type in ("image/png", "application/octet-stream"):
        response = client.post("/predict", content=body, headers={"Content-Type": content_type})
        assert_problem(response, status, slug, word)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"pixels": ROW[:-1]}, ["783", "784"]),
        ({"pixels": [*ROW, 0]}, ["785", "784"]),
        ({"pixels": []}, ["pixels has 0"]),
        ({"pixels": "none"}, ['pixels is "none"']),
        ({"pixels": {}}, ["pixels is an object"]),
        ({"pixels": [*ROW[:17], 256, *ROW[18:]]}, ["pixels[17] is 256", "0 to 255"]),
        ({"pixels": [*ROW[:3], -1, *ROW[4:]]}, ["pixels[3] is -1"]),
        ({"pixels": [*ROW[:3], 1e300, *ROW[4:]]}, ["pixels[3] is 1e+300"]),
        ({"pixels": [*ROW[:9], True, *ROW[10:]]}, ["pixels[9] is true"]),
        ({"pixels": [*ROW[:9], None, *ROW[10:]]}, ["pixels[9] is null"]),
        ({"pixels": [*ROW[:9], "7", *ROW[10:]]}, ['pixels[9] is "7"']),
        ({"pixels": [*ROW[:9], [1, 2], *ROW[10:]]}, ["pixels[9] is a list of 2"]),
        ({"pixels": [*ROW[:783], float("nan")]}, ["pixels[783] is NaN"]),
        ({"pixels": [float("-inf"), *ROW[1:]]}, ["pixels[0] is -Infinity"]),
        ({f"pixel{i}": v for i, v in enumerate(ROW) if i != 517}, ["pixel517 missing"]),
        ({f"pixel{i}": v for i, v in enumerate(ROW) if i < 700}, ["pixel700 and 83 more missing"]),
        ({f"pixel{i + 1}": v for i, v in enumerate(ROW)}, ["pixel0 missing"]),
        ({f"pixel{i}": "x" if i == 5 else v for i, v in enumerate(ROW)}, ['pixel5 is "x"']),
        ({"picture": "…", "label": 3}, ["neither image, nor pixels, nor pixel0", "picture, label"]),
        ({}, ["keys: none"]),
        ([ROW], ["a list of 1"]),
        (7, ["the JSON is 7"]),
        (None, ["the JSON is null"]),
    ],
)
def test_wrong_numbers_are_named(client, document, words):
    response = client.post("/predict", content=json.dumps(document), headers={"Content-Type": "application/json"})
    assert_problem(response, 422, "invalid-pixels", *words)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"pixels": [1,]}',
        b"\xff\xfe",
        b'{"pixels": ["\\ud800"]}',
        b"[" * 5_000,
        b"NaN and more",
        b'{"pixels": [1e999]}',
        b"[" * 5_000 + b"NaN",
    ],
)
def test_damaged_json(client, body):
    response = client.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert_problem(response, 400, "bad-request", "not valid JSON")


@pytest.mark.parametrize(
    ("body", "content_type", "word"),
    [
        (b"--x\r\n\r\nhello", "multipart/form-data; boundary=x", "closing boundary"),
        (b"--x--\r\n", "multipart/form-data; boundary=x", "no image"),
        (b"hello", "multipart/form-data; boundary=x", "damaged"),
        (b"--x\r\n", "multipart/form-data", ""),
        (b"--x\r\n", "multipart/form-data; boundary=" + "x" * 5_000, ""),
        (b"--x\r\nbad header\r\n\r\n--x--", "multipart/form-data; boundary=x", "damaged"),
    ],
)
def test_damaged_multipart(client, body, content_type, word):
    response = client.post("/predict", content=body, headers={"Content-Type": content_type})
    assert_problem(response, 400, "bad-request", word)


def test_multipart_that_holds_only_text(client):
    response = client.post("/predict", files={"digit": (None, "seven")})
    assert_problem(response, 400, "bad-request", "text fields: digit", "as a file")


def test_multipart_of_one_broken_file_is_that_file_s_problem(client):
    assert_problem(client.post("/predict", files={"f": ("a.png", b"hello")}), 415, "not-an-image")


def test_content_types_and_encodings_that_are_not_taken(client):
    response = client.post("/predict", content=b"7", headers={"Content-Type": "text/plain"})
    assert_problem(response, 415, "unsupported-media-type", "text/plain", "multipart/form-data")
    assert "application/json" in response.headers["accept-post"]
    response = client.post("/predict", content=THREE, headers={"Content-Encoding": "gzip"})
    assert_problem(response, 415, "unsupported-media-type", "gzip")


def test_a_query_option_that_is_neither_true_nor_false(client):
    assert_problem(client.post("/predict?image=maybe", content=THREE), 400, "bad-request", "maybe", "true or false")


def test_limits_are_settings(start_server):
    server = start_server("--max-bytes", "4000", "--max-pixels", "2000", "--max-files", "3")
    with httpx.Client(base_url=server.url) as client:
        assert_problem(client.post("/predict", content=bytes(4001)), 413, "body-too-large", "4,001", "4,000")
        in_chunks = client.post("/predict", content=(bytes(1000) for _ in range(5)))  # no Content-Length
        assert_problem(in_chunks, 413, "body-too-large", "4,000")
        assert_problem(client.post("/predict", content=encode(picture(1, 50))), 413, "image-too-large", "2,000")
        assert client.post("/predict", content=iter([THREE[:50], THREE[50:]])).json()["digit"] == DIGIT
        files = [("f", ("3.png", THREE))]
        assert len(client.post("/predict", files=files * 3).json()["predictions"]) == 3
        assert_problem(client.post("/predict", files=files * 4), 413, "too-many-images", "3")


def test_too_many_text_fields(client):
    fields = {f"f{i}": (None, "x") for i in range(101)}
    assert_problem(client.post("/predict", files=fields), 413, "too-many-images", "100 fields that are not images")


def test_no_bytes_that_a_client_sends_make_the_server_fault(client):
    rng = random.Random(0)
    seeds = [encode(picture(3, 40), form) for form in FORMATS]
    types = ["image/png", "multipart/form-data; boundary=x", "application/json", "", "image/x", "\xe9;;=", 'a/b;c="d']
    for _ in range(150):
        body = bytearray(rng.choice(seeds))
        for _ in range(rng.randrange(8)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        if rng.random() < 0.3:
            del body[rng.randrange(len(body)) :]
        headers = [(b"Content-Type", rng.choice(types).encode("latin-1"))]
        response = client.post("/predict", content=bytes(body), headers=headers)
        assert response.status_code in (200, 400, 413, 415, 422), (response.text, bytes(body))


def test_a_client_that_leaves_in_mid_upload_harms_nobody(client, live_server):
    host, port = live_server.removeprefix("http://").split(":")
    for declared in (b"Content-Length: 5000", b"Transfer-Encoding: chunked"):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\n" + declared + b"\r\n\r\n" + b"5\r\nhello\r\n")
    assert client.post("/predict", content=THREE).json()["digit"] == DIGIT


def test_the_declared_length_is_checked_before_the_body_is_sent(live_server):
    host, port = live_server.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        head = b"POST /predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n"
        connection.sendall(head)
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_limits_of_the_server_are_those_of_the_library():
    assert Limits() == Limits(max_pixels=16_777_216, max_bytes=20_971_520)
