"""Signals, and what a process may open: the server stops in time, and nothing but what is meant to stop it does."""

import contextlib
import http.client
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from PIL import Image

from inkdigits.self_test import DIGIT
from inkdigits.server.processes.run import GRACE_SECONDS

from support.fronts import free_ports
from support.requests import THREE
from support.servers import DEADLINE, START_SECONDS, alive, answers, ask, processes, samples, until, workers

pytestmark = [pytest.mark.slow, processes]  # they look at processes, or send what Windows has no signal for

# A picture that a thread works on without end: asleep, or in Python code.
STUCK = """
import sys, time
from PIL import ImageFile

load = ImageFile.ImageFile.load

def stuck(self):
    while self.width > {wide}:
        {work}
    return load(self)

ImageFile.ImageFile.load = stuck

if __name__ == "__main__":
    {main}
"""
SERVE = "from inkdigits.cli import main; sys.exit(main())"
UVICORN = "import uvicorn; sys.exit(uvicorn.main())"


def stuck(folder: Path, work="time.sleep(3600)", main=SERVE, wide=1000) -> Path:
    """A program that serves, and never comes to the end of a picture that is wider."""
    path = folder / "stuck.py"
    path.write_text(STUCK.format(work=work, main=main, wide=wide))
    return path


def large() -> bytes:
    """A picture that is read in a thread."""
    file = io.BytesIO()
    Image.effect_noise((1200, 1200), 50).save(file, "JPEG")
    return file.getvalue()


class Asked:
    """A request whose answer another thread waits for."""

    def __init__(self, url: str, body: bytes) -> None:
        self.answer: httpx.Response | None = None
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._ask, args=(url, body))
        self._thread.start()

    def _ask(self, url: str, body: bytes) -> None:
        try:
            self.answer = httpx.post(f"{url}/predict", content=body, timeout=60)
        except httpx.HTTPError as error:
            self.error = error

    def result(self) -> httpx.Response:
        self._thread.join(60)
        assert self.answer is not None, self.error
        return self.answer


def heavy(url: str) -> float:
    """How many requests the threads have."""
    return samples(httpx.get(f"{url}/metrics").text)[("inkdigits_queue_length", ("queue", "heavy"))]


def refused_as_stopping(answer: httpx.Response) -> bool:
    document = answer.json()
    return (answer.status_code, document["type"]) == (503, "/docs#stopping") and "retry-after" in answer.headers


@pytest.mark.parametrize("work", ["time.sleep(3600)", "pass"])
@pytest.mark.parametrize("number", ["1", "2"])
def test_it_stops_after_the_grace_whatever_a_thread_does(start_server, tmp_path, number, work):
    server = start_server("--workers", number, "--log-requests", "on", script=stuck(tmp_path, work))
    pids = workers(server)
    asked = [Asked(server.url, large()) for _ in range(3)]  # the third waits for a thread, or another worker has it
    until(lambda: heavy(server.url) == 3)
    assert ask(server) == DIGIT
    server.process.send_signal(signal.SIGTERM)
    assert all(refused_as_stopping(each.result()) for each in asked)
    printed = "".join(server.process.communicate(timeout=GRACE_SECONDS + DEADLINE))
    assert server.process.returncode == 0
    assert not any(map(alive, pids))
    assert printed.count('"POST /predict HTTP/1.1" 503') == 3  # all of the log is there
    assert "Traceback" not in printed


@pytest.mark.parametrize("work", ["time.sleep(3600)", "pass"])
def test_it_stops_even_where_the_event_loop_itself_is_stuck(start_server, tmp_path, work):
    server = start_server(script=stuck(tmp_path, work, wide=100))
    file = io.BytesIO()
    Image.new("L", (111, 111), 255).save(file, "BMP")
    asked = Asked(server.url, file.getvalue())

    def deaf():
        with contextlib.suppress(httpx.TimeoutException):
            httpx.get(f"{server.url}/health", timeout=1)
            return False
        return True

    until(deaf)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(GRACE_SECONDS + DEADLINE) == 0
    with pytest.raises(AssertionError, match=r"RemoteProtocolError|ReadError"):
        asked.result()


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("number", ["1", "2"])
def test_a_second_signal_does_not_wait_for_the_grace(start_server, tmp_path, number, by):
    server = start_server("--workers", number, script=stuck(tmp_path))
    asked = Asked(server.url, large())
    until(lambda: heavy(server.url) == 1)
    server.process.send_signal(by)
    time.sleep(1)  # sooner, it would count as the same
    assert server.process.poll() is None
    server.process.send_signal(by)
    server.process.communicate(timeout=GRACE_SECONDS - 2)
    assert server.process.returncode == 0
    assert refused_as_stopping(asked.result())


@pytest.mark.parametrize("number", ["1", "2"])
def test_one_signal_that_comes_twice_cuts_no_request_short(start_server, number):
    """`timeout` and others send it to the process and to its group, and a supervisor passes it on."""
    server = start_server("--workers", number, process={"start_new_session": True})
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=DEADLINE) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(THREE))
        connection.sendall(THREE[:100])
        until(lambda: httpx.get(f"{server.url}/health").status_code == 200)
        server.process.send_signal(signal.SIGTERM)
        os.killpg(server.process.pid, signal.SIGTERM)
        time.sleep(1)
        connection.sendall(THREE[100:])
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert server.process.wait(DEADLINE) == 0


