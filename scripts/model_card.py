"""Write the model card of a shipped model from the registry and from its evaluations.

    inkdigits evaluate cnn --data mnist --robustness --report docs/reports/cnn-mnist.html
    inkdigits evaluate cnn --data pen --robustness --report docs/reports/cnn-pen.html
    inkdigits evaluate cnn --data digits --report docs/reports/cnn-digits.html
    python scripts/model_card.py cnn docs/reports/cnn-*.json

Every figure in it comes from these files. An evaluation of another file than the one that ships is refused. The card is
written as docs/model-card.md, and as the page that ships beside the model and that the server shows.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from markdown_it import MarkdownIt

from inkdigits.errors import InkdigitsError, ModelError
from inkdigits.evaluation.report_page import TEMPLATES
from inkdigits.network import SHIPPED
from inkdigits.server.model_info import CARD_SUFFIX

from train_shipped import Step, find, recipe

Evaluation = dict[str, Any]

NAMES = {"mnist": "MNIST's test images", "digits": "scikit-learn's digits", "pen": "pen strokes of writers held back"}
ORDER = list(NAMES)
SOURCES = {
    "train-images-idx3-ubyte": "MNIST's training images",
    "train-labels-idx1-ubyte": "and their labels",
    "t10k-images-idx3-ubyte": "MNIST's test images: measured on, never trained on",
    "t10k-labels-idx1-ubyte": "and their labels",
    "pendigits-orig.tra": "pen strokes of 30 writers; 18 to train, 6 to validate, 6 to test",
    "digits": "scikit-learn's 1,797 digits",
}
HANDS = {
    "train-images-idx3-ubyte": "employees of the US Census Bureau and high-school students (MNIST)",
    "pendigits-orig.tra": "writers at a Turkish university (pen strokes)",
    "digits": "writers in Turkey (scikit-learn's digits)",
}
LICENCES = {
    "train-images-idx3-ubyte": "MNIST: Y. LeCun, C. Cortes and C. Burges, CC BY-SA 3.0",
    "pendigits-orig.tra": "pen strokes: E. Alpaydin and F. Alimoglu, UCI data set 81, CC BY 4.0",
    "digits": "scikit-learn's digits: E. Alpaydin and C. Kaynak, UCI data set 80, CC BY 4.0",
}
GROUPS = {"held out": "kinds no training uses", "trained": "kinds in training", "all": "all kinds"}
WORST = 5  # kinds of corruption, and pairs of digits, that are named
SHOWN_THRESHOLDS = (0, 0.9, 0.99)  # of confidence
LINE = 118  # characters, that paragraphs are wrapped at
DOCS = Path("docs/model-card.md")


def card(name: str, entry: dict[str, Any], evaluations: Sequence[Evaluation], reports: Sequence[str | None]) -> str:
    """The card as Markdown.

    Args:
        name: of the model in the registry.
        entry: its entry.
        evaluations: what ``inkdigits evaluate --report`` wrote as JSON, one a data set.
        reports: for each the address of its page, or None.

    Raises:
        ModelError: an evaluation is of another file than the entry's.
    """
    for each in evaluations:
        if each["sha256"] != entry["sha256"]:
            raise ModelError(
                f"the evaluation on {each['data']} is of a model with SHA-256 {each['sha256']}, "
                f"not of {name}, {entry['sha256']}; evaluate it again"
            )
    shown = sorted(map(_shown, evaluations, reports), key=lambda each: _rank(each["data"]))
    steps = recipe(entry)
    made = {**entry.get("lineage", {}), entry["file"]: entry}
    trained = {
        step.name: made[step.name]["training"]
        for step in steps
        if "quantised" not in made[step.name]["training"]  # which holds what is recorded of its origin
    }
    text = TEMPLATES.get_template("model-card.md").render(
        name=name,
        entry=entry,
        evaluations=shown,
        best=shown[0],
        commands=[made[step.name]["command"] for step in steps],
        minutes=sum(training["seconds"] for training in trained.values()) / 60,
        longest=_longest(steps, trained) / 60,
        trained=[_trained(*item) for item in trained.items()],
        sources=[
            (f"`{data}`", SOURCES.get(data, ""), f"`{sha256}`")
            for data, sha256 in sorted(entry["data"].items(), key=lambda item: _rank(item[0], list(SOURCES)))
        ],
        hands=[text for data, text in HANDS.items() if data in entry["data"]],
        credits=[text for data, text in LICENCES.items() if data in entry["data"]],
        GROUPS=GROUPS,
        THRESHOLDS=SHOWN_THRESHOLDS,
        WORST=WORST,
    )
    return "\n\n".join(_wrapped(block) for block in re.split(r"\n{2,}", text.strip())) + "\n"


def page(text: str) -> str:
    """The card as a web page in the look of the drawing page, whose styles lie beside it.

    It stands without the docs that the card links, so links are plain text, and without style in line, which the
    page's policy forbids.

    Args:
        text: the card as Markdown.
    """
    markdown = MarkdownIt("commonmark").enable("table")
    markdown.add_render_rule("table_open", lambda *_: '<div class="table" tabindex="0"><table>\n')
    markdown.add_render_rule("table_close", lambda *_: "</table></div>\n")
    tokens = markdown.parse(text)
    for token in tokens:
        if token.attrs.pop("style", None):  # of a column that is aligned to the right
            token.attrSet("class", "number")
        if token.children:
            token.children = [child for child in token.children if child.type not in ("link_open", "link_close")]
    title = next(token.content for token in tokens if token.type == "inline")
    content = markdown.renderer.render(tokens, markdown.options, {})
    return TEMPLATES.get_template("model-card.html").render(title=title, content=content) + "\n"


def _wrapped(block: str) -> str:
    """A paragraph or a list in lines of bearable length; tables, headings and code as they are."""
    if block.startswith(("|", "#", "```")):
        return block
    lines: list[str] = []
    for line in block.split("\n"):
        if line.startswith("- ") or not lines:
            lines.append(line)
        else:
            lines[-1] += f" {line.strip()}"
    fill = {"width": LINE, "break_long_words": False, "break_on_hyphens": False}
    return "\n".join(textwrap.fill(line, subsequent_indent="  " * line.startswith("- "), **fill) for line in lines)


def _address(page: Path, folder: Path) -> str | None:
    """The address of a report's page from a card in a folder; None where it is not in or below it."""
    inside = page.is_file() and page.resolve().is_relative_to(folder.resolve())
    return page.resolve().relative_to(folder.resolve()).as_posix() if inside else None


