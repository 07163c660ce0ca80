"""Labeled pictures from files into the store: a folder per label, a CSV table, or an export of Label Studio.

``folder/7/ … folder/2024/``   pictures whose folder is their label; in ``not-a-digit`` they are not digits
``labels.csv``                 columns ``label`` or ``text``, and ``image`` or ``file``, a path relative to its own;
                               or ``pixel0`` … ``pixel783`` in place of ``image``; and ``client``, where it is known
``project.json``               Label Studio's JSON or JSON-MIN: choices, texts and numbers are labels

Importing the same again adds nothing: a picture with a label is one correction.
"""

from __future__ import annotations

import csv
import json
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from inkdigits.data.labelled import picture_files
from inkdigits.errors import DataError, ImageError, UnreadableImage
from inkdigits.feedback.answers import Answer, Task, digest_of
from inkdigits.feedback.store import Store
from inkdigits.feedback.submission import Kind, Submission, check_client, check_label, original_of
from inkdigits.prediction import SIDE
from inkdigits.preprocess import Limits
from inkdigits.recognizer import Recognizer

__all__ = ["NOTHING", "Imported", "Labeled", "import_all", "read_labeled"]

NOTHING = "not-a-digit"  # the label of pictures that are not a digit, or not a number, in names of folders
BATCH = 50  # corrections of a transaction
SOURCE = "import"
MAX_JSON = 1 << 30  # bytes of an export, which is read as a whole
_IMAGES = ("image", "picture", "file", "path")  # names of a column, or of a task's data
_LABELS = ("label", "choice", "choices", "text", "number", "digit")  # keys of JSON-MIN
_PIXELS = tuple(f"pixel{i}" for i in range(SIDE * SIDE))
_UPLOAD_PREFIX = 9  # of an uploaded file's name in Label Studio: eight hex digits and a dash


@dataclass(frozen=True, slots=True)
class Labeled:
    """A picture and what it is.

    Attributes:
        name: for messages.
        load: returns a file's bytes, or pixels; may raise an ImageError.
    """

    name: str
    label: str
    load: Callable[[], bytes | np.ndarray]
    client: str | None = None


@dataclass(slots=True)
class Imported:
    """What came of an import.

    Attributes:
        errors: the name of each picture that was left out, and why.
    """

    added: int = 0
    known: int = 0
    errors: list[tuple[str, str]] = field(default_factory=list)


def read_labeled(path: Path, pictures: Path | None = None) -> Iterator[Labeled]:
    """Yield the pictures of a folder, a CSV table or an export of Label Studio.

    Args:
        pictures: folder of the pictures that an export or a table names; by default the file's own.

    Raises:
        DataError: it is none of these, or damaged.
    """
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise DataError(f"there is no file or folder {path}")
    if path.suffix.lower() == ".csv":
        return _table(path, pictures or path.parent)
    if path.suffix.lower() == ".json":
        return _label_studio(path, pictures or path.parent)
    raise DataError(f"{path} is neither a folder, nor a .csv or .json file")


def import_all(
    store: Store,
    recognizer: Recognizer,
    items: Iterable[Labeled],
    *,
    limits: Limits | None = None,
    task: Task | None = None,
) -> Imported:
    """Read pictures with the model, and keep them with their labels, on the operator's consent.

    Args:
        task: "digit" or "number"; by default, labels of several characters are numbers.

    Raises:
        StoreError: the database cannot be used; what was added before is kept.
    """
    done, waiting = Imported(), list[Submission]()
    limits = limits or Limits()
    for item in items:
        try:
            waiting.append(_submission(recognizer, item, limits, task))
        except (ImageError, ValueError) as error:
            done.errors.append((item.name, str(error)))
        if len(waiting) == BATCH:
            _add(store, waiting, done)
            waiting = []
    if waiting:
        _add(store, waiting, done)
    return done


def _submission(recognizer: Recognizer, item: Labeled, limits: Limits, task: Task | None) -> Submission:
    task = task or ("digit" if len(item.label) <= 1 else "number")
    label = _checked(item.label, task)
    image = item.load()
    digest = digest_of(image)
    found = recognizer.predict(image) if task == "digit" else recognizer.read(image)
    answer = Answer.of(found, recognizer.model.sha256, source=digest)
    key = "import-" + sha256(f"{digest} {task} {label} {item.client}".encode()).hexdigest()[:48]
    kind: Kind = "confirmed" if label == answer.text else "corrected"
    original = original_of(image, limits)
    client = check_client(item.client)
    return Submission(key, sha256(key.encode()).hexdigest(), kind, label, answer, original, client, SOURCE, "operator")


def _checked(label: str, task: Task) -> str:
    try:
        return check_label(label, task)
    except ValueError as error:
        raise ValueError(f"its label is {error}") from None


