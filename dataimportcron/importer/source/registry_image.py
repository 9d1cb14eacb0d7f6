"""Images from registries, for the importer: command-line options in, an `ImageReader` out.

Credentials and certificates come as folders, laid out as Kubernetes mounts Secrets and ConfigMaps, never as arguments,
which every process of the machine can read. Without a folder, credentials are those of the user's own files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dataimportcron.errors import MissingDependencyError
from dataimportcron.importer.source.image import Image, Layer, build_image
from dataimportcron.oci.credentials import SECRET_KEYS, from_secret
from dataimportcron.oci.docker_config import find_credentials
from dataimportcron.oci.endpoints import endpoints_of
from dataimportcron.oci.manifest import Descriptor, Platform, check_architecture
from dataimportcron.oci.registry import Access, Registry
from dataimportcron.reference import Reference

_CERTIFICATES = (".crt", ".pem")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryOptions:
    """How to reach registries.

    Attributes:
        secret_dir: with the files of a Secret, None for the credentials of docker, podman and skopeo login.
        cert_dir: with PEM files, None for none.
        mirrors: folders with containerd's hosts.toml files.
        insecure: registries whose certificates are not checked.
    """

    secret_dir: Path | None = None
    cert_dir: Path | None = None
    mirrors: tuple[Path, ...] = ()
    insecure: tuple[str, ...] = ()


class RegistryImage:
    """`ImageReader` of an image in a registry.

    Args:
        source: `docker://registry/repository@sha256:…`, or with a tag.
        platform: os/architecture, which an image that is no index must say too; "" for this machine's.
        options: how to reach it.

    Raises:
        InvalidReferenceError: `source` is none.
        MissingDependencyError: a folder of `options` is not there.
    """

    def __init__(self, source: str, platform: str, options: RegistryOptions) -> None:
        self._reference = Reference.parse(source)
        self._strict = bool(platform)
        self._platform = Platform.parse(platform) if platform else Platform.default()
        self._registry = Registry(_access(options, self._reference))

    @property
    def digest(self) -> str:
        """See `ImageReader`."""
        return self._reference.digest or ""

    def load(self) -> Image:
        """See `ImageReader`."""
        if self._reference.digest is None:
            resolved = self._registry.resolve(self._reference, self._platform)
            self._reference = self._reference.with_digest(resolved.digest)
        manifest = self._registry.manifest(self._reference, self._platform)
        config = self._registry.config(self._reference, manifest)
        # An index has said which platform each of its manifests is for.
        if self._strict and manifest.digest == self.digest:
            check_architecture(config, self._platform, str(self._reference))
        layers = [(layer.digest, layer.size) for layer in manifest.layers]
        return build_image(self.digest, manifest.digest, layers, config)

    def open(self, layer: Layer) -> Iterator[bytes]:
        """See `ImageReader`."""
        return self._registry.blob(self._reference, Descriptor(media_type="", digest=layer.digest, size=layer.size))


def _access(options: RegistryOptions, reference: Reference) -> Access:
    mirrors = tuple(_existing(folder) for folder in options.mirrors)
    insecure = frozenset(options.insecure)
    if options.secret_dir is not None:
        folder = _existing(options.secret_dir)
        secret = {key: (folder / key).read_bytes() for key in SECRET_KEYS if (folder / key).is_file()}
        credentials = from_secret(secret, reference.registry)
    else:
        hosts = [endpoint.host for endpoint in endpoints_of(reference.registry, mirrors, insecure)]
        credentials = find_credentials(hosts, reference.repository)
    certificates: list[str] = []
    if options.cert_dir is not None:
        files = sorted(file for file in _existing(options.cert_dir).iterdir() if file.suffix in _CERTIFICATES)
        certificates = [file.read_text(encoding="utf-8", errors="replace") for file in files]
    return Access(
        credentials=credentials,
        ca_certificates=tuple(certificates),
        certs_dirs=mirrors,
        insecure_registries=insecure,
    )


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise MissingDependencyError(f"the folder {folder} does not exist", hint="mount it there, or leave it out")
    return folder
