"""``inkdigits predict --engine ray`` on a cluster of several nodes: the same bytes, whatever is killed."""

import contextlib
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from support.bulk import rows_of, size_of, start
from support.files import encode
from support.servers import until

pytestmark = pytest.mark.slow

COPIES = 60  # of scikit-learn's first digits: more than one wave
NODES = 3
MAX_BYTES = 1024  # of a picture
BEGUN = 20_000  # bytes of a spool that has more than the pictures
DEADLINE = 300  # seconds, for what must happen at all: Ray takes its time on a busy machine


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, digits):
    """Many arrays, a folder of pictures, one of them broken and one too large, and a picture."""
    folder = tmp_path_factory.mktemp("cluster")
    np.savez(folder / "many.npz", images=np.tile(digits, (COPIES, 1, 1)))
    (folder / "pictures").mkdir()
    for i, image in enumerate(digits[:50]):
        (folder / "pictures" / f"{i:02}.png").write_bytes(encode(image))
    (folder / "pictures" / "20.png").write_bytes(b"hello")
    (folder / "pictures" / "30.png").write_bytes(bytes(2 * MAX_BYTES))
    return [folder / "pictures", folder / "many.npz", folder / "pictures" / "07.png"]


def add_node(cluster, tries=3):
    """Ray ends a node whose parts have not all started after seconds, which is too soon on a busy machine."""
    try:
        cluster.add_node(num_cpus=1, include_dashboard=False)
    except Exception:
        if tries == 1:
            raise
        add_node(cluster, tries - 1)


@pytest.fixture
def cluster(monkeypatch, tmp_path_factory):
    """A Ray cluster of nodes with a CPU each, all on this machine; the first one is the one the command is on."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # at Ray's own, 15, workers starve beside the other tests
    # jsonschema, which each of Ray's processes imports, imports this where it is installed, which takes three seconds
    # each time. Only the tools that check a bill of materials bring it.
    monkeypatch.setitem(sys.modules, "rfc3987_syntax", None)
    without = tmp_path_factory.mktemp("without")
    (without / "rfc3987_syntax.py").write_text("raise ImportError\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(without), os.environ.get("PYTHONPATH")])))
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        for _ in range(NODES):
            add_node(cluster)
        yield cluster
    finally:
        cluster.shutdown()


def reading(node):
    """Whether a task runs on a node: one of its workers is named after it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            parent = int((path.parent / "stat").read_text().rpartition(")")[2].split()[1])
            found += [parent] if b"ray::MapBatches" in path.read_bytes() else []
    return any(info.process.pid in found for info in node.all_processes["raylet"])


def test_whatever_is_killed_the_output_is_the_same(run, inputs, cluster, monkeypatch):
    monkeypatch.setenv("INKDIGITS_MAX_BYTES", str(MAX_BYTES))
    code, _, told = run(*inputs, "-o", "whole.csv", "--processes", "1")
    assert code == 1
    whole = Path("whole.csv").read_bytes()
    assert [row["name"][-6:] for row in rows_of("whole.csv") if row["error"]] == ["20.png", "30.png"]
    command = [*inputs, "-o", "o.csv", "--resume", "--engine", "ray", "--ray-address", cluster.address]
    node = next(iter(cluster.worker_nodes))

    process = start(*command)
    try:
        until(lambda: size_of("o.csv.part") > BEGUN or process.poll() is not None, DEADLINE)
    finally:
        process.kill()
        _, err = process.communicate()
    assert process.returncode == -signal.SIGKILL, err
    assert not Path("o.csv").exists()
    kept = size_of("o.csv.part")

    process = start(*command)
    try:
        until(lambda: reading(node) or process.poll() is not None, DEADLINE)
        assert process.poll() is None, "it ended before a node could be killed"
        cluster.remove_node(node, allow_graceful=False)
        _, err = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
    assert process.returncode == 1, err
    assert err.decode() == told.splitlines()[-1] + "\n", "what was wrong was told by the run before"
    assert len(whole) > kept > BEGUN
    assert Path("o.csv").read_bytes() == whole
    assert not Path("o.csv.part").exists()


def test_ray_that_is_not_installed_is_named(run, inputs, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, err = run(inputs[-1], "--engine", "ray")
    assert code == 2
    assert err == "inkdigits: error: this needs ray, which is not installed: pip install 'inkdigits[ray]'\n"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--ray-address", "auto"], "--ray-address is for --engine ray"),
        (
            ["--engine", "ray", "--ray-address", "auto", "--processes", "2"],
            "--processes is not for a cluster that runs",
        ),
        (["--engine", "ray", "--ray-address", "ray://head:10001"], "run this on a node of the cluster"),
        (["--engine", "ray", "--ray-address", "127.0.0.1:1"], "cannot connect to Ray at 127.0.0.1:1"),
    ],
)
def test_mistakes(inputs, argv, words):
    process = start(inputs[-1], *argv)
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 2
    assert words in err.decode()
    assert err.count(b"\n") == 1
