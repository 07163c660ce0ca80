"""More than a server can do: what it accepts stays fast, the rest is turned away at once, and then all is as before.

Closed-loop clients find out what the server can do; then requests come at a multiple of that, whether or not those
before have their answer.
"""

from __future__ import annotations

import argparse
import asyncio
import time

from _common import record
from _load import Client, Tally, questions, server

PROBE_CLIENTS = 32


async def closed(host: str, port: int, seconds: float) -> tuple[float, Tally]:
    """Requests a second of clients that each wait for their answer."""
    tally, (good, _), end = Tally(), questions(), time.perf_counter() + seconds

    async def client() -> None:
        connection = Client(host, port)
        while time.perf_counter() < end:
            await connection.ask(good[0], tally)
        connection.close()

    await asyncio.gather(*(client() for _ in range(PROBE_CLIENTS)))
    return tally.statuses[200] / seconds, tally


async def opened(host: str, port: int, rate: float, seconds: float, most: int) -> Tally:
    """Requests at a rate, each on a connection that is free, up to so many connections."""
    tally, (good, _), idle, under_way = Tally(), questions(), [], set()
    start = time.perf_counter()

    async def one() -> None:
        connection = idle.pop() if idle else Client(host, port)
        await connection.ask(good[0], tally)
        idle.append(connection)

    for number in range(int(rate * seconds)):
        if (wait := start + number / rate - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        elif number % 16 == 0:
            await asyncio.sleep(0)
        if time.perf_counter() - start > seconds:
            break
        if len(under_way) < most:
            task = asyncio.create_task(one())
            under_way.add(task)
            task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)
    for connection in idle:
        connection.close()
    return tally


async def measure(host: str, port: int, args: argparse.Namespace) -> dict[str, object]:
    capacity, _ = await closed(host, port, args.probe_seconds)
    over = await opened(host, port, args.times * capacity, args.seconds, args.connections)
    after, _ = await closed(host, port, 2)
    return {
        "capacity": round(capacity),
        "accepted": over.statuses[200],
        "shed": over.statuses[503],
        "failed": over.statuses[0],
        "accepted_p99_ms": over.quantile(200, 0.99),
        "shed_p99_ms": over.quantile(503, 0.99),
        "rate_in_the_2_s_after": round(after),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=float, default=3, help="of what the server can do (default: 3)")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--probe-seconds", type=float, default=5)
    parser.add_argument("--connections", type=int, default=1000, help="most at once (default: 1000)")
    parser.add_argument("--queue", type=int, default=64, help="the server's max_queue (default: 64)")
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    with server("--workers", str(args.workers), "--max-queue", str(args.queue)) as (_, host, port):
        figures = asyncio.run(measure(host, port, args))
    record(**figures, times=args.times, seconds=args.seconds, queue=args.queue, workers=args.workers)


if __name__ == "__main__":
    main()
