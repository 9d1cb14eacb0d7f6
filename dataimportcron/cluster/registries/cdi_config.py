"""What KubeVirt CDI's configuration asks for: the CDIConfig named `config`, in the parts that are obeyed here.

What its controller has worked out stands in `status` and counts before `spec`. Standalone, the object is ours, and an
administrator may write it as CDI's documentation says. Source: CDI's types of v1beta1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, Final

from dataimportcron.api.contents import certificates_in
from dataimportcron.api.types import ConfigMap
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import CDI_CONFIGS, CONFIG_MAPS, LEASES
from dataimportcron.cluster.client.verbs import find_visible
from dataimportcron.cluster.jobs.pods import DEFAULT_RESOURCES, PodSettings
from dataimportcron.cluster.watching.detection import CDI_LEASE
from dataimportcron.errors import ObjectNotFoundError

_KEPT: Final = 1.0
"""Seconds for which a configuration that was read is taken for the present one: a hundred polls may come at a time."""
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
        features: that are switched on beyond the default ones, by CDI's names.
    """

    insecure_registries: frozenset[str] = frozenset()
    proxies: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    proxy_certificates: tuple[str, ...] = ()
    trusted_ca: str = ""
    overheads: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, Any] = field(default_factory=dict)
    preallocation: bool = False
    image_pull_secrets: tuple[str, ...] = ()
    features: frozenset[str] = frozenset()


class CdiConfigs:
    """The configuration as it is now, read again when a moment has passed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._read = float("-inf")
        self._config = CdiConfig()

    async def current(self) -> CdiConfig:
        """The configuration; where there is none, or none that we may read, one that says nothing."""
        if monotonic() - self._read > _KEPT:
            self._config = await self._complete()
            self._read = monotonic()
        return self._config

    async def _complete(self) -> CdiConfig:
        config = read_cdi_config(await find_visible(self._connection, CDI_CONFIGS, "config") or {})
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
        features=frozenset(str(name) for name in _list(spec.get("featureGates"))),
    )


def effective(settings: PodSettings, config: CdiConfig) -> PodSettings:
    """The settings of pods, completed by CDI's configuration; ours outrank it, but for proxies, as in polls."""
    certificates = {f"proxy-{number}.crt": pem for number, pem in enumerate(config.proxy_certificates)}
    resources = dict(config.resources) if settings.resources == DEFAULT_RESOURCES else settings.resources
    return replace(
        settings,
        insecure_registries=_together(settings.insecure_registries, sorted(config.insecure_registries)),
        image_pull_secrets=_together(settings.image_pull_secrets, config.image_pull_secrets),
        environment={**settings.environment, **dict(config.proxies)},
        certificates={**certificates, **settings.certificates},
        resources=resources or settings.resources,
    )


def preallocates(volume: Mapping[str, Any], config: CdiConfig) -> bool:
    """Whether the disk of a DataVolume shall have no holes: by itself, else by CDI's configuration."""
    own = _table(volume.get("spec")).get("preallocation")
    return config.preallocation if own is None else bool(own)


def _together(*lists: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item for items in lists for item in items))


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
