"""The forms of POST /predict beside files and flat rows: text, rows, instances, bytes, forms; and what is hostile."""

import base64
import json
import random
import time
from urllib.parse import urlencode

import numpy as np
import orjson
import pytest
from PIL import Image

from inkdigits.self_test import DIGIT
from inkdigits.server import open_inference as oip
from inkdigits.server.http.problems import Problem
from inkdigits.server.json_images import file_of, levels
from inkdigits.server.payloads import parse

from support.drawings import picture
from support.requests import PICTURE, ROW, THREE, answer_of, assert_problem, encode

BASE64 = base64.b64encode(THREE).decode()
DATA_URL = f"data:image/png;base64,{BASE64}"
ROWS = PICTURE.tolist()
NAMED = {f"pixel{i}": value for i, value in enumerate(ROW)}
FORM = "application/x-www-form-urlencoded"


TEXTS = {
    "data URL": DATA_URL,
    "base64": BASE64,
    "no padding": BASE64.rstrip("="),
    "URL alphabet": base64.urlsafe_b64encode(THREE).decode(),
    "lines": base64.encodebytes(THREE).decode(),
    "wrong type": f"data:text/plain;charset=utf-8;base64,{BASE64}",
    "escaped": "DATA:image/png;BASE64," + BASE64.replace("+", "%2B").replace("/", "%2F"),
    "percent": "data:image/png," + "".join(f"%{byte:02x}" for byte in THREE),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_an_image_as_text(client, recognizer, text):
    expected = answer_of(recognizer, THREE)
    assert client.post("/predict", json={"image": text, "label": 3}).json() == expected
    assert client.post("/predict", files={"image": (None, text)}).json() == expected
    assert client.post("/predict", data={"other": "x", "image": text}).json() == expected


def test_a_form_s_plus_that_was_not_escaped_is_a_digit_of_base64(client, recognizer):
    for digit in range(10):  # until there is one
        body = encode(picture(digit, 60))
        text = base64.b64encode(body).decode()
        if "+" in text:
            break
    response = client.post("/predict", content=f"image={text}", headers={"Content-Type": FORM})
    assert response.json() == answer_of(recognizer, body)


def test_a_field_of_bytes_is_a_file(client, recognizer):
    assert client.post("/predict", files={"image": (None, THREE)}).json() == answer_of(recognizer, THREE)


def test_several_fields_are_several_images(client):
    fields = [("image", BASE64), ("image", "no-image!"), ("image", DATA_URL)]
    multipart = client.post("/predict", files=[(name, (None, text)) for name, text in fields]).json()
    urlencoded = client.post("/predict", content=urlencode(fields), headers={"Content-Type": FORM}).json()
    assert multipart == urlencoded
    assert [row.get("digit") for row in multipart["predictions"]] == [DIGIT, None, DIGIT]
    assert multipart["predictions"][1]["error"]["type"] == "/docs#unreadable-image"


def test_files_and_texts_in_one_body(client):
    parts = [("a", ("three.png", THREE)), ("image", (None, DATA_URL)), ("note", (None, "x"))]
    rows = client.post("/predict", files=parts).json()["predictions"]
    assert [(row["name"], row["digit"]) for row in rows] == [("three.png", DIGIT), ("image", DIGIT)]


def test_784_bytes_are_pixels(client, recognizer):
    for headers in ({"Content-Type": "application/octet-stream"}, {}):
        response = client.post("/predict", content=PICTURE.tobytes(), headers=headers)
        assert response.json() == answer_of(recognizer, PICTURE)
    for count in (783, 785):
        assert_problem(client.post("/predict", content=PICTURE.tobytes()[:1] * count), 415, "not-an-image")
    # Said to be an image, they are none.
    response = client.post("/predict", content=PICTURE.tobytes(), headers={"Content-Type": "image/png"})
    assert_problem(response, 415, "not-an-image")


def test_784_bytes_that_begin_like_json(client, recognizer):
    grey = np.where(PICTURE > 128, PICTURE, ord("{"))
    answer = client.post("/predict", content=grey.astype(np.uint8).tobytes()).json()
    assert answer == answer_of(recognizer, grey.astype(np.uint8))
    document = json.dumps({"image": base64.b64encode(THREE).decode()}).encode()
    assert client.post("/predict", content=document.ljust(784)).json() == answer_of(recognizer, THREE)


@pytest.mark.parametrize("form", ["PNG", "GIF", "BMP", "TIFF"])
def test_an_image_file_of_784_bytes_is_read_as_the_file_it_is(client, recognizer, form):
    image = Image.fromarray(picture(1, 14)).convert("1" if form == "BMP" else "L")
    body = encode(image, form).ljust(784, b"\0")  # what follows the end of an image is not looked at
    assert len(body) == 784
    response = client.post("/predict", content=body, headers={"Content-Type": "application/octet-stream"})
    assert response.json() == answer_of(recognizer, body)


def test_rows_are_as_good_as_one_list(client, recognizer):
    assert client.post("/predict", json={"pixels": ROWS}).json() == answer_of(recognizer, PICTURE)
    halves = [[value / 2 for value in row] for row in ROWS]
    expected = recognizer.predict((PICTURE / 2 / 255).astype(np.float32))
    assert client.post("/predict", json={"pixels": halves}).json()["probabilities"] == list(expected.probabilities)


def test_instances_are_answered_in_order_and_each_by_itself(client, recognizer):
    instances = [
        ROW, ROWS, {"pixels": ROW}, {"pixels": ROWS}, NAMED, {"image": DATA_URL},
        [0] * 783, [*ROW[:17], 256, *ROW[18:]], {"pixels": [*ROWS[:5], [*ROWS[5][:3], None, *ROWS[5][4:]], *ROWS[6:]]},
        {"image": "https://example.com/3.png"}, {"label": 3}, "x", [ROWS[0]] * 27 + [[1]], {**NAMED, "pixel5": True},
        {"image": base64.b64encode(b"%PDF-1.7").decode()}, None,
    ]  # fmt: skip
    rows = client.post("/predict", json={"instances": instances}).json()["predictions"]
    assert [row["name"] for row in rows] == [f"instances[{i}]" for i in range(len(instances))]
    expected = answer_of(recognizer, PICTURE)
    for row in rows[:5]:
        assert {k: v for k, v in row.items() if k != "name"} == expected
    assert rows[5]["digit"] == DIGIT
    details = [row["error"]["detail"] for row in rows[6:]]
    for words, detail in zip(
        [
            "instances[6] has 783 numbers", "instances[7][17] is 256", "instances[8].pixels[5][3] is null",
            "instances[9].image is the address 'https://example.com/3.png'", "instances[10] has neither image",
            'instances[11] is "x"', "instances[12][27] is a list of 1", "instances[13].pixel5 is true", "PDF",
            "instances[15] is null",
        ],
        details,
        strict=True,
    ):  # fmt: skip
        assert words in detail
    assert {row["error"]["status"] for row in rows[6:]} == {400, 415, 422}


def test_one_instance_is_a_list_of_one(client, recognizer):
    [row] = client.post("/predict?top=1", json={"instances": [ROW]}).json()["predictions"]
    assert row == {"name": "instances[0]", **answer_of(recognizer, PICTURE), "top": row["top"]}


@pytest.mark.parametrize("instances", [[], {}, None, 7, "x"])
def test_instances_that_are_none(client, instances):
    response = client.post("/predict", json={"instances": instances})
    assert_problem(response, 422, "invalid-pixels", "instances is", "one image or more")


@pytest.mark.parametrize("count", [1, 3, 10])
def test_the_likeliest_digits_on_request(client, recognizer, count):
    answer = client.post(f"/predict?top={count}", content=THREE).json()
    probabilities = recognizer.predict(THREE).probabilities
    assert [entry["probability"] for entry in answer["top"]] == sorted(probabilities, reverse=True)[:count]
    assert all(probabilities[entry["digit"]] == entry["probability"] for entry in answer["top"])
    assert answer["top"][0]["digit"] == DIGIT


def test_the_likeliest_digits_of_a_blank_image_are_none(client):
    assert client.post("/predict?top=3", content=bytes(784)).json()["top"] == []


@pytest.mark.parametrize("top", ["0", "11", "-1", "x", "", "3.5", "9" * 50, "³", "true"])
def test_top_is_a_number_from_1_to_10(client, top):
    response = client.post("/predict", params={"top": top}, content=THREE)
    assert_problem(response, 400, "bad-request", "the query option top is", "from 1 to 10")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("https://example.com/3.png", "not fetched"),
        ("file:///etc/passwd", "not fetched"),
        ("/etc/passwd!", "neither a data URL nor base64"),
        ("data:image/png;base64", "without a comma"),
        ("data:image/png;base64,????", "neither"),
        ("AAAAA", "neither"),
        ("=", ""),
        ("три", "neither"),
        (7, "image is 7; expected a string"),
        (None, "image is null"),
        ([BASE64], "a list of 1"),
        ("", "empty"),
        ("\ud800", "not valid JSON"),
        ("data:,\ud800", "not valid JSON"),
    ],
)
def test_texts_that_hold_no_image(client, text, word):
    # Written with NaN beside it, a half of a pair of surrogates gets through Python's decoder.
    body = json.dumps({"image": text, "x": float("nan")})
    response = client.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (400, 415), response.text
    assert word in response.json()["detail"]


