"""Which resources of the Kubernetes API are used here, by the names that its paths need."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import quote

from dataimportcron.api.types import CDI_GROUP, VERSION

Json = dict[str, Any]
"""An object of the API as plain JSON."""


@dataclass(frozen=True, slots=True)
class ResourceType:
    """A resource as the API's paths name it.

    Attributes:
        group: "" for the core group.
        version: such as v1.
        plural: as it stands in a path: pods.
        kind: Pod.
        namespaced: whether its objects live in namespaces.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        """As an object's apiVersion has it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def of_group(self, group: str) -> ResourceType:
        """The resource of the same name in another group."""
        return replace(self, group=group)

    def called(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """An object as a person says it: DataVolume golden/fedora; or all of a kind: datavolumes.cdi.kubevirt.io."""
        if not name:
            return f"{self}" + (f" in {namespace}" if namespace else "")
        place = f"{namespace}/{name}" if namespace else name
        return f"{self.kind} {place}" + (f" {subresource}" if subresource else "")

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The path of one object, or of all of a namespace ("" for all namespaces)."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [self.plural, name, subresource]
        return "/" + "/".join(quote(part, safe="") for part in parts if part)


NAMESPACES: Final = ResourceType("", "v1", "namespaces", "Namespace", namespaced=False)
NODES: Final = ResourceType("", "v1", "nodes", "Node", namespaced=False)
PODS: Final = ResourceType("", "v1", "pods", "Pod")
PVCS: Final = ResourceType("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
PVS: Final = ResourceType("", "v1", "persistentvolumes", "PersistentVolume", namespaced=False)
SECRETS: Final = ResourceType("", "v1", "secrets", "Secret")
CONFIG_MAPS: Final = ResourceType("", "v1", "configmaps", "ConfigMap")
EVENTS: Final = ResourceType("", "v1", "events", "Event")
DEPLOYMENTS: Final = ResourceType("apps", "v1", "deployments", "Deployment")
JOBS: Final = ResourceType("batch", "v1", "jobs", "Job")
LEASES: Final = ResourceType("coordination.k8s.io", "v1", "leases", "Lease")
STORAGE_CLASSES: Final = ResourceType("storage.k8s.io", "v1", "storageclasses", "StorageClass", namespaced=False)
CRDS: Final = ResourceType(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
VOLUME_SNAPSHOTS: Final = ResourceType("snapshot.storage.k8s.io", "v1", "volumesnapshots", "VolumeSnapshot")
VOLUME_SNAPSHOT_CLASSES: Final = ResourceType(
    "snapshot.storage.k8s.io", "v1", "volumesnapshotclasses", "VolumeSnapshotClass", namespaced=False
)
VOLUME_SNAPSHOT_CONTENTS: Final = ResourceType(
    "snapshot.storage.k8s.io", "v1", "volumesnapshotcontents", "VolumeSnapshotContent", namespaced=False
)
VOLUME_CLONE_SOURCES: Final = ResourceType(CDI_GROUP, VERSION, "volumeclonesources", "VolumeCloneSource")
IMAGE_STREAMS: Final = ResourceType("image.openshift.io", "v1", "imagestreams", "ImageStream")
SUBJECT_ACCESS_REVIEWS: Final = ResourceType(
    "authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False
)
SELF_SUBJECT_REVIEWS: Final = ResourceType(
    "authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False
)
MUTATING_POLICIES: Final = ResourceType(
    "admissionregistration.k8s.io", "v1", "mutatingadmissionpolicies", "MutatingAdmissionPolicy", namespaced=False
)
MUTATING_POLICY_BINDINGS: Final = ResourceType(
    "admissionregistration.k8s.io",
    "v1",
    "mutatingadmissionpolicybindings",
    "MutatingAdmissionPolicyBinding",
    namespaced=False,
)
VALIDATING_WEBHOOKS: Final = ResourceType(
    "admissionregistration.k8s.io",
    "v1",
    "validatingwebhookconfigurations",
    "ValidatingWebhookConfiguration",
    namespaced=False,
)
MUTATING_WEBHOOKS: Final = ResourceType(
    "admissionregistration.k8s.io",
    "v1",
    "mutatingwebhookconfigurations",
    "MutatingWebhookConfiguration",
    namespaced=False,
)

DATA_IMPORT_CRONS: Final = ResourceType(CDI_GROUP, VERSION, "dataimportcrons", "DataImportCron")
"""CDI's group; beside CDI ours is `DATA_IMPORT_CRONS.of_group(OWN_GROUP)`, see `dialect`."""
DATA_SOURCES: Final = ResourceType(CDI_GROUP, VERSION, "datasources", "DataSource")
DATA_VOLUMES: Final = ResourceType(CDI_GROUP, VERSION, "datavolumes", "DataVolume")
CDIS: Final = ResourceType(CDI_GROUP, VERSION, "cdis", "CDI", namespaced=False)
CDI_CONFIGS: Final = ResourceType(CDI_GROUP, VERSION, "cdiconfigs", "CDIConfig", namespaced=False)
STORAGE_PROFILES: Final = ResourceType(CDI_GROUP, VERSION, "storageprofiles", "StorageProfile", namespaced=False)
