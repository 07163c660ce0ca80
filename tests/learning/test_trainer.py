"""A challenger: what it is trained on, and what it starts from."""

import json

import numpy as np
import pytest

from inkdigits import Recognizer, SettingError
from inkdigits.feedback.split import Corrections
from inkdigits.learning.trainer import REPEATS, REPLAYED, SHARE, _mixed, origin_of, train_challenger
from inkdigits.network import read_registry
from inkdigits.progress import Report
from inkdigits.settings import Settings
from inkdigits.training.prepare import NO_DIGIT, TrainingSet


def corrections(n, *, label=None):
    rng = np.random.default_rng(n)
    labels = np.full(n, label) if label is not None else rng.integers(NO_DIGIT, 10, n)
    clients = np.array([f"client-{i % 7}" for i in range(n)])
    images = rng.integers(0, 256, (n, 28, 28)).astype(np.uint8)
    return Corrections(images, labels, clients, np.full(n, "page"), np.arange(n))


def replayed(n):
    images = np.zeros((n, 28, 28), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.arange(n) // 256, np.arange(n) % 256
    return TrainingSet(images, np.arange(n) % 10)


@pytest.mark.parametrize("n", [5, 100, 600, 3000, 20_000])
def test_corrections_are_a_share_of_each_pass(n):
    given = corrections(n)
    mixed = _mixed(replayed(60_000), given, 0)
    times = np.unique((mixed.images[None, -n:] == given.images).all(axis=(2, 3)).sum())
    assert times == n, "the corrections come last"
    theirs = len(mixed) - len(np.unique(mixed.images[:-n].reshape(-1, 784), axis=0)) if n < 100 else None
    repeated = sum((mixed.images == given.images[0]).all(axis=(1, 2)))
    assert 1 <= repeated <= REPEATS
    share = repeated * n / len(mixed)
    assert share == pytest.approx(SHARE, abs=0.08) or (repeated == REPEATS and share < SHARE)
    assert len(mixed) - repeated * n >= REPLAYED
    assert theirs is None or theirs > 0
    assert set(mixed.labels[-n:][given.labels == NO_DIGIT]) <= {NO_DIGIT}


def test_little_to_replay_is_replayed_whole():
    mixed = _mixed(replayed(300), corrections(400), 0)
    assert len(mixed) == 700


def test_the_origin_of_a_model(models, tmp_path):
    assert origin_of(models, "first") == "first"
    path = models / "registry.json"
    registry = read_registry(models)
    registry["models"]["first"].pop("config")
    path.write_text(json.dumps(registry))
    with pytest.raises(SettingError, match="first cannot be fine-tuned"):
        origin_of(models, "first")


@pytest.mark.slow
def test_a_quantized_champion_starts_from_its_float_model(models, run_command, monkeypatch):
    code, _, err = run_command("quantize", models / "first.onnx", "--out", models / "small.onnx")
    assert code == 0, err
    assert origin_of(models, "small") == "first"
    settings = Settings.from_env()
    names = list(train_challenger(corrections(50, label=3), models, "small", "new", settings, Report(), data="digits"))
    assert names == ["new_float", "new"]
    entry = read_registry(models)["models"]["new"]
    assert entry["training"]["quantised"] == "int8"
    assert list(entry["lineage"])[-1] == "new_float.onnx"
    before = Recognizer(models / "new.onnx").model.sha256
    assert list(train_challenger(corrections(50), models, "small", "new", settings, Report(), data="")) == names
    assert Recognizer(models / "new.onnx").model.sha256 == before, "what is done is not done again"
    (models / "first.onnx").unlink()
    with pytest.raises(SettingError, match=r"small is quantized to 8-bit integers, and first.onnx is not in"):
        origin_of(models, "small")
