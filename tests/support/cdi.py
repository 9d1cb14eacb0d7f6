"""What CDI leaves in a cluster: a cron with two imports; and what its controller of crons would do with what is there.

The claim of one import is still owned by its DataVolume, that of the other has outlived it.
"""

import json
from dataclasses import dataclass

from dataimportcron import naming
from tests.support.facts import A, B

OURS, THEIRS = "dataimportcrons.dataimportcron.io", "dataimportcrons.cdi.kubevirt.io"
CRON, SOURCE = "fedora-image-import-cron", "fedora"
OWN_LABEL = "dataimportcron.io/data-import-cron"
OLD, NEW = (naming.import_name(SOURCE, digest) for digest in (A, B))
URL = "docker://quay.io/containerdisks/fedora"
STORAGE = {"resources": {"requests": {"storage": "10Gi"}}}
SPEC = {
    "template": {"spec": {"source": {"registry": {"url": f"{URL}:latest"}}, "storage": STORAGE}},
    "schedule": "30 1 * * 1",
    "managedDataSource": SOURCE,
    "retentionPolicy": "All",
}


@dataclass(frozen=True)
class Space:
    """A namespace with what a cron of CDI's has made."""

    plane: object
    name: str

    def all(self):
        """Every object that the migration may touch, by kind and name."""
        kinds = f"{OURS},{THEIRS},datasources,datavolumes,pvc"
        items = self.plane.get(kinds, "-n", self.name)["items"]
        return {f"{it['apiVersion'].partition('/')[0]}/{it['kind']}/{it['metadata']['name']}": it for it in items}

    def the(self, resource, name):
        return self.plane.get(resource, name, "-n", self.name)

    def made(self, document, status=None):
        version = document["apiVersion"]
        kinds = f"/{'apis' if '/' in version else 'api'}/{version}/namespaces/{self.name}/{document['kind'].lower()}s"
        made = self.plane.http.post(kinds, json=document).raise_for_status().json()
        if status is not None:
            merge = {"Content-Type": "application/merge-patch+json"}
            path = f"{kinds}/{made['metadata']['name']}/status"
            self.plane.http.patch(path, json={"status": status}, headers=merge).raise_for_status()
        return made

    def patch(self, resource, name, patch):
        self.plane.kubectl("patch", resource, name, "-n", self.name, "--type=merge", "-p", json.dumps(patch))

    def metadata(self, name, *, labels=None, annotations=None, **more):
        return {"name": name, "namespace": self.name, "labels": labels or {}, "annotations": annotations or {}} | more

    def cron(self, name=CRON, metadata=None, **spec):
        annotations = {naming.ANNOTATION_DESIRED_DIGEST: B, "team": "images"}
        document = {
            "apiVersion": "cdi.kubevirt.io/v1beta1",
            "kind": "DataImportCron",
            "metadata": self.metadata(name, labels={"mine": "1"}, annotations=annotations) | (metadata or {}),
            "spec": SPEC | spec,
        }
        self.made(document, {"currentImports": [{"DataVolumeName": NEW, "Digest": B}]})

    def imported(self):
        """Two imports and the DataSource, as CDI leaves them."""
        owner = self.made(
            {
                "apiVersion": "cdi.kubevirt.io/v1beta1",
                "kind": "DataVolume",
                "metadata": self.metadata(OLD, labels=of_cdi()),
                "spec": {"source": {"registry": {"url": f"{URL}@{A}"}}, "storage": STORAGE},
            },
            {"phase": "Succeeded", "progress": "100.0%"},
        )
        reference = {key: owner[key] for key in ("apiVersion", "kind")} | {
            "name": OLD, "uid": owner["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True,
        }  # fmt: skip
        self.claim(OLD, A, ownerReferences=[reference])
        self.claim(NEW, B)
        self.made(
            {
                "apiVersion": "cdi.kubevirt.io/v1beta1",
                "kind": "DataSource",
                "metadata": self.metadata(SOURCE, labels=of_cdi()),
                "spec": {"source": {"pvc": {"name": NEW, "namespace": self.name}}},
            }
        )

    def claim(self, name, digest, **metadata):
        annotations = {
            naming.ANNOTATION_LAST_USE_TIME: "2026-10-01T00:00:00.000000000Z",
            "cdi.kubevirt.io/storage.import.endpoint": f"{URL}@{digest}",
            "cdi.kubevirt.io/storage.pod.phase": "Succeeded",
        }
        spec = {"accessModes": ["ReadWriteOnce"], "volumeMode": "Block", "storageClassName": "none"}
        self.made(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": self.metadata(name, labels=of_cdi(), annotations=annotations, **metadata),
                "spec": spec | STORAGE,
            }
        )


def of_cdi(cron=CRON):
    return {
        naming.LABEL_CRON: cron,
        "app": "containerized-data-importer",
        "app.kubernetes.io/managed-by": "cdi-controller",
    }


def labels(document):
    return document["metadata"].get("labels", {})


def annotations(document):
    return document["metadata"].get("annotations", {})


def what_cdi_would_do(found):
    """What CDI's controller of crons would do now, in words: it acts when anything with a label of a cron's changes."""
    crons = {it["metadata"]["name"]: it for key, it in found.items() if key.startswith("cdi.kubevirt.io/DataImportC")}
    others = {key: it for key, it in found.items() if "DataImportCron" not in key}
    for key, thing in others.items():
        cron = labels(thing).get(naming.LABEL_CRON)
        if cron is not None and cron not in crons and labels(thing).get(naming.LABEL_CLEANUP) == "true":
            yield f"delete {key}"
    for name, cron in crons.items():
        current = [it["DataVolumeName"] for it in cron.get("status", {}).get("currentImports", ())]
        managed = [f"v1/PersistentVolumeClaim/{it}" for it in current]
        for key in [*managed, f"cdi.kubevirt.io/DataSource/{cron['spec']['managedDataSource']}"]:
            if key not in others:
                yield f"make {key} anew"
            elif labels(others[key]).get(naming.LABEL_CRON) != name:
                yield f"label {key}"
