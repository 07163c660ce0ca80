"""What `inkdigits learn` makes of the corrections of 20 writers: errors on the rest of their digits, and on all else.

    python benchmarks/learn.py

Writers are those of CROHME's numbers (``numbers/crohme.jsonl.gz`` of the folder that ``INKDIGITS_DATA`` names), for
measuring only; each writes with one pen. In each seed, 20 of them give their first 30 digits with labels, of which some
may be wrong, and a challenger is trained on these 600. Both models then read the rest of the same writers, the other
writers, the pen writers of the test part, MNIST's test digits, and rendered non-digits.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from inkdigits.data.catalog import load
from inkdigits.data.dataset import Dataset, Lazy
from inkdigits.evaluation.decision import validation_sets
from inkdigits.evaluation.evaluate import read_answers
from inkdigits.feedback.split import Corrections
from inkdigits.learning.trainer import train_challenger
from inkdigits.network import SHIPPED, read_registry
from inkdigits.preprocess.layout import from_pixels
from inkdigits.progress import Report, silent
from inkdigits.recognizer import Recognizer
from inkdigits.settings import Settings
from own_hand import by_writer, digits

from _common import make_parser, percent, print_row, record

WRITERS, GIVEN = 20, 30
LEAST_REST = 15  # digits of a writer that remain to be read
NAME = "challenger"


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--wrong", type=float, default=0.0, help="share of wrong labels")
    parser.add_argument("--no-record", action="store_true", help="print only")
    args = parser.parse_args()
    settings = Settings.from_env()
    written = [row for row in by_writer(digits(settings)) if row[0].startswith("CROHME")]
    hands = [(name, labels, np.rint(images * 255).astype(np.uint8)) for name, labels, images in written]
    able = [i for i, (_, labels, _) in enumerate(hands) if len(labels) >= GIVEN + LEAST_REST]
    sets = [
        load("mnist", settings, part="test"),
        load("pen", settings, part="test"),
        validation_sets("pen", settings)[1],
    ]
    rows = []
    for seed in range(args.seeds):
        rng = np.random.default_rng((41, seed))
        chosen = set(rng.permutation(able)[:WRITERS].tolist())
        given = corrections(hands, chosen, args.wrong, rng)
        with tempfile.TemporaryDirectory() as folder:
            models = models_in(Path(folder))
            started = time.perf_counter()
            quiet = Report()
            for _ in train_challenger(given, models, "cnn", NAME, settings, quiet, data="", seed=seed):
                pass
            seconds = time.perf_counter() - started
            champion, challenger = Recognizer(models), Recognizer(models / f"{NAME}.onnx")
            row: dict[str, object] = {"seed": seed, "wrong_labels": percent(args.wrong), "seconds": round(seconds)}
            for name, n, right in compared(champion, challenger, hands, chosen, sets):
                row |= {name: n, f"{name}_before": percent(right[0]), f"{name}_after": percent(right[1])}
                row[f"{name}_points"] = f"{100 * (right[1] - right[0]):+.3f}"
            errors = [100 - float(str(row[f"same_{side}"]).rstrip("%")) for side in ("before", "after")]
            row["same_fewer"] = percent(1 - errors[1] / errors[0])
            rows.append(row)
            print_row(**row)
    points = [name for name in rows[0] if name.endswith("_points")]
    summary: dict[str, object] = {"seeds": len(rows), "wrong_labels": percent(args.wrong)}
    fewer = [float(str(row["same_fewer"]).rstrip("%")) for row in rows]
    summary |= {"same_fewer": f"{np.mean(fewer):.1f}%", "same_fewer_worst": f"{min(fewer):.1f}%"}
    for name in points:
        found = [float(str(row[name])) for row in rows]
        summary |= {name: f"{np.mean(found):+.3f}", f"{name}_worst": f"{min(found):+.3f}"}
    summary["seconds"] = round(float(np.median([float(str(row["seconds"])) for row in rows])))
    (print_row if args.no_record else record)(**summary)


def corrections(hands: list, chosen: set[int], wrong: float, rng: np.random.Generator) -> Corrections:
    """The first digits of the chosen writers."""
    theirs = sorted(chosen)
    images = np.concatenate([hands[i][2][:GIVEN] for i in theirs])
    labels = np.concatenate([hands[i][1][:GIVEN] for i in theirs])
    spoiled = rng.random(len(labels)) < wrong
    labels = np.where(spoiled, (labels + rng.integers(1, 10, len(labels))) % 10, labels).astype(np.int64)
    clients = np.repeat([hands[i][0] for i in theirs], GIVEN)
    n = len(labels)
    return Corrections(images, labels, clients, np.full(n, "page"), np.arange(n))


def models_in(folder: Path) -> Path:
    """A folder with the default model as its champion."""
    registry = read_registry(SHIPPED)
    names = ("cnn", "cnn_float")
    for name in names:
        shutil.copy(SHIPPED / registry["models"][name]["file"], folder)
    kept = {"default": "cnn", "models": {name: registry["models"][name] for name in names}}
    (folder / "registry.json").write_text(json.dumps(kept))
    return folder


def compared(
    champion: Recognizer, challenger: Recognizer, hands: list, chosen: set[int], sets: list[Dataset]
) -> Iterator[tuple[str, int, list[float]]]:
    """Name, number of pictures, and the share that each model reads right; of non-digits, that it rejects."""
    both = champion, challenger
    same = [(hands[i][1][GIVEN:], hands[i][2][GIVEN:]) for i in sorted(chosen)]
    others = [hand[1:] for i, hand in enumerate(hands) if i not in chosen]
    for name, parts in (("same", same), ("others", others)):
        labels = np.concatenate([labels for labels, _ in parts])
        images = np.concatenate([images for _, images in parts])
        written = Dataset(name, "all", Lazy(lambda at, of=images: from_pixels(of[at]), range(len(labels))), labels, {})
        answers = [read_answers(each, written, silent)[0] for each in both]
        yield name, len(labels), [float((each.digits == labels).mean()) for each in answers]
    for dataset in sets:
        answers = [read_answers(each, dataset, silent)[0] for each in both]
        if (dataset.labels < 0).all():
            yield "rejected", len(dataset), [float((~each.accepted).mean()) for each in answers]
        else:
            yield dataset.name, len(dataset), [float((each.digits == dataset.labels).mean()) for each in answers]


if __name__ == "__main__":
    main()
