"""The Open Inference Protocol v2: Triton's own client as it is, and plain requests as the specification writes them."""

import base64
import json
import struct

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

import inkdigits
from inkdigits.self_test import DIGIT

from support.drawings import picture
from support.requests import PICTURE, ROW, THREE, encode

LENGTH = "Inference-Header-Content-Length"
OUTPUTS = {"digit": np.int64, "confidence": np.float32, "probabilities": np.float32, "is_digit": np.bool_}
SHAPES = {"[N, 784]": (784,), "[N, 28, 28]": (28, 28), "[N, 1, 28, 28]": (1, 28, 28), "[N, 28, 28, 1]": (28, 28, 1)}


@pytest.fixture(scope="module")
def server(live_server):
    with triton.InferenceServerClient(live_server.removeprefix("http://")) as client:
        yield client


@pytest.fixture(scope="module")
def name(recognizer):
    return recognizer.model.name


def pictures():
    """(11, 28, 28) uint8: ten digits, and a blank."""
    return np.stack([*(picture(digit, 28) for digit in range(10)), np.full((28, 28), 255, np.uint8)])


def assert_read(result: triton.InferResult, recognizer, sources):
    """The tensors say what the recogniser says."""
    expected = recognizer.predict_batch(list(sources))
    got = {name: result.as_numpy(name) for name in OUTPUTS}
    for name, kind in OUTPUTS.items():
        assert got[name].dtype == kind
        assert got[name].shape == ((len(expected), 10) if name == "probabilities" else (len(expected),))
    assert got["digit"].tolist() == [-1 if p.digit is None else p.digit for p in expected]
    assert got["is_digit"].tolist() == [p.is_digit for p in expected]
    np.testing.assert_array_equal(got["confidence"], np.array([p.confidence for p in expected], np.float32))
    np.testing.assert_array_equal(got["probabilities"], np.array([p.probabilities for p in expected], np.float32))


def tensor(array, kind="UINT8", binary=True):
    given = triton.InferInput("image", list(array.shape), kind)
    given.set_data_from_numpy(array, binary_data=binary)
    return given


