"""Reading numbers on the device, in pictures and drawings: the same texts and boxes as in Python, in a real browser."""

import base64
from hashlib import sha256

import numpy as np
import pytest

from inkdigits import Recognizer
from inkdigits.preprocess.strokes import check_strokes, draw_strokes
from inkdigits.synthesis.lines import Hand, compose_line, line_text
from inkdigits.synthesis.strings import cropped

from support import browser
from support.drawings import DIGITS, SIGNS, number_strokes, picture
from support.files import encode

pytestmark = pytest.mark.slow

chromium, visit = browser.chromium, browser.visit

NUMBERS = 100
PAGES = 12  # of several numbers
DRAWINGS = 60
ALTERNATIVES = 3
BATCH = 25  # pictures handed to the browser at a time
CLOSE = 0.02  # probability; where two texts are about as likely, a grey level moves more than one percent
NEAR = 4.0  # pixels between their boxes: of two frames that are as certain, either may give the box

READ = """async ([pictures, alternatives]) => {
  const { DeviceBackend } = await import('./device-backend.js');
  window.device ??= new DeviceBackend();
  const read = [];
  for (const picture of pictures) {
    const isFile = typeof picture === 'string';
    const page = isFile ? new Blob([Uint8Array.from(atob(picture), (letter) => letter.charCodeAt(0))]) : picture;
    read.push(await window.device.read(page, alternatives));
  }
  return read;
}"""
DRAW = """async (drawings) => {
  const { drawStrokes } = await import('./preprocess/strokes.js');
  return Promise.all(drawings.map(async (strokes) => {
    const { picture: { width, height, data }, scale, left, top } = drawStrokes(strokes);
    const digest = [...new Uint8Array(await crypto.subtle.digest('SHA-256', data))];
    return { scale, left, top, width, height, digest };
  }));
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


def drawn_numbers():
    """Numbers as pen strokes, by an unsteady hand: slanted, crowded so that they overlap, with signs, and in lines."""
    rng = np.random.default_rng(13)
    for _ in range(DRAWINGS):
        strokes = []
        for line in range(int(rng.integers(1, 3))):
            height = rng.uniform(60, 140)
            text = "".join(rng.choice(list("0123456789"), int(rng.integers(1, 8))))
            gap = rng.choice([-0.12, 0.1, 0.35, 0.6])
            slant, top = rng.uniform(-0.2, 0.3), 260.0 * line + rng.uniform(0, 20)
            some = number_strokes(text, height, gap)
            if rng.random() < 0.4:
                at = rng.integers(len(some))
                sign = SIGNS[str(rng.choice(list(SIGNS)))]
                some.append(sign * height + [float(some[at][:, 0].max()) + 0.1 * height, 0])
            for stroke in some:
                bent = stroke + rng.normal(0, 0.012 * height, stroke.shape) + [40, top]
                bent[:, 0] += slant * (top - bent[:, 1])
                strokes.append(bent)
        yield [np.round(strokes[i], 2).tolist() for i in rng.permutation(len(strokes))]


def odd_drawings():
    """A point, a dash, one digit, two on each other, a stroke that returns, and more strokes than are a witness."""
    yield [[[3.0, 4.0]]]
    yield [[[0.0, 0.0], [100.0, 0.0]]]
    yield [stroke.tolist() for stroke in number_strokes("7", 80.0)]
    for text in ("4", "15", "13", "18", "91", "411"):  # the ink of most looks like one digit
        yield [np.round(stroke, 2).tolist() for stroke in number_strokes(text, 80.0, -0.3)]
    yield [[[0.0, 0.0], [0.0, 50.0], [0.0, 0.0], [0.0, 50.0]]]
    yield [[[10.0 * i, 0.0], [10.0 * i + 3, 60.0]] for i in range(70)]


def read_in_browser(page, files):
    answers = []
    for i in range(0, len(files), BATCH):
        some = [base64.b64encode(data).decode() if isinstance(data, bytes) else data for data in files[i : i + BATCH]]
        answers += page.evaluate(READ, [some, ALTERNATIVES])
    return answers


def near(here, there):
    return np.abs(np.array(list(here.values())) - np.array(list(there.values()))).max() <= NEAR


def sent(strokes):
    return {"strokes": strokes}


def as_in_python(here, there, i):
    """Fail where a reading on the device is another than Python's."""
    assert here.keys() == there.keys() | {"model"}  # who read it
    for same in ("text", "is_number", "lines", "table", "blank", "polarity"):
        assert here[same] == there[same], i
    assert here["confidence"] == pytest.approx(there["confidence"], abs=CLOSE), i
    for mine, other in zip(here["numbers"], there["numbers"], strict=True):
        assert mine.keys() == other.keys()
        value = other["value"] if other["value"] is None else float(other["value"])  # JavaScript has no large integers
        assert (mine["value"], mine["is_number"]) == (value, other["is_number"])
        assert near(mine["box"], other["box"])
        likely = [each["text"] for each in other["alternatives"] if each["confidence"] > 2 * CLOSE]
        assert {each["text"] for each in mine["alternatives"]} >= set(likely)
        for digit, expected in zip(mine["digits"], other["digits"], strict=True):
            for same in ("char", "digit", "touching"):
                assert digit[same] == expected[same]
            assert digit["confidence"] == pytest.approx(expected["confidence"], abs=CLOSE), i
            assert near(digit["box"], expected["box"]), (i, there["text"])


@pytest.mark.parametrize("pictures", [composed_numbers, composed_pages])
def test_numbers_are_read_as_in_python(visit, reader, pictures):
    files = [*pictures(), encode(np.full((60, 200), 255, np.uint8)), encode(picture(7))]
    several = 0
    for i, (here, data) in enumerate(zip(read_in_browser(visit(), files), files, strict=True)):
        there = reader.read(data, alternatives=ALTERNATIVES).to_dict()
        as_in_python(here, there, i)
        several += len(there["text"]) > 1
    assert several > 0.7 * len(files)


def test_strokes_are_drawn_as_in_python(visit):
    drawings = [*drawn_numbers(), *odd_drawings()]
    for here, strokes in zip(visit().evaluate(DRAW, drawings), drawings, strict=True):
        there = draw_strokes(check_strokes(strokes))
        assert (here["width"], here["height"]) == there.picture.size
        for same in ("scale", "left", "top"):
            assert here[same] == pytest.approx(getattr(there, same))
        assert bytes(here["digest"]) == sha256(there.picture.tobytes()).digest()


def test_drawn_numbers_are_read_as_in_python(visit, reader):
    drawings = [*drawn_numbers(), *odd_drawings()]
    several = ink_alone = 0
    for i, (here, strokes) in enumerate(zip(read_in_browser(visit(), [*map(sent, drawings)]), drawings, strict=True)):
        there = reader.read(strokes, alternatives=ALTERNATIVES).to_dict()
        as_in_python(here, there, i)
        several += len(there["text"]) > 1
        ink_alone += reader.read(draw_strokes(check_strokes(strokes)).picture).text != there["text"]
    assert several > 0.8 * len(drawings)
    assert ink_alone  # the strokes decide
