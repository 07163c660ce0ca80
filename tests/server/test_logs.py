"""The log: no line is lost, whoever reads it holds up nothing, and nothing but the log is in it."""

import contextlib
import io
import json
import logging
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import httpx
import pytest
from PIL import Image

from inkdigits.self_test import DIGIT
from inkdigits.server.observability.logs import Lines

from support.fronts import free_ports
from support.servers import DEADLINE, START_SECONDS, alive, answers, ask, processes, samples, until, workers

pytestmark = pytest.mark.slow

LONG = "x" * 118  # with ten digits before it, the longest id that a request may have

# A server in which libraries say things in their own ways, whenever a picture of 111 pixels is opened.
NOISY = """
import logging, sys, threading, warnings
from PIL import ImageFile

load = ImageFile.ImageFile.load

def noisy(self):
    if self.width == 111:
        logging.getLogger("another").error("from a logger")
        warnings.warn("from a warning")
        print("from print", file=sys.stderr)
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
    return load(self)

ImageFile.ImageFile.load = noisy

if __name__ == "__main__":
    from inkdigits.cli import main
    sys.exit(main())
"""


def address(server):
    host, port = server.url.removeprefix("http://").split(":")
    return host, int(port)


def pipelined(server, numbers):
    """Ask for /health with each number in the id, on one connection; how many were answered."""
    requests = [
        b"GET /health HTTP/1.1\r\nHost: x\r\nX-Request-ID: %010d%s\r\n\r\n" % (n, LONG.encode()) for n in numbers
    ]
    answers = 0
    with socket.create_connection(address(server), timeout=DEADLINE) as connection:
        for at in range(0, len(requests), 50):
            some = requests[at : at + 50]
            connection.sendall(b"".join(some))
            data = b""
            while data.count(b"HTTP/1.1 200 ") < len(some) or not data.endswith(b"}"):
                piece = connection.recv(1 << 16)
                assert piece, "the server closed the connection"
                data += piece
            answers += len(some)
    return answers


def dropped_by(server) -> float:
    """Log lines that the server says it has dropped."""
    return samples(httpx.get(f"{server.url}/metrics").text)[("inkdigits_log_dropped_total",)]


def damaged_tiff(compression: int) -> bytes:
    """A small TIFF whose pixels are not compressed as it says."""
    file = io.BytesIO()
    Image.new("L", (40, 40), 255).save(file, "TIFF")
    data = bytearray(file.getvalue())
    [directory] = struct.unpack_from("<I", data, 4)
    [entries] = struct.unpack_from("<H", data, directory)
    [at] = [
        place
        for place in range(directory + 2, directory + 2 + 12 * entries, 12)
        if struct.unpack_from("<H", data, place) == (259,)
    ]
    struct.pack_into("<HHIH", data, at, 259, 3, 1, compression)
    return bytes(data)


@pytest.mark.parametrize("number", ["1", "2"])
def test_a_reader_that_stops_holds_up_nothing_and_hears_how_much_it_missed(start_server, number):
    output, theirs = os.pipe()
    options = ("--workers", number, "--log-requests", "on", "--log-format", "json")
    server = start_server(*options, process={"stderr": theirs})
    os.close(theirs)
    asked = 0
    while True:  # more and more, and nobody reads
        asked += pipelined(server, range(asked, asked + 2000))
        assert ask(server) == DIGIT
        asked += 2
        if dropped_by(server) > 1000:
            break
    with os.fdopen(output) as stderr:
        lines = []
        reader = threading.Thread(target=lambda: lines.extend(map(json.loads, stderr)))
        reader.start()

        def seen():
            """Lines that were either written or counted."""
            return sum(line.get("dropped", 1) for line in list(lines))

        until(lambda: seen() == asked)
        told = [line for line in lines if "dropped" in line]
        assert all(re.fullmatch(r"\d+ log lines were dropped: .*", line["message"]) for line in told)
        assert sum(line["dropped"] for line in told) == dropped_by(server)
        assert server.stop() == ""
        assert server.process.returncode == 0
        reader.join(DEADLINE)
        assert seen() == asked + 1


@pytest.mark.parametrize("number", ["1", "2"])
def test_it_stops_while_nobody_reads(start_server, number):
    output, theirs = os.pipe()
    server = start_server("--workers", number, "--log-requests", "on", process={"stderr": theirs})
    os.close(theirs)
    pipelined(server, range(2000))  # more than a pipe holds
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(DEADLINE)
    assert server.process.returncode == 0
    os.close(output)


@pytest.mark.parametrize("number", ["1", "2"])
def test_no_line_is_lost_or_mixed_with_another_however_slow_the_reader_is(start_server, number):
    output, theirs = os.pipe()
    options = ("--workers", number, "--log-requests", "on", "--log-format", "json")
    server = start_server(*options, process={"stderr": theirs})
    os.close(theirs)
    data = bytearray()

    def read():
        while piece := os.read(output, 1500):  # never a whole number of lines
            data.extend(piece)
            time.sleep(0.001)

    reader = threading.Thread(target=read)
    reader.start()
    with contextlib.ExitStack() as stack:
        clients = [
            threading.Thread(target=pipelined, args=(server, range(first, first + 500)))
            for first in range(0, 2000, 500)
        ]
        for client in clients:
            client.start()
            stack.callback(client.join)
    server.stop()
    assert server.process.returncode == 0
    reader.join(DEADLINE)
    os.close(output)
    lines = [json.loads(line) for line in data.decode().splitlines()]
    assert sorted(line["request_id"] for line in lines) == [f"{n:010}{LONG}" for n in range(2000)]


