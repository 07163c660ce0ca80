"""The finished rows of an output, kept so that a run that is killed at any moment can resume.

The journal is next to the output, ``OUT.part``: a line that identifies the file, a line of JSON that describes the
inputs and the model, then one record per block: its size, a CRC-32, rows, the CRC-32 of its images' names and how many
of them have each verdict, then its content. A record that a kill or a full disk truncated fails its CRC, and everything
after the last valid one is dropped. ``OUT`` itself appears at the end, complete.

No record of a finished output remains. To resume with one, its rows are read again and compared. If they are the same,
there is nothing to do; otherwise it belongs to another run and stays unchanged.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from inkdigits.atomic import Output, open_own
from inkdigits.bulk.formats import heading, join
from inkdigits.bulk.inputs import Chunk
from inkdigits.bulk.run import Block, Job
from inkdigits.errors import SettingError

__all__ = ["Journal"]

_MAGIC = b"inkdigits spool 4\n"  # a new number for each new form of what follows
_MOST_ABOUT = 16 << 20  # bytes of the line of JSON
_VERDICTS = 8  # in a record, whatever the task, so that each run finds the rows of any other
_COUNTS = struct.Struct(f"<QI{_VERDICTS}Q")  # rows, CRC-32 of the names, images of each verdict
_RECORD = struct.Struct("<QI")  # bytes of content, CRC-32 of the counts and the content
_HEAD = _RECORD.size + _COUNTS.size
# How a message names what decides the content.
_WHAT = {"inputs": "other inputs", "model": "another model", "form": "another form", "limits": "other limits"}


class Journal:
    """The finished blocks of an output, whose only writer this is.

    Args:
        out: the file that is to be written.
        job: how its blocks are read.
        about: what decides the content of every block, as JSON.
        begin: what to do with an existing journal that has finished rows: ``resume`` continues it, ``restart`` discards
            it, ``new`` raises an error. A journal without a finished row is ignored.

    Raises:
        SettingError: the file cannot be written, or another process is writing it; or the existing journal is of
            another run, is invalid, or holds rows that must not be discarded.

    Attributes:
        path: of the journal.
        rows: how many its blocks have; 0 where a finished output is compared with, and there is none.
        counts: how many images the output has of each verdict so far, by those of the task.
    """

    def __init__(
        self, out: Path, job: Job, about: Mapping[str, Any], *, begin: Literal["new", "resume", "restart"]
    ) -> None:
        self._out, self._job = Output(out), job
        self.path = self._out.path.with_name(f"{self._out.path.name}.part")
        self.rows = 0
        self.counts = [0] * len(job.task.verdicts)
        self._names: list[int] = []  # one CRC-32 per block
        self._finished: _Finished | None = None
        with contextlib.ExitStack() as undo:
            undo.callback(self._out.close)
            if begin == "resume" and self._out.path.exists() and not os.path.lexists(self.path):
                self._finished = _Finished(self._out.path, job)
                undo.pop_all()
                return
            self._file = open_own(self.path, out)
            undo.callback(self._file.close)
            self._open(about, begin)
            undo.pop_all()

    def _open(self, about: Mapping[str, Any], begin: str) -> None:
        """Take over what is in the file, as far as that is right."""
        start = _MAGIC + json.dumps(about, sort_keys=True).encode() + b"\n"
        self._first = len(start)
        before = self._begun()
        if before is not None:
            end = self._first = before
            self._file.seek(len(_MAGIC))
            found = _MAGIC + self._file.readline()
            for content, *counts in self._records():
                self._count(*counts)
                end += _HEAD + len(content)
            if self.rows and begin == "new":
                other = "" if found == start else f" of another run ({_difference(found, about)})"
                go_on = "discards them" if other else "discards them, --resume continues with them"
                raise SettingError(f"{self.path} holds {self.rows:,} finished rows{other}; --restart {go_on}")
            if self.rows and begin == "resume" and found != start:
                raise SettingError(
                    f"{self.path} is of another run ({_difference(found, about)}) and holds {self.rows:,} finished "
                    "rows; --restart discards them"
                )
            if self.rows and begin == "resume":
                self._file.seek(end)
                self._file.truncate()
                return
        self.rows = 0
        self.counts = [0] * len(self.counts)
        self._names.clear()
        self._first = len(start)
        self._file.seek(0)
        self._file.truncate()
        self._file.write(start)
        self._file.flush()

    def _begun(self) -> int | None:
        """Return where the records of the existing journal begin; None if its start is not complete."""
        magic = self._file.read(len(_MAGIC))
        if not _MAGIC.startswith(magic):
            raise SettingError(
                f"{self.path} is not what this inkdigits leaves of a run; move it away, or name another output"
            )
        about = self._file.readline(_MOST_ABOUT)
        return len(_MAGIC) + len(about) if about.endswith(b"\n") else None

    def add(self, block: Block) -> None:
        """Keep a block; once this returns, a kill does not lose it.

        Raises:
            SettingError: the output is finished, and has other rows.
        """
        if self._finished:
            self._finished.compare(block)
            self._tally(block.counts)
            return
        unused = [0] * (_VERDICTS - len(block.counts))
        counts = _COUNTS.pack(block.rows, block.names, *block.counts, *unused)
        crc = zlib.crc32(block.content, zlib.crc32(counts))
        self._count(block.rows, block.names, *block.counts)  # first: Ctrl-C may come as soon as the block is written
        try:
            self._file.write(_RECORD.pack(len(block.content), crc) + counts + block.content)
            self._file.flush()
        except OSError:
            self.rows -= block.rows
            raise

    def rest(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """Yield the chunks that are still to be read.

        Raises:
            SettingError: what was read before is no longer what the chunks begin with.
        """
        done = tuple(self._names)
        seen = 0
        for i, chunk in enumerate(chunks):
            if i >= len(done):
                yield chunk
                continue
            if chunk.crc() != done[i]:
                raise self._other_images(f"{chunk.names[0]} or one after it was not there")
            seen += 1
        if seen < len(done):
            raise self._other_images("some of them are gone")

    def _other_images(self, reason: str) -> SettingError:
        return SettingError(f"{self.path} was begun with other images: {reason}; --restart discards its rows")

    def finish(self) -> None:
        """Make the output of the blocks, and remove the journal.

        Raises:
            SettingError: the journal is no longer what it was; or the output was finished before, and has more rows.
        """
        if self._finished:
            self._finished.end()
            return
        try:
            join(self._contents(), self._job.form, self._job.task, self._out.file)
        except OSError as error:
            if error.errno is not None:
                raise
            raise self._damaged() from None  # as Arrow has it
        except ValueError:
            raise self._damaged() from None
        self._out.commit()
        self._file.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Leave the journal for another run, unless there is nothing in it."""
        if self._finished:
            self._finished.close()
            self._out.close()
            return
        with contextlib.suppress(OSError):  # what a full disk did not take
            self._file.close()
        if not self._names:
            self.path.unlink(missing_ok=True)
        self._out.close()

    def _contents(self) -> Iterator[bytes]:
        count = 0
        for content, *_ in self._records():
            count += 1
            yield content
        if count != len(self._names):  # somebody else wrote in it
            raise self._damaged()

    def _damaged(self) -> SettingError:
        return SettingError(f"{self.path} was changed or damaged since its rows were written; --restart discards it")

    def _count(self, rows: int, names: int, *counts: int) -> None:
        self.rows += rows
        self._names.append(names)
        self._tally(counts)

    def _tally(self, counts: Iterable[int]) -> None:
        self.counts = [before + n for before, n in zip(self.counts, counts, strict=False)]

    def _records(self) -> Iterator[tuple[bytes, *tuple[int, ...]]]:
        """Yield the complete records from the first on."""
        left = os.fstat(self._file.fileno()).st_size - self._first
        self._file.seek(self._first)
        while left >= _HEAD:
            size, crc = _RECORD.unpack(self._file.read(_RECORD.size))
            counts = self._file.read(_COUNTS.size)
            left -= _HEAD + size
            if left < 0:  # truncated, or the size is invalid
                return
            content = self._file.read(size)
            if len(content) != size or zlib.crc32(content, zlib.crc32(counts)) != crc:
                return
            yield content, *_COUNTS.unpack(counts)


