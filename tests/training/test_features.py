"""The features of a model: a second output that leaves its logits as they are."""

import importlib.util
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from inkdigits import ModelError, Recognizer, TrainingError
from inkdigits.cli import main
from inkdigits.data.catalog import load
from inkdigits.network import FEATURES
from inkdigits.preprocess import preprocess_batch
from inkdigits.settings import Settings
from inkdigits.training.config import TrainConfig
from inkdigits.training.export import export
from inkdigits.training.features import add_features, without_features
from inkdigits.training.networks import build
from inkdigits.training.quantize import write_quantized
from inkdigits.training.train import train

from support.paths import ROOT

WIDTH = 32  # features of cnn_small


@pytest.fixture(scope="module")
def samples():
    images = load("digits", Settings(), part="test").images[:200]
    return np.stack([each.image for each in preprocess_batch(list(images))])[:, None]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A network with any weights, and the content of its file."""
    torch.manual_seed(2)
    network = build("cnn_small", more=2)
    path = tmp_path_factory.mktemp("models") / "model.onnx"
    export(network, path, temperature=0.5)
    return network.eval(), path.read_bytes()


@pytest.fixture
def exported(network, tmp_path):
    """The network, and its file."""
    path = tmp_path / "model.onnx"
    path.write_bytes(network[1])
    return network[0], path


def run(model, images):
    """The outputs of a model in memory, by name, one image at a time and together."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    batches = [images, *(images[i : i + 1] for i in range(20))]
    return [dict(zip(names, session.run(names, {"image": batch}), strict=True)) for batch in batches]


@pytest.mark.parametrize("name", ["cnn", "cnn_float"])
def test_shipped_models_give_the_same_logits_bit_for_bit_as_without(name, samples):
    model = onnx.load(Recognizer(name).model.path)
    with_them = run(model, samples)
    without = run(without_features(model), samples)
    assert [each.name for each in model.graph.output] == ["logits"]
    for found, expected in zip(with_them, without, strict=True):
        assert found.keys() - expected.keys() == {FEATURES}
        assert found[FEATURES].shape == (len(found["logits"]), 80)
        assert np.array_equal(found["logits"], expected["logits"])


def test_they_are_the_input_of_the_last_layer_without_the_mean_of_digits(exported, samples):
    network, path = exported
    before = Recognizer(path).logits(samples)
    add_features(path, samples)
    logits, features = Recognizer(path).features(samples)
    assert np.array_equal(logits, before)
    with torch.inference_mode():
        expected = network.pool(network.features(torch.from_numpy(samples))).flatten(1).numpy()
    np.testing.assert_allclose(features, expected - expected.mean(axis=0), atol=2e-3)
    again = path.read_bytes()
    add_features(path, samples)
    assert path.read_bytes() == again


def test_a_quantized_model_gets_its_own(exported, samples, tmp_path):
    _, path = exported
    add_features(path, samples)
    small = tmp_path / "small.onnx"
    write_quantized(path, small, samples)
    assert [each.name for each in onnx.load(small).graph.output] == ["logits"]
    add_features(small, samples)
    logits, features = Recognizer(small).features(samples)
    assert np.array_equal(logits, Recognizer(small).logits(samples))
    assert np.abs(features.mean(axis=0)).max() < 1e-2


@pytest.mark.parametrize("name", ["lenet", "fast"])
def test_other_models_say_that_they_cannot_adapt(name, samples):
    message = rf"the model {name} \(.*\) cannot adapt to a hand: it has no output 'features'; take cnn"
    with pytest.raises(ModelError, match=message):
        Recognizer(name).features(samples[:1])


def test_what_has_no_linear_last_layer(exported, samples):
    _, path = exported
    model = onnx.load(path)
    model.graph.node[-1].output[0] = "linear"
    model.graph.node.append(onnx.helper.make_node("LogSoftmax", ["linear"], ["logits"]))
    path.write_bytes(model.SerializeToString())
    before = path.read_bytes()
    with pytest.raises(TrainingError, match="its last layer is not linear; train a cnn network"):
        add_features(path, samples)
    assert path.read_bytes() == before


@pytest.mark.slow
def test_training_and_quantization_write_them_and_the_script_adds_them(tmp_path, capsys):
    path = tmp_path / "float.onnx"
    train(TrainConfig(network="cnn_small", data="digits", epochs=1, threads=1), path, Settings())
    assert main(["quantize", str(path), "--out", str(tmp_path / "small.onnx")]) == 0
    image = np.zeros((1, 1, 28, 28), np.float32)
    for each in (path, tmp_path / "small.onnx"):
        assert Recognizer(each).features(image)[1].shape == (1, WIDTH)

    # As they were before there were any: without them, and registered so.
    spec = importlib.util.spec_from_file_location("add_features", ROOT / "scripts" / "add_features.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    path.write_bytes(without_features(onnx.load(path)).SerializeToString(deterministic=True))
    registry = json.loads((tmp_path / "registry.json").read_text())
    old = script.hashlib.sha256(path.read_bytes()).hexdigest()
    registry["models"]["float"]["sha256"] = registry["models"]["small"]["lineage"]["float.onnx"]["sha256"] = old
    (tmp_path / "registry.json").write_text(json.dumps(registry))
    assert not Recognizer(path).has_features
    assert script.main([str(path)]) == 0
    found = Recognizer(path)
    assert found.has_features
    models = json.loads((tmp_path / "registry.json").read_text())["models"]
    assert models["float"]["bytes"] == path.stat().st_size
    assert models["small"]["lineage"]["float.onnx"]["sha256"] == models["float"]["sha256"] == found.model.sha256 != old
    assert found.model.sha256 in capsys.readouterr().out

    unlisted = tmp_path / "other" / "model.onnx"
    unlisted.parent.mkdir()
    unlisted.write_bytes(path.read_bytes())
    assert script.main([str(unlisted)]) == 2
    assert "no registry.json in the folder" in capsys.readouterr().err
