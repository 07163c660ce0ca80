"""Print Omniglot's characters that look like a digit, as ``inkdigits.data.omniglot.LOOKALIKES`` holds them.

    python scripts/lookalikes.py

The rule: a model reads the character as one and the same digit, and accepts it, for at least half of the 20 people who
drew it. Each drawing is drawn once, with a pen of 6 pixels, 120 pixels high. The list was made with the first shipped
`cnn`, which was not trained on characters: a model that was, rejects them.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict

import numpy as np

from inkdigits import Recognizer
from inkdigits.data.omniglot import load_omniglot
from inkdigits.settings import Settings
from inkdigits.synthesis.strokes import draw, place

SIDE, HEIGHT, PEN = 180, 120, 6  # pixels
SHARE = 0.5  # of the drawers


def main() -> None:
    """Print a Python literal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="name or path of the model (default: the shipped one)")
    args = parser.parse_args()
    characters = load_omniglot(Settings.from_env())
    pictures = []
    for character in characters:
        placed = place(character.strokes, HEIGHT, (0, 0))
        at = (SIDE - np.concatenate(placed).max(axis=0)) / 2
        pictures.append(draw([stroke + at for stroke in placed], SIDE, SIDE, pen=PEN))
    read = defaultdict(list)
    for character, seen in zip(characters, Recognizer(args.model).predict_batch(pictures), strict=True):
        read[character.alphabet, character.name].append(seen.digit if seen.is_digit else None)
    for key, digits in sorted(read.items()):
        [(digit, times)] = Counter(d for d in digits if d is not None).most_common(1) or [(None, 0)]
        if times >= SHARE * len(digits):
            print(f"    {key!r},  # {digit}: {times} of {len(digits)}".replace("'", '"'))


if __name__ == "__main__":
    main()
