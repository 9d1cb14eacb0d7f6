"""Where a DataVolume's bytes come from: all of CDI's sources, exactly one of which is set."""

from __future__ import annotations

from pydantic import Field

from dataimportcron.api.meta import Model
from dataimportcron.api.volumes import Empty


class NamespacedName(Model):
    """A PersistentVolumeClaim, VolumeSnapshot or DataSource.

    Attributes:
        namespace: where it is; in a DataSource "" means the DataSource's own.
        name: what it is called.
    """

    namespace: str = ""
    name: str = ""


class Platform(Model):
    """The platform of a container disk, for an image index.

    Attributes:
        architecture: such as amd64 or arm64; unset means that of the importer.
    """

    architecture: str | None = None


class RegistrySource(Model):
    """A container disk in an OCI registry; either `url` or `image_stream` is set.

    Attributes:
        url: `docker://registry/repository:tag`, `oci-archive:path` or, on a host, `file:///path`.
        image_stream: name of an OpenShift ImageStream in the same namespace, optionally with `:tag`; needs node pull.
        pull_method: pod (the importer pulls) or node (the node's container runtime pulls); unset means pod.
        secret_ref: name of a Secret with the keys accessKeyId and secretKey, or of type dockerconfigjson.
        cert_config_map: name of a ConfigMap of PEM files whose CAs are trusted; their names end in .crt or .pem.
        platform: which manifest of an index is meant.
    """

    url: str | None = None
    image_stream: str | None = None
    pull_method: str | None = None
    secret_ref: str | None = None
    cert_config_map: str | None = None
    platform: Platform | None = None


class HTTPSource(Model):
    """A file behind http(s).

    Attributes:
        url: http:// or https://.
        secret_ref: name of a Secret with the keys accessKeyId and secretKey.
        cert_config_map: name of a ConfigMap of PEM files whose CAs are trusted.
        extra_headers: headers of the request, each as `Name: value`.
        secret_extra_headers: names of Secrets whose values are headers of the request.
        checksum: of the file, as `algorithm:hexadecimal`, such as sha256:….
        insecure_skip_verify: whether the server's certificate is not looked at.
    """

    url: str = ""
    secret_ref: str | None = None
    cert_config_map: str | None = None
    extra_headers: list[str] = Field(default_factory=list)
    secret_extra_headers: list[str] = Field(default_factory=list)
    checksum: str | None = None
    insecure_skip_verify: bool | None = None


class S3Source(Model):
    """An object in S3.

    Attributes:
        url: of the object, http:// or https://.
        secret_ref: name of a Secret with the keys accessKeyId and secretKey.
        cert_config_map: name of a ConfigMap of PEM files whose CAs are trusted.
    """

    url: str = ""
    secret_ref: str | None = None
    cert_config_map: str | None = None


class GCSSource(Model):
    """An object in Google Cloud Storage.

    Attributes:
        url: of the object.
        secret_ref: name of a Secret with a service account's key.
    """

    url: str = ""
    secret_ref: str | None = None


class ImageIOSource(Model):
    """A disk of oVirt.

    Attributes:
        url: of the engine's API.
        disk_id: id of the disk.
        secret_ref: name of a Secret with the keys accessKeyId and secretKey.
        cert_config_map: name of a ConfigMap of PEM files whose CAs are trusted.
        insecure_skip_verify: whether the server's certificate is not looked at.
    """

    url: str = ""
    disk_id: str = ""
    secret_ref: str | None = None
    cert_config_map: str | None = None
    insecure_skip_verify: bool | None = None


class VDDKSource(Model):
    """A disk of vSphere.

    Attributes:
        url: of vCenter or of an ESXi host.
        uuid: of the virtual machine.
        backing_file: path of the disk in its datastore.
        thumbprint: of the server's certificate.
        secret_ref: name of a Secret with the keys accessKeyId and secretKey.
        cert_config_map: name of a ConfigMap of PEM files whose CAs are trusted.
        init_image_url: the image that holds VDDK.
        extra_args: name of a ConfigMap with further arguments.
    """

    url: str | None = None
    uuid: str | None = None
    backing_file: str | None = None
    thumbprint: str | None = None
    secret_ref: str | None = None
    cert_config_map: str | None = None
    init_image_url: str | None = Field(default=None, alias="initImageURL")
    extra_args: str | None = None


class DataVolumeSource(Model):
    """Where the bytes come from; exactly one member is set.

    Attributes:
        registry: a container disk in an OCI registry.
        pvc: a PersistentVolumeClaim, which is cloned.
        snapshot: a VolumeSnapshot, which is restored.
        http: a file behind http(s).
        s3: an object in S3.
        gcs: an object in Google Cloud Storage.
        upload: nothing yet; a person uploads.
        blank: nothing; the volume is an empty disk.
        imageio: a disk of oVirt.
        vddk: a disk of vSphere.
    """

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
    """A reference to a DataSource, which says what is cloned when the clone starts.

    Attributes:
        kind: DataSource.
        name: of the DataSource.
        namespace: of the DataSource; unset means the DataVolume's own.
    """

    kind: str = ""
    name: str = ""
    namespace: str | None = None
