"""The perceptron in NumPy: PyTorch as oracle for value and gradient, ONNX Runtime for the file, real digits."""

from __future__ import annotations

import io
import json
import re
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from rich.console import Console

from inkdigits import Recognizer, SettingError, TrainingError
from inkdigits.data.catalog import load
from inkdigits.evaluation.evaluate import evaluate
from inkdigits.preprocess import preprocess
from inkdigits.progress import silent
from inkdigits.settings import Settings
from inkdigits.training.config import MlpConfig
from inkdigits.training.mlp import Mlp, fit, initial, to_onnx
from inkdigits.training.prepare import TrainingSet
from inkdigits.training.train import train

pytestmark = pytest.mark.slow

CONFIG = MlpConfig(data="digits", batch_size=16, epochs=30, seed=2)


class Log(Console):
    """Keeps what it is told as text; at the line that begins with ``stop_at`` it raises KeyboardInterrupt instead."""

    def __init__(self, stop_at: str = "nowhere") -> None:
        super().__init__(file=io.StringIO(), width=200)
        self.stop_at = stop_at

    def print(self, text, **options):
        if str(text).startswith(self.stop_at):
            raise KeyboardInterrupt
        super().print(text, **options)

    @property
    def lines(self) -> list[str]:
        return self.file.getvalue().splitlines()


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return Settings(cache=str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def run(tmp_path_factory, settings):
    """One whole run."""
    out = tmp_path_factory.mktemp("run") / "new" / "mlp.onnx"
    log = Log()
    entry = train(CONFIG, out, settings, console=log)
    return SimpleNamespace(out=out, entry=entry, lines=log.lines)


@pytest.fixture(scope="module")
def test_images(settings):
    """What the network is to see of the data set's test part, (359, 784) float32, and the labels."""
    test = load("digits", settings, part="test")
    return np.stack([preprocess(image).image.ravel() for image in test.images]), test.labels


@pytest.mark.parametrize("widths", [(), (7,), (100, 40), (9, 8, 7, 6)])
def test_loss_and_gradients_are_pytorchs(widths):
    random = np.random.default_rng(4)
    network = initial(widths, random)
    network = Mlp(network.weights, tuple(random.normal(0, 0.3, b.shape).astype(np.float32) for b in network.biases))
    images = random.random((12, 28, 28), np.float32)
    labels = random.integers(0, 10, 12)
    l2 = 0.01

    x = torch.from_numpy(images).flatten(1) - 0.5
    weights = [torch.from_numpy(w.copy()).requires_grad_() for w in network.weights]
    biases = [torch.from_numpy(b.copy()).requires_grad_() for b in network.biases]
    for w, b in zip(weights[:-1], biases[:-1], strict=True):
        x = torch.tanh(x @ w + b)
    expected = x @ weights[-1] + biases[-1]
    loss = F.cross_entropy(expected, torch.from_numpy(labels))
    (loss + l2 / 2 * sum((w**2).sum() for w in weights)).backward()

    found, logits, of_weights, of_biases = network.loss_and_gradients(images, labels, l2)
    assert found == pytest.approx(loss.item(), rel=1e-5)
    np.testing.assert_allclose(logits, expected.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(network.logits(images), logits)
    for ours, theirs in zip([*of_weights, *of_biases], [*weights, *biases], strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs.grad.numpy(), atol=1e-6, rtol=1e-4)


def test_a_step_against_the_gradient_is_a_step_down():
    random = np.random.default_rng(0)
    network = initial((20,), random)
    images, labels = random.random((50, 784), np.float32), random.integers(0, 10, 50)
    before, _, of_weights, of_biases = network.loss_and_gradients(images, labels, 0)
    for array, gradient in zip([*network.weights, *network.biases], [*of_weights, *of_biases], strict=True):
        array -= np.float32(0.1) * gradient
    assert network.loss_and_gradients(images, labels, 0)[0] < before


def test_very_large_logits_give_a_finite_loss():
    network = initial((), np.random.default_rng(0))
    network.weights[0][:] *= 1e4
    loss, _, (gradient,), _ = network.loss_and_gradients(np.ones((1, 784), np.float32), np.array([3]), 0)
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()


def test_it_learns_to_read_ink_and_paper_swapped_as_well(run, settings, test_images):
    recognizer = Recognizer(run.out)
    found = evaluate(recognizer, load("digits", settings, part="test"))
    assert found.n == 359
    assert found.accuracy > 0.95
    assert run.entry["metrics"]["digits"] == found.figures()
    # Fed straight, past the normalisation, which would turn them.
    images, labels = test_images
    swapped = recognizer.logits((1 - images).reshape(-1, 1, 28, 28)).argmax(axis=1)
    assert (swapped == labels).mean() > 0.95


def test_a_network_that_never_saw_them_swapped_cannot(settings, test_images, tmp_path):
    train(MlpConfig(data="digits", batch_size=16, swap=0), tmp_path / "m.onnx", settings, console=Log())
    images, labels = test_images
    recognizer = Recognizer(tmp_path / "m.onnx")
    plain, swapped = (recognizer.logits(x.reshape(-1, 1, 28, 28)).argmax(axis=1) for x in (images, 1 - images))
    assert (plain == labels).mean() > 0.95
    assert (swapped == labels).mean() < 0.5


def test_one_line_an_epoch_with_both_accuracies(run):
    lines = [line for line in run.lines if line.startswith("epoch")]
    assert len(lines) == CONFIG.epochs
    pattern = (
        r"epoch +\d+/30  loss \d+\.\d{4}  train_accuracy [01]\.\d{4}  validation_accuracy [01]\.\d{4}  "
        r"swapped [01]\.\d{4} "
    )
    assert all(re.match(pattern, line) for line in lines)
    assert run.lines[0].startswith("mlp 784-100-40-10 on digits: 1,151 images to train on, 287 to validate on")


def test_the_registry_has_the_whole_story(run):
    assert [p.name for p in sorted(run.out.parent.iterdir())] == [".registry.json.lock", "mlp.onnx", "registry.json"]
    assert json.loads((run.out.parent / "registry.json").read_text()) == {"models": {"mlp": run.entry}}
    entry = run.entry
    assert entry["parameters"] == 784 * 100 + 100 + 100 * 40 + 40 + 40 * 10 + 10
    assert entry["bytes"] == run.out.stat().st_size
    assert MlpConfig.from_dict(entry["config"]) == CONFIG
    assert (
        entry["command"]
        == "inkdigits train --network mlp --data digits --epochs 30 --batch-size 16 --seed 2 --out mlp.onnx"
    )
    recognizer = Recognizer(run.out)
    assert recognizer.model.sha256 == entry["sha256"]
    assert recognizer.model.temperature == entry["temperature"] != 1
    assert 1 <= entry["training"]["best_epoch"] <= entry["training"]["epochs"] == CONFIG.epochs
    assert entry["metrics"]["validation"]["accuracy"] > 0.9


def test_the_same_seed_gives_the_same_file_and_another_another(run, settings, tmp_path):
    train(CONFIG, tmp_path / "same.onnx", settings, console=Log())
    assert (tmp_path / "same.onnx").read_bytes() == run.out.read_bytes()
    other = MlpConfig.from_dict({**CONFIG.to_dict(), "seed": 3, "epochs": 1})
    first = train(other, tmp_path / "other.onnx", settings, console=(log := Log()))
    assert first["sha256"] != run.entry["sha256"]
    assert log.lines[1].split("swapped")[0] != run.lines[1].split("swapped")[0]


def test_the_file_answers_as_the_network_does(tmp_path):
    random = np.random.default_rng(1)
    network = initial((30, 20, 10), random)
    (tmp_path / "n.onnx").write_bytes(to_onnx(network, temperature=1.5))
    recognizer = Recognizer(tmp_path / "n.onnx")
    assert recognizer.model.temperature == 1.5
    for n in (1, 17):
        images = random.random((n, 1, 28, 28), np.float32)
        np.testing.assert_allclose(recognizer.logits(images), network.logits(images), atol=1e-5)
    assert to_onnx(network, temperature=1.5) == to_onnx(network, temperature=1.5)
    graph = onnx.load(tmp_path / "n.onnx").graph
    assert [node.op_type for node in graph.node] == ["Flatten", *["Gemm", "Tanh"] * 3, "Gemm"]


def pool(n=200, seed=0):
    random = np.random.default_rng(seed)
    return TrainingSet(random.integers(0, 256, (n, 28, 28), np.uint8), random.integers(0, 10, n))


def test_ctrl_c_keeps_the_best_epoch_so_far():
    said = []

    def say(line):
        said.append(line)
        if len(said) == 3:
            raise KeyboardInterrupt

    fitted = fit(MlpConfig(epochs=50), pool(), pool(50, 1), say=say, progress=silent)
    assert fitted.epochs == 3
    assert 1 <= fitted.best_epoch <= 3


def test_ctrl_c_before_the_first_epoch_leaves_nothing(settings, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, tmp_path / "m.onnx", settings, console=Log("mlp 784"))
    assert list(tmp_path.iterdir()) == []


def test_the_best_epoch_is_kept_not_the_last():
    # A rate so high that it gets worse again and again.
    fitted = fit(MlpConfig(epochs=8, learning_rate=3), pool(), pool(300, 1), say=lambda line: None, progress=silent)
    images = pool(300, 1).images.astype(np.float32) / 255
    assert fitted.accuracy == (fitted.network.logits(images).argmax(axis=1) == pool(300, 1).labels).mean()
    assert fitted.best_epoch < fitted.epochs == 8


def test_a_loss_that_is_no_number_is_an_error():
    with (
        np.errstate(all="ignore"),
        pytest.raises(TrainingError, match=r"the loss became nan in epoch 1; lower the learn"),
    ):
        fit(MlpConfig(learning_rate=1e38), pool(), pool(50), say=lambda line: None, progress=silent)


@pytest.mark.parametrize("hidden", ["100,", "0", "100;40", "ten", "100, 40"])
def test_widths_that_cannot_be_used(hidden):
    with pytest.raises(SettingError, match=r"hidden must be widths such as 100,40, not '"):
        MlpConfig(hidden=hidden)


def test_no_hidden_layer_is_a_linear_model(settings, tmp_path):
    entry = train(MlpConfig(data="digits", hidden="", epochs=2), tmp_path / "m.onnx", settings, console=Log())
    assert entry["parameters"] == 7850
    assert "--hidden ''" in entry["command"]


def test_a_wrong_name_for_the_model_is_told_before_anything(settings, tmp_path):
    with pytest.raises(SettingError, match=r"suffix \.onnx, not .*m\.pt"):
        train(CONFIG, tmp_path / "m.pt", settings, console=Log())
