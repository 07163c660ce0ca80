"""A run that starts from an exported model, and one that learns from the answers of others."""

import json
import math

import numpy as np
import pytest
import torch

from inkdigits.cli import main
from inkdigits.errors import ModelError, SettingError, TrainingError
from inkdigits.recognizer import Recognizer
from inkdigits.training.config import TrainConfig
from inkdigits.training.distill import Teachers, blend, lineage, start_from
from inkdigits.training.export import export
from inkdigits.training.fit import _loss
from inkdigits.training.networks import build
from inkdigits.training.prepare import NO_DIGIT, SEVERAL

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def images():
    from sklearn.datasets import load_digits

    small = torch.from_numpy(load_digits().images[:200]).float()[:, None] / 16
    return torch.nn.functional.interpolate(small, (28, 28), mode="bilinear")


def trained(name, images, rejects=False):
    """A network whose batch normalisation knows these images, as after training."""
    torch.manual_seed(3)
    network = build(name, more=int(rejects)).train()
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = None  # the mean of all batches
    for batch in images.split(50):
        network(batch)
    return network.eval()


@pytest.mark.parametrize(
    ("name", "rejects"),
    [("cnn", True), ("cnn_small", False), ("lenet", False), ("baseline_deep", False), ("sprint", True)],
)
def test_a_network_goes_on_where_the_file_stands(tmp_path, images, name, rejects):
    teacher = trained(name, images, rejects)
    path = tmp_path / "model.onnx"
    export(teacher, path, temperature=1.0)
    torch.manual_seed(4)
    network = build(name, more=int(rejects))
    start_from(str(path), network, images)
    with torch.inference_mode():
        expected = Recognizer(path).logits(images.numpy())
        assert np.abs(network(images).numpy() - expected).max() < 1e-4
        # In training it normalises by each batch's own statistics, which those of these images are near to.
        for module in network.train().modules():
            if isinstance(module, torch.nn.Dropout):
                module.eval()
        assert np.abs(network(images).numpy() - expected).mean() < 0.05 * np.abs(expected).max()


def test_a_model_of_another_network_is_told(tmp_path, images):
    path = tmp_path / "model.onnx"
    export(trained("cnn_small", images), path, temperature=1.0)
    with pytest.raises(TrainingError, match=r"model\.onnx does not hold the weights of this network: features\.0\.0"):
        start_from(str(path), build("cnn_medium"), images)
    export(trained("cnn_small", images, True), path, temperature=1.0)
    with pytest.raises(TrainingError, match=r"full\.weight is \(11, 32\), not \(10, 32\).*the same --non-digits"):
        start_from(str(path), build("cnn_small"), images)
    with pytest.raises(ModelError, match=r"no model 'nowhere\.onnx'"):
        start_from("nowhere.onnx", build("cnn_small"), images)


@pytest.mark.parametrize(("before", "after"), [(0, 1), (0, 2), (1, 2)])
def test_new_outputs_start_from_chance_and_the_others_where_the_file_stands(tmp_path, images, before, after):
    path = tmp_path / "before.onnx"
    export(trained("cnn_small", images, before), path, temperature=1.0)
    network = build("cnn_small", more=after)
    new = network.full.weight[10 + before :].clone()
    start_from(str(path), network, images)
    assert torch.equal(network.full.weight[10 + before :], new)
    expected = Recognizer(path).logits(images.numpy())
    blended = blend(network, str(path), 0.5, images)
    with torch.inference_mode():
        for each in (network.eval(), blended):
            assert np.abs(each(images).numpy()[:, : 10 + before] - expected).max() < 1e-4


def test_a_blend_lies_between_what_was_and_what_was_learnt(tmp_path, images):
    path = tmp_path / "before.onnx"
    export(trained("cnn_small", images), path, temperature=1.0)
    network = build("cnn_small")
    start_from(str(path), network, images)
    with torch.no_grad():
        network.full.weight += 0.3
        before, after = Recognizer(path).logits(images.numpy()), network.eval()(images).numpy()
        for share in (0.0, 0.25, 1.0):
            found = blend(network, str(path), share, images)(images).numpy()
            # The last layer alone has changed, and in it the logits are linear.
            assert np.abs(found - (share * before + (1 - share) * after)).max() < 1e-3


def test_teachers_answer_with_the_mean_of_their_probabilities(images):
    both, cnn, fast = (Teachers(names)(images) for names in ("cnn,fast", "cnn", " fast"))
    assert torch.allclose(both, (cnn + fast) / 2)
    assert torch.allclose(both.sum(dim=1), torch.ones(len(images)), atol=1e-5)
    logits = Recognizer("cnn").logits(images.numpy())[:, :10]
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.abs(cnn.numpy() - expected).max() < 1e-5


