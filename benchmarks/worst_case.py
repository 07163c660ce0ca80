"""The dearest request of each form: what it costs, and how long small requests wait beside it.

Sizes, formats, modes, scans, frames, tags, nesting and escapes are searched for what one request within the limits can
cost: each is sent to a server with one worker, whose processor time and memory are read from /proc (Linux). The dearest
of each form are then sent without pause by two clients to a server with two workers, while another asks for small
digits. At last 64 slivers come at once, and it is seen whether a worker dies.

    python benchmarks/worst_case.py            # some five minutes on two cores
    python benchmarks/worst_case.py --quick    # one and a half: smaller pictures, shorter loads
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from inkdigits.preprocess.files import MAX_SIDE, WEBP_SHARE
from inkdigits.recognizer import Recognizer

from _common import ROOT, encoded, keep_json, make_parser, proc_number
from _load import children, server

sys.path.append(str(ROOT / "tests"))
from support.drawings import picture
from support.files import bmp, chunk, png, scans, tiff

SIDE = 4096  # pixels of the largest picture that is read
BODY = 20 << 20  # bytes of the largest body
ATTACKERS = 2
SLIVERS = 64
ANSWER_SECONDS = 60
KEPT_MB = 8  # that a server may have kept of a request when it is asked the next
_LENGTH = re.compile(rb"(?i)content-length: (\d+)")
BOUNDS = {"cpu_s": 1.0, "memory_mb": 256.0, "p99_ms": 50.0, "p99_photo_ms": 60.0}
MULTIPART = "multipart/form-data; boundary=x"


@dataclass(frozen=True)
class Request:
    """One request, and which form it is of."""

    form: str
    name: str
    body: bytes
    kind: str = "application/octet-stream"
    path: str = "/predict"

    def wire(self) -> bytes:
        head = f"POST {self.path} HTTP/1.1\r\nHost: x\r\nContent-Type: {self.kind}\r\nContent-Length: {len(self.body)}"
        return head.encode() + b"\r\n\r\n" + self.body


def finest(side: int, height: int | None = None) -> np.ndarray:
    """Ink that is not seen at first and everywhere at a closer look, on paper in light and shadow."""
    y, x = np.ogrid[: height or side, :side]
    cell = max(1, side // 800)
    light = 60 * np.sign(np.sin(x / side * 9)) * np.sign(np.sin(y / (height or side) * 9))
    return (128 + light - 60 * ((y // cell % 2) ^ (x // cell % 2))).clip(0, 255).astype(np.uint8)


def pictures(side: int) -> Iterator[tuple[str, bytes]]:
    """Single files, by form and what they are."""
    rng = np.random.default_rng(0)
    fine = Image.fromarray(finest(side))
    soft = Image.fromarray(rng.integers(0, 256, (side // 16, side // 16, 3), np.uint8)).resize((side, side))
    blocks = Image.fromarray(rng.integers(0, 256, (side // 8, side // 8, 3), np.uint8)).resize((side, side), 0)
    clear = Image.merge("RGBA", (*blocks.split(), blocks.getchannel(0)))
    few = Image.fromarray(rng.integers(0, 8, (side, side), np.uint8))
    yield "PNG grey, finest", encoded(fine, "PNG", compress_level=1)
    yield "PNG color", encoded(blocks, "PNG", compress_level=1)
    yield "PNG with alpha", encoded(clear, "PNG", compress_level=1)
    yield "PNG palette with alpha", encoded(few.convert("P"), "PNG", transparency=bytes(range(256)), compress_level=1)
    yield "PNG grey of 16 bits", encoded(Image.fromarray(np.asarray(few).astype(np.uint16) * 4001), "PNG")
    yield "PNG of 16 bits with alpha", png(side, side, zlib.compress(bytes((8 * side + 1) * side)), depth=16, color=6)
    yield "PNG small, finest", encoded(Image.fromarray(finest(800)), "PNG")
    yield "PNG drawing, finest", encoded(Image.fromarray(finest(511)), "PNG")
    yield "PNG drawing, finest, 280", encoded(Image.fromarray(finest(280)), "PNG")
    texts = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 20), 9)) * 2000
    yield "PNG with texts", png(28, 28, zlib.compress(bytes(29 * 28)), texts)
    yield "PNG in pieces", png(28, 28, zlib.compress(bytes(29 * 28)), chunk(b"IDAT", b"") * 9_000)
    for quality in (85, 100):
        yield f"JPEG baseline {quality}", encoded(soft, "JPEG", quality=quality)
        yield f"JPEG progressive {quality}", encoded(soft, "JPEG", quality=quality, progressive=True)
    yield "JPEG noise", encoded(few.point(lambda v: v * 30), "JPEG", quality=70, progressive=True)
    yield "JPEG of 64 scans", scans(64, (side, side))
    yield "JPEG of 100 scans, smaller", scans(100, (side * 3 // 4, side * 3 // 4))
    yield "JPEG of 100 scans, a drawing", scans(100, (512, 512))
    yield "JPEG CMYK", encoded(soft.convert("CMYK"), "JPEG")
    edge = int(side * WEBP_SHARE**0.5)
    most = (0, 0, edge, edge)
    yield "WebP lossy", encoded(soft.crop(most), "WEBP", quality=80, method=0)
    yield "WebP lossless", encoded(blocks.crop(most), "WEBP", lossless=True, method=0)
    yield "WebP lossless with alpha", encoded(clear.crop(most), "WEBP", lossless=True, method=0)
    yield "WebP lossless palette", encoded(few.crop(most).convert("RGB"), "WEBP", lossless=True, method=0)
    yield "WebP lossless, in the process", encoded(blocks.crop((0, 0, 1024, 1024)), "WEBP", lossless=True, method=0)
    yield "GIF", encoded(few, "GIF")
    yield "GIF comments", encoded(Image.new("P", (28, 28)), "GIF", comment=b"x" * 3_000_000)
    yield "TIFF LZW color", encoded(blocks, "TIFF", compression="tiff_lzw")
    yield "TIFF deflate with alpha", encoded(clear, "TIFF", compression="tiff_adobe_deflate")
    yield "TIFF CMYK", encoded(blocks.convert("CMYK"), "TIFF", compression="tiff_lzw")
    yield "TIFF float", encoded(few.convert("F"), "TIFF", compression="tiff_lzw")
    yield "TIFF G4", encoded(few.point(lambda v: 255 * (v > 3)).convert("1"), "TIFF", compression="group4")
    strips = 30_000
    many = ((273, 4, strips, 134), (278, 4, 1, 1), (279, 4, strips, 134 + 4 * strips), (284, 3, 1, 1))
    sizes = struct.pack("<I", 122) * strips + struct.pack("<I", 10) * strips
    yield "TIFF of many strips", tiff(*many, width=10, height=strips, tail=sizes)
    yield "TIFF of rationals", tiff((282, 5, 60_000, 98), tail=bytes(500_000))
    yield "BMP color", encoded(soft.crop((0, 0, side, min(side, 1700))), "BMP")
    yield "BMP runs", bmp(b"\1\7" * 520_000)


def slivers(side: int) -> Iterator[tuple[str, bytes]]:
    area = side * side
    for height in (1, 10, 32, 160):
        for width in sorted({8192, min(area // height, MAX_SIDE)}):
            if width * height <= area:
                yield (
                    f"sliver {height}×{width}",
                    encoded(Image.fromarray(finest(width, height)), "PNG", compress_level=1),
                )


def stripes() -> Iterator[tuple[str, bytes]]:
    """Every other row black: a few hundred bytes, whose lines vanish where the picture is reduced."""
    for height, width in ((320, 320), (32, 3200), (512, 512), (32, 8192)):
        rows = np.full((height, width), 255, np.uint8)
        rows[::2] = 0
        yield f"stripes {height}×{width}", encoded(Image.fromarray(rows), "PNG", compress_level=9)
        shaded = np.clip(rows.astype(int) - np.linspace(0, 120, width).astype(int), 0, 255)
        yield f"stripes in shade {height}×{width}", encoded(Image.fromarray(shaded.astype(np.uint8)), "PNG")


def form(parts: list[tuple[bytes, bytes]]) -> bytes:
    head = b'--x\r\nContent-Disposition: form-data; name="%s"; filename="f"\r\n\r\n'
    return b"".join(head % name + data + b"\r\n" for name, data in parts) + b"--x--\r\n"


def multiparts(side: int, files: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """As many of a file as the limits take together."""
    for name, count, size in (
        ("PNG", 100, 470),
        ("PNG", 100, 280),
        ("JPEG", 100, 810),
        ("WEBP", 100, 470),
        ("PNG", 30, 800),
    ):
        data = encoded(Image.fromarray(finest(size)), name)
        yield f"{count} × {name} of {size}×{size}", form([(b"f", data)] * count)
    yield "100 × PNG of 28×28, finest", form([(b"f", encoded(Image.fromarray(finest(28)), "PNG"))] * 100)
    for name, count in (("JPEG progressive 85", 4), ("WebP lossless", 1), ("JPEG baseline 85", 4)):
        yield f"{count} × {name}", form([(b"f", files[name])] * count)
    big = encoded(Image.new("RGBA", (side, side)), "PNG")
    yield "100 × 16 MP", form([(b"f", big)] * 100)
    yield "carriage returns", form([(b"f", b"\r" * (BODY - 200))])
    yield "nearly boundaries", form([(b"f", b"\r\n--y" * (BODY // 5 - 40))])
    yield "many headers", b"--x\r\n" + b"a:b\r\n" * (BODY // 5 - 40) + b"\r\n--x--\r\n"
    yield "many parts", b"--x\r\n\r\n1\r\n" * (BODY // 9 - 40) + b"--x--\r\n"


def filled(begin: bytes, one: bytes, end: bytes, count: int | None = None) -> bytes:
    count = count or (BODY - 200) // (len(one) + 1)
    return begin + b",".join([one] * count) + end


def texts(files: dict[str, bytes]) -> Iterator[tuple[str, str, bytes, str]]:
    """JSON and urlencoded forms: form, name, body, content type."""
    js = "application/json"
    for one in (b"[]", b"[1]", b"{}", b"1", b"1.5", b'""', b"null"):
        yield "JSON", f"pixels of {one.decode()}", filled(b'{"pixels":[', one, b"]}"), js
        yield "JSON", f"as many {one.decode()} as are read", filled(b'{"instances":[[', one, b"]]}", 99_000), js
    yield (
        "JSON",
        "instances",
        filled(b'{"instances":[', b"[" + b",".join([b"0.123456789"] * 784) + b"]", b"]}", 100),
        js,
    )
    numbers = b"{" + b",".join(b'"pixel%d":254.123456789' % i for i in range(784)) + b"}"
    yield "JSON", "instances by name", filled(b'{"instances":[', numbers, b"]}", 100), js
    yield "JSON", "NaN", filled(b'{"pixels":[NaN,', b"1.5", b"]}", 99_000), js
    yield "JSON", "NaN and escapes", b'{"a":"' + b"\\u00e9" * 1_000_000 + b'","pixels":[NaN]}', js
    yield "JSON", "depth", b"[" * (BODY - 200), js
    yield "JSON", "escapes", b'{"image":"' + b"\\u0041" * (BODY // 6 - 50) + b'"}', js
    yield "JSON", "a long number", b'{"pixels":[' + b"1" * (BODY - 200) + b"]}", js
    yield "JSON", "base64 of nothing", b'{"image":"' + b"A" * (BODY - 200) + b'"}', js
    yield "JSON", "escaped data URL", b'{"image":"data:image/png,' + b"%41" * (BODY // 3 - 50) + b'"}', js
    urlencoded = "application/x-www-form-urlencoded"
    yield "form", "escapes", b"image=" + b"%41" * (BODY // 3 - 50), urlencoded
    yield "form", "escaped escapes", b"image=data:," + b"%2541" * (BODY // 5 - 50), urlencoded
    yield "form", "fields", b"a=1&" * (BODY // 4 - 50), urlencoded
    yield "form", "base64", b"image=" + b"A" * (BODY - 200), urlencoded
    for name in ("WebP lossless", "JPEG progressive 100", "PNG of 16 bits with alpha"):
        if len(files[name]) < BODY * 3 // 4 - 1000:
            text = base64.b64encode(files[name])
            yield "JSON", f"base64 of {name}", b'{"image":"' + text + b'"}', js
            escaped = text.replace(b"+", b"%2B").replace(b"/", b"%2F").replace(b"=", b"%3D")
            yield "form", f"base64 of {name}", (b"image=" + escaped)[:BODY], urlencoded


def tensors(model: str, files: dict[str, bytes]) -> Iterator[Request]:
    path = f"/v2/models/{model}/infer"

    def head(kind: str, count: int, more: bytes) -> bytes:
        shape = f"[{count}]" if kind == "BYTES" else f"[{count},784]"
        return b'{"inputs":[{"name":"x","datatype":"%s","shape":%s,' % (kind.encode(), shape.encode()) + more

    for one in (b"1", b"[1]", b"[]", b"{}", b"1.5"):
        body = filled(head("FP32", 100, b'"data":['), one, b"]}]}")
        yield Request("OIP", f"data of {one.decode()}", body, "application/json", path)
        body = filled(head("FP32", 100, b'"data":['), one, b"]}]}", 78_400)
        yield Request("OIP", f"78,400 of {one.decode()}", body, "application/json", path)
    deep = b"[" * 900 + b"1" + b"]" * 900
    yield Request("OIP", "depth", filled(head("FP32", 100, b'"data":['), deep, b"]}]}", 200), "application/json", path)
    text = base64.b64encode(files["PNG drawing, finest"])
    body = filled(head("BYTES", 80, b'"data":['), b'"' + text + b'"', b"]}]}", 80)
    yield Request("OIP", "80 drawings as base64", body, "application/json", path)


def search(side: int) -> Iterator[Request]:
    """Every request that is tried."""
    files = dict(pictures(side))
    for name, data in files.items():
        yield Request(name.split()[0], name, data)
    for name, data in slivers(side):
        yield Request("sliver", name, data)
    for name, data in stripes():
        yield Request("drawing", name, data)
    for name, data in multiparts(side, files):
        yield Request("multipart", name, data, MULTIPART)
    for kind, name, data, content_type in texts(files):
        yield Request(kind, name, data, content_type)
    yield from tensors(Recognizer().model.name, files)


def ask(connection: socket.socket, wire: bytes) -> int:
    """The status of the answer; the connection stays open."""
    threading.Thread(target=_send, args=(connection, wire), daemon=True).start()
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            raise ConnectionError("the connection was closed without an answer")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(_LENGTH.search(head)[1])
    while len(body) < length:
        body += connection.recv(65536)
    return int(head.split()[1])


def _send(connection: socket.socket, wire: bytes) -> None:
    with contextlib.suppress(OSError):  # refused before all of it was sent
        connection.sendall(wire)


def connect(host: str, port: int) -> socket.socket:
    connection = socket.create_connection((host, port), timeout=ANSWER_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def cpu_seconds(pid: int) -> float:
    """Of all threads, also those that have ended, and of processes that have."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    running = sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat"))
    own, ended = (int(fields[i]) + int(fields[i + 1]) for i in (11, 13))
    ticks = os.sysconf("SC_CLK_TCK")
    return max(running / 1e9, own / ticks) + ended / ticks


