"""From a trained model to one of whole numbers: the command, what it keeps, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from inkdigits.cli import main
from inkdigits.data.catalog import load
from inkdigits.errors import SettingError, TrainingError
from inkdigits.network import shipped_models
from inkdigits.recognizer import Recognizer
from inkdigits.settings import Settings
from inkdigits.training.config import TrainConfig
from inkdigits.training.distill import start_from
from inkdigits.training.export import is_quantized
from inkdigits.training.networks import build
from inkdigits.training.quantize import quantize
from inkdigits.training.train import train

pytestmark = pytest.mark.slow

OPTIONS = TrainConfig(network="lenet", data="digits", non_digits=0.2, epochs=3, threads=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model trained for a moment, and the same quantised by the command."""
    folder = tmp_path_factory.mktemp("models")
    train(OPTIONS, folder / "float.onnx", Settings())
    assert main(["quantize", str(folder / "float.onnx"), "--out", str(folder / "small.onnx")]) == 0
    return folder


def entries(folder):
    return json.loads((folder / "registry.json").read_text())["models"]


def test_it_reads_as_before_and_is_smaller(folder):
    before, after = Recognizer(folder / "float.onnx"), Recognizer(folder / "small.onnx")
    digits = load("digits", Settings(), part="all")
    was, now = (np.array([p.digit for p in each.predict_batch(digits.images)]) for each in (before, after))
    assert np.mean(was == now) > 0.93
    assert np.mean(now == digits.labels) > np.mean(was == digits.labels) - 0.02
    assert after.model.path.stat().st_size < before.model.path.stat().st_size / 2
    assert is_quantized(after.model.path)
    assert not is_quantized(before.model.path)


def test_what_the_registry_says(folder):
    models = entries(folder)
    before, entry = models["float"], models["small"]
    assert entry["command"] == "inkdigits quantize float.onnx --out small.onnx"
    assert entry["lineage"]["float.onnx"]["sha256"] == before["sha256"]
    assert entry["lineage"]["float.onnx"]["command"] == before["command"]
    assert entry["training"] == {**before["training"], "quantised": "int8"}
    assert entry["config"] == before["config"]
    assert entry["metrics"]["validation"].keys() == before["metrics"]["validation"].keys()
    for name in ("accuracy", "digits", "refusals"):
        assert entry["metrics"]["validation"][name] == pytest.approx(before["metrics"]["validation"][name], abs=0.05)
    assert 0 < entry["threshold"] != before["threshold"]  # fitted anew: the integers' logits are others


def test_weights_leave_a_bit_free(folder):
    """Products of bytes that are added up two by two in 16 bits overflow else, where a processor has no VNNI."""
    weights = [
        onnx.numpy_helper.to_array(each)
        for each in onnx.load(folder / "small.onnx").graph.initializer
        if each.data_type == onnx.TensorProto.INT8 and len(each.dims) > 1
    ]
    assert len(weights) == 2  # not the first two and the last
    assert max(np.abs(each.astype(int)).max() for each in weights) == 64


def test_it_is_made_the_same_again(folder, tmp_path):
    again = quantize(str(folder / "float.onnx"), tmp_path / "again.onnx", Settings())
    assert again["sha256"] == entries(folder)["small"]["sha256"]


def test_what_cannot_be_quantised(folder, tmp_path):
    with pytest.raises(SettingError, match=r"small.onnx is already quantized; give the model that it was made from"):
        quantize(str(folder / "small.onnx"), tmp_path / "a.onnx", Settings())
    alone = tmp_path / "alone.onnx"
    alone.write_bytes((folder / "float.onnx").read_bytes())
    with pytest.raises(SettingError, match=r"alone.onnx cannot be quantized: no registry.json in its folder"):
        quantize(str(alone), tmp_path / "a.onnx", Settings())
    with pytest.raises(SettingError, match=r"must be a file with suffix .onnx, not 'a.txt'"):
        quantize(str(folder / "float.onnx"), Path("a.txt"), Settings())
    assert not (tmp_path / "a.onnx").exists()


def test_quantized_models_cannot_be_fine_tuned(folder):
    network = build("lenet", more=1)
    with pytest.raises(TrainingError, match=r"small.onnx is quantized to 8-bit integers .*; give float.onnx"):
        start_from(str(folder / "small.onnx"), network, None)


def test_the_default_model_is_quantised_and_its_origin_ships():
    models = shipped_models()
    assert models["cnn"]["training"]["quantised"] == "int8"
    assert models["cnn"]["lineage"]["cnn_float.onnx"]["sha256"] == models["cnn_float"]["sha256"]
