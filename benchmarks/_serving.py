"""What serving.py measures with: the peers, their environments, a running server, and wrk."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from inkdigits.preprocess import preprocess

from _common import ROOT, encoded, proc_number

sys.path.append(str(ROOT / "tests"))
from support.drawings import picture

HERE = Path(__file__).with_name("serving")  # the peers
BUILD = ROOT / "build" / "serving"  # their environments, and what wrk sends
START_SECONDS = 180  # Ray takes the longest; a machine that is busy makes it longer
STOP_SECONDS = 15
BOUNDARY = "digits"
PHOTO = (4000, 3000)  # pixels
TICKS = os.sysconf("SC_CLK_TCK")
ONNX = ("onnxruntime", "numpy", "pillow")
UVLOOP = ("uvicorn", "uvloop", "httptools")
# Usage data that peers would send.
QUIET = {
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "true",
    "ORT_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
UVICORN = ("--port", "{port}", "--workers", "{workers}", "--no-access-log", "--log-level", "warning")


@dataclass(frozen=True)
class Peer:
    """How a server is installed, started and asked."""

    packages: tuple[str, ...]
    command: tuple[str, ...]  # {bin}, {port} and {workers} are filled in
    path: str = "/predict"
    form: str = "raw"  # how an image is sent; one of those that body() knows
    reads: bool = True  # whether it reads digits
    where: Path = HERE
    environ: tuple[tuple[str, str], ...] = ()


OURS = ((str(ROOT),), ("{bin}/inkdigits", "serve", "--port", "{port}", "--workers", "{workers}"))
PEERS = {
    "constant": Peer(UVLOOP, ("{bin}/uvicorn", "constant:app", *UVICORN), reads=False),
    "inkdigits": Peer(*OURS),
    "inkdigits-multipart": Peer(*OURS, form="multipart"),
    "inkdigits-json": Peer(*OURS, form="pixels"),
    "fastapi": Peer(
        ("fastapi", "python-multipart", *UVLOOP, *ONNX),
        ("{bin}/uvicorn", "plain_fastapi:app", *UVICORN),
        form="multipart",
    ),
    "litserve": Peer(("litserve", *UVLOOP, *ONNX), ("{bin}/python", "litserve_app.py"), form="base64"),
    "litserve-zmq": Peer(
        ("litserve", *UVLOOP, *ONNX),
        ("{bin}/python", "litserve_app.py"),
        form="base64",
        environ=(("FAST_QUEUE", "1"),),
    ),
    "bentoml": Peer(
        ("bentoml", "uvloop", "httptools", *ONNX),
        ("{bin}/bentoml", "serve", "bentoml_app:Digits", "--port", "{port}"),
        "/read",
        "images",
    ),
    "mlserver": Peer(
        ("mlserver", "uvloop", *ONNX),
        ("{bin}/mlserver", "start", "."),
        "/v2/models/digits/infer",
        "tensor",
        where=HERE / "mlserver_app",
    ),
    # https://docs.ray.io/en/latest/serve/advanced-guides/performance.html
    "ray": Peer(
        ("ray[serve]", *ONNX),
        ("{bin}/python", "ray_app.py"),
        environ=(
            ("RAY_SERVE_ENABLE_HA_PROXY", "1"),
            ("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60"),  # a machine that is busy takes longer than the default
            ("RAY_SERVE_THROUGHPUT_OPTIMIZED", "1"),
        ),
    ),
}


@cache
def samples() -> list[tuple[int, bytes, list[int]]]:
    """Ten digits: which, as a 28×28 PNG, and as pixels."""
    found = []
    for digit in range(10):
        pixels = np.rint(preprocess(picture(digit)).image * 255).astype(np.uint8)
        found.append((digit, encoded(Image.fromarray(pixels), "PNG"), pixels.ravel().tolist()))
    return found


def photo() -> bytes:
    """A digit on a sheet with the grain of a camera, as a JPEG of 12 megapixels."""
    width, height = PHOTO
    sheet = Image.fromarray(picture(3, 400, height=300)).resize(PHOTO, Image.Resampling.BICUBIC)
    grain = np.random.default_rng(0).normal(0, 4, (height, width))
    return encoded(Image.fromarray(np.clip(np.asarray(sheet) * 0.8 + 25 + grain, 0, 255).astype(np.uint8)), "JPEG")


def body(form: str, png: bytes, pixels: list[int]) -> tuple[bytes, str]:
    """A request's body and Content-Type: raw, pixels, base64 or tensor (Open Inference) in JSON, or multipart.

    The form ``images`` is multipart with a field of that name.
    """
    if form == "raw":
        return png, "image/png"
    if form == "pixels":
        return json.dumps({"pixels": pixels}).encode(), "application/json"
    if form == "base64":
        return json.dumps({"image": b64encode(png).decode()}).encode(), "application/json"
    if form == "tensor":
        tensor = {"name": "image", "shape": [1, 784], "datatype": "UINT8", "data": pixels}
        return json.dumps({"inputs": [tensor]}).encode(), "application/json"
    field = "images" if form == "images" else "file"
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="a.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    )
    return head.encode() + png + f"\r\n--{BOUNDARY}--\r\n".encode(), f"multipart/form-data; boundary={BOUNDARY}"


@cache
def installed(name: str) -> Path:
    """The bin folder of the environment of this name, made where it is not there or is to have other packages."""
    packages = PEERS[name].packages
    folder = BUILD / name
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    stamp = folder / ".installed"
    if not stamp.exists() or stamp.read_text() != " ".join(packages):
        print(f"installs {name} into {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([*pip, *packages], check=True)
        stamp.write_text(" ".join(packages))
    elif str(ROOT) in packages:  # it may have changed since
        subprocess.run([*pip, "--no-deps", "--force-reinstall", str(ROOT)], check=True)
    return folder / "bin"


def size_of(bin: Path) -> int:
    """Bytes of an environment, but for pip and what it compiled."""
    left_out = ("/pip/", "/setuptools/", "/__pycache__/")
    files = (f for f in bin.parent.rglob("*") if f.is_file() and not f.is_symlink())
    return sum(f.stat().st_size for f in files if not any(part in f.as_posix() for part in left_out))


@dataclass(frozen=True)
class Running:
    """A server that runs, and how long it took until its first answer, in seconds."""

    process: subprocess.Popen[bytes]
    port: int
    start: float

    def family(self) -> list[int]:
        """Its processes: the one that was started, and all below it."""
        parents: dict[int, list[int]] = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(path.read_text().rpartition(")")[2].split()[1])
            except OSError:  # it has ended
                continue
            parents.setdefault(parent, []).append(int(path.parent.name))
        found = [self.process.pid]
        for pid in found:
            found += parents.get(pid, [])
        return found

    def memory(self) -> int:
        """Bytes that are its own: proportional set sizes, so that what its processes share counts once."""
        return sum(proc_number(pid, "smaps_rollup", r"^Pss:\s+(\d+)") << 10 for pid in self.family())

    def cpu(self) -> float:
        """Seconds of processor time that it has taken."""
        user_and_system = (11, 12)  # after the name in brackets
        ticks = (
            proc_number(pid, "stat", rf"\) (?:\S+ ){{{at}}}(\d+)") for pid in self.family() for at in user_and_system
        )
        return sum(ticks) / TICKS


@contextmanager
def served(peer: Peer, bin: Path, model: Path, port: int, workers: int) -> Iterator[Running]:
    """The server, once it answers."""
    environ = {**os.environ, **QUIET, "MODEL": str(model), "INKDIGITS_MODEL": str(model), "PORT": str(port)}
    environ |= {"WORKERS": str(workers), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE)}
    environ |= {"MLSERVER_HTTP_PORT": str(port), "MLSERVER_PARALLEL_WORKERS": "0", **dict(peer.environ)}
    command = [part.format(bin=bin, port=port, workers=workers) for part in peer.command]
    if not isinstance(_asked(peer, port), urllib.error.URLError):
        raise RuntimeError(f"something else listens on port {port} already: choose another by --port")
    start = time.monotonic()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=peer.where, env=environ, stdout=log, stderr=log, start_new_session=True)
        running = Running(process, port, 0.0)
        try:
            while (fault := _asked(peer, port)) is not None:
                if process.poll() is not None or time.monotonic() - start > START_SECONDS:
                    log.seek(0)
                    raise RuntimeError(f"{command[0]} did not start: {fault}\n{log.read().decode()[-3000:]}")
                time.sleep(0.05)
            yield Running(process, port, time.monotonic() - start)
        finally:
            _end(running)


def _asked(peer: Peer, port: int) -> Exception | None:
    """What went wrong with a request."""
    try:
        ask(peer, port, *samples()[0][1:])
    except (OSError, ValueError, LookupError) as error:
        return error
    return None


def _end(running: Running) -> None:
    """Stop a server as its users do, and what it leaves behind by force."""
    family = running.family()
    _signal(os.killpg, running.process.pid, signal.SIGTERM)
    try:
        running.process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        running.process.kill()
        running.process.wait()
    for pid in family[1:]:
        _signal(os.kill, pid, signal.SIGKILL)
    _signal(os.killpg, running.process.pid, signal.SIGKILL)  # those whose parents ended before them
    end = time.monotonic() + STOP_SECONDS
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", running.port), timeout=1).close()
        except OSError:  # nobody listens any more, and the next may
            return
        time.sleep(0.1)


def _signal(send: Callable[[int, int], None], to: int, number: int) -> None:
    with suppress(OSError):  # it has ended by itself
        send(to, number)


def ask(peer: Peer, port: int, png: bytes, pixels: list[int]) -> int:
    """The digit that the server reads."""
    data, kind = body(peer.form, png, pixels)
    request = urllib.request.Request(f"http://127.0.0.1:{port}{peer.path}", data, {"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=10) as response:
        answer = json.load(response)
    if isinstance(answer, list):
        return answer[0]["digit"]
    return answer["outputs"][0]["data"][0] if "outputs" in answer else answer["digit"]


def load_of(name: str, bodies: list[bytes], kind: str) -> Path:
    """The script that has wrk send these in turn."""
    folder = BUILD / "load" / name
    folder.mkdir(parents=True, exist_ok=True)
    for i, data in enumerate(bodies):
        (folder / str(i)).write_bytes(data)
    script = folder / "ask.lua"
    script.write_text(
        f"""local requests, n = {{}}, 0
init = function()
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "{kind}"
  for i = 1, {len(bodies)} do
    local file = io.open("{folder}/" .. (i - 1), "rb")
    requests[i] = wrk.format(nil, nil, nil, file:read("*a"))
    file:close()
  end
end
request = function()
  n = n % #requests + 1
  return requests[n]
end
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format("%f %f %f %d\\n", summary.requests / summary.duration * 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, e.status + e.connect + e.read + e.write + e.timeout))
end
"""
    )
    return script


def wrk(script: Path, peer: Peer, port: int, connections: int, seconds: int) -> subprocess.Popen[str]:
    """wrk, started, with one thread."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", script]
    return subprocess.Popen([*command, f"http://127.0.0.1:{port}{peer.path}"], stdout=subprocess.PIPE, text=True)


def figures(load: subprocess.Popen[str]) -> dict[str, float]:
    """What wrk found: requests a second, p50 and p99 in ms, and failed requests."""
    output, _ = load.communicate()
    if load.returncode:
        raise RuntimeError(f"wrk ended with {load.returncode}: {output}")
    rate, p50, p99, errors = map(float, output.splitlines()[-1].split())
    return {"rate": round(rate), "p50_ms": round(p50, 3), "p99_ms": round(p99, 3), "errors": int(errors)}
