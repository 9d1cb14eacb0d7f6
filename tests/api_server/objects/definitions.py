"""CRDs that keep whatever is in an object: ours with a /status, and CDI's, where only a DataVolume has one."""

from __future__ import annotations

_KINDS = {"dataimportcrons": "DataImportCron", "datasources": "DataSource", "datavolumes": "DataVolume"}


def definition(group, plural, kind, *, status, scope="Namespaced", labels=None):  # noqa: PLR0913 -- a CRD's parts
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": anything, "status": anything}}
    version = {"name": "v1beta1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    if status:
        version["subresources"] = {"status": {}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}", "labels": labels or {}},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"plural": plural, "kind": kind, "singular": kind.lower(), "listKind": f"{kind}List"},
            "versions": [version],
        },
    }


def ours():
    return [definition("cdi.kubevirt.io", plural, kind, status=True) for plural, kind in _KINDS.items()]


def with_cdi():
    operator = {"operator.cdi.kubevirt.io": ""}
    theirs = [
        definition("cdi.kubevirt.io", plural, kind, status=kind == "DataVolume", labels=operator)
        for plural, kind in _KINDS.items()
    ]
    cdis = definition("cdi.kubevirt.io", "cdis", "CDI", status=True, scope="Cluster", labels=operator)
    return [*theirs, cdis, definition("dataimportcron.io", "dataimportcrons", "DataImportCron", status=True)]
