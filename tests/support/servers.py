"""Servers that run as users run them, their processes and their counters."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.fronts import free_ports
from support.paths import ROOT
from support.requests import THREE

START_SECONDS = 30
STOP_SECONDS = 20


class Server:
    """One ``python -m inkdigits serve`` on a free port, with one worker unless options or the environment say more.

    Args:
        script: run in place of ``-m inkdigits``, to serve with something changed.
        process: options of :class:`subprocess.Popen`, such as ``start_new_session`` or where ``stderr`` goes.

    Attributes:
        url: its address, without a slash at the end.
        process: the process that was started.
        line: what it printed when it was ready.
    """

    def __init__(
        self, *options: str, script: Path | None = None, process: dict[str, Any] | None = None, **environ: str
    ) -> None:
        program = ["-m", "inkdigits"] if script is None else [str(script)]
        command = [sys.executable, *program, "serve", "--host", "127.0.0.1", "--port", "0", *options]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **(process or {})}
        self.process = subprocess.Popen(command, env={**os.environ, "INKDIGITS_WORKERS": "1", **environ}, **streams)
        self.line = self.process.stdout.readline()
        address = re.search(r"http://[\d.:]+", self.line)
        if not address:
            raise RuntimeError(f"the server did not start: {self.process.communicate(timeout=STOP_SECONDS)}")
        self.url = address[0]

    def stop(self, by: signal.Signals = signal.SIGTERM) -> str:
        """Stop it and return what it printed after its first line; the exit code is in ``process.returncode``."""
        self.process.send_signal(by)
        return "".join(filter(None, self.process.communicate(timeout=STOP_SECONDS)))

    def close(self) -> None:
        """Make sure that nothing of it is left."""
        try:
            if self.process.poll() is None:
                self.stop()
        finally:
            self.process.kill()
            self.process.stdout.close()
            if self.process.stderr:
                self.process.stderr.close()


DEADLINE = 20  # seconds, for what must happen at all
POLL_SECONDS = 0.02


processes = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="it looks at processes in Linux's /proc")


def answers(url):
    """Return whether a server is there and ready."""
    try:
        return httpx.get(f"{url}/ready").status_code == 200
    except httpx.TransportError:
        return False


def until(condition, seconds=6 * DEADLINE):
    """Wait for a condition to hold; it has long on a busy machine, as a test that passes waits no longer for it."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "what the test waits for did not happen"
        time.sleep(POLL_SECONDS)


def alive(pid):
    """Whether a process runs; one that has ended and waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def workers(server):
    """The worker processes of a server, without multiprocessing's resource tracker."""
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def ask(server):
    return httpx.post(f"{server.url}/predict", content=THREE).json()["digit"]


@contextlib.contextmanager
def served(*command, cwd=ROOT, **environ):
    """The address of a server that is started by Python with these arguments, and ends cleanly."""
    [port] = free_ports(1)
    command = [part.format(port=port) for part in command]
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=cwd,
        env={**os.environ, "PORT": str(port), **{name: text.format(port=port) for name, text in environ.items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    url = f"http://127.0.0.1:{port}"

    def answers():
        assert process.poll() is None, process.communicate()
        with contextlib.suppress(httpx.TransportError):
            return bool(httpx.get(url).status_code)

    try:
        until(answers)
        yield url
        process.send_signal(signal.SIGTERM)
        printed, _ = process.communicate(timeout=STOP_SECONDS)
        assert "Traceback" not in printed, printed
        assert process.returncode in (0, -signal.SIGTERM), printed  # uvicorn ends by the signal that it was sent
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def samples(text: str) -> dict[tuple, float]:
    """(name, labels) → value, as Prometheus' own parser reads it."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