def test_health_and_metadata_by_triton_s_client(server, recognizer, name):
    version = recognizer.model.sha256[:12]
    assert server.is_server_live()
    assert server.is_server_ready()
    assert server.is_model_ready(name)
    assert server.is_model_ready(name, version)
    assert not server.is_model_ready("other")
    assert not server.is_model_ready(name, "1")
    about = server.get_server_metadata()
    assert about == {"name": "inkdigits", "version": inkdigits.__version__, "extensions": ["binary_tensor_data"]}
    model = server.get_model_metadata(name)
    assert (model["name"], model["versions"]) == (name, [version])
    assert model == server.get_model_metadata(name, version)
    assert model["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 28, 28]}]
    assert [(o["name"], o["datatype"], o["shape"]) for o in model["outputs"]] == [
        ("digit", "INT64", [-1]),
        ("confidence", "FP32", [-1]),
        ("probabilities", "FP32", [-1, 10]),
        ("is_digit", "BOOL", [-1]),
    ]


@pytest.mark.parametrize("answer", [True, False], ids=["bytes out", "JSON out"])
@pytest.mark.parametrize("given", [True, False], ids=["bytes in", "JSON in"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_pixels_by_triton_s_client(server, recognizer, name, shape, given, answer):
    images = pictures()
    outputs = [triton.InferRequestedOutput(output, binary_data=answer) for output in OUTPUTS]
    result = server.infer(
        name, [tensor(images.reshape(-1, *shape), binary=given)], outputs=outputs, request_id="a request"
    )
    assert_read(result, recognizer, images)
    response = result.get_response()
    assert (response["model_name"], response["id"]) == (name, "a request")
    assert response["model_version"] == recognizer.model.sha256[:12]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("kind", ["FP32", "FP64", "FP16", "INT32", "INT64", "UINT16", "INT16"])
def test_other_numbers_from_0_to_255(server, recognizer, name, kind, binary):
    dtype = np.dtype({"FP": "float", "IN": "int", "UI": "uint"}[kind[:2]] + kind.lstrip("FPINTU"))
    result = server.infer(name, [tensor(pictures().astype(dtype), kind, binary)])
    assert_read(result, recognizer, (image if kind[0] != "F" else (image / 255).astype("f4") for image in pictures()))


def test_image_files_as_bytes_by_triton_s_client(server, recognizer, name):
    files = [encode(picture(4, 90), "JPEG"), THREE, encode(np.zeros((40, 40), np.uint8))]
    for shape in ((3,), (3, 1)):
        result = server.infer(name, [tensor(np.array(files, object).reshape(shape), "BYTES")])
        assert_read(result, recognizer, files)
    texts = np.array([base64.b64encode(file) for file in files], object)
    assert_read(server.infer(name, [tensor(texts, "BYTES", binary=False)]), recognizer, files)


def test_only_the_outputs_that_are_wanted_in_their_order(server, name):
    outputs = [triton.InferRequestedOutput("is_digit"), triton.InferRequestedOutput("digit", binary_data=False)]
    result = server.infer(name, [tensor(pictures())], outputs=outputs)
    first, second = result.get_response()["outputs"]
    assert (first["name"], first["parameters"]) == ("is_digit", {"binary_data_size": 11})
    assert (second["name"], second["data"]) == ("digit", [*range(10), -1])


def test_a_version_by_triton_s_client(server, recognizer, name):
    image = [tensor(PICTURE[None])]
    assert server.infer(name, image, recognizer.model.sha256[:12]).as_numpy("digit").tolist() == [DIGIT]
    for model, version in ((name, "1"), ("other", "")):
        with pytest.raises(InferenceServerException, match=f"this server has {name}") as caught:
            server.infer(model, image, version)
        assert caught.value.status() == "404"


def test_many_images_are_read_in_a_thread_and_right(server, recognizer, name):
    images = np.tile(pictures(), (9, 1, 1))
    assert_read(server.infer(name, [tensor(images)]), recognizer, images)
    with pytest.raises(InferenceServerException, match="more than 100 images"):
        server.infer(name, [tensor(np.tile(pictures(), (10, 1, 1)))])


def test_triton_s_client_is_told_what_is_wrong(server, name):
    broken = np.array([THREE, b"%PDF-1.7"], object)
    for given, word in (
        (tensor(np.zeros((1, 27, 28), np.uint8)), r"inputs\[0\].shape is \[1, 27, 28\]"),
        (tensor(np.full((1, 28, 28), 256, np.int32), "INT32"), r"inputs\[0\].data\[0\] is 256; expected a number"),
        (tensor(np.full((1, 784), np.nan, np.float32), "FP32"), r"inputs\[0\].data\[0\] is NaN"),
        (tensor(np.zeros((1, 784), np.bool_), "BOOL"), 'datatype is "BOOL"'),
        (tensor(broken, "BYTES"), r"inputs\[0\].data\[1\]: not an image .* PDF"),
    ):
        with pytest.raises(InferenceServerException, match=word):
            server.infer(name, [given])
    shared = triton.InferInput("image", [1, 784], "UINT8")
    shared.set_shared_memory("region", 784)
    with pytest.raises(InferenceServerException, match="shared_memory_region, which this server does not support"):
        server.infer(name, [shared])
    with pytest.raises(InferenceServerException, match="classification"):
        server.infer(name, [tensor(PICTURE[None])], outputs=[triton.InferRequestedOutput("digit", class_count=3)])


def test_requests_as_kserve_s_clients_write_them(client, name):
    """Nested or flat data, an input of any name, no id; https://github.com/kserve/open-inference-protocol"""
    for data in (ROW, [ROW], PICTURE[None].tolist()):
        given = {"name": "input-0", "shape": [1, 784], "datatype": "FP32", "data": data}
        response = client.post(f"/v2/models/{name}/infer", json={"inputs": [given], "parameters": {"unknown": 1}})
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        assert LENGTH.lower() not in response.headers
        document = response.json()
        assert "id" not in document
        assert {output["name"]: output["data"] for output in document["outputs"]}["digit"] == [DIGIT]
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get(f"/v2/models/{name}/ready").json() == {"name": name, "ready": True}


def binary_request(document, tail, length=None):
    head = json.dumps(document).encode()
    return {"content": head + tail, "headers": {LENGTH: str(len(head) if length is None else length)}}


def test_bytes_as_the_extension_writes_them(client, name):
    """https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md"""
    given = {"name": "x", "shape": [1, 784], "datatype": "UINT8", "parameters": {"binary_data_size": 784}}
    document = {"id": "1", "inputs": [given], "outputs": [{"name": "digit", "parameters": {"binary_data": True}}]}
    response = client.post(f"/v2/models/{name}/infer", **binary_request(document, bytes(ROW)))
    assert response.headers["content-type"] == "application/octet-stream"
    length = int(response.headers[LENGTH])
    assert json.loads(response.content[:length])["outputs"] == [
        {"name": "digit", "datatype": "INT64", "shape": [1], "parameters": {"binary_data_size": 8}}
    ]
    assert struct.unpack("<q", response.content[length:]) == (DIGIT,)
    document = {"inputs": [given], "parameters": {"binary_data_output": True}, "outputs": [{"name": "is_digit"}]}
    response = client.post(f"/v2/models/{name}/infer", **binary_request(document, bytes(ROW)))
    assert response.content[int(response.headers[LENGTH]) :] == b"\1"


IMAGE = {"name": "x", "shape": [1, 784], "datatype": "UINT8", "data": ROW}
SENT = {"name": "x", "shape": [1, 784], "datatype": "UINT8", "parameters": {"binary_data_size": 784}}
FILES = {"name": "x", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": 14}}
ELEMENTS = b"\3\0\0\0abc\3\0\0\0def"


@pytest.mark.parametrize(
    ("document", "status", "words"),
    [
        ([], 400, "the JSON is a list of 0"),
        ({}, 400, "inputs is null"),
        ({"inputs": []}, 400, "inputs is a list of 0"),
        ({"inputs": [IMAGE, IMAGE]}, 400, "inputs is a list of 2"),
        ({"inputs": [7]}, 400, "inputs is a list of 1"),
        ({"inputs": [IMAGE], "id": 7}, 400, "id is 7"),
        ({"inputs": [IMAGE], "parameters": []}, 400, "parameters is a list of 0"),
        ({"inputs": [IMAGE], "outputs": {}}, 400, "outputs is an object of 0"),
        ({"inputs": [IMAGE], "outputs": [{"name": "logits"}]}, 400, 'outputs[0] asks for "logits"; expected digit'),
        ({"inputs": [IMAGE], "outputs": ["digit"]}, 400, 'outputs[0] asks for "digit"'),
        ({"inputs": [IMAGE], "outputs": [{"name": ["digit"]}]}, 400, "outputs[0] asks for a list of 1"),
        ({"inputs": [IMAGE], "outputs": [{"name": "digit"}] * 2}, 400, 'outputs[1] asks for "digit" again'),
        ({"inputs": [IMAGE], "parameters": {"binary_data_output": 7}}, 400, "binary_data 7"),
        ({"inputs": [{**IMAGE, "datatype": "STRING"}]}, 400, 'datatype is "STRING"'),
        ({"inputs": [{**IMAGE, "datatype": ["UINT8"]}]}, 400, "datatype is a list of 1"),
        ({"inputs": [{**IMAGE, "shape": [784]}]}, 400, "shape is [784]; for UINT8 it is [N, 784] or [N, 28, 28]"),
        ({"inputs": [{**IMAGE, "shape": []}]}, 400, "shape is []"),
        ({"inputs": [{**IMAGE, "shape": "1"}]}, 400, 'shape is "1"'),
        ({"inputs": [{**IMAGE, "shape": [True, 784]}]}, 400, "shape is [True, 784]"),
        ({"inputs": [{**IMAGE, "shape": [0, 784], "data": []}]}, 400, "has no image"),
        ({"inputs": [{**IMAGE, "shape": [-1, 784]}]}, 400, "has no image"),
        ({"inputs": [{**IMAGE, "shape": [10**18, 784]}]}, 413, "more than 100 images"),
        ({"inputs": [{**IMAGE, "data": ROW[1:]}]}, 400, "data holds 783 values; its shape [1, 784] is of 784"),
        ({"inputs": [{**IMAGE, "data": None}]}, 400, "data is null"),
        ({"inputs": [{**IMAGE, "data": [[[[]]]]}]}, 400, "data holds 0 values"),
        ({"inputs": [{**IMAGE, "data": [*ROW[:5], 256, *ROW[6:]]}]}, 422, "inputs[0].data[5] is 256"),
        ({"inputs": [{**IMAGE, "data": [*ROW[:5], "7", *ROW[6:]]}]}, 422, 'inputs[0].data[5] is "7"'),
        ({"inputs": [{**IMAGE, "data": [*ROW[:5], True, *ROW[6:]]}]}, 422, "inputs[0].data[5] is true"),
        ({"inputs": [{**IMAGE, "parameters": {"binary_data_size": 784}}]}, 400, "0 bytes follow"),
        ({"inputs": [{"shape": [1], "datatype": "BYTES", "data": ["?"]}]}, 400, "inputs[0].data[0] is"),
        ({"inputs": [{"shape": [1], "datatype": "BYTES", "data": ["QUJD"]}]}, 415, "inputs[0].data[0]: not an image"),
    ],
)
def test_what_is_wrong_in_json(client, name, document, status, words):
    assert_protocol_problem(client.post(f"/v2/models/{name}/infer", json=document), status, words)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (binary_request({"inputs": [SENT]}, bytes(783)), "784, but 783 bytes follow"),
        (binary_request({"inputs": [SENT]}, bytes(785)), "784, but 785 bytes follow"),
        (binary_request({"inputs": [{**SENT, "shape": [2, 784]}]}, bytes(784)), "UINT8 of shape [2, 784] has 1,568"),
        (binary_request({"inputs": [{**SENT, "datatype": "FP32"}]}, bytes(784)), "FP32 of shape [1, 784] has 3,136"),
        (binary_request({"inputs": [IMAGE]}, b"x"), "no input has a binary_data_size"),
        (binary_request({"inputs": [SENT]}, bytes(784), 10**9), "the body's length"),
        (binary_request({"inputs": [SENT]}, bytes(784), -1), "is '-1'"),
        (binary_request({"inputs": [SENT]}, bytes(784), "x"), "is 'x'"),
        (binary_request({"inputs": [SENT]}, bytes(784), "9" * 5000), "the body's length"),
        (binary_request({"inputs": [SENT]}, bytes(784), 0), "not valid JSON"),
        (binary_request({"inputs": [{**FILES, "shape": [3]}]}, ELEMENTS), "are not 3 elements"),
        (binary_request({"inputs": [{**FILES, "shape": [1]}]}, ELEMENTS), "are not 1 elements"),
        (binary_request({"inputs": [FILES]}, b"\xff" * 14), "are not 2 elements"),
        (binary_request({"inputs": [FILES]}, ELEMENTS[:-7] + b"\0\0\0\0\0\0\0"), "are not 2 elements"),
    ],
)
def test_what_is_wrong_in_bytes(client, name, request_, words):
    assert_protocol_problem(client.post(f"/v2/models/{name}/infer", **request_), 400, words)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"content": THREE, "headers": {"Content-Type": "image/png"}}, "the body is an image file"),
        ({"content": THREE}, "the body is an image file"),
        ({"content": encode(PICTURE, "BMP")}, "the body is an image file"),
        ({"content": b"%PDF-1.4", "headers": {"Content-Type": "application/pdf"}}, "is 'application/pdf'"),
        ({"files": {"image": ("three.png", THREE)}}, "is 'multipart/form-data"),
    ],
)
def test_what_is_not_json(client, name, request_, words):
    response = client.post(f"/v2/models/{name}/infer", **request_)
    assert_protocol_problem(response, 415, words)
    assert "POST /predict reads image files" in response.json()["detail"]
    assert response.headers["accept-post"] == "application/json, application/octet-stream"


