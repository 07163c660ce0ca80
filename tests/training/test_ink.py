"""The network that finds ink: its pages, its input, its training and its file."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from scipy import ndimage

from inkdigits.errors import TrainingError
from inkdigits.progress import Report
from inkdigits.settings import Settings
from inkdigits.synthesis.pages import Hands, compose
from inkdigits.training import ink, steps
from inkdigits.training.config import InkConfig
from inkdigits.training.ink import InkNetwork, export_ink, train_ink
from inkdigits.training.register import register_network

from support.drawings import DIGITS
from support.interrupted import stopped_at_the_second_validation

ROOT = Path(__file__).parents[2]


@pytest.fixture
def drawn(monkeypatch):
    """Handwriting without data sets: ten digits as strokes, and blobs as scans."""
    scan = np.zeros((28, 28), np.uint8)
    scan[6:22, 12:16] = 255
    strokes = [[np.asarray(stroke, float) for stroke in digit] for digit in DIGITS.values()]
    hands = Hands(scan[None], strokes, strokes[:2])
    monkeypatch.setattr(ink, "hands", lambda settings, part: hands)
    monkeypatch.setattr(ink, "VALIDATION_PAGES", 4)
    monkeypatch.setattr(steps, "REPORT_EVERY", 5)
    monkeypatch.setattr(ink, "SIDES", ((64, 64), (48, 64)))
    return hands


def test_pages_are_reproducible_and_their_ink_differs_from_the_paper(drawn):
    told = 0
    for seed in range(60):
        page = compose(drawn, 96, 64, np.random.default_rng(seed))
        again = compose(drawn, 96, 64, np.random.default_rng(seed))
        assert np.array_equal(page.grey, again.grey)
        assert np.array_equal(page.ink, again.ink)
        assert page.grey.shape == page.ink.shape == (96, 64)
        assert page.grey.dtype == np.uint8
        assert page.ink.min() >= 0
        assert page.ink.max() <= 1
        solid = page.ink > 0.6
        if not solid.any():
            told += 1
            continue
        around = ndimage.binary_dilation(solid, iterations=3) & (page.ink < 0.05)
        told += not around.any() or abs(page.grey[solid].mean() - page.grey[around].mean()) > 3
    assert told >= 57


def test_a_resumed_run_gives_the_same_network(drawn, tmp_path, capsys):
    config = InkConfig(steps=10, threads=1, workers=0)
    whole, figures = train_ink(config, None, Settings(), Report())
    assert 0 <= figures["overlap"] <= 1
    checkpoint = tmp_path / "ink.ckpt"
    with stopped_at_the_second_validation(ink):
        train_ink(config, checkpoint, Settings(), Report())
    resumed, again = train_ink(config, checkpoint, Settings(), Report(), resume=True)
    assert again == figures
    for one, other in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(TrainingError, match="another run: seed"):
        train_ink(InkConfig(steps=10, threads=1, workers=0, seed=1), checkpoint, Settings(), Report(), resume=True)


def test_the_file_gives_the_same_logits_at_any_size(tmp_path):
    network = InkNetwork().eval()
    export_ink(network, tmp_path / "ink.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "ink.onnx", providers=["CPUExecutionProvider"])
    for shape in [(1, 2, 160, 160), (3, 2, 48, 112)]:
        x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        [found] = session.run(None, {"planes": x})
        with torch.inference_mode():
            expected = network(torch.from_numpy(x)).numpy()
        assert found.shape == (shape[0], 1, *shape[2:])
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.999  # 8-bit weights
        assert np.abs(found - expected).max() < 0.05 * np.ptp(expected)
    assert (tmp_path / "ink.onnx").stat().st_size < 150_000


def test_the_registry_knows_the_file(tmp_path):
    out = tmp_path / "ink.onnx"
    export_ink(InkNetwork().eval(), out)
    (tmp_path / "registry.json").write_text('{"default": "a", "models": {"a": {"file": "a.onnx"}}}')
    config = InkConfig(steps=60, threads=1)
    register_network(out, "python scripts/train_ink.py ink.onnx", config, 59_484, {"loss": 0.3})
    registry = json.loads((tmp_path / "registry.json").read_text())
    assert registry["default"] == "a"
    assert list(registry["models"]) == ["a"]
    assert registry["ink"]["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert registry["ink"]["config"]["steps"] == 60


def test_the_script_names_an_option_that_cannot_be_used(tmp_path):
    command = [sys.executable, "scripts/train_ink.py", str(tmp_path / "ink.onnx"), "--steps", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("train_ink: ")
    assert "steps" in done.stderr
    assert "Traceback" not in done.stderr
