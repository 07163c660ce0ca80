"""A client of the HTTP service: what :class:`~inkdigits.Recognizer` answers, read by a server elsewhere.

>>> from inkdigits import Client
>>> with Client("http://127.0.0.1:9696") as client:  # doctest: +SKIP
...     print(client.predict("seven.png").digit)
...     for p in client.predict_many(["seven.png", "two.jpg"]):
...         print(p.digit, p.confidence)
...     print(client.read("form.jpg", length=8).text)

A server that sheds load (429, 503) or drops a connection is asked again, after a while that doubles and is chosen at
random, so that many clients do not come back at once:
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

from __future__ import annotations

import io
import random
import re
import time
import uuid
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, overload
from urllib.parse import quote, urlsplit

import numpy as np
from PIL import Image

from inkdigits.errors import (
    ImageError,
    ImageTooLarge,
    ImageTooSmall,
    InvalidPixels,
    InvalidStrokes,
    NotAnImage,
    ServerBusy,
    ServerError,
    ServerUnreachable,
    SettingError,
    UnreadableImage,
)
from inkdigits.prediction import Box, Prediction, Reading
from inkdigits.preprocess import ImageSource, Limits
from inkdigits.preprocess.decode import decode
from inkdigits.preprocess.strokes import Strokes, check_strokes

try:
    import httpx
except ModuleNotFoundError:  # told when a Client is made, so that all public names can be imported without it
    httpx = None  # type: ignore[assignment]  # no module

if TYPE_CHECKING:
    from inkdigits.reading import Layout

__all__ = ["Client"]

URL = "http://127.0.0.1:9696"
TIMEOUT = 30.0  # seconds, to connect, and between bytes
RETRIES = 4  # times that a server which cannot answer now is asked again
BACKOFF = 0.2  # seconds: the longest first wait; it doubles with each
LONGEST_WAIT = 30.0  # seconds; a server that asks for more is not waited for
BATCH_SIZE = 32  # images a request, within INKDIGITS_MAX_FILES of a server with default settings
BATCH_BYTES = 8 << 20  # of a request, likewise within INKDIGITS_MAX_BYTES
_KEY = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_BUSY = (429, 503)
_TOO_LARGE = 413
_NO_CONTENT, _NOT_FOUND, _NOT_ALLOWED = 204, 404, 405
_BAD_REQUEST = "bad-request"
_WRONG_CORRECTIONS = (_BAD_REQUEST, "invalid-feedback", "feedback-conflict", "prediction-expired")
_IMAGE = {"Content-Type": "image/*"}  # of no particular type: its content decides
# What a server's problem documents call the errors of images.
_ERRORS: dict[str, type[ImageError]] = {
    "not-an-image": NotAnImage,
    "unreadable-image": UnreadableImage,
    "image-too-small": ImageTooSmall,
    "image-too-large": ImageTooLarge,
    "body-too-large": ImageTooLarge,
    "invalid-pixels": InvalidPixels,
    "invalid-strokes": InvalidStrokes,
}


class Client:
    """Reads digits with a server's model. Use it as a context manager, or close it; threads may share it.

    Args:
        url: the server's address, such as ``http://127.0.0.1:9696``.
        timeout: seconds to connect, and to wait for the next bytes of an answer.
        retries: times that a server which sheds load or drops the connection is asked again.
        api_key: of a server that wants one; sent as ``Authorization: Bearer …``.
        headers: sent with every request.
        transport: an custom ``httpx`` transport, such as one with a proxy or a client certificate.

    Raises:
        SettingError: the address or the key is none, or httpx is not installed (``pip install 'inkdigits[client]'``).
    """

    def __init__(
        self,
        url: str = URL,
        *,
        timeout: float = TIMEOUT,
        retries: int = RETRIES,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        if httpx is None:
            raise SettingError("inkdigits.Client needs httpx, which is not installed: pip install 'inkdigits[client]'")
        self._url = url.rstrip("/")
        self._retries = retries
        try:
            parsed = urlsplit(self._url)
            valid = parsed.scheme in ("http", "https") and bool(parsed.hostname and httpx.URL(self._url).host)
        except (ValueError, httpx.InvalidURL):
            valid = False
        if not valid:
            raise SettingError(f"the server's address is {url!r}; expected one such as {URL}")
        sent = dict(headers or {})
        if api_key is not None:
            if not _KEY.fullmatch(api_key):  # which is not shown: it may end up in a log
                raise SettingError(f"the API key of {len(api_key)} characters is none; expected printable ASCII")
            sent["Authorization"] = f"Bearer {api_key}"
        self._http = httpx.Client(timeout=timeout, headers=sent, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._url!r})"

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def predict(self, image: ImageSource, *, explain: bool = False) -> Prediction:
        """Read the digit in one image, as :meth:`Recognizer.predict` does.

        Args:
            image: a path, the bytes of an image file, a binary file object, a Pillow image, or a NumPy array of shape
                (H, W), (H, W, 3) or (H, W, 4), bool, uint8, uint16 or float in [0, 1]. Files go as they are.
            explain: also say how much each part of the ink mattered.

        Raises:
            ImageError: it cannot be read as an image; the class says which way.
            ServerUnreachable, ServerBusy, ServerError: the server gave no answer.
        """
        return self._one(_file(image), explain)

    @overload
    def predict_many(
        self,
        images: Iterable[ImageSource],
        *,
        errors: Literal["raise"] = ...,
        explain: bool = ...,
        batch_size: int = ...,
    ) -> Iterator[Prediction]: ...

    @overload
    def predict_many(
        self, images: Iterable[ImageSource], *, errors: Literal["return"], explain: bool = ..., batch_size: int = ...
    ) -> Iterator[Prediction | ImageError]: ...

    def predict_many(
        self,
        images: Iterable[ImageSource],
        *,
        errors: Literal["raise", "return"] = "raise",
        explain: bool = False,
        batch_size: int = BATCH_SIZE,
    ) -> Iterator[Any]:
        """Read the digit in each image, many in a request.

        Args:
            images: any iterable of what :meth:`predict` takes; a generator is consumed a batch at a time.
            errors: "raise" stops at the first image that cannot be read; "return" puts its ImageError in its place.
            explain: as for :meth:`predict`.
            batch_size: most images in a request; a server that takes fewer is given fewer.

        Yields:
            One Prediction (or, with ``errors="return"``, ImageError) for each image, in order, batch by batch.

        Raises:
            ServerUnreachable, ServerBusy, ServerError: the server gave no answer.
        """
        if errors not in ("raise", "return"):
            raise ValueError(f'errors must be "raise" or "return", not {errors!r}')
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, not {batch_size}")
        if isinstance(images, (str, bytes, PathLike)):
            raise TypeError(f"predict_many takes an iterable of images, not one {type(images).__name__}; use predict")
        return self._stream(images, errors, explain, batch_size)

    def read(
        self,
        image: ImageSource | Strokes,
        *,
        layout: Layout = "auto",
        length: int | None = None,
        pattern: str | None = None,
        decimal: Literal[".", ","] | None = None,
        alternatives: int = 0,
    ) -> Reading:
        """Read the numbers in one image or drawing, as :meth:`Recognizer.read` does.

        Args:
            image: as for :meth:`predict`, or a drawing as pen strokes: a list or tuple of strokes, each a list of
                points (x, y) or an array of shape (n, 2).
            layout, length, pattern, decimal, alternatives: as for :meth:`Recognizer.read`, within the server's bounds.

        Raises:
            ImageError: it cannot be read as an image or drawing; the class says which way.
            ValueError: an argument has no such value.
            ServerUnreachable, ServerBusy, ServerError: the server gave no answer.
        """
        options: dict[str, Any] = {"layout": layout, "length": length, "pattern": pattern, "decimal": decimal}
        query = {name: value for name, value in options.items() if value is not None}
        if alternatives:
            query["alternatives"] = alternatives
        if isinstance(image, (list, tuple)):
            sent: dict[str, Any] = {"json": {"strokes": [stroke.tolist() for stroke in check_strokes(image)]}}
        else:
            sent = {"content": _file(image), "headers": _IMAGE}
        response = self._ask("POST", "/read", params=query, **sent)
        # The body is not empty, so an argument is wrong.
        if not response.is_success and _kind(_problem(response)) == _BAD_REQUEST:
            raise ValueError(_detail(response))
        return _reading(_answer(response))

    def correct(
        self,
        image: ImageSource | Strokes | None,
        label: str | int,
        *,
        consent: bool,
        confirmed: bool = False,
        prediction_id: str | None = None,
        reading: Literal["digit", "number"] | None = None,
        client: str | None = None,
        key: str | None = None,
    ) -> str:
        """Send what a picture really is to a server that keeps corrections; it is kept once, however often it is sent.

        Args:
            image: the picture or drawing, as for :meth:`read`; None if there is a ``prediction_id`` of a digit.
            label: the digit, or the text of the number; "" if it is neither.
            consent: that the writer agrees to have it kept; nothing is sent unless it is True.
            confirmed: the answer was right, and ``label`` is what was answered.
            prediction_id: from an answer of ``/predict`` or ``/read`` with ``feedback=true``.
            reading: "digit" or "number"; by default, labels of one character are digits.
            client: a random id that stays the same for one person.
            key: of this correction, for sending it again later; random by default.

        Returns:
            The id with which :meth:`forget` removes it.

        Raises:
            ImageError: the image cannot be read; the class says which way.
            ValueError: there is no consent, or an argument does not fit.
            ServerUnreachable, ServerBusy, ServerError: the server gave no answer, or keeps no corrections.
        """
        if consent is not True:
            raise ValueError(f"consent must be True, not {consent!r}: ask the writer whether it may be kept")
        body: dict[str, Any] = {
            "key": key or str(uuid.uuid4()),
            "consent": True,
            "kind": "confirmed" if confirmed else "corrected",
            "label": str(label),
            "client": client,
            "source": "client",
        }
        body |= {name: value for name, value in (("prediction_id", prediction_id), ("reading", reading)) if value}
        if isinstance(image, (list, tuple)):
            body["strokes"] = [stroke.tolist() for stroke in check_strokes(image)]
        elif image is not None:
            body["image"] = b64encode(_file(image)).decode()
        response = self._ask("POST", "/feedback", json=body)
        if response.status_code in (_NOT_FOUND, _NOT_ALLOWED):
            raise ServerError(f"{self._url} keeps no corrections; it needs --feedback URL")
        if not response.is_success and _kind(_problem(response)) in _WRONG_CORRECTIONS:
            raise ValueError(_detail(response))
        return str(_answer(response)["id"])

    def forget(self, id: str) -> bool:
        """Remove a correction and its picture for good; return whether it was there.

        Args:
            id: from :meth:`correct`.

        Raises:
            ServerUnreachable, ServerBusy, ServerError: the server gave no answer.
        """
        response = self._ask("DELETE", f"/feedback/{quote(id, safe='')}")
        if response.status_code in (_NO_CONTENT, _NOT_FOUND):
            return response.status_code == _NO_CONTENT
        raise _error(_problem(response), response)

    def model(self) -> dict[str, Any]:
        """Return the server's model, as ``GET /model`` describes it.

        Raises:
            ServerUnreachable, ServerBusy, ServerError: the server gave no answer.
        """
        return _answer(self._ask("GET", "/model"))

    def _stream(
        self, images: Iterable[ImageSource], errors: str, explain: bool, batch_size: int
    ) -> Iterator[Prediction | ImageError]:
        done = 0
        for batch in _batches(images, batch_size):
            files = [file for file in batch if isinstance(file, bytes)]
            answers = iter(self._several(files, explain))
            for file in batch:
                result = next(answers) if isinstance(file, bytes) else file
                if isinstance(result, ImageError) and errors == "raise":
                    result.add_note(f"at index {done} of the images")
                    raise result
                yield result
                done += 1

    def _several(self, files: Sequence[bytes], explain: bool) -> list[Prediction | ImageError]:
        if not files:
            return []
        if len(files) == 1:
            try:
                return [self._one(files[0], explain)]
            except ImageError as error:
                return [error]
        parts = [("image", (str(i), file, "application/octet-stream")) for i, file in enumerate(files)]
        response = self._ask("POST", "/predict", params=_query(explain), files=parts)
        if response.status_code == _TOO_LARGE:  # for this server, in one request
            half = len(files) // 2
            return self._several(files[:half], explain) + self._several(files[half:], explain)
        rows = _answer(response).get("predictions")
        if not isinstance(rows, list) or len(rows) != len(files):
            raise ServerError(f"{self._url} did not give {len(files)} images as many predictions; is it inkdigits?")
        results: list[Prediction | ImageError] = []
        for row in rows:
            result = _error(row["error"]) if "error" in row else _prediction(row)
            if isinstance(result, ServerError):
                raise result
            results.append(result)
        return results

    def _one(self, file: bytes, explain: bool) -> Prediction:
        response = self._ask("POST", "/predict", params=_query(explain), content=file, headers=_IMAGE)
        return _prediction(_answer(response))

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request, again where that can help; every request of this service may be repeated."""
        attempt = 0
        while True:
            fault: httpx.TransportError | None = None
            asked = 0.0
            try:
                response = self._http.request(method, self._url + path, **options)
                if response.status_code not in _BUSY:
                    return response
                asked = _retry_after(response)
            except httpx.TimeoutException as error:
                raise ServerUnreachable(f"{self._url} did not answer in time ({_said(error)})") from error
            except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
                fault = error
            except httpx.TransportError as error:
                raise ServerUnreachable(f"cannot ask {self._url}: {_said(error)}") from error
            if attempt == self._retries or asked > LONGEST_WAIT:
                break
            time.sleep(min(asked + random.uniform(0, BACKOFF * 2**attempt), LONGEST_WAIT))
            attempt += 1
        times = f"asked {attempt + 1} times" if attempt else "asked once"
        if fault is not None:
            raise ServerUnreachable(f"cannot reach {self._url}: {_said(fault)} ({times}); does it run?") from fault
        wait = f"; it asks to come back in {asked:.0f} s" if asked else ""
        raise ServerBusy(f"{self._url} cannot answer now ({times}): {_detail(response)}{wait}")