def test_under_another_server_no_thread_holds_up_the_end(tmp_path):
    [port] = free_ports(1)
    options = ["inkdigits.server:create_app", "--factory", "--port", str(port), "--timeout-graceful-shutdown", "1"]
    command = [sys.executable, str(stuck(tmp_path, main=UVICORN)), *options]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            until(lambda: answers(url))
            asked = Asked(url, large())
            until(lambda: heavy(url) == 1)
            process.terminate()
            assert refused_as_stopping(asked.result())
            process.wait(DEADLINE)
        finally:
            process.kill()


@pytest.mark.parametrize("number", ["1", "2"])
def test_a_terminal_that_closes_reloads_the_model_and_ends_nobody(start_server, number):
    server = start_server("--workers", number, process={"start_new_session": True})
    pids = workers(server)
    os.killpg(server.process.pid, signal.SIGHUP)
    assert "the model was reloaded" in server.process.stderr.readline()
    assert workers(server) == pids
    assert ask(server) == DIGIT
    assert server.stop() == ""
    assert server.process.returncode == 0


def test_workers_that_are_starting_are_not_ended_by_a_terminal_either(start_server):
    server = start_server("--workers", "2", process={"start_new_session": True})
    for _ in range(2):
        old = workers(server)
        os.kill(old[0], signal.SIGKILL)
        until(lambda old=old: len(set(workers(server)) - set(old)) == 1)
        [new] = set(workers(server)) - set(old)
        while httpx.get(f"{server.url}/ready").status_code != 200:
            os.killpg(server.process.pid, signal.SIGHUP)
            time.sleep(0.05)
        assert new in workers(server)
    assert server.stop().count("ended with") == 2  # those that were killed
    assert server.process.returncode == 0


@pytest.mark.parametrize("number", ["1", "2"])
@pytest.mark.parametrize("name", ["SIGUSR1", "SIGUSR2", "SIGPIPE"])
def test_signals_that_mean_nothing_to_it_do_nothing(start_server, number, name):
    server = start_server("--workers", number, process={"start_new_session": True})
    pids = workers(server)
    os.killpg(server.process.pid, getattr(signal, name))
    time.sleep(0.5)
    assert ask(server) == DIGIT
    assert workers(server) == pids
    assert server.stop() == ""
    assert server.process.returncode == 0


def test_after_a_stop_by_the_terminal_slow_workers_are_not_taken_for_frozen(start_server):
    server = start_server("--workers", "2", "--frozen-seconds", "3", process={"start_new_session": True})
    pids = workers(server)
    time.sleep(2)  # until both have given signs of life
    os.killpg(server.process.pid, signal.SIGSTOP)  # a group without a terminal is deaf to SIGTSTP
    time.sleep(4)
    server.process.send_signal(signal.SIGCONT)
    time.sleep(1)  # a busy machine goes on with one after the other
    os.killpg(server.process.pid, signal.SIGCONT)
    until(lambda: httpx.get(f"{server.url}/ready").status_code == 200)
    assert workers(server) == pids
    assert server.stop() == ""


def limited(files: int):
    """Options of a process that may open so many files."""
    import resource

    return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))}


@pytest.mark.parametrize("number", ["1", "2"])
def test_with_few_files_clients_hear_that_there_are_too_many(start_server, number):
    server = start_server("--workers", number, process=limited(40))
    host, port = server.url.removeprefix("http://").split(":")
    with contextlib.ExitStack() as stack:
        for _ in range(60):
            silent = stack.enter_context(socket.create_connection((host, int(port)), timeout=DEADLINE))
        heard = b"".join(iter(lambda: silent.recv(4096), b""))
        assert heard.startswith(b"HTTP/1.1 503 ")
        asking = http.client.HTTPConnection(host, int(port), timeout=DEADLINE)
        asking.request("GET", "/health")
        assert asking.getresponse().status == 503
        asking.close()
    until(lambda: httpx.get(f"{server.url}/health").status_code == 200)
    assert ask(server) == DIGIT
    [line] = server.stop().splitlines()  # no other: the process was never out of files
    assert (
        "a process accepts 7 connections, not 4096: it may open only 40 files; raise the limit with ulimit -n" in line
    )


@pytest.mark.parametrize(("number", "least"), [("1", 33), ("2", 40), ("8", 64)])
def test_with_too_few_files_the_start_says_so(number, least):
    command = [sys.executable, "-m", "inkdigits", "serve", "--port", "0", "--workers", number]
    done = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, **limited(20))
    words = f"this process may open 20 files, and the server needs at least {least}; raise the limit"
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert (done.returncode, done.stdout) == (2, "")


def test_a_soft_limit_is_raised(start_server):
    import resource

    hard = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 5000)
    server = start_server(process={"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))})
    assert f" {hard} " in next(
        line for line in Path(f"/proc/{server.process.pid}/limits").read_text().splitlines() if "open files" in line
    )
    assert server.stop() == ""


def test_several_workers_on_windows_are_refused_with_what_to_do(tmp_path):
    script = tmp_path / "windows.py"
    script.write_text(
        "import inkdigits.server, sys; from inkdigits.cli import main; sys.platform = 'win32'; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, str(script), "serve", "--workers", "2"], capture_output=True, text=True, timeout=START_SECONDS
    )
    assert "workers (INKDIGITS_WORKERS) is 2, and on Windows one process serves; leave it out" in done.stderr
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (2, 1, "")
