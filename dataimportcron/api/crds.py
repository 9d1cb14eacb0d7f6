"""The CustomResourceDefinitions, generated from the models: `python -m dataimportcron.api.crds FOLDER`.

`settings` and then `standalone` are for a cluster without CDI and have its group; where CDI's own definitions are,
these are never applied. `beside` has our cron alone, for a cluster that has CDI. A cron has one schema in both groups;
only apiVersion, short names and columns differ.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from dataimportcron.api.cdi import CDI, CONFIG_NAME, CDIConfig, StorageProfile
from dataimportcron.api.schema import schema_of
from dataimportcron.api.types import CDI_GROUP, OWN_GROUP, VERSION, DataImportCron, DataSource, DataVolume, Resource

_HEADER: Final = "# Made by `make crds` from dataimportcron/api; do not edit.\n"
_ROOT: Final[Mapping[str, dict[str, Any]]] = {
    "apiVersion": {"type": "string", "description": "The group and version that the object is written in."},
    "kind": {"type": "string", "description": "The kind of the object."},
    "metadata": {"type": "object"},
}
_OVERHEAD: Final = "0.06"
"""CDI's default: the part of a Filesystem volume that is left to the file system."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of `kubectl get`.

    Attributes:
        name: its heading.
        path: where its value stands.
        kind: string, integer or date.
        description: what clients that draw tables say of it.
        wide: whether it is shown with `-o wide` only.
    """

    name: str
    path: str
    description: str = ""
    kind: str = "string"
    wide: bool = False

    def document(self) -> dict[str, Any]:
        """An entry of additionalPrinterColumns."""
        told = {"name": self.name, "type": self.kind, "jsonPath": self.path}
        return told | {key: value for key, value in self._optional() if value}

    def _optional(self) -> Iterator[tuple[str, str | int]]:
        yield "description", self.description
        yield "priority", int(self.wide)


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A CustomResourceDefinition.

    Attributes:
        model: the kind.
        group: of the API.
        plural: the resource's name.
        short: short names.
        columns: of `kubectl get`.
        namespaced: whether objects are in namespaces, and in the category `all`.
        status: whether status is a subresource.
    """

    model: type[Resource]
    group: str
    plural: str
    short: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    namespaced: bool = True
    status: bool = True

    @property
    def name(self) -> str:
        """The definition's own name."""
        return f"{self.plural}.{self.group}"

    def document(self) -> dict[str, Any]:
        """The definition as an object."""
        kind = self.model.__name__
        names: dict[str, Any] = {
            "plural": self.plural,
            "singular": kind.lower(),
            "kind": kind,
            "listKind": f"{kind}List",
        }
        if self.short:
            names["shortNames"] = list(self.short)
        if self.namespaced:
            names["categories"] = ["all"]
        version: dict[str, Any] = {"name": VERSION, "served": True, "storage": True}
        if self.columns:
            version["additionalPrinterColumns"] = [column.document() for column in self.columns]
        if self.status:
            version["subresources"] = {"status": {}}
        schema = schema_of(self.model)
        schema["properties"] = schema["properties"] | _ROOT
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": self.name, "labels": {"app.kubernetes.io/part-of": "dataimportcron"}},
            "spec": {
                "group": self.group,
                "scope": "Namespaced" if self.namespaced else "Cluster",
                "names": names,
                "versions": [version | {"schema": {"openAPIV3Schema": schema}}],
            },
        }


def _condition(condition: str) -> str:
    return f'.status.conditions[?(@.type=="{condition}")].status'


_AGE: Final = Column(name="Age", path=".metadata.creationTimestamp", kind="date")
_FORMAT: Final = Column(
    name="Format", path=".status.sourceFormat", description="What an import is kept as: pvc or snapshot"
)
_PHASE: Final = Column(name="Phase", path=".status.phase", description="How far it is")