def memory_mb(pid: int, field: str) -> float:
    return proc_number(pid, "status", rf"^{field}:\s+(\d+)") / 1024


@contextlib.contextmanager
def peaks_of_children(pid: int) -> Iterator[list[float]]:
    """The most memory that each process had which the server started meanwhile, in MB."""
    found: dict[str, float] = {}
    peaks: list[float] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.003):
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").glob("*/children"):
                    for child in task.read_text().split():
                        found[child] = max(found.get(child, 0), memory_mb(int(child), "VmHWM"))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    yield peaks
    over.set()
    watcher.join()
    peaks.extend(found.values())


def cost(request: Request, pid: int, host: str, port: int) -> dict[str, object]:
    """Processor time and memory of one request, at its best of two, as other programs only add to it."""
    found = []
    for _ in range(2):
        before, begun = memory_mb(pid, "VmRSS"), cpu_seconds(pid)
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak starts from here
        with connect(host, port) as connection, peaks_of_children(pid) as peaks:
            start = time.perf_counter()
            status = ask(connection, request.wire())
            seconds = time.perf_counter() - start
        memory = memory_mb(pid, "VmHWM") - before + sum(peaks)
        found.append((cpu_seconds(pid) - begun, memory, seconds, status))
    cpu, memory, seconds, status = min(found)
    return {
        "form": request.form,
        "name": request.name,
        "bytes": len(request.body),
        "status": status,
        "cpu_s": round(cpu, 3),
        "memory_mb": round(max(memory, *(f[1] for f in found)), 1),
        "seconds": round(seconds, 3),
    }


