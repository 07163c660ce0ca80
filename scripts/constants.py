"""Write the numbers of preprocessing and reading that the page takes, from the Python modules that hold them.

    python scripts/constants.py

A test fails where a constants.js of web/ is stale.
"""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path

import inkdigits

WEB = Path(inkdigits.__file__).with_name("web")
STEPS = {
    "preprocess": ("files", "decode", "grey", "paper", "planes", "ink", "components", "layout", "strokes"),
    "reading": ("ink", "layout", "lines", "search", "scoring", "strokes"),
}
PAGES = {  # the page's files, and the modules that hold their numbers
    WEB / folder / "constants.js": (
        "prediction" if folder == "preprocess" else folder,
        *(f"{folder}.{step}" for step in steps),
    )
    for folder, steps in STEPS.items()
}
PAGES[WEB / "hand" / "constants.js"] = ("adaptation",)
WIDTH = 120  # letters of a line
CALIBRATION = ("CALIBRATION", "of the shipped line network, from models/registry.json")
_HEAD = "/** Numbers of the steps, written from inkdigits/{} by scripts/constants.py: change them there. */\n"
_IMPORT = re.compile(r"import \{([^}]*)\} from '([./\w]*constants\.js)'")
_CONSTANT = re.compile(r"^([A-Z][A-Z\d_]*(?:, [A-Z][A-Z\d_]*)*) = [^#\n]+?(?:  # (.*))?$", re.MULTILINE)


def taken(page: Path) -> set[str]:
    """The names that the page's modules import from one of its files."""
    scripts = [path for path in WEB.rglob("*.js") if path.parent.name != "vendor"]
    imports = [(path, each) for path in scripts for each in _IMPORT.findall(path.read_text(encoding="utf-8"))]
    return {
        name
        for path, (names, source) in imports
        if (path.parent / source).resolve() == page.resolve()
        for name in re.findall(r"\w+", names)
    }


def script(page: Path) -> str:
    """The text of one of the page's files: by module, each constant and what is said of it."""
    names, lines = taken(page), [_HEAD.format(_source(page)).rstrip()]
    for name in PAGES[page]:
        module = import_module(f"inkdigits.{name}")
        path = Path(str(module.__file__))
        found = [
            (constant, said)
            for constants, said in _CONSTANT.findall(path.read_text(encoding="utf-8"))
            for constant in constants.split(", ")
            if constant in names
        ]
        values = {constant: getattr(module, constant) for constant, _ in found}
        if name == "reading.scoring":
            found.append(CALIBRATION)
            values[CALIBRATION[0]] = module.calibration()._asdict()
        lines += ["", f"// {path.name}"] if found else []
        for constant, said in found:
            line = f"export const {constant} = {literal(values[constant])};"
            is_short = len(line) + len(f" // {said}") <= WIDTH
            lines += [f"{line} // {said}" if said else line] if is_short else [f"// {said}", line]
    return "\n".join(lines) + "\n"


def _source(page: Path) -> str:
    modules = PAGES[page]
    return f"{modules[0]}.py" if len(modules) == 1 else page.parent.name


def literal(value: object) -> str:
    """A value as JavaScript has it: integers without a fraction, text in single quotes."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key}: {literal(each)}' for key, each in value.items())} }}"
    if isinstance(value, str):
        return f"'{value}'"
    return json.dumps(int(value) if isinstance(value, float) and value.is_integer() else value)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(script(page), encoding="utf-8")
