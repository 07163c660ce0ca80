"""Workers are killed and frozen in turn, the model is changed, and at the end the whole is stopped, all under load.

Only requests under way in a worker that was killed or frozen may fail.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal

from _common import make_parser, record
from _load import Client, Tally, children, questions, server


async def measure(pid: int, host: str, port: int, args: argparse.Namespace) -> dict[str, object]:
    good, *_ = questions()
    phases = {name: Tally() for name in ("harm", "reload", "drain")}
    phase, stop, harmed = "harm", False, 0

    async def client() -> None:
        connection = Client(host, port)
        number = 0
        while not stop:
            # While it drains, the server takes no more connections; those it had are to be answered.
            if await connection.ask(good[number % len(good)], phases[phase]) == 0 and phase == "drain":
                break
            number += 1
        connection.close()

    clients = [asyncio.create_task(client()) for _ in range(args.connections)]
    for number in range(int(args.seconds / args.every)):
        await asyncio.sleep(args.every)
        if found := children(pid):  # the one that has been there longest
            os.kill(found[0], signal.SIGSTOP if number % 2 else signal.SIGKILL)
            harmed += 1
    await asyncio.sleep(args.every + args.frozen_seconds)
    phase = "reload"
    os.kill(pid, signal.SIGHUP)
    await asyncio.sleep(args.every)
    phase = "drain"
    os.kill(pid, signal.SIGTERM)
    await asyncio.wait(clients, timeout=args.every)
    stop = True
    await asyncio.gather(*clients)
    refused = args.connections  # each client's last attempt, which found nobody
    return {
        "harmed": harmed,
        "answered": phases["harm"].statuses[200],
        "failed": phases["harm"].statuses[0],
        "failed_p100_ms": phases["harm"].quantile(0, 1),
        "reload_answered": phases["reload"].statuses[200],
        "reload_failed": phases["reload"].statuses[0],
        "drain_answered": phases["drain"].statuses[200],
        "drain_failed": max(0, phases["drain"].statuses[0] - refused),
        "wrong": sum(tally.wrong for tally in phases.values()),
    }


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--every", type=float, default=5, help="seconds between two harms (default: 5)")
    parser.add_argument("--frozen-seconds", type=int, default=2, help="the server's setting (default: 2)")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    options = ("--workers", str(args.workers), "--frozen-seconds", str(args.frozen_seconds))
    with server(*options) as (process, host, port):
        figures = asyncio.run(measure(process.pid, host, port, args))
    record(**figures, seconds=args.seconds, every=args.every, connections=args.connections, workers=args.workers)


if __name__ == "__main__":
    main()
