"""The settings of a cluster's worker: a TOML file that is mounted, every key optional.

What KubeVirt CDI's own configuration says (CDIConfig) stands behind them: a key that is given here counts.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dataimportcron.errors import InvalidObjectError, MissingDependencyError

FILE_VARIABLE: Final = "DATAIMPORTCRON_SETTINGS"
DEFAULT_FILE: Final = Path("/etc/dataimportcron/settings.toml")
IMAGE_VARIABLE: Final = "DATAIMPORTCRON_IMAGE"
"""Names the image of import pods, which is the worker's own; it is set in one place, by kustomize."""

_Json = dict[str, Any]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ImportPods(_Settings):
    """How the pods that import are made, as Kubernetes' own fields take it, but for the names' spelling.

    Attributes:
        image_pull_policy: of all their containers; "" for the cluster's default.
        image_pull_secrets: names of Secrets in the namespace of the cron.
        node_selector: labels of nodes.
        tolerations: of taints.
        affinity: core/v1 Affinity.
        annotations: of the pods, beside those that keep a mesh's proxies away.
        resources: requests and limits of the importer.
    """

    image_pull_policy: str = ""
    image_pull_secrets: tuple[str, ...] = Field(default=(), strict=False)
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[_Json, ...] = Field(default=(), strict=False)
    affinity: _Json = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    resources: _Json = Field(default_factory=dict)


class ClusterSettings(_Settings):
    """The settings.

    Attributes:
        namespace: whose objects are served; "" means all.
        mode: standalone or beside CDI; "" means that it is found out, which needs rights on the whole cluster.
        site: tells this cluster from others in a Temporal namespace that they share; "" means the first characters of
            the uid of its namespace kube-system, which may have to be read for that.
        architecture: of container disks without `platform`; "" means that of the worker's node.
        insecure_registries: hosts (with port) that may be asked without TLS verification or by plain http.
        certs_dir: a folder of containerd's hosts.toml files, for polls and for imports by pods.
        concurrent_lookups: how many lookups are made at a time at one registry.
        lookup_rate: how many lookups are begun per second at one registry; 0 for no limit.
        concurrent_imports: how many imports and clones one worker waits for at a time.
        poll_jitter: seconds over which the polls of crons with one schedule are spread, and for which those of the same
            image share one lookup; 0 for none.
        import_rate: bytes per second that one import downloads at most; 0 for no limit.
        filesystem_overhead: by storage class, "" for all others, as parts of one such as "0.06".
        import_pods: how import pods are made.
    """

    namespace: str = ""
    mode: Literal["", "standalone", "beside"] = ""
    site: str = Field(default="", pattern=r"^[a-z0-9-]*$")
    architecture: str = ""
    insecure_registries: tuple[Annotated[str, Field(pattern=r"^[^/\s]+$")], ...] = Field(default=(), strict=False)
    certs_dir: str = ""
    concurrent_lookups: int = Field(default=4, ge=1)
    lookup_rate: int = Field(default=0, ge=0)
    concurrent_imports: int = Field(default=100, ge=1)
    poll_jitter: int = Field(default=10, ge=0)
    import_rate: int = Field(default=0, ge=0)
    filesystem_overhead: dict[str, Annotated[str, Field(pattern=r"^(0(\.\d{1,3})?|1)$")]] = Field(default_factory=dict)
    import_pods: ImportPods = Field(default_factory=ImportPods)


def read_settings(named: str) -> ClusterSettings:
    """The settings in a file.

    Args:
        named: its path; "" means the default one, which need not be there.

    Raises:
        MissingDependencyError: the file that is named is not there.
        InvalidObjectError: it is no TOML, or has a key or a value that is not ours.
    """
    path = Path(named) if named else DEFAULT_FILE
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError as error:
        if not named:
            return ClusterSettings()
        raise MissingDependencyError(
            f"There is no settings file {path}", hint=f"mount it, or leave {FILE_VARIABLE} unset"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidObjectError(f"{path} cannot be read: {error}") from error
    return settings_in(text, str(path))


def settings_in(text: str, path: str) -> ClusterSettings:
    """The settings in a text.

    Args:
        text: of the file.
        path: what errors call it.

    Raises:
        InvalidObjectError: it is no TOML, or has a key or a value that is not ours.
    """
    try:
        return ClusterSettings(**tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InvalidObjectError(f"{path}: {error}") from error
    except ValidationError as error:
        faults = tuple(f"{path}: {_where(fault['loc'])}: {fault['msg']}" for fault in error.errors())
        raise InvalidObjectError(
            "; ".join(faults), faults=faults, hint=f"known keys are {', '.join(ClusterSettings.model_fields)}"
        ) from None


def _where(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)