def _shown(found: Evaluation, report: str | None) -> dict[str, Any]:
    """An evaluation with what the card says of it besides."""
    name = NAMES.get(found["data"], found["data"])
    some = f" (a sample of {found['of']:,})" if found["n"] < found["of"] else ""
    strong = [kind["strong"] for kind in (found["robustness"] or {"kinds": []})["kinds"] if not kind["trained"]]
    return {
        **found,
        "name": name,
        "title": name + some,
        "report": report,
        "worst_digit": min(row["recall"] for row in found["per_class"] if row["n"]),
        "held_out": {key: mean(score[key] for score in strong) for key in ("confidence", "accuracy")}
        if strong
        else None,
        "mix_ups": _mixed_up(found["confusion"]),
    }


def _rank(name: str, order: Sequence[str] = ORDER) -> int:
    return order.index(name) if name in order else len(order)


def _longest(steps: Sequence[Step], trained: dict[str, Any]) -> float:
    """Seconds of training until the last step is done, if each is begun as soon as those are that it needs."""
    ends: dict[str, float] = {}
    for step in steps:
        own = trained[step.name]["seconds"] if step.name in trained else 0.0
        ends[step.name] = own + max((ends[name] for name in step.needs), default=0.0)
    return ends[steps[-1].name]


def _trained(name: str, training: dict[str, Any]) -> tuple[str, ...]:
    minutes = f"{training['seconds'] / 60:.0f}"
    figures = (training["epochs"], training["best_epoch"], minutes, training["threads"], training["precision"])
    return (f"`{name}`", *map(str, figures))


def _mixed_up(confusion: list[list[int]]) -> list[tuple[int, int, int | str]]:
    pairs = [
        (n, label, "blank" if digit == len(confusion) else digit)
        for label, row in enumerate(confusion)
        for digit, n in enumerate(row)
        if n and digit != label
    ]
    return sorted(pairs, key=lambda pair: -pair[0])[:WORST]


def main(argv: Sequence[str] | None = None) -> int:
    """Write the card; 2 where something is wrong with what was given."""
    parser = argparse.ArgumentParser(description="Write the model card of a shipped model.")
    parser.add_argument("model", help="name of a shipped model")
    parser.add_argument("evaluations", nargs="+", type=Path, help="JSON files that inkdigits evaluate --report wrote")
    parser.add_argument(
        *("-o", "--output"),
        type=Path,
        action="append",
        help=f".md or .html file to write; by default {DOCS}, and the page beside the model's file",
    )
    args = parser.parse_args(argv)
    pages = [path.with_suffix(".html") for path in args.evaluations]
    try:
        entry = find(args.model)
        evaluations = [json.loads(path.read_text(encoding="utf-8")) for path in args.evaluations]
        for output in args.output or (DOCS, (SHIPPED / entry["file"]).with_suffix(CARD_SUFFIX)):
            reports = [_address(page, output.parent) for page in pages]
            text = card(args.model, entry, evaluations, reports)
            output.write_text(page(text) if output.suffix == ".html" else text, encoding="utf-8")
            print(f"wrote {output}")
    except (InkdigitsError, OSError, ValueError) as error:
        print(f"model_card: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
