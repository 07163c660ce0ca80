"""Many images in, rows out, in order and as they are ready. An image that cannot be read is a row with its error.

``rows`` reads digits with one recognizer, ``numbers`` reads numbers; the others take either as a ``task``: ``inputs``
finds the images in files, folders, archives and tables, ``formats`` writes rows as text, CSV, JSON or Parquet,
``journal`` keeps what is finished of an output, ``run`` spreads work over processes, ``cluster`` over a Ray cluster.

>>> from inkdigits import Recognizer
>>> from inkdigits.bulk import find_images, read
>>> for row in read(Recognizer(), find_images(["scans/"])):  # doctest: +SKIP
...     print(row.name, row.prediction.digit if row.accepted else row.verdict)
>>> from inkdigits.bulk import Numbers
>>> for row in Numbers(length=8).read(Recognizer(), find_images(["codes/"])):  # doctest: +SKIP
...     print(row.name, row.reading.text if row.accepted else row.verdict)
"""

from inkdigits.bulk.inputs import SUFFIXES, find_images
from inkdigits.bulk.numbers import Numbers, NumbersRow
from inkdigits.bulk.rows import Row, read

__all__ = ["SUFFIXES", "Numbers", "NumbersRow", "Row", "find_images", "read"]
