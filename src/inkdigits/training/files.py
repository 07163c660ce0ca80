"""Files that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

from inkdigits.atomic import write_whole
from inkdigits.errors import TrainingError

__all__ = ["write_atomically"]


def write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file in one step: whoever reads ``path`` sees the old content or the new, never a part.

    Raises:
        TrainingError: the file cannot be written.
    """
    try:
        write_whole(path, content)
    except OSError as error:
        raise TrainingError(f"cannot write {path}: {error.strerror}; name another file, or make room there") from None
