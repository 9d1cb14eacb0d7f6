"""A host whose adapters are all real, in this process; images come from archives, so it needs no registry."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dataimportcron.api.types import DataImportCron, DataSource
from dataimportcron.errors import ObjectNotFoundError
from dataimportcron.host.state.folder import StateFolder
from tests.support.layout import ImageLayout, write_tar
from worker.build import HostHome, host_home

NAMESPACE = "golden-images"
SCRIPT = Path(__file__).parent / "separate_worker.py"


class RealHost:
    """The home on a state folder, archives that stand for tags, and crons that follow them every second."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.archives = folder / "archives"
        self.state = StateFolder(folder / "state")
        self.state.prepare()
        self.archives.mkdir()
        volumes = self.state.path / "volumes"
        (self.state.path / "settings.toml").write_text(f'default_folder = "{volumes}"\npoll_jitter = 0\n')
        self.home: HostHome = host_home(self.state)

    def release(self, name: str, content: bytes) -> str:
        """Put an image into the place of the last one; returns its digest."""
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as layer:
            member = tarfile.TarInfo("disk/disk.img")
            member.size = len(content)
            layer.addfile(member, io.BytesIO(content))
        layout = ImageLayout()
        manifest = layout.image((tar.getvalue(), tar.getvalue()))
        fresh = self.archives / f"{name}.new"
        write_tar(fresh, layout.files())
        fresh.rename(self.archives / f"{name}.tar")
        return str(manifest["digest"])

    def apply(self, name: str, **spec: Any) -> None:
        """Apply a cron for the archive of its name."""
        self.home.store.apply(
            {
                "apiVersion": "cdi.kubevirt.io/v1beta1",
                "kind": "DataImportCron",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {
                    "template": {
                        "spec": {
                            "source": {"registry": {"url": f"oci-archive:{self.archives / name}.tar"}},
                            "storage": {"resources": {"requests": {"storage": "1Mi"}}},
                        }
                    },
                    "schedule": "@every 1s",
                    "managedDataSource": name,
                }
                | spec,
            }
        )

    def points_to(self, name: str) -> str:
        """The volume that a DataSource points to."""
        try:
            pvc = self.home.store.get(DataSource, NAMESPACE, name).spec.source.pvc
        except ObjectNotFoundError:
            return ""
        return pvc.name if pvc else ""

    def content(self, volume: str) -> bytes:
        """What a volume begins with."""
        return (self.state.path / "volumes" / NAMESPACE / f"{volume}.img").read_bytes().rstrip(b"\0")

    def up_to_date(self, name: str) -> tuple[str, str]:
        """Status and reason of the condition UpToDate."""
        conditions = self.home.store.get(DataImportCron, NAMESPACE, name).status.conditions
        return next(((c.status, c.reason) for c in conditions if c.type == "UpToDate"), ("", ""))


@contextmanager
def separate_worker(host: RealHost, address: str, site: str, *, code: Path) -> Iterator[subprocess.Popen[str]]:
    """A second worker on the same folder and queues, from the code in a folder; it serves when this returns."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(host.state.path), address, site],
        env=os.environ | {"PYTHONPATH": str(code)},
        cwd=host.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith(str(code))
        yield process
        process.stdin.close()
        assert process.wait(60) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()