def _query(explain: bool) -> dict[str, str]:
    return {"image": "true", "explain": "true"} if explain else {"image": "true"}


def _batches(images: Iterable[ImageSource], size: int) -> Iterator[list[bytes | ImageError]]:
    """Yield the images' files in batches of at most ``size`` files and ``BATCH_BYTES`` bytes."""
    batch: list[bytes | ImageError] = []
    total = 0
    for image in images:
        try:
            file: bytes | ImageError = _file(image)
        except ImageError as error:
            file = error
        length = len(file) if isinstance(file, bytes) else 0
        if batch and (len(batch) == size or total + length > BATCH_BYTES):
            yield batch
            batch, total = [], 0
        batch.append(file)
        total += length
    if batch:
        yield batch


def _file(source: ImageSource) -> bytes:
    """Return an image's file unchanged, or encode a picture in memory losslessly."""
    file = _read(source)
    if not file:
        raise NotAnImage("the image is empty (0 bytes); give a whole image file")
    return file


def _read(source: ImageSource) -> bytes:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, (str, PathLike)):
        try:
            return Path(source).read_bytes()
        except OSError as error:
            raise UnreadableImage(f"cannot open {source}: {error.strerror}") from None
        except ValueError as error:  # a NUL byte in the path
            raise UnreadableImage(f"cannot open {source!r}: {error}") from None
    if not isinstance(source, (np.ndarray, Image.Image)) and hasattr(source, "read"):
        data = source.read()
        if not isinstance(data, bytes):
            raise NotAnImage(f"the file object gives {type(data).__name__}, not bytes; open it in binary mode")
        return data
    picture = decode(source, Limits())
    if picture.mode == "F":  # finer grey levels than 8 bits hold
        picture = Image.fromarray(np.rint(np.asarray(picture) * np.float32(65535 / 255)).astype(np.uint16))
    file = io.BytesIO()
    # Without the picture's metadata: decode has applied it.
    Image.fromarray(np.asarray(picture)).save(file, "PNG")
    return file.getvalue()


