"""The service as its unit starts it, as far as that goes without systemd: command, capabilities, file systems."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from demo.host import Host, wait_for

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "dataimportcron.service"

_CAGE = """
set -e
state=$1 images=$2; shift 2
mount --bind "$state" "$state"
mount --bind "$images" "$images"
mount -o remount,bind,ro /
exec setpriv --bounding-set="$CAPABILITIES" --inh-caps=-all --no-new-privs -- "$@"
"""


def setting(name: str) -> str:
    """The value of a setting that the unit has once."""
    [value] = [line.partition("=")[2] for line in UNIT.read_text().splitlines() if line.startswith(f"{name}=")]
    return value


def installed(folder: Path) -> Path:
    """A copy of the unit whose program is this environment's."""
    program = str(Path(sys.executable).parent / "dataimportcron")
    copy = folder / UNIT.name
    copy.write_text(UNIT.read_text().replace(setting("ExecStart").split()[0], program))
    return copy


def as_root(*command: str) -> None:
    """Run a command as root."""
    subprocess.run([*(() if os.geteuid() == 0 else ("sudo", "-n", "--")), *command], check=True)


@dataclass(slots=True)
class CagedHost(Host):
    """A host on which a service manager starts `up`; its storage folder is `images`.

    Attributes:
        images: the storage folder.
        said: what the service told its manager.
    """

    images: Path = field(default_factory=Path)
    said: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Start the service, as the unit says, and wait until it says that it is ready."""
        capabilities = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in _capabilities())
        address = self.folder / "notify"
        address.unlink(missing_ok=True)
        # Nothing is inherited from the person at the terminal, not even a home.
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "CAPABILITIES": f"-all,{capabilities}",
            "DATAIMPORTCRON_STATE": str(self.folder),
            "NOTIFY_SOCKET": str(address),
            "REGISTRY_AUTH_FILE": os.environ["REGISTRY_AUTH_FILE"],
        }
        # An ordinary user is root in a user namespace, and has no more than that root's powers there.
        cage = ["unshare", "--mount", *(() if os.geteuid() == 0 else ("--user", "--map-root-user"))]
        command = [str(Path(sys.executable).parent / "dataimportcron"), *setting("ExecStart").split()[1:]]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, (self.folder / "up.log").open("ab") as log:
            manager.bind(str(address))
            manager.settimeout(60)
            self.up = subprocess.Popen(
                [*cage, "sh", "-c", _CAGE, "cage", str(self.folder), str(self.images), *command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            self.said = manager.recv(4096).decode().splitlines()
        wait_for("the worker", 10, lambda: self.pid_of("worker worker"))

    def file(self, namespace: str, name: str) -> Path:
        """The file of a volume."""
        return self.images / namespace / f"{name}.img"


def _capabilities() -> list[str]:
    return setting("CapabilityBoundingSet").split()
