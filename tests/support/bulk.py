"""Runs of ``inkdigits predict`` on many images."""

import csv
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from inkdigits.bulk.journal import Journal

N = 600  # digits: more than one chunk of pictures
DEADLINE = 120  # seconds, for what must happen at all


def rows_of(path):
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def stopped(run, *argv):
    """A run that Ctrl-C stops when all is read and nothing put together."""

    def finish(self):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "finish", finish)
        return run(*argv)


def size_of(path):
    """Bytes of a file; 0 where there is none."""
    try:
        return Path(path).stat().st_size
    except FileNotFoundError:
        return 0


def start(*argv):
    return subprocess.Popen(
        [sys.executable, "-m", "inkdigits", "predict", *map(str, argv)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # A shell's background job ignores Ctrl-C, and hands that down to the tests and to this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
