"""Carry out deploy/Dockerfile without Docker: its COPY and RUN steps below a folder, and then its command.

Absolute paths of the image (/build, /opt/inkdigits) become paths in the folder, each stage has its own /build, and
python is an environment of the one that this runs by. Users are not made, and the root file system is not read-only. At
the end the command is started with the image's variables, the health check asks it, and SIGTERM must end it with 0.

    python scripts/try_dockerfile.py /tmp/image
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
SYSTEM = ("groupadd", "useradd")  # what would change this machine
START_SECONDS, STOP_SECONDS = 60, 20


def steps(text: str) -> list[tuple[str, str]]:
    """(instruction, arguments) of each step."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    whole = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in whole.splitlines() if line.strip()]


class Image:
    """A folder that stands for the image's root file system.

    Attributes:
        environ: variables that the stage at hand sets.
        started: command and health check of the last stage.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stages: dict[str, Path] = {}
        self._build = folder
        self.environ: dict[str, str] = {}
        self.started: dict[str, list[str]] = {}
        self._python = folder / "python"  # an environment: what builds is installed into it
        venv.create(self._python, with_pip=True)

    def place(self, text: str) -> str:
        """Text with the image's absolute paths as they are in the folder."""
        text = text.replace("/opt/inkdigits", str(self._folder / "opt" / "inkdigits"))
        return re.sub(r"(?<![\w/.])/build\b", str(self._build), text)

    def do(self, instruction: str, rest: str) -> None:
        if instruction == "FROM":
            name = rest.rpartition(" AS ")[2] if " AS " in rest else "final"
            self._build = self._stages[name] = self._folder / "stages" / name
            self._build.mkdir(parents=True)
            self.environ = {}
        elif instruction == "ENV":
            self.environ |= {name: self.place(value) for name, value in re.findall(r"(\w+)=(\S+)", rest)}
        elif instruction == "COPY":
            self._copy(rest.split())
        elif instruction == "RUN":
            self._run(rest)
        elif instruction == "CMD":
            self.started["command"] = json.loads(rest)
        elif instruction == "HEALTHCHECK":
            self.started["check"] = json.loads(rest.partition(" CMD ")[2])

    def _copy(self, words: list[str]) -> None:
        source = ROOT
        if words[0].startswith("--from="):
            stage, path = words[0].removeprefix("--from="), words[1]
            if path.startswith("/opt"):
                return  # there already: all stages share it
            words, source = [str(Path(path).relative_to("/build")), *words[2:]], self._stages[stage]
        else:
            words = [word for word in words if not word.startswith("--")]
        *what, to = words
        for path in what:
            found, target = source / path, self._build / to
            if found.is_dir():
                ignore = shutil.ignore_patterns("__pycache__", "vendor") if source == ROOT else None
                shutil.copytree(found, target, dirs_exist_ok=True, ignore=ignore)
            else:
                target = target / found.name if to.endswith("/") else target
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(found, target)

    def _run(self, command: str) -> None:
        if any(word in command for word in SYSTEM):
            print(f"not run: {command}", flush=True)
            return
        print(f"RUN {command}", flush=True)
        path = f"{self._python / 'bin'}{os.pathsep}{os.environ['PATH']}"
        environ = {**os.environ, **self.environ, "PATH": path}
        subprocess.run(["sh", "-ec", self.place(command)], cwd=self._build, env=environ, check=True)

    def serve(self) -> None:
        """Start the command, have the health check ask it, end it."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        environ = {"LANG": "C.UTF-8", **self.environ, "HOST": "127.0.0.1", "PORT": str(port)}
        environ["PATH"] = environ["PATH"].replace("$PATH", os.environ["PATH"])
        process = subprocess.Popen(self.started["command"], env=environ, cwd="/")
        try:
            end = time.monotonic() + START_SECONDS
            while subprocess.run(self.started["check"], env=environ, stderr=subprocess.DEVNULL, check=False).returncode:
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit("it does not get ready")
                time.sleep(0.2)
            print("ready", flush=True)
            process.send_signal(signal.SIGTERM)
            if code := process.wait(STOP_SECONDS):
                raise SystemExit(f"it ended with {code}")
            print("ended", flush=True)
        finally:
            process.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="new; what is made in it stays there")
    image = Image(parser.parse_args().folder.absolute())
    for instruction, rest in steps((ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")):
        image.do(instruction, rest)
    image.serve()


if __name__ == "__main__":
    main()
