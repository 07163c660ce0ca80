"""The files that the page needs to work without a server: its own, the model, and the runtime that runs the model.

The page's service worker caches two sets of files, each with a version that is the hash of their content: ``page``, the
page itself, from the first visit on, and ``device``, the files for on-device inference, once that is switched on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import orjson

import inkdigits
from inkdigits.network import WEIGHTS_SUFFIX, shipped_network
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
LISTING = "files.js"  # imported by the service worker
MODEL = "model.onnx"
NETWORKS = ("ink", "line")  # that ship in addition to the models, each as its name and .onnx

_WORKER = "service-worker.js"  # caches the others, and is never cached itself
_PACKED = ".gz"  # a precompressed copy of a file, not listed separately
_VERSION_LETTERS = 16
_SWITCH = b'id="device-switch" class="switch"'  # followed by " hidden" in the page


def device_files(recognizer: Recognizer) -> dict[str, bytes]:
    """Return the model, the networks that find ink and read lines, their description, and the model's card, if any.

    The keys are the names that the page requests.

    A model that the page cannot run is left out, and its description says why.
    """
    reason = not_on_device(recognizer)
    description = {**about(recognizer), "not_on_device": reason} if reason else about(recognizer)
    files = {FIGURES: orjson.dumps(description)}
    if not reason:
        files[MODEL] = recognizer.model.path.read_bytes()
        files |= {f"{name}.onnx": shipped_network(name)[0].read_bytes() for name in NETWORKS}
    card = card_of(recognizer)
    return files if card is None else {**files, CARD: card}


def has_runtime(web: Path = WEB) -> bool:
    """Return whether the page in this folder can run models: the runtime is installed, with its last file."""
    return any((web / VENDOR).glob("*.wasm"))


def index(web: Path = WEB) -> bytes:
    """Return the page for browsers: with the switch *On this device* if the runtime is installed."""
    page = (web / INDEX).read_bytes()
    return page.replace(_SWITCH + b" hidden", _SWITCH) if has_runtime(web) else page


def not_on_device(recognizer: Recognizer) -> str:
    """Return why the page cannot run a model, or "". It can run models with the input of those trained here."""
    path = recognizer.model.path
    if path.with_name(path.name + WEIGHTS_SUFFIX).is_file():
        return f"the model {recognizer.model.name} has its weights in a second file; only the server can run it"
    if not recognizer.form.is_plain:
        return f"the model {recognizer.model.name} takes {recognizer.form}; only the server can run it"
    return ""


def listing(extra: Mapping[str, bytes], web: Path = WEB) -> bytes:
    """Return the script ``files.js``: names and versions of the two sets.

    Args:
        extra: content by name of device files that are not in ``web``.
        web: the page's folder.
    """
    files = sorted(
        p for p in web.rglob("*") if p.is_file() and p.suffix != _PACKED and not any(q[0] == "." for q in p.parts[-2:])
    )
    names = [p.relative_to(web).as_posix() for p in files]
    vendor = [name for name in names if name.startswith(f"{VENDOR}/")]
    page = [name for name in names if name not in {*vendor, *extra, _WORKER, LISTING}]
    digests = {n: _digest(str(p), p.stat().st_mtime_ns, p.stat().st_size) for n, p in zip(names, files, strict=True)}
    made = {INDEX: index(web), **extra}  # generated, so not the content in the folder
    digests |= {name: hashlib.sha256(content).hexdigest() for name, content in made.items()}
    device = [*vendor, *sorted(extra)] if vendor else []
    # The page is cached under its folder's address, which people open.
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
    """Return the SHA-256 of a file; its time and size are part of the cache key, so that changes are seen."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
