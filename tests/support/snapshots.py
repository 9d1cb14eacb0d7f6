"""A host that keeps imports as snapshots, as a cluster can: the decisions and steps are the same in both."""

from __future__ import annotations

from typing import Any

import pytest

from dataimportcron.api.snapshots import VolumeSnapshot, VolumeSnapshotStatus
from dataimportcron.api.types import KINDS, DataVolumeSpec
from dataimportcron.ports import Volumes
from dataimportcron.values import Placement, SourceKind
from tests.support.home import TestHome

SNAPSHOTS = Placement(storage_class="fast", form=SourceKind.SNAPSHOT, snapshot_class="snaps")


class Storage:
    """What the host's volumes lack: a placement, and who uses a snapshot."""

    def __init__(self, volumes: Volumes) -> None:
        self._volumes = volumes
        self.placed = SNAPSHOTS
        self.users: dict[tuple[SourceKind, str], str] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._volumes, name)

    async def placement(self, _spec: DataVolumeSpec) -> Placement:
        return self.placed

    async def in_use(self, namespace: str, name: str, kind: SourceKind = SourceKind.PVC) -> str:
        own = await self._volumes.in_use(namespace, name, kind)
        return self.users.get((kind, name), own)


def snapshotting(home: TestHome, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """Let a home keep imports as snapshots; its store keeps any kind that it is told of."""
    monkeypatch.setitem(KINDS, "VolumeSnapshot", VolumeSnapshot)
    storage = Storage(home.home.volumes)
    home.home.volumes = storage
    return storage


def readied(snapshot: VolumeSnapshot) -> tuple[VolumeSnapshot, VolumeSnapshot]:
    """A snapshot before and after the driver has taken it."""
    status = VolumeSnapshotStatus(ready_to_use=True, restore_size="2Gi")
    return snapshot, snapshot.model_copy(update={"status": status})
