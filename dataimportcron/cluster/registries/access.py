"""In whose name the worker asks a registry: the Secret and the ConfigMap of the image source's own namespace (X-08).

The import's pod gets the same two as mounted files; there is no second copy anywhere.
"""

from __future__ import annotations

from pathlib import Path

from dataimportcron.api.contents import certificates_in, missing, secret_contents
from dataimportcron.api.types import ConfigMap, Secret
from dataimportcron.cluster.registries.cdi_config import CdiConfigs
from dataimportcron.cluster.registries.settings import ClusterSettings
from dataimportcron.errors import ObjectNotFoundError
from dataimportcron.oci.credentials import Credentials, from_secret
from dataimportcron.oci.registry import Access
from dataimportcron.ports import Objects
from dataimportcron.reference import Reference
from dataimportcron.values import ImageSource


class ClusterAccess:
    """Reads what an image source refers to.

    Args:
        objects: of the cluster; Secrets and ConfigMaps are read at each call and kept nowhere.
        settings: the worker's.
        cdi: CDI's configuration.
    """

    def __init__(self, objects: Objects, settings: ClusterSettings, cdi: CdiConfigs) -> None:
        self._objects = objects
        self._settings = settings
        self._cdi = cdi

    async def registry_access(self, image: ImageSource, reference: Reference) -> Access:
        """How to read `reference` for an image source.

        Raises:
            MissingDependencyError: its Secret or its ConfigMap is not there.
            InvalidObjectError: what is in one of them cannot be used.
        """
        settings, cdi = self._settings, await self._cdi.current()
        return Access(
            credentials=await self._credentials(image, reference.registry),
            ca_certificates=(*await self._certificates(image), *cdi.proxy_certificates),
            certs_dirs=(Path(settings.certs_dir),) if settings.certs_dir else (),
            insecure_registries=frozenset(settings.insecure_registries) | cdi.insecure_registries,
            proxies=cdi.proxies,
        )

    async def _credentials(self, image: ImageSource, registry: str) -> dict[str, Credentials]:
        if not image.secret:
            return {}
        try:
            secret = await self._objects.get(Secret, image.namespace, image.secret)
        except ObjectNotFoundError as error:
            raise missing(f"Secret {image.namespace}/{image.secret}", "secretRef") from error
        return from_secret(secret_contents(secret), registry)

    async def _certificates(self, image: ImageSource) -> tuple[str, ...]:
        if not image.cert_config_map:
            return ()
        try:
            config_map = await self._objects.get(ConfigMap, image.namespace, image.cert_config_map)
        except ObjectNotFoundError as error:
            raise missing(f"ConfigMap {image.namespace}/{image.cert_config_map}", "certConfigMap") from error
        return tuple(pem.decode("utf-8", "replace") for pem in certificates_in(config_map).values())
