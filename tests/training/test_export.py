"""Export: one file that answers as its network does, and the registry beside it."""

from __future__ import annotations

import copy
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from inkdigits import ModelError, Recognizer, TrainingError
from inkdigits.atomic import write_atomically
from inkdigits.data.catalog import load
from inkdigits.network import read_registry
from inkdigits.preprocess import NORMALIZATION_VERSION, preprocess
from inkdigits.settings import Settings
from inkdigits.training.export import check_parity, export
from inkdigits.training.networks import NETWORKS, build
from inkdigits.training.register import add_entry


@pytest.fixture(scope="module")
def samples():
    images = load("digits", Settings(), part="test").images[:100]
    return torch.from_numpy(np.stack([preprocess(image).image for image in images]))[:, None]


SMALLEST = "lenet"


@pytest.fixture(
    scope="module",
    params=[name if name == SMALLEST else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS],
)
def exported(request, samples, tmp_path_factory):
    """A network that has seen a few batches, so that its batch statistics are no longer trivial, and its file."""
    torch.manual_seed(1)
    network = build(request.param)
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    for _ in range(3):
        optimizer.zero_grad()
        network(samples).square().mean().backward()
        optimizer.step()
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    export(network, path, temperature=0.75, metadata={"network": request.param})
    return request.param, network, path


def test_the_file_answers_as_the_network_does(exported, samples):
    _, network, path = exported
    assert network.training  # as it was
    assert check_parity(network, path, samples) <= 1e-4
    assert network.training
    with torch.inference_mode():
        expected = network.eval()(samples).numpy()
    network.train()
    for n in (1, 2, 100):
        assert np.abs(Recognizer(path).logits(samples[:n].numpy()) - expected[:n]).max() <= 1e-4


def test_the_file_holds_all_that_belongs_to_the_weights(exported):
    name, network, path = exported
    model = onnx.load(path, load_external_data=False)
    assert not any(t.data_location == onnx.TensorProto.EXTERNAL for t in model.graph.initializer)
    assert [p.name for p in path.parent.iterdir()] == ["model.onnx"]
    assert {p.key: p.value for p in model.metadata_props} == {
        "inkdigits.normalisation": NORMALIZATION_VERSION,
        "inkdigits.temperature": "0.75",
        "inkdigits.network": name,
    }
    assert [i.name for i in model.graph.input] == ["image"]
    assert [o.name for o in model.graph.output] == ["logits"]
    # Folded wherever it follows a convolution; behind a pooling it cannot be.
    convolved = {output for node in model.graph.node if node.op_type == "Conv" for output in node.output}
    assert not any(n.op_type == "BatchNormalization" and n.input[0] in convolved for n in model.graph.node)
    assert path.stat().st_size < 4 * sum(p.numel() for p in network.parameters()) + 10_000
    assert Recognizer(path).model.temperature == 0.75


def test_the_file_tells_nothing_of_where_it_was_made(exported):
    model = onnx.load(exported[2])
    for weights in model.graph.initializer:
        weights.ClearField("raw_data")  # a million bytes of chance
    content = model.SerializeToString()
    for trace in (b".py", b"site-packages", bytes(Path.home())):
        assert trace not in content


def test_the_same_weights_give_the_same_bytes(exported, tmp_path):
    name, network, path = exported
    export(
        network.to(memory_format=torch.channels_last),
        tmp_path / "again.onnx",
        temperature=0.75,
        metadata={"network": name},
    )
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()


def test_a_file_that_answers_otherwise_is_refused(exported, samples):
    _, network, path = exported
    other = copy.deepcopy(network)
    last_bias = list(other.parameters())[-1].detach()
    last_bias[3] += 0.01
    with pytest.raises(TrainingError, match=r"logits differ by 0\.01"):
        check_parity(other, path, samples)
    last_bias[3] = float("nan")
    with pytest.raises(TrainingError, match="differ by nan"):
        check_parity(other, path, samples)


def test_parity_needs_a_model_that_can_be_loaded(samples, tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"broken")
    with pytest.raises(TrainingError, match="cannot be used"):
        check_parity(build("lenet"), tmp_path / "broken.onnx", samples)


def test_register_keeps_what_is_there(tmp_path):
    add_entry(tmp_path / "one.onnx", {"file": "one.onnx", "metrics": {"accuracy": 0.5}})
    path = tmp_path / "registry.json"
    registry = json.loads(path.read_text())
    registry["default"] = "one"
    path.write_text(json.dumps(registry))
    add_entry(tmp_path / "two.onnx", {"file": "two.onnx"})
    add_entry(tmp_path / "one.onnx", {"file": "one.onnx", "metrics": {"accuracy": 0.75}})
    assert json.loads(path.read_text()) == {
        "models": {"one": {"file": "one.onnx", "metrics": {"accuracy": 0.75}}, "two": {"file": "two.onnx"}},
        "default": "one",
    }
    assert sorted(p.name for p in tmp_path.iterdir()) == [".registry.json.lock", "registry.json"]


def test_register_loses_nothing_of_trainings_that_end_together(tmp_path):
    names = [f"m{i}" for i in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: add_entry(tmp_path / f"{name}.onnx", {"file": f"{name}.onnx"}), names))
    assert sorted(read_registry(tmp_path)["models"]) == sorted(names)


def test_register_names_a_folder_that_it_cannot_write_in(tmp_path):
    (tmp_path / ".registry.json.lock").mkdir()
    with pytest.raises(TrainingError, match=r"cannot lock .*registry\.json: .*; name another folder"):
        add_entry(tmp_path / "one.onnx", {})


def test_register_does_not_overwrite_a_damaged_registry(tmp_path):
    (tmp_path / "registry.json").write_text("[1, 2")
    with pytest.raises(ModelError, match="not a registry"):
        add_entry(tmp_path / "one.onnx", {})
    assert (tmp_path / "registry.json").read_text() == "[1, 2"


def test_a_failed_write_leaves_the_old_file(tmp_path):
    folder = tmp_path / "taken"
    folder.mkdir()
    (folder / "inside").touch()
    with pytest.raises(TrainingError, match=f"cannot write {folder}"):
        write_atomically(folder, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]
