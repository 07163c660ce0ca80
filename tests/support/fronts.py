"""Web servers in front of the service, as deploy/ configures them, on other ports and in a folder of their own."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from support.paths import DEPLOY

START_SECONDS = 30
STOP_SECONDS = 20


def free_ports(n: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(n)]
        return [s.getsockname()[1] for s in taken]


def nginx(program: str, folder: Path, port: int, servers: list[int], **changed: str) -> list[str | Path]:
    """Command that runs nginx with the shipped configuration on other ports, as this user and in this folder."""
    site = (DEPLOY / "nginx" / "inkdigits.conf").read_text()
    changed |= {"listen 80;": f"listen 127.0.0.1:{port};", "    listen [::]:80;\n": ""}
    changed |= {f"127.0.0.1:{old}": f"127.0.0.1:{new}" for old, new in zip((9696, 9697), servers, strict=True)}
    for before, after in changed.items():
        assert before in site
        site = site.replace(before, after)
    (folder / "site.conf").write_text(site)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
        "http { access_log off; "
        + " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
        + f" include {folder}/site.conf; }}\n"
    )
    return [program, "-e", folder / "error.log", "-c", folder / "nginx.conf"]


@contextlib.contextmanager
def running(url: str, *command: str | Path) -> Iterator[None]:
    """A web server, from when it answers anything until the end of the block."""
    process = subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL)
    end = time.monotonic() + START_SECONDS
    try:
        while True:
            assert process.poll() is None, "it ended"
            with contextlib.suppress(httpx.TransportError):
                httpx.get(url)
                break
            assert time.monotonic() < end
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)
