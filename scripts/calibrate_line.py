"""Fit how sure the reading of numbers is, and write it to the registry with the shipped line network.

    python scripts/calibrate_line.py

Numbers by hands that the line network was not trained on are composed, put on paper, and read. The weight of the
network for single digits is the one that makes the right texts most likely; the calibration is a logistic regression on
the features of what was read.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence

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
WEIGHTS = (0.0, 0.15, 0.3, 0.45, 0.6, 0.8, 1.0)  # of the witness
POWERS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
LEAST = 1e-3  # probability of a text that was not found
PLAIN = Calibration(0.0, (1.0, 0.0, 0.0, 0.0))


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


def _log_probability(found: Sequence[Scored], text: str, power: float) -> float:
    """Return the log-probability of a text, among those that were found, their probabilities raised to a power."""
    right = sum(scored.confidence**power for scored in found if scored.text == text)
    return math.log(max(LEAST, right / sum(scored.confidence**power for scored in found)))


def main() -> int:
    settings, recognizer = Settings.from_env(), Recognizer()
    proposed = []
    for picture, text in pictures(settings):
        found = propose(decode(picture, Limits()), recognizer)
        if found is not None:
            proposed.append((*found, text))
    likely: dict[float, float] = {}
    best_of: dict[float, list[Scored]] = {}
    for weight in WEIGHTS:
        fitted = Calibration(weight, PLAIN.weights)
        texts = [score(frames, some, Restriction(), fitted=fitted) for frames, some, _ in proposed]
        best_of[weight] = [scored[0] for scored in texts]
        right = np.mean([best.text == text for best, (_, _, text) in zip(best_of[weight], proposed, strict=True)])
        pairs = [(scored, text) for scored, (_, _, text) in zip(texts, proposed, strict=True)]
        # The networks are surer than they should be; the calibration corrects that later.
        likely[weight] = max(np.mean([_log_probability(*pair, power) for pair in pairs]) for power in POWERS)
        print(f"witness {weight:.2f}: log-probability {likely[weight]:.4f}, {right:.2%} right", flush=True)
    weight = max(WEIGHTS, key=lambda w: likely[w])
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
