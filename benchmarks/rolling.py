"""Two servers behind nginx are restarted in turn, again and again, under load: what fails, and how slow it gets.

nginx is the system's own, with the shipped configuration (deploy/nginx) but for its ports and its limit of 20 requests
a second and address. Requests come at a rate, whether or not those before have their answer: a share of what was found
to be possible just before, as the cores are nginx', the servers' and the load's.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from itertools import cycle
from pathlib import Path
from statistics import median

import uvloop

from _common import make_parser, record
from _load import FAILED, Crowd, Tally, questions, server
from support.fronts import free_ports, nginx, running

PROBE_CLIENTS = 32
HOST = "127.0.0.1"
LOG_SHOWN = 4000  # characters of nginx' log, where a request failed


class Restartable:
    """A server on a port of its own."""

    def __init__(self, port: int, stack: ExitStack) -> None:
        self._options = "--port", str(port)
        self._running = stack.enter_context(ExitStack())
        self._running.enter_context(server(*self._options))

    def restart(self) -> float:
        """Stop it as systemd does, and start it anew: seconds until it is ready again."""
        start = time.perf_counter()
        self._running.close()
        self._running.enter_context(server(*self._options))
        return time.perf_counter() - start


def figures_of(tally: Tally, name: str) -> dict[str, object]:
    return {
        f"{name}_requests": sum(tally.statuses.values()),
        f"{name}_failed": sum(tally.statuses.values()) - tally.statuses[200],
        f"{name}_wrong": tally.wrong,
        **{f"{name}_p{share}_ms": tally.quantile(200, share / 100) for share in (50, 99, 100)},
    }


async def measure(port: int, servers: list[Restartable], args: argparse.Namespace) -> dict[str, object]:
    small = cycle(questions()[0]).__next__
    async with Crowd(HOST, port, PROBE_CLIENTS, small) as probe:
        possible = median(await probe.eager(args.probe_seconds))
    rate = args.share * possible
    async with Crowd(HOST, port, args.connections, small, in_turn=True) as calm:
        await calm.at(rate, sys.maxsize, seconds=args.calm_seconds)
    took = []
    async with Crowd(HOST, port, args.connections, small, in_turn=True) as rolling:
        load = asyncio.create_task(rolling.at(rate, sys.maxsize))
        for one in servers * args.rounds:
            await asyncio.sleep(args.pause)
            took.append(await asyncio.to_thread(one.restart))
        await asyncio.sleep(args.pause)
        load.cancel()
        with suppress(asyncio.CancelledError):
            await load
    return {
        "possible": round(possible),
        "rate": round(rate),
        "restarts": len(took),
        "restart_max_s": round(max(took), 2),
        **figures_of(calm.tally, "calm"),
        **figures_of(rolling.tally, "rolling"),
        "rolling_lost": rolling.tally.statuses[FAILED],
    }


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="times that each server is restarted (default: 10)")
    parser.add_argument("--share", type=float, default=0.3, help="of what is possible (default: 0.3)")
    parser.add_argument("--connections", type=int, default=64, help="most at once (default: 64)")
    parser.add_argument("--pause", type=float, default=2, help="seconds between two restarts (default: 2)")
    parser.add_argument("--calm-seconds", type=float, default=20)
    parser.add_argument("--probe-seconds", type=float, default=5)
    args = parser.parse_args()
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin") or parser.error("nginx is not installed")
    version = re.search(r"nginx/(\S+)", subprocess.run([program, "-v"], capture_output=True, text=True).stderr)[1]
    port, *ports = free_ports(3)
    with ExitStack() as stack:
        servers = [Restartable(p, stack) for p in ports]
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        command = nginx(program, folder, port, ports, **{"rate=20r/s": "rate=100000r/s"})
        stack.enter_context(running(f"http://{HOST}:{port}", *command))
        figures = uvloop.run(measure(port, servers, args))
        if figures["rolling_failed"]:
            print((folder / "error.log").read_text()[-LOG_SHOWN:], file=sys.stderr)
    record(**figures, connections=args.connections, share=args.share, pause_s=args.pause, nginx=version)


if __name__ == "__main__":
    main()
