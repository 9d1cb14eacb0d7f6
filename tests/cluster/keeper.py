"""Keeps one cluster on this machine: gives it namespaces of its own, and leaves nothing of it when it ends.

    python -m tests.cluster.keeper PATIENCE

It waits at most so many seconds for another cluster's end, says `ready` on its standard output, and ends the cluster
when its standard input ends, unless it reads `stay` there first; then SIGTERM ends it. Processes, mounts, links, routes
and rules are the namespaces', so the kernel takes them away however the node ends; cgroups, loop devices and the folder
are taken away here, or by the next keeper where this one was killed.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

from dataimportcron.errors import MissingDependencyError, TransientError
from tests.cluster.binaries import PARTS, binaries, cache
from tests.cluster.node import PRIVATE, UPLINK
from tests.cluster.node_files import HOST, PLUGINS
from tests.cluster.processes import die_with_parent

LINK: Final = "dic-cluster"
"""The machine's end of the link to the node."""

PATIENCE: Final = 900
"""Seconds that tests wait for another checkout's cluster to end."""
ROOT: Final = Path(__file__).parents[2]
_LOCK: Final = Path("/run/lock/dataimportcron-cluster")
_CGROUP: Final = "dataimportcron-cluster"
# Of linux/loop.h.
_LOOP_CLR_FD: Final = 0x4C01
_LOOP_GET_STATUS64: Final = 0x4C05
_LOOP_INFO64: Final = 232
_LOOP_NAME_AT: Final = 56
_LOOP_NAME: Final = 64
_NAMESPACES: Final = ("--net", "--mount", "--pid", "--cgroup", "--ipc", "--uts")
_PROGRAMS: Final = {
    "docker-registry": "docker-registry",
    "ip": "iproute2",
    "iptables": "iptables",
    "losetup": "mount",
    "mkfs.ext4": "e2fsprogs",
    "mount": "mount",
    "runc": "runc",
    "skopeo": "skopeo",
    "unshare": "util-linux",
}


def folder() -> Path:
    """Of the cluster that runs."""
    return cache() / "run"


def check_machine() -> None:
    """Look for what the cluster needs.

    Raises:
        MissingDependencyError: something is not there.
    """
    if os.geteuid():
        raise MissingDependencyError("The test cluster needs root: it makes namespaces, mounts and loop devices")
    used = (cache(), ROOT, Path(sys.prefix))
    hidden = [f"{path}" for path in used if any(path.is_relative_to(private) for private in PRIVATE)]
    if hidden:
        raise MissingDependencyError(
            f"The test cluster's node cannot see {', '.join(hidden)}: it has {', '.join(PRIVATE)} for itself",
            hint="use another checkout, or another XDG_CACHE_HOME",
        )
    missing = {package for program, package in _PROGRAMS.items() if shutil.which(program) is None}
    if not (PLUGINS / "bridge").exists():
        missing.add("containernetworking-plugins")
    if missing:
        raise MissingDependencyError(
            f"The test cluster needs packages that are not installed: {', '.join(sorted(missing))}",
            hint=f"apt-get install --no-install-recommends {' '.join(sorted(missing))}",
        )


def owner() -> dict[str, Any] | None:
    """Who runs a cluster on this machine: `pid`, `checkout`, `started`; None if nobody does."""
    try:
        with _LOCK.open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        with suppress(FileNotFoundError, json.JSONDecodeError):  # it has just ended, or just begun
            return dict(json.loads(_LOCK.read_text()))
        return {}
    return None


@contextmanager
def only_one(patience: float = 0, pause: Callable[[float], object] = time.sleep) -> Iterator[None]:
    """Hold the machine's lock, with its owner's name in it.

    Args:
        patience: seconds to wait for another owner's end.
        pause: waits so many seconds between two tries.

    Raises:
        TransientError: somebody else holds it still.
    """
    lock = _take_lock(time.monotonic() + max(patience, 1), pause)  # a second for who only looks, as `owner`
    try:
        lock.truncate(0)
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        lock.write(json.dumps({"pid": os.getpid(), "started": started, "checkout": str(ROOT)}))
        lock.flush()
        yield
    finally:
        _LOCK.unlink()
        lock.close()


def _take_lock(deadline: float, pause: Callable[[float], object]) -> IO[str]:
    while True:
        lock = _LOCK.open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A file that its last owner has just removed is no lock any more.
            if _LOCK.exists() and os.fstat(lock.fileno()).st_ino == _LOCK.stat().st_ino:
                return lock
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TransientError(
                    f"A test cluster runs on this machine already, of {owner()}",
                    hint="make cluster-down, in its checkout",
                ) from None
            pause(0.2)
        lock.close()


def run(command: list[str]) -> None:
    """Run a command of the machine's.

    Raises:
        TransientError: it fails, with its words.
    """
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    if ended.returncode:
        raise TransientError(f"{' '.join(command)}: {ended.stderr.strip()}")


def cgroups() -> list[Path]:
    """The cluster's group in each hierarchy, whether it is there or not."""
    table = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    kinds = {"cgroup", "cgroup2"}
    return [Path(fields[4]) / _CGROUP for fields in table if fields[fields.index("-") + 1] in kinds]


