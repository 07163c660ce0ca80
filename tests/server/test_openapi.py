"""The OpenAPI document is true: every route is there, and every example is answered as it says."""

import base64
import json
import re
import shutil
import socket
import time
from hashlib import sha256

import httpx
import numpy as np
import pytest
from jsonschema import Draft202012Validator

import inkdigits
from inkdigits.self_test import DIGIT
from inkdigits.server.http.problems import PROBLEM_TYPES

from support.corrections import expired_prediction_id
from support.drawings import number as drawn
from support.drawings import number_strokes
from support.paths import ROOT
from support.requests import ROW, THREE, encode, png_that_claims

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def document(client):
    return client.get("/openapi.json").json()


def resolve(document, schema):
    while "$ref" in schema:
        target = document
        for key in schema["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        schema = target
    return schema


def conforms(document, schema, value):
    """What is wrong with a value by a schema of the document, "" for nothing."""
    found = Draft202012Validator({**schema, "components": document["components"]}).iter_errors(value)
    return "; ".join(f"{error.json_path}: {error.message}" for error in found)


def address(path, operation):
    """A path with its parameters filled in: each has one value."""
    given = {p["name"]: p["schema"]["enum"][0] for p in operation.get("parameters", ()) if p["in"] == "path"}
    return path.format(**given)


def operations(document):
    return [(path, method, o) for path, item in document["paths"].items() for method, o in item.items()]


def test_the_document_describes_the_routes_and_every_reference_leads_somewhere(document):
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["version"] == inkdigits.__version__
    references = re.findall(r"'\$ref': '([^']+)'", str(document))
    assert references
    for reference in references:
        assert resolve(document, {"$ref": reference})
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))


def test_every_get_is_answered_as_its_example(client, document):
    for path, method, operation in operations(document):
        if method == "get":
            response = client.get(address(path, operation))
            content = operation["responses"]["200"]["content"]
            if "application/json" in content:
                [example] = content["application/json"]["examples"].values()
                assert response.json() == example["value"]
            else:  # the model's card
                assert response.status_code == 200
                assert [response.headers["content-type"].partition(";")[0]] == list(content)


def test_answers_are_as_the_document_says(client, document):
    def answer(method, path, media="application/json", status="200"):
        response = resolve(document, document["paths"][path][method]["responses"][status])
        return response["content"][media]["schema"]

    blank = base64.b64decode("R0lGODlhFAAUAIAAAP///wAAACH5BAAAAAAALAAAAAAUABQAAAIRhI+py+0Po5y02ouz3rz7rxUAOw==")
    files = [("f", ("a.png", THREE)), ("f", ("b.png", b"hello")), ("f", ("c.gif", blank))]
    several = client.post("/predict?image=true", files=files).json()
    assert several["predictions"][2]["blank"]
    for value in (
        client.post("/predict", content=THREE).json(),
        client.post("/predict", content=blank).json(),
        several,
    ):
        assert conforms(document, answer("post", "/predict"), value) == ""
    number = [stroke.tolist() for stroke in number_strokes("2024")]
    for options, body in (
        ("?alternatives=3", {"json": {"strokes": number}}),
        ("", {"content": blank}),
        ("?layout=lines", {"files": [*files, ("g", ("d.png", encode(np.tile(drawn("31"), (2, 2)))))]}),
    ):
        value = client.post(f"/read{options}", **body).json()
        assert conforms(document, answer("post", "/read"), value) == ""
    assert value["readings"][3]["numbers"]
    for path in ("/health", "/ready", "/model"):
        assert conforms(document, answer("get", path), client.get(path).json()) == ""
    problem = client.post("/predict", content=b"hello")
    assert conforms(document, answer("post", "/predict", "application/problem+json", "415"), problem.json()) == ""


def sent(media, key, value):
    """What a client sends for an example of a request body."""
    kind = {"Content-Type": media.replace("*", "png")}
    if media == "application/json":
        return {"json": value}
    if media == "application/x-www-form-urlencoded":
        return {"content": value, "headers": kind}
    if media != "multipart/form-data":  # bytes are shown in base64
        return {"content": base64.b64decode(value), "headers": kind}
    [(field, content)] = value.items()
    if isinstance(content, str):
        return {"files": {field: (None, content)}}
    return {"files": [(field, (n, base64.b64decode(c))) for n, c in zip(("three.png", "notes.pdf"), content)]}  # noqa: B905


def test_every_example_of_a_request_is_answered_as_its_example_says(client, document):
    for path, method, operation in operations(document):
        if method != "post":
            continue
        answers = operation["responses"]["200"]["content"]["application/json"]["examples"]
        for media, content in operation["requestBody"]["content"].items():
            for key, example in content["examples"].items():
                if media == "application/json":
                    assert conforms(document, content["schema"], example["value"]) == "", (path, key)
                response = client.post(address(path, operation), **sent(media, key, example["value"]))
                assert response.json() == answers.get(key, answers.get("one"))["value"], (path, media, key)


