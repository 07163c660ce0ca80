"""Write the model card of a shipped model from the registry and from its evaluations.

    inkdigits evaluate cnn --data mnist --robustness --report docs/report-cnn-mnist.html
    inkdigits evaluate cnn --data pen --robustness --report docs/report-cnn-pen.html
    inkdigits evaluate cnn --data digits --report docs/report-cnn-digits.html
    python scripts/model_card.py cnn docs/report-cnn-*.json

Every figure in it comes from these files. An evaluation of another file than the one that ships is refused. The card is
written as docs/model-card.md, and as the page that ships beside the model and that the server shows.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Sequence
from html import escape
from pathlib import Path
from statistics import mean
from typing import Any

from markdown_it import MarkdownIt

from inkdigits.errors import InkdigitsError, ModelError
from inkdigits.network import SHIPPED
from inkdigits.server.model_info import CARD_SUFFIX

from train_shipped import Step, find, recipe

Evaluation = dict[str, Any]

NAMES = {"mnist": "MNIST's test images", "digits": "scikit-learn's digits", "pen": "pen strokes of writers held back"}
ORDER = list(NAMES)
SOURCES = {
    "train-images-idx3-ubyte": "MNIST's training images",
    "train-labels-idx1-ubyte": "and their labels",
    "t10k-images-idx3-ubyte": "MNIST's test images: measured on, never learnt from",
    "t10k-labels-idx1-ubyte": "and their labels",
    "pendigits-orig.tra": "pen strokes of 30 writers; learnt from 18, chosen by 6, measured on 6",
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
LEVELS = ("mild", "medium", "strong")
GROUPS = {"held out": "kinds no training uses", "trained": "kinds in training", "all": "all kinds"}
WORST = 5  # kinds of disturbance, and pairs of digits, that are named
SHOWN_THRESHOLDS = (0.0, 0.9, 0.99)  # of confidence
LINE = 118  # characters, that paragraphs are wrapped at
DOCS = Path("docs/model-card.md")
PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="style.css">
<link rel="stylesheet" href="card.css">
</head>
<body class="card">
<header><p class="brand"><a href="./">inkdigits</a></p></header>
<main>
{body}</main>
</body>
</html>
"""


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
    order = sorted(range(len(evaluations)), key=lambda i: _rank(evaluations[i]["data"]))
    evaluations, reports = [evaluations[i] for i in order], [reports[i] for i in order]
    sections = [
        _about(name, entry, evaluations),
        _use(),
        _measured(evaluations, reports),
        _confidence(evaluations),
        _robust(evaluations),
        _refusal(evaluations, entry),
        _cost(evaluations),
        _training(entry),
        _limits(evaluations, entry),
        _licence(entry),
    ]
    return "\n\n".join(_wrapped(block) for text in sections if text for block in text.split("\n\n")) + "\n"


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
    title = escape(next(token.content for token in tokens if token.type == "inline"))
    return PAGE.format(title=title, body=markdown.renderer.render(tokens, markdown.options, {}))


def _wrapped(block: str) -> str:
    """A paragraph or a list in lines of bearable length; tables, headings and code as they are."""
    if block.startswith(("|", "#", "```")):
        return block
    fill = {"width": LINE, "break_long_words": False, "break_on_hyphens": False}
    lines = block.split("\n")
    return "\n".join(textwrap.fill(line, subsequent_indent="  " * line.startswith("- "), **fill) for line in lines)


def _rank(data: str) -> int:
    return ORDER.index(data) if data in ORDER else len(ORDER)


def _name(each: Evaluation) -> str:
    return NAMES.get(each["data"], each["data"])


def _title(each: Evaluation) -> str:
    return _name(each) + (f" (a sample of {each['of']:,})" if each["n"] < each["of"] else "")


