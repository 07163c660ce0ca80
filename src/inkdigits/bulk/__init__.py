"""Many images in, rows out, in order and as they are ready. An image that cannot be read is a row with its error.

``rows`` reads with one recognizer, ``inputs`` finds the images in files, folders, archives and tables, ``formats``
writes rows as text, CSV, JSON or Parquet, ``journal`` keeps what is finished of an output, ``run`` spreads work over
processes, ``cluster`` over the nodes of a Ray cluster.

>>> from inkdigits import Recognizer
>>> from inkdigits.bulk import find_images, read
>>> for row in read(Recognizer(), find_images(["scans/"])):  # doctest: +SKIP
...     print(row.name, row.prediction.digit if row.accepted else row.verdict)
"""

from inkdigits.bulk.inputs import SUFFIXES, find_images
from inkdigits.bulk.rows import Row, read

__all__ = ["SUFFIXES", "Row", "find_images", "read"]