@pytest.mark.parametrize("number", ["1", "2"])
def test_a_reader_that_leaves_is_missed_by_nobody(start_server, number):
    server = start_server("--workers", number, "--log-requests", "on")
    server.process.stderr.close()
    server.process.stderr = None
    for _ in range(10):
        assert ask(server) == DIGIT
    assert dropped_by(server) > 0
    assert server.stop() == ""
    assert server.process.returncode == 0


@pytest.mark.parametrize("number", ["1", "2"])
def test_what_damaged_pictures_make_libraries_print_is_lines_of_the_log_and_not_many(start_server, number):
    server = start_server("--workers", number, "--log-format", "json")
    for compression in (7, 50001):
        for _ in range(60):
            answer = httpx.post(f"{server.url}/predict", content=damaged_tiff(compression))
            assert answer.json()["type"] == "/docs#unreadable-image"
    assert ask(server) == DIGIT
    lines = [json.loads(line) for line in server.stop().splitlines()]
    assert server.process.returncode == 0
    theirs = [line for line in lines if line["logger"] == "inkdigits.stderr"]
    assert any("JPEG" in line["message"] for line in theirs)
    assert {line["level"] for line in lines} == {"warning"}
    told = [line["dropped"] for line in lines if line not in theirs]
    assert told
    assert sum(told) + len(theirs) >= 120
    assert len(theirs) < 120


def test_the_end_waits_for_the_number_of_dropped_lines():
    class Slow(logging.Formatter):
        def format(self, record):
            time.sleep(0.3)
            return record.getMessage()

    source, target = os.pipe()
    os.set_blocking(source, False)
    lines = Lines(target, "utf-8", 4096)
    lines.setFormatter(Slow())
    lines.drop(3)
    lines.flush()
    assert os.read(source, 1000).startswith(b"3 log lines were dropped")


@pytest.mark.parametrize("number", ["1", "2"])
def test_all_that_libraries_say_is_json(start_server, tmp_path, number):
    script = tmp_path / "noisy.py"
    script.write_text(NOISY)
    server = start_server("--workers", number, "--log-format", "json", script=script)
    file = io.BytesIO()
    Image.new("L", (111, 111), 255).save(file, "BMP")
    assert httpx.post(f"{server.url}/predict", content=file.getvalue()).status_code == 200
    lines = [json.loads(line) for line in server.stop().splitlines()]
    said = [(line["logger"], line["message"]) for line in lines]
    assert ("another", "from a logger") in said
    assert ("inkdigits.stderr", "from print") in said
    assert ("inkdigits.stderr", "ZeroDivisionError: division by zero") in said
    assert any(logger == "py.warnings" and "UserWarning: from a warning" in message for logger, message in said)


def test_in_text_every_line_has_its_time_and_control_characters_do_nothing(start_server, tmp_path):
    script = tmp_path / "noisy.py"
    script.write_text(NOISY.replace("from print", r"from \\x1b[31mprint\\x00 é"))
    server = start_server(script=script)
    file = io.BytesIO()
    Image.new("L", (111, 111), 255).save(file, "BMP")
    assert httpx.post(f"{server.url}/predict", content=file.getvalue()).status_code == 200
    printed = server.stop()
    assert r"WARNING inkdigits.stderr: from \x1b[31mprint\x00 é" in printed
    assert "\x1b" not in printed


@processes
@pytest.mark.parametrize("number", ["1", "2"])
def test_a_crash_leaves_its_last_words(start_server, number):
    server = start_server("--workers", number)
    victim = workers(server)[0] if number == "2" else server.process.pid
    os.kill(victim, signal.SIGSEGV)
    until(lambda: not alive(victim))
    if number == "2":
        server.process.terminate()
    printed = server.process.communicate(timeout=DEADLINE)[1]
    assert "Fatal Python error: Segmentation fault" in printed


@processes
@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("number", ["1", "2"])
def test_streams_that_are_closed_at_the_start_are_nobody_s_connection(closed, number):
    [port] = free_ports(1)
    serve = f"{sys.executable} -m inkdigits serve --port {port} --workers {number} --log-requests on"
    with subprocess.Popen(["sh", "-c", f"exec {serve} {closed}"], stdout=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            until(lambda: answers(url))
            answer = httpx.post(f"{url}/predict", content=damaged_tiff(7))
            assert answer.json()["type"] == "/docs#unreadable-image"
            process.terminate()
            assert process.wait(DEADLINE) == 0
        finally:
            process.kill()


def test_the_reader_of_the_address_may_leave():
    with subprocess.Popen(
        [sys.executable, "-m", "inkdigits", "serve", "--port", "0"],
        stdout=(broken := broken_pipe()),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(broken)
        try:
            line = process.stderr.readline()
            assert "could not be printed: Broken pipe" in line
            url = re.search(r"http://[\d.:]+", line)[0]
            assert httpx.get(f"{url}/ready", timeout=START_SECONDS).status_code == 200
        finally:
            process.kill()


def broken_pipe() -> int:
    """The end to write to of a pipe that nobody reads."""
    source, target = os.pipe()
    os.close(source)
    return target