def _percent(share: float, digits: int = 2) -> str:
    return f"{share:.{digits}%}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], align: str = "---:") -> str:
    lines = [head, ["---", *[align] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _about(name: str, entry: dict[str, Any], evaluations: Sequence[Evaluation]) -> str:
    best = evaluations[0]
    refuses = " and how much the ink looks like a digit at all" if entry.get("threshold") is not None else ""
    return (
        f"# Model card: {name}\n\n"
        f"`{name}` reads one handwritten digit, 0 to 9, in a picture, and says how sure it is{refuses}. It reads "
        f"{_percent(best['accuracy'])} of {_name(best)} right. It is a network of {entry['parameters']:,} parameters "
        f"(`{entry['network']}`) in one ONNX file of {entry['bytes']:,} bytes, and ships inside the package. The ink "
        "is first found in the picture and laid out as MNIST's digits are; the network sees 28×28 pixels.\n\n"
        f"SHA-256 `{entry['sha256']}`, made {entry['created'][:10]}."
    )


def _use() -> str:
    return (
        "## Intended use\n\n"
        "Single handwritten digits: drawn on a screen, written on paper and scanned or photographed, cut out of forms "
        "and tables; dark on light or light on dark, of any size and place in the picture.\n\n"
        "Not for: several digits in one picture (cut them apart first), letters, printed barcodes, or numbers on which "
        "money, health or rights depend without a person who looks at what the model is not sure of."
    )


def _measured(evaluations: Sequence[Evaluation], reports: Sequence[str | None]) -> str:
    rows = []
    for each, report in zip(evaluations, reports, strict=True):
        low, high = each["interval"]
        rows.append(
            (
                f"[{_title(each)}]({report})" if report else _title(each),
                f"{each['n']:,}",
                f"**{_percent(each['accuracy'])}**",
                f"{_percent(low)} – {_percent(high)}",
                f"{len(each['errors']):,}",
                _percent(min(row["recall"] for row in each["per_class"] if row["n"])),
                _percent(each["calibration_error"]),
            )
        )
    head = ("data", "images", "right", "95% interval", "wrong", "worst digit", "calibration error")
    return (
        "## How well it reads\n\n"
        "Each image went through `Recognizer`, as a user's does; none was learnt from. Intervals are "
        f"Wilson's; the calibration error has 15 bins.\n\n{_table(head, rows)}"
    )


def _confidence(evaluations: Sequence[Evaluation]) -> str:
    rows = [
        (
            _title(each),
            *(
                f"{_percent(row['answered'], 1)} answered, {_percent(row['accuracy'])} right"
                for row in each["rejection"]
                if row["threshold"] in SHOWN_THRESHOLDS
            ),
        )
        for each in evaluations
    ]
    head = ("confidence from", *(f"{threshold:g}" for threshold in SHOWN_THRESHOLDS))
    return (
        "## How far its confidence can be trusted\n\n"
        "One temperature is fitted on validation images so that of answers with a confidence of 90%, 90% are right. "
        f"Answers under a threshold can be handed to a person:\n\n{_table(head, rows)}"
    )


def _robust(evaluations: Sequence[Evaluation]) -> str:
    parts = []
    for each in (e for e in evaluations if e["robustness"]):
        found = each["robustness"]
        rows = [
            (text, *(_percent(found["means"][group][level], 1) for level in LEVELS)) for group, text in GROUPS.items()
        ]
        worst = sorted(found["kinds"], key=lambda kind: kind["medium"]["accuracy"])[:WORST]
        named = ", ".join(f"{kind['name']} {_percent(kind['medium']['accuracy'], 1)}" for kind in worst)
        parts.append(
            f"### Disturbed: {_name(each)}\n\n"
            f"{found['n']:,} images; undisturbed, {_percent(found['plain']['accuracy'], 1)} are read right.\n\n"
            f"{_table(('mean accuracy', *LEVELS), rows)}\n\nWorst at medium strength: {named}."
        )
    if not parts:
        return ""
    kinds = next(e["robustness"]["kinds"] for e in evaluations if e["robustness"])
    return (
        f"## Disturbed pictures\n\n{len(kinds)} kinds of what hands, pens, papers, cameras and scanners do, at three "
        f"strengths; {sum(not kind['trained'] for kind in kinds)} of them are held out of all training. Pictures of "
        "each are in [docs/augmentation.md](augmentation.md).\n\n" + "\n\n".join(parts)
    )


def _refusal(evaluations: Sequence[Evaluation], entry: dict[str, Any]) -> str:
    found = next((each for each in evaluations if each["refusal"]), None)
    if found is None:
        return ""
    refusal = found["refusal"]
    own = refusal["digits_own"] is not None
    head = ("picture of no digit", "pictures", "refused", *(["by the model's own threshold"] if own else []))

    def row(name: str, n: int, refused: float, by_model: float | None) -> tuple[str, ...]:
        cells = (name, f"{n:,}", _percent(refused, 1))
        return cells if by_model is None else (*cells, _percent(by_model, 1))

    rows = [row(kind["name"], kind["n"], kind["refused"], kind["own"]) for kind in refusal["kinds"]]
    alike = refusal["lookalikes"]
    rows.append(row("letters that look like digits", alike["n"], alike["refused"], alike["own"]))
    rows.append(row(f"digits: {_name(found)}", refusal["digits"], refusal["digits_refused"], refusal["digits_own"]))
    threshold = (
        f" The model calls ink no digit where its digit score is under {entry['threshold']:.4g}."
        if entry.get("threshold") is not None
        else " It has no judgement of its own on that: a low confidence has to do."
    )
    return (
        f"## What is no digit\n\nRefused at the threshold on its {refusal['score']}, {refusal['threshold']:.4g}, that "
        f"refuses 1% of the digits.{threshold} Letters are of fonts never learnt from. O, l and S are digits too, to "
        f"the eye, and are told apart.\n\n{_table(head, rows)}"
    )


def _cost(evaluations: Sequence[Evaluation]) -> str:
    cost, environment = evaluations[0]["cost"], evaluations[0]["environment"]
    rows = [
        ("one image, from its pixels to the answer", f"{cost['predict_us']:.0f} µs"),
        ("the network alone, one image", f"{cost['network_us']:.0f} µs"),
        (f"the network alone, an image in a batch of {cost['batch']}", f"{cost['batch_us']:.0f} µs"),
    ]
    versions = f"onnxruntime {environment['onnxruntime']}, {environment['processor']}"
    return (
        f"## What an answer costs\n\nMedians of {cost['calls']} calls on {_name(evaluations[0])}, one "
        f"thread, {versions}.\n\n{_table(('what', 'time'), rows)}"
    )


def _training(entry: dict[str, Any]) -> str:
    versions, steps = entry["versions"], recipe(entry)
    made = {**entry.get("lineage", {}), entry["file"]: entry}
    trained = {
        step.name: made[step.name]["training"]
        for step in steps
        if "quantised" not in made[step.name]["training"]  # which holds what is told of its origin
    }
    commands = "\n".join(made[step.name]["command"] for step in steps)
    minutes, longest = sum(training["seconds"] for training in trained.values()) / 60, _longest(steps, trained) / 60
    rows = [*map(_trained, trained.items())]
    hashes = sorted(entry["data"].items(), key=_known)
    sources = [(f"`{name}`", SOURCES.get(name, ""), f"`{sha256}`") for name, sha256 in hashes]
    return (
        f"## How it was trained\n\n`python scripts/train_shipped.py {Path(entry['file']).stem}` trains it anew, each "
        "step as soon as the models are there that it starts from or learns from, and as many side by side as there "
        f"are processors:\n\n```sh\n{commands}\n```\n\n"
        f"{_table(('model', 'epochs', 'best', 'minutes', 'threads', 'arithmetic'), rows)}\n\n"
        f"That is {minutes:.0f} minutes, {longest:.0f} with two side by side where they can be. The "
        "best epoch is the one that read the most validation images; of the model that ships "
        f"{_percent(entry['metrics']['validation']['accuracy'])} of them are right. Python {versions['python']}, torch "
        f"{versions['torch']}, onnxruntime {versions['onnxruntime']}. What a run does is told in "
        "[docs/training.md](training.md).\n\n"
        f"{_table(('data', 'what it is', 'SHA-256 of its content'), sources, '---')}"
    )


def _longest(steps: Sequence[Step], trained: dict[str, Any]) -> float:
    """Seconds of training until the last step is done, if each is begun as soon as those are that it needs."""
    ends: dict[str, float] = {}
    for step in steps:
        own = trained[step.name]["seconds"] if step.name in trained else 0.0
        ends[step.name] = own + max((ends[name] for name in step.needs), default=0.0)
    return ends[steps[-1].name]


def _trained(item: tuple[str, dict[str, Any]]) -> tuple[str, ...]:
    name, training = item
    minutes = f"{training['seconds'] / 60:.0f}"
    figures = (training["epochs"], training["best_epoch"], minutes, training["threads"], training["precision"])
    return (f"`{name}`", *map(str, figures))


def _known(item: tuple[str, str]) -> int:
    return list(SOURCES).index(item[0]) if item[0] in SOURCES else len(SOURCES)


def _limits(evaluations: Sequence[Evaluation], entry: dict[str, Any]) -> str:
    hands = [text for name, text in HANDS.items() if name in entry["data"]]
    lines = [
        "It answers for one digit. Of several it sees one piece of ink, or all of them as one.",
        f"The hands it knows are those of its data: {' and '.join(hands) or 'see above'}. Shapes of digits that are "
        "rare there are read worse.",
        "It does not tell whether writing is genuine, or who wrote it.",
        "Figures of disturbed pictures and of refusal are figures of development in part: what was seen while it was "
        "built is told in [docs/evaluation.md](evaluation.md#what-was-seen-while-it-was-built).",
    ]
    for each in evaluations:
        if found := each["robustness"]:
            strong = [kind["strong"] for kind in found["kinds"] if not kind["trained"]]
            claimed, kept = (mean(score[key] for score in strong) for key in ("confidence", "accuracy"))
            lines.append(
                f"On {_name(each)}, strongly disturbed in ways held out of training, it claims {_percent(claimed, 1)} "
                f"on average and {_percent(kept, 1)} are right."
            )
        if pairs := _mixed_up(each["confusion"]):
            text = ", ".join(f"{label} as {digit} ({n})" for n, label, digit in pairs)
            lines.append(f"Most often mixed up on {_name(each)}: {text}.")
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _mixed_up(confusion: list[list[int]]) -> list[tuple[int, int, int | str]]:
    pairs = [
        (n, label, "blank" if digit == len(confusion) else digit)
        for label, row in enumerate(confusion)
        for digit, n in enumerate(row)
        if n and digit != label
    ]
    return sorted(pairs, key=lambda pair: -pair[0])[:WORST]


def _licence(entry: dict[str, Any]) -> str:
    credits = "\n".join(f"- {text}" for name, text in LICENCES.items() if name in entry["data"])
    return f"## Licence\n\nThe model and its code: MIT. Learnt from:\n\n{credits}"


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
            reports = [each.name if each.parent == output.parent and each.is_file() else None for each in pages]
            text = card(args.model, entry, evaluations, reports)
            output.write_text(page(text) if output.suffix == ".html" else text, encoding="utf-8")
            print(f"wrote {output}")
    except (InkdigitsError, OSError, ValueError) as error:
        print(f"model_card: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
