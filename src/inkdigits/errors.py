"""Every error that inkdigits raises for something its caller can fix.

The tree::

    InkdigitsError
    ├── SettingError          a setting or option has a value that cannot be used
    ├── ImageError            this input cannot be read as an image of a digit
    │   ├── NotAnImage        not an image at all, or a format that is not supported
    │   ├── UnreadableImage   a supported format, but truncated or damaged
    │   ├── ImageTooSmall
    │   ├── ImageTooLarge     too many pixels or too many bytes
    │   ├── InvalidPixels     numbers that are not pixels: wrong count, range, type or NaN
    │   └── InvalidStrokes    pen strokes without points, with too many, or with other values than x and y
    ├── ModelError            a model is unknown, damaged, or not a digit recognizer
    ├── DataError             a data set is missing, incomplete, damaged or of another format
    ├── TrainingError         a training run cannot start, continue or be exported
    ├── StoreError            the database of corrections cannot be used
    └── ServerError           a server did not respond, or sent an invalid response
        ├── ServerUnreachable no connection to it, or no response in time
        └── ServerBusy        it sheds load or is not ready, and still was after the retries

A message says what happened, the value that was seen, and what to do about it.
"""

__all__ = [
    "DataError",
    "ImageError",
    "ImageTooLarge",
    "ImageTooSmall",
    "InkdigitsError",
    "InvalidPixels",
    "InvalidStrokes",
    "ModelError",
    "NotAnImage",
    "ServerBusy",
    "ServerError",
    "ServerUnreachable",
    "SettingError",
    "StoreError",
    "TrainingError",
    "UnreadableImage",
]


class InkdigitsError(Exception):
    """Base of all errors that inkdigits raises on purpose; its text can be shown to a user as it is."""


class SettingError(InkdigitsError):
    """A setting or option has a value that cannot be used."""


class ImageError(InkdigitsError):
    """This input cannot be read as an image of a digit."""


class NotAnImage(ImageError):
    """Not an image, or an image format that is not supported."""


class UnreadableImage(ImageError):
    """A supported format, but truncated or damaged."""


class ImageTooSmall(ImageError):
    """Fewer pixels than a digit can be read from."""


class ImageTooLarge(ImageError):
    """More pixels or bytes than the limits allow."""


class InvalidPixels(ImageError):
    """Numbers that are not pixels: wrong count, shape, range or type, or NaN."""


class InvalidStrokes(ImageError):
    """Pen strokes that cannot be drawn: no points, too many, or other values than finite x and y."""


class ModelError(InkdigitsError):
    """A model is unknown, damaged, or not a digit recognizer."""


class DataError(InkdigitsError):
    """A data set is missing, incomplete, damaged or of another format."""


class TrainingError(InkdigitsError):
    """A training run cannot start, continue or be exported."""


class StoreError(InkdigitsError):
    """The database of corrections cannot be used."""


class ServerError(InkdigitsError):
    """The server did not respond, or sent an invalid response."""


class ServerUnreachable(ServerError):
    """There was no connection to the server, or no response in time."""


class ServerBusy(ServerError):
    """The server is overloaded or not ready, even after the retries."""
