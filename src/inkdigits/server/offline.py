"""What the page takes along to work without a server: its own files, the model, and the runtime that reads with it.

The page's service worker keeps two sets of files, each under a version that is the hash of their content: ``page``, the
page itself, kept from the first visit on, and ``device``, what reading on the device takes, kept once that is wanted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import orjson

import inkdigits
from inkdigits.network import WEIGHTS_SUFFIX
from inkdigits.recognizer import Recognizer
from inkdigits.server.model_info import CARD, FIGURES, about, card_of

__all__ = [
    "INDEX",
    "LISTING",
    "MODEL",
    "VENDOR",
    "WEB",
    "device_files",
    "has_runtime",
    "index",
    "listing",
    "not_on_device",
]

WEB = Path(inkdigits.__file__).with_name("web")
VENDOR = "vendor"  # folder of the runtime, which `make web-runtime` fetches
INDEX = "index.html"
LISTING = "files.js"  # what the service worker imports
MODEL = "model.onnx"

_WORKER = "service-worker.js"  # keeps the others, and is itself always asked for anew
_PACKED = ".gz"  # compressed beforehand: another form of a file, not one of its own
_VERSION_LETTERS = 16
_SWITCH = b'id="device-switch" class="switch"'  # in the page, where " hidden" follows it


def device_files(recognizer: Recognizer) -> dict[str, bytes]:
    """The model, what is known of it, and its card if it has one, by the name under which the page asks for them.

    A model that the page cannot run is left out, and what is known of it says why.
    """
    reason = not_on_device(recognizer)
    known = {**about(recognizer), "not_on_device": reason} if reason else about(recognizer)
    files = {FIGURES: orjson.dumps(known)}
    if not reason:
        files[MODEL] = recognizer.model.path.read_bytes()
    card = card_of(recognizer)
    return files if card is None else {**files, CARD: card}


def has_runtime(web: Path = WEB) -> bool:
    """Whether the page in this folder can read on the device: the runtime lies there, the last of its files too."""
    return any((web / VENDOR).glob("*.wasm"))


def index(web: Path = WEB) -> bytes:
    """The page as browsers get it: with the switch *On this device* where the runtime is there."""
    page = (web / INDEX).read_bytes()
    return page.replace(_SWITCH + b" hidden", _SWITCH) if has_runtime(web) else page


def not_on_device(recognizer: Recognizer) -> str:
    """Why the page cannot run a model, which it feeds as those that are trained here; "" where it can."""
    path = recognizer.model.path
    if path.with_name(path.name + WEIGHTS_SUFFIX).is_file():
        return f"the model {recognizer.model.name} keeps its weights in a second file; the server reads with it"
    if not recognizer.form.is_plain:
        return f"the model {recognizer.model.name} takes {recognizer.form}; the server reads with it"
    return ""


def listing(extra: Mapping[str, bytes], web: Path = WEB) -> bytes:
    """The script ``files.js``: names and versions of the two sets.

    Args:
        extra: content by name of the device's files that do not lie in ``web``.
        web: the page's folder.
    """
    files = sorted(
        p for p in web.rglob("*") if p.is_file() and p.suffix != _PACKED and not any(q[0] == "." for q in p.parts[-2:])
    )
    names = [p.relative_to(web).as_posix() for p in files]
    vendor = [name for name in names if name.startswith(f"{VENDOR}/")]
    page = [name for name in names if name not in {*vendor, *extra, _WORKER, LISTING}]
    digests = {n: _digest(str(p), p.stat().st_mtime_ns, p.stat().st_size) for n, p in zip(names, files, strict=True)}
    made = {INDEX: index(web), **extra}  # by content: these are not sent as they lie in the folder
    digests |= {name: hashlib.sha256(content).hexdigest() for name, content in made.items()}
    device = [*vendor, *sorted(extra)] if vendor else []
    # The page is known by its folder's address, under which people open it.
    sets = {
        "page": {"version": _version(page, digests), "files": ["./", *(n for n in page if n != INDEX)]},
        "device": {"version": _version(device, digests), "files": device},
    }
    return b"self.KEPT = " + orjson.dumps(sets, option=orjson.OPT_INDENT_2) + b";\n"


def _version(names: list[str], digests: Mapping[str, str]) -> str:
    text = "\n".join(f"{name} {digests[name]}" for name in sorted(names))
    return hashlib.sha256(text.encode()).hexdigest()[:_VERSION_LETTERS]


@lru_cache(maxsize=1024)
def _digest(path: str, modified: int, size: int) -> str:
    """SHA-256 of a file, computed anew when it was written again."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
