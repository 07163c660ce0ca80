"""The networks: shapes, the LeNet against a forward pass written out with scipy, and the table of names."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from scipy.signal import correlate2d
from sklearn.datasets import load_digits

from inkdigits import Recognizer, SettingError
from inkdigits.training.config import TrainConfig
from inkdigits.training.distill import start_from
from inkdigits.training.networks import NETWORKS, build


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_gives_ten_logits_for_any_batch(name):
    network = build(name).eval()
    images = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits = network(images)
        assert logits.shape == (3, 10)
        assert logits.dtype == torch.float32
        assert torch.allclose(network(images[1:2]), logits[1:2], atol=1e-5)  # an image's answer is its own


@pytest.mark.parametrize(
    ("name", "padding", "flat", "parameters"), [("lenet", 0, 256, 44_426), ("lenet_padded", 2, 400, 61_706)]
)
def test_lenet_is_the_network_of_its_description(name, padding, flat, parameters):
    """Convolutions 6 and 16 of 5×5, max-pooling by 2 before ReLU, linear 120-84-10: computed without torch."""
    torch.manual_seed(0)
    network = build(name)
    conv1, bias1, conv2, bias2, *full = (p.detach().double().numpy() for p in network.parameters())
    assert (conv1.shape, conv2.shape) == ((6, 1, 5, 5), (16, 6, 5, 5))
    assert [w.shape for w in full[::2]] == [(120, flat), (84, 120), (10, 84)]
    image = np.random.default_rng(0).random((28, 28))

    def relu_of_pooled(maps):
        side = len(maps[0]) // 2
        return np.maximum(np.reshape(maps, (len(maps), side, 2, side, 2)).max(axis=(2, 4)), 0)

    x = relu_of_pooled(
        [correlate2d(np.pad(image, padding), w[0], "valid") + b for w, b in zip(conv1, bias1, strict=True)]
    )
    x = relu_of_pooled(
        [
            sum(correlate2d(m, k, "valid") for m, k in zip(x, w, strict=True)) + b
            for w, b in zip(conv2, bias2, strict=True)
        ]
    )
    x = np.maximum(full[0] @ x.ravel() + full[1], 0)
    x = np.maximum(full[2] @ x + full[3], 0)
    expected = full[4] @ x + full[5]
    with torch.inference_mode():
        found = network(torch.tensor(image, dtype=torch.float32)[None, None])[0].numpy()
    assert np.abs(found - expected).max() < 1e-5
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert parameters == 6 * 26 + 16 * 151 + 120 * (flat + 1) + 84 * 121 + 10 * 85


@pytest.mark.parametrize(("model", "name"), [("lenet", "lenet"), ("fast", "lenet_padded")])
def test_a_shipped_lenet_answers_as_the_network_that_its_entry_names(model, name):
    recognizer = Recognizer(model)
    entry = recognizer.model.entry
    assert (entry["network"], entry["config"]["network"]) == (name, name)
    assert f"--network {name} " in entry["command"]
    digits = (load_digits().images[:200] * 15).astype(np.uint8)
    seen = recognizer.predict_batch(np.kron(digits, np.ones((1, 4, 4), np.uint8)))
    images = torch.from_numpy(np.stack([each.image for each in seen]).astype(np.float32))[:, None]
    network = build(name)
    start_from(model, network, images)
    with torch.inference_mode():
        found = network(images).numpy()
    assert np.abs(found - recognizer.logits(images.numpy())).max() < 1e-4
    assert entry["parameters"] == sum(p.numel() for p in network.parameters())


def test_the_shipped_lenet_is_the_classic_one():
    model = Recognizer("lenet").model
    assert model.entry["parameters"] == 44_426
    assert model.entry["config"]["data"] == "mnist"
    assert model.metrics["mnist"]["accuracy"] >= 0.992


def test_the_option_names_every_network():
    assert all(
        name in re.findall(r"\w+", TrainConfig.__dataclass_fields__["network"].metadata["help"]) for name in NETWORKS
    )


def test_the_seed_decides_the_weights():
    torch.manual_seed(5)
    first = build("lenet").state_dict()
    torch.manual_seed(5)
    second = build("lenet").state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_an_unknown_network_lists_the_known():
    with pytest.raises(SettingError, match=r"unknown network 'resnet'; known are: .*lenet"):
        build("resnet")
