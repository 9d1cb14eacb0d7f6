"""A libvirtd of a test's own, in namespaces of its own: nothing of the machine's is read, and nothing is left behind.

Its folders are bind mounts, its network has no way out, and the first process of its process namespace waits for us:
when we end, however we do, the kernel ends the rest, virtual machines included. It needs root or sudo.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dataimportcron.errors import MissingDependencyError
from demo.host import wait_for
from tests.support.storage import as_root

_PROGRAMS = {
    "libvirtd": "libvirt-daemon-system",
    "virsh": "libvirt-clients",
    "virt-install": "virtinst",
    "qemu-system-x86_64": "qemu-system-x86",
}
_START = """
set -eu
for folder in etc/libvirt var/lib/libvirt var/cache/libvirt run/libvirt; do
    mkdir -p "/$folder" "$1/$folder"
    mount --bind "$1/$folder" "/$folder"
done
PATH=$PATH:/usr/sbin:/sbin libvirtd --config "$1/libvirtd.conf" --pid-file "$1/libvirtd.pid" >"$1/log" 2>&1 &
read -r _ || :
"""
"""The shell stays: as the first process of its namespace it must bury what libvirtd leaves behind, else that waits."""
_DAEMON = """
unix_sock_dir = "{folder}"
unix_sock_rw_perms = "0777"
auth_unix_ro = "none"
auth_unix_rw = "none"
"""
_QEMU = """
stdio_handler = "file"
security_driver = "none"
cgroup_controllers = []
namespaces = []
"""


@dataclass(frozen=True, slots=True)
class Libvirt:
    """A running libvirtd; `folder` is its own."""

    folder: Path

    @property
    def uri(self) -> str:
        """How clients reach it."""
        return f"qemu+unix:///system?socket={self.folder}/libvirt-sock"

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run virsh or virt-install."""
        done = subprocess.run(
            [command[0], "--connect", self.uri, *command[1:]],
            env=os.environ | {"LC_ALL": "C", "HOME": str(self.folder), "XDG_CACHE_HOME": str(self.folder)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def virsh(self, *arguments: str) -> str:
        """What a command of virsh says."""
        return self.run("virsh", *arguments).stdout


@contextmanager
def libvirt() -> Iterator[Libvirt]:
    """Run one.

    Raises:
        MissingDependencyError: a program is not installed.
    """
    for program, package in _PROGRAMS.items():
        if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None:
            raise MissingDependencyError(
                f"the program {program} is not installed", hint=f"apt-get install --no-install-recommends {package}"
            )
    folder = Path(tempfile.mkdtemp(prefix="libvirt-"))
    folder.chmod(0o755)
    (folder / "etc" / "libvirt").mkdir(parents=True)
    (folder / "etc" / "libvirt" / "qemu.conf").write_text(_QEMU)
    (folder / "libvirtd.conf").write_text(_DAEMON.format(folder=folder))
    namespaces = ("--mount", "--net", "--ipc", "--pid", "--fork", "--mount-proc")
    command = as_root("unshare", *namespaces, "bash", "-c", _START, "libvirt", str(folder))
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        running = Libvirt(folder)
        wait_for("libvirtd", 30, lambda: running.run("virsh", "version", check=False).returncode == 0)
        yield running
    finally:
        process.communicate()
        subprocess.run(as_root("rm", "-rf", "--one-file-system", str(folder)), check=True)
