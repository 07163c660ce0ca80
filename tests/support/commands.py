"""The commands of the README and the docs: found in their Markdown, and run in a copy of the checkout."""

import csv
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import venv
from dataclasses import dataclass
from pathlib import Path

from inkdigits.self_test import DIGIT

from support.paths import ROOT

DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "benchmarks" / "README.md")
    if path.name != "CHANGELOG.md"
)
PORT = 9696  # of the server in the docs
COMMAND_SECONDS = 300  # that a command may take
START_SECONDS = 120  # that a server may take to say its address
STOP_SECONDS = 20
LANGUAGES = ("sh", "console", "python", "js")  # of blocks that are run
LEFT_OUT = {".git", ".venv", "node_modules", "build", "dist", "runs", "models"}  # of the checkout's top
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# As pip makes it: what workers import again is under a condition.
PROGRAM = (
    "#!{where}/bin/python",
    "import sys",
    "from inkdigits.cli import main",
    "if __name__ == '__main__':",
    "    sys.exit(main())",
)
NO_DIGIT = ("blank", "triangle")  # of the pictures' names
SERVER = re.compile(r"(make run|inkdigits serve)\b")
# pip resolves as it would, against what is installed, and changes nothing.
PIP = 'pip() { python -m pip "$1" --dry-run --no-index --no-build-isolation "${@:2}"; }\n'
NO_EXTRA = "does not provide the extra"  # what pip says of one, and succeeds
LOOPBACK = """
import fcntl, socket, struct, sys
lo = socket.socket()
request = struct.pack("16sH14s", b"lo", 0x41, b"")  # IFF_UP | IFF_RUNNING
fcntl.ioctl(lo, 0x8914, request)  # SIOCSIFFLAGS
print("up", flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Step:
    """One command of a document, or one program.

    Attributes:
        block: number of its block, from 1.
        shown: what the document shows that it prints; None where it shows nothing.
    """

    document: str
    block: int
    language: str
    code: str
    shown: str | None = None


def blocks(document: str, *languages: str) -> list[tuple[int, str, str]]:
    """(number, language, text) of a document's fenced blocks in these languages."""
    text = (ROOT / document).read_text(encoding="utf-8")
    found = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(n, language, code) for n, (language, code) in enumerate(found, 1) if language in languages]


def steps(document: str) -> list[Step]:
    """What a reader of the document would run, in its order."""
    found = []
    for number, language, text in blocks(document, *LANGUAGES):
        if language == "sh":
            lines = re.sub(r"\\\n", "", text).splitlines()
            found += [Step(document, number, "sh", line) for line in lines if line and not line.startswith("#")]
        elif language == "console":
            for command, shown in re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
                found.append(Step(document, number, "sh", command, shown))
        else:
            found.append(Step(document, number, language, text))
    return found


