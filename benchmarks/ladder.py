"""The ladder of models that docs/models.md shows, from logistic regression to the default model as it ships.

    python benchmarks/ladder.py [--epochs 5] [--seeds 0,1] [--folder build/ladder]

``inkdigits compare`` with a short schedule for the convolutional networks, the same for all of them; the models before
them are trained in full. All learn from the same images, with several seeds. What is finished in the folder is kept, so
that a run that was stopped goes on, and a new default model is measured alone. The table and the plot go into the docs,
a row for each model into results/ladder.csv.
"""

from __future__ import annotations

import re
from pathlib import Path

from inkdigits.recognizer import Recognizer
from inkdigits.settings import Settings
from inkdigits.training.baselines import LADDER
from inkdigits.training.compare import Plan, compare
from inkdigits.training.comparison import Comparison, Mean

from _common import ROOT, make_parser, percent, record

DOCS = ROOT / "docs"
PLOT = "images/ladder.svg"
DATA = "mnist"
PART = re.compile(r"(<!-- benchmarks/ladder.py -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "ladder")
    args = parser.parse_args()
    *rungs, _ = LADDER
    shipped = str(Recognizer().model.path)
    first = rungs.index("lenet")
    seeds = tuple(map(int, args.seeds.split(",")))
    cells = []
    for models, epochs in (rungs[:first], 0), ((*rungs[first:], shipped), args.epochs):
        plan = Plan(models=tuple(models), data=DATA, seeds=seeds, epochs=epochs, threads=1)
        cells += compare(plan, args.folder, Settings.from_env()).cells
    about = {name: LADDER[name].about for name in rungs}
    about[shipped] = "the default model as it ships, which is also trained on pen strokes and corrupted pictures"
    comparison = Comparison(DATA, cells, about)
    show(comparison)
    for row in comparison.rows:
        [(data, test)] = row.tests.items()
        cell = next(cell for cell in cells if cell.model == row.model)
        record(
            model=Path(row.model).stem,
            seeds=test.n,
            epochs=cell.config.get("epochs", ""),
            n=cell.tests[data][0],
            validation=share(row.validation) if row.validation else "",
            test=share(test),
            gain="" if row.gain is None else f"{100 * row.gain:+.2f}",
            parameters=row.parameters,
            train_s="" if row.seconds is None else round(row.seconds, 1),
            network_us=round(row.network_us),
        )


def share(mean: Mean) -> str:
    return percent(mean.mean) + ("" if mean.sd is None else f" ± {percent(mean.sd)}")


def show(comparison: Comparison) -> None:
    """Write table and plot into the docs."""
    page = DOCS / "models.md"
    _, _, table = comparison.markdown(PLOT).partition("\n\n")  # the page has a heading of its own
    text, times = PART.subn(lambda part: f"{part[1]}{table}{part[2]}", page.read_text(encoding="utf-8"))
    assert times == 1, "docs/models.md has no place for the ladder"
    page.write_text(text, encoding="utf-8")
    (DOCS / PLOT).write_text(comparison.svg(), encoding="utf-8")


if __name__ == "__main__":
    main()
