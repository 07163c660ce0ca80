"""Output files: one writer at a time, whole or not at all, and never in place of what is not a file.

Content is written to a hidden file next to the output, which takes the output's place in one step. That file is also
the lock: a second writer of the same output gets an error, and the system releases the lock when the process ends,
however it ends. A symbolic link is followed once, as a shell does with ``>``; the hidden file never is one.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from inkdigits.errors import SettingError, TrainingError

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]  # no module
    import msvcrt

__all__ = [
    "Output",
    "check_output",
    "destination",
    "is_stream",
    "open_own",
    "open_stream",
    "refuse_input",
    "staged",
    "write_atomically",
    "write_whole",
]

STAGED = ".inkdigits"  # suffix of the hidden file: nobody else's has it
LOCKED_BYTE = 1 << 30  # on Windows, where bytes are locked: far behind what anyone reads
_WINDOWS = os.name == "nt"
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")
_STREAMS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


def destination(path: str | Path) -> Path:
    """Return the file that a path leads to: itself, or what a symbolic link of this name points at, there or not."""
    path = Path(path)
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def is_stream(path: str | Path) -> bool:
    """Return whether what is there is written straight through: a device, a pipe, a descriptor such as /dev/stdout."""
    if _descriptor(path) is not None:
        return True
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def open_stream(path: str | Path) -> BinaryIO:
    """Open what :func:`is_stream` told.

    Raises:
        SettingError: it cannot be written to.
    """
    number = _descriptor(path)
    try:
        # The descriptor itself: opening /dev/stdout by its name would empty the file behind >>.
        return Path(path).open("wb") if number is None else os.fdopen(os.dup(number), "wb")
    except OSError as error:
        reason = "it is a socket" if Path(path).is_socket() else error.strerror
        raise SettingError(f"cannot write {path}: {reason}") from None


def check_output(path: str | Path, *, endings: Iterable[str] = ()) -> None:
    """Check that an output can be written, before anything is read for it.

    Args:
        path: of the output.
        endings: that its name may have, in small letters; "" is none. None given: any.

    Raises:
        SettingError: its ending is another one, it is a folder, or its folder is missing or cannot be written to.
    """
    if is_stream(path):
        return
    out = destination(path)
    allowed = list(endings)
    if allowed and Path(path).suffix.lower() not in allowed:
        text = ", ".join(ending or "none" for ending in allowed)
        raise SettingError(f"cannot tell what to write from the ending of {path}; the endings are {text}")
    if out.is_dir():
        raise SettingError(f"cannot write {path}: it is a folder; name a file in it")
    try:
        if not stat.S_ISDIR(out.parent.stat().st_mode):
            raise SettingError(f"cannot write {path}: {out.parent} is not a folder")
    except OSError as error:
        raise SettingError(f"cannot write {path}: {error.strerror}") from None
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise SettingError(f"cannot write {path}: its folder {out.parent} cannot be written to")


def refuse_input(path: str | Path, inputs: Iterable[str | Path], *, below: tuple[str, ...] = ()) -> None:
    """Check that an output is none of the inputs, whatever it is called there: by link, by hard link, by another path.

    Args:
        path: of the output.
        inputs: files and folders; what is not there is passed over.
        below: endings, in small letters, of the files in a folder, or below it, that are inputs.

    Raises:
        SettingError: it is.
    """
    try:
        own = Path(path).stat()
    except OSError:
        return
    for given in inputs:
        found = _same(own, Path(path).name, Path(given), below)
        if found is not None:
            raise SettingError(f"the output {path} is the input {found}, which it would replace; name another file")


def open_own(path: Path, out: str | Path) -> BinaryIO:
    """Open a file for reading and writing, made where it is not there; what it holds is kept.

    Args:
        path: of the file.
        out: what it is for, which errors name.

    Raises:
        SettingError: it cannot be opened, or is not simply a file of this user's: a symbolic link, a hard link, a pipe.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with contextlib.suppress(OSError):
        if stat.S_ISLNK(path.lstat().st_mode):
            raise _not_own(path, "a symbolic link")
    try:
        number = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666)
    except OSError as error:
        raise SettingError(f"cannot open {path}, which writing {out} needs: {error.strerror}") from None
    found = os.fstat(number)
    reason = None
    if not stat.S_ISREG(found.st_mode):
        reason = "not a file"
    elif found.st_nlink > 1:
        reason = "a file that has another name, too"
    elif hasattr(os, "geteuid") and found.st_uid != os.geteuid():
        reason = "a file of another user"
    if reason:
        os.close(number)
        raise _not_own(path, reason)
    return os.fdopen(number, "r+b")


def write_whole(path: str | Path, content: bytes) -> None:
    """Write a file in one step: a reader sees the old content or the new, never a part.

    For what is written in no time: of two that do at once, one's content stays.

    Raises:
        SettingError: there is a pipe or a device that cannot be opened.
        OSError: the file cannot be written; what was there is as it was.
    """
    if is_stream(path):
        with open_stream(path) as through:
            through.write(content)
        return
    with staged(path) as part, part.open("xb") as file:  # which follows no link
        file.write(content)


