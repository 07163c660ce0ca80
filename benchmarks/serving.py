"""Serve one model by inkdigits and by others, and measure each in the same way.

    python benchmarks/serving.py                        # all of them
    python benchmarks/serving.py inkdigits fastapi constant --seconds 2 --workers 1

Each server has its own virtual environment under build/serving, which this installs, and runs in its documented best
setting with one thread of ONNX Runtime a worker. Every one is asked for ten digits, 28×28 PNGs, first, and not measured
unless its answers are right. wrk (https://github.com/wg/wrk) makes the load. Results go to results/serving.csv.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from inkdigits.image import normalise
from inkdigits.recognizer import find_model

from _common import ROOT, record

sys.path.append(str(ROOT / "tests"))

HERE = Path(__file__).with_name("serving")  # the peers

BUILD = ROOT / "build" / "serving"
ONNX = ("onnxruntime", "numpy", "pillow")
UVLOOP = ("uvicorn", "uvloop", "httptools")
START_SECONDS = 120
BOUNDARY = "digits"


@dataclass(frozen=True)
class Peer:
    """How a server is installed, started and asked."""

    packages: tuple[str, ...]
    command: tuple[str, ...]  # {bin}, {port} and {workers} are filled in
    path: str = "/predict"
    form: str = "raw"  # how an image is sent: raw, multipart, or the Open Inference Protocol's JSON
    right: bool = True  # whether its answers are to be right
    where: Path = HERE


UVICORN = ("--port", "{port}", "--workers", "{workers}", "--no-access-log", "--log-level", "warning")
PEERS = {
    "inkdigits": Peer((str(ROOT),), ("{bin}/inkdigits", "serve", "--port", "{port}", "--workers", "{workers}")),
    "inkdigits-multipart": Peer(
        (str(ROOT),), ("{bin}/inkdigits", "serve", "--port", "{port}", "--workers", "{workers}"), form="multipart"
    ),
    "inkdigits-json": Peer(
        (str(ROOT),), ("{bin}/inkdigits", "serve", "--port", "{port}", "--workers", "{workers}"), form="pixels"
    ),
    "constant": Peer(UVLOOP, ("{bin}/uvicorn", "constant:app", *UVICORN), right=False),
    "fastapi": Peer(
        ("fastapi", "python-multipart", *UVLOOP, *ONNX),
        ("{bin}/uvicorn", "plain_fastapi:app", *UVICORN),
        form="multipart",
    ),
    "litserve": Peer(("litserve", *UVLOOP, *ONNX), ("{bin}/python", "litserve_app.py")),
    "bentoml": Peer(
        ("bentoml", "uvloop", "httptools", *ONNX),
        ("{bin}/bentoml", "serve", "bentoml_app:Digits", "--port", "{port}"),
    ),
    "mlserver": Peer(
        ("mlserver", "uvloop", *ONNX),
        ("{bin}/mlserver", "start", "."),
        "/v2/models/digits/infer",
        "tensor",
        where=HERE / "mlserver_app",
    ),
    "ray": Peer(("ray[serve]", *ONNX), ("{bin}/python", "ray_app.py")),
}


def samples() -> list[tuple[int, bytes, list[int]]]:
    """Ten digits: which, as a 28×28 PNG, and as pixels."""
    from drawings import picture

    found = []
    for digit in range(10):
        pixels = np.rint(normalise(picture(digit)).image * 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        found.append((digit, file.getvalue(), pixels.ravel().tolist()))
    return found


def body(form: str, png: bytes, pixels: list[int]) -> tuple[bytes, str]:
    """A request's body and Content-Type."""
    if form == "raw":
        return png, "image/png"
    if form == "pixels":
        return json.dumps({"pixels": pixels}).encode(), "application/json"
    if form == "tensor":
        tensor = {"name": "image", "shape": [1, 784], "datatype": "UINT8", "data": pixels}
        return json.dumps({"inputs": [tensor]}).encode(), "application/json"
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    return head.encode() + png + f"\r\n--{BOUNDARY}--\r\n".encode(), f"multipart/form-data; boundary={BOUNDARY}"


def installed(name: str, peer: Peer) -> Path:
    """The bin folder of the peer's environment, made where it is not there."""
    folder = BUILD / name.partition("-")[0]
    stamp = folder / ".installed"
    if not stamp.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        command = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", *peer.packages]
        subprocess.run(command, check=True)
        stamp.touch()
    return folder / "bin"


