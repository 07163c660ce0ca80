"""Data sets: downloads that break, what is found where, and the splits."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from inkdigits import DataError
from inkdigits.data import catalog as data
from inkdigits.data import pen
from inkdigits.data.catalog import PEN_WRITERS, describe, fetch, load
from inkdigits.data.dataset import stratified
from inkdigits.data.idx import read_idx
from inkdigits.settings import Settings

from support.drawings import DIGITS
from support.files import idx
from support.paths import ROOT

FILES = tuple(data.MNIST_SHA256)


@pytest.fixture
def small_mnist(monkeypatch):
    """Four small files in the place of MNIST's, known by their own hashes: {name: uncompressed content}."""
    random = np.random.default_rng(7)
    files = {}
    for name, n in zip(FILES, (300, 300, 200, 200), strict=True):
        images = "images" in name
        files[name] = idx(random.integers(0, 256 if images else 10, (n, 28, 28) if images else n, dtype=np.uint8))
    monkeypatch.setattr(
        data, "MNIST_SHA256", {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    )
    return files


GOOD = idx(np.arange(12, dtype=np.uint8).reshape(3, 4))


class Mirror:
    """A web server with files, that can be told to misbehave."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in files.items()}
        self.requests: list[tuple[str, str | None]] = []  # file name and Range header
        self.ranges = True  # answers to Range
        self.cuts: list[int] = []  # bytes after which the next connections end
        self.status = 0  # answers nothing but this

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        name, range_header = request.path.lstrip("/"), request.headers.get("Range")
        self.requests.append((name, range_header))
        if self.status or name not in self.files:
            return request.send_error(self.status or 404)
        content, start = self.files[name], 0
        if range_header and self.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", range_header)[1])
            if start >= len(content):
                return request.send_error(416)
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            request.send_response(200)
        request.send_header("Content-Length", str(len(content) - start))
        request.end_headers()
        stop = start + self.cuts.pop(0) if self.cuts else len(content)
        request.wfile.write(content[start:stop])
        return None

    @contextmanager
    def running(self):
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                mirror.answer(self)

            def log_message(self, *args):
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            try:
                yield f"http://127.0.0.1:{server.server_port}/"
            finally:
                server.shutdown()


@pytest.fixture
def mirror(small_mnist):
    mirror = Mirror(small_mnist)
    with mirror.running() as mirror.url:
        yield mirror


@pytest.fixture
def settings(tmp_path):
    """Nothing on this machine: an empty cache and no data folder."""
    return Settings(cache=str(tmp_path / "cache"))


# --- downloads


def test_download_is_verified_moved_into_place_and_kept(mirror, settings, small_mnist):
    seen = []

    @contextmanager
    def progress(label, total, unit):
        done = []
        yield done.append
        seen.append((label, total, unit, sum(done)))

    train = load("mnist", settings, part="train", mirrors=[mirror.url], progress=progress)
    assert train.images.shape == (300, 28, 28)
    assert idx(train.images) == small_mnist["train-images-idx3-ubyte"]
    assert np.array_equal(train.labels, read_idx(Path(settings.cache, "mnist", "train-labels-idx1-ubyte.gz")))
    assert train.labels.dtype == np.int64
    assert train.sha256 == {name: data.MNIST_SHA256[name] for name in FILES[:2]}
    assert seen == [(f"{n}.gz", len(mirror.files[f"{n}.gz"]), "bytes", len(mirror.files[f"{n}.gz"])) for n in FILES[:2]]

    fetch("mnist", settings, mirrors=[mirror.url])
    assert sorted(name for name, _ in mirror.requests) == sorted(f"{name}.gz" for name in FILES)  # each once
    assert sorted(p.name for p in Path(settings.cache, "mnist").iterdir()) == sorted(f"{name}.gz" for name in FILES)


def test_a_broken_connection_is_resumed_where_it_stopped(mirror, settings):
    mirror.cuts = [1000, 500]
    fetch("mnist", settings, mirrors=[mirror.url])
    assert mirror.requests[:3] == [(f"{FILES[0]}.gz", r) for r in (None, "bytes=1000-", "bytes=1500-")]


def test_a_killed_download_is_resumed_by_the_next_run(mirror, settings):
    name = f"{FILES[0]}.gz"
    part = Path(settings.cache, "mnist", f"{name}.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(mirror.files[name][:777])
    load("mnist", settings, part="train", mirrors=[mirror.url])
    assert mirror.requests[0] == (name, "bytes=777-")
    assert not part.exists()


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("left", [b"\x1f\x8bnot the file", b"x" * 1_000_000])
def test_a_useless_rest_of_an_earlier_download_is_dropped(mirror, settings, left, ranges):
    mirror.ranges = ranges
    part = Path(settings.cache, "mnist", f"{FILES[0]}.gz.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(left)
    assert len(load("mnist", settings, part="train", mirrors=[mirror.url])) == 300


def test_a_download_that_was_complete_is_not_repeated(mirror, settings):
    name = f"{FILES[0]}.gz"
    part = Path(settings.cache, "mnist", f"{name}.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(mirror.files[name])
    load("mnist", settings, part="train", mirrors=[mirror.url])
    assert [r for n, r in mirror.requests if n == name] == [f"bytes={len(mirror.files[name])}-"]


@pytest.mark.parametrize("fault", ["404", "503", "wrong bytes", "truncated", "other file"])
def test_the_next_mirror_is_asked_when_one_fails(small_mnist, mirror, settings, fault):
    bad = Mirror(small_mnist)
    if fault == "404":
        bad.files = {}
    elif fault == "503":
        bad.status = 503
    elif fault == "wrong bytes":
        bad.files = dict.fromkeys(bad.files, b"<html>please log in to this network</html>")
    elif fault == "truncated":
        bad.files = {name: content[:-20] for name, content in bad.files.items()}
    else:
        bad.files = {name: gzip.compress(GOOD) for name in bad.files}
    with bad.running() as url:
        assert len(load("mnist", settings, part="test", mirrors=[url, mirror.url])) == 200
    assert bad.requests


def test_when_no_mirror_helps_the_error_tells_why_and_what_to_do(mirror, settings):
    mirror.files = dict.fromkeys(mirror.files, b"nonsense")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, never listening: connections are refused
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        with pytest.raises(DataError) as caught:
            load("mnist", settings, part="train", mirrors=[mirror.url, nobody])
    message = str(caught.value)
    assert f"{mirror.url}: it sends other content than expected" in message
    assert f"{nobody}: Connection refused" in message
    assert "INKDIGITS_DATA" in message
    assert list(Path(settings.cache, "mnist").iterdir()) == []


def test_a_connection_that_always_breaks_keeps_what_came(mirror, settings):
    mirror.cuts = [100] * 50
    with pytest.raises(DataError, match="ended after 300 of"):
        load("mnist", settings, part="train", mirrors=[mirror.url])
    assert Path(settings.cache, "mnist", f"{FILES[0]}.gz.part").stat().st_size == 300


def test_a_cache_that_cannot_be_written_is_named(mirror, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot write .*file.*INKDIGITS_CACHE"):
        load("mnist", Settings(cache=str(tmp_path / "file")), part="train", mirrors=[mirror.url])


def test_a_damaged_file_in_the_cache_is_replaced(mirror, settings):
    path = Path(settings.cache, "mnist", f"{FILES[2]}.gz")
    fetch("mnist", settings, mirrors=[mirror.url])
    path.write_bytes(path.read_bytes()[:-100])
    assert describe(settings)[0].state == "damaged"
    assert len(load("mnist", settings, part="test", mirrors=[mirror.url])) == 200
    assert describe(settings)[0].state == "ready"


# --- the folder that INKDIGITS_DATA names


@pytest.mark.parametrize("sub", ["", "mnist"])
@pytest.mark.parametrize(("suffix", "compress"), [("", bytes), (".gz", gzip.compress)])
def test_a_data_folder_is_read_and_nothing_is_downloaded(small_mnist, tmp_path, sub, suffix, compress):
    folder = tmp_path / sub
    folder.mkdir(exist_ok=True)
    for name, content in small_mnist.items():
        (folder / f"{name}{suffix}").write_bytes(compress(content))
    settings = Settings(data=str(tmp_path))
    assert len(load("mnist", settings, part="test", mirrors=[])) == 200
    assert fetch("mnist", settings, mirrors=[]) == str(folder)
    assert (describe(settings)[0].state, describe(settings)[0].where) == ("ready", str(folder))


def test_a_data_folder_without_mnist_says_what_to_do(small_mnist, tmp_path):
    settings = Settings(data=str(tmp_path))
    with pytest.raises(DataError, match=f"no train-images-idx3-ubyte.gz in {tmp_path}.*unset INKDIGITS_DATA"):
        load("mnist", settings, part="train", mirrors=[])
    assert describe(settings)[0].state == "missing"
    assert "4 of 4" in describe(settings)[0].hint


def test_a_damaged_file_of_the_user_is_left_alone(small_mnist, tmp_path):
    for name in small_mnist:
        (tmp_path / name).write_bytes(GOOD)
    with pytest.raises(DataError, match="not the file it should be"):
        load("mnist", Settings(data=str(tmp_path)), part="train", mirrors=[])
    assert (tmp_path / FILES[0]).read_bytes() == GOOD
    assert describe(Settings(data=str(tmp_path)))[0].state == "damaged"


def test_describe_downloads_nothing(settings):
    mnist, digits, pen = describe(settings)
    assert (mnist.state, digits.state, pen.state) == ("missing", "ready", "missing")
    assert "inkdigits data --download mnist" in mnist.hint
    assert "set INKDIGITS_DATA" in pen.hint
    assert not Path(settings.cache).exists()


@pytest.mark.skipif(not os.environ.get("INKDIGITS_DATA"), reason="INKDIGITS_DATA names no folder with MNIST")
def test_mnist_itself_has_its_published_class_counts():
    settings = Settings.from_env()
    train, test = (load("mnist", settings, part=part, mirrors=[]) for part in ("train", "test"))
    assert train.images.shape == (60_000, 28, 28)
    assert test.images.shape == (10_000, 28, 28)
    assert np.bincount(train.labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


# --- scikit-learn's digits and the splits


def test_digits_are_the_originals_enlarged_with_a_margin(settings):
    whole, original = load("digits", settings, part="all"), load_digits()
    assert whole.images.shape == (1797, 40, 40)
    assert whole.images.dtype == np.uint8
    assert np.array_equal(whole.labels, original.target)
    # The mean of each 4×4 pixels is what the originals count, but for what the interpolation smooths.
    blocks = whole.images[:, 4:-4, 4:-4].reshape(-1, 8, 4, 8, 4).mean(axis=(2, 4)) * (16 / 255)
    assert np.abs(blocks - original.images).max() < 5
    assert np.corrcoef(blocks.ravel(), original.images.ravel())[0, 1] > 0.99
    assert whole.images[:, 0].max() < 40  # paper at the edge


def test_digits_are_split_without_overlap_and_by_class(settings):
    train, test, whole = (load("digits", settings, part=part) for part in ("train", "test", "all"))
    rows = [{image.tobytes() for image in part.images} for part in (train, test, whole)]
    assert not rows[0] & rows[1]
    assert rows[0] | rows[1] == rows[2]
    assert (len(train), len(test)) == (1438, 359)
    shares = np.bincount(test.labels) / np.bincount(whole.labels)
    assert np.all(np.abs(shares - 0.2) < 0.01)
    assert train.sha256 == test.sha256 == whole.sha256


@pytest.mark.parametrize("size", [0, 1, 100, 333, 1000])
def test_stratified_holds_back_every_class_by_its_share(size):
    labels = np.random.default_rng(0).choice(10, 1000, p=np.arange(1, 11) / 55)
    rest, held = stratified(labels, size, seed=3)
    assert len(held) == size
    assert np.array_equal(np.sort(np.concatenate([rest, held])), np.arange(1000))
    counts, expected = np.bincount(labels[held], minlength=10), np.bincount(labels) * size / 1000
    assert np.all(np.abs(counts - expected) <= 1)


def test_a_split_is_the_same_for_ever():
    labels = np.arange(1000) % 10
    assert stratified(labels, 8, seed=0)[1].tolist() == [27, 55, 298, 306, 310, 672, 784, 859]
    assert stratified(labels, 8, seed=1)[1].tolist() != [27, 55, 298, 306, 310, 672, 784, 859]


# --- pen strokes


@pytest.fixture
def pen_folder(tmp_path, monkeypatch):
    """A folder with pen strokes of 30 writers, two digits each, in the place of the real ones."""
    lines = []
    for number in range(60):
        label = number % 10
        lines += [f'.SEGMENT DIGIT {number} ? "{label}"', f".COMMENT {label} {number // 2 + 1} {number}"]
        lines += [".PEN_DOWN", *(f"{x:.0f} {-y:.0f}" for x, y in 300 * DIGITS[label][0]), ".PEN_UP"]
    content = "\n".join(lines).encode()
    (tmp_path / "pendigits").mkdir()
    (tmp_path / "pendigits" / "pendigits-orig.tra").write_bytes(content)
    monkeypatch.setattr(pen, "PENDIGITS_SHA256", hashlib.sha256(content).hexdigest())
    return tmp_path


def test_writers_are_held_back_whole(pen_folder):
    settings = Settings(data=str(pen_folder))
    parts = {part: load("pen", settings, part=part) for part in PEN_WRITERS}
    writers = {part: {number // 2 + 1 for number in found.numbers.tolist()} for part, found in parts.items()}
    assert writers == {part: set(of_part) for part, of_part in PEN_WRITERS.items()}
    assert sorted(sum(PEN_WRITERS.values(), ())) == list(range(1, 31))
    assert [len(of_part) for of_part in PEN_WRITERS.values()] == [18, 6, 6]
    assert describe(settings)[2].state == "ready"
    assert fetch("pen", settings) == str(pen_folder / "pendigits")


def test_the_writers_are_drawn_by_the_seed_that_is_told():
    order = (np.random.RandomState(0).permutation(30) + 1).tolist()
    assert set(order[:6]) == set(PEN_WRITERS["test"])
    assert set(order[6:12]) == set(PEN_WRITERS["validation"])
    page = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    for part, writers in PEN_WRITERS.items():
        assert f"| {part} | {', '.join(map(str, writers))} |" in page


def test_pen_strokes_are_drawn_when_asked_for_and_always_the_same(pen_folder):
    found = load("pen", Settings(data=str(pen_folder)), part="test")
    again = load("pen", Settings(data=str(pen_folder)), part="test")
    assert found.images[3].shape == (280, 280)
    assert all(np.array_equal(a, b) for a, b in zip(found.images, again.images[:], strict=True))
    # A picture hangs on its digit alone, not on which others are read.
    assert np.array_equal(found.take(np.array([5, 3])).images[1], found.images[3])
    assert found.take(np.array([5])).number(0) == found.numbers[5]
    assert not np.array_equal(found.images[2], found.images[3])
    assert found.labels.tolist() == [number % 10 for number in found.numbers.tolist()]


def test_damaged_pen_strokes_are_told(pen_folder):
    (pen_folder / "pendigits" / "pendigits-orig.tra").write_bytes(b"nonsense")
    source = describe(Settings(data=str(pen_folder)))[2]
    assert source.state == "damaged"
    assert "not the file it should be" in source.hint


@pytest.mark.skipif(not os.environ.get("INKDIGITS_DATA"), reason="INKDIGITS_DATA names no folder with pen strokes")
def test_the_real_pen_strokes_have_every_digit_of_every_writer():
    sizes = {part: len(load("pen", Settings.from_env(), part=part)) for part in PEN_WRITERS}
    assert sizes == {"train": 4498, "validation": 1497, "test": 1499}
    assert set(load("pen", Settings.from_env(), part="test").labels.tolist()) == set(range(10))


# --- names


@pytest.mark.parametrize(
    ("name", "part", "message"),
    [
        ("mnits", "train", "unknown data set 'mnits'; known are: mnist, digits, pen; or give the path"),
        ("mnist", "all", "train, test"),
        ("pen", "all", "train, validation, test"),
    ],
)
def test_unknown_names_list_the_known(settings, name, part, message):
    with pytest.raises(DataError, match=message):
        load(name, settings, part=part)