@contextlib.contextmanager
def staged(path: str | Path) -> Iterator[Path]:
    """Give a hidden path of the same ending next to a file; what is written there takes the file's place at the end.

    Raises:
        OSError: it cannot be put there. After this or another error, what was there is as it was.
    """
    final = destination(path)
    part = final.with_name(f".{final.stem}.{os.getpid()}{STAGED}{final.suffix}")
    part.unlink(missing_ok=True)  # of a process of this number that was killed
    try:
        yield part
        _sync(part)
        _keep_mode(part, final)
        part.replace(final)
    finally:
        part.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a result as :func:`write_whole` does.

    Raises:
        TrainingError: the file cannot be written.
    """
    try:
        write_whole(path, content)
    except OSError as error:
        raise TrainingError(f"cannot write {path}: {error.strerror}; name another file, or make room there") from None


class Output:
    """A file that is being written, by this process alone.

    Args:
        path: of the file; see :func:`destination`.

    Raises:
        SettingError: another process is writing it, or it cannot be written.

    Attributes:
        path: of the file that will be there.
        file: where its content goes, from the start.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = destination(path)
        self._staged = self.path.with_name(f".{self.path.name}{STAGED}")
        file = _locked(self._staged, path)
        if file is None:
            raise SettingError(f"another inkdigits is writing {path}; wait until it is done, or name another output")
        self.file = file
        self.file.truncate()
        self._left = True  # of the hidden file: it is there

    def __enter__(self) -> Output:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def commit(self) -> None:
        """Put the content in the file's place, with the permissions of what was there. The lock is still held.

        Raises:
            OSError: it cannot be; what was there is as it was.
        """
        self.file.flush()
        os.fsync(self.file.fileno())
        if _WINDOWS:  # where an open file cannot be renamed
            self.file.close()
        _keep_mode(self._staged, self.path)
        self._staged.replace(self.path)
        self._left = False
        with contextlib.suppress(OSError):  # where folders cannot be opened
            _sync(self.path.parent)  # so that a power cut does not undo the renaming

    def close(self) -> None:
        """Let go; without :meth:`commit`, the file is as it was."""
        if self._left and not _WINDOWS:  # while it is locked: the next writer's is another file
            self._staged.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # what a full disk did not take
            self.file.close()
        if self._left and _WINDOWS:
            self._staged.unlink(missing_ok=True)
        self._left = False


def _descriptor(path: str | Path) -> int | None:
    """Return the number of an open descriptor that a path names."""
    text = str(path)
    found = _DESCRIPTOR.fullmatch(text)
    number = int(found[1]) if found else _STREAMS.get(text)
    return number if number is not None and Path(text).exists() else None


def _same(own: os.stat_result, name: str, given: Path, below: tuple[str, ...]) -> Path | None:
    """Return the input, or the file in and below it, that is the output."""
    try:
        found = given.stat()
    except OSError:
        return None
    if os.path.samestat(found, own):
        return given
    if below and stat.S_ISDIR(found.st_mode):
        for entry in _entries(given):
            if not entry.name.lower().endswith(below):
                continue
            # Inode numbers come with the names; a look at each file would cost as much as reading a small one.
            if entry.inode() == own.st_ino or entry.name == name or entry.is_symlink():
                with contextlib.suppress(OSError):
                    if os.path.samestat(Path(entry.path).stat(), own):
                        return Path(entry.path)
    return None


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield all files in and below a folder, as far as they can be listed."""
    waiting = [os.fspath(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        yield entry
        except OSError:  # reading it will say what is wrong
            continue


def _locked(path: Path, out: str | Path) -> BinaryIO | None:
    """Return the file at a path, locked; None where another process has the lock."""
    while True:
        file = open_own(path, out)
        if not _lock(file.fileno()):
            file.close()
            return None
        try:
            # The process that had the lock may have renamed or removed the file since it was opened here.
            if os.path.samestat(path.lstat(), os.fstat(file.fileno())):
                return file
        except FileNotFoundError:
            pass
        file.close()


def _lock(number: int) -> bool:
    try:
        if fcntl is not None:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            os.lseek(number, LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
            os.lseek(number, 0, os.SEEK_SET)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system without locks: as good as one can do there
        return True
    return True


def _keep_mode(new: Path, old: Path) -> None:
    """Give a file the permissions of the one whose place it is to take: what was private stays so."""
    with contextlib.suppress(OSError):
        new.chmod(stat.S_IMODE(old.stat().st_mode))


def _sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    number = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _not_own(path: Path, reason: str) -> SettingError:
    return SettingError(f"{path} is {reason}, and not what inkdigits left there; move it away, or name another output")