def costs(requests: Iterator[Request]) -> Iterator[tuple[Request, dict[str, object]]]:
    """What each costs; a server that has kept memory of one is replaced, as the next would take that."""
    with contextlib.ExitStack() as stack:
        process, idle = None, 0.0
        for request in requests:
            if process is None or memory_mb(process.pid, "VmRSS") > idle + KEPT_MB:
                stack.close()
                process, host, port = stack.enter_context(server())
                idle = memory_mb(process.pid, "VmRSS")
            yield request, cost(request, process.pid, host, port)


def beside(request: Request | None, seconds: float, host: str, port: int) -> dict[str, float]:
    """Quantiles of a small request's time while others send this one without pause."""
    over, small = (
        threading.Event(),
        Request("", "", encoded(Image.fromarray(picture(7, 28)), "PNG"), "image/png").wire(),
    )
    wire = request.wire() if request else b""
    asked = [0]

    def attack() -> None:
        while not over.is_set():
            try:
                with connect(host, port) as connection:
                    ask(connection, wire)
                    asked[0] += 1
            except OSError:
                time.sleep(0.01)

    attackers = [threading.Thread(target=attack, daemon=True) for _ in range(ATTACKERS if request else 0)]
    for attacker in attackers:
        attacker.start()
    times = []
    with connect(host, port) as one, connect(host, port) as other:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for connection in (one, other):
                start = time.perf_counter()
                assert ask_small(connection, small) == 200
                times.append(time.perf_counter() - start)
            time.sleep(0.002)
    over.set()
    for attacker in attackers:
        attacker.join(ANSWER_SECONDS)
    p50, p99, most = (float(ms) for ms in np.quantile(times, [0.5, 0.99, 1]) * 1000)
    return {
        "p50_ms": round(p50, 2),
        "p99_ms": round(p99, 2),
        "max_ms": round(most, 2),
        "n": len(times),
        "dear": asked[0],
    }