def test_the_examples_show_each_kind_of_answer(client, document):
    operation = document["paths"]["/predict"]["post"]
    answers = operation["responses"]["200"]["content"]["application/json"]["examples"]
    png = sent("image/*", "png", operation["requestBody"]["content"]["image/*"]["examples"]["png"]["value"])
    assert client.post("/predict?top=3", **png).json() == answers["top"]["value"]
    assert answers["one"]["value"]["digit"] == DIGIT
    assert answers["blank"]["value"]["blank"]
    rows = answers["instances"]["value"]["predictions"]
    assert [row.get("digit") for row in rows] == [DIGIT, DIGIT, DIGIT, None]
    assert rows[3]["error"]["type"] == "/docs#not-an-image"


def raw(live_server, head):
    """The body that answers a request of which only the head is sent."""
    host, port = live_server.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head)
        answer = b""
        while b"\r\n\r\n" not in answer or not answer.endswith(b"}"):
            answer += connection.recv(4096)
    return json.loads(answer.partition(b"\r\n\r\n")[2])


# A request that gets the example of each kind of error; of a fault of the server's own there is a test by itself.
REQUESTS = {
    "bad-request": {
        "content": b"--x\r\nContent-Disposition: form-data\r\n\r\n",
        "headers": {"Content-Type": "multipart/form-data; boundary=x"},
    },
    "unreadable-image": {"content": THREE[:-40]},
    "not-found": {"method": "GET", "url": "/predictions"},
    "method-not-allowed": {"method": "GET"},
    "image-too-large": {"content": png_that_claims(9_000, 6_000)},
    "too-many-images": {"json": {"instances": [0] * 101}},
    "unsupported-media-type": {"content": "seven", "headers": {"Content-Type": "text/html"}},
    "not-an-image": {"content": b"%PDF-1.7"},
    "image-too-small": {"content": encode(np.zeros((4, 4), np.uint8))},
    "invalid-strokes": {"url": "/read", "json": {"strokes": [[[0, 0]], [[0, 0]], [[0, 0]] * 17 + [["7", 3]]]}},
    "invalid-pixels": {"json": {"pixels": [*ROW[:17], 256, *ROW[18:]]}},
}


def test_every_example_of_an_error_is_what_a_server_answers(
    client, live_server, start_server, constant_model, document, tmp_path
):
    examples = {
        key: example["value"]
        for response in document["components"]["responses"].values()
        for key, example in response["content"]["application/problem+json"]["examples"].items()
    }
    assert set(examples) == {kind.slug for kind in PROBLEM_TYPES}
    answers = {
        slug: client.request(**{"method": "POST", "url": "/predict", **request}).json()
        for slug, request in REQUESTS.items()
    }
    answers["body-too-large"] = raw(
        live_server, b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 31457280\r\n\r\n"
    )
    gzip = b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    answers["not-implemented"] = raw(live_server, gzip)
    custom = shutil.copy(constant_model, constant_model.with_name("custom.onnx"))
    answers["not-ready"] = httpx.get(f"{start_server('--model', str(custom)).url}/ready").json()
    answers["internal-error"] = examples["internal-error"]
    answers["store-unavailable"] = examples["store-unavailable"]  # server/test_feedback.py
    answers |= turned_away(start_server) | about_corrections(start_server, tmp_path)
    assert answers == examples


def about_corrections(start_server, folder):
    """What a server that keeps corrections says to wrong ones."""
    url = start_server("--feedback", str(folder / "feedback.db")).url
    good = {"key": "0b9a6f4e-one-key", "consent": True, "kind": "corrected", "label": "7", "pixels": ROW}
    assert httpx.post(f"{url}/feedback", json=good).status_code == 201
    wrong = {
        "consent-required": {name: value for name, value in good.items() if name != "consent"},
        "feedback-conflict": {**good, "label": "8"},
        "invalid-feedback": {**good, "label": "77", "reading": "digit"},
        "prediction-expired": {**good, "prediction_id": expired_prediction_id(folder / "feedback.db")},
    }
    return {slug: httpx.post(f"{url}/feedback", json=body).json() for slug, body in wrong.items()}


def turned_away(start_server):
    """What strict servers say to clients without a key, too slow, too many, or with too much to say."""
    key = {"Authorization": "Bearer secret"}
    guarded = ("--api-keys", sha256(b"secret").hexdigest(), "--rate-limit", "10", "--rate-burst", "1")
    strict = start_server(*guarded, "--receive-seconds", "1").url
    answers = {"unauthorized": httpx.post(f"{strict}/predict", content=THREE).json()}
    assert httpx.post(f"{strict}/predict", content=THREE, headers=key).status_code == 200
    while "rate-limited" not in answers:
        response = httpx.post(f"{strict}/predict", content=THREE, headers=key)
        if response.status_code == 429:
            answers["rate-limited"] = response.json()
    late = raw(strict, b"POST /predict HTTP/1.1\r\nHost: x\r\n")
    answers["too-slow"] = {**late, "detail": late["detail"].replace("after 1 s", "after 60 s")}
    answers["headers-too-large"] = raw(strict, b"POST /predict HTTP/1.1\r\nX: " + 70_000 * b"x")
    full = start_server("--max-connections", "1").url
    with httpx.Client(base_url=full) as first:
        assert first.get("/health").status_code == 200
        refused = raw(full, b"")
    answers["overloaded"] = {**refused, "detail": refused["detail"].replace("1 conn", "4096 conn")}
    answers["stopping"] = cut_short(start_server())
    return answers