def test_a_form_without_an_image(client):
    response = client.post("/predict", data={"picture": "x", "y": "2"})
    assert_problem(response, 400, "bad-request", "the form has no image", "picture, y")
    assert_problem(client.post("/predict", data={"image": "base64!"}), 400, "unreadable-image", "base64!")


def multipart(count, head):
    part = b"--x\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n\r\n"
    return part * count + b"--x--\r\n"


HOSTILE = {
    "deep lists": (b"[" * 100_000 + b"]" * 100_000, "application/json"),
    "deep objects": (b'{"pixels":' * 50_000 + b"1" + b"}" * 50_000, "application/json"),
    "deep, with NaN": (b'{"a": NaN, "pixels": ' + b"[" * 900 + b"]" * 900 + b"}", "application/json"),
    "a deep pixel": (b'{"pixels": [' + b"[" * 500 + b"]" * 500 + b"]}", "application/json"),
    "a huge number": (b'{"pixels": [' + b"9" * 4000 + b", 1.5, NaN]}", "application/json"),
    "784 huge numbers": (json.dumps({"pixels": [10**300] * 784}).encode(), "application/json"),
    "huge, with NaN": (json.dumps({"pixels": [10**400] * 783 + [float("nan")]}).encode(), "application/json"),
    "a million numbers": (json.dumps({"pixels": [0] * 1_000_000}).encode(), "application/json"),
    "5,000 instances": (json.dumps({"instances": [ROW] * 1_000}).encode(), "application/json"),
    "halves of surrogates": (b'{"\\ud800": NaN}', "application/json"),
    "5,000 files": (multipart(5_000, b'name="a"; filename="a.png"'), "multipart/form-data; boundary=x"),
    "5,000 fields": (multipart(5_000, b'name="a"'), "multipart/form-data; boundary=x"),
    "200,000 empty files": (multipart(200_000, b'name="a"; filename=""'), "multipart/form-data; boundary=x"),
    "5,000 texts": (multipart(5_000, b'name="image"').replace(b"\r\n\r\n\r\n", b"\r\n\r\nQQ==\r\n"),
                    "multipart/form-data; boundary=x"),
    "a form of a million fields": (b"a=1&" * 1_000_000, FORM),
    "a form of 5,000 images": (b"image=QQ&" * 5_000, FORM),
    "a long text": (json.dumps({"image": "!" * 10_000_000}).encode(), "application/json"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "kind"), HOSTILE.values(), ids=HOSTILE)
