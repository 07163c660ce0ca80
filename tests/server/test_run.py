"""Starting, stopping and surviving: what ``inkdigits serve`` does around the requests."""

import os
import shutil
import signal
import socket
import threading
from hashlib import sha256

import httpx
import pytest

import inkdigits
from inkdigits.network import SHIPPED, shipped_models
from inkdigits.self_test import DIGIT

from support.requests import THREE
from support.servers import DEADLINE, alive, ask, processes, until, workers

pytestmark = pytest.mark.slow


@pytest.mark.smoke
def test_one_line_when_it_is_ready(start_server):
    server = start_server()
    assert server.line.startswith(f"inkdigits {inkdigits.__version__} serves on {server.url} ")
    assert httpx.get(f"{server.url}/ready").status_code == 200
    assert server.stop() == ""
    assert server.process.returncode == 0


@processes
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("number", ["1", "2"])
def test_it_stops_cleanly(start_server, by, number):
    server = start_server("--workers", number)
    assert ask(server) == DIGIT
    pids = workers(server)
    assert len(pids) == (2 if number == "2" else 0)
    assert server.stop(by) == ""
    assert server.process.returncode == 0
    assert not any(map(alive, pids))


def test_a_request_under_way_is_answered_before_it_stops(start_server):
    server = start_server()
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=DEADLINE) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(THREE))
        connection.sendall(THREE[:100])
        until(lambda: httpx.get(f"{server.url}/health").status_code == 200)
        server.process.send_signal(signal.SIGTERM)

        def refused():
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
            except OSError:
                return True
            return False

        until(refused)
        connection.sendall(THREE[100:])
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"digit":%d' % DIGIT in answer
    assert server.process.wait(DEADLINE) == 0


@processes
def test_a_killed_worker_is_replaced(start_server):
    server = start_server("--workers", "2")
    [victim, survivor] = workers(server)
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(set(workers(server)) - {victim}) == 2)
    assert survivor in workers(server)
    assert ask(server) == DIGIT


@processes
def test_a_frozen_worker_is_replaced_and_its_clients_hear_of_it(start_server):
    server = start_server("--workers", "2", "--frozen-seconds", "1")
    victim, survivor = workers(server)
    os.kill(survivor, signal.SIGSTOP)  # so that the other gets the connection
    with httpx.Client(base_url=server.url) as theirs:
        assert theirs.get("/health").status_code == 200
        os.kill(victim, signal.SIGSTOP)
        os.kill(survivor, signal.SIGCONT)
        with pytest.raises(httpx.RequestError):
            theirs.post("/predict", content=THREE, timeout=DEADLINE)
    until(lambda: not alive(victim) and len(workers(server)) == 2)
    until(lambda: httpx.get(f"{server.url}/ready").status_code == 200)
    assert ask(server) == DIGIT
    assert "sent no heartbeat for 1 seconds" in server.stop()
    assert server.process.returncode == 0


@processes
def test_a_frozen_worker_does_not_hold_up_the_end(start_server):
    server = start_server("--workers", "2", "--frozen-seconds", "1")
    pids = workers(server)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    server.stop()
    assert server.process.returncode == 0
    assert not any(map(alive, pids))


@processes
def test_not_ready_while_a_worker_is_missing(start_server):
    server = start_server("--workers", "2", "--frozen-seconds", "60")
    victim, _ = workers(server)
    os.kill(victim, signal.SIGKILL)
    seen = []

    def back():
        response = httpx.get(f"{server.url}/ready")
        seen.append(response.json().get("detail"))
        return len(seen) > 1 and response.status_code == 200

    until(back)
    assert len(set(workers(server)) - {victim}) == 2


class Load:
    """Asks on kept connections, as fast as it can, until the end of the ``with``."""

    def __init__(self, url, clients=4):
        self.url, self.digits, self.errors, self.end = url, [], [], threading.Event()
        self.threads = [threading.Thread(target=self.ask) for _ in range(clients)]

    def ask(self):
        with httpx.Client(base_url=self.url, timeout=DEADLINE) as client:
            while not self.end.is_set():
                try:
                    self.digits.append(client.post("/predict", content=THREE).json()["digit"])
                except httpx.ConnectError:
                    return  # it takes no more
                except Exception as error:
                    self.errors.append(error)
                    return

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        until(lambda: len(self.digits) > 20)
        return self

    def __exit__(self, *_):
        self.end.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("number", ["1", "2"])