def _make_cgroups() -> None:
    """Make the cluster's groups."""
    for group in cgroups():
        group.mkdir()
        for setting in ("cpuset.cpus", "cpuset.mems"):  # version 1: a new group has none, and takes no process then
            if (group.parent / setting).exists():
                (group / setting).write_text((group.parent / setting).read_text())


def _enter() -> None:
    die_with_parent()
    for group in cgroups():
        (group / "cgroup.procs").write_text("0")


def clean() -> None:
    """Remove what the cluster, or a killed one, has left."""
    deadline = time.monotonic() + 30
    while any(_empty(group) for group in cgroups()):
        if time.monotonic() > deadline:
            raise TransientError(f"Processes of the test cluster do not end: {[str(group) for group in cgroups()]}")
        time.sleep(0.02)
    # The kernel takes a namespace's links away when it comes to it, which can be seconds later.
    if Path(f"/sys/class/net/{LINK}").exists():
        subprocess.run(["ip", "link", "delete", LINK], check=False, capture_output=True)
    _detach_loop_devices()
    shutil.rmtree(folder(), ignore_errors=True)


def _empty(group: Path) -> bool:
    """Kill what is in a group and remove it; whether something of it is still there."""
    for path, _, _ in os.walk(group, topdown=False):
        with suppress(FileNotFoundError, ProcessLookupError):
            for pid in Path(path, "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
        with suppress(OSError):
            Path(path).rmdir()
    return group.exists()


def _detach_loop_devices() -> None:
    """Detach those that the kubelet puts over block volumes; the driver's own go when nothing is over them.

    They are known by the name that they were given: the path that the kernel shows is the dead namespace's.
    """
    ours = os.fsencode(folder())[: _LOOP_NAME - 1]
    for path in Path("/sys/block").glob("loop*/loop"):
        with Path("/dev", path.parent.name).open("rb") as device, suppress(OSError):  # one that goes just now
            status = fcntl.ioctl(device, _LOOP_GET_STATUS64, bytes(_LOOP_INFO64))
            if status[_LOOP_NAME_AT : _LOOP_NAME_AT + _LOOP_NAME].startswith(ours):
                fcntl.ioctl(device, _LOOP_CLR_FD)


def keep(patience: float) -> None:
    """Run a cluster until it is told to end.

    Args:
        patience: seconds to wait for another cluster's end.

    Raises:
        MissingDependencyError: something that it needs is not installed.
        TransientError: it does not start, or its node ends.
    """
    check_machine()
    for part in PARTS:
        binaries(part)
    with only_one(patience, _wait_unless_alone):
        clean()
        folder().mkdir(parents=True)
        _make_cgroups()
        command = ["unshare", *_NAMESPACES, "--propagation=private", "--fork", "--kill-child=KILL"]
        command += [sys.executable, "-m", "tests.cluster.node", str(folder())]
        with (folder() / "node.log").open("wb") as log:
            node = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                preexec_fn=_enter,  # noqa: PLW1509 -- this process has one thread
            )
        try:
            _watch(node)
        except TransientError as error:
            raise TransientError(f"{error}\n{(folder() / 'node.log').read_text(errors='replace')}") from None
        finally:
            node.kill()
            node.wait()
            clean()


def _wait_unless_alone(seconds: float) -> None:
    """Nothing is said to us before the cluster is ready: what can be read is the end of whoever wants it."""
    if select.select([sys.stdin.buffer], [], [], seconds)[0]:
        sys.exit("cluster: its caller has ended")


def _watch(node: subprocess.Popen[bytes]) -> None:
    """Follow the node, and whoever is at our standard input."""
    assert node.stdout is not None
    watched: list[IO[bytes]] = [node.stdout, sys.stdin.buffer]
    while True:
        readable, _, _ = select.select(watched, [], [])
        if node.stdout in readable:
            said = node.stdout.readline()
            if said == b"isolated\n":
                _link(node.pid)
                (folder() / "node.pid").write_text(_child(node.pid))
            elif said == b"ready\n":
                sys.stdout.write("ready\n")
                sys.stdout.flush()
            else:
                raise TransientError("The test cluster's node ended, and said:")
        if sys.stdin.buffer in readable:
            if sys.stdin.buffer.readline() != b"stay\n":
                return
            watched.remove(sys.stdin.buffer)


def _link(pid: int) -> None:
    """Join the machine to the pods' network; its routes and rules stay as they are."""
    run(["ip", "link", "add", LINK, "type", "veth", "peer", "name", UPLINK, "netns", str(pid)])
    run(["ip", "addr", "add", f"{HOST}/24", "dev", LINK])
    run(["ip", "link", "set", LINK, "up"])


def _child(pid: int) -> str:
    """The node's process id as the machine counts: the only child of `unshare`."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()


def _end(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def main() -> None:
    """Keep a cluster."""
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    try:
        keep(float(sys.argv[1]))
    except (MissingDependencyError, TransientError) as error:
        sys.exit(f"cluster: {error}")


if __name__ == "__main__":
    main()
