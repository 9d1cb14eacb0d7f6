"""How our objects are spelt on one cluster: group, labels, and where a status goes.

The models and the decisions know one spelling, CDI's. Beside CDI that spelling is CDI's own property: whatever carries
its labels of a cron, CDI reconciles and deletes. So the labels are exchanged at the border, each for the other: ours
are written instead of CDI's, and CDI's are read as something that no decision takes for ours. An exchange loses
nothing, and undoes itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from dataimportcron import naming
from dataimportcron.api.snapshots import VolumeSnapshot
from dataimportcron.api.types import (
    OWN_GROUP,
    ConfigMap,
    DataImportCron,
    DataSource,
    DataVolume,
    Resource,
    Secret,
)
from dataimportcron.cluster.client.resources import (
    CONFIG_MAPS,
    DATA_IMPORT_CRONS,
    DATA_SOURCES,
    DATA_VOLUMES,
    PVCS,
    SECRETS,
    VOLUME_SNAPSHOTS,
    Json,
    ResourceType,
)

OWN_LABEL_CRON: Final = "dataimportcron.io/data-import-cron"
OWN_LABEL_CLEANUP: Final = "dataimportcron.io/data-import-cron.cleanup"

_EXCHANGED: Final = {
    naming.LABEL_CRON: OWN_LABEL_CRON,
    OWN_LABEL_CRON: naming.LABEL_CRON,
    naming.LABEL_CLEANUP: OWN_LABEL_CLEANUP,
    OWN_LABEL_CLEANUP: naming.LABEL_CLEANUP,
}


class StatusPlace(Enum):
    """Where the status of a kind is written."""

    SUBRESOURCE = "subresource"
    MAIN = "main"
    NOWHERE = "nowhere"
    """Somebody else writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The spelling of one cluster.

    Attributes:
        beside: whether CDI runs here, and our crons are of our own group.
        statuses: where the status of each kind goes.
    """

    beside: bool
    statuses: Mapping[type[Resource], StatusPlace]

    def resource(self, kind: type[Resource]) -> ResourceType:
        """What holds the objects of a kind."""
        return _BESIDE.get(kind, _RESOURCES[kind]) if self.beside else _RESOURCES[kind]

    def status_of(self, kind: type[Resource]) -> StatusPlace:
        """Where the status of a kind is written."""
        return self.statuses.get(kind, StatusPlace.MAIN)

    def label(self, key: str) -> str:
        """A label's key, of the models' spelling in the cluster's, and the other way round."""
        return _EXCHANGED.get(key, key) if self.beside else key

    def exchanged(self, document: Json) -> Json:
        """An object with its labels in the other spelling."""
        metadata = document.get("metadata") or {}
        if not self.beside or not metadata.get("labels"):
            return document
        labels = {self.label(key): value for key, value in metadata["labels"].items()}
        return document | {"metadata": metadata | {"labels": labels}}

    def may_write(self, label: str) -> bool:
        """Whether we may set or remove a label of the cluster's spelling: CDI's cron labels are CDI's beside it."""
        return not (self.beside and label.startswith(naming.LABEL_CRON))

    def foreign_owner(self, document: Json) -> str:
        """The cron of CDI's that an object of the cluster belongs to; "" if there is none, or none but ours."""
        labels = (document.get("metadata") or {}).get("labels") or {}
        return str(labels.get(naming.LABEL_CRON, "")) if self.beside else ""


def standalone(served: frozenset[str]) -> Dialect:
    """The dialect of a cluster without CDI.

    Args:
        served: what the server serves of CDI's group; with CDI's own CRDs only a DataVolume has a /status.
    """
    return Dialect(
        beside=False,
        statuses={kind: _place(served, _RESOURCES[kind]) for kind in (DataImportCron, DataSource, DataVolume)},
    )


def beside(served: frozenset[str]) -> Dialect:
    """The dialect of a cluster with CDI, which writes the status of each DataSource itself.

    Args:
        served: what the server serves of our group.
    """
    return Dialect(
        beside=True,
        statuses={DataImportCron: _place(served, DATA_IMPORT_CRONS), DataSource: StatusPlace.NOWHERE},
    )


def _place(served: frozenset[str], resource: ResourceType) -> StatusPlace:
    return StatusPlace.SUBRESOURCE if f"{resource.plural}/status" in served else StatusPlace.MAIN


_RESOURCES: Final[dict[type[Resource], ResourceType]] = {
    DataImportCron: DATA_IMPORT_CRONS,
    DataSource: DATA_SOURCES,
    DataVolume: DATA_VOLUMES,
    VolumeSnapshot: VOLUME_SNAPSHOTS,
    ConfigMap: CONFIG_MAPS,
    Secret: SECRETS,
}
_BESIDE: Final[dict[type[Resource], ResourceType]] = {
    DataImportCron: DATA_IMPORT_CRONS.of_group(OWN_GROUP),
    DataVolume: PVCS,
}
