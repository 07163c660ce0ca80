"""Fit how sure the reading of numbers is, and write it to the registry with the shipped line network.

    python scripts/calibrate_line.py

Numbers by hands that the line network was not trained on are composed, put on paper, and read. The weights of
the network for single digits are those with which most are read right; the calibration is a logistic regression on the
features of what was read. That network was trained on most of MNIST's digits here, but is as often right on those of
the test set.
"""

from __future__ import annotations

import json
import sys
from itertools import product

import numpy as np
from sklearn.linear_model import LogisticRegression

from inkdigits.atomic import write_atomically
from inkdigits.network import SHIPPED
from inkdigits.preprocess.decode import decode
from inkdigits.preprocess.files import Limits
from inkdigits.reading import propose
from inkdigits.reading.scoring import Calibration, Scored, features, score
from inkdigits.reading.search import Restriction
from inkdigits.recognizer import Recognizer
from inkdigits.settings import Settings
from inkdigits.synthesis.lines import CORRUPTED, compose_line, line_text, put_on_paper
from inkdigits.training.line_hands import line_hands

SEED = 71
NUMBERS = 3200
WEIGHTS = (0.15, 0.3, 0.45)  # of the witness, for whether ink is one digit
DIGIT_WEIGHTS = (0.3, 0.6, 1.0)  # and for which
PLAIN = (1.0, 0.0, 0.0, 0.0)  # weights of what is not calibrated


def pictures(settings: Settings) -> list[tuple[np.ndarray, str]]:
    """Compose numbers as people may write and photograph them; half of them are plain digits on plain paper."""
    hands, rng = line_hands(settings, "validation"), np.random.default_rng(SEED)
    made = []
    for i in range(NUMBERS):
        some = hands.scanned if i % 2 else hands.pens
        is_plain = i % 4 < 2
        n = int(rng.integers(1, 9))
        text = "".join(rng.choice(list("0123456789"), n)) if is_plain else line_text(rng, n)
        is_varied = not is_plain and bool(rng.random() < 0.5)
        hand = some[int(rng.integers(len(some)))]
        cover = compose_line(text, hand, rng, marks=hands.signs, is_varied=is_varied).cover
        picture, _ = put_on_paper(cover, rng, corrupted=0.0 if is_plain else CORRUPTED)
        made.append((picture, text))
    return made


def main() -> int:
    settings, recognizer = Settings.from_env(), Recognizer()
    proposed = []
    for picture, text in pictures(settings):
        found = propose(decode(picture, Limits()), recognizer)
        if found is not None:
            proposed.append((*found, text))
    texts = [text for _, _, text in proposed]
    best_of: dict[tuple[float, float], list[Scored]] = {}
    right: dict[tuple[float, float], int] = {}
    for weight in product(WEIGHTS, DIGIT_WEIGHTS):
        plain = Calibration(weight[0], PLAIN, weight[1])
        best_of[weight] = [score(frames, some, Restriction(), fitted=plain)[0] for frames, some, _ in proposed]
        right[weight] = sum(best.text == text for best, text in zip(best_of[weight], texts, strict=True))
        print(f"witness {weight[0]}, digit {weight[1]}: {right[weight] / len(texts):.2%} right", flush=True)
    weight = max(right, key=lambda w: right[w])
    is_right = np.array([best.text == text for best, text in zip(best_of[weight], texts, strict=True)])
    seen = np.array([features(best.text, best.confidence, best.groups) for best in best_of[weight]])
    weights = LogisticRegression(C=100.0, fit_intercept=False).fit(seen, is_right).coef_[0]
    certain = 1 / (1 + np.exp(-seen @ weights))
    print(f"weights {np.round(weights, 3).tolist()}; mean confidence {certain.mean():.2%}, right {is_right.mean():.2%}")
    path = SHIPPED / "registry.json"
    registry = json.loads(path.read_text(encoding="utf-8"))
    registry["line"]["calibration"] = {
        "witness": weight[0],
        "digit": weight[1],
        "weights": [round(float(value), 4) for value in weights],
        "numbers": len(proposed),
        "right": round(float(is_right.mean()), 4),
        "command": "python scripts/calibrate_line.py",
    }
    write_atomically(path, (json.dumps(registry, indent=2, ensure_ascii=False) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
