"""The network that finds ink: its pages, its input, its training and its file."""

import numpy as np
import onnxruntime
import pytest
import torch
from scipy import ndimage

from inkdigits.errors import TrainingError
from inkdigits.progress import Report
from inkdigits.settings import Settings
from inkdigits.synthesis.pages import Hands, compose
from inkdigits.training import ink
from inkdigits.training.config import InkConfig
from inkdigits.training.ink import InkNetwork, export_ink, train_ink
from inkdigits.training.planes import FAINTEST, MOST, NEAR, planes

from support.drawings import DIGITS


@pytest.fixture
def drawn(monkeypatch):
    """Handwriting without data sets: ten digits as strokes, and blobs as scans."""
    scan = np.zeros((28, 28), np.uint8)
    scan[6:22, 12:16] = 255
    strokes = [[np.asarray(stroke, float) for stroke in digit] for digit in DIGITS.values()]
    hands = Hands(scan[None], strokes, strokes[:2])
    monkeypatch.setattr(ink, "hands", lambda settings, part: hands)
    monkeypatch.setattr(ink, "VALIDATION_PAGES", 4)
    monkeypatch.setattr(ink, "REPORT_EVERY", 5)
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


@pytest.mark.parametrize("shape", [(160, 160), (40, 160), (16, 16)])
def test_planes_equal_their_definition(shape):
    grey = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)
    whole, local = planes(grey)
    levels = np.sort(grey.ravel())
    low, middle, high = (levels[int(q * (levels.size - 1))] for q in (0.01, 0.5, 0.99))
    assert np.allclose(whole, (grey - middle) / (high - low), atol=1e-6)
    for y, x in [(0, 0), (shape[0] - 1, 3), (shape[0] // 2, shape[1] // 2)]:
        near = grey[max(y - NEAR, 0) : y + NEAR + 1, max(x - NEAR, 0) : x + NEAR + 1].astype(float)
        expected = (grey[y, x] - near.mean()) / max(near.std(), FAINTEST)
        assert local[y, x] == pytest.approx(np.clip(expected, -MOST, MOST), abs=1e-4)


def test_planes_ignore_brightness_and_contrast_and_a_negative_changes_the_sign():
    grey = np.random.default_rng(0).integers(100, 200, (64, 48)).astype(np.float32)
    assert np.allclose(planes(grey), planes(0.5 * grey + 20), atol=1e-5)
    negative = planes(255 - grey)
    assert np.allclose(planes(grey)[1], -negative[1], atol=1e-4)
    assert not planes(np.full((20, 20), 77, np.float32)).any()


def test_a_resumed_run_gives_the_same_network(drawn, tmp_path, capsys):
    config = InkConfig(steps=10, threads=1, workers=0)
    whole, figures = train_ink(config, None, Settings(), Report())
    assert 0 <= figures.overlap <= 1
    real, seen = ink.validate, []

    def stopped(*args):
        if seen:
            raise KeyboardInterrupt
        seen.append(1)
        return real(*args)

    checkpoint = tmp_path / "ink.ckpt"
    ink.validate = stopped
    try:
        with pytest.raises(KeyboardInterrupt):
            train_ink(config, checkpoint, Settings(), Report())
    finally:
        ink.validate = real
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
        assert np.abs(found - expected).max() < 1e-4
