"""Fit how sure the reading of numbers is, and write it to the registry with the shipped line network.

    python scripts/calibrate_line.py

Numbers by hands that the line network was not trained on are composed, put on paper, and read. The weight of the
network for single digits is the one with the most numbers right; the calibration is a logistic regression on the
features of what was read.
"""

from __future__ import annotations

import json
import sys

import numpy as np
from PIL import Image
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
from inkdigits.synthesis.corruptions import corrupt
from inkdigits.synthesis.lines import compose_line, line_text
from inkdigits.training.line_hands import line_hands

SEED = 71
NUMBERS = 1600
WEIGHTS = (0.0, 0.15, 0.3, 0.45, 0.6, 0.8, 1.0)  # of the witness
HEIGHTS = (30, 110)  # pixels
CORRUPTED = 0.35  # share of the pictures
KINDS = ("texture", "faint", "light", "shadow", "blur", "noise", "jpeg")
PLAIN = Calibration(0.0, (1.0, 0.0, 0.0, 0.0))


def pictures(settings: Settings) -> list[tuple[np.ndarray, str]]:
    """Compose numbers as people may write and photograph them."""
    hands, rng = line_hands(settings, "validation"), np.random.default_rng(SEED)
    made = []
    for i in range(NUMBERS):
        some = hands.scanned if i % 2 else hands.pens
        text = line_text(rng, int(rng.integers(1, 9)))
        is_varied = bool(rng.random() < 0.5)
        hand = some[int(rng.integers(len(some)))]
        cover = compose_line(text, hand, rng, marks=hands.signs, is_varied=is_varied).cover
        scale = rng.uniform(*HEIGHTS) / len(cover)
        size = max(1, round(cover.shape[1] * scale)), max(1, round(len(cover) * scale))
        ink = np.clip(np.asarray(Image.fromarray(cover).resize(size, Image.Resampling.BICUBIC)), 0, 1)
        sheet = np.pad(ink, np.rint(rng.uniform(0.1, 0.8, (2, 2)) * size[1]).astype(int))
        picture = np.rint(rng.uniform(200, 255) * (1 - sheet) + rng.uniform(0, 90) * sheet).astype(np.uint8)
        if rng.random() < CORRUPTED:
            picture = corrupt(picture, str(rng.choice(KINDS)), rng.uniform(0.1, 0.7), rng)
        made.append((picture, text))
    return made


def main() -> int:
    settings, recognizer = Settings.from_env(), Recognizer()
    proposed = []
    for picture, text in pictures(settings):
        found = propose(decode(picture, Limits()), recognizer)
        if found is not None:
            proposed.append((*found, text))
    best_of: dict[float, list[Scored]] = {}
    for weight in WEIGHTS:
        fitted = Calibration(weight, PLAIN.weights)
        best_of[weight] = [score(frames, some, Restriction(), fitted=fitted)[0] for frames, some, _ in proposed]
        right = [best.text == text for best, (_, _, text) in zip(best_of[weight], proposed, strict=True)]
        print(f"witness {weight:.2f}: {np.mean(right):.2%} of {len(right):,} right", flush=True)
    weight = max(WEIGHTS, key=lambda w: sum(b.text == t for b, (_, _, t) in zip(best_of[w], proposed, strict=True)))
    chosen = best_of[weight]
    is_right = np.array([best.text == text for best, (_, _, text) in zip(chosen, proposed, strict=True)])
    seen = np.array([features(best.text, best.confidence, best.groups) for best in chosen])
    weights = LogisticRegression(C=100.0, fit_intercept=False).fit(seen, is_right).coef_[0]
    certain = 1 / (1 + np.exp(-seen @ weights))
    print(f"weights {np.round(weights, 3).tolist()}; mean confidence {certain.mean():.2%}, right {is_right.mean():.2%}")
    path = SHIPPED / "registry.json"
    registry = json.loads(path.read_text(encoding="utf-8"))
    registry["line"]["calibration"] = {
        "witness": weight,
        "weights": [round(float(value), 4) for value in weights],
        "numbers": len(proposed),
        "right": round(float(is_right.mean()), 4),
        "command": "python scripts/calibrate_line.py",
    }
    write_atomically(path, (json.dumps(registry, indent=2, ensure_ascii=False) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