def test_the_loss_is_the_sum_of_what_labels_and_teachers_ask_for():
    logits = torch.tensor([[2.0, 0.0] + [0.0] * 8, [0.0, 1.0] + [0.0] * 8], requires_grad=True)
    labels = torch.tensor([0, 1])
    taught = torch.full((2, 10), 0.1)
    config = TrainConfig(label_smoothing=0.0, distillation=0.25)
    found, plain, right = _loss(logits, labels, config, taught)
    log_p = logits.detach().log_softmax(dim=1)
    cross = -(log_p[0, 0] + log_p[1, 1]) / 2
    assert math.isclose(plain.item(), cross.item(), rel_tol=1e-6)
    assert math.isclose(found.item(), (0.75 * cross - 0.25 * log_p.mean(dim=1).mean()).item(), rel_tol=1e-6)
    assert right == 2
    # Of a share of 1 nothing pulls any more once the network answers as its teachers do.
    config = TrainConfig(label_smoothing=0.0, distillation=1.0)
    _loss(logits, labels, config, logits.detach().softmax(dim=1))[0].backward()
    assert logits.grad.abs().max() < 1e-7


def test_the_command_line_starts_from_a_model_and_tells_where_it_came_from(tmp_path):
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    common = ["train", "--data", "digits", "--network", "cnn_small", "--no-record", "--threads", "1"]
    assert main([*common, "--epochs", "3", "--out", str(first)]) == 0
    assert main([*common, "--epochs", "1", "--learning-rate", "0", "--init", str(first), "--out", str(second)]) == 0
    entries = json.loads((tmp_path / "registry.json").read_text())["models"]
    # Nothing was learnt, at a rate of 0; batch statistics alone have moved.
    told, found = (entries[name]["metrics"]["digits"]["accuracy"] for name in ("first", "second"))
    assert abs(found - told) < 0.02
    assert entries["second"]["lineage"]["first.onnx"]["sha256"] == entries["first"]["sha256"]
    assert entries["second"]["lineage"]["first.onnx"]["command"] == entries["first"]["command"]
    again = ["--learning-rate", "0.01", "--init", str(first), "--keep", "1", "--epochs", "1"]
    assert main([*common, *again, "--out", str(tmp_path / "kept.onnx")]) == 0
    kept, was = (Recognizer(tmp_path / f"{name}.onnx") for name in ("kept", "first"))
    image = np.random.default_rng(0).random((4, 1, 28, 28), np.float32)
    assert np.abs(kept.logits(image) - was.logits(image)).max() < 1e-3
    third = tmp_path / "third.onnx"
    taught = ["--teacher", f"{second},fast", "--epochs", "1", "--out", str(third)]
    assert main([*common, *taught]) == 0
    assert list(json.loads((tmp_path / "registry.json").read_text())["models"]["third"]["lineage"]) == [
        "first.onnx",
        "second.onnx",
        "fast.onnx",
    ]


def test_what_is_not_registered_has_its_hash_for_lineage(tmp_path, images):
    path = tmp_path / "model.onnx"
    export(trained("cnn_small", images), path, temperature=1.0)
    assert dict(lineage("", str(path))) == {"model.onnx": {"sha256": Recognizer(path).model.sha256}}


def test_there_is_nothing_to_keep_of_fresh_weights():
    with pytest.raises(SettingError, match=r"init_weight is 0\.5, but init is empty; give init"):
        TrainConfig(init_weight=0.5)


def test_a_teacher_that_is_not_there_ends_the_run_before_the_data_is_read(tmp_path, capsys):
    assert main(["train", "--data", "digits", "--teacher", "nobody", "--no-record", "--out", str(tmp_path / "m.onnx")])
    assert "no model 'nobody'" in capsys.readouterr().err


def test_non_digits_train_only_the_outputs_after_the_ten_and_digits_are_not_several():
    logits = torch.randn(3, 12, generator=torch.Generator().manual_seed(2), requires_grad=True)
    labels = torch.tensor([4, NO_DIGIT, SEVERAL])
    config = TrainConfig(label_smoothing=0.0)
    objective, plain, _ = _loss(logits, labels, config)
    z = logits.detach()
    digit, several = (
        torch.nn.functional.binary_cross_entropy_with_logits(z[:, at], torch.tensor(truth))
        for at, truth in ((10, [1.0, 0.0, 0.0]), (11, [0.0, 0.0, 1.0]))
    )
    cross = -z[0, :10].log_softmax(dim=0)[4]
    assert plain.item() == pytest.approx(cross.item(), rel=1e-6)
    assert objective.item() == pytest.approx((cross + 0.5 * digit + 0.2 * several).item(), rel=1e-6)
    objective.backward()
    assert logits.grad[1:, :10].abs().max() == 0
