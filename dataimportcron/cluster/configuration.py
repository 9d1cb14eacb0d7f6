"""CDI's own configuration, obeyed where there is one: our settings outrank it, name by name. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from dataimportcron.cluster.pods import DEFAULT_RESOURCES, PodSettings
from dataimportcron.cluster.resources import Json

_PROXIES = {"HTTPProxy": "HTTP_PROXY", "HTTPSProxy": "HTTPS_PROXY", "noProxy": "NO_PROXY"}


def effective(settings: PodSettings, config: Json) -> PodSettings:
    """The settings of pods, completed by a CDIConfig object; {} for none."""
    spec, status = config.get("spec") or {}, config.get("status") or {}
    proxy = status.get("importProxy") or spec.get("importProxy") or {}
    environment = {name: str(proxy[member]) for member, name in _PROXIES.items() if proxy.get(member)}
    pull_secrets = [str(it["name"]) for it in status.get("imagePullSecrets") or spec.get("imagePullSecrets") or ()]
    resources = status.get("defaultPodResourceRequirements") or spec.get("podResourceRequirements") or {}
    return replace(
        settings,
        insecure_registries=_together(settings.insecure_registries, spec.get("insecureRegistries") or ()),
        image_pull_secrets=_together(settings.image_pull_secrets, pull_secrets),
        environment={**environment, **settings.environment},
        resources=resources if resources and settings.resources == DEFAULT_RESOURCES else settings.resources,
    )


def preallocates(volume: Json, config: Json) -> bool:
    """Whether the disk of a DataVolume shall have no holes: by itself, else by CDI's configuration."""
    own = (volume.get("spec") or {}).get("preallocation")
    if own is not None:
        return bool(own)
    status, spec = config.get("status") or {}, config.get("spec") or {}
    return bool(status.get("preallocation") or spec.get("preallocation"))


def _together(*lists: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(item) for items in lists for item in items))
