"""What KubeVirt CDI's configuration asks for: the CDIConfig named `config`, in the parts that are obeyed here.

What its controller has worked out stands in `status` and counts before `spec`. Standalone, the object is ours, and an
administrator may write it as CDI's documentation says. Source: CDI's types of v1beta1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, Final

from dataimportcron.api.contents import certificates_in
from dataimportcron.api.types import ConfigMap
from dataimportcron.cluster.connection import Connection
from dataimportcron.cluster.detection import CDI_LEASE
from dataimportcron.cluster.resources import CDI_CONFIGS, CONFIG_MAPS, LEASES
from dataimportcron.errors import NotServedError, ObjectNotFoundError

_KEPT: Final = 5.0
"""Seconds for which a configuration that was read is taken for the present one."""
_VARIABLES = (("HTTPProxy", "HTTP_PROXY"), ("HTTPSProxy", "HTTPS_PROXY"), ("noProxy", "NO_PROXY"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CdiConfig:
    """The parts that are obeyed.

    Attributes:
        insecure_registries: hosts (with port) that may be asked without TLS verification or by plain http.
        proxies: variables of the environment, as programs read them.
        proxy_certificates: PEM texts that are trusted because a proxy breaks TLS open.
        trusted_ca: name of the ConfigMap, in CDI's namespace, that holds `proxy_certificates`; "" for none.
        overheads: of file systems, by storage class; "" for all others; parts of one.
        resources: requests and limits of import pods; empty where nothing is said.
        preallocation: of volumes that do not say.
        image_pull_secrets: names of Secrets for import pods.
    """

    insecure_registries: frozenset[str] = frozenset()
    proxies: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    proxy_certificates: tuple[str, ...] = ()
    trusted_ca: str = ""
    overheads: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, Any] = field(default_factory=dict)
    preallocation: bool = False
    image_pull_secrets: tuple[str, ...] = ()


class CdiConfigs:
    """The configuration as it is now, read again when some seconds have passed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._read = float("-inf")
        self._config = CdiConfig()

    async def current(self) -> CdiConfig:
        """The configuration; where there is none, one that says nothing."""
        if monotonic() - self._read > _KEPT:
            self._config = await self._complete()
            self._read = monotonic()
        return self._config

    async def _complete(self) -> CdiConfig:
        try:
            config = read_cdi_config(await self._connection.get(CDI_CONFIGS, "config"))
        except (ObjectNotFoundError, NotServedError):
            return CdiConfig()
        if not config.trusted_ca:
            return config
        leases = await self._connection.list(LEASES, field_selector=f"metadata.name={CDI_LEASE}")
        texts: list[str] = []
        for namespace in {lease["metadata"]["namespace"] for lease in leases}:
            try:
                found = await self._connection.get(CONFIG_MAPS, config.trusted_ca, namespace)
            except ObjectNotFoundError:
                continue
            certificates = certificates_in(ConfigMap.model_validate(found))
            texts += [pem.decode("utf-8", "replace") for pem in certificates.values()]
        return replace(config, proxy_certificates=tuple(texts))


def read_cdi_config(config: Mapping[str, Any]) -> CdiConfig:
    """The configuration in a CDIConfig as an API server has it; what is odd in it counts as not said."""
    spec, status = _table(config.get("spec")), _table(config.get("status"))
    proxy = _table(status.get("importProxy")) or _table(spec.get("importProxy"))
    overhead = _table(status.get("filesystemOverhead")) or _table(spec.get("filesystemOverhead"))
    overheads = {name: str(part) for name, part in _table(overhead.get("storageClass")).items()}
    if overhead.get("global"):
        overheads[""] = str(overhead["global"])
    pulls = [*_list(status.get("imagePullSecrets")), *_list(spec.get("imagePullSecrets"))]
    return CdiConfig(
        insecure_registries=frozenset(str(host) for host in _list(spec.get("insecureRegistries"))),
        proxies=tuple((variable, str(proxy[key])) for key, variable in _VARIABLES if proxy.get(key)),
        trusted_ca=str(proxy.get("trustedCAProxy") or ""),
        overheads=overheads,
        resources=_table(status.get("defaultPodResourceRequirements")) or _table(spec.get("podResourceRequirements")),
        preallocation=bool(status.get("preallocation", spec.get("preallocation", False))),
        image_pull_secrets=tuple(dict.fromkeys(str(_table(one).get("name", "")) for one in pulls if _table(one))),
    )


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
