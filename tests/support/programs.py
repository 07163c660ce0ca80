"""Programs of others, found and run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.paths import ROOT

BIN = Path(sys.executable).parent


def tool(name):
    """The path of a program; a test that needs it is skipped where it is not installed."""
    found = shutil.which(name, path=f"{BIN}{os.pathsep}{os.environ['PATH']}{os.pathsep}/usr/sbin")
    return found or pytest.skip(f"{name} is not installed")


def ran(*command, **options):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def recipe(target, *variables):
    """The commands that a target would run where nothing is installed."""
    command = ["make", "--dry-run", "--always-make", target, *variables]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