def test_json_of_any_type(client, name):
    document = json.dumps({"inputs": [IMAGE]})
    for kind in ("text/plain", "application/json; charset=utf-8", "application/x-www-form-urlencoded"):
        response = client.post(f"/v2/models/{name}/infer", content=document, headers={"Content-Type": kind})
        assert response.status_code == 200, response.text
    wrong = client.post(f"/v2/models/{name}/infer", content="{", headers={"Content-Type": "application/json"})
    assert_protocol_problem(wrong, 400, "not valid JSON")


def assert_protocol_problem(response: httpx.Response, status, words):
    """A problem document that holds what the protocol asks for as well."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert set(document) == {"type", "title", "status", "detail", "error"}
    assert document["error"] == document["detail"]
    assert words in document["error"]


def test_every_error_below_v2_holds_what_the_protocol_asks_for(client, name, start_server, constant_model):
    for path, words in (
        ("/v2/nothing", "/v2/nothing"),
        ("/v2/models/other", "there is no model 'other'"),
        (f"/v2/models/{name}/versions/1", "there is no version '1'"),
        (f"/v2/models/{'x' * 2000}/ready", "xxx…"),
    ):
        assert_protocol_problem(client.get(path), 404, words)
    assert_protocol_problem(client.get(f"/v2/models/{name}/infer"), 405, "allowed: POST")
    assert_protocol_problem(client.post(f"/v2/models/{name}/infer", content=b""), 400, "not valid JSON")
    packed = client.post(f"/v2/models/{name}/infer", content=b"{}", headers={"Content-Encoding": "gzip"})
    assert_protocol_problem(packed, 415, "gzip")
    assert "error" not in client.get("/v2nothing").json()
    server = start_server("--model", str(constant_model), "--max-bytes", "4000")
    for path in ("/v2/health/ready", "/v2/models/constant/ready"):
        response = httpx.get(server.url + path)
        assert_protocol_problem(response, 503, "constant reads known digits wrong: 0 as 8, 1 as 8")
        assert response.headers["retry-after"]
    assert httpx.get(f"{server.url}/v2/health/live").json() == {"live": True}
    assert_protocol_problem(httpx.post(f"{server.url}/v2/models/constant/infer", content=bytes(4001)), 413, "4,001")
