"""Text that others chose, such as names of files, on its way to a terminal or a spreadsheet."""

from __future__ import annotations

import re

__all__ = ["defused", "json_safe", "visible"]

# Controls (ESC begins commands to a terminal), marks that change the direction of what follows, and ends of lines.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_SHORT = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}
# What spreadsheets take for the start of a formula: https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = frozenset("=+-@\t\r")


def visible(text: str) -> str:
    """Text with what would steer a terminal written out as Python does: ``\\x1b``, ``\\n``, ``\\u202e``."""
    return text if text.isprintable() else _CONTROLS.sub(_escaped, text)


def json_safe(text: str) -> str:
    """JSON with what would steer a terminal as escapes of JSON's own: the same values, the lines' ends as they are."""
    if text.isascii() and "\x7f" not in text:  # JSON escapes the other controls by itself
        return text
    return _CONTROLS.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text)


def defused(text: str) -> str:
    """Text for a cell of CSV, with an apostrophe first where a spreadsheet would take it for a formula."""
    return f"'{text}" if text[:1] in _FORMULA and text != "-" else text


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return _SHORT.get(found[0]) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
