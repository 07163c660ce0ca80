"""How many workers there are by default: what affinity, cgroups of both versions, memory and open files leave."""

import math
import os
import resource
import subprocess
import sys

import pytest

from inkdigits.cores import memory_limit, usable_cores

from support.servers import workers

MINE = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
MIB = 1 << 20
V1 = (
    "4:memory:/docker/a\n3:cpu,cpuacct:/docker/a\n0::/\n",
    "33 32 0:30 {root} /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
    "34 32 0:31 {root} /sys/fs/cgroup/memory ro shared:9 - cgroup cgroup rw,memory\n",
)
V2 = ("0::/kubepods/pod\n", "30 23 0:26 {root} /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")


@pytest.fixture
def system(tmp_path):
    """Makes a root of a file system: its /proc, and files below /sys/fs/cgroup."""

    def make(version, files, root="/"):
        cgroups, mounts = version
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(cgroups)
        (tmp_path / "proc/self/mountinfo").write_text(mounts.format(root=root))
        for name, text in files.items():
            path = tmp_path / "sys/fs/cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("version", "root", "files", "cores"),
    [
        (V2, "/", {"kubepods/pod/cpu.max": "50000 100000"}, 0.5),
        (V2, "/", {"kubepods/pod/cpu.max": "150000 100000"}, 1.5),
        (V2, "/", {"kubepods/pod/cpu.max": "max 100000"}, math.inf),
        (V2, "/", {"kubepods/pod/cpu.max": "max 100000", "kubepods/cpu.max": "100000 100000"}, 1),  # the one around it
        (V2, "/kubepods/pod", {"cpu.max": "100000 100000"}, 1),  # mounted from there on, as in a container
        (V2, "/elsewhere", {"cpu.max": "100000 100000"}, 1),  # its path is the machine's, and not seen from inside
        (V1, "/", {f"cpu,cpuacct/docker/a/cpu.cfs_{name}_us": "100000" for name in ("quota", "period")}, 1),
        (V1, "/docker/a", {"cpu,cpuacct/cpu.cfs_quota_us": "20000", "cpu,cpuacct/cpu.cfs_period_us": "50000"}, 0.4),
        (V1, "/", {"cpu,cpuacct/cpu.cfs_quota_us": "-1", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, math.inf),
        (V1, "/", {}, math.inf),
        (("", ""), "/", {}, math.inf),
    ],
)  # fmt: skip
def test_a_quota_leaves_fewer_cores(system, version, root, files, cores):
    assert usable_cores(system(version, files, root)) == max(1, math.ceil(min(MINE, cores)))


@pytest.mark.parametrize(
    ("version", "files", "most"),
    [
        (V2, {"kubepods/pod/memory.max": "536870912", "memory.max": "max"}, 512 * MIB),
        (V2, {"kubepods/pod/memory.max": "max"}, None),
        (V1, {"memory/docker/a/memory.limit_in_bytes": "1073741824"}, 1024 * MIB),
        (V1, {"memory/memory.limit_in_bytes": "9223372036854771712"}, None),  # how version 1 says that there is none
    ],
)
def test_a_limit_of_memory_is_found(system, version, files, most):
    assert memory_limit(system(version, files)) == most


def test_a_machine_without_cgroups_has_its_cores(tmp_path):
    assert usable_cores(tmp_path) == MINE
    assert memory_limit(tmp_path) is None


def test_by_default_there_is_a_worker_for_each_core(start_server):
    server = start_server(INKDIGITS_WORKERS="")
    count = min(usable_cores(), (memory_limit() or math.inf) // (256 * MIB))
    assert f", {count} worker{'s' if count > 1 else ''};" in server.line
    assert len(workers(server)) == (count if count > 1 else 0)  # one serves in the process that was started


def test_a_server_that_may_use_one_core_has_one_worker(start_server):
    core = min(os.sched_getaffinity(0))
    server = start_server(INKDIGITS_WORKERS="", process={"preexec_fn": lambda: os.sched_setaffinity(0, {core})})
    assert ", 1 worker;" in server.line


def test_a_server_that_may_open_few_files_has_as_many_workers_as_it_can(start_server):
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (39, 39))}
    assert ", 1 worker;" in start_server(INKDIGITS_WORKERS="", process=limit).line


def test_on_windows_there_is_one_worker(tmp_path):
    script = tmp_path / "windows.py"
    script.write_text(
        "import sys\n"
        "from inkdigits.server.processes.run import _workers\n"
        "from inkdigits.settings import Settings\n"
        "sys.platform = 'win32'\n"
        "print(_workers(Settings(), 4096))\n"
    )
    assert subprocess.run([sys.executable, script], capture_output=True, text=True, check=True).stdout == "1\n"
