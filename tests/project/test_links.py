"""Links in the documents lead to files and headings that exist."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from support.paths import ROOT

FOLDERS = ("", "docs", "benchmarks", "deploy", "notebooks", "examples")
DOCUMENTS = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.md"))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def text_of(path: Path) -> str:
    """The document without its code, in which brackets are no links."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`(?!\]\()", "", text)


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    found: list[str] = []
    fenced = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for heading in HEADING.findall(fenced):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
        times = sum(re.fullmatch(rf"{re.escape(anchor)}(-\d+)?", other) is not None for other in found)
        found.append(f"{anchor}-{times}" if times else anchor)
    return {*found, *re.findall(r'<a (?:id|name)="([^"]+)"', path.read_text(encoding="utf-8"))}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
    for link in LINK.findall(text_of(path)):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = unquote(link).partition("#")
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), f"{path.relative_to(ROOT)}: {link}"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{path.relative_to(ROOT)}: {link}: there are {sorted(anchors(file))}"


def test_links_in_sources_lead_somewhere():
    """Messages and pages refer to the docs by ``docs/NAME.md#anchor``."""
    sources = [path for kind in ("py", "js", "html", "css") for path in (ROOT / "src").rglob(f"*.{kind}")]
    found = 0
    for path in [*sources, *(ROOT / "scripts").glob("*"), *(ROOT / "deploy").rglob("*.*"), ROOT / "Makefile"]:
        if not path.is_file() or "vendor" in path.parts:
            continue
        for name, anchor in re.findall(r"\bdocs/([a-z-]+\.md)(?:#([\w-]+))?", path.read_text(encoding="utf-8")):
            found += 1
            file = ROOT / "docs" / name
            assert file.exists(), f"{path.relative_to(ROOT)}: docs/{name}"
            assert not anchor or anchor in anchors(file), f"{path.relative_to(ROOT)}: docs/{name}#{anchor}"
    assert found
