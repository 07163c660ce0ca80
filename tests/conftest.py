"""What the tests share: the recognizer, and servers that run as users run them."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from inkdigits import Recognizer
from inkdigits.cli import main
from inkdigits.settings import Settings

pytest.register_assert_rewrite("support")

from support.servers import START_SECONDS, Server  # noqa: E402


@pytest.fixture(scope="session")
def recognizer() -> Recognizer:
    """The shipped default model, or the one that INKDIGITS_MODEL names."""
    return Recognizer(Settings.from_env().model or None)


@pytest.fixture
def run_command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[Any, str, str]]:
    """Runs any command in this process: (exit code, standard output, standard error)."""

    def run_command(*argv: Any) -> tuple[Any, str, str]:
        capsys.readouterr()
        try:
            code: Any = main([str(each) for each in argv])
        except SystemExit as exit:
            code = exit.code
        return code, *capsys.readouterr()

    return run_command


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
