"""Write the numbers of preprocessing that the page takes, from the Python modules that hold them.

    python scripts/constants.py

A test fails where web/preprocess/constants.js is stale.
"""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path

import inkdigits

WEB = Path(inkdigits.__file__).with_name("web")
PAGE = WEB / "preprocess" / "constants.js"
STEPS = ("files", "decode", "grey", "paper", "planes", "ink", "components", "layout")
MODULES = ("prediction", *(f"preprocess.{step}" for step in STEPS))
WIDTH = 120  # letters of a line
_HEAD = "/** Numbers of the steps, written from inkdigits/preprocess by scripts/constants.py: change them there. */\n"
_IMPORT = re.compile(r"import \{([^}]*)\} from '[./]*(?:preprocess/)?constants\.js'")
_CONSTANT = re.compile(r"^([A-Z][A-Z\d_]*) = [^#\n]+?(?:  # (.*))?$", re.MULTILINE)


def taken() -> set[str]:
    """The names that the page's modules import."""
    scripts = [path.read_text(encoding="utf-8") for path in WEB.rglob("*.js") if path.parent.name != "vendor"]
    return {name for text in scripts for names in _IMPORT.findall(text) for name in re.findall(r"\w+", names)}


def script() -> str:
    """The text of the page's file: by module, each constant and what is said of it."""
    names, lines = taken(), [_HEAD.rstrip()]
    for name in MODULES:
        module = import_module(f"inkdigits.{name}")
        found = _CONSTANT.findall(Path(str(module.__file__)).read_text(encoding="utf-8"))
        lines += ["", f"// {name.rpartition('.')[2]}.py"] if any(constant in names for constant, _ in found) else []
        for constant, said in found:
            if constant in names:
                line = f"export const {constant} = {literal(getattr(module, constant))};"
                is_short = len(line) + len(f" // {said}") <= WIDTH
                lines += [f"{line} // {said}" if said else line] if is_short else [f"// {said}", line]
    return "\n".join(lines) + "\n"


def literal(value: object) -> str:
    """A value as JavaScript has it: integers without a fraction, text in single quotes."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, str):
        return f"'{value}'"
    return json.dumps(int(value) if isinstance(value, float) and value.is_integer() else value)


if __name__ == "__main__":
    PAGE.write_text(script(), encoding="utf-8")
