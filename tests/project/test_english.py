"""Docs, help, errors and docstrings are in plain English, and identifiers have US spelling, by english.toml."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import tomllib
from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import pytest

from inkdigits.cli import build_parser

from support.paths import ROOT

RULES = tomllib.loads(Path(__file__).with_name("english.toml").read_text(encoding="utf-8"))
PHRASES = [(re.compile(rule["pattern"], re.IGNORECASE), rule["instead"]) for rule in RULES["phrases"]]
ALLOWED = RULES.get("allow", [])
PACKAGE = ROOT / "src" / "inkdigits"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "benchmarks" / "README.md"])
# A docstring says what a function does: it starts with a verb, so not with one of these.
NO_VERBS = re.compile(
    r"(a|all|an|any|as|each|every|how|its|no|of|one|so|such|that|the|these|this|those"
    r"|what|when|where|whether|which|who|whose|why)\b",
    re.IGNORECASE,
)


class Text(NamedTuple):
    """A piece of prose, and where it is."""

    where: str
    line: int
    words: str


def faults(texts: Iterator[Text]) -> list[str]:
    """``path:line: 'phrase': instead`` for each banned phrase that is not excepted."""
    found = []
    for where, line, words in texts:
        plain = " ".join(words.split())
        for pattern, instead in PHRASES:
            for match in pattern.finditer(plain):
                around = plain[max(0, match.start() - 40) : match.end() + 40]
                if not any(entry["where"] == where and entry["text"] in plain for entry in ALLOWED):
                    found.append(f"{where}:{line}: {match[0]!r} ({instead}) in …{around}…")
    return found


def prose(path: Path) -> Iterator[Text]:
    """Paragraphs of a Markdown file, without code."""
    text = path.read_text(encoding="utf-8")
    where = path.relative_to(ROOT).as_posix()

    def blank(match: re.Match[str]) -> str:
        return "\n" * match[0].count("\n")

    for code in (r"^```.*?^```$", r"<!--.*?-->"):
        text = re.sub(code, blank, text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`]*`", "`code`", text)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    line = 1
    for paragraph in re.split(r"(\n\s*\n|(?<=\|)\n|\n(?=- ))", text):
        if paragraph.strip():
            yield Text(where, line, paragraph)
        line += paragraph.count("\n")


def help_texts() -> Iterator[Text]:
    """Descriptions and options of each command."""

    def of(parser: ArgumentParser) -> Iterator[Text]:
        where = parser.prog
        yield from (Text(where, 0, text) for text in (parser.description, parser.epilog) if text)
        for action in parser._actions:
            if isinstance(action, _SubParsersAction):
                for choice in action._choices_actions:
                    yield Text(where, 0, choice.help or "")
                for command in action.choices.values():
                    yield from of(command)
            else:
                yield Text(where, 0, action.help or "")

    yield from of(build_parser())


def strings(path: Path) -> Iterator[Text]:
    """Docstrings, messages and comments of a Python file."""
    where = path.relative_to(ROOT).as_posix()
    source = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            parts = (p.value if isinstance(p, ast.Constant) else "{}" for p in node.values)
            yield Text(where, node.lineno, "".join(map(str, parts)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield Text(where, node.lineno, re.sub(r"``[^`]*``|`[^`]*`", "`code`", node.value))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield Text(where, token.start[0], token.string)


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[tuple[int, str]] = []

    def handle_data(self, data: str) -> None:
        self.texts.append((self.getpos()[0], data))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.texts += [(self.getpos()[0], named[key] or "") for key in ("title", "aria-label", "alt") if key in named]


def page_strings() -> Iterator[Text]:
    """Everything that the page says: its HTML, and the module that holds its words."""
    [words] = [path for path in (PACKAGE / "web" / "strings.js", PACKAGE / "web" / "text.js") if path.exists()]
    where = words.relative_to(ROOT).as_posix()
    for number, line in enumerate(words.read_text(encoding="utf-8").splitlines(), 1):
        for quoted in re.findall(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"|`([^`]*)`", line):
            yield Text(where, number, "".join(quoted))
    page = PACKAGE / "web" / "index.html"
    parser = _Words()
    parser.feed(page.read_text(encoding="utf-8"))
    yield from (Text(page.relative_to(ROOT).as_posix(), line, text) for line, text in parser.texts)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_docs_have_no_banned_phrase(path):
    found = faults(prose(path))
    assert not found, "\n".join(found)


def test_the_help_has_no_banned_phrase():
    found = faults(help_texts())
    assert not found, "\n".join(found)


def test_the_page_has_no_banned_phrase():
    found = faults(page_strings())
    assert not found, "\n".join(found)


ROOMS = sorted({path.relative_to(PACKAGE).parts[0] for path in PACKAGE.rglob("*.py")})


def modules(room: str) -> list[Path]:
    return [PACKAGE / room] if room.endswith(".py") else sorted((PACKAGE / room).rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_the_sources_have_no_banned_phrase(room):
    found = [fault for path in modules(room) for fault in faults(strings(path))]
    assert not found, "\n".join(found)


def is_property(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    names = {ast.unparse(decorator).rpartition(".")[2] for decorator in function.decorator_list}
    return bool(names & {"property", "cached_property"})


@pytest.mark.parametrize("room", ROOMS)
def test_docstrings_of_functions_start_with_a_verb(room):
    found = []
    for path in modules(room):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not is_property(node):
                docstring = ast.get_docstring(node)
                if docstring and NO_VERBS.match(docstring):
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {docstring.splitlines()[0]}")
    assert not found, "\n".join(found)


def identifiers(path: Path) -> Iterator[tuple[int, str]]:
    """Names that a Python file gives: of modules, classes, functions, arguments, variables and attributes."""
    yield 0, path.stem
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr


@pytest.mark.parametrize("room", ROOMS)
def test_identifiers_have_us_spelling(room):
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name} ({us})"
        for path in modules(room)
        for line, name in identifiers(path)
        for british, us in RULES["spellings"].items()
        if british in name.lower() and name not in RULES["public"]
    ]
    assert not found, "\n".join(found)


def test_commands_and_options_have_us_spelling():
    """Except those that stay for one release, which the help does not show."""
    text = build_parser().format_help()
    [commands] = [action for action in build_parser()._actions if isinstance(action, _SubParsersAction)]
    shown = [choice.dest for choice in commands._choices_actions]
    for command in shown:
        text += commands.choices[command].format_help()
    options = re.findall(r"--[a-z-]+", text)
    found = [name for name in {*shown, *options} for british in RULES["spellings"] if british in name]
    assert not found, found
