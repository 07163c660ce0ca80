"""Models of others: ONNX files in the forms that exporters write, read as the network that they hold is read.

The files are made of a shipped model's weights, and what is expected is what that model answers.
"""

import json
import os
import signal
import subprocess
import sys
import warnings
from hashlib import sha256
from types import SimpleNamespace

import httpx
import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from inkdigits import ModelError, Recognizer
from inkdigits.network import shipped_models
from inkdigits.training.distill import start_from
from inkdigits.training.networks import build

from support.drawings import picture
from support.files import encode
from support.own_models import BYTES, FLOAT, FORMS, PLAIN, constant, expected, node, write

CLOSE = 1e-5  # between probabilities
SECONDS = 60  # for one command


def run(*argv, **environ):
    """``inkdigits`` as a user runs it."""
    command = [sys.executable, "-m", "inkdigits", *map(str, argv)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env={**os.environ, **environ})
    return SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)


@pytest.fixture(scope="module")
def images():
    return [picture(digit, 60 + 3 * digit) for digit in range(10)]


@pytest.fixture(scope="module")
def files(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for digit, image in enumerate(images):
        (folder / f"{digit}.png").write_bytes(encode(image))
    return folder


def check(answers, wanted):
    """Compare answers as JSON has them with probabilities."""
    assert [each["digit"] for each in answers] == wanted.argmax(axis=1).tolist()
    np.testing.assert_allclose([each["probabilities"] for each in answers], wanted, atol=CLOSE)
    np.testing.assert_allclose([each["confidence"] for each in answers], wanted.max(axis=1), atol=CLOSE)


@pytest.mark.parametrize("base", ["fast", "cnn_float"])
@pytest.mark.parametrize("form", [*FORMS, "bytes"])
def test_each_form_is_read_as_the_network_that_it_holds(form, base, images, tmp_path):
    made = {**FORMS, "bytes": BYTES}[form]
    is_class = base == "cnn_float" and any("Softmax" in op for op, *_ in made[3])
    path = write(tmp_path / "own.onnx", *made, base=base, stored=eleven if is_class else None)
    recognizer = Recognizer(path)
    wanted = expected(images, base, levels=255 if form == "bytes" else 0)
    check([each.to_dict() for each in recognizer.predict_batch(images)], wanted)
    check([recognizer.predict(image).to_dict() for image in images[:2]], wanted[:2])
    assert all(each.is_digit for each in recognizer.predict_batch(images))
    assert (recognizer.model.threshold is None) == (base == "fast")
    assert np.abs(recognizer.predict(images[3], explain=True).explanation).max() == pytest.approx(1)


@pytest.mark.parametrize("form", ["fixed at 1", "softmax", "channels last", "0 to 255", "dark ink", "flat", "Keras"])
def test_from_the_command_line(form, files, images, tmp_path):
    path = write(tmp_path / "own.onnx", *FORMS[form])
    predicted = run("predict", "--json", "--model", path, *sorted(files.iterdir()))
    assert (predicted.code, predicted.err) == (0, "inkdigits: 10 images: 10 digits\n")
    check([json.loads(line) for line in predicted.out.splitlines()], expected(images))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["fixed at 1", "softmax", "Keras"])
def test_it_is_measured_as_the_network_that_it_holds(form, tmp_path):
    def figures(model):
        done = run("evaluate", model, "--data", "digits", "--json", INKDIGITS_CACHE=str(tmp_path / "cache"))
        assert done.code == 0, done.err
        return json.loads(done.out)

    plain = figures(write(tmp_path / "plain.onnx", *PLAIN))
    found = figures(write(tmp_path / "own.onnx", *FORMS[form]))
    for name in ("n", "accuracy", "confusion"):
        assert found[name] == plain[name]
    assert found["confidence"] == pytest.approx(plain["confidence"], abs=CLOSE)
    assert found["confidence"] > 0.9


