"""More than a server can do: what it accepts stays fast, the rest is turned away at once, and then all is as before.

Clients that ask again at once find out what the server can do; then requests come at a multiple of that, whether or not
those before have their answer; then the first clients ask again.
"""

from __future__ import annotations

import argparse
from itertools import cycle

import uvloop

from inkdigits.settings import Settings

from _common import make_parser, record
from _load import FAILED, Crowd, questions, server

PROBE_CLIENTS = 64
RECOVERED = 0.9  # of the rate before, from which the server is as it was
AFTER_SECONDS = 5


async def measure(host: str, port: int, args: argparse.Namespace) -> dict[str, object]:
    small = cycle(questions()[0]).__next__
    async with Crowd(host, port, PROBE_CLIENTS, small) as before:
        rates = await before.eager(args.probe_seconds)
    capacity = sorted(rates)[len(rates) // 2]
    async with Crowd(host, port, args.connections, small) as over:
        rate = args.times * capacity
        await over.at(rate, int(rate * args.seconds), seconds=args.seconds)
    tally = over.tally
    async with Crowd(host, port, PROBE_CLIENTS, small) as after:
        rates = await after.eager(AFTER_SECONDS)
    back = next((i + 1 for i, rate in enumerate(rates) if rate >= RECOVERED * capacity), None)
    return {
        "capacity": round(capacity),
        "sent": over.sent,
        "times_reached": round(over.sent / args.seconds / capacity, 2),
        "accepted": tally.statuses[200],
        "shed": tally.statuses[503],
        "failed": tally.statuses[FAILED],
        "wrong": tally.wrong,
        "accepted_p50_ms": tally.quantile(200, 0.5),
        "accepted_p99_ms": tally.quantile(200, 0.99),
        "shed_p50_ms": tally.quantile(503, 0.5),
        "shed_p99_ms": tally.quantile(503, 0.99),
        "recovered_after_s": "never" if back is None else back * AFTER_SECONDS / 10,
    }


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--times", type=float, default=3, help="of what the server can do (default: 3)")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--probe-seconds", type=float, default=5)
    parser.add_argument("--connections", type=int, default=1000, help="most at once (default: 1000)")
    parser.add_argument("--queue", type=int, default=512, help="the server's max_queue (default: 512, as its own)")
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    with server("--workers", str(args.workers), "--max-queue", str(args.queue)) as (_, host, port):
        figures = uvloop.run(measure(host, port, args))
    asked = {"times": args.times, "seconds": args.seconds, "queue": args.queue, "workers": args.workers}
    record(model=Settings.from_env().model or "default", **figures, **asked)


if __name__ == "__main__":
    main()