def _add(store: Store, submissions: list[Submission], done: Imported) -> None:
    for receipt in store.add(submissions):
        is_new = getattr(receipt, "is_new", False)
        done.added += is_new
        done.known += not is_new


def _folder(path: Path) -> Iterator[Labeled]:
    folders = sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))
    if not folders:
        raise DataError(f"the folder {path} has no folders; expected one for each label, such as {path / '7'}")
    for folder in folders:
        label = "" if folder.name == NOTHING else folder.name
        for file in picture_files(folder):
            yield Labeled(file.relative_to(path).as_posix(), label, _file(file))


def _file(path: Path) -> Callable[[], bytes]:
    def load() -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise UnreadableImage(f"cannot open {path}: {error.strerror}") from None

    return load


def _table(path: Path, pictures: Path) -> Iterator[Labeled]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            columns = rows.fieldnames or []
            of_label = next((name for name in ("label", "text") if name in columns), None)
            if of_label is None:
                raise DataError(f"{path} has no column label; its columns are: {', '.join(columns[:10]) or 'none'}")
            image = next((name for name in _IMAGES if name in columns), None)
            if image is None and not set(_PIXELS) <= set(columns):
                raise DataError(f"{path} has neither a column image, nor the columns pixel0 to pixel783")
            for row in rows:
                name = f"{path.name}, line {rows.line_num}"
                load = _pixels(row) if image is None else _file(pictures / (row[image] or ""))
                label = row[of_label] or ""
                yield Labeled(name, "" if label == NOTHING else label, load, row.get("client") or None)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV table: {error}") from None


def _pixels(row: dict[str, Any]) -> Callable[[], np.ndarray]:
    def load() -> np.ndarray:
        try:
            return np.array([int(row[name]) for name in _PIXELS], np.uint8).reshape(SIDE, SIDE)
        except (TypeError, ValueError, OverflowError) as error:
            raise UnreadableImage(f"its pixels are not integers from 0 to 255: {error}") from None

    return load


def _label_studio(path: Path, pictures: Path) -> Iterator[Labeled]:
    if path.stat().st_size > MAX_JSON:
        raise DataError(f"{path} has {path.stat().st_size:,} bytes; at most {MAX_JSON:,} are read: export it in parts")
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise DataError(f"{path} is not an export of Label Studio: expected a list of tasks")
    for i, task in enumerate(tasks):
        data = task.get("data") if isinstance(task.get("data"), dict) else task
        reference = next((data[name] for name in _IMAGES if isinstance(data.get(name), str)), None)
        name = f"{path.name}, task {task.get('id', i)}"
        for label, who in _annotations(task):
            yield Labeled(name, "" if label == NOTHING else label, _referred(reference, pictures), who)


def _annotations(task: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Yield the label of each annotation, and who made it; JSON-MIN has one label in a task."""
    if "annotations" not in task and "completions" not in task:
        label = next((task[name] for name in _LABELS if name in task), None)
        if label is not None:
            yield _text(label), _annotator(task.get("annotator"))
        return
    for annotation in task.get("annotations") or task.get("completions") or ():
        if annotation.get("was_cancelled"):
            continue
        for result in annotation.get("result", ()):
            value = result.get("value", {})
            label = next((value[name] for name in ("choices", "text", "number") if name in value), None)
            if label is not None:
                yield _text(label), _annotator(annotation.get("completed_by"))
                break


def _text(value: Any) -> str:
    while isinstance(value, (list, dict)):
        value = value.get("choices", "") if isinstance(value, dict) else value[0] if value else ""
    return str(value).strip()


def _annotator(value: Any) -> str | None:
    """Return an annotator as a client: their number, as their name would say who they are."""
    if isinstance(value, dict):
        value = value.get("id")
    return f"label-studio-{value}" if isinstance(value, int) else None


def _referred(reference: str | None, pictures: Path) -> Callable[[], bytes]:
    """Return what loads the picture that a task names. Nothing is fetched from a network."""

    def load() -> bytes:
        if not reference:
            raise UnreadableImage("the task names no picture")
        if reference.startswith("data:"):
            try:
                return b64decode(reference.partition(",")[2], validate=True)
            except NotBase64:
                raise UnreadableImage("its data URL is not base64") from None
        parts = urlsplit(reference)
        local = parse_qs(parts.query).get("d", [parts.path])[0]
        name = Path(unquote(local)).name
        for candidate in (local.lstrip("/"), name, name[_UPLOAD_PREFIX:]):
            found = (pictures / candidate).resolve()
            if candidate and found.is_relative_to(pictures.resolve()) and found.is_file():
                return found.read_bytes()
        raise UnreadableImage(f"{reference} is not in {pictures}, and nothing is downloaded; put it there as {name}")

    return load
