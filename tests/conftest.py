"""What the tests share: the recogniser, and servers that run as users run them."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from inkdigits import Recognizer
from inkdigits.settings import Settings

START_SECONDS = 30
STOP_SECONDS = 20


@pytest.fixture(scope="session")
def recognizer() -> Recognizer:
    """The shipped default model, or the one that INKDIGITS_MODEL names."""
    return Recognizer(Settings.from_env().model or None)


class Server:
    """One ``python -m inkdigits serve`` on a free port, with one worker unless options or the environment say more.

    Args:
        script: run in place of ``-m inkdigits``, to serve with something changed.
        process: options of :class:`subprocess.Popen`, such as ``start_new_session`` or a ``stderr`` of one's own.

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


@pytest.fixture
def start_server() -> Iterator[Callable[..., Server]]:
    """Starts servers with options of one's own: ``start_server("--workers", "2", INKDIGITS_MODEL=…)``."""
    with contextlib.ExitStack() as stack:

        def start(*options: str, **environ: Any) -> Server:
            server = Server(*options, **environ)
            stack.callback(server.close)
            return server

        yield start


@pytest.fixture(scope="session")
def live_server() -> Iterator[str]:
    """The address of a server with the default settings, shared by all tests. It must not fault in any of them."""
    server = Server()
    try:
        yield server.url
        printed = server.stop()
        assert server.process.returncode == 0
        assert "Traceback" not in printed, printed
    finally:
        server.close()


@pytest.fixture(scope="session")
def client(live_server: str) -> Iterator[httpx.Client]:
    """An HTTP client of :func:`live_server`."""
    with httpx.Client(base_url=live_server, timeout=START_SECONDS) as client:
        yield client


@pytest.fixture(scope="session")
def constant_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that reads an 8 in everything, as a broken one might."""
    import onnx
    from onnx import TensorProto, helper

    zeros = helper.make_tensor("zeros", TensorProto.FLOAT, [784, 10], [0.0] * 7840)
    bias = helper.make_tensor("bias", TensorProto.FLOAT, [10], [0.0] * 8 + [9.0, 0.0])
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["image"], ["flat"]),
            helper.make_node("Gemm", ["flat", "zeros", "bias"], ["logits"]),
        ],
        "constant",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, 28, 28])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 10])],
        [zeros, bias],
    )
    path = tmp_path_factory.mktemp("models") / "constant.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path
