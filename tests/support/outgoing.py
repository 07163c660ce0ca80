"""Run a command with a new home folder and no network but loopback, and say what it tried to reach and what it left.

Where ``strace`` and network namespaces can be had, nothing that any process of the command does is missed. Elsewhere an
audit hook in each Python process sees and refuses what Python itself connects to or looks up; native code is then known
only by the files it leaves.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["INKDIGITS", "SERVE", "Outcome", "tracing", "watched"]

INKDIGITS = (sys.executable, "-m", "inkdigits")
SERVE = """
import re, subprocess, sys, time, urllib.request
picture, end = open(sys.argv[1], "rb").read(), time.monotonic() + float(sys.argv[2])
command = [sys.executable, "-m", "inkdigits", "serve", "--port", "0", "--workers", "2"]
server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
url = re.search(r"http://[\\d.:]+", server.stdout.readline())[0]
asked = 0
while asked < 20 or time.monotonic() < end:
    for path in ("/", "/ready", "/metrics", "/model", "/openapi.json", "/docs"):
        urllib.request.urlopen(url + path).read()
    request = urllib.request.Request(url + "/predict", picture, {"Content-Type": "image/png"})
    assert b'"digit":7' in urllib.request.urlopen(request).read()
    asked += 1
    time.sleep(0.02)
server.terminate()
sys.exit(server.wait(20))
"""

# Variables that would themselves switch usage data off, or move what is left in the home folder; what runs CI is among
# them, as MLflow sends nothing there.
DROPPED = [
    "ORT_DISABLE_TELEMETRY",
    "DO_NOT_TRACK",
    "CI",
    "GITHUB_ACTIONS",
    "PYTEST_CURRENT_TEST",
    "CIRCLECI",
    "GITLAB_CI",
    "JENKINS_URL",
    "TRAVIS",
    "TF_BUILD",
    "BUILDKITE",
    "http_proxy",
    "https_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "no_proxy",
    "NO_PROXY",
]
DROPPED_PREFIXES = ("MLFLOW_", "_MLFLOW_", "RAY_", "XDG_", "INKDIGITS_", "OTEL_")
CALLS = "trace=connect,sendto,sendmsg,sendmmsg,bind"
ADDRESS = re.compile(r'(?:inet_addr\(|inet_pton\(AF_INET6, )"([^"]+)"')
PORT = re.compile(r"sin6?_port=htons\((\d+)\)")
RESOLVER = "io.systemd.Resolve"  # the local socket by which names are looked up
DNS = 53
LOOPBACK = re.compile(r"127\.|::1$|::ffff:127\.")

# Brings up the loopback interface of a new network namespace, and becomes the command.
ALONE = """
import fcntl, os, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"lo", 0x49))  # SIOCSIFFLAGS: IFF_UP | IFF_LOOPBACK | IFF_RUNNING
os.execvp(sys.argv[1], sys.argv[1:])
"""
# A sitecustomize module: writes what Python connects to or looks up off loopback into a file, and refuses it.
HOOK = """
import os, sys
def refuse(event, args):
    if event in ("socket.connect", "socket.sendto") and isinstance(args[1], tuple):
        host, port = args[1][:2]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host, port = args[0], 53
        host = host.decode() if isinstance(host, bytes) else host
        if host in (None, "", "localhost", "0.0.0.0", "::") or host.replace(".", "").isdigit() or ":" in host:
            return
    else:
        return
    if port != 53 and (host in ("localhost", "::1") or host.startswith("127.")):
        return
    with open(os.environ["OUTGOING_LOG"], "a") as file:
        print(host, port, file=file)
    raise OSError(f"{host} is not on this machine")
sys.addaudithook(refuse)
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command did.

    Attributes:
        code: its exit code.
        printed: standard output and standard error.
        reached: the address and port of each try to connect or send off loopback, or to look a name up.
        opened: address and port of each socket that other machines could reach.
        home: files that it left in its home folder, relative to it.
        temporary: files that it left in the folder for temporary files.
    """

    code: int
    printed: str
    reached: list[str]
    opened: list[str]
    home: list[str]
    temporary: list[str]


@cache
def tracing() -> tuple[str, ...]:
    """What makes a network namespace here; empty where it or ``strace`` cannot be had."""
    for namespace in (("unshare", "--net"), ("unshare", "--map-root-user", "--net")):
        if all(shutil.which(name) for name in ("unshare", "strace")):
            command = [*namespace, sys.executable, "-c", ALONE, "strace", "-f", "-o", os.devnull, "true"]
            if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                return namespace
    return ()


def watched(folder: Path, *command: object, timeout: float = 300, **environ: str) -> Outcome:
    """Run a command to its end, in the folder ``folder/work``.

    Args:
        folder: an empty one for the command's home, working folder and temporary files, and for the trace.
        command: the words.
        timeout: seconds that it may take.
        environ: variables to set.
    """
    places = {name: folder / name for name in ("home", "work", "temporary")}
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    trace = folder / "trace"
    whole = {**_environment(), "HOME": str(places["home"]), "TMPDIR": str(places["temporary"]), **environ}
    words = [str(word) for word in command]
    if tracing():
        watch = ["strace", "-f", "-qq", "--seccomp-bpf", "-s", "64", "-o", str(trace), "-e", CALLS]
        words = [*tracing(), sys.executable, "-c", ALONE, *watch, *words]
    else:
        (folder / "hook").mkdir()
        (folder / "hook" / "sitecustomize.py").write_text(HOOK)
        whole |= {"OUTGOING_LOG": str(trace), "PYTHONPATH": str(folder / "hook")}
    done = subprocess.run(
        words, cwd=places["work"], env=whole, capture_output=True, text=True, timeout=timeout, check=False
    )
    lines = trace.read_text(errors="replace").splitlines() if trace.exists() else []
    told = _traced if tracing() else _hooked
    reached, opened = [], []
    for line in lines:
        if found := told(line):
            (opened if " bind(" in line else reached).append(found)
    home, temporary = (_files(places[name]) for name in ("home", "temporary"))
    return Outcome(done.returncode, done.stdout + done.stderr, reached, opened, home, temporary)


def _environment() -> Mapping[str, str]:
    dropped = {name for name in os.environ if name in DROPPED or name.startswith(DROPPED_PREFIXES)}
    return {name: value for name, value in os.environ.items() if name not in dropped}


def _traced(line: str) -> str:
    """What a line of strace's tells of an address off loopback, or of a name looked up; empty where nothing."""
    if RESOLVER in line:
        return RESOLVER
    address = ADDRESS.search(line)
    if not address:
        return ""
    port = PORT.search(line)
    number = int(port[1]) if port else 0
    return "" if LOOPBACK.match(address[1]) and number != DNS else f"{address[1]} port {number}"


def _hooked(line: str) -> str:
    address, _, port = line.rpartition(" ")
    return f"{address} port {port}"


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
