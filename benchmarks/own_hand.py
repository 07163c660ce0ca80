"""What some labeled digits of one hand change: errors on the rest of that hand's digits, and on those of others.

    python benchmarks/own_hand.py

Writers are the pen writers that no model was trained on, of the test and the validation part, and the writers of
CROHME's numbers (``numbers/crohme.jsonl.gz`` of the folder that ``INKDIGITS_DATA`` names), for measuring only. Each
writes with one pen. In several orders, a writer's first digits are given with their labels, and the rest is read
without them and with them: with the switch that ships, which adapts only if that helps with the given digits, and
without it. Hard writers are those with an error of 3% over all their digits.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from inkdigits.adaptation import Adaptation, Hand, fit
from inkdigits.data.catalog import PEN_WRITERS, load
from inkdigits.data.pen import CANVAS, load_pendigits
from inkdigits.preprocess import preprocess_batch
from inkdigits.recognizer import Recognizer
from inkdigits.settings import Settings
from inkdigits.synthesis.strokes import draw, place

from _common import make_parser, percent, print_row, record

SEED = 31
PENS = (6.0, 24.0)  # pixels, the width of a writer's pen
SIZES = (90.0, 200.0)  # pixels, the longer side of a digit
BATCH = 64
LEAST_REST = 15  # digits of a writer that remain to be read
HARD = 0.03  # error of a hard writer
WRONG = 0.1  # share of wrong labels, where they are wrong
OTHERS = 2000  # digits of others


class Writer(NamedTuple):
    """One writer's digits: labels, logits by the temperature, features, and the network's input."""

    name: str
    labels: np.ndarray
    logits: np.ndarray
    features: np.ndarray
    images: np.ndarray

    @property
    def right(self) -> np.ndarray:
        return self.logits.argmax(axis=1) == self.labels


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--model", default=None, help="default: the one that ships")
    parser.add_argument("--orders", type=int, default=6, help="of each writer's digits, the first as written")
    parser.add_argument("--no-record", action="store_true", help="print only")
    args = parser.parse_args()
    settings = Settings.from_env()
    recognizer = Recognizer(args.model)
    scale = np.float32(1 / recognizer.model.temperature)

    def run(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        parts = [recognizer.features(images[i : i + BATCH]) for i in range(0, len(images), BATCH)]
        logits, features = (np.concatenate(each) for each in zip(*parts, strict=True))
        return logits[:, :10] * scale, features

    writers = [
        Writer(name, labels, *run(images[:, None]), images) for name, labels, images in by_writer(digits(settings))
    ]
    test = load("mnist", settings, part="test")
    mnist = Writer("MNIST", np.asarray(test.labels), *run(inputs(list(test.images))[:, None]), np.empty(0))
    shown = print_row if args.no_record else lambda **row: record(model=recognizer.model.name, **row)
    for k, wrong, misread in ((5, 0.0, False), (10, 0.0, False), (30, 0.0, False), (30, WRONG, False), (0, 0.0, True)):
        measured = [w for w in writers if len(w.labels) >= (2 * LEAST_REST if misread else k + LEAST_REST)]
        for row in measure(measured, writers, mnist, run, k, wrong, args.orders):
            shown(sha256=recognizer.model.sha256[:12], **row)


def digits(settings: Settings) -> Iterator[tuple[str, int, list[np.ndarray]]]:
    """Writer, label and strokes of each digit, in the order in which they were written."""
    for digit in load_pendigits(settings):
        if digit.writer not in PEN_WRITERS["train"]:
            yield f"pen {digit.writer}", digit.label, list(digit.strokes)
    with gzip.open(settings.data_folder / "numbers" / "crohme.jsonl.gz", "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            for symbol in row["symbols"]:
                if symbol["char"].isdigit():
                    strokes = [np.array(stroke, float) for stroke in symbol["strokes"] if stroke]
                    yield f"CROHME {row['writer']}", int(symbol["char"]), strokes


def by_writer(
    rows: Iterator[tuple[str, int, list[np.ndarray]]],
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Draw each digit with its writer's pen: the writer, the labels and (N, 28, 28) float32 inputs."""
    of: dict[str, list[tuple[int, list[np.ndarray]]]] = {}
    for name, label, strokes in rows:
        of.setdefault(name, []).append((label, strokes))
    for i, (name, written) in enumerate(of.items()):
        rng = np.random.default_rng((SEED, i))
        pen = float(np.exp(rng.uniform(*np.log(PENS))))
        pictures = [drawn(strokes, pen, rng) for _, strokes in written]
        yield name, np.array([label for label, _ in written]), inputs(pictures)


def drawn(strokes: list[np.ndarray], pen: float, rng: np.random.Generator) -> np.ndarray:
    """A digit on a canvas, of any size and at any place."""
    placed = place(strokes, rng.uniform(*SIZES), (0, 0))
    room = CANVAS - pen - 2 - np.concatenate(placed).max(axis=0)
    at = pen / 2 + 1 + rng.uniform(0, 1, 2) * room
    return draw([stroke + at for stroke in placed], CANVAS, CANVAS, pen=pen)


def inputs(pictures: list[np.ndarray]) -> np.ndarray:
    seen = [each for i in range(0, len(pictures), BATCH) for each in preprocess_batch(pictures[i : i + BATCH])]
    return np.stack([each.image for each in seen])