def test_over_http_and_after_a_reload(start_server, images, tmp_path):
    path = write(tmp_path / "own.onnx", *FORMS["fixed at 1"])
    server = start_server("--model", str(path))
    sent = [("image", (f"{digit}.png", encode(image), "image/png")) for digit, image in enumerate(images)]
    with httpx.Client(base_url=server.url, timeout=SECONDS) as client:
        assert client.get("/ready").status_code == 200
        check(client.post("/predict", files=sent).json()["predictions"], expected(images))
        check([client.post("/predict", content=encode(images[5])).json()], expected(images[5:6]))
        tensor = {"name": "image", "shape": [10, 784], "datatype": "UINT8"}
        grey = [np.asarray(Image.fromarray(image).convert("L").resize((28, 28))).ravel().tolist() for image in images]
        answer = client.post("/v2/models/own/infer", json={"inputs": [{**tensor, "data": grey}]}).json()
        assert next(each for each in answer["outputs"] if each["name"] == "digit")["data"] == list(range(10))
        told = client.get("/v2/models/own").json()
        assert told["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 28, 28]}]

        new = write(tmp_path / "next", *FORMS["Keras"])
        digest = sha256(new.read_bytes()).hexdigest()
        new.replace(path)
        if hasattr(signal, "SIGHUP"):  # not on Windows
            server.process.send_signal(signal.SIGHUP)
            assert f"SHA-256 {digest}" in server.process.stderr.readline()
            check(client.post("/predict", files=sent).json()["predictions"], expected(images))


def test_what_the_page_cannot_run_is_not_offered_to_it(start_server, tmp_path):
    server = start_server("--model", str(write(tmp_path / "own.onnx", *FORMS["channels last"])))
    with httpx.Client(base_url=server.url, timeout=SECONDS) as client:
        response = client.get("/model.onnx")
        assert response.status_code == 404
        reason = client.get("/model.json").json()["not_on_device"]
        assert "the model own takes (N, 28, 28, 1) float32 images" in reason
        assert reason in response.json()["detail"]
        assert '"model.onnx"' not in client.get("/files.js").text
        assert '"model.json"' in client.get("/files.js").text


@pytest.mark.slow
@pytest.mark.parametrize("dynamo", [True, False])
def test_what_torch_exports_by_default(dynamo, images, tmp_path):
    network = build("lenet_padded")
    start_from("fast", network, torch.zeros(8, 1, 28, 28))
    whole = torch.nn.Sequential(network, torch.nn.Softmax(dim=1)).eval()
    path = tmp_path / "own.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(whole, (torch.zeros(1, 1, 28, 28),), path, dynamo=dynamo)
    recognizer = Recognizer(path)
    assert recognizer.form.batch == 1
    check([each.to_dict() for each in recognizer.predict_batch(images)], expected(images))
    assert (tmp_path / "own.onnx.data").exists() == dynamo  # where the newer exporter puts the weights
    if dynamo:
        hashed = sha256(path.read_bytes() + (tmp_path / "own.onnx.data").read_bytes()).hexdigest()
        assert recognizer.model.sha256 == hashed  # other weights are another model


def test_sigmoids_are_read_as_what_they_leave_where_one_digit_is_there(images, tmp_path):
    path = write(tmp_path / "own.onnx", ["N", 1, 28, 28], FLOAT, [], [node("Sigmoid")], [])
    check([each.to_dict() for each in Recognizer(path).predict_batch(images)], expected(images))


def eleven(model):
    """Make the eleventh output what a class "no digit" has: small for digits."""
    graph = model.graph
    layer = [each for each in graph.node if each.op_type == "Gemm"][-1]
    [last] = [each for each in graph.initializer if each.name == layer.input[2]]
    bias = onnx.numpy_helper.to_array(last).copy()
    bias[10] -= 40
    last.CopyFrom(onnx.numpy_helper.from_array(bias, last.name))


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_an_eleventh_class_for_what_is_no_digit(op, images, tmp_path):
    path = write(tmp_path / "own.onnx", ["N", 1, 28, 28], FLOAT, [], [node(op)], [], base="cnn_float", stored=eleven)
    answers = Recognizer(path).predict_batch(images)
    check([each.to_dict() for each in answers], expected(images, "cnn_float"))
    assert all(each.is_digit and each.digit_score > 0.99 for each in answers)


def linear(path, weights, bias, after=(), shape=("N", 1, 28, 28), answers=10):
    """A model of one layer."""
    helper = onnx.helper
    value, nodes = "sums", [helper.make_node("Flatten", ["image"], ["x"])]
    nodes.append(helper.make_node("Gemm", ["x", "weights", "bias"], ["sums"]))
    for op in after:
        nodes.append(helper.make_node(op, [value], [op]))
        value = op
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("image", FLOAT, list(shape))],
        [helper.make_tensor_value_info(value, FLOAT, [shape[0], answers])],
        [constant("weights", weights.astype(np.float32)), constant("bias", bias.astype(np.float32))],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.mark.parametrize("scale", [1e-3, 0.02, 1, 100])
