"""A home for tests of workflows: the real host's, except that registry and importer are fakes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dataimportcron.api.types import DataImportCron, DataSource, DataVolume
from dataimportcron.host.state.folder import StateFolder
from dataimportcron.host.state.store import Store
from dataimportcron.host.volumes import HostVolumes
from dataimportcron.messages import ObjectRef
from tests.support.fakes import FakeImporter, FakeSource
from worker.build import HostHome, host_home

NAMESPACE, NAME, DATA_SOURCE = "golden-images", "fedora-cron", "fedora"
URL = "docker://quay.io/kubevirt/fedora:latest"
SIZE = "1Mi"


def cron_document(**spec: Any) -> dict[str, Any]:
    """A DataImportCron; `spec` replaces members of its spec."""
    return {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataImportCron",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "template": {
                "spec": {
                    "source": {"registry": {"url": URL}},
                    "storage": {"resources": {"requests": {"storage": SIZE}}},
                }
            },
            "schedule": "30 1 * * 1",
            "importsToKeep": 2,
            "managedDataSource": DATA_SOURCE,
        }
        | spec,
    }


def keep_volumes_inside(state: StateFolder, settings: str = "") -> None:
    """Write the settings: volumes are in the state folder, and the machine's own libvirt is left in peace."""
    (state.path / "settings.toml").write_text(f'default_folder = "{state.path}/volumes"\n{settings}')


@dataclass(slots=True)
class TestHome:
    """The home, its fakes, and short ways to look at it."""

    __test__ = False

    folder: Path
    home: HostHome = field(init=False)
    source: FakeSource = field(init=False)
    importer: FakeImporter = field(init=False)

    def __post_init__(self) -> None:
        state = StateFolder(self.folder)
        state.prepare()
        keep_volumes_inside(state)
        self.home = host_home(state)
        assert isinstance(self.home.volumes, HostVolumes)
        self.source = FakeSource()
        self.importer = FakeImporter(self.home.volumes)
        self.home.source = self.source
        self.home.importer = self.importer

    @property
    def store(self) -> Store:
        return self.home.store

    def apply(self, **spec: Any) -> ObjectRef:
        """Apply the cron."""
        resource, _ = self.store.apply(cron_document(**spec))
        return ObjectRef(namespace=NAMESPACE, name=NAME, uid=resource.metadata.uid)

    def release(self, content: bytes) -> str:
        """Publish content under the cron's reference; returns its digest."""
        self.importer.add(content)
        return self.source.release(URL, content)

    def cron(self) -> DataImportCron:
        return self.store.get(DataImportCron, NAMESPACE, NAME)

    def volumes(self) -> dict[str, str]:
        """Phase by name."""
        return {v.metadata.name: v.status.phase for v in self.store.list(DataVolume, NAMESPACE)}

    def points_to(self) -> str:
        pvc = self.store.get(DataSource, NAMESPACE, DATA_SOURCE).spec.source.pvc
        return pvc.name if pvc else ""

    def condition(self, wanted: str) -> tuple[str, str, str]:
        for condition in self.cron().status.conditions:
            if condition.type == wanted:
                return condition.status, condition.reason, condition.message
        return "", "", ""

    def events(self) -> list[dict[str, Any]]:
        """Events of the cron."""
        return self.store.record(DataImportCron, NAMESPACE, NAME).events