class Sandbox:
    """A copy of the checkout with an environment of its own, as ``make run`` leaves it, and no network but loopback.

    Where the system lets no network be made, the commands run in the machine's, on a free port in the place of 9696.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "inkdigits"
        shutil.copytree(ROOT, self.folder, ignore=_left_out)
        self._make_environment()
        self._holder, self._enter = _network()
        self.port = PORT if self._enter else _free_port()
        self._server: subprocess.Popen[str] | None = None
        self._before: list[str] = []  # commands that change the shell, for those after them
        (folder / ".curlrc").write_text("silent\nshow-error\nfail-with-body\n")
        path = os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if Path(p) != Path(sys.prefix, "bin"))
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("INKDIGITS_", "PYTHON", "VIRTUAL_ENV"))}
        if cache := os.environ.get("INKDIGITS_CACHE"):
            kept["INKDIGITS_CACHE"] = cache
        home = {"HOME": str(folder), "CURL_HOME": str(folder), "PORT": str(self.port), "OMP_NUM_THREADS": "1"}
        self._environ = {**kept, **home, "PATH": path, "PIP_DRY_RUN": "1", "PIP_NO_INDEX": "1"}

    def enter(self, document: str) -> None:
        """Begin with a document, as who has read the README and run nothing else yet."""
        self.stop()
        shutil.rmtree(self.folder / "runs", ignore_errors=True)
        self._before = [] if document == "README.md" else [". .venv/bin/activate"]  # as it says
        code = "".join(step.code for step in steps(document))
        if f":{PORT}" in code and not SERVER.search(code):
            self.serve("inkdigits serve")

    def run(self, step: Step) -> subprocess.CompletedProcess[str]:
        """Run one step to its end, in the state that those before it have left."""
        if step.language == "sh" and re.match(r"(\.|export) ", step.code):
            self._before.append(step.code)
        return subprocess.run(
            [*self._enter, *self._command(step)],
            cwd=self.folder,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        )

    def serve(self, code: str) -> None:
        """Start a server in the place of the one before, and wait until it is ready.

        Raises:
            RuntimeError: it ends, or says no address.
        """
        self.stop()
        command = [*self._enter, "bash", "-euc", self._shell(code)]
        self._server = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self._environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        timer = threading.Timer(START_SECONDS, os.killpg, (self._server.pid, signal.SIGKILL))
        timer.start()
        printed = []
        for line in self._server.stdout:
            printed.append(line)
            if f"http://127.0.0.1:{self.port}" in line:
                timer.cancel()
                return
        timer.cancel()
        raise RuntimeError(f"{code} began no server: {''.join(printed)}")

    def stop(self) -> None:
        """End the server, if there is one."""
        if self._server is None:
            return
        server, self._server = self._server, None
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
        try:
            server.communicate(timeout=STOP_SECONDS)
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)

    def close(self) -> None:
        self.stop()
        if self._holder:
            self._holder.stdin.close()
            self._holder.wait(STOP_SECONDS)
            self._holder.stdout.close()

    def _command(self, step: Step) -> list[str]:
        code = step.code.replace(str(PORT), str(self.port))
        if step.language == "sh":
            return ["bash", "-euo", "pipefail", "-c", self._shell(code)]
        if step.language == "python":
            return [str(self.folder / ".venv" / "bin" / "python"), "-c", code]
        return [shutil.which("node") or _playwrights_node(), "--input-type=module", "--eval", code]

    def _shell(self, code: str) -> str:
        # A signal by name would reach the servers of other tests, too, which run in the same process namespace.
        pkill = f'command pkill -g {self._server.pid} "$@"' if self._server else "return 1"
        return "\n".join([PIP, f"pkill() {{ {pkill}; }}", *self._before, code.replace(str(PORT), str(self.port))])

    def _make_environment(self) -> None:
        where = self.folder / ".venv"
        venv.create(where, with_pip=False, symlinks=True)
        [packages] = where.glob("lib/python*/site-packages")
        here = sysconfig.get_path("purelib")
        (packages / "as_here.pth").write_text(f"{self.folder / 'src'}\nimport site; site.addsitedir({here!r})\n")
        program = where / "bin" / "inkdigits"
        program.write_text("".join(f"{line}\n" for line in PROGRAM).format(where=where))
        program.chmod(0o755)
        (where / "bin" / "ruff").symlink_to(Path(sys.prefix, "bin", "ruff"))
        for stamp in (".core", ".dev"):  # for make: all is installed
            (where / stamp).touch()


def digits_expected(step: Step) -> list[int | None]:
    """The digits that a step reads, by the words in its files' names; None for a picture without one."""
    code = re.sub(r"\s(#|//) .*", "", step.code)
    code = code.replace("examples/row_data.json", f"examples/{WORDS[DIGIT]}.json")
    scans = " ".join(sorted(path.name for path in (ROOT / "examples" / "scans").iterdir()))
    words = re.findall(rf"\b({'|'.join([*WORDS, *NO_DIGIT])})\b", code.replace("examples/scans/", scans))
    return [None if word in NO_DIGIT else WORDS.index(word) for word in words]


def digits_told(step: Step, printed: str, folder: Path) -> list[int | None]:
    """The digits that a step told: on its output, or in the table that it wrote."""
    if named := re.search(r" -o (\S+\.csv)", step.code):
        rows = csv.DictReader(io.StringIO((folder / named[1]).read_text()))
        return [int(row["digit"]) if row["accepted"] == "true" else None for row in rows]
    return [digit for line in _answers(printed) for digit in _digits_of(line)]


def _answers(printed: str) -> list[object]:
    """Each line, or all of them where they are one answer, as JSON where they are JSON."""
    try:
        return [json.loads(printed)]
    except ValueError:
        pass
    found: list[object] = []
    for line in printed.splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            found.append(line)
    return found


def _digits_of(answer: object) -> list[int | None]:
    match answer:
        case {"outputs": list(outputs)}:
            return next(output["data"] for output in outputs if output["name"] == "digit")
        case {"predictions": list(rows)}:
            return [row["digit"] for row in rows]
        case {"digit": digit}:
            return [digit]
        case list(digits):
            return digits
        case int(digit):
            return [digit]
        case str(line) if row := re.match(r"(?:examples/\S+ +)?(\d|blank|not a digit)(?:\s|$)", line):
            return [int(row[1]) if row[1].isdigit() else None]
    return []


def _left_out(folder: str, names: list[str]) -> set[str]:
    top = LEFT_OUT if Path(folder) == ROOT else set()
    return {name for name in names if name in top or name in ("__pycache__", "vendor") or name.endswith("_cache")}


def _network() -> tuple[subprocess.Popen[str] | None, list[str]]:
    """The process that holds a network of loopback alone, and the command that enters it, where there can be one."""
    for options in (["--net"], ["--net", "--user", "--map-root-user"]):
        if not (shutil.which("unshare") and shutil.which("nsenter")):
            break
        holder = subprocess.Popen(
            ["unshare", *options, sys.executable, "-c", LOOPBACK],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        if holder.stdout.readline() == "up\n":
            user = ["--user", "--preserve-credentials"] if "--user" in options else []
            return holder, ["nsenter", "--target", str(holder.pid), *user, "--net", "--"]
        holder.stdin.close()
        holder.stdout.close()
        holder.wait(STOP_SECONDS)
    return None, []


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _playwrights_node() -> str:
    """Where there is no Node.js, the one that drives the browser of the page's tests."""
    import playwright

    return str(Path(playwright.__file__).parent / "driver" / "node")
