"""Reading numbers on the device: the same texts and boxes as in Python, in a real browser."""

import base64

import numpy as np
import pytest

from inkdigits import Recognizer
from inkdigits.synthesis.lines import Hand, compose_line, line_text
from inkdigits.synthesis.strings import cropped

from support import browser
from support.drawings import DIGITS, picture
from support.files import encode

pytestmark = pytest.mark.slow

chromium, visit = browser.chromium, browser.visit

NUMBERS = 100
PAGES = 12  # of several numbers
ALTERNATIVES = 3
BATCH = 25  # pictures handed to the browser at a time
CLOSE = 0.02  # probability; where two texts are about as likely, a grey level moves more than one percent
NEAR = 4.0  # pixels between their boxes: of two frames that are as certain, either may give the box

READ = """async ([pictures, alternatives]) => {
  const { DeviceBackend } = await import('./device-backend.js');
  window.device ??= new DeviceBackend();
  const read = [];
  for (const picture of pictures) {
    const file = new Blob([Uint8Array.from(atob(picture), (letter) => letter.charCodeAt(0))]);
    read.push(await window.device.read(file, alternatives));
  }
  return read;
}"""


@pytest.fixture(scope="module")
def reader():
    return Recognizer()


def hand(rng):
    """The digits of tests/support/drawings.py, of a size and with a pen of their own."""
    size, pen = rng.uniform(28, 70), rng.uniform(2.5, 6)
    digits = {digit: [cropped(255 - picture(digit, 160, ink_size=size, pen=pen))] for digit in DIGITS}
    return Hand(digits, size, pen)


def on_paper(cover, rng):
    """Ink on paper of many kinds: dark on light, light on dark, faint, in color, unevenly lit, grainy."""
    cover = np.pad(cover, int(rng.integers(12, 40)))[..., None]
    paper, ink = (np.array(color, float) for color in ([250, 250, 250], [30, 30, 30]))
    kind = int(rng.integers(6))
    if kind == 1:
        paper, ink = ink, paper
    elif kind == 2:
        ink = paper * 0.7
    elif kind == 3:
        paper, ink = np.array([240.0, 225, 190]), np.array([40.0, 60, 160])
    page = paper + (ink - paper) * cover
    if kind == 4:
        page = page * np.linspace(0.6, 1, page.shape[1])[None, :, None]
    elif kind == 5:
        page = page * 0.8 + rng.normal(0, 5, page.shape[:2])[..., None]
    return encode(np.clip(page, 0, 255).astype(np.uint8))


def composed_numbers():
    rng = np.random.default_rng(11)
    for _ in range(NUMBERS):
        text = line_text(rng, int(rng.integers(1, 11))).replace("?", "")
        yield on_paper(compose_line(text or "0", hand(rng), rng).cover, rng)


def composed_pages():
    """Numbers in rows and columns, some of them missing."""
    rng = np.random.default_rng(12)
    for _ in range(PAGES):
        page = np.zeros((900, 1300), np.float32)
        for top in range(20, 20 + 170 * int(rng.integers(2, 5)), 170):
            for left in range(20, 20 + 420 * int(rng.integers(1, 4)), 420):
                if rng.random() < 0.8:
                    text = "".join(rng.choice(list("0123456789"), int(rng.integers(1, 5))))
                    cover = compose_line(text, hand(rng), rng, contact="apart").cover[:140, :330]
                    page[top : top + cover.shape[0], left : left + cover.shape[1]] = cover
        yield on_paper(page, rng)


def read_in_browser(page, files):
    answers = []
    for i in range(0, len(files), BATCH):
        some = [base64.b64encode(data).decode() for data in files[i : i + BATCH]]
        answers += page.evaluate(READ, [some, ALTERNATIVES])
    return answers


def near(here, there):
    return np.abs(np.array(list(here.values())) - np.array(list(there.values()))).max() <= NEAR


@pytest.mark.parametrize("pictures", [composed_numbers, composed_pages])
def test_numbers_are_read_as_in_python(visit, reader, pictures):
    files = [*pictures(), encode(np.full((60, 200), 255, np.uint8)), encode(picture(7))]
    several = 0
    for i, (here, data) in enumerate(zip(read_in_browser(visit(), files), files, strict=True)):
        there = reader.read(data, alternatives=ALTERNATIVES).to_dict()
        assert here.keys() == there.keys() | {"model"}  # who read it
        for same in ("text", "is_number", "lines", "table", "blank", "polarity"):
            assert here[same] == there[same], i
        assert here["confidence"] == pytest.approx(there["confidence"], abs=CLOSE)
        several += len(there["text"]) > 1
        for mine, other in zip(here["numbers"], there["numbers"], strict=True):
            assert mine.keys() == other.keys()
            assert (mine["value"], mine["is_number"]) == (other["value"], other["is_number"])
            assert near(mine["box"], other["box"])
            likely = [each["text"] for each in other["alternatives"] if each["confidence"] > 2 * CLOSE]
            assert {each["text"] for each in mine["alternatives"]} >= set(likely)
            for digit, as_in_python in zip(mine["digits"], other["digits"], strict=True):
                for same in ("char", "digit", "touching"):
                    assert digit[same] == as_in_python[same]
                assert digit["confidence"] == pytest.approx(as_in_python["confidence"], abs=CLOSE)
                assert near(digit["box"], as_in_python["box"]), (i, there["text"])
    assert several > 0.7 * len(files)