def _cron_columns(*, wide: bool) -> tuple[Column, ...]:
    return (
        Column(name="Schedule", path=".spec.schedule", description="When the source is polled", wide=wide),
        Column(
            name="Source",
            path=".spec.template.spec.source.*['url','imageStream','name']",
            description="The URL, the ImageStream or the PersistentVolumeClaim that is followed",
            wide=wide,
        ),
        Column(
            name="Ready",
            path=_condition("Ready"),
            description="Whether the DataSource points to a complete import",
            wide=wide,
        ),
        Column(
            name="UpToDate",
            path=_condition("UpToDate"),
            description="Whether that is the import of the newest digest",
            wide=wide,
        ),
        Column(
            name="Last Import",
            path=".status.lastImportTimestamp",
            kind="date",
            description="Time since the last import",
            wide=wide,
        ),
        Column(name=_AGE.name, path=_AGE.path, kind=_AGE.kind, wide=wide),
    )


BESIDE: Final = (
    Definition(
        model=DataImportCron,
        group=OWN_GROUP,
        plural="dataimportcrons",
        short=("dicron", "dicrons"),
        columns=_cron_columns(wide=False),
    ),
)
"""For a cluster that has CDI: our cron, with short names of its own."""

SETTINGS: Final = (
    Definition(
        model=CDI,
        group=CDI_GROUP,
        plural="cdis",
        short=("cdi", "cdis"),
        columns=(_AGE, _PHASE),
        namespaced=False,
        status=False,
    ),
    Definition(model=CDIConfig, group=CDI_GROUP, plural="cdiconfigs", namespaced=False, status=False),
    Definition(model=StorageProfile, group=CDI_GROUP, plural="storageprofiles", namespaced=False),
)
"""For a cluster without CDI, before `STANDALONE`: with DataVolumes and without these, KubeVirt starts no machine."""

STANDALONE: Final = (
    Definition(
        model=DataImportCron,
        group=CDI_GROUP,
        plural="dataimportcrons",
        short=("dic", "dics"),
        columns=(_FORMAT, *_cron_columns(wide=True)),
    ),
    Definition(model=DataSource, group=CDI_GROUP, plural="datasources", short=("das",)),
    Definition(
        model=DataVolume,
        group=CDI_GROUP,
        plural="datavolumes",
        short=("dv", "dvs"),
        columns=(
            _PHASE,
            Column(name="Progress", path=".status.progress", description="Percentage of the bytes, N/A while unknown"),
            Column(name="Restarts", path=".status.restartCount", kind="integer", description="Failed attempts so far"),
            _AGE,
        ),
    ),
)
"""For a cluster without CDI: its three kinds, which are ours there."""


def config() -> dict[str, Any]:
    """The one CDIConfig, which KubeVirt asks for the overhead of file systems."""
    overhead = {"filesystemOverhead": {"global": _OVERHEAD}}
    identity = {"apiVersion": f"{CDI_GROUP}/{VERSION}", "kind": "CDIConfig", "metadata": {"name": CONFIG_NAME}}
    return identity | {"spec": {}, "status": overhead}


def files() -> Mapping[str, str]:
    """All generated files by their path below `deploy/crds`."""
    definitions = {
        f"{folder}/{definition.name}.yaml": definition.document()
        for folder, every in (("beside", BESIDE), ("settings", SETTINGS), ("standalone", STANDALONE))
        for definition in every
    }
    return {
        path: _HEADER + _text(document)
        for path, document in (definitions | {"settings/object/config.yaml": config()}).items()
    }


def _text(document: dict[str, Any]) -> str:
    # A copy in which nothing is shared: PyYAML would write what occurs twice as anchor and alias.
    apart = json.loads(json.dumps(document))
    return yaml.safe_dump(apart, sort_keys=False, width=120, allow_unicode=True)


def main() -> None:
    """Write all files into the folder that is named on the command line."""
    for path, text in files().items():
        place = Path(sys.argv[1], path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
