"""Two workers under four supervisors: inkdigits serve, uvicorn, gunicorn and granian, and what each does with a fault.

``killed`` and ``frozen``: seconds until a worker that got SIGKILL or SIGSTOP is replaced; ``blocked``: the same of one
whose event loop does not come back. ``stop``: the answer to a request whose body was half there when SIGTERM came;
``thread``: seconds from SIGTERM to the end while a thread of a request sleeps. ``swap`` and ``broken``: SIGHUP with
another model, and with a file that is none: which versions answer, for how long both do, which requests fail, and
whether the server lives on. ``rate``: requests a second of a 28×28 PNG over 64 connections, and what one costs; needs
wrk. None in a figure: it did not come within LIMIT_SECONDS.

granian is no dependency: ``--granian`` is a Python that has it, and it gets this one's packages.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from inkdigits.self_test import known_digit
from inkdigits.server.http.asgi import Service

from _common import ROOT, record

LIMIT_SECONDS = 45
FAULT_SECONDS = 100  # that a loop is blocked, or a thread sleeps
SWAP_SECONDS = 11  # that models are looked at after SIGHUP
RATE_SECONDS = 2  # of each of three loads
MODELS = ROOT / "src" / "inkdigits" / "models"
SERVERS = ("inkdigits", "uvicorn", "gunicorn", "granian")
answer = Service.__call__


async def faulty(self: Service, scope, receive, send) -> None:
    """The service with two faults; workers import this file, or are spawned from it, and so have them too."""
    if scope["type"] == "http" and scope["path"] == "/thread":
        await asyncio.to_thread(time.sleep, FAULT_SECONDS)
    if scope["type"] == "http" and scope["path"] == "/block":
        time.sleep(FAULT_SECONDS)
    await answer(self, scope, receive, send)


if os.environ.get("FAULTY"):
    Service.__call__ = faulty


def __getattr__(name: str):
    """``supervisors:app``, for the servers that import an application."""
    if name != "app":
        raise AttributeError(name)
    from inkdigits.server import create_app

    return create_app()


def command(name: str, port: int, granian: str) -> list[str]:
    app = "supervisors:app"
    return {
        "inkdigits": [sys.executable, __file__, "serve", "--workers", "2", "--port", str(port)],
        "uvicorn": [sys.executable, "-m", "uvicorn", "--workers", "2", "--port", str(port), "--no-access-log", app],
        "gunicorn": [
            *(sys.executable, "-m", "gunicorn", "-k", "uvicorn_worker.UvicornWorker", "-w", "2"),
            *("--bind", f"127.0.0.1:{port}", app),
        ],
        "granian": [
            *(granian, "-m", "granian", "--interface", "asgi", "--workers", "2", "--port", str(port)),
            *("--respawn-failed-workers", "--no-access-log", app),
        ],
    }[name]


class Server:
    """One of them, with a model of its own that may be replaced."""

    def __init__(self, name: str, granian: str, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.model = folder / "mine.onnx"
        shutil.copy(MODELS / "cnn.onnx", self.model)
        packages = [path for path in sys.path if path.endswith("site-packages")]
        path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "benchmarks"), *packages])
        environ = {
            **os.environ,
            "FAULTY": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "INKDIGITS_MODEL": str(self.model),
            "PYTHONPATH": path,
        }
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command(name, self.port, granian), env=environ, start_new_session=True, **quiet)
        if within(lambda: self.get("/health")[0] == 200 and len(self.workers()) >= 2) is None:
            self.end()
            raise SystemExit(f"{name} does not start: {' '.join(self.process.args)}")
        time.sleep(1)

    def get(self, path: str, seconds: float = 3) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()

    def workers(self) -> list[int]:
        listed = ["ps", "--ppid", str(self.process.pid), "-o", "pid=,args="]
        lines = subprocess.run(listed, capture_output=True, text=True).stdout.splitlines()
        return [int(line.split(None, 1)[0]) for line in lines if "resource_tracker" not in line]

    def processor_seconds(self) -> float:
        """What its processes have used so far."""
        ticks = 0
        for process in (self.process.pid, *self.workers()):
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def replaced(self, before: list[int]) -> float | None:
        """Seconds until one of these workers has a successor."""
        return within(lambda: set(before) - set(now := self.workers()) and len(now) >= 2)

    def ask_in_background(self, path: str) -> None:
        def ask() -> None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                self.get(path, FAULT_SECONDS)

        threading.Thread(target=ask, daemon=True).start()
        time.sleep(1)

    def end(self) -> None:
        """Kill all of its processes, which are a group of their own."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def within(done) -> float | None:
    """Seconds until this is so; None for not in time."""
    start = time.monotonic()
    while time.monotonic() < start + LIMIT_SECONDS:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if done():
                return round(time.monotonic() - start, 1)
        time.sleep(0.1)
    return None