def test_nobody_s_request_fails_when_it_drains(start_server, number):
    server = start_server("--workers", number)
    with Load(server.url) as load:
        assert server.stop() == ""
    assert load.errors == []
    assert set(load.digits) == {DIGIT}


@pytest.fixture
def own_model(tmp_path, recognizer):
    """A copy of the default model's file, to be replaced as an operator does: at once, by renaming."""
    path = tmp_path / "own.onnx"

    def put(source):
        shutil.copy(source, tmp_path / "next")
        (tmp_path / "next").replace(path)

    put(recognizer.model.path)
    return path, put


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
@pytest.mark.parametrize("number", ["1", "2"])
def test_a_new_model_is_taken_up_without_a_dropped_request_and_a_bad_one_is_not(
    start_server, own_model, constant_model, number
):
    path, put = own_model
    server = start_server("--workers", number, "--model", str(path))

    def hashes():
        return {httpx.get(f"{server.url}/model").json()["sha256"] for _ in range(6)}

    old = sha256(path.read_bytes()).hexdigest()
    assert hashes() == {old}
    with Load(server.url) as load:
        put(constant_model)  # which reads an 8 in everything
        server.process.send_signal(signal.SIGHUP)
        assert (
            "the old one stays in use: the model own reads known digits wrong: 0 as 8, 1 as 8"
            in server.process.stderr.readline()
        )
        assert hashes() == {old}
        put(__file__)
        server.process.send_signal(signal.SIGHUP)
        assert "is not a model that ONNX Runtime can load" in server.process.stderr.readline()
        assert hashes() == {old}
        other = next(m for m in shipped_models().values() if m["sha256"] != old)
        put(SHIPPED / other["file"])
        server.process.send_signal(signal.SIGHUP)
        assert f"SHA-256 {other['sha256']}" in server.process.stderr.readline()
        assert hashes() == {other["sha256"]}
        before = len(load.digits)
        until(lambda: len(load.digits) > before + 20)
    assert load.errors == []
    assert set(load.digits) == {DIGIT}
    assert httpx.get(f"{server.url}/ready").status_code == 200
    assert httpx.get(f"{server.url}/model.onnx").headers["etag"] == f'"{other["sha256"]}"'


@processes
def test_a_model_that_was_not_reloaded_gets_into_no_new_worker(start_server, own_model, constant_model):
    path, put = own_model
    server = start_server("--workers", "2", "--model", str(path))
    put(constant_model)
    os.kill(workers(server)[0], signal.SIGKILL)
    assert "ended with -9" in server.process.stderr.readline()
    assert "the others use" in server.process.stderr.readline()
    assert ask(server) == DIGIT
    assert "1 of 2 workers not ready" in httpx.get(f"{server.url}/ready").json()["detail"]


@processes
def test_workers_do_not_outlive_a_killed_supervisor(start_server):
    server = start_server("--workers", "2")
    pids = workers(server)
    server.process.kill()
    until(lambda: not any(map(alive, pids)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--port", "70000"], "port (PORT) must be from 0 to 65535, not 70000"),
        (["--port", "http"], "invalid int value: 'http'"),
        (["--workers", "-1"], "workers (INKDIGITS_WORKERS) must be from 0 to 256, not -1"),
        (["--model", "nothing.onnx"], "no model 'nothing.onnx'"),
        (["--host", "203.0.113.1"], "cannot listen on 203.0.113.1 port 0"),
        (["--cors-origins", "example.com"], "'example.com'"),
        (["--log-level", "loud"], "log_level (INKDIGITS_LOG_LEVEL)"),
        (["--workers", "2", "--model", __file__], "is not a model that ONNX Runtime can load"),
    ],
)
def test_what_cannot_start_says_so_in_one_line(start_server, options, words):
    with pytest.raises(RuntimeError) as caught:
        start_server(*options)
    assert words in str(caught.value).replace('\\"', '"').replace("\\'", "'")
    assert str(caught.value).count("\\n") == 1
    assert "inkdigits: error: " in str(caught.value)


def test_a_port_that_is_taken(start_server):
    server = start_server()
    with pytest.raises(
        RuntimeError, match=r"cannot listen on 127.0.0.1 port \d+: Address already in use; choose another"
    ):
        start_server("--port", server.url.rpartition(":")[2])


def test_requests_are_logged_only_at_debug(start_server):
    quiet, loud = start_server(), start_server("--log-level", "debug")
    assert ask(quiet) == ask(loud) == DIGIT
    assert quiet.stop() == ""
    assert '"POST /predict HTTP/1.1" 200' in loud.stop()