def _prediction(answer: Mapping[str, Any]) -> Prediction:
    try:
        return Prediction(
            digit=answer["digit"],
            confidence=answer["confidence"],
            probabilities=tuple(answer["probabilities"]),
            image=np.array(answer["image"], np.float32) / np.float32(255),
            box=Box(**answer["box"]) if answer["box"] else None,
            polarity=answer["polarity"],
            is_digit=answer["is_digit"],
            digit_score=answer["digit_score"],
            explanation=np.array(answer["explanation"], np.float32) if "explanation" in answer else None,
            reason=answer.get("reason"),  # older servers do not send it
            is_sure=answer.get("is_sure"),  # only servers with a profile do
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ServerError(
            f"the server's answer is no prediction ({type(error).__name__}: {error}); is it inkdigits?"
        ) from None


def _reading(answer: Mapping[str, Any]) -> Reading:
    try:
        return Reading.from_dict(answer)
    except (KeyError, TypeError, ValueError) as error:
        raise ServerError(
            f"the server's answer is no reading ({type(error).__name__}: {error}); is it inkdigits?"
        ) from None


def _answer(response: httpx.Response) -> dict[str, Any]:
    if response.is_success:
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if isinstance(answer, dict):
            return answer
        raise ServerError(f"{response.url} answered with no JSON object; is it inkdigits?")
    raise _error(_problem(response), response)


def _error(problem: Mapping[str, Any], response: httpx.Response | None = None) -> ImageError | ServerError:
    """Return the error that a problem document describes."""
    kind = _ERRORS.get(_kind(problem))
    if kind is not None:
        return kind(problem.get("detail", ""))
    status = response.status_code if response is not None else problem.get("status")
    detail = problem.get("detail") or (_detail(response) if response is not None else problem)
    return ServerError(f"the server answered with status {status}: {detail}")


def _kind(problem: Mapping[str, Any]) -> str:
    """Return the kind of a problem: the fragment of its type."""
    return str(problem.get("type", "")).rpartition("#")[2]


def _problem(response: httpx.Response) -> dict[str, Any]:
    try:
        problem = response.json()
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


def _detail(response: httpx.Response) -> str:
    return str(_problem(response).get("detail") or response.reason_phrase)


def _retry_after(response: httpx.Response) -> float:
    """Seconds to wait by the Retry-After header (RFC 9110, 10.2.3), a number or a date; 0 where there is none."""
    text = response.headers.get("retry-after", "")
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, (when - datetime.now(when.tzinfo and UTC)).total_seconds())


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