def signalled(server: Server, number: int) -> dict[str, object]:
    before = server.workers()
    os.kill(before[-1], number)
    return {"seconds": server.replaced(before)}


def killed(server: Server) -> dict[str, object]:
    return signalled(server, signal.SIGKILL)


def frozen(server: Server) -> dict[str, object]:
    return signalled(server, signal.SIGSTOP)


def blocked(server: Server) -> dict[str, object]:
    before = server.workers()
    server.ask_in_background("/block")
    seconds = server.replaced(before)
    return {"seconds": None if seconds is None else round(seconds + 1, 1)}


def stop(server: Server) -> dict[str, object]:
    body = png()
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT_SECONDS) as connection:
        connection.sendall(head + body[:100])
        time.sleep(0.5)
        server.process.terminate()
        time.sleep(1.5)
        try:
            connection.sendall(body[100:])
            status = connection.recv(4096).partition(b"\r\n")[0].decode()
        except OSError as error:
            status = type(error).__name__
    return {"answer": status, "seconds": within(lambda: server.process.poll() is not None)}


def thread(server: Server) -> dict[str, object]:
    server.ask_in_background("/thread")
    server.process.terminate()
    return {"seconds": within(lambda: server.process.poll() is not None)}


def models(server: Server) -> dict[str, object]:
    """What answers after SIGHUP: versions and failures, and for how long two versions did."""
    seen: list[tuple[float, float, str]] = []
    end = time.monotonic() + 1 + SWAP_SECONDS

    def ask() -> None:
        while (start := time.monotonic()) < end:
            try:
                what = json.loads(server.get("/model")[1])["version"]
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                what = type(error).__name__
            seen.append((start, time.monotonic(), what))
            time.sleep(0.005)

    clients = [threading.Thread(target=ask) for _ in range(2)]
    for client in clients:
        client.start()
    time.sleep(1)
    os.kill(server.process.pid, signal.SIGHUP)
    for client in clients:
        client.join()
    counts = Counter(what for *_, what in seen)
    versions = [what for what in counts if re.fullmatch("[0-9a-f]{12}", what)]
    both = 0.0
    if len(versions) == 2:
        both = max(t for t, _, v in seen if v == versions[0]) - min(t for _, t, v in seen if v == versions[1])
    return {"counts": dict(counts), "both": round(max(0.0, both), 2), "lives": server.process.poll() is None}


def swap(server: Server) -> dict[str, object]:
    shutil.copy(MODELS / "lenet.onnx", server.model)
    return models(server)


def broken(server: Server) -> dict[str, object]:
    server.model.write_bytes(b"broken")
    return models(server)


def rate(server: Server) -> dict[str, object]:
    """Beside the rate, which other work on the machine changes: the server's processor time for a request."""
    folder = server.model.parent
    (folder / "small.png").write_bytes(png())
    script = folder / "post.lua"
    script.write_text(
        f'wrk.body = io.open("{folder}/small.png", "rb"):read("*a")\nwrk.method = "POST"\n'
        'wrk.headers["Content-Type"] = "image/png"\n'
    )
    ask = ["wrk", "-t1", "-c64", f"-d{RATE_SECONDS}s", "-s", str(script), f"http://127.0.0.1:{server.port}/predict"]
    load, rates, costs = os.getloadavg()[0], [], []
    for _ in range(3):
        before = server.processor_seconds()
        printed = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
        assert "Non-2xx" not in printed, printed
        count = int(re.search(r"(\d+) requests in", printed)[1])
        rates.append(round(count / RATE_SECONDS))
        costs.append(round((server.processor_seconds() - before) / count * 1e6))
    return {"rates": rates, "microseconds": statistics.median(costs), "all": costs, "load": round(load, 1)}


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.asarray(known_digit())).save(file, "PNG")
    return file.getvalue()


FAULTS = {f.__name__: f for f in (killed, frozen, blocked, stop, thread, swap, broken, rate)}


@contextlib.contextmanager
def serving(name: str, granian: str) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        server = Server(name, granian, Path(folder))
        try:
            yield server
        finally:
            server.end()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--granian", default=sys.executable, help="a Python that has granian")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(FAULTS))
    parser.add_argument("--servers", type=lambda text: text.split(","), default=list(SERVERS))
    arguments = parser.parse_args()
    for fault in arguments.only:
        for name in arguments.servers:
            with serving(name, arguments.granian) as server:
                record(fault=fault, server=name, **FAULTS[fault](server))


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        from inkdigits.cli import main as cli

        sys.exit(cli(sys.argv[1:]))
    main()
