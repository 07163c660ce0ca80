"""Measure the reading of whole numbers: composed of test digits, and real people's.

    python benchmarks/whole_numbers.py
    python benchmarks/whole_numbers.py --only crohme cheques --no-record --sheets sheets

Whole strings right, the digit error rate, the calibration error of their confidence, and the share that can be answered
with 99.5% of the answers right. Real numbers are read from the folder that INKDIGITS_DATA names; sets that it lacks are
named at the end, and not measured. docs/numbers.md says how each set is made.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from inkdigits.errors import DataError
from inkdigits.evaluation.latency import environment, times_us
from inkdigits.evaluation.numbers import StringFigures, string_figures
from inkdigits.network import shipped_network
from inkdigits.prediction import Reading
from inkdigits.preprocess import Limits
from inkdigits.preprocess.decode import decode
from inkdigits.reading import Options, read_page
from inkdigits.reading.ink import find_page_ink, page_grey
from inkdigits.recognizer import Recognizer
from inkdigits.settings import Settings

from _common import encoded, keep, kept, make_parser, provenance
from picture_sets import numbers
from picture_sets.numbers import Written
from picture_sets.tally import Measured, Target, at_least, at_most, contact_sheet

EACH = 300  # lines of each contact and source
LOSABLE = 1000
CALLS = 200
COMPOSED = {
    "MNIST": dict(zip(numbers.CONTACTS, (0.985, 0.97, 0.94), strict=True)),
    "pens": dict(zip(numbers.CONTACTS, (0.98, 0.96, 0.91), strict=True)),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table; ``figure`` is what the target bounds."""

    set: str
    n: int | str = ""
    figure: str
    target: str = ""
    met: str = ""
    digit_error_rate: str = ""
    calibration_error: str = ""
    answered: str = ""

    @classmethod
    def of_share(cls, name: str, n: int, share: float, target: Target | None, **more: str) -> Row:
        """A share of n, compared with its target as it is printed."""
        share = round(share, 4)
        met = "" if target is None else "yes" if target.met(share) else "no"
        return cls(set=name, n=n, figure=f"{share:.2%}", target=target.text if target else "", met=met, **more)

    def __str__(self) -> str:
        more = f"{self.digit_error_rate:>8}{self.calibration_error:>8}{self.answered:>9}"
        return f"{self.set:<52}{self.n!s:>6}{self.figure:>10}  {self.target:<9}{self.met:<4}{more}".rstrip()


HEADING = Row(
    set="set",
    n="n",
    figure="figure",
    target="target",
    met="met",
    digit_error_rate="digits",
    calibration_error="ECE",
    answered="answered",
)


