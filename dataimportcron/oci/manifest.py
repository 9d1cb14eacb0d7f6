"""Manifests, indexes and platforms: what a registry's JSON means, once its bytes are verified.

Source: the OCI image specification 1.1; Docker's schema 2 media types mean the same. Docker's schema 1 is refused, and
so is a document that reads both as an index and as a manifest (CVE-2021-41190).
"""

from __future__ import annotations

import json
import platform as machine
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dataimportcron.errors import InvalidImageError, InvalidObjectError, NotARegistryError, PlatformNotFoundError
from dataimportcron.reference import is_digest

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
ACCEPT = ", ".join((*INDEX_TYPES, *MANIFEST_TYPES))

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}
_MOST_LAYERS = 1000
_LARGEST = (1 << 63) - 1
"""Bytes of any content: sizes are signed integers of 64 bits wherever images are read."""
_MOST_OFFERED, _LONGEST_PLATFORM = 20, 40
"""Platforms that a message lists, and characters of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What a disk is for."""

    architecture: str
    os: str = "linux"
    variant: str = ""

    @classmethod
    def default(cls) -> Platform:
        """That of this machine."""
        name = machine.machine()
        return cls(architecture=_ARCHITECTURES.get(name, name))

    @classmethod
    def wanted(cls, architecture: str) -> tuple[Platform, bool]:
        """Whose manifest counts, and whether an image that is no index must be for it: where somebody asks for one.

        Args:
            architecture: "" where nobody does.
        """
        return (cls(architecture=architecture), True) if architecture else (cls.default(), False)

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read os/architecture[/variant], or an architecture alone.

        Raises:
            InvalidObjectError: it is neither.
        """
        match text.split("/"):
            case [architecture] if architecture:
                return cls(architecture=architecture)
            case [os, architecture] if os and architecture:
                return cls(os=os, architecture=architecture)
            case [os, architecture, variant] if os and architecture and variant:
                return cls(os=os, architecture=architecture, variant=variant)
        raise InvalidObjectError(f"{text!r} is no platform", hint="write os/architecture, as linux/amd64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """A reference to content: `size` in bytes."""

    media_type: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The manifest of one platform."""

    digest: str
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]


def parse_document(body: bytes, what: str) -> dict[str, Any]:
    """The JSON object in a registry's answer.

    Raises:
        NotARegistryError: it is none.
    """
    try:
        document = json.loads(body, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise NotARegistryError(f"{what} is no JSON: {body[:60]!r}") from error
    if not isinstance(document, dict):
        raise NotARegistryError(f"{what} is no JSON object")
    return document


def is_index(document: dict[str, Any], media_type: str, what: str) -> bool:
    """Whether a manifest lists manifests of several platforms.

    Raises:
        InvalidImageError: it could be read both ways.
    """
    has_index, has_manifest = "manifests" in document, "layers" in document or "config" in document
    if has_index and has_manifest:
        raise InvalidImageError(f"{what} is an index and an image manifest at once", hint="push the image anew")
    return media_type in INDEX_TYPES or (media_type not in MANIFEST_TYPES and has_index)


def parse_manifest(document: dict[str, Any], digest: str, media_type: str, what: str) -> Manifest:
    """Read an image manifest.

    Raises:
        NotARegistryError: it lacks what every image manifest has.
    """
    layers = document.get("layers")
    if not isinstance(layers, list) or len(layers) > _MOST_LAYERS:
        raise NotARegistryError(f"{what} is no image manifest: it has no list of at most {_MOST_LAYERS} layers")
    return Manifest(
        digest=digest,
        media_type=media_type,
        config=_descriptor(document.get("config"), what),
        layers=tuple(_descriptor(layer, what) for layer in layers),
    )


def choose(document: dict[str, Any], wanted: Platform, what: str) -> Descriptor:
    """The manifest of a platform in an index; attestations, whose platform is unknown, never match.

    A wanted variant of "" takes the first of its architecture.

    Raises:
        PlatformNotFoundError: there is none; the hint lists what there is.
    """
    manifests = document.get("manifests")
    entries = [entry for entry in manifests if isinstance(entry, dict)] if isinstance(manifests, list) else []
    offered = []
    for entry in entries:
        given = entry.get("platform")
        if not isinstance(given, dict):
            continue
        architecture, os = given.get("architecture"), given.get("os", "linux")
        if (architecture, os) == (wanted.architecture, wanted.os) and wanted.variant in {"", given.get("variant", "")}:
            return _descriptor(entry, what)
        if isinstance(os, str) and isinstance(architecture, str):
            offered.append(f"{os}/{architecture}"[:_LONGEST_PLATFORM])
    raise PlatformNotFoundError(
        f'{what}: no image found in image index for architecture "{wanted.architecture}", '
        f'variant "{wanted.variant}", OS "{wanted.os}"',
        hint=f"the index has {', '.join(offered[:_MOST_OFFERED]) or 'nothing'}",
    )


def check_architecture(config: Mapping[str, Any], wanted: Platform, what: str) -> None:
    """Make sure that an image that is no index is for a platform.

    Args:
        config: the image's configuration.
        wanted: the platform.
        what: the image, for messages.

    Raises:
        PlatformNotFoundError: it is for another architecture.
    """
    found = config.get("architecture", "")
    if found != wanted.architecture:
        raise PlatformNotFoundError(
            f"Error validating architecture: manifest image architecture: {found} doesn't match requested "
            f"architecture: {wanted.architecture}",
            hint=f"{what} is for {found} only; correct platform.architecture",
        )


def _descriptor(document: object, what: str) -> Descriptor:
    if isinstance(document, dict):
        digest, size = document.get("digest"), document.get("size")
        if isinstance(digest, str) and is_digest(digest) and type(size) is int and 0 <= size <= _LARGEST:
            return Descriptor(media_type=str(document.get("mediaType", "")), digest=digest, size=size)
    raise NotARegistryError(
        f"{what} holds a descriptor without a valid digest and size: {reprlib.repr(document)[:200]}"
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key stands twice")
    return document


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is no JSON")