@contextmanager
def served(peer: Peer, bin: Path, model: Path, port: int, workers: int) -> Iterator[tuple[int, float]]:
    """The server running: its process group and the seconds that its start took."""
    environ = {**os.environ, "MODEL": str(model), "INKDIGITS_MODEL": str(model), "PORT": str(port)}
    environ |= {"WORKERS": str(workers), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE)}
    environ |= {
        "MLSERVER_HTTP_PORT": str(port),
        "MLSERVER_PARALLEL_WORKERS": "0",
        "RAY_SERVE_EXPERIMENTAL_HAPROXY": "1",
    }
    command = [part.format(bin=bin, port=port, workers=workers) for part in peer.command]
    start = time.monotonic()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=peer.where, env=environ, stdout=log, stderr=log, start_new_session=True)
        try:
            _, png, pixels = samples()[0]
            while True:
                try:
                    ask(peer, port, png, pixels)
                    break
                except OSError:
                    if process.poll() is not None or time.monotonic() - start > START_SECONDS:
                        log.seek(0)
                        raise SystemExit(f"{command[0]} did not start:\n{log.read().decode()[-3000:]}") from None
                    time.sleep(0.05)
            yield process.pid, time.monotonic() - start
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def ask(peer: Peer, port: int, png: bytes, pixels: list[int]) -> int:
    """The digit that the server reads."""
    data, kind = body(peer.form, png, pixels)
    request = urllib.request.Request(f"http://127.0.0.1:{port}{peer.path}", data, {"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=10) as response:
        answer = json.load(response)
    return answer["outputs"][0]["data"][0] if "outputs" in answer else answer["digit"]


def memory(group: int) -> int:
    """Bytes of the process group that are its own (PSS)."""
    total = 0
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(path.name)) == group:
                total += int(re.search(r"^Pss:\s+(\d+)", (path / "smaps_rollup").read_text(), re.M)[1]) << 10
        except (OSError, TypeError):
            continue
    return total


def wrk(peer: Peer, port: int, connections: int, seconds: int, warm: bool = False) -> dict[str, float]:
    """Requests a second, p50 and p99 in ms; an error counts against the peer."""
    script = BUILD / "ask.lua"
    bodies = [body(peer.form, png, pixels) for _, png, pixels in samples()]
    listed = ",".join('"' + "".join(f"\\{byte:03d}" for byte in data) + '"' for data, _ in bodies)
    script.write_text(
        f"local bodies = {{{listed}}}\nlocal n = 0\n"
        f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "{bodies[0][1]}"\n'
        "request = function() n = n % #bodies + 1; return wrk.format(nil, nil, nil, bodies[n]) end\n"
        "done = function(s, l) io.write(string.format("
        '"%f %f %f %d\\n", s.requests / s.duration * 1e6, l:percentile(50) / 1e3, l:percentile(99) / 1e3, '
        "s.errors.status + s.errors.connect + s.errors.read + s.errors.write + s.errors.timeout)) end\n"
    )
    command = ["wrk", "-t1", f"-c{connections}", f"-d{1 if warm else seconds}s", "-s", script]
    done = subprocess.run([*command, f"http://127.0.0.1:{port}{peer.path}"], capture_output=True, text=True, check=True)
    rate, p50, p99, errors = map(float, done.stdout.splitlines()[-1].split())
    return {"rate": round(rate), "p50_ms": round(p50, 3), "p99_ms": round(p99, 3), "errors": int(errors)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peers", nargs="*", help=f"which of: {', '.join(PEERS)}; all by default")
    parser.add_argument("--model", default="lenet", help="a shipped model, the same in all (default: lenet)")
    parser.add_argument("--seconds", type=int, default=10, help="of each measurement (default: 10)")
    parser.add_argument("--runs", type=int, default=3, help="of each measurement (default: 3)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--connections", default="1,16,64", help="(default: 1,16,64)")
    parser.add_argument("--port", type=int, default=9797)
    args = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("wrk is not installed; on Debian: apt-get install wrk")
    if unknown := set(args.peers) - set(PEERS):
        parser.error(f"no peer {sorted(unknown)[0]!r}; there are: {', '.join(PEERS)}")
    _, model, _ = find_model(args.model)
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in args.peers or PEERS:
        peer = PEERS[name]
        bin = installed(name, peer)
        size = sum(f.stat().st_size for f in bin.parent.rglob("*") if f.is_file() and not f.is_symlink()) >> 20
        with served(peer, bin, model, args.port, args.workers) as (group, start):
            wrong = [d for d, png, pixels in samples() if peer.right and ask(peer, args.port, png, pixels) != d]
            if wrong:
                raise SystemExit(f"{name} reads {wrong} wrong: it is not measured")
            for connections in map(int, args.connections.split(",")):
                wrk(peer, args.port, connections, args.seconds, warm=True)
                for run in range(args.runs):
                    figures = wrk(peer, args.port, connections, args.seconds)
                    record(
                        server=name,
                        model=args.model,
                        connections=connections,
                        run=run,
                        **figures,
                        memory_mb=memory(group) >> 20,
                        start_s=round(start, 2),
                        installed_mb=size,
                        workers=args.workers,
                        seconds=args.seconds,
                    )


if __name__ == "__main__":
    main()
