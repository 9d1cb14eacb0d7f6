"""In whose name a registry is read: Secret and ConfigMap of an `ImageSource`, read where they are used.

Where it names no Secret, the credentials are those of the user that this process runs as, from the files of docker and
podman (`oci.docker_config`) or from the one in the settings. The poll gets them as values; the importer, another
process, gets them as files in a private folder, laid out as Kubernetes mounts them.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dataimportcron.api.contents import certificates_in, missing, secret_contents
from dataimportcron.api.types import ConfigMap, Secret
from dataimportcron.errors import InvalidObjectError, ObjectNotFoundError
from dataimportcron.host.files import locked, try_lock_existing
from dataimportcron.host.state.folder import Settings, StateFolder
from dataimportcron.host.state.store import Store
from dataimportcron.oci.credentials import DOCKER_CONFIG_KEY, Credentials, from_secret, to_docker_config
from dataimportcron.oci.docker_config import find_credentials
from dataimportcron.oci.endpoints import endpoints_of
from dataimportcron.oci.registry import Access
from dataimportcron.reference import Reference
from dataimportcron.values import ImageSource

_FILE_NAME = re.compile(r"(?!\.\.?$)[-._a-zA-Z0-9]{1,253}", re.ASCII)
_KEY_RULE = "a key is of letters, digits, '-', '_' and '.'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """Contents of a Secret and a ConfigMap, by key. Never shown."""

    secret: dict[str, bytes] = field(default_factory=dict, repr=False)
    certificates: dict[str, bytes] = field(default_factory=dict)


class HostAccess:
    """Reads what an image source refers to."""

    def __init__(self, store: Store, state: StateFolder) -> None:
        self._store = store
        self._state = state

    def dependencies(self, image: ImageSource) -> Dependencies:
        """Read the Secret and the ConfigMap in the image source's namespace.

        Raises:
            MissingDependencyError: one of them does not exist.
        """
        secret = self._secret(image) if image.secret else {}
        certificates = self._certificates(image) if image.cert_config_map else {}
        return Dependencies(secret=secret, certificates=certificates)

    def registry_access(self, image: ImageSource, reference: Reference, settings: Settings | None = None) -> Access:
        """How to read `reference` for an image source; with these settings, if they have been read already.

        Raises:
            MissingDependencyError: a Secret, a ConfigMap, a file or a credential helper that is named is not there.
        """
        settings = settings or self._state.settings()
        found = self.dependencies(image)
        if found.secret:
            credentials = from_secret(found.secret, reference.registry)
        else:
            credentials = self._user_credentials(reference, settings)
        return Access(
            credentials=credentials,
            ca_certificates=tuple(pem.decode("utf-8", "replace") for pem in found.certificates.values()),
            certs_dirs=self._state.certs_dirs(settings),
            insecure_registries=frozenset(settings.insecure_registries),
        )

    def _user_credentials(self, reference: Reference, settings: Settings) -> dict[str, Credentials]:
        """Those that the user has for the registry and for its mirrors."""
        endpoints = endpoints_of(
            reference.registry, self._state.certs_dirs(settings), frozenset(settings.insecure_registries)
        )
        file = Path(settings.registry_auth_file) if settings.registry_auth_file else None
        return find_credentials((endpoint.host for endpoint in endpoints), reference.repository, file)

    @contextmanager
    def folder(self, image: ImageSource) -> Iterator[tuple[list[str], Path]]:
        """The importer's options for an image source, and the private folder that they name; removed at the end."""
        found = self.dependencies(image)
        secret, settings = found.secret, self._state.settings()
        if not secret and image.url.startswith("docker://"):
            reference = Reference.parse(image.url)
            # Even if there are none: without the folder the importer would look for itself.
            secret = {DOCKER_CONFIG_KEY: to_docker_config(self._user_credentials(reference, settings))}
        folder, held = self._private_folder()
        try:
            options: list[str] = []
            for option, files in (("--secret-dir", secret), ("--cert-dir", found.certificates)):
                if files:
                    part = folder / option.removeprefix("--")
                    part.mkdir(mode=0o700)
                    for name, data in files.items():
                        if not _FILE_NAME.fullmatch(name):
                            raise InvalidObjectError(f"{name!r} is no key of a Secret or ConfigMap", hint=_KEY_RULE)
                        (part / name).touch(mode=0o600)
                        (part / name).write_bytes(data)
                    options += [option, str(part)]
            for certs in self._state.certs_dirs(settings):
                options += ["--mirrors", str(certs)]
            for host in settings.insecure_registries:
                options += ["--insecure-registry", host]
            yield options, folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(held)

    def _private_folder(self) -> tuple[Path, int]:
        """A new private folder and the descriptor that locks it; those whose holder died are removed."""
        with locked(self._state.run / "import.lock"):
            for old in self._state.run.glob("import-*"):
                abandoned = try_lock_existing(old)
                if abandoned is not None:
                    shutil.rmtree(old, ignore_errors=True)
                    os.close(abandoned)
            folder = Path(tempfile.mkdtemp(prefix="import-", dir=self._state.run))
            held = try_lock_existing(folder)
            if held is None:  # pragma: no cover -- it is new, and only we look at it under the lock
                raise AssertionError
            return folder, held

    def _secret(self, image: ImageSource) -> dict[str, bytes]:
        try:
            return secret_contents(self._store.get(Secret, image.namespace, image.secret))
        except ObjectNotFoundError as error:
            raise missing(f"Secret {image.namespace}/{image.secret}", "secretRef") from error

    def _certificates(self, image: ImageSource) -> dict[str, bytes]:
        try:
            return certificates_in(self._store.get(ConfigMap, image.namespace, image.cert_config_map))
        except ObjectNotFoundError as error:
            raise missing(f"ConfigMap {image.namespace}/{image.cert_config_map}", "certConfigMap") from error
