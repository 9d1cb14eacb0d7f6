"""The cluster with a node, from outside: bring it up, take it down, put images into its registry, look inside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

from dataimportcron.errors import TransientError
from tests.cluster.access import Access
from tests.cluster.keeper import PATIENCE, ROOT, cgroups, clean, folder, only_one, owner
from tests.cluster.node_files import ADDRESSES, HOST, REGISTRY, trust

_END: Final = 30.0
"""Seconds that a keeper has for ending."""


class Cluster(Access):
    """A cluster that runs.

    Attributes:
        host: the machine's address, as pods and node reach it; nothing else of the world is in their reach.
        registry: host and port of its registry, the same for pods, node and machine; the node asks it for quay.io's.
        registry_ca: PEM file of the registry's authority.
    """

    host = HOST
    registry = REGISTRY

    def __init__(self) -> None:
        super().__init__(folder(), ADDRESSES.url)
        self.registry_ca = self.folder / "registry-ca" / "ca.crt"

    def push(self, source: str | Path, name: str) -> str:
        """Copy an image into the registry; returns its digest.

        Args:
            source: an archive, or a reference as skopeo has them.
            name: repository and tag.

        Raises:
            TransientError: it fails, with skopeo's words.
        """
        reference = f"oci-archive:{source}" if isinstance(source, Path) else source
        digest = self.folder / "pushed"
        command = ["skopeo", "copy", "--quiet", "--insecure-policy", "--preserve-digests", f"--digestfile={digest}"]
        command += [f"--dest-cert-dir={self.registry_ca.parent}", reference, f"docker://{REGISTRY}/{name}"]
        _run(command)
        return digest.read_text()

    def trust(self, registry: str, ca: Path, *, mirror_of: str = "") -> None:
        """Make the node trust another registry, or ask it first for what `mirror_of` has."""
        trust(self.folder / "certs.d", registry, ca, mirror_of=mirror_of)

    def on_node(self, *command: str) -> str:
        """Run a command in the node's namespaces; returns what it prints.

        Raises:
            TransientError: it fails, with its words.
        """
        node = (self.folder / "node.pid").read_text()
        return _run(["nsenter", "--all", f"--target={node}", "--", *command])

    def kill(self, program: str) -> None:
        """Kill the node's processes of a program with SIGKILL; those that the node started, it starts again."""
        processes = [pid for path in cgroups()[0].rglob("cgroup.procs") for pid in path.read_text().split()]
        for pid in processes:
            if Path(f"/proc/{pid}/exe").resolve().name == program:
                os.kill(int(pid), signal.SIGKILL)


def up() -> Cluster:
    """Bring a cluster up that stays until `down`; nothing of it is left where this fails or is interrupted.

    Raises:
        TransientError: it does not start, or there is one; with the reason.
    """
    keeper = start_keeper(0)
    assert keeper.stdin is not None
    keeper.stdin.write(b"stay\n")
    keeper.stdin.close()
    return Cluster()


def down() -> None:
    """End this checkout's cluster, or remove what a killed one of whoever's has left.

    Raises:
        TransientError: another checkout's runs.
    """
    found, ours = owner(), is_up()
    if found and ours:
        os.kill(found["pid"], signal.SIGTERM)
        deadline = time.monotonic() + _END
        while owner() and time.monotonic() < deadline:
            time.sleep(0.05)
        if owner():
            os.kill(found["pid"], signal.SIGKILL)
    with only_one(_END if ours else 0):
        clean()


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A cluster until the end of the context, or the one that `make cluster-up` has started from this checkout."""
    with ExitStack() as stack:
        if not is_up():
            stack.enter_context(start_keeper())
        yield stack.enter_context(closing(Cluster()))


def is_up() -> bool:
    """Whether this checkout's cluster runs."""
    found = owner()
    return found is not None and found.get("checkout") == str(ROOT)


def start_keeper(patience: float = PATIENCE) -> subprocess.Popen[bytes]:
    """A keeper whose cluster is ready; it ends with its standard input.

    Args:
        patience: seconds to wait for another cluster's end.

    Raises:
        TransientError: it does not start; with its words.
    """
    command = [sys.executable, "-m", "tests.cluster.keeper", str(patience)]
    # Of a session of its own: Ctrl-C is ours to handle, then it reads the end of its standard input.
    keeper = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    assert keeper.stdout is not None
    try:
        ready = keeper.stdout.readline() == b"ready\n"
    except BaseException:
        keeper.communicate()
        raise
    if not ready:
        raise TransientError(f"The test cluster did not start:\n{keeper.communicate()[1].decode(errors='replace')}")
    return keeper


def _run(command: list[str]) -> str:
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    if ended.returncode:
        raise TransientError(f"{' '.join(command)}: {ended.stderr.strip()}")
    return ended.stdout