def measure(
    measured: list[Writer], writers: list[Writer], mnist: Writer, run, k: int, wrong: float, orders: int
) -> Iterator[dict[str, object]]:
    """Yield a row with the switch and one without it.

    Args:
        measured: writers with enough digits.
        writers: all, whose digits are those of others.
        mnist: MNIST's test digits.
        run: of the model.
        k: how many digits are given; 0: those of the first half that are misread.
        wrong: share of their labels that are wrong.
        orders: of each writer's digits.
    """
    tallies = {True: Tally(), False: Tally()}  # with the switch, and without
    spent: list[float] = []
    rng = np.random.default_rng((SEED, k, int(100 * wrong)))
    others = merged(writers, rng)
    for order in range(orders):
        for writer in measured:
            n = len(writer.labels)
            at = np.arange(n) if order == 0 else np.random.default_rng((SEED, order, n)).permutation(n)
            given, rest = (at[:k], at[k:]) if k else (at[: n // 2][~writer.right[at[: n // 2]]], at[n // 2 :])
            if not len(given):
                continue
            labels = writer.labels[given].copy()
            spoiled = rng.random(len(given)) < wrong
            labels[spoiled] = (labels[spoiled] + rng.integers(1, 10, spoiled.sum())) % 10
            hand = Hand()
            for image, label in zip(writer.images[given], labels, strict=True):
                hand.add(image, int(label))
            started = time.process_time()
            adaptation = fit(hand, run)
            spent.append(time.process_time() - started)
            for switched, tally in tallies.items():
                used = adaptation if switched else always(adaptation)
                tally.add(writer, rest, used, mnist, others if order == 0 else None)
    for switched, tally in tallies.items():
        yield {
            "given": f"first {k}" if k else "misread of the first half",
            "wrong_labels": percent(wrong),
            "switch": "yes" if switched else "no",
            "orders": orders,
            **tally.row(),
            "fit_ms": round(1000 * float(np.median(spent)), 1),
        }


def always(adaptation: Adaptation) -> Adaptation:
    """The same, used whether it helps or not."""
    return Adaptation(adaptation.prototypes, adaptation.weights, adaptation.examples, 0, 1)


def merged(writers: list[Writer], rng: np.random.Generator) -> Writer:
    """Some digits of all writers."""
    labels, logits, features = (
        np.concatenate([getattr(writer, name) for writer in writers]) for name in ("labels", "logits", "features")
    )
    chosen = rng.permutation(len(labels))[:OTHERS]
    return Writer("others", labels[chosen], logits[chosen], features[chosen], np.empty(0))


class Tally:
    """Errors before and after, summed over writers and orders."""

    def __init__(self) -> None:
        self.before, self.after, self.hard_before, self.hard_after = 0, 0, 0, 0
        self.n = self.hard_n = self.runs = self.used = self.worse = self.better = self.fixed = self.broken = 0
        self.by_writer: dict[str, int] = {}
        self.hard: set[str] = set()
        self.lost: dict[str, list[float]] = {"MNIST": [], "others": []}

    def add(
        self, writer: Writer, rest: np.ndarray, adaptation: Adaptation, mnist: Writer, others: Writer | None
    ) -> None:
        """Count a run: the rest of a writer's digits, and what others lose."""
        before = writer.right[rest]
        scores = writer.logits[rest] + adaptation.boosts(writer.features[rest])
        after = scores.argmax(axis=1) == writer.labels[rest]
        errors = int((~before).sum()), int((~after).sum())
        self.runs, self.used, self.n = self.runs + 1, self.used + adaptation.is_on, self.n + len(rest)
        self.before, self.after = self.before + errors[0], self.after + errors[1]
        self.fixed, self.broken = self.fixed + int((after & ~before).sum()), self.broken + int((before & ~after).sum())
        self.worse, self.better = self.worse + (errors[1] > errors[0]), self.better + (errors[1] < errors[0])
        self.by_writer[writer.name] = self.by_writer.get(writer.name, 0) + errors[1] - errors[0]
        if 1 - writer.right.mean() >= HARD:
            self.hard.add(writer.name)
            self.hard_n += len(rest)
            self.hard_before, self.hard_after = self.hard_before + errors[0], self.hard_after + errors[1]
        for each in (mnist, others):
            if others is not None and each is not None:
                scores = each.logits + adaptation.boosts(each.features)
                right = scores.argmax(axis=1) == each.labels
                self.lost[each.name].append(float(each.right.mean() - right.mean()))

    def row(self) -> dict[str, object]:
        points = {name: 100 * np.array(lost) for name, lost in self.lost.items()}
        return {
            "writers": len(self.by_writer),
            "n": self.n,
            "error_before": percent(self.before / self.n),
            "error_after": percent(self.after / self.n),
            "fixed": self.fixed,
            "broken": self.broken,
            "used": percent(self.used / self.runs),
            "runs": self.runs,
            "runs_better": self.better,
            "runs_worse": self.worse,
            "writers_worse": sum(change > 0 for change in self.by_writer.values()),
            "most_worse": max(self.by_writer.values()),
            "hard_writers": len(self.hard),
            "hard_before": percent(self.hard_before / max(self.hard_n, 1)),
            "hard_after": percent(self.hard_after / max(self.hard_n, 1)),
            "hard_fewer": percent(1 - self.hard_after / max(self.hard_before, 1)),
            **{f"{name}_lost_{what}": f"{of(lost):.3f}" for name, lost in points.items() for what, of in LOSSES},
        }


LOSSES = (("mean", np.mean), ("worst", np.max))  # points


if __name__ == "__main__":
    main()