class Numbers:
    """What is measured, and the rows of it."""

    def __init__(self, measured: Measured, sheets: Path | None) -> None:
        self.measured, self.recognizer, self.sheets = measured, measured.recognizer, sheets

    def read(self, cases: Sequence[Written], layout: str = "auto") -> list[Reading]:
        return [self.recognizer.read(case.image, layout=layout) for case in cases]

    def row(
        self,
        name: str,
        cases: Sequence[Written],
        readings: Sequence[Reading],
        target: Target | None = None,
        *,
        digits_only: bool = False,
    ) -> tuple[Row, StringFigures]:
        figures = string_figures([case.text for case in cases], readings, digits_only=digits_only)
        self._draw(name, cases, readings, figures)
        row = Row.of_share(
            name,
            figures.n,
            figures.accuracy,
            target,
            digit_error_rate=f"{figures.digit_error_rate:.2%}",
            calibration_error=f"{figures.ece:.2%}",
            answered=f"{figures.answered_at():.1%}",
        )
        return row, figures

    def _draw(self, name: str, cases: Sequence[Written], readings: Sequence[Reading], figures: StringFigures) -> None:
        if self.sheets:
            some = [(c, r) for c, r in zip(cases, readings, strict=True) if c.text]
            wrong = [some[i] for i in np.flatnonzero(~figures.is_right)]
            tiles = ((case.image, f"{case.text}: {found.text} {found.confidence:.2f}") for case, found in wrong)
            if wrong:
                contact_sheet(tiles, len(wrong)).save(self.sheets / (re.sub(r"[^\w.-]+", "_", name) + ".png"))

    # --- the sets ----------------------------------------------------------------------------------------------------

    def composed(self) -> Iterator[Row]:
        """Lines of test digits, apart, tight and touching, and the calibration on all of them."""
        every: tuple[list[Written], list[Reading]] = ([], [])
        for source, some in numbers.hands(self.measured.settings).items():
            for contact in numbers.CONTACTS:
                cases = list(numbers.composed(some, contact, EACH))
                readings = self.read(cases, "line")
                yield self.row(f"{source}, {contact}", cases, readings, at_least(COMPOSED[source][contact]))[0]
                every[0].extend(cases)
                every[1].extend(readings)
        yield self.calibration(
            "composed: calibration error", string_figures([c.text for c in every[0]], every[1]), 0.02
        )

    def losable(self) -> Iterator[Row]:
        """Zeros in front, repeats, lone ones."""
        hands = numbers.hands(self.measured.settings)
        texts = numbers.losable(LOSABLE)
        half = LOSABLE // 2
        cases = list(numbers.composed(hands["MNIST"], "apart", half, texts[:half]))
        cases += numbers.composed(hands["pens"], "tight", LOSABLE - half, texts[half:])
        readings = self.read(cases)
        kept_all = sum(
            sum(map(str.isdigit, reading.text)) + reading.text.count("?") == len(case.text)
            for case, reading in zip(cases, readings, strict=True)
        )
        name = "zeros, repeats, ones: none lost or added"
        yield Row.of_share(name, len(cases), kept_all / len(cases), at_least(0.99))
        yield self.row("zeros, repeats, ones: right", cases, readings)[0]

    def crohme(self) -> Iterator[Row]:
        """CROHME's numbers: their digits, with separators, and from strokes."""
        cases = list(numbers.crohme(self.measured))
        readings = self.read(cases, "line")
        row, figures = self.row("CROHME, digits", cases, readings, at_least(0.93), digits_only=True)
        yield row
        yield self.calibration("CROHME, digits: calibration error", figures, 0.04)
        name = "CROHME, digits: answered with 99.5% right"
        yield Row.of_share(name, figures.n, figures.answered_at(), at_least(0.85))
        with_separators = [i for i, case in enumerate(cases) if not case.text.isdigit()]
        some, found = [cases[i] for i in with_separators], [readings[i] for i in with_separators]
        yield self.row("CROHME, with separators", some, found, at_least(0.9))[0]

    def strokes(self) -> Iterator[Row]:
        """CROHME's numbers from their strokes."""
        cases = list(numbers.crohme(self.measured))
        readings = [self.recognizer.read(case.strokes, layout="line") for case in cases]
        yield self.row("CROHME, digits, from strokes", cases, readings, at_least(0.96), digits_only=True)[0]

    def cheques(self) -> Iterator[Row]:
        """The amounts of ORAND-CAR-A, whose labels are digits alone."""
        cases = list(numbers.folder(self.measured, "car-a"))
        readings = self.read(cases, "line")
        row, figures = self.row("cheques (CAR-A), digits", cases, readings, at_least(0.78), digits_only=True)
        yield row
        yield self.calibration("cheques (CAR-A): calibration error", figures, 0.04)

    def pictures(self) -> Iterator[Row]:
        """Photographs and drawings of numbers by many people."""
        cases = list(numbers.folder(self.measured, "pictures"))
        readings = self.read(cases)
        yield self.row("pictures, digits", cases, readings, digits_only=True)[0]

    def without(self) -> Iterator[Row]:
        """Pictures without a number: how many are rejected."""
        for kind, cases in numbers.without(200).items():
            readings = self.read(cases)
            share = sum(not reading.is_number for reading in readings) / len(cases)
            yield Row.of_share(f"no number: {kind}", len(cases), share, at_least(0.98))
            if self.sheets:
                accepted = [(c, r) for c, r in zip(cases, readings, strict=True) if r.is_number]
                if accepted:
                    tiles = ((case.image, f"{found.text} {found.confidence:.2f}") for case, found in accepted)
                    contact_sheet(tiles, len(accepted)).save(self.sheets / f"no_number_{kind.replace(' ', '_')}.png")

    def cost(self) -> Iterator[Row]:
        """Medians on one thread, and the size of the models."""
        recognizer = Recognizer(self.recognizer.model.path, threads=1)
        hands = numbers.hands(self.measured.settings)["pens"]
        rng = np.random.default_rng(0)
        line = Image.fromarray(next(numbers.composed(hands, "apart", 1, ["20261"])).image).resize((400, 100))
        file = encoded(line, "PNG")
        yield self.timed("cost: a line of 400×100, ms", times_us(lambda: recognizer.read(file), CALLS), 10)
        sheet = Image.new("L", (1000, 1000), 240)
        for i, case in enumerate(numbers.composed(hands, "apart", 20)):
            number = Image.fromarray(case.image)
            number.thumbnail((180, 60))
            sheet.paste(number, (20 + 240 * (i % 4), 20 + 190 * (i // 4)))
        yield self.timed("cost: a sheet of 20 numbers, ms", times_us(lambda: recognizer.read(sheet), 30), None)
        page = find_page_ink(*page_grey(sheet))
        assert page is not None
        after = times_us(lambda: read_page(page, recognizer, Options()), 30)
        yield self.timed("cost: a sheet of 20 numbers, its ink found, ms", after, 25)
        photograph = np.asarray(sheet.resize((4000, 3000)).convert("RGB")).astype(np.float32)
        photograph *= np.linspace(0.6, 1, 4000)[None, :, None]
        picture = decode(
            encoded(Image.fromarray(np.uint8(photograph + rng.uniform(0, 9, photograph.shape))), "JPEG"), Limits()
        )
        yield self.timed(
            "cost: a decoded 12-megapixel photograph, ms", times_us(lambda: recognizer.read(picture), 8), 400
        )
        files = [shipped_network(name)[0] for name in ("ink", "line")]
        size = sum(path.stat().st_size for path in [*files, recognizer.model.path]) / 1000
        line_size = shipped_network("line")[0].stat().st_size / 1000
        yield Row(
            set="cost: the line network, kB",
            figure=f"{line_size:.0f}",
            target="<= 400",
            met="yes" if line_size <= 400 else "no",
        )
        yield Row(set="cost: all networks of reading, kB", figure=f"{size:.0f}")

    def timed(self, name: str, times: Sequence[float], most: float | None) -> Row:
        ms = float(np.median(times)) / 1000
        met = "" if most is None else "yes" if ms <= most else "no"
        return Row(set=name, n=len(times), figure=f"{ms:.1f}", target="" if most is None else f"<= {most}", met=met)

    def calibration(self, name: str, figures: StringFigures, most: float) -> Row:
        return Row.of_share(name, figures.n, figures.ece, at_most(most))


SETS: dict[str, Callable[[Numbers], Iterator[Row]]] = {
    name: getattr(Numbers, name)
    for name in ("composed", "losable", "crohme", "strokes", "cheques", "pictures", "without", "cost")
}


def options() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--model", help="name of a shipped model, or path of an .onnx file; default: the shipped one")
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS), metavar="SET", help=", ".join(SETS))
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets of what was read wrong")
    parser.add_argument(
        "--no-record", action="store_true", help="do not append to benchmarks/results/whole_numbers.csv"
    )
    return parser.parse_args()


def main() -> None:
    args = options()
    if args.sheets:
        args.sheets.mkdir(parents=True, exist_ok=True)
    measured = Measured(Recognizer(args.model), Settings.from_env(), None)
    model = measured.recognizer.model
    about = {**provenance(), "model": model.name, "sha256": model.sha256[:12], "line": shipped_network("line")[1][:12]}
    machine = environment()
    machine = {"cpu": machine.pop("processor"), **machine}
    rows, missing = [], []
    print(f"{model.name} {model.sha256[:12]}, line {about['line']}\n{HEADING}", flush=True)
    for name in args.only:
        try:
            for row in SETS[name](Numbers(measured, args.sheets)):
                print(row, flush=True)
                rows.append(row)
        except DataError as error:
            missing.append(f"{name} not measured: {error}")
    if rows and not args.no_record:
        keep([*kept(), *({**about, **asdict(row), **machine} for row in rows)])
    print("\n".join(missing), end="\n" if missing else "")


if __name__ == "__main__":
    main()
