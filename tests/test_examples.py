"""The example that ``make test_client`` sends: it is what its script makes, and a server reads it."""

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from inkdigits.server.known import DIGIT

ROOT = Path(__file__).parents[1]
ROW = ROOT / "examples" / "row_data.json"
needs_curl = pytest.mark.skipif(not shutil.which("curl"), reason="the target calls curl, which is not installed")


def test_the_row_is_what_its_script_makes():
    spec = importlib.util.spec_from_file_location("row_data", ROOT / "scripts" / "row_data.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert json.loads(ROW.read_text()) == script.row()


@needs_curl
def test_make_test_client_asks_a_server_for_it(live_server):
    host, port = live_server.removeprefix("http://").split(":")
    command = ["make", "--silent", "test_client", f"HOST={host}", f"PORT={port}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["digit"] == DIGIT


@needs_curl
def test_make_test_client_says_so_where_no_server_runs():
    done = subprocess.run(["make", "--silent", "test_client", "PORT=1"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert "make test_server" in done.stderr