def test_logits_are_never_taken_for_anything_else(scale, images, tmp_path):
    rng = np.random.default_rng(0)
    for n in range(20):
        weights, bias = scale * rng.standard_normal((784, 10)), scale * rng.standard_normal(10) + (n % 3) * 0.1
        recognizer = Recognizer(linear(tmp_path / "own.onnx", weights, bias))
        seen = recognizer.predict(images[n % 10])
        logits = seen.image.ravel().astype(float) @ weights + bias
        shares = np.exp(logits - logits.max())
        np.testing.assert_allclose(seen.probabilities, shares / shares.sum(), atol=1e-4)
    assert recognizer.form.is_plain


def test_a_model_that_reads_nothing_is_still_measured(constant_model, images):
    assert [each.digit for each in Recognizer(constant_model).predict_batch(images)] == [8] * 10


def test_shipped_models_are_not_tried_when_they_are_loaded(monkeypatch):
    monkeypatch.setattr("inkdigits.recognizer._probes", lambda: pytest.fail("a known digit was drawn"))
    for name in shipped_models():
        assert Recognizer(name).form.is_plain


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (("N", 3, 28, 28), r"does not take \(N, 1, 28, 28\).*\['N', 3, 28, 28\]; accepted are .*\(N, 28, 28, 1\)"),
        (("N", 1, 32, 32), r"\['N', 1, 32, 32\]; accepted are"),
        ((784,), r"\[784\]; accepted are"),
    ],
)
def test_other_forms_are_refused_by_name(shape, words, tmp_path):
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["image"], ["logits"])],
        "other",
        [onnx.helper.make_tensor_value_info("image", FLOAT, list(shape))],
        [onnx.helper.make_tensor_value_info("logits", FLOAT, list(shape))],
    )
    path = tmp_path / "own.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9), path)
    with pytest.raises(ModelError, match=words):
        Recognizer(path)


def nan(model):
    for each in model.graph.initializer:
        values = onnx.numpy_helper.to_array(each)
        if values.dtype == np.float32:
            each.CopyFrom(onnx.numpy_helper.from_array(np.full_like(values, np.nan), each.name))


@pytest.mark.parametrize("form", ["fixed at 1", "softmax"])
def test_weights_that_are_no_numbers(form, files, tmp_path):
    path = write(tmp_path / "own.onnx", *FORMS[form], stored=nan)
    for command in (["predict", "--model", path, files / "3.png"], ["evaluate", path, "--data", "digits"]):
        done = run(*command)
        assert (done.code, done.out) == (2, "")
        assert f"{path} outputs NaN or infinity" in done.err
        assert "fault" not in done.err


def test_weights_that_are_no_numbers_in_a_model_of_our_own(files, tmp_path):
    def stored(model):
        nan(model)
        onnx.helper.set_model_props(model, {"inkdigits.temperature": "1"})

    path = write(tmp_path / "own.onnx", *PLAIN, stored=stored)
    done = run("predict", "--model", path, files / "3.png", files / "4.png")
    assert (done.code, done.out) == (2, "")
    assert f"the model own ({path}) outputs NaN" in done.err
    served = run("serve", "--port", "0", "--model", path)
    assert (served.code, served.err) == (2, done.err)


def test_what_fails_while_it_runs_is_the_model_s_fault(files, tmp_path):
    def stored(model):
        onnx.helper.set_model_props(model, {"inkdigits.temperature": "1"})

    path = write(tmp_path / "own.onnx", *FORMS["a last batch of one"], stored=stored)
    done = run("predict", "--model", path, files / "3.png", files / "4.png")
    assert done.code == 2
    assert f"the model own ({path}) cannot be run:" in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("registry", "words"),
    [
        ('{"models": {"own": 7}}', "the entry of 'own' is 7, not an object"),
        ('{"models": {"own": {"file": 7}}}', "file in the entry of 'own' is 7, not text"),
        ('{"models": {"own": {"file": "own.onnx", "metrics": []}}}', r"metrics in the entry of 'own' is \[\], not an"),
        ("[" * 100_000, "is not a registry"),
        ("\xff", "is not a registry"),
    ],
)
def test_a_registry_that_holds_something_else(registry, words, tmp_path):
    path = write(tmp_path / "own.onnx", *PLAIN)
    (tmp_path / "registry.json").write_bytes(registry.encode("latin-1"))
    with pytest.raises(ModelError, match=r"registry\.json.*" + words):
        Recognizer(path)
