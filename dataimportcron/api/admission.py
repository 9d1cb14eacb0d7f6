"""What an API server refuses by itself: required fields, enums and CEL rules of the CustomResourceDefinitions.

The twin of `rules` and `volume_rules`, with the same sentences (`refusals`), so that `kubectl apply` says what `apply`
on a host says. A rule never refuses what its twin admits; what it lets through and its twin does not (CEL cannot
read a schedule to its end) becomes the condition `Ready=False/InvalidSpec`, see `UNSAYABLE`.

Rules hang on models, so a rule of a registry source holds in a DataVolume and in a cron's template alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType
from typing import Any, Final

from dataimportcron.api import cdi, metadata, sources, types, volumes
from dataimportcron.api.refusals import Refusal
from dataimportcron.api.rules import ALLOWED_SOURCES, GARBAGE_COLLECT
from dataimportcron.api.schedule_pattern import SCHEDULE
from dataimportcron.api.shape import fields
from dataimportcron.api.volume_rules import (
    ACCESS_MODES,
    CONTENT_TYPES,
    PULL_METHODS,
    REQUIRED_OF_SOURCES,
    VOLUME_MODES,
    WITH_WEB_URL,
)
from dataimportcron.reference import GRAMMAR

Place = tuple[type, str]
"""A model and one of its fields by its JSON name, "" for the model as a whole."""

_SCHEDULES: Final = 'use five fields such as "30 1 * * 1", or a descriptor such as "@daily" or "@every 6h"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A CEL rule: `self` is the value at its place.

    Attributes:
        rule: true where the value is admitted.
        message: said where it is not.
        expression: CEL of the message, where it shows the value; `message` stands in where that fails.
        field: the member that is wrong, as in ".pullMethod"; "" for the value itself.
    """

    rule: str
    message: str
    expression: str = ""
    field: str = ""

    def document(self) -> dict[str, Any]:
        """An entry of x-kubernetes-validations."""
        named = {"messageExpression": self.expression, "fieldPath": self.field}
        return {"rule": self.rule, "message": str(self.message)} | {key: text for key, text in named.items() if text}


def _matches(pattern: str) -> str:
    return f"self.matches(r'^(?:{pattern})$')"


def _one_of(values: tuple[str, ...]) -> str:
    return f"self in [{', '.join(map(repr, values))}]"


def _given(field: str) -> str:
    return f"(has(self.{field}) && self.{field} != '')"


def _name(refusal: Refusal = Refusal.OBJECT_NAME) -> Rule:
    rule = f"self == '' || (size(self) <= {metadata.LONGEST_NAME} && {_matches(metadata.NAME)})"
    return Rule(rule=rule, message=f"{refusal}; {metadata.NAME_RULE}")


_NAMESPACE: Final = Rule(
    rule=f"self == '' || (size(self) <= {metadata.LONGEST_LABEL} && {_matches(metadata.NAMESPACE)})",
    message=f"{Refusal.NAMESPACE}; {metadata.NAMESPACE_RULE}",
)
_NOT_EMPTY: Final = Rule(rule="self != ''", message=Refusal.EMPTY)

_CRON: Final[Mapping[Place, tuple[Rule, ...]]] = {
    (types.DataImportCron, ""): (
        Rule(
            rule=f"size(self.metadata.name) <= {metadata.LONGEST_LABEL}",
            message=f"{Refusal.NAME_TOO_LONG}; it becomes a label's value",
            field=".metadata",
        ),
    ),
    (types.DataImportCronSpec, "schedule"): (
        Rule(rule=_matches(SCHEDULE), message=f"{Refusal.SCHEDULE}; {_SCHEDULES}"),
    ),
    (types.DataImportCronSpec, "managedDataSource"): (
        Rule(
            rule=f"size(self) <= {metadata.LONGEST_LABEL} && {_matches(metadata.NAME)}",
            message=f"{Refusal.DATA_SOURCE_NAME}; write a DataSource's name, 1 to 63 characters",
        ),
    ),
    (types.DataImportCronSpec, "garbageCollect"): (
        Rule(rule=_one_of(GARBAGE_COLLECT), message=f"{Refusal.GARBAGE_COLLECT}; Outdated or Never"),
    ),
    (types.DataImportCronSpec, "importsToKeep"): (
        Rule(rule="self >= 0", message=f"{Refusal.IMPORTS_TO_KEEP}; 0 to 2147483647"),
    ),
    (types.DataImportCronSpec, "serviceAccountName"): (_NOT_EMPTY, _name()),
    (types.DataVolumeTemplate, ""): (
        Rule(
            rule="!has(self.spec.sourceRef) && (!has(self.spec.contentType) || self.spec.contentType == '')"
            " && (!has(self.spec.checkpoints) || size(self.spec.checkpoints) == 0)"
            " && (!has(self.spec.finalCheckpoint) || !self.spec.finalCheckpoint)",
            message=Refusal.UNSETTABLE,
        ),
        Rule(
            rule="has(self.spec.source)"
            f" && ({' || '.join(f'has(self.spec.source.{name})' for name in ALLOWED_SOURCES)})",
            message=f"{Refusal.NO_CRON_SOURCE}; one of {', '.join(ALLOWED_SOURCES)} is needed",
        ),
        Rule(
            rule=" && ".join(
                f"(!has(self.spec.{claim}) || !has(self.spec.{claim}.{name}))"
                for claim in ("pvc", "storage")
                for name in ("dataSource", "dataSourceRef")
            ),
            message=Refusal.EXTERNAL,
        ),
    ),
}

