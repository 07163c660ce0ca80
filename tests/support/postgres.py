"""A real PostgreSQL server in a temporary folder, from the machine's own programs."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import create_engine, text

DEADLINE = 60  # seconds, to start
STOP_SECONDS = 20
POLL_SECONDS = 0.05
UNPRIVILEGED = ("postgres", "nobody")  # PostgreSQL does not run as root


def programs() -> Path | None:
    """The folder of the server's programs; None where there are none, as Debian keeps them out of PATH."""
    for name in ("pg_config", "postgres"):
        if found := shutil.which(name):
            folder = Path(found).resolve().parent
            if name == "pg_config":
                folder = Path(subprocess.run([found, "--bindir"], capture_output=True, text=True).stdout.strip())
            if (folder / "initdb").is_file():
                return folder
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


class Postgres:
    """A server that only this machine's users reach, through a socket in its folder.

    Attributes:
        url: of its database ``postgres``.
    """

    def __init__(self, bin: Path, folder: Path, *, durable: bool = False) -> None:
        self._bin, self.folder, self._durable = bin, folder, durable
        self._user = None
        if os.getuid() == 0:
            names = {each.pw_name for each in pwd.getpwall()}
            self._user = next(name for name in UNPRIVILEGED if name in names)
            shutil.chown(folder, self._user)
        self._run(
            "initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "inkdigits", "--no-sync", "--locale=C.UTF-8"
        )
        self.url = f"postgresql://inkdigits@/postgres?host={folder}"
        self.start()

    def _run(self, name: str, *arguments: str) -> None:
        command = [str(self._bin / name), *arguments]
        done = subprocess.run(command, user=self._user, cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        options = ("-c", "listen_addresses=", "-k", str(self.folder), "-c", f"fsync={'on' if self._durable else 'off'}")
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(self._bin / "postgres"), "-D", str(self.folder / "data"), *options],
                user=self._user,
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + DEADLINE
        while True:
            try:
                self.execute("SELECT 1")
                return
            except Exception:
                assert self.process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < end, (self.folder / "log").read_text()
                time.sleep(POLL_SECONDS)

    def rows(self, sql: str) -> list[tuple]:
        """What a query finds."""
        engine = create_engine(self.url.replace("postgresql:", "postgresql+psycopg:"))
        try:
            with engine.connect() as connection:
                return [tuple(row) for row in connection.execute(text(sql))]
        finally:
            engine.dispose()

    def execute(self, sql: str) -> None:
        engine = create_engine(self.url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.execute(text(sql))
        finally:
            engine.dispose()

    def database(self, name: str) -> str:
        """The URL of a new, empty database."""
        self.execute(f"CREATE DATABASE {name}")
        return self.url.replace("/postgres?", f"/{name}?")

    def stop(self) -> None:
        """Stop at once, as when the machine goes down: connections are closed."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(STOP_SECONDS)


@contextlib.contextmanager
def postgres(bin: Path, *, durable: bool = False) -> Iterator[Postgres]:
    """Start a server, and remove all of it in the end.

    Args:
        durable: whether it waits for the disk, as a server in use does.
    """
    folder = Path(tempfile.mkdtemp(prefix="inkdigits-pg-", dir="/tmp"))  # a socket's path may have 107 bytes
    server = None
    try:
        server = Postgres(bin, folder, durable=durable)
        yield server
    finally:
        if server and server.process.poll() is None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