def test_what_is_hostile_gets_a_clear_answer_soon(client, body, kind):
    start = time.monotonic()
    response = client.post("/predict", content=body, headers={"Content-Type": kind}, timeout=60)
    print(f"{response.status_code} after {time.monotonic() - start:.3f} s: {response.text[:300]}")
    assert response.status_code in (400, 413, 422)
    document = response.json()
    assert_problem(response, document["status"], document["type"].removeprefix("/docs#"))
    assert len(document["detail"]) < 500


def mutated(rng, body):
    """The body with some of its bytes and numbers changed, doubled, or cut out."""
    body = bytearray(body)
    for _ in range(rng.randrange(1, 6)):
        at, size = rng.randrange(len(body)), rng.randrange(1, 12)
        piece = rng.choice(
            [b"[", b"{", b'"', b"]", b"null", b"-1", b"NaN", b"1e400", b"\0", b"\\ud800", b"\r\n--x", b"=", b","]
        )
        body[at : at + rng.choice([0, size])] = rng.choice([piece, body[at : at + size] * 2, b"", rng.randbytes(size)])
        body = body or bytearray(b"[")
    return bytes(body)


def test_mutated_bodies_are_read_or_refused_and_nothing_else():
    rng = random.Random(7)
    tensor = {"name": "x", "shape": [1, 784], "datatype": "FP32", "data": ROW}
    packed = {"name": "x", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": 14}}
    part = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
    bodies = [
        ("application/json", json.dumps({"pixels": ROWS, "instances": [ROW[:30], {"image": DATA_URL}]}).encode()),
        ("application/json", json.dumps({"pixels": ROW}).encode()),
        ("application/json", json.dumps({"image": DATA_URL}).encode()),
        (FORM, urlencode({"image": DATA_URL, "other": "x"}).encode()),
        ("multipart/form-data; boundary=x", part + THREE + b"\r\n--x--\r\n"),
        ("", PICTURE.tobytes()),
        ("v2", json.dumps({"id": "1", "inputs": [tensor], "outputs": [{"name": "digit"}], "parameters": {}}).encode()),
        ("v2", json.dumps({"inputs": [packed]}).encode() + b"\3\0\0\0abc\3\0\0\0def"),
    ]
    for _ in range(5_000):
        kind, body = rng.choice(bodies)
        body = mutated(rng, body)
        try:
            if kind == "v2":
                oip.parse(body, rng.choice([None, str(len(body) - 14).encode()]), 100)
            else:
                parse(kind, body, 100)
        except Problem as problem:
            assert orjson.dumps(problem.document())
            assert len(problem.detail) < 600


def test_a_query_of_too_many_options(client):
    assert_problem(client.post("/predict?" + "a&" * 200, content=THREE), 400, "bad-request", "100 options")


def test_levels_agree_with_a_plain_loop():
    """The check of whole lists, against one of value by value."""
    rng = np.random.default_rng(3)
    odd = [256, -1, -0.0, 255.0, 255.5, float("nan"), float("inf"), True, None, "7", [1], 10**30, 2**64 - 1, -(2**63)]
    for _ in range(400):
        values = [rng.integers(0, 256).item() if rng.random() < 0.7 else rng.random() * 255 for _ in range(20)]
        for _ in range(rng.integers(0, 3)):
            values[rng.integers(0, 20)] = odd[rng.integers(0, len(odd))]
        wrong = next((i for i, v in enumerate(values) if type(v) not in (int, float) or not 0 <= v <= 255), None)
        if wrong is None:
            got = levels(values, str)
            scaled = got if got.dtype == np.float32 else got / np.float32(255)
            np.testing.assert_allclose(scaled, np.array(values, float) / 255, rtol=1e-6)
        else:
            with pytest.raises(Problem, match=rf"^{wrong} is "):
                levels(values, str)


def test_base64_agrees_with_the_standard_library():
    rng = np.random.default_rng(4)
    for size in range(1, 60):
        data = rng.bytes(size)
        for encoded in (base64.b64encode(data), base64.urlsafe_b64encode(data), base64.encodebytes(data)):
            for text in (encoded, encoded.rstrip(b"=\n")):
                assert file_of(text.decode(), "image") == data