class _Finished:
    """An output that is there, compared with the blocks of a run, one by one."""

    def __init__(self, path: Path, job: Job) -> None:
        self._path, self._form = path, job.form
        self._rows = self._blocks = 0
        if job.form == "parquet":
            self._file = _parquet(path)
            self._right = self._file is not None
        else:
            self._file = path.open("rb")
            head = heading(job.form, job.task)
            self._right = self._file.read(len(head)) == head

    def compare(self, block: Block) -> None:
        if not (self._right and self._has(block.content)):
            raise self._other()
        self._rows += block.rows
        self._blocks += 1

    def end(self) -> None:
        over = self._right and not (self._left() if self._form == "parquet" else self._file.read(1))
        if not over:
            raise self._other()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _has(self, content: bytes) -> bool:
        if self._form != "parquet":
            return bool(self._file.read(len(content)) == content)
        import pyarrow as pa

        with pa.ipc.open_stream(content) as stream:
            return self._left() > 0 and self._file.read_row_group(self._blocks).equals(stream.read_all())

    def _left(self) -> int:
        """Count the row groups of Parquet, one per block, that are not yet compared."""
        return int(self._file.num_row_groups) - self._blocks

    def _other(self) -> SettingError:
        return SettingError(
            f"{self._path} is finished, and another run's: this one gives another row {self._rows + 1:,} or one after "
            "it; leave out --resume to replace it"
        )


def _parquet(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(path)
    except (OSError, pa.ArrowException):  # it is not Parquet
        return None


def _difference(found: bytes, about: Mapping[str, Any]) -> str:
    """Describe what was different when the journal was started."""
    try:
        before = json.loads(found[len(_MAGIC) :])
        now = json.loads(json.dumps(about))
        key = next(key for key in ["command", *before, *now] if before.get(key) != now.get(key))
    except (ValueError, AttributeError, TypeError, StopIteration):
        return "made by another version"
    old, new = before.get(key), now.get(key)
    if key == "inputs":
        old, new = _changed(old, new)
    return f"{_WHAT.get(key, f'another {key}')}: {old} then, {new} now"


def _changed(before: Any, now: list[Any]) -> tuple[object, object]:
    """Return the first input that differs: its path, or, if that is the same, size and time of change too."""
    try:
        old, new = next(((a, b) for a, b in zip(before, now, strict=False) if a != b), (None, None))
        if old is None or new is None:
            return f"{len(before):,} inputs", f"{len(now):,}"
        if old[0] == new[0]:
            return f"{old[0]} of {old[1]:,} bytes", f"{new[1]:,} bytes, or changed since"
        return old[0], new[0]
    except (TypeError, LookupError, ValueError):
        return before, now
