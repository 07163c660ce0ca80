"""What to read: pictures in files, folders and archives, and arrays in tables and IDX files, a chunk at a time.

The same inputs always give the same chunks, whoever reads them and how often. Whatever is broken becomes an error in
its place, and the rest goes on; nothing but one chunk is held, and the names in one folder or in one zip archive.
"""

from __future__ import annotations

import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from os import PathLike
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from inkdigits.data.idx import is_idx, iter_idx
from inkdigits.errors import DataError, ImageError, ImageTooLarge, InvalidPixels, UnreadableImage
from inkdigits.preprocess import ImageSource, Limits

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ARCHIVES", "SUFFIXES", "TABLES", "Chunk", "chunks", "find_images"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff")  # of the images looked for in a folder
ZIPS = (".zip",)
TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
ARCHIVES = ZIPS + TARS
TABLES = (".csv", ".csv.gz", ".parquet", ".npz")
CHUNK_PICTURES = 256  # files of pictures in a chunk
CHUNK_BYTES = 32 << 20  # of pictures in a chunk, but for its last
SKIP_BYTES = 1 << 20  # read at once of what is passed over
CHUNK_ROWS = 4096  # of arrays in a chunk
PICTURE_COLUMN = "image"  # of a Parquet table of encoded pictures, as Hugging Face's have it: bytes, or {bytes, path}

# What the standard library's readers of archives raise where one is damaged, or says of itself what is not so.
_DAMAGED = (
    *(OSError, EOFError, ValueError, TypeError, RuntimeError, OverflowError, MemoryError, LookupError, struct.error),
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError),
)

_Kind = Literal["pictures", "zip", "tar", "table", "idx"]
_Item = tuple[str, "ImageSource | ImageError"]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some images in a row.

    Attributes:
        names: of each.
        sources: as many: paths, bytes or arrays of pixels, or the error of one that could not be got.
    """

    names: Sequence[str]
    sources: Sequence[ImageSource | ImageError] | np.ndarray

    def crc(self) -> int:
        """CRC-32 of the names."""
        return zlib.crc32("\0".join(self.names).encode("utf-8", "surrogateescape"))


def chunks(paths: Iterable[str | PathLike[str]], limits: Limits) -> Iterator[Chunk]:
    """Yield the images that paths name, in order.

    An archive's images are named by its path and theirs in it; the rows of a table or of an IDX file by its path and
    their number, from 1. An input that cannot be read on ends with one error under its own name.

    Args:
        paths: of pictures, folders, archives (``ARCHIVES``), tables (``TABLES``) and IDX files, plain or gzipped.
        limits: pictures in an archive that have more bytes are not read.
    """
    for kind, group in groupby(map(Path, paths), _kind):
        if kind == "pictures":
            yield from _chunked(find_images(group))
            continue
        for path in group:
            if kind in ("zip", "tar"):
                yield from _chunked(_in_archive(path, kind, limits))
                continue
            try:
                yield from _rows(path, kind, limits)
            except DataError as error:
                yield Chunk([str(path)], [UnreadableImage(str(error))])


def find_images(paths: Iterable[str | PathLike[str]]) -> Iterator[tuple[str, Path | ImageError]]:
    """Yield the images that paths name: a file itself, of a folder every file in and below it with one of ``SUFFIXES``.

    A folder's images come sorted by path. Hidden files and folders in it are left out. A folder in it that cannot be
    listed comes as an error in its place.
    """
    for given in paths:
        path = Path(given)
        if _is_folder(path):
            yield from ((str(found), error or found) for found, error in _below(path))
        else:
            yield str(given), path


def _below(folder: Path) -> Iterator[tuple[Path, ImageError | None]]:
    """Yield the pictures in and below a folder, and the folders that cannot be listed; however deep."""
    above: list[tuple[Path, Iterator[tuple[str, bool]]]] = [(folder.parent, iter([(folder.name, True)]))]
    while above:
        parent, rest = above[-1]
        name, is_folder = next(rest, ("", None))
        path = parent / name
        if is_folder is None:
            above.pop()
        elif is_folder:
            try:
                with os.scandir(path) as entries:
                    found = [(e.name, e.is_dir(follow_symlinks=False)) for e in entries if not e.name.startswith(".")]
                above.append((path, iter(sorted(found))))
            except OSError as error:
                yield path, UnreadableImage(f"cannot list folder {path}: {error.strerror}")
        elif name.lower().endswith(SUFFIXES) and _is_file(path):
            yield path, None


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):  # reading it as a picture will say what is wrong
        return False


def _is_file(path: Path) -> bool:
    """Return whether it is one, or cannot be looked at: reading it will say why. A pipe would be waited for."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def _kind(path: Path) -> _Kind:
    name = path.name.lower()
    if name.endswith(SUFFIXES) or _is_folder(path):
        return "pictures"
    if name.endswith(ARCHIVES):
        return "zip" if name.endswith(ZIPS) else "tar"
    if name.endswith(TABLES):
        return "table"
    try:
        # What is no file, such as a pipe, can be read once only.
        return "idx" if path.is_file() and is_idx(path) else "pictures"
    except (DataError, OSError):  # reading it as a picture will say what is wrong
        return "pictures"


