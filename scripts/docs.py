"""Bring the generated parts of the docs up to date: the tables of settings and options, the help of the commands.

    python scripts/docs.py

A generated part stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``; a test fails where one is stale.
"""

from __future__ import annotations

import re
from argparse import ArgumentParser, _SubParsersAction
from dataclasses import fields
from functools import partial
from pathlib import Path

from inkdigits.cli import build_parser
from inkdigits.options import Options, bounds, flag
from inkdigits.settings import Settings
from inkdigits.training.config import MlpConfig, TrainConfig

DOCS = Path(__file__).parents[1] / "docs"
_PART = re.compile(r"(<!-- generated: ([\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def settings_table() -> str:
    """Every setting as a Markdown table."""
    rows = ["| setting | variable | default | meaning |", "|---|---|---|---|"]
    for f in fields(Settings):
        # The cache's default is another folder for every user.
        default = "the user's cache folder" if f.name == "cache" else f"`{f.default}`" if f.default != "" else "empty"
        unit, limits = f.metadata["unit"], bounds(f.metadata)
        choices = f": {', '.join(f.metadata['choices'])}" if f.metadata["choices"] else ""
        meaning = f.metadata["help"] + choices + (f", in {unit}" if unit else "") + (f"; {limits}" if limits else "")
        rows.append(f"| `{f.name}` | `{f.metadata['env']}` | {default} | {meaning} |")
    return "\n".join(rows)


def options_table(options: type[Options]) -> str:
    """Every training option as a Markdown table."""
    rows = [f"| `{flag(f.name)}` | {f.default} | {f.metadata['help']} |" for f in fields(options)]
    return "\n".join(["| option | default | meaning |", "|---|---|---|", *rows])


def help_of(command: str) -> str:
    """The help text of a command, "" for that of inkdigits itself."""
    parser: ArgumentParser = build_parser()
    for name in command.split():
        [commands] = [action for action in parser._actions if isinstance(action, _SubParsersAction)]
        parser = commands.choices[name]
    return f"```text\n{parser.format_help().strip()}\n```"


TABLES = {
    "settings": settings_table,
    "training options": partial(options_table, TrainConfig),
    "perceptron options": partial(options_table, MlpConfig),
}


def renewed(text: str) -> str:
    """The text of a page with its generated parts as they are now."""

    def part(match: re.Match[str]) -> str:
        name = match[2]
        table = TABLES.get(name)
        content = table() if table else help_of(name.removeprefix("inkdigits").strip())
        return f"{match[1]}{content}\n{match[3]}"

    return _PART.sub(part, text)


def names(text: str) -> list[str]:
    """The generated parts of a page."""
    return [match[2] for match in _PART.finditer(text)]


if __name__ == "__main__":
    for page in sorted(DOCS.glob("*.md")):
        before = page.read_text(encoding="utf-8")
        after = renewed(before)
        if after != before:
            page.write_text(after, encoding="utf-8")
            print(f"renewed {page.name}: {', '.join(names(after))}")