_EXTERNAL: Final = " || ".join(
    f"(has(self.{claim}) && has(self.{claim}.{name}))"
    for claim in ("pvc", "storage")
    for name in ("dataSource", "dataSourceRef")
)
_MEMBERS: Final = ", ".join(f"has(self.{name})" for name in fields(sources.DataVolumeSource))
_CLONED: Final = "has(self.sourceRef) || (has(self.source) && (has(self.source.pvc) || has(self.source.snapshot)))"

_VOLUME: Final[Mapping[Place, tuple[Rule, ...]]] = {
    (types.DataVolume, "spec"): (
        Rule(rule=f"({_EXTERNAL}) || has(self.source) != has(self.sourceRef)", message=Refusal.SOURCE_OR_REFERENCE),
        Rule(rule=f"!({_EXTERNAL}) || !(has(self.source) || has(self.sourceRef))", message=Refusal.EXTERNAL),
        Rule(
            rule=f"!has(self.source) || {_MEMBERS.replace('self.', 'self.source.').replace(', ', ' || ')}",
            message=f"{Refusal.NO_SOURCE}; exactly one is needed",
        ),
    ),
    (types.DataVolumeSpec, ""): (
        Rule(rule="has(self.pvc) || has(self.storage)", message=f"{Refusal.NO_STORAGE}; write storage (or pvc)"),
        Rule(rule="!has(self.pvc) || !has(self.storage)", message=Refusal.TWO_STORAGES),
        Rule(
            rule=f"!has(self.storage) || {_CLONED} || (has(self.storage.resources)"
            " && has(self.storage.resources.requests) && 'storage' in self.storage.resources.requests)",
            message=f"Storage {Refusal.NO_SIZE}; write a quantity such as 5Gi",
            field=".storage",
        ),
        Rule(
            rule="!has(self.contentType) || self.contentType != 'archive' || !has(self.source)"
            " || !has(self.source.blank)",
            message=Refusal.BLANK_ARCHIVE,
            field=".contentType",
        ),
        Rule(
            rule="!has(self.contentType) || self.contentType != 'archive' || !has(self.source)"
            " || !has(self.source.registry)",
            message=Refusal.REGISTRY_ARCHIVE,
            field=".contentType",
        ),
    ),
    (types.DataVolumeSpec, "contentType"): (Rule(rule=_one_of(("", *CONTENT_TYPES)), message=Refusal.CONTENT_TYPE),),
    (types.DataVolumeSpec, "serviceAccountName"): (_NOT_EMPTY, _name()),
    (types.DataVolumeSpec, "priorityClassName"): (_name(),),
    (sources.SourceRef, "kind"): (
        Rule(rule="self != ''", message=f"{Refusal.NO_REFERENCE_KIND}; DataSource"),
        Rule(
            rule="self == '' || self == 'DataSource'",
            message=f"Unsupported sourceRef kind, {Refusal.REFERENCE_KIND}",
            expression=f"'Unsupported sourceRef kind ' + self + ', {Refusal.REFERENCE_KIND}'",
        ),
    ),
    (sources.SourceRef, "name"): (Rule(rule="self != ''", message=Refusal.NO_REFERENCE_NAME), _name()),
    (sources.SourceRef, "namespace"): (_NAMESPACE,),
}

_CLAIM: Final[Mapping[str, tuple[Rule, ...]]] = {
    "storageClassName": (_name(Refusal.STORAGE_CLASS_NAME),),
    "volumeName": (_name(),),
}


