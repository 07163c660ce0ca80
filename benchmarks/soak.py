"""Very many requests of every kind, some of them bad: no wrong answer, no 5xx, and memory that does not grow.

They come at a share of what the server is found to be able to do, whether or not those before have their answer.
"""

from __future__ import annotations

import argparse
import time

import uvloop

from _common import make_parser, record
from _load import FAILED, Crowd, mixed, resident, server


async def measure(host: str, port: int, pid: int, args: argparse.Namespace) -> dict[str, object]:
    async with Crowd(host, port, args.connections, mixed()) as probe:
        rates = await probe.eager(args.probe_seconds)
    capacity = sorted(rates)[len(rates) // 2]
    memory, tenth = [], args.requests // 10

    def each(number: int) -> None:
        if number % tenth == 0:
            memory.append(resident(pid))

    start = time.perf_counter()
    async with Crowd(host, port, args.connections, mixed()) as crowd:
        await crowd.at(args.share * capacity, args.requests, each)
    seconds = time.perf_counter() - start
    tally = crowd.tally
    return {
        "requests": args.requests,
        "capacity": round(capacity),
        "rate": round(args.requests / seconds),
        "wrong": tally.wrong,
        "server_errors": sum(n for status, n in tally.statuses.items() if status >= 500),
        "failed": tally.statuses[FAILED],
        "refused": sum(n for status, n in tally.statuses.items() if 400 <= status < 500),
        "p50_ms": tally.quantile(200, 0.5),
        "p99_ms": tally.quantile(200, 0.99),
        "memory_first_tenth_mb": memory[0] >> 20,
        "memory_end_mb": memory[-1] >> 20,
        "memory_growth": f"{memory[-1] / memory[0] - 1:+.1%}",
    }


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--share", type=float, default=0.8, help="of what the server can do (default: 0.8)")
    parser.add_argument("--probe-seconds", type=float, default=10)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    with server("--workers", str(args.workers)) as (process, host, port):
        figures = uvloop.run(measure(host, port, process.pid, args))
    record(**figures, share=args.share, workers=args.workers)


if __name__ == "__main__":
    main()
