"""Downloads that survive interruptions: resumed, verified by SHA-256, moved into place in one step.

A file is received as ``NAME.gz.part`` and becomes ``NAME.gz`` only after its uncompressed content has the expected
hash, so that whatever stands under the final name is whole.
"""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from inkdigits.errors import DataError
from inkdigits.progress import Progress

__all__ = ["download"]

TIMEOUT = 30  # seconds without a byte, after which a connection counts as broken
ATTEMPTS = 3  # connections to one mirror that may break before the next one is asked
CHUNK = 1 << 16  # bytes


class _RefusedError(Exception):
    """The mirror cannot be reached or does not give the file."""


class _BrokenError(_RefusedError):
    """The connection ended early; what was received is kept, and the next connection resumes there."""


def download(
    name: str, folder: Path, mirrors: Sequence[str], verify: Callable[[Path], object], progress: Progress
) -> Path:
    """Get ``name`` from the first mirror that gives the right content; returns its path in ``folder``.

    Args:
        name: file name, appended to a mirror's address.
        folder: made where it does not exist.
        mirrors: addresses that end in a slash, asked in this order.
        verify: called with the received file; raises DataError when its content is wrong.
        progress: shows the bytes.

    Raises:
        DataError: no mirror gave the right content, or the folder cannot be written; the message says what to do.
    """
    target = folder / name
    part = folder / f"{name}.part"
    failures: list[str] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for mirror in mirrors:
            for _ in range(ATTEMPTS):
                resumed = part.exists()
                try:
                    _receive(mirror + name, part, progress)
                    verify(part)
                except _RefusedError as error:
                    reason = str(error)
                    if not isinstance(error, _BrokenError):
                        break
                except DataError:
                    reason = "it sends other content than expected"
                    part.unlink()
                    # The wrong bytes may come from an earlier attempt, or from another mirror's compression.
                    if not resumed:
                        break
                else:
                    return part.replace(target)
            failures.append(f"{mirror}: {reason}")
    except OSError as error:
        raise DataError(
            f"cannot write {error.filename or folder}: {error.strerror}; "
            "make room there, or name another folder in INKDIGITS_CACHE"
        ) from None
    raise DataError(
        f"could not download {name} ({'; '.join(failures)}); connect to the network and repeat the command, which "
        "resumes, or put the files into a folder and name that folder in INKDIGITS_DATA"
    )


def _receive(url: str, part: Path, progress: Progress) -> None:
    """Append the rest of ``url`` to ``part``; raises _RefusedError when not all of it came."""
    have = part.stat().st_size if part.exists() else 0
    # Compressed transfer would change the bytes that the range counts.
    headers = {"Accept-Encoding": "identity", "User-Agent": "inkdigits"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            return  # nothing is left to get; whether it is right, the hash says
        raise _RefusedError(f"HTTP {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        raise _RefusedError(_reason(error)) from None
    with response:
        start = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        if response.status != http.client.PARTIAL_CONTENT or not start or int(start[1]) != have:
            have = 0  # the server sends the whole file
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        with part.open("ab" if have else "wb") as file, progress(part.stem, total, "bytes") as advance:
            advance(have)
            while chunk := _read(response):
                file.write(chunk)
                have += len(chunk)
                advance(len(chunk))
    if total is not None and have < total:
        raise _BrokenError(f"the connection ended after {have:,} of {total:,} bytes")


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(_reason(error)) from None


def _reason(error: Exception) -> str:
    cause = getattr(error, "reason", error)
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