def _size_rules(what: str) -> tuple[Rule, ...]:
    requests = "self.resources.requests"
    unsized = f"!has(self.resources) || !has({requests}) || !('storage' in {requests})"
    size = f"string({requests}['storage'])"
    quantity = f"quantity({size})"
    return (
        Rule(
            rule=f"{unsized} || !isQuantity({size}) || {quantity}.isGreaterThan(quantity('0'))",
            message=f"{what} {Refusal.NOT_POSITIVE}; 1Mi or more",
            field=".resources",
        ),
        Rule(
            rule=f"{unsized} || !isQuantity({size}) || !{quantity}.isGreaterThan(quantity('0'))"
            f" || !{quantity}.isLessThan(quantity('1Mi'))",
            message=f"{what} {Refusal.TOO_SMALL}; 1Mi or more",
            field=".resources",
        ),
    )


_STORAGE: Final[Mapping[Place, tuple[Rule, ...]]] = {
    (volumes.PersistentVolumeClaimSpec, ""): (
        Rule(
            rule="has(self.resources) && has(self.resources.requests) && 'storage' in self.resources.requests",
            message=f"PVC {Refusal.NO_SIZE}; write a quantity such as 5Gi",
        ),
        *_size_rules("PVC"),
        Rule(rule="has(self.accessModes) && size(self.accessModes) > 0", message=Refusal.NO_ACCESS_MODE),
        Rule(
            rule="!has(self.accessModes) || size(self.accessModes) < 2",
            message=f"{Refusal.MANY_ACCESS_MODES}; pvc takes one",
        ),
    ),
    (volumes.StorageSpec, ""): _size_rules("Storage"),
    **{
        (model, field): rules
        for model in (volumes.StorageSpec, volumes.PersistentVolumeClaimSpec)
        for field, rules in _CLAIM.items()
    },
}

_CREDENTIALS: Final = "self.matches('^docker://[^/]*@.*/')"

_REGISTRY: Final[Mapping[Place, tuple[Rule, ...]]] = {
    (sources.RegistrySource, ""): (
        Rule(rule=f"{_given('url')} != {_given('imageStream')}", message=Refusal.URL_OR_STREAM),
        Rule(
            rule=f"!{_given('imageStream')} || (has(self.pullMethod) && !(self.pullMethod in ['', 'pod']))",
            message=f"{Refusal.STREAM_NEEDS_NODE}; pullMethod: node",
            field=".pullMethod",
        ),
        Rule(  # not at the URL itself: the API server would show it
            rule=f"!has(self.url) || !{_CREDENTIALS.replace('self', 'self.url')}",
            message=f"{Refusal.REGISTRY_URL}; put credentials into a Secret and name it in secretRef",
            field=".url",
        ),
    ),
    (sources.RegistrySource, "pullMethod"): (
        Rule(
            rule=_one_of(("", *PULL_METHODS)),
            message=f"ImportMethod {Refusal.PULL_METHOD}",
            expression=f"'ImportMethod ' + self + ' {Refusal.PULL_METHOD}'",
        ),
    ),
    (sources.RegistrySource, "imageStream"): (
        Rule(
            rule=f"self == '' || {_matches(f'{metadata.NAME}(?::[^:]+)?')}",
            message=f"{Refusal.STREAM_NAME}; write name or name:tag",
        ),
    ),
    (sources.RegistrySource, "url"): (
        Rule(
            rule="self == '' || self.startsWith('docker://') || self.startsWith('oci-archive:')",
            message=f"{Refusal.REGISTRY_SCHEME}; write docker://registry/repository:tag or oci-archive:path",
        ),
        Rule(
            rule=f"self != 'oci-archive:' && (!self.startsWith('docker://') || {_CREDENTIALS}"
            f" || {_matches(f'docker://{GRAMMAR}')})",
            message=f"{Refusal.REGISTRY_URL}; write docker://registry/repository:tag, …@sha256:… or oci-archive:path",
        ),
    ),
}

_SOURCE_MODELS: Final = MappingProxyType(
    {
        "registry": sources.RegistrySource,
        "http": sources.HTTPSource,
        "s3": sources.S3Source,
        "gcs": sources.GCSSource,
        "imageio": sources.ImageIOSource,
        "vddk": sources.VDDKSource,
    }
)


