"""Ten digits drawn by this project, as strokes in a unit box (x right, y down), and pictures made of them."""

import numpy as np

from inkdigits.synthesis.strokes import draw, place


def _arc(cx, cy, rx, ry, start, end, n=24):
    angle = np.deg2rad(np.linspace(start, end, n))
    return np.stack([cx + rx * np.cos(angle), cy + ry * np.sin(angle)], axis=1)


DIGITS = {
    0: [_arc(0.35, 0.5, 0.33, 0.5, -90, 270, 40)],
    1: [np.array([[0.18, 0.12], [0.3, 0.0], [0.3, 1.0]])],
    2: [np.concatenate([_arc(0.33, 0.28, 0.3, 0.28, -170, 40), [[0.02, 1.0], [0.68, 1.0]]])],
    3: [np.concatenate([_arc(0.3, 0.25, 0.3, 0.25, -150, 90), _arc(0.3, 0.74, 0.34, 0.26, -90, 150)])],
    4: [np.array([[0.35, 0.0], [0.0, 0.62], [0.7, 0.62]]), np.array([[0.5, 0.3], [0.5, 1.0]])],
    5: [
        np.concatenate([[[0.1, 0.0], [0.06, 0.45]], _arc(0.28, 0.68, 0.34, 0.31, -110, 140)]),
        np.array([[0.1, 0.0], [0.6, 0.0]]),
    ],
    6: [np.concatenate([_arc(0.55, 0.62, 0.53, 0.62, -95, -180, 14), _arc(0.33, 0.7, 0.31, 0.3, 180, -190, 36)])],
    7: [np.array([[0.0, 0.0], [0.65, 0.0], [0.25, 1.0]])],
    8: [np.concatenate([_arc(0.32, 0.26, 0.26, 0.25, 90, -270, 30), _arc(0.32, 0.76, 0.32, 0.25, -90, 270, 30)])],
    9: [np.concatenate([_arc(0.33, 0.3, 0.28, 0.29, 0, -360, 36), [[0.6, 0.3], [0.55, 1.0]]])],
}


def picture(digit, size=280, *, height=None, ink_size=None, at=None, pen=None, paper=255, ink=0):
    """A (height, size) uint8 picture of one digit: ink ``ink_size`` pixels high at ``at``, centred by default."""
    height = height or size
    ink_size = ink_size or 0.6 * min(size, height)
    pen = pen or max(1.0, ink_size * 0.09)
    strokes = place(DIGITS[digit], ink_size, (0.0, 0.0))
    span = np.ptp(np.concatenate(strokes), axis=0)
    at = at or ((size - span[0]) / 2, (height - span[1]) / 2)
    return draw([s + at for s in strokes], size, height, pen=pen, paper=paper, ink=ink)


# In heights of a digit.
SIGNS = {
    ".": np.array([[0.04, 0.94], [0.0, 0.96]]),
    ",": np.array([[0.06, 0.94], [0.0, 1.12]]),
    "-": np.array([[0.0, 0.5], [0.4, 0.5]]),
}
GAP, SPACE = 0.4, 1.5


def page(*rows, ink_size=60, pen=6.0, paper=255, ink=0):
    """A uint8 picture of digits and signs in rows, each well apart from the next."""
    strokes = []
    right = 0.0
    for i, row in enumerate(rows):
        x = 1.0
        for character in row:
            if character == " ":
                x += SPACE
                continue
            at = (x * ink_size, (1 + 2 * i) * ink_size)
            if character in SIGNS:
                written = [SIGNS[character] * ink_size + at]
            else:
                written = place(DIGITS[int(character)], ink_size, at)
            strokes += written
            x = np.concatenate(written)[:, 0].max() / ink_size + GAP
        right = max(right, x)
    return draw(strokes, round((right + 1) * ink_size), (1 + 2 * len(rows)) * ink_size, pen=pen, paper=paper, ink=ink)


def number_strokes(text, height=80.0, gap=0.35):
    """Strokes of digits side by side, of one height, at gaps in heights."""
    strokes = []
    for digit in map(int, text):
        left = np.concatenate(strokes)[:, 0].max() + gap * height if strokes else 0.0
        strokes += place(DIGITS[digit], height, (left, 0.0))
    return strokes


def number(text, height=80, margin=40):
    """A uint8 picture of digits side by side."""
    strokes = [stroke + margin for stroke in number_strokes(text, height)]
    width = np.concatenate(strokes)[:, 0].max() + margin
    return draw(strokes, round(width), height + 2 * margin, pen=0.09 * height)
