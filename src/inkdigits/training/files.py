"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from inkdigits.errors import TrainingError

__all__ = ["write_atomically"]


def write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file in one step: whoever reads ``path`` sees the old content or the new, never a part.

    Raises:
        TrainingError: the file cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise TrainingError(f"cannot write {path}: {error.strerror}; name another file, or make room there") from None
