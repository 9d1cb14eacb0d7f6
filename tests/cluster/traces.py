"""What a cluster could leave on the machine."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from tests.cluster.keeper import PATIENCE, cgroups, folder, only_one

_SYSCTLS = ("fs/inotify/max_user_instances", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward",
            "vm/overcommit_memory", "vm/panic_on_oom")  # fmt: skip


def traces() -> dict[str, set[str]]:
    """All that there is when no cluster runs, by kind."""
    with only_one(PATIENCE):
        return _found()


_OTHERS = "/pytest-of-"
"""In the path of what other tests mount meanwhile, each of which looks after its own."""


def _found() -> dict[str, set[str]]:
    ours = str(folder())
    return {
        "processes": {path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline") if ours in _read(path)},
        "mounts": {line for line in _read(Path("/proc/self/mountinfo")).splitlines() if _OTHERS not in line},
        "loop devices": attached(),
        "links": _lines("ip", "-brief", "link"),
        "network namespaces": _lines("ip", "netns", "list"),
        "routes": _lines("ip", "route", "show", "table", "all"),
        "rules": {line for line in _lines("iptables-save") if line.startswith("-A")},
        "cgroups": {str(group) for group in cgroups() if group.exists()},
        "sysctls": {f"{name}={_read(Path('/proc/sys', name))}" for name in _SYSCTLS},
        "files": {str(path) for path in (folder(), Path("/var/lib/kubelet"), Path("/var/lib/cni")) if path.exists()},
    }  # fmt: skip


def attached() -> set[str]:
    """The loop devices."""
    return {
        line for line in _lines("losetup", "--list", "--noheadings", "--output=NAME,BACK-FILE") if _OTHERS not in line
    }


def assert_no_new_traces(before: dict[str, set[str]]) -> None:
    """The kernel takes namespaces away a moment after their last process."""
    deadline = time.monotonic() + 60
    with only_one(PATIENCE):
        while new := {kind: found - before[kind] for kind, found in _found().items() if found - before[kind]}:
            assert time.monotonic() < deadline, new
            time.sleep(0.1)


def _lines(*command: str) -> set[str]:
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines())


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
