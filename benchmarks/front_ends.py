"""Requests a second of the server's two front ends: the connection's own, past ASGI, and ASGI.

    python benchmarks/front_ends.py
    python benchmarks/front_ends.py --model cnn --rounds 5

Three servers of one worker each run at once, and wrk asks them in turn, each round in another order: `inkdigits serve`;
the same with its own front end switched off, so that every request goes through ASGI; and uvicorn with its own HTTP
protocol. A row has the medians of the rounds: requests a second, and requests for a second of the server's processor
time (`by_cpu`), which holds on a machine with other work, too. `to_asgi` and `to_uvicorn` say how many times theirs the
connection's requests by processor time are, as the median of the rounds.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median

from inkdigits.network import find_model

from _common import record
from _serving import PEERS, figures, load_of, samples, served, wrk

CONNECTIONS = (1, 64)
PORT = 9740
BIN = Path(sys.executable).parent
OFF = """\
from inkdigits.cli import main
from inkdigits.server.pipeline import Pipeline
Pipeline.at_once = lambda *_: False
main(["serve", "--port", "{port}", "--workers", "1"])
"""
COMMANDS = {
    "connection": ("{bin}/python", "-m", "inkdigits", "serve", "--port", "{port}", "--workers", "1"),
    "asgi": ("{bin}/python", "-c", OFF),
    "uvicorn": (
        *("{bin}/uvicorn", "inkdigits.server:app", "--http", "httptools", "--loop", "uvloop"),
        *("--port", "{port}", "--no-access-log", "--log-level", "warning"),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="fast", help="name of a shipped model")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement")
    args = parser.parse_args()
    _, model, _ = find_model(args.model)
    peers = {name: replace(PEERS["inkdigits"], command=command) for name, command in COMMANDS.items()}
    load = load_of("front_ends", [png for _, png, _ in samples()], "image/png")
    ports = {name: PORT + i for i, name in enumerate(peers)}
    with ExitStack() as stack:
        running = {n: stack.enter_context(served(peer, BIN, model, ports[n], 1)) for n, peer in peers.items()}
        for connections in CONNECTIONS:
            rates: dict[str, list[float]] = {name: [] for name in peers}
            by_cpu: dict[str, list[float]] = {name: [] for name in peers}
            errors = 0
            for i in range(args.rounds):
                names = list(peers)
                for name in names[i % len(names) :] + names[: i % len(names)]:
                    before = running[name].cpu()
                    found = figures(wrk(load, peers[name], ports[name], connections, args.seconds))
                    rates[name].append(found["rate"])
                    by_cpu[name].append(found["rate"] * args.seconds / (running[name].cpu() - before))
                    errors += int(found["errors"])
            ratios = {
                f"to_{name}": round(median(a / b for a, b in zip(by_cpu["connection"], by_cpu[name], strict=True)), 3)
                for name in ("asgi", "uvicorn")
            }
            record(
                model=args.model,
                connections=connections,
                **{name: median(of_one) for name, of_one in rates.items()},
                **{f"{name}_by_cpu": round(median(of_one)) for name, of_one in by_cpu.items()},
                **ratios,
                errors=errors,
                rounds=args.rounds,
                seconds=args.seconds,
            )


if __name__ == "__main__":
    main()