def ask_small(connection: socket.socket, wire: bytes) -> int:
    connection.sendall(wire)
    return int(connection.recv(65536).split()[1])


def slivers_at_once(process: subprocess.Popen[str], host: str, port: int) -> dict[str, object]:
    """64 of 32×8192, each in a connection of its own: how many are answered, and whether the workers are the same."""
    pixels = np.full((32, 8192), 255, np.uint8)
    pixels[::2] = 0
    wire = Request("", "", encoded(Image.fromarray(pixels), "PNG", compress_level=9), "image/png").wire()
    workers = children(process.pid)
    connections = [connect(host, port) for _ in range(SLIVERS)]
    start = time.perf_counter()
    for connection in connections:
        connection.sendall(wire)
    statuses = [connection.recv(65536)[9:12] for connection in connections]
    seconds = time.perf_counter() - start
    time.sleep(6)  # longer than a worker may freeze
    return {
        "sent": SLIVERS,
        "answered": statuses.count(b"200"),
        "seconds": round(seconds, 3),
        "workers_replaced": len(set(workers) - set(children(process.pid))),
    }


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="pictures of 1024×1024, two seconds a load")
    parser.add_argument("--only", help="forms, separated by commas")
    args = parser.parse_args()
    side, seconds = (1024, 2.0) if args.quick else (SIDE, 4.0)
    only = set(args.only.split(",")) if args.only else None
    rows, dearest = [], {}
    for request, row in costs(r for r in search(side) if len(r.body) <= BODY and (not only or r.form in only)):
        print("  ".join(f"{key}={value}" for key, value in row.items()), flush=True)
        rows.append(row)
        known = dearest.get(request.form)
        if known is None or row["cpu_s"] > known[0]["cpu_s"]:
            dearest[request.form] = row, request
    loads = {}
    with server("--workers", "2") as (process, host, port):
        beside(None, 1, host, port)
        loads["nothing"] = beside(None, seconds, host, port)
        photo = Request("", "", encoded(Image.fromarray(finest(4000, 3000)).convert("RGB"), "JPEG", quality=85))
        loads["JPEG photos of 12 megapixels"] = beside(photo, seconds, host, port)
        for row, request in dearest.values():
            loads[f"{row['form']}: {row['name']}"] = beside(request, seconds, host, port)
        for name, load in loads.items():
            print(f"beside {name}: {load}", flush=True)
        crowd = slivers_at_once(process, host, port)
        print(f"slivers at once: {crowd}", flush=True)
    if not only:
        keep_json(
            hardware={"cores": os.cpu_count(), "load_average": os.getloadavg()},
            bounds=BOUNDS,
            dearest_cpu_s=max(row["cpu_s"] for row in rows),
            dearest_memory_mb=max(row["memory_mb"] for row in rows),
            requests=rows,
            small_requests_beside=loads,
            slivers_at_once=crowd,
        )


if __name__ == "__main__":
    main()
