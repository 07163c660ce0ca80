"""The line network: its batches, its loss, a run that is resumed, its file."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import torch

from inkdigits.prediction import CHARACTERS
from inkdigits.preprocess.layout import LINE_HEIGHT
from inkdigits.progress import Report
from inkdigits.reading.lines import BOX, FRAME, LOGITS
from inkdigits.self_test import known_digit
from inkdigits.settings import Settings
from inkdigits.synthesis.lines import Hand, compose_line, put_on_paper, sample
from inkdigits.training import line, steps
from inkdigits.training.config import LineConfig
from inkdigits.training.line import LineNetwork, export_line, greedy, train_line
from inkdigits.training.line_hands import (
    LineHands,
    mixed_writers,
    pen_hands,
    printed_hands,
    scanned_hands,
    stroke_width,
)
from inkdigits.training.register import register_network

from support.interrupted import stopped_at_the_second_validation
from support.paths import ROOT


@pytest.fixture
def hands(monkeypatch):
    digits = {}
    for digit in range(10):
        ink = 255 - np.asarray(known_digit(digit))
        rows, columns = np.flatnonzero(ink.max(axis=1) > 60), np.flatnonzero(ink.max(axis=0) > 60)
        digits[digit] = [ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]]
    hand, sign = Hand(digits, 18.0, 2.2), [np.array([[0.0, 0], [5, 9], [0, 9]])]
    found = LineHands([hand], [hand], [hand], [sign])
    monkeypatch.setattr(line, "line_hands", lambda settings, part: found)
    monkeypatch.setattr(line, "VALIDATION_LINES", 3)
    monkeypatch.setattr(line, "BATCHES", (4, 8))
    monkeypatch.setattr(steps, "REPORT_EVERY", 3)
    return found


def test_batches_have_the_text_its_middles_and_its_boxes(hands):
    rng = np.random.default_rng(0)
    lines = [sample(compose_line("70.2", hands.pens[0], rng, contact="apart"), rng) for _ in range(6)]
    batch = line._batch(lines)
    for i, one in enumerate(lines):
        text = "".join(CHARACTERS[c - 1] for c in batch.targets[i, : batch.lengths[i]])
        assert text == "70.2"
        there = torch.nonzero(batch.middles[i] >= 0)[:, 0]
        assert [CHARACTERS[batch.middles[i, t] - 1] for t in there] == list("70.2")
        for (left, top, right, bottom), t in zip(one.boxes, there.tolist(), strict=True):
            assert left - FRAME <= FRAME * t <= right + FRAME
            assert batch.has_box[i, t]
            x = FRAME * t + FRAME / 2
            before, above, after, below = (batch.boxes[i, :, t] * LINE_HEIGHT).tolist()
            assert np.allclose([x - before, above, x + after, below], [left, top, right, bottom], atol=1e-3)


@pytest.mark.parametrize("seed", range(6))
def test_a_line_on_paper_is_found_where_its_boxes_are(hands, seed):
    rng = np.random.default_rng(seed)
    written = compose_line("704", hands.pens[0], rng, contact="apart", is_varied=False)
    picture, (left, top, right, bottom) = put_on_paper(written.cover, np.random.default_rng(seed))
    assert picture.dtype == np.uint8
    assert 0 <= left < right <= picture.shape[1]
    assert 0 <= top < bottom <= picture.shape[0]
    found = line._found(written, np.random.default_rng(seed))
    assert found.cover.shape == (bottom - top, right - left)
    assert found.text == "704"
    for x0, y0, x1, y1 in found.boxes:
        ink = found.cover[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))]
        assert (ink > 0.5).any(axis=1).mean() > 0.7  # of the rows of each digit's box
    between = int((found.boxes[0, 2] + found.boxes[1, 0]) / 2)
    assert (found.cover[:, between] < 0.5).all()


def test_a_blank_paper_gives_the_line_as_it_was_written(hands, monkeypatch):
    written = compose_line("7", hands.pens[0], np.random.default_rng(0))
    monkeypatch.setattr(line, "find_page_ink", lambda grey, step: None)
    assert line._found(written, np.random.default_rng(0)) is written


def test_mixed_hands_have_strokes_of_one_width():
    widths = np.repeat([2, 6, 4], 110)
    images = np.zeros((330, 28, 28), np.uint8)
    for image, width in zip(images, widths, strict=True):
        image[4:24, 10 : 10 + width] = 255
    of = mixed_writers(images)
    assert [set(of[widths == width]) for width in (2, 4, 6)] == [{0}, {1}, {2}]


def test_print_has_each_digit_in_its_own_size():
    hands = printed_hands()
    assert len(hands) == 11
    for hand in hands:
        assert sorted(hand.digits) == list(range(10))
        heights = [len(hand.digits[d][0]) for d in range(10)]
        assert 0.5 * hand.size < min(heights) <= max(heights) < 1.5 * hand.size


def test_a_network_that_is_sure_of_the_text_has_hardly_any_loss(hands):
    rng = np.random.default_rng(1)
    batch = line._batch([sample(compose_line("31", hands.pens[0], rng, contact="apart"), rng)])
    output = torch.zeros(1, LOGITS + BOX, batch.middles.shape[1])
    output[:, 0] = 20.0
    for t in torch.nonzero(batch.middles[0] >= 0)[:, 0].tolist():
        output[0, 0, t], output[0, batch.middles[0, t], t] = 0.0, 20.0
    output[:, LOGITS:] = batch.boxes
    assert line._loss(output, batch) < 0.01
    assert greedy(output[0, :LOGITS].numpy()) == "31"
    output[0, LOGITS:] += 1
    assert line._loss(output, batch) > 1


def test_a_resumed_run_gives_the_same_network(hands, tmp_path):
    config = LineConfig(steps=6, threads=1, workers=0)
    whole, figures = train_line(config, None, Settings(), Report())
    assert set(figures) == {f"{s} {c}" for s in ("scans", "pens") for c in ("apart", "tight", "touching")}
    checkpoint = tmp_path / "line.ckpt"
    with stopped_at_the_second_validation(line):
        train_line(config, checkpoint, Settings(), Report())
    resumed, again = train_line(config, checkpoint, Settings(), Report(), resume=True)
    assert again == figures
    for one, other in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_the_file_gives_the_same_frames_at_any_width(tmp_path):
    network = LineNetwork().eval()
    export_line(network, tmp_path / "line.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "line.onnx", providers=["CPUExecutionProvider"])
    for n, width in [(1, 24), (3, 200)]:
        ink = np.random.default_rng(0).random((n, 1, LINE_HEIGHT, width)).astype(np.float32)
        [found] = session.run(None, {"ink": ink})
        with torch.inference_mode():
            expected = network(torch.from_numpy(ink)).numpy()
        assert found.shape == (n, LOGITS + BOX, width // FRAME)
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.999  # 8-bit weights
    assert (tmp_path / "line.onnx").stat().st_size < 400_000


def test_the_registry_knows_the_file(tmp_path):
    out = tmp_path / "line.onnx"
    export_line(LineNetwork().eval(), out)
    register_network(out, "python scripts/train_line.py line.onnx", LineConfig(steps=6), 1, {"scans apart": 0.98765})
    registry = json.loads((tmp_path / "registry.json").read_text())
    assert registry["line"]["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert registry["line"]["metrics"] == {"validation": {"scans apart": 0.9877}}


def test_the_script_names_an_option_that_cannot_be_used(tmp_path):
    command = [sys.executable, "scripts/train_line.py", str(tmp_path / "line.onnx"), "--learning-rate", "-1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("train_line: ")
    assert "learning_rate" in done.stderr


def test_hands_are_writers_with_all_digits():
    images = np.zeros((23, 28, 28), np.uint8)
    images[:, 5:20, 12:15] = 255
    labels = np.array([*range(10), *range(10), 1, 2, 3])
    writers = np.array([7] * 10 + [3] * 10 + [5] * 3)
    hands = scanned_hands(images, labels, writers)
    assert len(hands) == 2
    assert all(glyphs[0].shape == (15, 3) for glyphs in hands[0].digits.values())
    assert hands[0].pen == pytest.approx(stroke_width(images[0]))


def test_stroke_width_of_bars():
    image = np.zeros((28, 28), np.uint8)
    image[4:24, 10:13] = 255
    assert stroke_width(image) == pytest.approx(2.6, abs=0.8)


def test_pens_of_each_writer_are_drawn(monkeypatch):
    from inkdigits.data.pen import PenDigit
    from inkdigits.training import line_hands

    strokes = (np.array([[0.0, 0], [60, 0], [20, 100]]),)
    drawn = [PenDigit(digit, writer, strokes) for digit in range(10) for writer in (1, 2)]
    monkeypatch.setattr(line_hands, "load_pendigits", lambda settings: drawn)
    monkeypatch.setattr(line_hands, "PEN_WRITERS", {"train": (1, 2)})
    hands = pen_hands(Settings(), "train", (2.0, 5.0))
    assert [hand.pen for hand in hands] == [2.0, 5.0, 2.0, 5.0]
    assert all(len(hand.digits[7]) == 1 and abs(len(hand.digits[7][0]) - 40) < 8 for hand in hands)
