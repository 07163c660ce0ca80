"""Serve the same models by inkdigits and by others, and measure each in the same way.

    python benchmarks/serving.py                                  # all of them: about ten minutes
    python benchmarks/serving.py --only inkdigits,fastapi --seconds 2
    python benchmarks/serving.py --resume                         # what the last run has not measured yet

Each server has its own virtual environment under build/serving, which this installs, and runs in its documented best
setting with one thread of ONNX Runtime a worker. Each is asked for ten digits, 28×28 PNGs, first, and not measured
unless its answers are right. wrk (https://github.com/wg/wrk) makes the load, on the same cores. Rows go to
results/serving.csv, and the last run's as tables to results/serving.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np

from inkdigits.evaluation.latency import times_us
from inkdigits.network import find_model
from inkdigits.preprocess import Limits
from inkdigits.preprocess.decode import decode

from _common import RESULTS, kept, make_parser, record
from _serving import (
    BUILD,
    PEERS,
    Peer,
    ask,
    body,
    figures,
    installed,
    load_of,
    photo,
    samples,
    served,
    size_of,
    wrk,
)

CONNECTIONS = (1, 16, 64)
WARM_SECONDS = 1
CALLS = 500  # of what no server can do without
BESIDE = 16  # connections of small requests, beside one that sends photos
TABLE = RESULTS / "serving.md"


def measure(name: str, model: str, args: argparse.Namespace, done: set[tuple[str, ...]]) -> None:
    """Each row of one server that is not measured yet."""
    peer = PEERS[name]
    cells = [(name, model, str(n)) for n in CONNECTIONS]
    photos = (name, model, f"{BESIDE}+photo")
    if name == "inkdigits":
        cells.append(photos)
    cells = [cell for cell in cells if cell not in done]
    if not cells:
        return
    bin = installed(name.partition("-")[0])
    _, path, _ = find_model(model)
    bodies = [body(peer.form, png, pixels) for _, png, pixels in samples()]
    script = load_of(peer.form, [data for data, _ in bodies], bodies[0][1])
    with served(peer, bin, path, args.port, args.workers) as running:
        wrong = [digit for digit, png, pixels in samples() if peer.reads and ask(peer, args.port, png, pixels) != digit]
        if wrong:
            raise RuntimeError(f"{name} reads {wrong} wrong: it is not measured")
        for cell in cells:
            connections = BESIDE if cell == photos else int(cell[2])
            figures(wrk(script, peer, args.port, connections, WARM_SECONDS))
            cpu = running.cpu()
            found = _beside_photos(script, peer, args) if cell == photos else {}
            found = found or figures(wrk(script, peer, args.port, connections, args.seconds))
            requests = found["rate"] * args.seconds
            record(
                run=args.run,
                server=name,
                model=model,
                connections=cell[2],
                **found,
                cpu_us=round((running.cpu() - cpu) / max(requests, 1) * 1e6),
                memory_mb=running.memory() >> 20,
                start_s=round(running.start, 2),
                installed_mb=size_of(bin) >> 20,
                workers=args.workers,
                seconds=args.seconds,
            )


def _beside_photos(script: object, peer: Peer, args: argparse.Namespace) -> dict[str, float]:
    """Small requests while one connection sends one photo of 12 megapixels after another."""
    photos = wrk(load_of("photo", [photo()], "image/jpeg"), peer, args.port, 1, args.seconds + 1)
    time.sleep(0.5)
    found = figures(wrk(script, peer, args.port, BESIDE, args.seconds))
    beside = figures(photos)
    if beside["errors"]:
        raise RuntimeError(f"{beside['errors']} of the photos failed")
    return {**found, "photos_a_second": beside["rate"]}


def parts_of(model: str) -> dict[str, float]:
    """Microseconds of what no server can do without: decoding the PNG, and the network, in a batch of 64."""
    import onnxruntime  # after inkdigits, which switches its usage data off

    _, path, _ = find_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    batch = np.zeros((64, 1, 28, 28), np.float32)
    for i in range(64):
        batch[i, 0] = np.reshape(samples()[i % 10][2], (28, 28)) / np.float32(255)
    png = samples()[3][1]
    return {
        "decode": _microseconds(lambda: decode(png, Limits()), 1),
        "network": _microseconds(lambda: session.run(["logits"], {"image": batch}), 64),
    }


def _microseconds(call: Callable[[], object], images: int) -> float:
    """The median of many calls, an image."""
    return round(float(np.median(times_us(call, CALLS))) / images, 1)


def rows_of(run: str | None = None) -> list[dict[str, str]]:
    """The rows of a run, the last by default."""
    rows = kept()
    run = run or (rows[-1]["run"] if rows else "")
    return [row for row in rows if row["run"] == run]


def tell(rows: list[dict[str, str]]) -> str:
    """The rows as Markdown: a table for each model, and what the ideal is."""
    last = rows[-1]
    text = [
        f"Measured {last['when'][:10]} at {last['commit']}, {last['cores']} cores of {last['cpu']}, "
        f"Python {last['python']}, {last['workers']} workers, wrk on the same cores, {last['seconds']} s a figure, "
        "28×28 PNG. Requests a second, and in brackets p50 / p99 in ms.\n"
    ]
    constant = {row["connections"]: row for row in rows if row["server"] == "constant"}
    for model in dict.fromkeys(row["model"] for row in rows if row["model"]):
        of = {(row["server"], row["connections"]): row for row in rows if row["model"] == model}
        of |= {("constant", connections): row for connections, row in constant.items()}
        ours = of.get(("inkdigits", "64"))
        names = [name for name in PEERS if any(server == name for server, _ in of)]
        heads = ("server", *(f"{n} connections" for n in CONNECTIONS), "CPU µs", "MB", "start s", "installed MB", "×")
        text += [f"### {model}\n", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
        for name in names:
            cells = [of.get((name, str(n))) for n in CONNECTIONS]
            row = next(cell for cell in reversed(cells) if cell)
            times = f"{int(ours['rate']) / int(row['rate']):.1f}" if ours and row["connections"] == "64" else ""
            listed = [_cell(cell) for cell in cells]
            values = (name, *listed, row["cpu_us"], row["memory_mb"], row["start_s"], row["installed_mb"], times)
            text.append(f"| {' | '.join(values)} |")
        text.append("")
        if ours and "64" in constant:
            text.append(_ideal(model, int(ours["rate"]), int(constant["64"]["rate"]), int(last["workers"])))
        if (photos := of.get(("inkdigits", f"{BESIDE}+photo"))) and (alone := of.get(("inkdigits", str(BESIDE)))):
            text.append(
                f"Beside a connection that sends photos of 12 megapixels ({photos['photos_a_second']} a second), "
                f"{BESIDE} connections get {int(photos['rate']):,} requests a second, "
                f"p99 {float(photos['p99_ms']):.1f} ms in place of {float(alone['p99_ms']):.1f}.\n"
            )
    return "\n".join(text)


def _cell(row: dict[str, str] | None) -> str:
    if row is None:
        return ""
    failed = f", {row['errors']} failed" if int(row["errors"]) else ""
    return f"{int(row['rate']):,} ({float(row['p50_ms']):.2f} / {float(row['p99_ms']):.2f}{failed})"


def _ideal(model: str, ours: int, constant: int, workers: int) -> str:
    parts = parts_of(model)
    ideal = 1 / (1 / constant + (parts["decode"] + parts["network"]) * 1e-6 / workers)
    return (
        f"The ideal is a constant answer ({constant:,} requests a second), decoding ({parts['decode']} µs) and the "
        f"network in a batch ({parts['network']} µs), and nothing else: {ideal:,.0f} requests a second, of which "
        f"inkdigits reaches {ours / ideal:.0%}.\n"
    )


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--only", default=",".join(PEERS), help="servers, separated by commas (default: all)")
    parser.add_argument("--models", default="fast,cnn", help="shipped models (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=6, help="of each measurement (default: 6)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--port", type=int, default=9797)
    parser.add_argument("--install", action="store_true", help="only install the servers")
    parser.add_argument("--resume", action="store_true", help="go on with the last run")
    args = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("wrk is not installed; on Debian: apt-get install wrk")
    names = args.only.split(",")
    if unknown := sorted(set(names) - set(PEERS)):
        parser.error(f"no server {unknown[0]!r}; there are: {', '.join(PEERS)}")
    BUILD.mkdir(parents=True, exist_ok=True)
    if args.install:
        for name in dict.fromkeys(name.partition("-")[0] for name in names):
            installed(name)
        return
    rows = rows_of() if args.resume else []
    args.run = rows[0]["run"] if rows else datetime.now(UTC).isoformat(timespec="seconds")
    done = {(row["server"], row["model"], row["connections"]) for row in rows}
    failed = []
    for name in names:
        # What answers the same whatever it is asked needs no model.
        for model in args.models.split(",") if PEERS[name].reads else [""]:
            try:
                measure(name, model, args, done)
            except RuntimeError as error:
                print(f"{name}, {model}: {error}", file=sys.stderr, flush=True)
                failed.append(name)
    if rows := rows_of(args.run):
        TABLE.write_text(tell(rows), encoding="utf-8")
        print(f"\n{TABLE.read_text(encoding='utf-8')}")
    if failed:
        raise SystemExit(f"not measured: {', '.join(dict.fromkeys(failed))}")


if __name__ == "__main__":
    main()