def _source_rules() -> Mapping[Place, tuple[Rule, ...]]:
    found: dict[Place, tuple[Rule, ...]] = {
        (sources.DataVolumeSource, ""): (
            Rule(
                rule=f"[{_MEMBERS}].filter(given, given).size() <= 1",
                message=f"{Refusal.MANY_SOURCES}; exactly one is needed",
            ),
        ),
    }
    for name in ("pvc", "snapshot"):
        found[sources.DataVolumeSource, name] = tuple(
            Rule(rule=f"self.{key} != ''", message=Refusal.REQUIRED, field=field)
            for key, field in (("name", ".name"), ("__namespace__", ".namespace"))
        )
    for name, model in _SOURCE_MODELS.items():
        found[model, "secretRef"] = (_name(),)
        if "certConfigMap" in fields(model):
            found[model, "certConfigMap"] = (_name(),)
        wanted = tuple(
            Rule(rule=_given(field), message=Refusal.REQUIRED, field=f".{field}")
            for field in REQUIRED_OF_SOURCES.get(name, ())
        )
        if name in WITH_WEB_URL:
            wanted += (Rule(rule=_given("url"), message=Refusal.NO_WEB_URL, field=".url"),)
            found[model, "url"] = (
                Rule(
                    rule="self == '' || self.matches('^(?i:https?):')", message=f"{Refusal.WEB_SCHEME}; http or https"
                ),
                Rule(
                    rule="!self.matches('^(?i:https?):') || self.matches('^[^:]*://[^/?#]')",
                    message=f"{Refusal.WEB_URL}; it names no host",
                ),
            )
        if wanted:
            found[model, ""] = wanted
    return found


_NAMED: Final[Mapping[Place, tuple[Rule, ...]]] = {
    (sources.NamespacedName, "name"): (_name(),),
    (sources.NamespacedName, "namespace"): (_NAMESPACE,),
    (types.DataSourceSpec, "source"): tuple(
        Rule(rule=f"!has(self.{member}) || self.{member}.name != ''", message=Refusal.REQUIRED, field=f".{member}.name")
        for member in fields(types.DataSourceSource)
    ),
}

RULES: Final[Mapping[Place, tuple[Rule, ...]]] = MappingProxyType(
    dict(chain(*(part.items() for part in (_CRON, _VOLUME, _STORAGE, _REGISTRY, _source_rules(), _NAMED))))
)
"""All CEL rules by their place."""

REQUIRED: Final[Mapping[type, tuple[str, ...]]] = MappingProxyType(
    {
        types.DataImportCron: ("spec",),
        types.DataImportCronSpec: ("template", "schedule", "managedDataSource"),
        types.DataVolumeTemplate: ("spec",),
        types.DataVolume: ("spec",),
        types.DataSource: ("spec",),
        types.DataSourceSpec: ("source",),
        sources.NamespacedName: ("namespace", "name"),
        sources.SourceRef: ("kind", "name"),
        sources.HTTPSource: ("url",),
        sources.S3Source: ("url",),
        sources.GCSSource: ("url",),
        sources.ImageIOSource: ("url", "diskId"),
        cdi.CDI: ("spec",),
        cdi.CDIConfig: ("spec",),
        cdi.StorageProfile: ("spec",),
        cdi.ClaimPropertySet: ("accessModes", "volumeMode"),
    }
)
"""Fields that must be there, as in CDI's definitions; a model that has no default for one requires it too."""

LONGEST_TEXT: Final = 4096
"""Characters of a string that has a rule: the API server wants to know before it reckons what the rule costs."""

ENUMS: Final[Mapping[type, Mapping[str, tuple[str, ...]]]] = MappingProxyType(
    {
        volumes.StorageSpec: {"accessModes": ACCESS_MODES, "volumeMode": ("", *VOLUME_MODES)},
        volumes.PersistentVolumeClaimSpec: {"accessModes": ACCESS_MODES, "volumeMode": ("", *VOLUME_MODES)},
        cdi.ClaimPropertySet: {"accessModes": ACCESS_MODES, "volumeMode": VOLUME_MODES},
        cdi.CDISpec: {
            "imagePullPolicy": ("Always", "IfNotPresent", "Never"),
            "uninstallStrategy": ("RemoveWorkloads", "BlockUninstallIfWorkloadsExist"),
            "cloneStrategyOverride": ("copy", "snapshot", "csi-clone"),
        },
    }
)
"""Fields with few values, which the API server lists when it refuses another one (`Refusal.UNSUPPORTED`)."""

UNSAYABLE: Final[Mapping[Refusal, str]] = MappingProxyType(
    {
        Refusal.NO_QUANTITY: "the schema's pattern refuses it, in the API server's own words",
        Refusal.QUALIFIED_NAME: "a rule over all keys of a map without a largest size is too dear for the API server",
        Refusal.LABEL_VALUE: "the same",
        Refusal.ANNOTATIONS_TOO_LARGE: "CEL cannot add up",
    }
)
"""Sentences that only `validation` says: of what they are about, the API server knows too little."""
