"""Clients that send a byte a second: others are answered as if they were not there."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time

from _common import make_parser, record
from _load import Client, Tally, questions, server


async def slow(host: str, port: int, begin: bytes) -> None:
    """Send a request, a byte a second, until the server has enough of it."""
    reader, writer = await asyncio.open_connection(host, port)
    with contextlib.suppress(OSError):
        for byte in begin:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(1)
    writer.close()
    del reader


async def measure(host: str, port: int, args: argparse.Namespace) -> dict[str, object]:
    good, *_ = questions()

    async def asked() -> Tally:
        tally, connection, end = Tally(), Client(host, port), time.perf_counter() + args.seconds
        while time.perf_counter() < end:
            await connection.ask(good[0], tally)
        connection.close()
        return tally

    alone = await asked()
    clients = [asyncio.create_task(slow(host, port, good[0].request)) for _ in range(args.clients)]
    await asyncio.sleep(1)
    beside = await asked()
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    return {
        "slow_clients": args.clients,
        "alone_p50_ms": alone.quantile(200, 0.5),
        "alone_p99_ms": alone.quantile(200, 0.99),
        "beside_p50_ms": beside.quantile(200, 0.5),
        "beside_p99_ms": beside.quantile(200, 0.99),
        "failed": beside.statuses[0] + beside.statuses[503],
    }


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    with server("--workers", str(args.workers)) as (_, host, port):
        figures = asyncio.run(measure(host, port, args))
    record(**figures, seconds=args.seconds, workers=args.workers)


if __name__ == "__main__":
    main()
