"""The rules for each kind beyond its shape, with the numbers of the acceptance cases that they meet.

A DataImportCron's are those of CDI's webhook in CDI's words. CDI has none for a DataSource; what is refused there could
never resolve. ConfigMaps and Secrets follow Kubernetes' own validation, and of a Secret's values nothing is shown.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from dataimportcron.api.faults import Fault, shown
from dataimportcron.api.metadata import label_faults, name_faults
from dataimportcron.api.node import Node
from dataimportcron.api.refusals import Refusal
from dataimportcron.api.types import ConfigMap, DataImportCron, DataSource, DataVolume, Resource, Secret
from dataimportcron.api.volume_rules import data_volume_faults, named_faults, source_faults, storage_faults
from dataimportcron.errors import InvalidScheduleError
from dataimportcron.schedule import Schedule

ALLOWED_SOURCES: Final = ("registry", "pvc")
"""What a cron can follow (V-07)."""

GARBAGE_COLLECT: Final = ("Outdated", "Never")
_LONGEST_LABEL: Final = 63
_INT32: Final = 1 << 31
_LONGEST_DATA: Final = 1 << 20
_LONGEST_KEY: Final = 253
_KEY = re.compile(r"(?!\.$)(?!\.\.)[-._a-zA-Z0-9]+", re.ASCII)
_UNSETTABLE: Final = ("sourceRef", "contentType", "checkpoints", "finalCheckpoint")
_DOCKER_CONFIG: Final = MappingProxyType(
    {
        "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
        "kubernetes.io/dockercfg": ".dockercfg",
    }
)


def data_import_cron_faults(document: Node) -> Iterator[Fault]:
    """V-01 to V-17, V-21."""
    spec, name = document["spec"], document["metadata"]["name"]
    if len(name.text or "") > _LONGEST_LABEL:
        yield name.fault(Refusal.NAME_TOO_LONG, allowed="it becomes a label's value")
    if not spec.present:
        yield spec.missing()
        return
    template, schedule, managed = spec["template"], spec["schedule"], spec["managedDataSource"]
    if not template["spec"].present:
        yield template["spec"].missing()
    else:
        yield from label_faults(template["metadata"])
        yield from _template_faults(template["spec"])
    if not schedule.present:
        yield schedule.missing(allowed='"" polls by request only')
    yield from _schedule_faults(schedule)
    if not managed.given or len(managed.text or "") > _LONGEST_LABEL:
        yield managed.fault(Refusal.DATA_SOURCE_NAME, allowed="write a DataSource's name, 1 to 63 characters")
    else:
        yield from name_faults(managed, Refusal.DATA_SOURCE_NAME)
    yield from _retention_faults(spec)
    account = spec["serviceAccountName"]
    if account.value == "":
        yield Fault(path=account.path, message=Refusal.EMPTY, allowed="leave it out for default")
    yield from name_faults(account)


def _schedule_faults(schedule: Node) -> Iterator[Fault]:
    """V-13, V-14."""
    if schedule.text:
        try:
            Schedule.parse(schedule.text)
        except InvalidScheduleError as error:
            reason = error.message.removeprefix(f'schedule "{schedule.text}": ')
            yield schedule.fault(Refusal.SCHEDULE, allowed="; ".join(filter(None, (reason, error.hint))))


def _retention_faults(spec: Node) -> Iterator[Fault]:
    """V-16, V-17; retentionPolicy is any string, and any but None means All."""
    keep, collect = spec["importsToKeep"], spec["garbageCollect"]
    if isinstance(keep.value, int) and not isinstance(keep.value, bool) and not 0 <= keep.value < _INT32:
        yield keep.fault(Refusal.IMPORTS_TO_KEEP, allowed="0 to 2147483647")
    if collect.text is not None and collect.text not in GARBAGE_COLLECT:
        yield collect.fault(Refusal.GARBAGE_COLLECT, allowed="Outdated or Never")


def _template_faults(spec: Node) -> Iterator[Fault]:
    """V-07 to V-09, V-21."""
    source = spec["source"]
    unsettable = [name for name in _UNSETTABLE if spec[name].value not in (None, "", [], False)]
    if unsettable:
        yield Fault(path=spec.path, message=Refusal.UNSETTABLE, found=", ".join(unsettable))
    if not any(source[name].present for name in ALLOWED_SOURCES):
        found, allowed = ", ".join(source.keys), f"one of {', '.join(ALLOWED_SOURCES)} is needed"
        yield Fault(path=source.path, message=Refusal.NO_CRON_SOURCE, found=found, allowed=allowed)
    else:
        yield from source_faults(source)
    for claim in ("pvc", "storage"):
        for name in ("dataSource", "dataSourceRef"):
            if spec[claim][name].present:
                yield Fault(path=spec[claim][name].path, message=Refusal.EXTERNAL)
    yield from storage_faults(spec)


def data_source_faults(document: Node) -> Iterator[Fault]:
    """`spec.source` is required and may be empty; each member needs a name, an empty namespace is its own (D-07)."""
    source = document["spec"]["source"]
    if not source.present:
        yield source.missing(allowed="{} is no source yet")
    for _, member in source.members:
        yield from named_faults(member, ("name",))


def config_map_faults(document: Node) -> Iterator[Fault]:
    """Keys that are file names, base64 in binaryData, no key in both, at most 1 MiB."""
    data, binary = document["data"], document["binaryData"]
    yield from _data_faults(document, (data, binary))
    yield from _base64_faults(binary)
    for key in data.keys:
        if key in binary.keys:
            yield Fault(path=binary[key].path, message="stands in data too", allowed="remove one of them")


def secret_faults(document: Node) -> Iterator[Fault]:
    """Keys that are file names, base64 in data, what the type needs, at most 1 MiB."""
    data, strings = document["data"].concealed(), document["stringData"].concealed()
    yield from _data_faults(document, (data, strings))
    yield from _base64_faults(data)
    key = _DOCKER_CONFIG.get(document["type"].text or "")
    if key and not (data[key].present or strings[key].present):
        yield Fault(path=data[key].path, message=f"is required by type {document['type'].text}")


def _data_faults(document: Node, places: tuple[Node, ...]) -> Iterator[Fault]:
    for place in places:
        for key, value in place.members:
            if len(key) > _LONGEST_KEY or not _KEY.fullmatch(key):
                allowed = "letters, digits, '-', '_' and '.', at most 253, not starting with '..'"
                yield Fault(path=value.path, message="is no file name", found=shown(key), allowed=allowed)
    size = sum(len((value.text or "").encode()) for place in places for _, value in place.members)
    if size > _LONGEST_DATA:
        kind = document["kind"].text
        yield Fault(path="data", message=f"{kind} is too large", found=f"{size} bytes", allowed="1 MiB at most")


def _base64_faults(place: Node) -> Iterator[Fault]:
    for _, value in place.members:
        if value.text is not None:
            try:
                b64decode(value.text.replace("\n", "").replace("\r", ""), validate=True)
            except (binascii.Error, ValueError):
                plain = "put plain text into stringData" if place.path == "data" else "put plain text into data"
                yield value.concealed().fault("is no base64", allowed=plain)


RULES: Final[Mapping[type[Resource], Callable[[Node], Iterator[Fault]]]] = MappingProxyType(
    {
        DataImportCron: data_import_cron_faults,
        DataSource: data_source_faults,
        DataVolume: lambda document: data_volume_faults(document["spec"]),
        ConfigMap: config_map_faults,
        Secret: secret_faults,
    }
)
"""The rules of each kind, given the whole document."""
