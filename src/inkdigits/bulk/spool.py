"""What is finished of an output, kept so that a run that is killed at any moment can go on where it was.

A spool lies beside the output, ``OUT.part``: a line of JSON that says what is being read by which model, then a record
a block: its size, CRC-32, rows, errors, the CRC-32 of its images' names and its rows of each verdict, then its content.
A record that a kill or a full disk cut short does not have its CRC, and what follows the last whole one is dropped.
``OUT`` itself appears at the end, whole.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from inkdigits.bulk.forms import Form, join
from inkdigits.bulk.inputs import Chunk
from inkdigits.bulk.rows import VERDICTS
from inkdigits.bulk.run import Block
from inkdigits.errors import SettingError

__all__ = ["Spool"]

# Bytes of content, its CRC-32, rows, errors, CRC-32 of the names, rows of each verdict.
_RECORD = struct.Struct(f"<QIQQI{len(VERDICTS)}Q")


class Spool:
    """The finished blocks of an output.

    Args:
        out: the file that is to be written.
        about: what decides the content of every block, as JSON.
        resume: go on with a spool that is there; else begin anew.

    Raises:
        SettingError: the file cannot be written, or the spool that is there was begun with something else.

    Attributes:
        path: of the spool.
        rows: how many its blocks have.
        errors: how many of these are errors.
        counts: how many have each verdict, by ``VERDICTS``.
    """

    def __init__(self, out: Path, about: Mapping[str, Any], *, resume: bool) -> None:
        self.path = out.with_name(f"{out.name}.part")
        self._out = out
        self.rows = self.errors = 0
        self.counts = [0] * len(VERDICTS)
        self._names: list[int] = []  # a CRC-32 a block
        start = json.dumps(about, sort_keys=True).encode() + b"\n"
        going_on = resume and self.path.exists()
        try:
            self._file = self.path.open("r+b" if going_on else "w+b")
        except OSError as error:
            raise SettingError(f"cannot write {out}: {error.strerror}") from None
        if going_on and (found := self._file.readline()).endswith(b"\n"):
            if found != start:
                self._file.close()
                raise SettingError(f"{self.path} was begun with {_difference(found, about)}; leave out --resume")
        else:  # new, or killed before its first line was whole
            self._file.seek(0)
            self._file.write(start)
        self._first = len(start)
        end = self._first
        for content, *counts in self._records():
            self._count(*counts)
            end += _RECORD.size + len(content)
        self._file.seek(end)
        self._file.truncate()
        self._file.flush()

    def add(self, block: Block) -> None:
        """Keep a block; once this returns, a kill does not lose it."""
        crc = zlib.crc32(block.content)
        head = (len(block.content), crc, block.rows, len(block.errors), block.names, *block.counts)
        self._file.write(_RECORD.pack(*head) + block.content)
        self._file.flush()
        self._count(*head[2:])

    def rest(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """The chunks that are still to be read.

        Raises:
            SettingError: what was read before is no longer what the chunks begin with.
        """
        done = tuple(self._names)
        for i, chunk in enumerate(chunks):
            if i >= len(done):
                yield chunk
            elif chunk.crc() != done[i]:
                raise SettingError(
                    f"{self.path} was begun with other images: {chunk.names[0]} or one after it was not there; "
                    "leave out --resume"
                )

    def finish(self, form: Form) -> None:
        """Make the output of the blocks, and remove the spool."""
        whole = self._out.with_name(f".{self._out.name}.{os.getpid()}.part")
        try:
            with whole.open("wb") as file:
                join((content for content, *_ in self._records()), form, file)
                file.flush()
                os.fsync(file.fileno())
            whole.replace(self._out)
        finally:
            whole.unlink(missing_ok=True)
        self._file.close()
        self.path.unlink()

    def close(self) -> None:
        """Leave the spool for another run, unless there is nothing in it."""
        if not self._file.closed:
            self._file.close()
            if not self._names:
                self.path.unlink(missing_ok=True)

    def _count(self, rows: int, errors: int, names: int, *counts: int) -> None:
        self.counts = [before + n for before, n in zip(self.counts, counts, strict=True)]
        self.rows += rows
        self.errors += errors
        self._names.append(names)

    def _records(self) -> Iterator[tuple[bytes, *tuple[int, ...]]]:
        """The whole records from the first on."""
        self._file.seek(self._first)
        while len(head := self._file.read(_RECORD.size)) == _RECORD.size:
            size, crc, *counts = _RECORD.unpack(head)
            content = self._file.read(size)
            if len(content) != size or zlib.crc32(content) != crc:
                return
            yield content, *counts


def _difference(found: bytes, about: Mapping[str, Any]) -> str:
    try:
        before = json.loads(found)
        key = next(key for key in {**before, **about} if before.get(key) != json.loads(json.dumps(about.get(key))))
    except (ValueError, AttributeError, StopIteration):
        return "another version"
    return f"another {key}: {before.get(key)} then, {about.get(key)} now"
