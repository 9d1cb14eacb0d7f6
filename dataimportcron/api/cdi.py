"""CDI's own settings as kinds: CDI, CDIConfig, StorageProfile.

KubeVirt's virt-controller waits for all three as soon as DataVolumes exist, so a cluster without CDI gets them too.
What only CDI's operator reads (placement, certificates, patches) is kept as it is and not described any further.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from dataimportcron.api.meta import Condition, Model, Resource
from dataimportcron.api.types import CDI_GROUP, VERSION

CONFIG_NAME: Final = "config"
"""The name of the one CDIConfig."""


class FilesystemOverhead(Model):
    """What part of a Filesystem volume is left to the file system, as a fraction from 0 to 1, such as "0.06".

    Attributes:
        global_: of all volumes.
        storage_class: of the volumes of a StorageClass, by its name.
    """

    global_: str | None = Field(default=None, alias="global")
    storage_class: dict[str, str] = Field(default_factory=dict)


class ImportProxy(Model):
    """The proxy of importers.

    Attributes:
        http_proxy: URL of the proxy for http.
        https_proxy: URL of the proxy for https.
        no_proxy: hosts and CIDRs that are reached without the proxy, separated by commas.
        trusted_ca_proxy: name of a ConfigMap with the proxy's CAs.
    """

    http_proxy: str | None = Field(default=None, alias="HTTPProxy")
    https_proxy: str | None = Field(default=None, alias="HTTPSProxy")
    no_proxy: str | None = None
    trusted_ca_proxy: str | None = Field(default=None, alias="trustedCAProxy")


class LocalObjectReference(Model):
    """An object of the same namespace.

    Attributes:
        name: what it is called.
    """

    name: str = ""


class CDIConfigSpec(Model):
    """Settings, as a person writes them.

    Attributes:
        upload_proxy_url_override: URL for uploads instead of the one that is found.
        import_proxy: the proxy of importers.
        scratch_space_storage_class: name of the StorageClass of scratch space.
        pod_resource_requirements: requests and limits of the pods that fill volumes.
        feature_gates: names of features that are switched on.
        webhook_pvc_rendering: Enabled or Disabled; whether a PersistentVolumeClaim is completed by StorageProfile.
        filesystem_overhead: what is left to the file system of a Filesystem volume; unset means 0.06.
        preallocation: whether all of a volume's space is taken at once.
        insecure_registries: registries, as host or host:port, whose certificates are not looked at.
        data_volume_ttl_seconds: ignored; seconds after which a complete DataVolume was removed.
        tls_security_profile: versions and ciphers of TLS servers.
        image_pull_secrets: Secrets for the images of the pods that fill volumes.
        log_verbosity: of CDI's logs, from 0.
    """

    upload_proxy_url_override: str | None = Field(default=None, alias="uploadProxyURLOverride")
    import_proxy: ImportProxy | None = None
    scratch_space_storage_class: str | None = None
    pod_resource_requirements: dict[str, Any] | None = None
    feature_gates: list[str] = Field(default_factory=list)
    webhook_pvc_rendering: str | None = None
    filesystem_overhead: FilesystemOverhead | None = None
    preallocation: bool | None = None
    insecure_registries: list[str] = Field(default_factory=list)
    data_volume_ttl_seconds: int | None = Field(default=None, alias="dataVolumeTTLSeconds")
    tls_security_profile: dict[str, Any] | None = None
    image_pull_secrets: list[LocalObjectReference] = Field(default_factory=list)
    log_verbosity: int | None = None


class CDIConfigStatus(Model):
    """Settings, as they hold.

    Attributes:
        upload_proxy_url: URL for uploads.
        upload_proxy_ca: the CA of that URL's certificate.
        import_proxy: the proxy of importers.
        scratch_space_storage_class: name of the StorageClass of scratch space.
        default_pod_resource_requirements: requests and limits of the pods that fill volumes.
        filesystem_overhead: what is left to the file system of a Filesystem volume.
        preallocation: whether all of a volume's space is taken at once.
        image_pull_secrets: Secrets for the images of the pods that fill volumes.
    """

    upload_proxy_url: str | None = Field(default=None, alias="uploadProxyURL")
    upload_proxy_ca: str | None = Field(default=None, alias="uploadProxyCA")
    import_proxy: ImportProxy | None = None
    scratch_space_storage_class: str | None = None
    default_pod_resource_requirements: dict[str, Any] | None = None
    filesystem_overhead: FilesystemOverhead | None = None
    preallocation: bool | None = None
    image_pull_secrets: list[LocalObjectReference] = Field(default_factory=list)


class CDIConfig(Resource):
    """Settings for all imports of the cluster; the one object is called config.

    Attributes:
        spec: as a person writes them.
        status: as they hold.
    """

    api_version: str = f"{CDI_GROUP}/{VERSION}"
    kind: str = "CDIConfig"
    spec: CDIConfigSpec = Field(default_factory=CDIConfigSpec)
    status: CDIConfigStatus = Field(default_factory=CDIConfigStatus)


class ClaimPropertySet(Model):
    """Modes that suit a StorageClass.

    Attributes:
        access_modes: ReadWriteOnce, ReadOnlyMany, ReadWriteMany or ReadWriteOncePod, the best first.
        volume_mode: Filesystem or Block.
    """

    access_modes: list[str] = Field(default_factory=list)
    volume_mode: str | None = None


class StorageProfileSpec(Model):
    """What a person wants instead of what is known of the provisioner.

    Attributes:
        clone_strategy: copy, snapshot or csi-clone.
        claim_property_sets: modes of volumes, the best first.
        data_import_cron_source_format: what an import is kept as: pvc or snapshot.
        snapshot_class: name of the VolumeSnapshotClass.
    """

    clone_strategy: str | None = None
    claim_property_sets: list[ClaimPropertySet] = Field(default_factory=list)
    data_import_cron_source_format: str | None = None
    snapshot_class: str | None = None


class StorageProfileStatus(StorageProfileSpec):
    """What holds.

    Attributes:
        storage_class: name of the StorageClass, which is the profile's too.
        provisioner: of the StorageClass.
        conditions: Recognized (the provisioner is a known one).
    """

    storage_class: str | None = None
    provisioner: str | None = None
    conditions: list[Condition] = Field(default_factory=list)


class StorageProfile(Resource):
    """What suits the volumes of the StorageClass of that name.

    Attributes:
        spec: what a person wants.
        status: what holds.
    """

    api_version: str = f"{CDI_GROUP}/{VERSION}"
    kind: str = "StorageProfile"
    spec: StorageProfileSpec = Field(default_factory=StorageProfileSpec)
    status: StorageProfileStatus = Field(default_factory=StorageProfileStatus)


class CDISpec(Model):
    """An installation of CDI; kept, and not acted upon.

    Attributes:
        image_pull_policy: Always, IfNotPresent or Never.
        uninstall_strategy: RemoveWorkloads or BlockUninstallIfWorkloadsExist.
        infra: replicas and placement of CDI's own pods.
        workload: placement of the pods that fill volumes.
        customize_components: patches and flags of CDI's own pods.
        clone_strategy_override: copy, snapshot or csi-clone, whatever the StorageClass.
        config: settings, as in CDIConfig.
        cert_config: lifetimes of CDI's own certificates.
        priority_class: name of the PriorityClass of CDI's own pods.
    """

    image_pull_policy: str | None = None
    uninstall_strategy: str | None = None
    infra: dict[str, Any] | None = None
    workload: dict[str, Any] | None = None
    customize_components: dict[str, Any] | None = None
    clone_strategy_override: str | None = None
    config: CDIConfigSpec | None = None
    cert_config: dict[str, Any] | None = None
    priority_class: str | None = None


class CDIStatus(Model):
    """How the installation is.

    Attributes:
        phase: such as Deployed.
        conditions: Available, Progressing, Degraded.
        operator_version: of CDI's operator.
        target_version: that is being installed.
        observed_version: that is installed.
    """

    phase: str | None = None
    conditions: list[Condition] = Field(default_factory=list)
    operator_version: str | None = None
    target_version: str | None = None
    observed_version: str | None = None


class CDI(Resource):
    """An installation of CDI. There is none of this kind in a cluster without CDI.

    Attributes:
        spec: what is wanted.
        status: how it is.
    """

    api_version: str = f"{CDI_GROUP}/{VERSION}"
    kind: str = "CDI"
    spec: CDISpec = Field(default_factory=CDISpec)
    status: CDIStatus = Field(default_factory=CDIStatus)
