"""Where a DataVolume's bytes come from: all of CDI's sources, exactly one of which is set."""

from __future__ import annotations

from pydantic import Field

from dataimportcron.api.meta import Model
from dataimportcron.api.volumes import Empty


class NamespacedName(Model):
    """A PersistentVolumeClaim, VolumeSnapshot or DataSource; an empty namespace is the referrer's own."""

    namespace: str = ""
    name: str = ""


class Platform(Model):
    """The platform of a container disk, for an image index."""

    architecture: str | None = None


class RegistrySource(Model):
    """A container disk in an OCI registry; either `url` or `image_stream` is set.

    Attributes:
        url: `docker://…`, `oci-archive:…` or, on a host, `file:///…`.
        image_stream: name of an OpenShift ImageStream in the same namespace, optionally with a tag.
        pull_method: pod (we pull) or node (the node's runtime pulls); unset means pod.
        secret_ref: name of a Secret with the keys accessKeyId and secretKey, or of type dockerconfigjson.
        cert_config_map: name of a ConfigMap of PEM files.
        platform: which manifest of an index is meant.
    """

    url: str | None = None
    image_stream: str | None = None
    pull_method: str | None = None
    secret_ref: str | None = None
    cert_config_map: str | None = None
    platform: Platform | None = None


class HTTPSource(Model):
    """A file behind http(s)."""

    url: str = ""
    secret_ref: str | None = None
    cert_config_map: str | None = None
    extra_headers: list[str] = Field(default_factory=list)
    secret_extra_headers: list[str] = Field(default_factory=list)
    checksum: str | None = None
    insecure_skip_verify: bool | None = None


class S3Source(Model):
    """An object in S3."""

    url: str = ""
    secret_ref: str | None = None
    cert_config_map: str | None = None


class GCSSource(Model):
    """An object in Google Cloud Storage."""

    url: str = ""
    secret_ref: str | None = None


class ImageIOSource(Model):
    """A disk of oVirt."""

    url: str = ""
    disk_id: str = ""
    secret_ref: str | None = None
    cert_config_map: str | None = None
    insecure_skip_verify: bool | None = None


class VDDKSource(Model):
    """A disk of vSphere."""

    url: str | None = None
    uuid: str | None = None
    backing_file: str | None = None
    thumbprint: str | None = None
    secret_ref: str | None = None
    init_image_url: str | None = Field(default=None, alias="initImageURL")
    extra_args: str | None = None


class DataVolumeSource(Model):
    """Exactly one member is set."""

    registry: RegistrySource | None = None
    pvc: NamespacedName | None = None
    snapshot: NamespacedName | None = None
    http: HTTPSource | None = None
    s3: S3Source | None = None
    gcs: GCSSource | None = None
    upload: Empty | None = None
    blank: Empty | None = None
    imageio: ImageIOSource | None = None
    vddk: VDDKSource | None = None


class SourceRef(Model):
    """A reference to a DataSource; no namespace means the DataVolume's own."""

    kind: str = ""
    name: str = ""
    namespace: str | None = None