def cut_short(server):
    """What a client hears whose request is not complete when the server is told to stop, twice."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        assert httpx.get(f"{server.url}/health").status_code == 200
        server.process.terminate()
        time.sleep(1)
        server.process.terminate()
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    return json.loads(answer.partition(b"\r\n\r\n")[2])


def test_examples_of_answers_and_errors_fit_their_schemas(document):
    responses = [*document["components"]["responses"].values()]
    for item in document["paths"].values():
        responses += [resolve(document, r) for o in item.values() for r in o["responses"].values()]
    for response in responses:
        for content in response["content"].values():
            for example in content["examples"].values():
                assert conforms(document, content["schema"], example["value"]) == ""


def test_the_docs_list_every_route_and_kind_of_error(document):
    text = (ROOT / "docs" / "http-api.md").read_text(encoding="utf-8")
    for kind in PROBLEM_TYPES:
        assert f"| {kind.status} | `{kind.slug}` |" in text
    for path, item in document["paths"].items():
        assert f"`{next(iter(item)).upper()} {path}`" in text


@pytest.mark.parametrize(
    "strokes",
    [None, {}, [7], [[]], [[7]], [[[1]]], [[[1, 2, 3]]], [[["1", 2]]], [[[None, 2]]], [[[1, 2e9]]], [[[0, 0]]] * 2001],
    ids=lambda strokes: str(strokes)[:30],
)
def test_what_the_schema_of_strokes_excludes_is_refused(client, document, strokes):
    schema = document["components"]["schemas"]["Strokes"]
    assert conforms(document, schema, {"strokes": [[[1, 2.5]], [[3, 4], [5, 6]]]}) == ""
    assert conforms(document, schema, {"strokes": strokes})
    assert client.post("/read", json={"strokes": strokes}).status_code == 422


def test_the_options_of_the_document_are_those_of_the_server(client, document):
    operation = document["paths"]["/read"]["post"]
    for parameter in operation["parameters"]:
        schema, name = parameter["schema"], parameter["name"]
        good = schema.get("enum", [schema[key] for key in ("minimum", "maximum") if key in schema] or ["dd"])
        bad = ["x"]
        if schema.get("type") == "boolean":
            good = ["true", "0", ""]
        elif "minimum" in schema:
            bad = [schema["minimum"] - 1, schema["maximum"] + 1]
        for value in good:
            assert client.post("/read", params={name: value}, content=THREE).status_code == 200, (name, value)
        for value in bad:
            assert client.post("/read", params={name: value}, content=THREE).status_code == 400, (name, value)


TENSOR = {"name": "image", "datatype": "UINT8", "shape": [1, 784], "data": ROW}
REQUEST = {"id": "1", "inputs": [TENSOR], "outputs": [{"name": "digit"}], "parameters": {"binary_data_output": False}}


def changed(value, change):
    """A copy with the place in it that leads to another value."""
    *way, last = change[0]
    copy = inner = json.loads(json.dumps(value))
    for key in way:
        inner = inner[key]
    inner[last] = change[1]
    return copy


@pytest.mark.parametrize(
    "change",
    [
        *((way, None) for way in (("id",), ("inputs",), ("outputs",), ("parameters",), ("inputs", 0), ("outputs", 0))),
        *((("inputs", 0, key), None) for key in ("name", "datatype", "shape", "data", "parameters")),
        *((("outputs", 0, key), None) for key in ("name", "parameters")),
        (("id",), 1),
        (("inputs",), []),
        (("inputs", 0, "name"), 1),
        (("inputs", 0, "datatype"), ""),
        (("inputs", 0, "datatype"), "FP8"),
        (("inputs", 0, "datatype"), "BOOL"),
        (("inputs", 0, "shape"), []),
        (("inputs", 0, "shape"), [0, 784]),
        (("inputs", 0, "shape"), [1.5, 784]),
        (("inputs", 0, "shape"), [1, 1, 28, 28, 1]),
        (("inputs", 0, "data"), {}),
        (("outputs", 0, "name"), ""),
        (("outputs", 0, "parameters"), {"binary_data": 1}),
        (("parameters", "binary_data_output"), None),
    ],
    ids=str,
)
def test_what_the_schema_of_a_tensor_excludes_is_refused(client, recognizer, document, change):
    schema = document["components"]["schemas"]["InferRequest"]
    path = f"/v2/models/{recognizer.model.name}/infer"
    assert conforms(document, schema, REQUEST) == ""
    assert client.post(path, json=REQUEST).status_code == 200
    wrong = changed(REQUEST, change)
    assert conforms(document, schema, wrong)
    if change == (("parameters", "binary_data_output"), None):  # which the outputs' own would go before
        wrong["outputs"] = []
    assert client.post(path, json=wrong).status_code == 400