def _chunked(items: Iterable[_Item]) -> Iterator[Chunk]:
    names: list[str] = []
    sources: list[ImageSource | ImageError] = []
    size = 0
    for name, source in items:
        names.append(name)
        sources.append(source)
        size += _size(source)
        if len(names) == CHUNK_PICTURES or size >= CHUNK_BYTES:
            yield Chunk(names, sources)
            names, sources, size = [], [], 0
    if names:
        yield Chunk(names, sources)


def _size(source: ImageSource | ImageError) -> int:
    """Bytes of a picture in memory or in a file; 0 of one that is not there."""
    if isinstance(source, bytes):
        return len(source)
    try:
        return source.stat().st_size if isinstance(source, Path) else 0
    except OSError:
        return 0


def _in_archive(path: Path, kind: _Kind, limits: Limits) -> Iterator[_Item]:
    try:
        yield from (_in_zip if kind == "zip" else _in_tar)(path, limits)
    except DataError as error:
        yield str(path), UnreadableImage(str(error))


def _in_zip(path: Path, limits: Limits) -> Iterator[_Item]:
    try:
        with zipfile.ZipFile(path) as archive:
            found = [info for info in archive.infolist() if not info.is_dir() and _is_picture(info.filename)]
            for info in found:
                name = f"{path}/{info.filename}"
                try:
                    with archive.open(info) as file:
                        yield name, _content(file, info.file_size, limits)
                # Encrypted, of an unknown method, damaged: the archive's other pictures may be fine.
                except _DAMAGED as error:
                    if isinstance(error, OSError) and error.errno is not None:  # the disk, and not the picture
                        raise
                    yield name, UnreadableImage(f"cannot be taken from the archive: {error}")
    except _DAMAGED as error:
        raise DataError(f"cannot read {path} as a zip archive: {_reason(error)}") from None
    if not found:
        raise DataError(f"there is no image in {path}; looked for {' '.join(SUFFIXES)}")


def _in_tar(path: Path, limits: Limits) -> Iterator[_Item]:
    found = 0
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                archive.members.clear()  # type: ignore[attr-defined]  # else it keeps all that it has seen
                if member.isfile() and _is_picture(member.name):
                    found += 1
                    file = archive.extractfile(member)
                    assert file is not None  # as the member is a file
                    yield f"{path}/{member.name}", _content(file, member.size, limits)
                _skip(archive)
    except _DAMAGED as error:
        raise DataError(f"cannot read {path} as a tar archive after {found:,} images: {_reason(error)}") from None
    if not found:
        raise DataError(f"there is no image in {path}; looked for {' '.join(SUFFIXES)}")


def _skip(archive: tarfile.TarFile) -> None:
    """Read up to the next member. The archive would go on after its end for as long as a member says that it is."""
    stream = archive.fileobj
    assert stream is not None  # as it is open
    while (left := archive.offset - 1 - stream.tell()) > 0:
        if not stream.read(min(left, SKIP_BYTES)):
            raise tarfile.ReadError("unexpected end of data")


def _reason(error: Exception) -> object:
    return getattr(error, "strerror", None) or error


def _is_picture(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not any(part.startswith(".") for part in name.split("/") if part != ".")


def _content(file: IO[bytes], size: int, limits: Limits) -> bytes | ImageError:
    if size <= limits.max_bytes:
        content = file.read(limits.max_bytes + 1)  # what a header says of its size need not be so
        if len(content) <= limits.max_bytes:
            return content
    return ImageTooLarge(f"the image file is larger than {limits.max_bytes:,} bytes, the most that is read")


def _rows(path: Path, kind: _Kind, limits: Limits) -> Iterator[Chunk]:
    count = 0
    most = max(CHUNK_BYTES, limits.max_pixels)
    for sources in iter_idx(path, CHUNK_ROWS, most) if kind == "idx" else _table_rows(path):
        yield Chunk([f"{path}:{i}" for i in range(count + 1, count + len(sources) + 1)], sources)
        count += len(sources)


def _table_rows(path: Path) -> Iterator[Sequence[ImageSource | ImageError] | np.ndarray]:
    # What reads tables is a large package, which the other inputs do without.
    from inkdigits.data.tables import iter_rows

    if path.suffix.lower() == ".parquet" and (pictures := _encoded(path)) is not None:
        yield from pictures
        return
    for images, wrong in iter_rows(path):
        if wrong:
            yield [InvalidPixels(str(wrong[i])) if i in wrong else image for i, image in enumerate(images)]
        else:
            yield images


def _encoded(path: Path) -> Iterator[Sequence[ImageSource | ImageError]] | None:
    """Return the pictures of a Parquet table that has them as encoded bytes; None where it has not."""
    import pyarrow as pa
    import pyarrow.parquet

    try:
        schema = pyarrow.parquet.read_schema(path)
        kind = schema.field(PICTURE_COLUMN).type
        if pa.types.is_struct(kind):
            kind = kind.field("bytes").type
    except (KeyError, ValueError, OSError, pa.ArrowException):  # reading it as pixels will say what is wrong
        return None
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        return None

    def pictures() -> Iterator[Sequence[ImageSource | ImageError]]:
        try:
            with pyarrow.parquet.ParquetFile(path, pre_buffer=False) as file:
                for batch in file.iter_batches(CHUNK_PICTURES, columns=[PICTURE_COLUMN], use_threads=False):
                    values = (value["bytes"] if isinstance(value, dict) else value for value in batch[0].to_pylist())
                    yield [InvalidPixels("the image is missing") if value is None else value for value in values]
        except (OSError, ValueError, pa.ArrowException) as error:
            raise DataError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from None

    return pictures()
