"""What a registry client is given: as whom it reads, whom it trusts, and where it may ask."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from dataimportcron.oci.credentials import Credentials


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach registries, and as whom. Proxies come from the environment: see the module of that name.

    Attributes:
        credentials: by registry, host[:port], or narrower with a path, as `credentials.narrowest` finds them; each is
            sent to that host and to its token server alone. A mirror gets its own, never the origin's.
        ca_certificates: PEM texts that are trusted beside the system's; they hold for mirrors too.
        certs_dirs: folders with containerd's hosts.toml files; the first that knows a registry decides.
        insecure_registries: host[:port] of those whose certificates are not checked, and that may speak plain http.
        proxies: variables such as HTTPS_PROXY that count before those of this process's environment.
    """

    # Compared, but not hashed: equal ones are one key of a dictionary all the same.
    credentials: dict[str, Credentials] = field(default_factory=dict, hash=False)
    ca_certificates: tuple[str, ...] = ()
    certs_dirs: tuple[Path, ...] = ()
    insecure_registries: frozenset[str] = frozenset()
    proxies: tuple[tuple[str, str], ...] = field(default=(), repr=False)
