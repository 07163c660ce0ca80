"""Build the page as a folder of static files for any host, at the root or under a path.

    python scripts/build_static.py build/static                               the device reads; there is no server
    python scripts/build_static.py build/static --server https://api.example  the server at this address reads

The folder holds the page, the model, the runtime, and the response headers in the hosts' own formats: vercel.json
(Vercel) and _headers (Netlify, Cloudflare Pages). To deploy to Vercel: npx vercel deploy FOLDER
"""

import argparse
import json
import re
import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

from inkdigits import Recognizer
from inkdigits.errors import InkdigitsError
from inkdigits.server.offline import (
    INDEX,
    LISTING,
    VENDOR,
    WEB,
    device_files,
    has_runtime,
    index,
    listing,
    not_on_device,
)
from inkdigits.server.pages import HEADERS, policy

_META = re.compile(r'(<meta name="inkdigits-server" content=)"[^"]*"')
_NO_SERVER = "none"
_FORM = re.compile(r'<form class="choose" action="\./"(.*?)</form>', re.DOTALL)
_NO_FORM = "<p>This page needs JavaScript, which is turned off.</p>"


def build(out: Path, server: str = "", model: str | None = None) -> list[Path]:
    """Write the page into ``out``, replacing its content.

    Args:
        out: folder; it must be new, empty, or an earlier build.
        server: address of the server, http or https; empty: no server, the device reads.
        model: name of a shipped model or path of an .onnx file; None is the shipped default.

    Returns:
        The files written.

    Raises:
        ValueError: the folder holds other files, the address is invalid, the runtime is missing, or the page cannot
            run the model.
    """
    parts = urlsplit(server)
    if server and (parts.scheme not in ("http", "https") or not parts.netloc):
        raise ValueError(f"the server's address is {server!r}; expected one such as https://api.example")
    if not has_runtime():
        raise ValueError(f"there is no runtime in {WEB / VENDOR}: run make web-runtime first")
    if out.is_dir() and any(out.iterdir()) and not (out / LISTING).is_file():
        raise ValueError(f"{out} holds other files than an earlier build; give a new folder")
    recognizer = Recognizer(model)
    if not server and (reason := not_on_device(recognizer)):
        raise ValueError(f"{reason.partition(';')[0]}, which the page cannot run by itself; give --server")
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(WEB, out, ignore=shutil.ignore_patterns("*.gz", "*.part", "__pycache__", ".*"))
    page = out / INDEX
    text, count = _META.subn(rf'\1"{server or _NO_SERVER}"', index(out).decode())
    if count != 1:
        raise ValueError(f"{page} names its server {count} times; expected once")
    # Without JavaScript only a server can read.
    form = rf'<form class="choose" action="{server.rstrip("/")}/"\1</form>' if server else _NO_FORM
    text, count = _FORM.subn(form, text)
    if count != 1:
        raise ValueError(f"{page} has {count} forms to send pictures with; expected one")
    page.write_text(text, encoding="utf-8")
    files = device_files(recognizer)
    for name, content in files.items():
        (out / name).write_bytes(content)
    (out / LISTING).write_bytes(listing(files, out))
    origin = f"{parts.scheme}://{parts.netloc}" if server else ""
    headers = {name: value for name, value in HEADERS.items() if name != "content-security-policy"}
    headers["content-security-policy"] = policy(origin)
    vercel = {"headers": [{"source": "/(.*)", "headers": [{"key": k, "value": v} for k, v in headers.items()]}]}
    (out / "vercel.json").write_text(json.dumps(vercel, indent=2) + "\n", encoding="utf-8")
    lines = "".join(f"  {name}: {value}\n" for name, value in headers.items())
    (out / "_headers").write_text(f"/*\n{lines}", encoding="utf-8")
    return sorted(path for path in out.rglob("*") if path.is_file())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path, metavar="FOLDER")
    parser.add_argument("--server", default="", metavar="URL", help="server's address; by default the device reads")
    parser.add_argument("--model", metavar="M", help="name of a shipped model or path of an .onnx file")
    arguments = parser.parse_args()
    try:
        files = build(arguments.out, arguments.server, arguments.model)
    except (InkdigitsError, ValueError) as error:
        print(f"build_static: {error}", file=sys.stderr)
        return 2
    size = sum(path.stat().st_size for path in files)
    print(f"{arguments.out}: {len(files)} files, {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
